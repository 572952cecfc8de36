package paging

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// A Mistake is one thing that is wrong in a Plan.
type Mistake struct {
	Field string // where, in the configuration's names: escalations.platform.steps[0].page[1]
	Text  string // what, and how to mend it
}

func (m *Mistake) Error() string { return m.Field + ": " + m.Text }

// Limits on what a plan may say.
const (
	maxRepeat        = 100
	longestPatience  = 7 * 24 * time.Hour
	longestNotify    = 24 * time.Hour
	shortestPatience = time.Second
)

// Validate reports every mistake in p, each a *Mistake joined by errors.Join. schedule says whether there is one of that name;
// nil: that is not checked.
func (p *Plan) Validate(schedule func(name string) bool) error {
	v := &validation{p: p, schedule: schedule}
	if _, ok := p.Escalations[p.Default]; !ok {
		v.wrong("defaults.escalation", "escalation %q is not defined: without it an alert that nobody owns pages nobody", p.Default)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Escalations)) {
		v.escalation("escalations."+name, name, p.Escalations[name])
	}
	for _, u := range []tocsin.Urgency{tocsin.UrgencyHigh, tocsin.UrgencyLow} {
		if len(p.Notify[u]) == 0 {
			v.wrong("notify."+u.String(), "missing: nobody would be paged")
		}
		v.notify("notify."+u.String(), p.Notify[u])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Own)) {
		if _, ok := p.People[name]; !ok {
			v.wrong("people."+name, "not defined")
		}
		for _, u := range slices.Sorted(maps.Keys(p.Own[name])) {
			v.notify(fmt.Sprintf("people.%s.notify.%s", name, u), p.Own[name][u])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.People)) {
		if name == "" || strings.Contains(name, "/") {
			v.wrong("people", "%q is no name: it may not be empty or have a slash in it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Teams)) {
		t := p.Teams[name]
		for i, m := range t.Members {
			if _, ok := p.People[m]; !ok {
				v.wrong(fmt.Sprintf("teams.%s.members[%d]", name, i), "person %q is not defined", m)
			}
		}
		if _, ok := p.Escalations[t.Escalation]; !ok && t.Escalation != "" {
			v.wrong("teams."+name+".escalation", "escalation %q is not defined", t.Escalation)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(p.Owners)) {
		if _, ok := p.Teams[p.Owners[service]]; !ok {
			v.wrong("services."+service+".owner", "team %q is not defined", p.Owners[service])
		}
	}
	if p.NewID == nil {
		v.wrong("plan", "no source of page ids")
	}
	return errors.Join(v.errs...)
}

type validation struct {
	p        *Plan
	schedule func(string) bool
	errs     []error
}

func (v *validation) wrong(field, format string, args ...any) {
	v.errs = append(v.errs, &Mistake{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (v *validation) escalation(at, name string, e Escalation) {
	if len(e.Steps) == 0 {
		v.wrong(at+".steps", "an escalation needs at least one step")
	}
	if e.Repeat < 0 || e.Repeat > maxRepeat {
		v.wrong(at+".repeat", "%d is not between 0 and %d", e.Repeat, maxRepeat)
	}
	v.then(at, name, e)
	for i, s := range e.Steps {
		at := fmt.Sprintf("%s.steps[%d]", at, i)
		if s.EscalateAfter < shortestPatience || s.EscalateAfter > longestPatience {
			v.wrong(at+".escalate_after", "%s is no time to wait for an answer: between %s and %s", s.EscalateAfter, shortestPatience, short(longestPatience))
		}
		if len(s.Page) == 0 {
			v.wrong(at+".page", "a step needs someone to page")
		}
		for j, target := range s.Page {
			v.target(fmt.Sprintf("%s.page[%d]", at, j), target)
		}
	}
}

// then follows the escalations from e on. A circle is told at each that is in it.
func (v *validation) then(at, name string, e Escalation) {
	if e.Then == "" {
		return
	}
	next, ok := v.p.Escalations[e.Then]
	if !ok {
		v.wrong(at+".then", "escalation %q is not defined", e.Then)
		return
	}
	path := []string{name, e.Then}
	for len(path) <= maxHops+1 {
		if path[len(path)-1] == name {
			v.wrong(at+".then", "%s goes in a circle: after the last round it would begin again; use repeat", strings.Join(path, ", "))
			return
		}
		if next.Then == "" {
			return
		}
		path = append(path, next.Then)
		if next, ok = v.p.Escalations[next.Then]; !ok {
			return // told where it stands
		}
	}
	v.wrong(at+".then", "%s: more than %d escalations after one another", strings.Join(path, ", "), maxHops)
}

func (v *validation) target(at string, target Target) {
	kind, name, ok := strings.Cut(string(target), "/")
	known := false
	switch kind {
	case "person":
		_, known = v.p.People[name]
	case "team":
		_, known = v.p.Teams[name]
	case "schedule":
		known = v.schedule == nil || v.schedule(name)
	case "skill":
		for _, p := range v.p.People {
			known = known || slices.Contains(p.Skills, name)
		}
		if ok && name != "" && !known {
			v.wrong(at, "nobody has skill %q", name)
			return
		}
	default:
		ok = false
	}
	switch {
	case !ok || name == "":
		v.wrong(at, "%q is no target: one of schedule/NAME, person/NAME, team/NAME, skill/NAME", target)
	case !known:
		v.wrong(at, "%s %q is not defined", kind, name)
	}
}

func (v *validation) notify(at string, steps []NotifyStep) {
	last := time.Duration(0)
	for i, n := range steps {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case n.After < 0 || n.After > longestNotify:
			v.wrong(at+".after", "%s is not between 0s and %s", n.After, short(longestNotify))
		case n.After < last:
			v.wrong(at+".after", "%s stands behind %s: write the steps in the order of their times", short(n.After), short(last))
		}
		last = max(last, n.After)
		if len(n.By) == 0 {
			v.wrong(at+".by", "a step needs a channel: sms, voice or email")
		}
		for j, channel := range n.By {
			at := fmt.Sprintf("%s.by[%d]", at, j)
			switch {
			case channel != SMS && channel != Voice && channel != Email:
				v.wrong(at, "%q is no channel: one of sms, voice, email", channel)
			case slices.Contains(n.By[:j], channel):
				v.wrong(at, "%s stands twice", channel)
			}
		}
	}
}
