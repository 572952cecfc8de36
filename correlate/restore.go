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
	Held      []Held            // as last written
	CommandAt time.Time         // of the newest command that the rows contain; zero: none
}

// LookBack is how long before Snapshot.SeenAt an incident, an alert or a major may have ended and still be part of the
// Snapshot. What is older is ignored.
func (r *Rules) LookBack() time.Duration {
	back := max(keepEnded, DefaultReopen)
	for _, x := range r.byPath {
		back = max(back, x.reopen, x.quiet)
	}
	back += HandReopen
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
	if at := micros(s.CommandAt); at > d.now {
		d.pending = at
	}
	for _, x := range s.Incidents {
		i := &incident{Incident: x, rule: d.rules.at(x.Rule)}
		i.Open = 0
		i.lasting = x.State == tocsin.Settled && x.ResolvedBy == tocsin.ByItself && x.ResolvedAt.Add(i.rule.quiet).UnixMicro() <= d.now
		if !x.State.Open() && i.forgetAt() <= d.now {
			continue
		}
		i.grp = d.group(groupKey{x.Rule, x.Group})
		i.grp.remember(i)
		d.incidents[x.ID] = i
		if x.State.Open() {
			d.open++
		}
	}
	for _, x := range s.Majors {
		m := &major{Major: x}
		m.Incidents = slices.Clone(x.Incidents)
		d.majors[x.ID] = m
	}
	d.codes.load(s.Codes)
	for _, h := range s.Held {
		n := slices.IndexFunc(d.rules.majors, func(r *majorRule) bool { return r.Name == h.Rule })
		if n < 0 {
			continue
		}
		if sc := d.scopeOf(n, h.Scope); sc != nil {
			sc.overSince = micros(h.Since)
		}
	}
	return d
}

// AddAlert brings one alert of a snapshot: one that fires, or one that ended within LookBack. Rows may come in any order.
func (d *Domain) AddAlert(a *tocsin.Alert) {
	i := d.incidents[a.Incident]
	s := &series{
		id: a.ID, fp: a.Fingerprint, inc: i, content: a.Content,
		startsAt: micros(a.StartsAt), firstAt: micros(a.FirstAt), lastAt: micros(a.LastAt), endsAt: micros(a.EndsAt),
		count: uint32(a.Count), asOf: a.AsOf, status: a.Status, severity: severityOf(&tocsin.Event{Severity: a.Severity}),
	}
	switch {
	case s.status == tocsin.Firing:
		d.firing++
	case s.status != tocsin.Resolved || i == nil && a.Incident != 0 || s.due() <= d.now:
		return
	case a.Rule == "": // no rule ever saw it
		s.at = isEarly
		d.early++
	}
	s.labels = d.syms.pack(a.Labels)
	s.host, s.service = d.syms.hold(tocsin.HostOf(a.Labels)), d.syms.hold(a.Labels.Get("service"))
	if old := d.series[s.fp]; old == nil || old.id < s.id {
		d.series[s.fp] = s
	}
	d.keepChunk(s)
	switch {
	case s.status != tocsin.Firing:
	case i == nil:
		g := d.group(groupKey{a.Rule, a.Group})
		g.add(s)
		d.waiting[s.id] = g
	default:
		i.Open++
		i.worst[s.severity]++
		i.add(s)
	}
}

// Ready ends a load: everything that is derived is derived.
func (d *Domain) Ready() {
	held := d.scopes
	for _, m := range d.majors {
		if !m.State.Open() {
			continue
		}
		for _, id := range m.Incidents {
			if i := d.incidents[id]; i != nil {
				i.covers++
			}
		}
	}
	d.rebuildScopes()
	for k, sc := range held {
		now := d.scopes[k]
		if now == nil { // a command emptied it, and it was over its limit until that is weighed
			now, d.scopes[k] = sc, sc
			d.mark(sc)
		}
		if now.major == nil {
			now.overSince = sc.overSince
			now.heldOut = sc.overSince+now.rule.Hold.Microseconds() <= d.now
		}
	}
	for _, m := range d.majors {
		if !m.State.Open() && m.due(d) <= d.now {
			delete(d.majors, m.ID)
		}
	}
	d.armAll()
	if len(d.marked) > 0 {
		d.pending = max(d.pending, d.now)
	}
	d.endBatch()
}

// Retouch takes in again what the events of a record before the snapshot's offset said of alerts that only repeated: no row
// was written for those. The rules in force must be those that were when the record was applied: a Worker sees to it by
// writing the touches before each change of rules.
func (d *Domain) Retouch(r Record) {
	var again []*series
	for n := range r.Events {
		e := &r.Events[n]
		s := d.series[e.Fingerprint]
		if s == nil || s.status != tocsin.Firing || e.Status != tocsin.Firing || r.Offset < s.asOf {
			continue
		}
		at := max(r.At.UnixMicro(), s.lastAt)
		d.repeated(s, at, endsOf(d.ruleOf(s), e, at), s.asOf)
		s.count++
		again = append(again, s)
	}
	for _, s := range again {
		s.asOf = r.Offset + 1 // only now: a record may repeat an alert more than once
	}
}
