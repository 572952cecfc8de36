package correlate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// weigh looks at every marked scope until none is marked.
func (d *Domain) weigh() {
	for len(d.marked) > 0 {
		d.weighMarked()
	}
}

// weighMarked looks at the scopes that are marked now, in the order of their keys.
func (d *Domain) weighMarked() {
	scs := d.marked
	d.marked = nil
	slices.SortFunc(scs, func(a, b *scope) int { return a.key.compare(b.key) })
	for _, sc := range scs {
		sc.marked = false
		d.over(sc)
		d.tidy(sc)
	}
}

// weighPending weighs what commands changed, as of the newest of them, and lets what has fallen due by them since do so at its own time: so it
// makes no difference how many records that changed nothing lay between.
func (d *Domain) weighPending() {
	if d.pending == 0 {
		return
	}
	now := d.now
	d.now, d.pending = d.pending, 0
	for d.leaveDue(); len(d.marked) > 0; d.leaveDue() {
		d.weighMarked()
	}
	d.now = 0 // for what was due before all else is settled already
	d.settle(now)
}

// leaveDue leaves the marked scopes that fall due by now to their own timers, which come first.
func (d *Domain) leaveDue() {
	d.marked = slices.DeleteFunc(d.marked, func(sc *scope) bool {
		due := sc.due(d)
		if due == 0 || due > d.now {
			return false
		}
		sc.marked = false
		d.saved = append(d.saved, sc)
		d.arm(sc)
		return true
	})
}

// tidy forgets a scope of which nothing is left, and sets the timer of any other.
func (d *Domain) tidy(sc *scope) {
	if sc.restUntil != 0 && sc.restUntil <= d.now {
		until, level := sc.restUntil, sc.restLevel
		sc.restUntil, sc.restLevel = 0, tocsin.Measures{}
		d.undo(func() { sc.restUntil, sc.restLevel = until, level })
	}
	d.saved = append(d.saved, sc)
	d.arm(sc)
	if sc.major == nil && sc.restUntil == 0 && len(sc.incidents) == 0 && d.scopes[sc.key] == sc {
		delete(d.scopes, sc.key)
		d.undo(func() { d.scopes[sc.key] = sc })
	}
}

// over decides on one scope: is it over its limit, for long enough, and not said already? What it decides follows from the
// state and the time alone: to weigh twice is to weigh once.
func (d *Domain) over(sc *scope) {
	if sc.major != nil {
		d.follow(sc)
		if sc.major != nil {
			return
		}
	}
	now := d.measure(sc)
	if !reached(sc.rule, now) {
		d.setOver(sc, 0)
		return
	}
	if hold := sc.rule.Hold.Microseconds(); hold > 0 {
		if sc.overSince == 0 {
			d.setOver(sc, d.now)
		}
		if d.now < sc.overSince+hold {
			return
		}
		if !sc.heldOut {
			sc.heldOut = true
			d.undo(func() { sc.heldOut = false })
		}
	}
	if d.now < sc.restUntil && !grown(now, sc.restLevel) || d.covered(sc) {
		return
	}
	d.propose(sc, now)
}

func (d *Domain) setOver(sc *scope, since int64) {
	if was, out := sc.overSince, sc.heldOut; was != since {
		sc.overSince, sc.heldOut = since, false
		d.held = true
		d.undo(func() { sc.overSince, sc.heldOut = was, out })
	}
}

func (d *Domain) measure(sc *scope) tocsin.Measures {
	m := tocsin.Measures{Hosts: len(sc.hosts), Services: len(sc.services), Incidents: len(sc.incidents)}
	for s := range sc.services { // a sum: the order does not matter
		m.Users += d.rules.set.Services[d.syms.text[s]].Users
	}
	return m
}

// reached reports whether one of the rule's any, or each of its all, is reached.
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

// covered reports whether every incident of the scope is already in an open major or candidate, of another scope.
func (d *Domain) covered(sc *scope) bool {
	for id := range sc.incidents {
		if i := d.incidents[id]; i != nil && i.covers == 0 {
			return false
		}
	}
	return true
}

func (d *Domain) propose(sc *scope, now tocsin.Measures) {
	ids := sorted(sc.incidents)
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
	m := &major{batch: d.batch, dirty: true, scope: sc}
	m.Major = tocsin.Major{
		ID: d.number(&d.next.Major), Partition: d.partition, State: tocsin.Proposed, Title: scopeText(sc.labels), Rule: r.Name,
		Scope: sc.labels, Priority: r.Priority, Escalation: r.Escalation, Action: r.Action, OnTimeout: r.OnTimeout,
		DecideAfter: r.DecideAfter, Measures: now, Peak: now, Limits: limits,
		ProposedAt: moment(d.now), DecideBy: moment(d.now).Add(r.DecideAfter), Code: d.codes.take(d.now, d.undo),
	}
	d.majors[m.ID] = m
	sc.major = m
	d.changed.majors = append(d.changed.majors, m)
	d.undo(func() {
		delete(d.majors, m.ID)
		sc.major = nil
		d.looks.set(m, 0)
	})
	d.setOver(sc, 0)
	why := fmt.Sprintf("%s over %s in %s", Said(now), Said(limits), short(r.Window))
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

// Said is m in words, such as 25 hosts, 5 services; what is 0 is left out.
func Said(m tocsin.Measures) string {
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
		m.Incidents = slices.Insert(m.Incidents, at, i.ID)
		d.keepIncident(i)
		i.covers++
	}
	if m.State == tocsin.Confirmed && i.State.Open() && !d.inMajor(i) {
		d.saveIncident(i)
		i.Major = m.ID
		d.say(Effect{Kind: Subsumed, Incident: i.ID, Major: m.ID, Summary: i.Title, Why: "it belongs to the major " + m.Title})
	}
}

// inMajor reports whether a major that is under way has taken i over.
func (d *Domain) inMajor(i *incident) bool {
	m := d.majors[i.Major]
	return m != nil && m.State == tocsin.Confirmed
}

// follow lets an open major list what came to its scope, keeps its largest measures, and lets a candidate lapse of which
// nothing is left.
func (d *Domain) follow(sc *scope) {
	if sc.stale {
		d.setStale(sc, false)
		for _, id := range sorted(sc.incidents) {
			if i := d.incidents[id]; i != nil {
				d.cover(sc.major, i)
			}
		}
	}
	m, now := sc.major, d.measure(sc)
	p := m.Peak
	p.Hosts, p.Services, p.Incidents, p.Users = max(p.Hosts, now.Hosts), max(p.Services, now.Services), max(p.Incidents, now.Incidents), max(p.Users, now.Users)
	if p != m.Peak {
		d.saveMajor(m)
		m.Peak = p
		d.say(Effect{Kind: Grew, Major: m.ID, Summary: m.Title, Why: "now " + Said(now)})
	}
	if m.State == tocsin.Proposed && len(sc.incidents) == 0 {
		d.saveMajor(m)
		m.State, m.DecidedAt, m.DecidedBy = tocsin.Expired, moment(d.now), tocsin.ByItself
		d.say(Effect{Kind: Lapsed, Major: m.ID, Summary: m.Title, Why: "all its incidents have ended or grown old"})
		d.majorEnded(m)
	}
}

// endedAt is when m ended.
func (m *major) endedAt() time.Time {
	if m.ResolvedAt.After(m.DecidedAt) {
		return m.ResolvedAt
	}
	return m.DecidedAt
}

// restUntil is until when the scope of m, which has ended, is not proposed again.
func (m *major) restUntil() int64 {
	if m.scope == nil {
		return m.endedAt().UnixMicro()
	}
	return m.endedAt().Add(m.scope.rule.Cooldown).UnixMicro()
}

// due is when m, which has ended, is forgotten: when its scope has rested.
func (m *major) due(d *Domain) int64 {
	if m.State.Open() || d.majors[m.ID] != m {
		return 0
	}
	return m.restUntil()
}

func (m *major) fire(d *Domain) {
	delete(d.majors, m.ID)
	d.saved = append(d.saved, m)
	d.undo(func() { d.majors[m.ID] = m })
}

// majorEnded lets the scope of m go, which has ended: it rests, so that the same is not proposed at once again.
func (d *Domain) majorEnded(m *major) {
	d.codes.ended(m.Code, m.endedAt(), d.undo)
	for _, id := range m.Incidents {
		if i := d.incidents[id]; i != nil {
			d.keepIncident(i)
			i.covers--
		}
	}
	if sc := m.scope; sc != nil && sc.major == m {
		until, level := sc.restUntil, sc.restLevel
		d.undo(func() { sc.major, sc.restUntil, sc.restLevel = m, until, level })
		sc.major, sc.restUntil, sc.restLevel = nil, m.restUntil(), m.Peak
		d.setStale(sc, false)
	}
	d.arm(m)
	d.markAll()
}
