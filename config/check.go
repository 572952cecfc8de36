package config

import (
	"fmt"
	"slices"
	"strings"
)

// check finds what only the whole shows: names that nobody defined, escalations that run in a circle, steps that page nobody.
func (r *reader) check(c *Config) {
	known := map[string]struct {
		section string
		names   []string
	}{
		"team": {"teams", keysOf(c.Teams)}, "person": {"people", keysOf(c.People)}, "schedule": {"schedules", keysOf(c.Schedules)},
		"escalation": {"escalations", keysOf(c.Escalations)}, "service": {"services", keysOf(c.Services)},
		"provider": {"providers", keysOf(c.Providers)}, "skill": {"people", skills(c)},
	}
	// The names are in order.
	for _, x := range r.refs {
		k := known[x.kind]
		if _, found := slices.BinarySearch(k.names, x.name); found || r.unread[k.section] {
			continue
		}
		what := k.section
		if x.kind == "skill" {
			what = "skills"
		}
		r.complain(x.at, fmt.Sprintf("no %s is named %q", x.kind, clip(x.name)), meant(x.name, what, k.names))
	}
	r.circles(c)
	r.nobody(c)
}

func skills(c *Config) []string {
	var out []string
	for _, name := range keysOf(c.People) {
		out = append(out, c.People[name].Skills...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// circles complains of every circle of then: once, where its first name in the alphabet goes on.
func (r *reader) circles(c *Config) {
	for _, first := range keysOf(c.Escalations) {
		way := []string{first}
		for next := c.Escalations[first].Then; next != "" && next >= first; next = c.Escalations[next].Then {
			if slices.Contains(way[1:], next) {
				break // a circle that first only leads to
			}
			way = append(way, next)
			if next == first {
				at := c.Escalations[first].thenAt
				r.complain(at, "escalations go in a circle: "+strings.Join(way, " -> "), "end one of them: the last should page somebody who always answers; repeat: gives more rounds")
				break
			}
		}
	}
}

// nobody complains of targets that stand for no person at all.
func (r *reader) nobody(c *Config) {
	for _, name := range keysOf(c.Escalations) {
		for _, step := range c.Escalations[name].Steps {
			for _, t := range step.Page {
				r.hollow(c, t)
			}
		}
	}
	for _, name := range keysOf(c.Schedules) {
		r.hollow(c, c.Schedules[name].Fallback)
	}
}

func (r *reader) hollow(c *Config, t Target) {
	team, ok := c.Teams[t.Name]
	if t.Kind == "team" && ok && len(team.Members) == 0 {
		r.complain(t.At, fmt.Sprintf("team %s has no members: this pages nobody", t.Name), "give it members, or page somebody else")
	}
}
