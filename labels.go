package tocsin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Label is one name and value that a sender, a source or an enrichment put on an alert.
type Label struct {
	Name  string
	Value string
}

// Labels are sorted by name, each name once, no value empty: a label that is missing equals one that is empty.
type Labels []Label

// NewLabels returns the labels of m, sorted, without those whose value is empty.
func NewLabels(m map[string]string) Labels {
	ls := make(Labels, 0, len(m))
	for n, v := range m {
		if v != "" {
			ls = append(ls, Label{n, v})
		}
	}
	ls.sort()
	return ls
}

// Get returns the value of the label name, or "" where there is none.
func (ls Labels) Get(name string) string {
	for i := range ls {
		if ls[i].Name == name {
			return ls[i].Value
		}
	}
	return ""
}

// With returns a copy of ls in which name has value; an empty value removes it.
func (ls Labels) With(name, value string) Labels {
	i, found := slices.BinarySearchFunc(ls, name, func(l Label, n string) int { return cmp.Compare(l.Name, n) })
	switch {
	case found && value == "":
		return slices.Delete(slices.Clone(ls), i, i+1)
	case found:
		out := slices.Clone(ls)
		out[i].Value = value
		return out
	case value == "":
		return slices.Clone(ls)
	}
	out := make(Labels, 0, len(ls)+1)
	out = append(out, ls[:i]...)
	out = append(out, Label{name, value})
	return append(out, ls[i:]...)
}

// Normalize sorts ls in place, drops empty values and returns the result. A name that stands twice is an error that names it.
func (ls Labels) Normalize() (Labels, error) {
	ls = slices.DeleteFunc(ls, func(l Label) bool { return l.Value == "" })
	ls.sort()
	for i := 1; i < len(ls); i++ {
		if ls[i].Name == ls[i-1].Name {
			return nil, fmt.Errorf("label %q stands twice", ls[i].Name)
		}
	}
	return ls, nil
}

// Map returns ls as a map of its own.
func (ls Labels) Map() map[string]string {
	m := make(map[string]string, len(ls))
	for _, l := range ls {
		m[l.Name] = l.Value
	}
	return m
}

// String returns ls as {a="x",b="y"}.
func (ls Labels) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range ls {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", l.Name, l.Value)
	}
	b.WriteByte('}')
	return b.String()
}

// MarshalJSON writes ls as one object, names in order.
func (ls Labels) MarshalJSON() ([]byte, error) {
	return json.Marshal(ls.Map())
}

// UnmarshalJSON reads an object of strings.
func (ls *Labels) UnmarshalJSON(b []byte) error {
	var m map[string]string
	err := json.Unmarshal(b, &m)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	*ls = NewLabels(m)
	return nil
}

func (ls Labels) sort() {
	slices.SortFunc(ls, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
}
