package correlate

import (
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"tocsin"
)

// A Record is what Apply takes: the events of one journal record, or none where only time has passed.
type Record struct {
	Offset int64
	At     time.Time // receive time, UTC
	Events []tocsin.Event
	Rules  *Rules // from here on these are in force; nil: as before
}

// Apply is all of correlation for one domain: d becomes what it is after r, and the effects say what the world must now be
// told. It does no I/O and knows no clock; d remembers how to undo, until Commit or Rollback. Events may be dropped
// after the call: what is kept is copied.
func Apply(d *Domain, r Record) []Effect {
	from := len(d.out)
	d.move(r)
	d.settle()
	if r.Rules != nil {
		d.setRules(r.Rules)
	}
	for i := range r.Events {
		d.see(&r.Events[i])
	}
	d.weigh()
	return d.out[from:]
}

// move sets the time and place of the record: time never runs back.
func (d *Domain) move(r Record) {
	now, offset := d.now, d.offset
	if at := r.At.UnixMicro(); at > d.now || d.offset != r.Offset+1 {
		d.undo(func() { d.now, d.offset = now, offset })
		d.now, d.offset = max(d.now, at), r.Offset+1
	}
}

// settle fires what is due at or before now, in due order.
func (d *Domain) settle() {
	for {
		e, ok := d.pop(d.now)
		if !ok {
			return
		}
		d.fire(e)
	}
}

// fire looks at what an entry is about: it is due, due later, or no more.
func (d *Domain) fire(e entry) {
	var due int64
	switch x := e.obj.(type) {
	case *series:
		due = x.dueEnds()
	case *incident:
		due = d.incidentDue(x, e.kind)
	case *scope:
		due = e.due
		if e.kind == dueHold {
			due = x.holdDue()
		}
	}
	switch {
	case due == 0:
		return
	case due > e.due:
		d.push(due, e.kind, e.id, e.obj)
		return
	}
	switch x := e.obj.(type) {
	case *series:
		d.ended(x, due, "not repeated in time")
	case *incident:
		d.incidentFires(x, e.kind)
	case *scope:
		d.over(x)
	}
}

func (s *series) dueEnds() int64 {
	if s.status != tocsin.Firing {
		return 0
	}
	return s.endsAt
}

// see folds one event into its alert.
func (d *Domain) see(e *tocsin.Event) {
	s := d.series[e.Fingerprint]
	switch e.Status {
	case tocsin.Firing:
		content := contentOf(e)
		switch {
		case s == nil || s.status != tocsin.Firing:
			d.arrive(s, e, content)
		case s.content == content:
			d.touch(s, d.now, d.ends(s.rule(), e))
		default:
			d.altered(s, e, content)
		}
	case tocsin.Resolved:
		if s != nil && s.status == tocsin.Firing {
			d.repeat(s)
			d.ended(s, micros(e.EndsAt), "said by "+e.Source)
		}
	case tocsin.Acknowledged:
		if s != nil && s.status == tocsin.Firing && s.inc != nil && s.inc.State == tocsin.Triggered {
			d.saveIncident(s.inc)
			s.inc.State, s.inc.AckedAt, s.inc.AckedBy = tocsin.Acked, moment(d.now), "source "+e.Source
			d.say(Effect{Kind: AckedBySender, Incident: s.inc.ID, Alert: s.id, Why: "acknowledged at " + e.Source})
		}
	}
}

// contentOf hashes what a repeat must have in common with what is known, so that nothing is to be looked at again.
func contentOf(e *tocsin.Event) uint64 {
	var h xxhash.Digest
	h.Reset()
	h.Write([]byte{byte(e.Severity)})
	for i := range e.Labels {
		h.WriteString(e.Labels[i].Name)
		h.WriteString("\xff")
		h.WriteString(e.Labels[i].Value)
		h.WriteString("\xfe")
	}
	return h.Sum64()
}

func (s *series) rule() *rule {
	if s.inc != nil {
		return s.inc.rule
	}
	return nil
}

// ends says when a firing alert ends by itself: as its sender said, or as its rule says of senders that say nothing.
func (d *Domain) ends(r *rule, e *tocsin.Event) int64 {
	if !e.EndsAt.IsZero() {
		return max(e.EndsAt.UnixMicro(), d.now+1)
	}
	if r != nil && r.autoResolve > 0 {
		return d.now + r.autoResolve.Microseconds()
	}
	return 0
}

func (d *Domain) repeat(s *series) {
	d.saveSeries(s)
	s.lastAt, s.asOf = d.now, d.offset
	s.count++
}

// arrive places an alert that did not fire: a new one, or one that comes back.
func (d *Domain) arrive(s *series, e *tocsin.Event, content uint64) {
	ls, set := d.rules.enriched(e.Labels)
	if s != nil && s.inc != nil && d.takesBack(s.inc) {
		d.refire(s, e, ls, set, content)
		return
	}
	r := d.rules.claim(ls)
	key, said := r.group(ls, e.Fingerprint)
	g := d.group(groupKey{r.path, key})
	s = d.newSeries(e, ls, content, r)
	why := tocsin.Why{Rule: r.path, Matchers: r.said, Group: said, Set: set}
	a := d.fullRow(s, e, ls, r, key)
	switch i := g.current; {
	case i != nil && i.State.Open() && d.now-i.NewestAt.UnixMicro() <= r.window.Microseconds():
		why.Joined = fmt.Sprintf("joined: the incident's newest alert was %s old, the window is %s", since(d.now, i.NewestAt), r.window)
		d.join(i, s)
		d.say(Effect{Kind: Joined, Incident: i.ID, Alert: s.id, Summary: e.Summary, Why: why.Joined})
	case i != nil && !i.State.Open() && d.takesBack(i):
		why.Joined = "joined: the incident had ended less than " + i.rule.reopen.String() + " ago and came back"
		d.comeBack(i, s)
		d.join(i, s)
	default:
		why.Joined = d.wait(g, s, r, e, ls)
	}
	a.Why = why
}

// takesBack reports whether a returning or new alert of i's group belongs to i again.
func (d *Domain) takesBack(i *incident) bool {
	return i.State.Open() || (i.State == tocsin.Settled && d.now-i.ResolvedAt.UnixMicro() <= i.rule.reopen.Microseconds())
}

// refire lets an alert of i that had ended fire again where it was.
func (d *Domain) refire(s *series, e *tocsin.Event, ls tocsin.Labels, set map[string]string, content uint64) {
	i := s.inc
	d.saveSeries(s)
	d.relabel(s, ls)
	s.status, s.severity, s.content = tocsin.Firing, e.Severity, content
	s.startsAt, s.lastAt, s.endsAt, s.asOf = startOf(e, d.now), d.now, d.ends(i.rule, e), d.offset
	s.count++
	d.push(s.endsAt, dueEnds, s.id, s)
	d.countFiring(1)
	a := d.fullRow(s, e, ls, i.rule, i.Group)
	_, said := i.rule.group(ls, s.fp)
	a.Why = tocsin.Why{Rule: i.rule.path, Matchers: i.rule.said, Group: said, Set: set, Joined: "returned: it fires again in the incident it was in"}
	if !i.State.Open() {
		d.comeBack(i, s)
	} else {
		d.say(Effect{Kind: Joined, Incident: i.ID, Alert: s.id, Summary: e.Summary, Why: a.Why.Joined})
	}
	d.fires(i, s)
}

// altered takes a firing alert whose labels or severity changed: it stays where it is.
func (d *Domain) altered(s *series, e *tocsin.Event, content uint64) {
	ls, set := d.rules.enriched(e.Labels)
	d.saveSeries(s)
	r := d.rules.claim(ls)
	if s.inc != nil {
		r = s.inc.rule
		d.saveIncident(s.inc)
		d.uncount(s.inc, s)
		s.inc.worst[s.severity]--
	}
	d.relabel(s, ls)
	s.severity, s.content, s.lastAt, s.asOf = e.Severity, content, d.now, d.offset
	s.endsAt = d.ends(r, e)
	s.count++
	d.push(s.endsAt, dueEnds, s.id, s)
	key, said := r.group(ls, s.fp)
	a := d.fullRow(s, e, ls, r, key)
	a.Why = tocsin.Why{Rule: r.path, Matchers: r.said, Group: said, Set: set, Joined: "stayed: its labels or severity changed while it fires"}
	if s.inc != nil {
		s.inc.worst[s.severity]++
		s.inc.Labels = agree(s.inc.Labels, ls)
		d.enterScopes(s.inc, s)
		d.revalue(s.inc)
	}
}

func (d *Domain) newSeries(e *tocsin.Event, ls tocsin.Labels, content uint64, r *rule) *series {
	next := d.next
	d.undo(func() { d.next = next })
	s := &series{
		id: d.number(&d.next.Alert), fp: e.Fingerprint, labels: d.syms.pack(ls), content: content,
		startsAt: startOf(e, d.now), firstAt: d.now, lastAt: d.now, endsAt: d.ends(r, e), count: 1, asOf: d.offset,
		host: d.syms.hold(tocsin.HostOf(ls)), service: d.syms.hold(ls.Get("service")),
		status: tocsin.Firing, severity: e.Severity, batch: d.batch, dirty: true,
	}
	old := d.series[s.fp]
	d.series[s.fp] = s
	d.keepChunk(s)
	d.undo(func() {
		d.dropChunk(s)
		d.syms.release(s.labels)
		d.syms.drop(s.host)
		d.syms.drop(s.service)
		s.status, s.endsAt = 0, 0 // entries of the heap that still point here are stale
		if old != nil {
			d.series[s.fp] = old
		} else {
			delete(d.series, s.fp)
		}
	})
	d.changed.series = append(d.changed.series, s)
	d.push(s.endsAt, dueEnds, s.id, s)
	d.countFiring(1)
	return s
}

// relabel gives s the labels ls; the old ones are let go of at the commit.
func (d *Domain) relabel(s *series, ls tocsin.Labels) {
	old := &series{labels: s.labels, host: s.host, service: s.service}
	s.labels, s.host, s.service = d.syms.pack(ls), d.syms.hold(tocsin.HostOf(ls)), d.syms.hold(ls.Get("service"))
	now := &series{labels: s.labels, host: s.host, service: s.service}
	d.changed.forgotten = append(d.changed.forgotten, old)
	d.undo(func() {
		d.syms.release(now.labels)
		d.syms.drop(now.host)
		d.syms.drop(now.service)
	})
}

func (d *Domain) countFiring(n int) {
	d.firing += n
	d.undo(func() { d.firing -= n })
}

// fullRow begins the whole row of s; the rest is filled in by Writes.
func (d *Domain) fullRow(s *series, e *tocsin.Event, ls tocsin.Labels, r *rule, group string) *tocsin.Alert {
	a := &tocsin.Alert{
		ID: s.id, Partition: d.partition, Fingerprint: s.fp, Source: e.Source, Key: e.Key, Word: e.Word, Summary: e.Summary,
		About: e.About, Labels: ls, Annotations: e.Annotations, URL: e.URL,
		StartsAt: moment(s.startsAt), FirstAt: moment(s.firstAt), Rule: r.path, Group: group,
	}
	if d.changed.full == nil {
		d.changed.full = map[*series]*tocsin.Alert{}
	}
	d.changed.full[s] = a
	return a
}

func startOf(e *tocsin.Event, now int64) int64 {
	if e.StartsAt.IsZero() {
		return now
	}
	return e.StartsAt.UnixMicro()
}

// wait puts s into its group and opens an incident when the group has enough. It says what became of s.
func (d *Domain) wait(g *group, s *series, r *rule, e *tocsin.Event, ls tocsin.Labels) string {
	if short := d.short(g, s, r); short != "" {
		d.saveGroup(g)
		s.grp = g
		g.waiting = append(g.waiting, s)
		return "waiting: " + short
	}
	waiting := g.waiting
	why := "opened: no incident of this group takes new alerts"
	if i := g.current; i != nil && i.State.Open() {
		why = fmt.Sprintf("opened: the newest alert of the incident before, %d, was %s old, the window is %s", i.ID, since(d.now, i.NewestAt), r.window)
	}
	i := d.openIncident(g, r, s, e, ls, why)
	for _, w := range waiting {
		d.saveSeries(w)
		w.grp = nil
		d.join(i, w)
	}
	d.join(i, s)
	d.begin(i)
	return why
}

// short says what a group with s in it still lacks before it opens an incident; "" when it has enough.
func (d *Domain) short(g *group, s *series, r *rule) string {
	w := r.openWhen
	if w.Alerts <= 1 && w.Hosts <= 1 && w.Services <= 1 {
		return ""
	}
	alerts, hosts, services := 0, map[uint32]bool{}, map[uint32]bool{}
	for _, x := range append(g.waiting[:len(g.waiting):len(g.waiting)], s) {
		if w.Within > 0 && d.now-x.firstAt > w.Within.Microseconds() {
			continue
		}
		alerts++
		if x.host != 0 {
			hosts[x.host] = true
		}
		if x.service != 0 {
			services[x.service] = true
		}
	}
	switch {
	case alerts < w.Alerts:
		return fmt.Sprintf("%d of %d alerts", alerts, w.Alerts)
	case len(hosts) < w.Hosts:
		return fmt.Sprintf("%d of %d hosts", len(hosts), w.Hosts)
	case len(services) < w.Services:
		return fmt.Sprintf("%d of %d services", len(services), w.Services)
	}
	return ""
}

func since(now int64, t time.Time) time.Duration {
	return (time.Duration(now-t.UnixMicro()) * time.Microsecond).Round(time.Second)
}
