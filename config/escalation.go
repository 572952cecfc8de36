package config

import (
	"fmt"
	"slices"
	"strings"
)

// An Escalation says who is paged for an incident, and who if nobody answers.
type Escalation struct {
	Name   string
	Steps  []Step
	Repeat int    // rounds after the first; default 0
	Then   string // the escalation that goes on after the last round; "" ends
	At     Place
	thenAt Place
}

// A Step pages all its targets at once.
type Step struct {
	Page          []Target
	EscalateAfter Duration // default 5m: without an acknowledgement the next step is taken
	At            Place
	afterAt       Place
}

// A Target is whom a step pages.
type Target struct {
	Kind string // schedule, person, team or skill
	Name string
	At   Place
}

// String is the target as the file writes it, such as schedule/platform.
func (t Target) String() string {
	if t.Kind == "" {
		return ""
	}
	return t.Kind + "/" + t.Name
}

const defaultEscalateAfter = 5 * Minute

func (r *reader) escalation(name string, s *section) Escalation {
	out := Escalation{Name: name, Repeat: s.whole("repeat", 0, 0, 100), Then: s.ref("then", "escalation"), At: s.n.at, thenAt: s.place("then")}
	n, ok := s.get("steps")
	if !ok {
		s.missing("steps", "such as [{page: [person/one], escalate_after: 5m}]")
		return out
	}
	for _, item := range r.elements(n) {
		out.Steps = append(out.Steps, r.step(item))
	}
	if n.kind == list && len(n.items) == 0 {
		r.problem(n, "an escalation without steps pages nobody", "such as [{page: [person/one], escalate_after: 5m}]")
	}
	return out
}

func (r *reader) step(item *node) Step {
	s := r.section(item)
	defer s.done()
	out := Step{At: item.at, EscalateAfter: s.positive("escalate_after", defaultEscalateAfter, "0s leaves nobody time to answer"), afterAt: s.place("escalate_after")}
	n, ok := s.get("page")
	if !ok {
		s.missing("page", "this step pages nobody; such as [schedule/platform]")
		return out
	}
	for _, x := range r.elements(n) {
		if t, ok := r.target(x, "schedule", "person", "team", "skill"); ok {
			out.Page = append(out.Page, t)
		}
	}
	if n.kind == list && len(n.items) == 0 {
		r.problem(n, "this step pages nobody", "such as [schedule/platform]")
	}
	return out
}

// target reads kind/name, where kind is one of kinds.
func (r *reader) target(n *node, kinds ...string) (Target, bool) {
	v, ok := r.filled(n)
	if !ok {
		return Target{}, false
	}
	k, name, ok := strings.Cut(v, "/")
	switch {
	case !ok:
		r.problem(n, fmt.Sprintf("%q does not say whom: a kind and a name are wanted", clip(v)), "one of "+strings.Join(kinds, "/"+clip(v)+", ")+"/"+clip(v))
	case !slices.Contains(kinds, k):
		r.problem(n, fmt.Sprintf("%q cannot be paged", clip(k)), meant(k, "one of", kinds))
	case name == "":
		r.problem(n, fmt.Sprintf("%q lacks a name", v), "such as "+k+"/one")
	default:
		r.refs = append(r.refs, ref{k, name, n.at})
		return Target{Kind: k, Name: name, At: n.at}, true
	}
	return Target{}, false
}
