package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
)

// matchers returns the matchers at key as they are written; each is one that parse.Matcher takes.
func (s *section) matchers(key string) []string {
	var out []string
	for _, n := range s.list(key) {
		v, ok := s.filled(n)
		if !ok {
			continue
		}
		if _, err := parse.Matcher(v); err != nil {
			s.badMatcher(n, v, err)
		}
		out = append(out, v)
	}
	return out
}

var position = regexp.MustCompile(`^(\d+):(\d+): `)

// badMatcher says what is wrong in matcher v, at the place in v where it is wrong.
func (r *reader) badMatcher(n *node, v string, err error) {
	at, message := n.at, err.Error()
	if m := position.FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		column, _ := strconv.Atoi(m[1])
		if m[1] == "0" { // the parser says the end only
			column, _ = strconv.Atoi(m[2])
		}
		if n.inset >= 0 {
			at.Column += n.inset + column
		}
	}
	message = strings.TrimPrefix(message, "failed to create matcher: ")
	hint := `name="value", or != =~ !~`
	switch {
	case strings.Contains(v, "==") && !strings.Contains(v, `"==`):
		hint = "one = compares"
	case strings.Contains(message, "found "):
		hint = "one matcher an entry; all of a list must hold"
	case strings.Contains(message, "error parsing regexp"):
		hint = "a regular expression of RE2, matched as a whole"
	case !strings.Contains(v, `"`) && strings.ContainsAny(v, "=~"):
		hint = `put the value in double quotes, and the whole in single ones: '` + quotedValue(v) + `'`
	}
	r.complain(at, fmt.Sprintf("matcher %s: %s", clip(v), message), hint)
}

// quotedValue puts quotes around what follows the operator of v.
func quotedValue(v string) string {
	i := strings.LastIndexAny(v, "=~")
	return strings.TrimSpace(v[:i+1]) + strconv.Quote(strings.TrimSpace(v[i+1:]))
}

// parsed returns ms as matchers; ok is false if one of them cannot be read: it was complained of.
func parsed(ms []string) (out labels.Matchers, ok bool) {
	for _, m := range ms {
		p, err := parse.Matcher(m)
		if err != nil {
			return nil, false
		}
		out = append(out, p)
	}
	return out, true
}

var labelShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// labelName complains if name is none.
func (r *reader) labelName(name string, at Place) bool {
	if labelShape.MatchString(name) {
		return true
	}
	hint := "letters, digits and _, no digit first"
	if fixed := strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(name); labelShape.MatchString(fixed) {
		hint = fmt.Sprintf("did you mean %q?", fixed)
	}
	r.complain(at, fmt.Sprintf("%q is no label name", clip(name)), hint)
	return false
}

// labelNames returns the list of label names at key; nil where it is missing.
func (s *section) labelNames(key string) []string {
	n, ok := s.get(key)
	if !ok {
		return nil
	}
	names := s.texts(key)
	for _, item := range s.items(n) {
		if item.kind == text && strings.TrimSpace(item.said) != "" {
			s.labelName(item.said, item.at)
		}
	}
	return names
}

// items are the items of a list, without a complaint where it is none: that was said already.
func (r *reader) items(n *node) []*node {
	if n.kind == list {
		return n.items
	}
	return nil
}

// labels returns the map of labels at key; nil where it is missing.
func (s *section) labels(key string) map[string]string {
	var out map[string]string
	for _, e := range s.pairs(key) {
		if !s.labelName(e.key, e.at) {
			continue
		}
		if v, ok := s.reader.text(e.value); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[e.key] = v
		}
	}
	return out
}
