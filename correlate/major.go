package correlate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// weigh looks at every scope that changed during the record, in the order of first change.
func (d *Domain) weigh() {
	for _, sc := range d.marked {
		sc.marked = false
		d.over(sc)
	}
	d.marked = d.marked[:0]
}

// over decides on one scope: is it over its limit, for long enough, and not said already?
func (d *Domain) over(sc *scope) {
	if sc.major != nil {
		d.follow(sc)
		return
	}
	now := d.measure(sc)
	if !reached(sc.rule, now) {
		d.setOver(sc, 0)
		return
	}
	switch {
	case sc.overSince == 0:
		d.setOver(sc, d.now)
		if sc.rule.Hold > 0 {
			d.push(sc.holdDue(), dueHold, int64(sc.key.rule), sc)
			return
		}
	case d.now < sc.overSince+sc.rule.Hold.Microseconds():
		return
	}
	if d.now < sc.restUntil && !grown(now, sc.restLevel) || d.covered(sc) {
		return
	}
	d.propose(sc, now)
}

func (d *Domain) setOver(sc *scope, since int64) {
	if was := sc.overSince; was != since {
		sc.overSince = since
		d.undo(func() { sc.overSince = was })
	}
}

func (sc *scope) holdDue() int64 {
	if sc.overSince == 0 || sc.major != nil {
		return 0
	}
	return sc.overSince + sc.rule.Hold.Microseconds()
}

func (d *Domain) measure(sc *scope) tocsin.Measures {
	m := tocsin.Measures{Hosts: len(sc.hosts), Services: len(sc.services), Incidents: len(sc.incidents)}
	for s := range sc.services { // a sum: the order does not matter
		m.Users += d.rules.set.Services[d.syms.text[s]].Users
	}
	return m
}

// reached reports whether any of the rule's any, or all of its all, are reached.
func reached(r *majorRule, m tocsin.Measures) bool {
	pairs := func(l tocsin.Measures) [4][2]int {
		return [4][2]int{{m.Hosts, l.Hosts}, {m.Services, l.Services}, {m.Incidents, l.Incidents}, {m.Users, l.Users}}
	}
	for _, p := range pairs(r.Any) {
		if p[1] > 0 && p[0] >= p[1] {
			return true
		}
	}
	asked := false
	for _, p := range pairs(r.All) {
		if p[1] > 0 {
			asked = true
			if p[0] < p[1] {
				return false
			}
		}
	}
	return asked
}

// grown reports whether a measure is half as large again as it was.
func grown(now, was tocsin.Measures) bool {
	more := func(n, w int) bool { return w > 0 && 2*n >= 3*w }
	return more(now.Hosts, was.Hosts) || more(now.Services, was.Services) || more(now.Incidents, was.Incidents) || more(now.Users, was.Users)
}

// covered reports whether every incident of the scope is already in an open major or candidate of another one.
func (d *Domain) covered(sc *scope) bool {
	for id := range sc.incidents {
		if i := d.incidents[id]; i != nil && i.Major == 0 && i.candidate == 0 {
			return false
		}
	}
	return true
}

func (d *Domain) propose(sc *scope, now tocsin.Measures) {
	next := d.next
	d.undo(func() { d.next = next })
	ids := sorted(sc.incidents)
	m := &major{batch: d.batch, dirty: true}
	for _, id := range ids {
		if i := d.incidents[id]; i != nil && (now.Since.IsZero() || i.OpenedAt.Before(now.Since)) {
			now.Since = i.OpenedAt
		}
	}
	r := sc.rule
	limits := r.Any
	if limits == (tocsin.Measures{}) {
		limits = r.All
	}
	m.Major = tocsin.Major{
		ID: d.number(&d.next.Major), Partition: d.partition, State: tocsin.Proposed, Title: scopeText(sc.labels), Rule: r.Name,
		Scope: sc.labels, Priority: r.Priority, Escalation: r.Escalation, Action: r.Action, OnTimeout: r.OnTimeout,
		DecideAfter: r.DecideAfter, Measures: now, Peak: now, Limits: limits,
		ProposedAt: moment(d.now), DecideBy: moment(d.now).Add(r.DecideAfter), Code: d.codes.take(d.now),
	}
	code := m.Code
	d.majors[m.ID] = m
	sc.major = m
	d.changed.majors = append(d.changed.majors, m)
	d.undo(func() { delete(d.majors, m.ID); sc.major = nil; d.codes.forget(code) })
	why := fmt.Sprintf("%s over %s in %s", said(now), said(limits), r.Window)
	if r.Action == "promote" {
		m.State, m.Phase, m.DecidedAt, m.DecidedBy = tocsin.Confirmed, "identify", moment(d.now), "rule "+r.Name
		d.say(Effect{Kind: Promoted, Major: m.ID, Summary: m.Title, Why: why})
	} else {
		d.say(Effect{Kind: Proposed, Major: m.ID, Summary: m.Title, Why: why})
	}
	for _, id := range ids {
		if i := d.incidents[id]; i != nil {
			d.cover(m, i)
		}
	}
}

func scopeText(ls tocsin.Labels) string {
	var vs []string
	for _, l := range ls {
		vs = append(vs, l.Value)
	}
	return strings.Join(vs, ", ")
}

func said(m tocsin.Measures) string {
	var s []string
	for _, x := range []struct {
		n    int
		word string
	}{{m.Hosts, "hosts"}, {m.Services, "services"}, {m.Incidents, "incidents"}, {m.Users, "users"}} {
		if x.n > 0 {
			s = append(s, fmt.Sprintf("%d %s", x.n, x.word))
		}
	}
	return strings.Join(s, ", ")
}

// cover adds i to what m is about; a confirmed major takes it over, and its own pages stop.
func (d *Domain) cover(m *major, i *incident) {
	if at, is := slices.BinarySearch(m.Incidents, i.ID); !is {
		d.saveMajor(m)
		m.Incidents = slices.Insert(slices.Clone(m.Incidents), at, i.ID)
	}
	if i.candidate == 0 {
		i.candidate = m.ID
		d.undo(func() { i.candidate = 0 })
	}
	if m.State == tocsin.Confirmed && i.Major == 0 && i.State.Open() {
		d.saveIncident(i)
		i.Major = m.ID
		d.say(Effect{Kind: Subsumed, Incident: i.ID, Major: m.ID, Summary: i.Title, Why: "it belongs to the major " + m.Title})
	}
}

// follow keeps the largest measures of an open major, and lets a candidate lapse of which nothing is left.
func (d *Domain) follow(sc *scope) {
	m, now := sc.major, d.measure(sc)
	p := m.Peak
	p.Hosts, p.Services, p.Incidents, p.Users = max(p.Hosts, now.Hosts), max(p.Services, now.Services), max(p.Incidents, now.Incidents), max(p.Users, now.Users)
	if p != m.Peak {
		d.saveMajor(m)
		m.Peak = p
		d.say(Effect{Kind: Grew, Major: m.ID, Summary: m.Title, Why: "now " + said(now)})
	}
	if m.State == tocsin.Proposed && len(sc.incidents) == 0 {
		d.saveMajor(m)
		m.State, m.DecidedAt, m.DecidedBy = tocsin.Expired, moment(d.now), tocsin.ByItself
		d.say(Effect{Kind: Lapsed, Major: m.ID, Summary: m.Title, Why: "all its incidents have ended or grown old"})
		d.decided(sc, m)
	}
}

// decided lets the scope go after its major has ended: it rests, so that the same is not proposed at once again.
func (d *Domain) decided(sc *scope, m *major) {
	major, until, level := sc.major, sc.restUntil, sc.restLevel
	d.undo(func() { sc.major, sc.restUntil, sc.restLevel = major, until, level })
	sc.major = nil
	sc.restUntil, sc.restLevel = m.DecidedAt.Add(sc.rule.Cooldown).UnixMicro(), m.Peak
	if !m.ResolvedAt.IsZero() {
		sc.restUntil = m.ResolvedAt.Add(sc.rule.Cooldown).UnixMicro()
	}
	d.setOver(sc, 0)
	d.endMajorCode(m)
	for _, id := range m.Incidents {
		if i := d.incidents[id]; i != nil && i.candidate == m.ID {
			i.candidate = 0
			d.undo(func() { i.candidate = m.ID })
		}
	}
}

func (d *Domain) endMajorCode(m *major) {
	code, at := m.Code, m.DecidedAt
	if m.ResolvedAt.After(at) {
		at = m.ResolvedAt
	}
	d.codes.ended(code, at)
	d.undo(func() { d.codes.again(code) })
}

// link finds the scope of m again after the scopes were made anew or loaded.
func (d *Domain) link(m *major) {
	for n, r := range d.rules.majors {
		if r.Name != m.Rule {
			continue
		}
		sc := d.scopeFor(n, m.Scope)
		if sc == nil {
			continue
		}
		if m.State.Open() {
			was := sc.major
			d.undo(func() { sc.major = was })
			sc.major = m
			for _, id := range m.Incidents {
				if i := d.incidents[id]; i != nil && i.candidate == 0 {
					i.candidate = m.ID
				}
			}
			continue
		}
		if until := m.DecidedAt.Add(r.Cooldown).UnixMicro(); until > sc.restUntil {
			sc.restUntil, sc.restLevel = until, m.Peak
		}
	}
}

// Cooldown of majors that a load must look back for.
const longestCooldown = 24 * time.Hour
