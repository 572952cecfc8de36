package correlate

import (
	"slices"
	"time"

	"tocsin"
)

// A Snapshot is what the rows of a partition say: what a Domain is loaded from.
type Snapshot struct {
	Rules     *Rules
	Next      Counters
	Offset    int64     // the next one to apply
	SeenAt    time.Time // highest receive time applied
	Incidents []tocsin.Incident
	Majors    []tocsin.Major    // open ones, and those decided within LookBack
	Codes     map[int]time.Time // when the incident or major of a code ended, within CodeRest; zero: it is open
}

// LookBack is how long ago an incident or a major may have ended and still be part of a Snapshot.
func (r *Rules) LookBack() time.Duration {
	back := DefaultReopen
	for _, x := range r.byPath {
		back = max(back, x.reopen, x.quiet)
	}
	for _, m := range r.majors {
		back = max(back, m.Cooldown)
	}
	return back + time.Minute
}

// Restore returns the domain that a snapshot's rows describe, without its alerts: AddAlert brings them, then Ready.
func Restore(partition, partitions int, s Snapshot) *Domain {
	d := NewDomain(partition, partitions)
	if s.Rules != nil {
		d.rules = s.Rules
	}
	d.next, d.now, d.offset = s.Next, micros(s.SeenAt), s.Offset
	slices.SortFunc(s.Incidents, func(a, b tocsin.Incident) int { return int(a.ID - b.ID) })
	for _, x := range s.Incidents {
		i := &incident{Incident: x, rule: d.rules.at(x.Rule)}
		i.Open, i.Alerts = 0, x.Alerts
		g := d.group(groupKey{x.Rule, x.Group})
		i.grp, g.current = g, i
		d.incidents[x.ID] = i
		if x.State.Open() {
			d.open++
		}
	}
	for _, x := range s.Majors {
		d.majors[x.ID] = &major{Major: x}
	}
	for code, ended := range s.Codes {
		d.codes.mark(code)
		if !ended.IsZero() {
			d.codes.used[code] = ended.UnixMicro()
			d.codes.rest = append(d.codes.rest, resting{code, ended.UnixMicro()})
		}
	}
	slices.SortFunc(d.codes.rest, func(a, b resting) int { return int(a.at - b.at) })
	return d
}

// AddAlert brings one alert of a snapshot: one that fires, or one that ended and whose incident is in the snapshot.
// Rows may come in any order.
func (d *Domain) AddAlert(a *tocsin.Alert) {
	i := d.incidents[a.Incident]
	if i == nil && a.Status != tocsin.Firing {
		return
	}
	s := &series{
		id: a.ID, fp: a.Fingerprint, inc: i, labels: d.syms.pack(a.Labels), content: a.Content,
		startsAt: micros(a.StartsAt), firstAt: micros(a.FirstAt), lastAt: micros(a.LastAt), endsAt: micros(a.EndsAt),
		count: a.Count, asOf: a.AsOf, host: d.syms.hold(tocsin.HostOf(a.Labels)), service: d.syms.hold(a.Labels.Get("service")),
		status: a.Status, severity: a.Severity,
	}
	if old := d.series[s.fp]; old == nil || old.id < s.id {
		d.series[s.fp] = s
	}
	d.keepChunk(s)
	if s.status == tocsin.Firing {
		d.firing++
	}
	if i == nil {
		g := d.group(groupKey{a.Rule, a.Group})
		s.grp = g
		g.waiting = append(g.waiting, s)
		return
	}
	i.members = append(i.members, s)
	if s.status == tocsin.Firing {
		i.Open++
		i.worst[s.severity]++
	}
}

// Ready ends a load: everything that is derived is derived.
func (d *Domain) Ready() {
	for _, id := range sorted(d.incidents) {
		i := d.incidents[id]
		slices.SortFunc(i.members, func(a, b *series) int { return int(a.id - b.id) })
		for _, s := range i.members {
			d.push(s.dueEnds(), dueEnds, s.id, s)
		}
	}
	for _, g := range d.groups {
		slices.SortFunc(g.waiting, func(a, b *series) int { return int(a.id - b.id) })
		for _, s := range g.waiting {
			d.push(s.dueEnds(), dueEnds, s.id, s)
		}
	}
	d.rebuildScopes()
	for _, id := range sorted(d.incidents) {
		d.arm(d.incidents[id])
	}
	for _, k := range d.scopeKeys() {
		d.push(d.now+1, dueWeigh, int64(k.rule), d.scopes[k])
	}
	d.endBatch()
}

// Retouch takes in again what the events of a record before the snapshot's offset said of alerts that only repeated: no row
// was written for those.
func (d *Domain) Retouch(r Record) {
	for n := range r.Events {
		e := &r.Events[n]
		s := d.series[e.Fingerprint]
		if s == nil || s.status != tocsin.Firing || e.Status != tocsin.Firing || r.Offset < s.asOf {
			continue
		}
		at := max(r.At.UnixMicro(), s.lastAt)
		s.lastAt, s.asOf = at, r.Offset+1
		s.count++
		if !e.EndsAt.IsZero() {
			s.endsAt = max(e.EndsAt.UnixMicro(), at+1)
		} else if rule := s.rule(); rule != nil && rule.autoResolve > 0 {
			s.endsAt = at + rule.autoResolve.Microseconds()
		}
		if !s.touched {
			s.touched = true
			d.touched = append(d.touched, s)
		}
	}
}
