package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A reader turns nodes into values and keeps every problem that it meets on the way.
type reader struct {
	world    World
	problems []Problem
	files    []string // in the order they were read
	loading  []string // those whose includes are being read
	bytes    int      // of included files
	refs     []ref
	secrets  map[string]Place // who has which token or key
	mistakes int              // of problems
	doubts   int              // of problems
	more     int              // problems that were not kept
	unread   map[string]bool  // sections that were complained of as a whole: what they define is not known
}

// A ref is a name that must be defined somewhere; it is looked up once everything was read.
type ref struct {
	kind string // team, person, schedule, escalation, service, provider, skill
	name string
	at   Place
}

// maxProblems bounds how many mistakes, and how many doubts, are told of one configuration: nobody mends more at once.
const maxProblems = 1000

func (r *reader) report(p Problem) {
	kept := &r.mistakes
	if p.Warning {
		kept = &r.doubts
	}
	if *kept == maxProblems {
		r.more++
		return
	}
	*kept++
	r.problems = append(r.problems, p)
}

func (r *reader) complain(at Place, message, hint string) {
	r.report(Problem{Place: at, Message: message, Hint: hint})
}

func (r *reader) problem(n *node, message, hint string) { r.complain(n.at, message, hint) }

func (r *reader) warn(at Place, message, hint string) {
	r.report(Problem{Place: at, Message: message, Hint: hint, Warning: true})
}

// text returns the text n holds; a number or word of YAML is refused, so that no version or phone number loses its zeros.
func (r *reader) text(n *node) (string, bool) {
	switch n.kind {
	case text:
		return n.said, true
	case number, decimal:
		r.problem(n, fmt.Sprintf("a text is wanted, %s is a number", n.said), fmt.Sprintf("quote it: %q", n.said))
	case boolean:
		r.problem(n, fmt.Sprintf("a text is wanted, %s is true or false", n.said), fmt.Sprintf("quote it: %q", n.said))
	case broken:
	case empty:
		r.problem(n, "a text is wanted, nothing stands here", "write it, or remove the key")
	default:
		r.problem(n, "a text is wanted, this is "+n.kind.String(), "")
	}
	return "", false
}

// elements returns the items of a list; one that is nothing has none.
func (r *reader) elements(n *node) []*node {
	switch n.kind {
	case list:
		return n.items
	case empty, broken:
	case table:
		r.problem(n, "a list is wanted, this is a map", "begin each entry with a dash")
	default:
		r.problem(n, "a list is wanted, this is "+n.kind.String(), fmt.Sprintf("put it in brackets: [%s]", n.said))
	}
	return nil
}

// whole returns the whole number n holds, if it is one of least to most.
func (r *reader) whole(n *node, least, most int) (int, bool) {
	if n.kind == text {
		if _, err := strconv.Atoi(n.said); err == nil {
			r.problem(n, "a number is wanted, this is a text", "remove the quotes")
			return 0, false
		}
	}
	if n.kind == broken {
		return 0, false
	}
	if n.kind != number {
		said := n.kind.String()
		if n.said != "" {
			said = n.said
		}
		r.problem(n, "a whole number is wanted, not "+said, "")
		return 0, false
	}
	v, err := strconv.ParseInt(n.said, 0, 64)
	if err != nil || v < int64(least) || v > int64(most) {
		hint := fmt.Sprintf("%d to %d", least, most)
		if most == unlimited {
			hint = fmt.Sprintf("%d or more", least)
		}
		r.problem(n, n.said+" is out of range", hint)
		return 0, false
	}
	return int(v), true
}

// unlimited is the most that any number in the file may be.
const unlimited = 1_000_000_000

// duration returns the length of time n holds.
func (r *reader) duration(n *node) (Duration, bool) {
	if n.kind == number {
		r.problem(n, n.said+" lacks a unit", "one of s, m, h, d, w, such as "+strings.TrimLeft(n.said, "+-")+"m")
		return 0, false
	}
	s, ok := r.text(n)
	if !ok {
		return 0, false
	}
	d, err := ParseDuration(s)
	if err != nil {
		r.problem(n, err.Error(), "whole numbers of s, m, h, d, w, such as 90s, 1h30m or 1w")
		return 0, false
	}
	return d, true
}

// word returns the text n holds if it is one of words.
func (r *reader) word(n *node, what string, words ...string) (string, bool) {
	s, ok := r.text(n)
	if !ok {
		return "", false
	}
	if !slices.Contains(words, s) {
		r.problem(n, fmt.Sprintf("%q is no %s", s, what), meant(s, "one of", words))
		return "", false
	}
	return s, true
}

// A section is a map that is being read: it knows which keys were asked for, so that the others are mistakes.
type section struct {
	*reader
	n     *node
	asked []string
}

// section begins to read n as a map; anything else is a problem and reads like an empty one.
func (r *reader) section(n *node) *section {
	if n.kind != table && n.kind != empty && n.kind != broken {
		r.problem(n, "a map is wanted, this is "+n.kind.String(), "write key: value lines, or {key: value}")
		n = &node{kind: broken, at: n.at}
	}
	return &section{reader: r, n: n}
}

// done complains of every key that nobody asked for.
func (s *section) done() {
	for _, e := range s.n.entries {
		if !slices.Contains(s.asked, e.key) {
			s.complain(e.at, fmt.Sprintf("unknown key %q", clip(e.key)), meant(e.key, "keys here", s.asked))
		}
	}
}

// get returns the value of key. ok is false where it is missing or nothing stands there.
func (s *section) get(key string) (n *node, ok bool) {
	if !slices.Contains(s.asked, key) {
		s.asked = append(s.asked, key)
	}
	for _, e := range s.n.entries {
		if e.key == key {
			return e.value, e.value.kind != empty
		}
	}
	return nil, false
}

// place is where key stands, or would stand.
func (s *section) place(key string) Place {
	if n, ok := s.get(key); ok {
		return n.at
	}
	at := s.n.at
	at.Path = join(at.Path, key)
	return at
}

// missing complains that key is needed and not there.
func (s *section) missing(key, hint string) {
	if s.n.kind == broken {
		return
	}
	at := s.n.at
	at.Path = join(at.Path, key)
	s.complain(at, "it is missing", hint)
}

// need returns the text of key, which must be there.
func (s *section) need(key, hint string) string {
	n, ok := s.get(key)
	if !ok {
		s.missing(key, hint)
		return ""
	}
	v, _ := s.filled(n)
	return v
}

// filled is a text that is not "".
func (r *reader) filled(n *node) (string, bool) {
	v, ok := r.text(n)
	if ok && strings.TrimSpace(v) == "" {
		r.problem(n, "it is empty", "write it, or remove the key")
		return "", false
	}
	return v, ok
}

func (s *section) text(key, without string) string {
	if n, ok := s.get(key); ok {
		if v, ok := s.filled(n); ok {
			return v
		}
	}
	return without
}

func (s *section) whole(key string, without, least, most int) int {
	if n, ok := s.get(key); ok {
		if v, ok := s.reader.whole(n, least, most); ok {
			return v
		}
	}
	return without
}

func (s *section) duration(key string, without Duration) Duration {
	if n, ok := s.get(key); ok {
		if v, ok := s.reader.duration(n); ok {
			return v
		}
	}
	return without
}

// positive is a duration that may not be 0s.
func (s *section) positive(key string, without Duration, why string) Duration {
	d := s.duration(key, without)
	if n, ok := s.get(key); ok && d == 0 && without > 0 {
		s.problem(n, why, "a length such as "+without.String())
		return without
	}
	return d
}

func (s *section) word(key, what, without string, words ...string) string {
	if n, ok := s.get(key); ok {
		if v, ok := s.reader.word(n, what, words...); ok {
			return v
		}
	}
	return without
}

// list returns the items of the list at key.
func (s *section) list(key string) []*node {
	if n, ok := s.get(key); ok {
		return s.elements(n)
	}
	return nil
}

// texts returns the texts of the list at key. It is nil where the key is missing, and empty where the list is.
func (s *section) texts(key string) []string {
	n, ok := s.get(key)
	if !ok {
		return nil
	}
	out := []string{}
	for _, item := range s.elements(n) {
		if v, ok := s.filled(item); ok {
			if slices.Contains(out, v) {
				s.problem(item, fmt.Sprintf("%q stands twice in this list", v), "keep one of them")
				continue
			}
			out = append(out, v)
		}
	}
	return out
}

// refs returns the texts of the list at key, each of which names a kind.
func (s *section) refs(key, kind string) []string {
	var out []string
	for _, item := range s.list(key) {
		if v, ok := s.filled(item); ok {
			if slices.Contains(out, v) && kind != "person" { // a rotation may call somebody twice
				s.problem(item, fmt.Sprintf("%q stands twice in this list", v), "keep one of them")
				continue
			}
			s.reader.refs = append(s.reader.refs, ref{kind, v, item.at})
			out = append(out, v)
		}
	}
	return out
}

// ref returns the text at key, which names a kind; "" where it is missing.
func (s *section) ref(key, kind string) string {
	v := s.text(key, "")
	if v != "" {
		s.reader.refs = append(s.reader.refs, ref{kind, v, s.place(key)})
	}
	return v
}

// pairs returns the entries of the map at key.
func (s *section) pairs(key string) []entry {
	n, ok := s.get(key)
	if !ok {
		return nil
	}
	if n.kind == broken {
		return nil
	}
	if n.kind != table {
		s.problem(n, "a map is wanted, this is "+n.kind.String(), "write key: value lines, or {key: value}")
		return nil
	}
	return n.entries
}

var nameShape = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// named returns the entries of the map at key whose keys are proper names; the others are complained of.
func (s *section) named(key string) []entry {
	return slices.DeleteFunc(slices.Clone(s.pairs(key)), func(e entry) bool { return !s.name(e.key, e.plain, e.at) })
}

func (r *reader) name(name string, plain bool, at Place) bool {
	switch {
	case !plain:
		r.complain(at, fmt.Sprintf("a name is wanted, %s is a number or a word of YAML", clip(name)), fmt.Sprintf("quote it: %q", clip(name)))
	case !nameShape.MatchString(name):
		r.complain(at, fmt.Sprintf("%q cannot be a name", clip(name)), "letters, digits, and - _ . after the first; at most 64")
	default:
		return true
	}
	return false
}

// clip keeps what is quoted of a file short.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= 60 {
		return s
	}
	return string([]rune(s)[:60]) + "..."
}
