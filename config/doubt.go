package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/pkg/labels"
)

// doubt warns of what is legal but surely not meant.
func (r *reader) doubt(c *Config) {
	r.doubtRules(c.Rules)
	r.doubtCatchAll(c)
	r.doubtSteps(c)
	r.doubtMajors(c)
	r.doubtPeople(c)
	r.doubtSchedules(c)
}

// dropEchoes removes the doubts about things that have a mistake inside: they may go with it.
func (r *reader) dropEchoes() {
	wrong := map[string]bool{}
	for _, p := range r.problems {
		for path := p.Path; !p.Warning && path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
			wrong[path] = true
		}
	}
	r.problems = slices.DeleteFunc(r.problems, func(p Problem) bool { return p.Warning && wrong[p.Path] })
}

// maxCompared bounds how many rules each one is compared with.
const maxCompared = 500

// doubtRules warns of rules that never decide, because every alert they match is claimed by one before.
func (r *reader) doubtRules(rules []Rule) {
	type known struct {
		Rule
		matchers labels.Matchers
	}
	var before []known
	for _, late := range rules {
		r.doubtRules(late.Rules)
		ms, ok := parsed(late.Matchers)
		if !ok {
			continue
		}
		for _, early := range before {
			if hides(early.matchers, ms) {
				r.warn(late.At, fmt.Sprintf("rule %q never decides: %q in line %d takes every alert it matches", late.Name, early.Name, early.At.Line), "put the narrower rule first")
				break
			}
		}
		if len(before) < maxCompared {
			before = append(before, known{late, ms})
		}
	}
}

// hides reports whether all that late matches is matched by early too: each matcher of early stands in late, or late
// demands a value that it takes.
func hides(early, late labels.Matchers) bool {
	for _, e := range early {
		implied := slices.ContainsFunc(late, func(l *labels.Matcher) bool {
			return l.Name == e.Name && (l.Type == e.Type && l.Value == e.Value || l.Type == labels.MatchEqual && e.Matches(l.Value))
		})
		if !implied {
			return false
		}
	}
	return true
}

func (r *reader) doubtCatchAll(c *Config) {
	all := func(rule Rule) bool { return len(rule.Matchers) == 0 }
	if !slices.ContainsFunc(c.Rules, all) {
		at := Place{File: r.files[0], Path: "rules"}
		if n := len(c.Rules); n > 0 {
			at = c.Rules[n-1].At
			at.Path = "rules"
		}
		r.warn(at, "no rule takes every alert: one that none matches is an incident of its own", "end with a rule without matchers")
	}
	if c.Defaults.Escalation == "" {
		at := c.Defaults.At
		at.Path = "defaults.escalation"
		r.warn(at, "it is missing: an incident whose rule, team and service name no escalation pages nobody", "name the escalation that always has somebody")
	}
	if len(c.Providers) == 0 {
		r.warn(Place{File: r.files[0], Path: "providers"}, "it is missing: nothing can be sent to anybody", "such as providers: {outbox: {kind: sandbox}}")
	}
}

// doubtSteps warns of escalation steps that move on before a person was paged in every way.
func (r *reader) doubtSteps(c *Config) {
	for _, name := range keysOf(c.Escalations) {
		for _, step := range c.Escalations[name].Steps {
			for _, n := range slices.Concat(c.Notify.High, c.Notify.Low) {
				if n.After >= step.EscalateAfter {
					r.warn(step.afterAt, fmt.Sprintf("the escalation moves on after %s, before %s (%s, after %s) is due", step.EscalateAfter, n.At.Path, strings.Join(n.By, " and "), n.After), "give it longer than the last personal step")
					break
				}
			}
		}
	}
}

// doubtMajors warns of rules that one incident alone would trip.
func (r *reader) doubtMajors(c *Config) {
	for _, m := range c.Majors {
		var said []string
		count, ordinary := 0, 0
		look := func(what string, limit int, all bool) {
			if limit == 0 {
				return
			}
			if all {
				count++
			}
			if limit == 1 {
				said = append(said, what+": 1")
				if all {
					ordinary++
				}
			}
		}
		for _, x := range m.Any.each() {
			look(x.name, x.limit, false)
		}
		trips := len(said) > 0
		if !trips {
			for _, x := range m.All.each() {
				look(x.name, x.limit, true)
			}
			trips = count > 0 && ordinary == count
		}
		if trips && m.Hold == 0 {
			r.warn(m.measuresAt, fmt.Sprintf("an ordinary day would trip this: %s is reached by a single incident", strings.Join(said, ", ")), "ask for more than one usually sees")
		}
	}
}

type measure struct {
	name  string
	limit int
}

func (m Measures) each() []measure {
	return []measure{{"hosts", m.Hosts}, {"services", m.Services}, {"incidents", m.Incidents}, {"users", m.Users}}
}

// doubtPeople warns of people who may be paged by a channel for which no address of theirs is known.
func (r *reader) doubtPeople(c *Config) {
	wanted := map[string]bool{}
	for _, n := range slices.Concat(c.Notify.High, c.Notify.Low) {
		for _, ch := range n.By {
			wanted[ch] = true
		}
	}
	for _, name := range pageable(c) {
		p, ok := c.People[name]
		if !ok {
			continue
		}
		if p.Phone == "" && (wanted[SMS] || wanted[Voice]) {
			r.warn(p.At, fmt.Sprintf("%s may be paged by phone and has no number", name), `add phone: "+15005550001", or let them enter it in the console`)
		}
		if p.Email == "" && wanted[Email] {
			r.warn(p.At, fmt.Sprintf("%s may be paged by mail and has no address", name), "add email:, or let them enter it in the console")
		}
	}
}

// pageable returns the names of all whom some escalation may reach.
func pageable(c *Config) []string {
	out := map[string]bool{}
	var reach func(t Target)
	reach = func(t Target) {
		switch t.Kind {
		case "person":
			out[t.Name] = true
		case "team":
			for _, m := range c.Teams[t.Name].Members {
				out[m] = true
			}
		case "skill":
			for name, p := range c.People {
				if slices.Contains(p.Skills, t.Name) {
					out[name] = true
				}
			}
		case "schedule":
			for _, l := range c.Schedules[t.Name].Layers {
				for _, m := range l.Rotation {
					out[m] = true
				}
			}
			if f := c.Schedules[t.Name].Fallback; f.Kind != "schedule" {
				reach(f)
			}
		}
	}
	for _, e := range c.Escalations {
		for _, s := range e.Steps {
			for _, t := range s.Page {
				reach(t)
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// doubtSchedules warns of schedules with hours in which nobody is on call and nobody stands in.
func (r *reader) doubtSchedules(c *Config) {
	for _, name := range keysOf(c.Schedules) {
		s := c.Schedules[name]
		if s.Fallback.Kind != "" || len(s.Layers) == 0 {
			continue
		}
		if free := uncovered(s); free > 0 {
			r.warn(s.At, fmt.Sprintf("nobody is on call for %s of each week, and there is no fallback", Duration(free)*Minute), "add fallback: person/NAME, or a layer without only:")
		}
	}
}

// uncovered counts the minutes of a week that no layer covers. Layers in other zones than the first are taken as they read
// there: an hour more or less makes no doubt.
func uncovered(s Schedule) int {
	const day, week = 24 * 60, 7 * 24 * 60
	var covered [week]bool
	for _, l := range s.Layers {
		if len(l.Rotation) == 0 {
			continue
		}
		if len(l.Only) == 0 {
			return 0
		}
		for _, span := range l.Only {
			for d, on := range span.Days {
				for m := span.From; on && m < span.To; m++ {
					covered[(d*day+m)%week] = true
				}
			}
		}
	}
	free := 0
	for _, on := range covered {
		if !on {
			free++
		}
	}
	return free
}
