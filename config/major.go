package config

import (
	"fmt"
	"slices"
)

// What a major rule does, and what becomes of a candidate that nobody decides on.
const (
	ActionPropose   = "propose"
	ActionPromote   = "promote"
	TimeoutEscalate = "escalate"
	TimeoutConfirm  = "confirm"
	TimeoutExpire   = "expire"
)

// A Major is a rule that makes a major of the open incidents of one scope when they are too many.
type Major struct {
	Name         string
	Matchers     []string // of the alerts that count; none: all
	Scope        []string // label names; an incident that lacks one has no scope here
	Window       Duration // counts incidents whose newest alert is younger; default 15m
	Any          Measures // one that is reached is enough
	All          Measures // each must be reached
	Hold         Duration // ... and stay reached so long; default 0s
	Priority     int      // default 2
	Action       string   // propose (default) or promote
	DecideWithin Duration // default 10m
	OnTimeout    string   // escalate (default), confirm or expire
	Cooldown     Duration // after a rejection; default 1h
	Escalation   string   // "" is the default one
	At           Place
	measuresAt   Place
}

// Measures are thresholds; 0 is not asked.
type Measures struct {
	Hosts     int
	Services  int
	Incidents int
	Users     int
}

func (r *reader) majors(items []*node, isolateBy []string) []Major {
	var out []Major
	names := map[string]Place{}
	for _, n := range items {
		m := r.major(n, isolateBy)
		if first, twice := names[m.Name]; twice && m.Name != "" {
			at := m.At
			at.Path = join(n.at.Path, "name")
			r.complain(at, fmt.Sprintf("another of the majors is named %q, in line %d", m.Name, first.Line), "give each its own name: the history says which one decided")
		} else {
			names[m.Name] = m.At
		}
		out = append(out, m)
	}
	return out
}

func (r *reader) major(n *node, isolateBy []string) Major {
	s := r.section(n)
	defer s.done()
	out := Major{At: n.at}
	out.Name = s.need("name", "the history says by it which rule decided")
	if at, ok := s.get("name"); ok && out.Name != "" && r.name(out.Name, true, at.at) {
		out.At.Line, out.At.Column = at.at.Line, at.at.Column
	}
	out.Matchers = s.matchers("matchers")
	out.Scope = s.labelNames("scope")
	out.Window = s.positive("window", 15*Minute, "in a window of 0s nothing counts")
	out.Hold = s.duration("hold", 0)
	out.Priority = s.whole("priority", 2, 1, 5)
	out.Action = s.word("action", "action", ActionPropose, ActionPropose, ActionPromote)
	out.DecideWithin = s.positive("decide_within", 10*Minute, "0s leaves nobody time to decide")
	out.OnTimeout = s.word("on_timeout", "on_timeout", TimeoutEscalate, TimeoutEscalate, TimeoutConfirm, TimeoutExpire)
	out.Cooldown = s.duration("cooldown", Hour)
	out.Escalation = s.ref("escalation", "escalation")
	scope, scoped := s.get("scope")
	if !scoped {
		s.missing("scope", "the labels that a major is of, such as [region]")
	} else if scope.kind == list && len(scope.items) == 0 {
		r.problem(scope, "without a label nothing has a scope", "such as [region]")
	}
	for _, label := range isolateBy {
		if scoped && scope.kind == list && len(scope.items) > 0 && !slices.Contains(out.Scope, label) {
			r.problem(scope, fmt.Sprintf("%s stands in isolate_by and not here: nothing relates across its values", label), fmt.Sprintf("add %s to scope", label))
		}
	}
	_, anySaid := s.get("any")
	_, allSaid := s.get("all")
	out.measuresAt = s.place("all")
	if anySaid {
		out.measuresAt = s.place("any")
	}
	out.Any, out.All = s.measures("any"), s.measures("all")
	if !anySaid && !allSaid {
		s.missing("any", "without a threshold it never comes; such as {hosts: 20, services: 5}")
	}
	return out
}

func (s *section) measures(key string) Measures {
	n, ok := s.get(key)
	if !ok {
		return Measures{}
	}
	m := s.section(n)
	defer m.done()
	if n.kind == table && len(n.entries) == 0 {
		s.problem(n, "no threshold stands here", "at least one of hosts, services, incidents, users")
	}
	return Measures{
		Hosts: m.whole("hosts", 0, 1, unlimited), Services: m.whole("services", 0, 1, unlimited),
		Incidents: m.whole("incidents", 0, 1, unlimited), Users: m.whole("users", 0, 1, unlimited),
	}
}
