package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Place is where something stands in the configuration.
type Place struct {
	File   string // as it was named to Load, or by the include that found it
	Line   int    // from 1; 0: the file as a whole
	Column int    // from 1, in characters
	Path   string // such as rules[2].matchers[0]; "" is the whole file
}

// A Problem is one mistake in a configuration, or one doubt about it.
type Problem struct {
	Place
	Message string // what is wrong, without its place
	Hint    string // the cure; "" where the message says it
	Warning bool   // legal, but surely not meant: the configuration can be used
}

// String says the whole problem in one line, the place first, the cure last.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (")
		b.WriteString(p.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Failed reports whether any of ps is a mistake and not only a warning.
func Failed(ps []Problem) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning })
}

// sortProblems puts ps in the order in which a reader meets them: files as they were read, then lines.
func sortProblems(ps []Problem, files []string) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path),
		)
	})
}

// maxCandidates bounds how many names a wrong one is compared with.
const maxCandidates = 1000

// nearest returns the one of known that word was most likely meant to be, or "".
func nearest(word string, known []string) string {
	if len(known) > maxCandidates {
		return ""
	}
	best, far := "", max(1, len(word)/3)+1
	least := far
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k), far)
		if d < least || d == least && d < far && k < best {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters that must be changed, put in, left out or swapped with their neighbour to make b of a; counts
// from limit on are not told apart.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= limit || len(y)-len(x) >= limit || len(x) > 200 {
		return limit
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := last[j-1]
			if x[i-1] != y[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(y)], limit)
}

// meant is the hint for a word that is none of known.
func meant(word, what string, known []string) string {
	if k := nearest(word, known); k != "" {
		return fmt.Sprintf("did you mean %q?", k)
	}
	if len(known) == 0 {
		return "none is defined"
	}
	if len(known) > maxCandidates {
		return fmt.Sprintf("it is none of the %d %s", len(known), what)
	}
	known = slices.Sorted(slices.Values(known))
	if len(known) > 12 {
		return fmt.Sprintf("%s: %s and %d more", what, strings.Join(known[:12], ", "), len(known)-12)
	}
	return what + ": " + strings.Join(known, ", ")
}
