package api

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/internal/store"
)

// Bounds on the filter of one request.
const (
	maxMatchers = 32
	maxMatcher  = 4 << 10 // bytes
)

// sourceLabel is the name by which matchers ask for the source of an alert: what the configuration calls it, not a label that a
// sender may have put on it under this name.
const sourceLabel = "source"

// A filter holds where all its matchers hold.
type filter struct {
	matchers labels.Matchers
	index    store.AlertFilter // what an index can find of it; more than the filter lets through
}

// parseFilter reads Alertmanager's matchers, as the newer grammar has them or else the classic one.
func parseFilter(said []string) (f filter, err error) {
	if len(said) > maxMatchers {
		return f, fmt.Errorf("%d matchers: at most %d", len(said), maxMatchers)
	}
	for _, text := range said {
		m, err := parseMatcher(text)
		if err != nil {
			return f, err
		}
		f.matchers = append(f.matchers, m)
		f.use(m)
	}
	return f, nil
}

func parseMatcher(text string) (*labels.Matcher, error) {
	switch {
	case len(text) > maxMatcher:
		return nil, fmt.Errorf("a matcher of %d bytes: at most %d", len(text), maxMatcher)
	case !utf8.ValidString(text):
		return nil, fmt.Errorf("matcher %q is not UTF-8", text)
	case strings.TrimSpace(text) == "":
		return nil, fmt.Errorf("matcher %q is empty", text)
	}
	m, err := parse.Matcher(text)
	if err == nil {
		return m, nil
	}
	classic, classicErr := labels.ParseMatcher(text)
	if classicErr == nil {
		return classic, nil
	}
	return nil, fmt.Errorf("matcher %q: %w", text, err)
}

// use lets an index help with m, if there is one.
func (f *filter) use(m *labels.Matcher) {
	if m.Type != labels.MatchEqual || m.Value == "" {
		return // the empty value means that there is no such label
	}
	switch m.Name {
	case "service":
		f.index.Service = m.Value
	case "host":
		f.index.Host = m.Value
	case "alertname":
		f.index.Alertname = m.Value
	case sourceLabel:
		f.index.Source = m.Value
	}
}

// matches reports whether the filter lets an alert through; get returns a label's value, or "".
func (f *filter) matches(source string, get func(name string) string) bool {
	for _, m := range f.matchers {
		value := source
		if m.Name != sourceLabel {
			value = get(m.Name)
		}
		if !m.Matches(value) {
			return false
		}
	}
	return true
}
