package correlate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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
	Writer uint64 // who wrote the record, and its number there: 0 where the journal makes no copies
	Seq    uint64
}

// Apply is all of correlation for one domain: d becomes what it is after r, and the effects say what the world must now be
// told. It does no I/O and knows no clock; d remembers how to undo, until Commit or Rollback. Until then the events must stay
// as they are; what is kept longer is copied.
func Apply(d *Domain, r Record) []Effect {
	from := len(d.out)
	d.begin()
	d.weighPending()
	to := max(d.now, r.At.UnixMicro())
	d.offset = r.Offset + 1
	d.settle(to)
	if r.Rules != nil {
		d.setRules(r.Rules)
	}
	for i := range r.Events {
		d.see(&r.Events[i])
	}
	d.weigh()
	d.settle(to) // what falls due at this very moment
	return d.out[from:len(d.out):len(d.out)]
}

// see folds one event into its alert.
func (d *Domain) see(e *tocsin.Event) {
	s := d.series[e.Fingerprint]
	switch e.Status {
	case tocsin.Firing:
		switch {
		case s == nil:
			d.arrive(nil, e)
		case s.status != tocsin.Firing && s.early():
			d.late(s, e)
		case s.status != tocsin.Firing:
			d.arrive(s, e)
		case s.content == contentOf(e):
			d.touch(s, d.now, endsOf(d.ruleOf(s), e, d.now))
		default:
			d.altered(s, e)
		}
	case tocsin.Resolved:
		switch {
		case s == nil:
			d.endsEarly(e)
		case s.status == tocsin.Firing:
			d.repeat(s)
			d.resolve(s, micros(e.EndsAt), "said by "+e.Source)
		}
	case tocsin.Acknowledged:
		if s == nil || s.status != tocsin.Firing || s.inc == nil {
			return
		}
		d.decided = true // a command may have been first: it must be asked
		if i := s.inc; i.State == tocsin.Triggered {
			d.saveIncident(i)
			i.State, i.AckedAt, i.AckedBy = tocsin.Acked, moment(d.now), "source "+e.Source
			d.say(Effect{Kind: AckedBySender, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: "acknowledged at " + e.Source})
		}
	}
}

// severityOf is the severity of e; what no door says is an error: loud enough to be seen.
func severityOf(e *tocsin.Event) tocsin.Severity {
	if e.Severity < tocsin.Critical || e.Severity > tocsin.Info {
		return tocsin.Error
	}
	return e.Severity
}

// contentOf hashes what a repeat must have in common with what is known, so that nothing is to be looked at again.
func contentOf(e *tocsin.Event) uint64 {
	var room [512]byte
	b := append(room[:0], byte(severityOf(e)))
	for i := range e.Labels {
		l := &e.Labels[i]
		b = append(append(b, l.Name...), 0xff)
		b = append(append(b, l.Value...), 0xfe)
	}
	return xxhash.Sum64(b)
}

// ruleOf returns the rule that s is under; nil for none.
func (d *Domain) ruleOf(s *series) *rule {
	if s.inc != nil {
		return s.inc.rule
	}
	if g := d.waiting[s.id]; g != nil {
		return d.rules.at(g.key.rule)
	}
	return nil
}

// endsOf says when a firing alert ends by itself: as its sender said, or as its rule says of senders that say nothing.
func endsOf(r *rule, e *tocsin.Event, now int64) int64 {
	if !e.EndsAt.IsZero() {
		return max(e.EndsAt.UnixMicro(), now+1)
	}
	if r != nil && r.autoResolve > 0 {
		return now + r.autoResolve.Microseconds()
	}
	return 0
}

func (d *Domain) repeat(s *series) {
	d.saveSeries(s)
	s.lastAt, s.asOf = d.now, d.offset
	s.count++
}

// due is when s ends by itself, or, when it has ended, is forgotten; 0: never.
func (s *series) due() int64 {
	switch {
	case s.gone:
		return 0
	case s.status == tocsin.Firing:
		return s.endsAt
	case s.inc == nil:
		return s.endedAt() + keepEnded.Microseconds()
	}
	return s.endedAt() + max(s.inc.rule.reopen, keepEnded).Microseconds()
}

// early reports whether the end of s came before its firing.
func (s *series) early() bool { return s.at == isEarly }

const isEarly = -1

// endedAt is when it became known that s had ended.
func (s *series) endedAt() int64 { return max(s.lastAt, s.endsAt) }

func (d *Domain) seriesFires(s *series) {
	if s.status == tocsin.Firing {
		d.resolve(s, d.now, "not repeated in time")
		return
	}
	if s.early() {
		d.early--
	}
	d.forgetSeries(s)
}

// forgetSeries drops an alert that has ended from memory; its row stays.
func (d *Domain) forgetSeries(s *series) {
	s.gone = true
	d.ends.set(s, 0)
	d.undo(func() { s.gone = false; d.ends.set(s, s.due()) })
	if d.series[s.fp] == s {
		delete(d.series, s.fp)
		d.undo(func() { d.series[s.fp] = s })
	}
	d.changed.forgotten = append(d.changed.forgotten, s)
}

const (
	// An alert that ended is remembered so long at least: Prometheus says that one has ended for a quarter of an hour, and an
	// end may come before the alert that it ends, when senders retry.
	keepEnded = 16 * time.Minute
	// Of ends that came early, more than these are dropped: their alerts fire until they end by themselves or by hand.
	mostEarly = 10_000
)

// endsEarly keeps the end of an alert that never fired here.
func (d *Domain) endsEarly(e *tocsin.Event) {
	if d.early >= mostEarly {
		return
	}
	ls, set := d.rules.enriched(e.Labels)
	s := d.newSeries(nil, e, ls, nil)
	s.status, s.endsAt, s.at = tocsin.Resolved, d.now, isEarly
	if at := micros(e.EndsAt); at > 0 {
		s.endsAt = min(at, d.now)
	}
	d.firing--
	d.early++
	d.ends.set(s, s.due())
	a := d.fullRow(s, e, ls, groupKey{})
	a.Why = tocsin.Why{Set: set, Joined: "ended: no firing of it is known; one that began before its end and comes later changes nothing"}
}

// late takes the firing of an alert whose end came first.
func (d *Domain) late(s *series, e *tocsin.Event) {
	if e.StartsAt.IsZero() || e.StartsAt.UnixMicro() > s.endsAt {
		d.arrive(s, e)
		return
	}
	ls, set := d.rules.enriched(e.Labels)
	d.repeat(s)
	d.relabel(s, ls)
	s.startsAt, s.severity, s.content = e.StartsAt.UnixMicro(), severityOf(e), contentOf(e)
	a := d.fullRow(s, e, ls, groupKey{})
	a.Why = tocsin.Why{Set: set, Joined: "ended: its end came before its firing"}
}

// arrive places an alert that did not fire: a new one, or one that comes back.
func (d *Domain) arrive(s *series, e *tocsin.Event) {
	ls, set := d.rules.enriched(e.Labels)
	if s != nil && s.inc != nil && d.takesBack(s.inc) {
		d.refire(s, e, ls, set)
		return
	}
	r := d.rules.claim(ls)
	key, said := r.group(ls, e.Fingerprint)
	g := d.group(groupKey{r.path, key})
	s = d.newSeries(s, e, ls, r)
	a := d.fullRow(s, e, ls, g.key)
	a.Why = tocsin.Why{Rule: r.path, Matchers: r.said, Group: said, Set: set}
	switch i := g.current(); {
	case i != nil && i.State.Open() && d.now-i.NewestAt.UnixMicro() <= r.window.Microseconds():
		a.Why.Joined = fmt.Sprintf("joined: the incident's newest alert was %s old, the window is %s", since(d.now, i.NewestAt), short(r.window))
		d.say(Effect{Kind: Joined, Incident: i.ID, Alert: s.id, Summary: e.Summary, Why: a.Why.Joined})
		d.join(i, s)
		d.followAlerts(i)
		d.arm(i)
	case i != nil && !i.State.Open() && d.takesBack(i):
		a.Why.Joined = fmt.Sprintf("joined: the incident had ended %s ago and came back", since(d.now, i.ResolvedAt))
		then := d.comeBack(i, s)
		d.join(i, s)
		then()
		d.arm(i)
	default:
		a.Why.Joined = d.wait(g, s, r, e, ls)
	}
}

// refire lets an alert of an incident fire again that had ended there.
func (d *Domain) refire(s *series, e *tocsin.Event, ls tocsin.Labels, set map[string]string) {
	i := s.inc
	d.saveSeries(s)
	d.relabel(s, ls)
	s.status, s.severity, s.content = tocsin.Firing, severityOf(e), contentOf(e)
	s.startsAt, s.lastAt, s.endsAt, s.asOf = startOf(e, d.now), d.now, endsOf(i.rule, e, d.now), d.offset
	s.count++
	d.ends.set(s, s.endsAt)
	d.firing++
	a := d.fullRow(s, e, ls, groupKey{i.Rule, i.Group})
	a.Why = tocsin.Why{Rule: i.rule.path, Matchers: i.rule.said, Group: groupSaid(i.Group), Set: set, Joined: "returned: it fires again in the incident it was in"}
	then := func() { d.followAlerts(i) }
	if i.State.Open() {
		d.say(Effect{Kind: Joined, Incident: i.ID, Alert: s.id, Summary: e.Summary, Why: a.Why.Joined})
	} else {
		then = d.comeBack(i, s)
	}
	d.fires(i, s)
	then()
	d.arm(i)
}

// altered takes a firing alert whose labels or severity changed: it stays where it is.
func (d *Domain) altered(s *series, e *tocsin.Event) {
	ls, set := d.rules.enriched(e.Labels)
	d.repeat(s)
	i, g := s.inc, d.waiting[s.id]
	r, key := d.ruleOf(s), groupKey{}
	if i != nil {
		key = groupKey{i.Rule, i.Group}
		d.calms(i, s)
	} else {
		key = g.key
		d.unwait(g, s)
	}
	d.relabel(s, ls)
	s.severity, s.content, s.endsAt = severityOf(e), contentOf(e), endsOf(r, e, d.now)
	d.ends.set(s, s.endsAt)
	a := d.fullRow(s, e, ls, key)
	a.Why = tocsin.Why{Rule: r.path, Matchers: r.said, Group: groupSaid(key.key), Set: set, Joined: "stayed: its labels or severity changed while it fires"}
	if i == nil {
		d.await(g, s)
		return
	}
	i.Open++
	i.worst[s.severity]++
	i.Labels = agree(i.Labels, ls)
	i.add(s)
	d.undo(func() { i.drop(s) })
	d.count(i, s, i.counted, 1)
	d.followAlerts(i)
	d.arm(i)
}

// newSeries makes an alert that fires; old is what had its fingerprint.
func (d *Domain) newSeries(old *series, e *tocsin.Event, ls tocsin.Labels, r *rule) *series {
	s := &series{
		id: d.number(&d.next.Alert), fp: e.Fingerprint, labels: d.syms.pack(ls), content: contentOf(e),
		startsAt: startOf(e, d.now), firstAt: d.now, lastAt: d.now, endsAt: endsOf(r, e, d.now), count: 1, asOf: d.offset,
		host: d.syms.hold(tocsin.HostOf(ls)), service: d.syms.hold(ls.Get("service")),
		status: tocsin.Firing, severity: severityOf(e), batch: d.batch,
	}
	d.series[s.fp] = s
	d.keepChunk(s)
	d.undo(func() {
		d.takeChunk(s)
		d.syms.release(s.labels)
		d.syms.drop(s.host)
		d.syms.drop(s.service)
		s.gone = true
		if old != nil {
			d.series[s.fp] = old
		} else {
			delete(d.series, s.fp)
		}
	})
	d.saveSeries(s)
	d.ends.set(s, s.endsAt)
	d.firing++
	return s
}

// relabel gives s the labels ls; the old ones are let go of at the commit.
func (d *Domain) relabel(s *series, ls tocsin.Labels) {
	old := &series{labels: s.labels, host: s.host, service: s.service}
	s.labels, s.host, s.service = d.syms.pack(ls), d.syms.hold(tocsin.HostOf(ls)), d.syms.hold(ls.Get("service"))
	d.changed.forgotten = append(d.changed.forgotten, old)
	now := &series{labels: s.labels, host: s.host, service: s.service}
	d.undo(func() {
		d.syms.release(now.labels)
		d.syms.drop(now.host)
		d.syms.drop(now.service)
		s.labels, s.host, s.service = old.labels, old.host, old.service
	})
}

// fullRow begins the whole row of s; the rest is filled in by Writes.
func (d *Domain) fullRow(s *series, e *tocsin.Event, ls tocsin.Labels, key groupKey) *tocsin.Alert {
	a := &tocsin.Alert{
		ID: s.id, Partition: d.partition, Fingerprint: s.fp, Source: e.Source, Key: e.Key, Word: e.Word, Summary: e.Summary,
		About: e.About, Labels: ls, Annotations: e.Annotations, URL: e.URL,
		StartsAt: moment(s.startsAt), FirstAt: moment(s.firstAt), Rule: key.rule, Group: key.key,
	}
	c := d.saveSeries(s)
	c.full, c.joined = a, ""
	return a
}

func startOf(e *tocsin.Event, now int64) int64 {
	if e.StartsAt.IsZero() {
		return now
	}
	return e.StartsAt.UnixMicro()
}

// wait puts s into its group, or opens an incident when the group has enough. It says what became of s.
func (d *Domain) wait(g *group, s *series, r *rule, e *tocsin.Event, ls tocsin.Labels) string {
	if lacks := d.lacks(g, s, r); lacks != "" {
		d.await(g, s)
		return "waiting: " + lacks
	}
	why := "opened: no incident of this group takes new alerts"
	if i := g.current(); i != nil && i.State.Open() {
		why = fmt.Sprintf("opened: the newest alert of the incident before, %d, was %s old, the window is %s", i.ID, since(d.now, i.NewestAt), short(r.window))
	}
	d.openIncident(g, r, s, e, ls, why)
	return why
}

// await lets s wait in g; unwait takes it out.
func (d *Domain) await(g *group, s *series) {
	g.add(s)
	d.waiting[s.id] = g
	d.undo(func() { g.drop(s); delete(d.waiting, s.id) })
}

func (d *Domain) unwait(g *group, s *series) {
	g.drop(s)
	delete(d.waiting, s.id)
	d.undo(func() { g.add(s); d.waiting[s.id] = g })
}

// add keeps those that wait in the order of their ids, which is that of their arrival.
func (g *group) add(s *series) {
	at, _ := slices.BinarySearchFunc(g.waiting, s.id, compareID)
	g.waiting = slices.Insert(g.waiting, at, s)
	if g.hosts == nil {
		g.hosts, g.services = map[uint32]int32{}, map[uint32]int32{}
	}
	bump(g.hosts, s.host, 1)
	bump(g.services, s.service, 1)
}

func (g *group) drop(s *series) {
	at, _ := slices.BinarySearchFunc(g.waiting, s.id, compareID)
	g.waiting = slices.Delete(g.waiting, at, at+1)
	bump(g.hosts, s.host, -1)
	bump(g.services, s.service, -1)
	if len(g.waiting) == 0 {
		g.waiting, g.hosts, g.services = nil, nil, nil
	}
}

func compareID(s *series, id int64) int { return cmp.Compare(s.id, id) }

// lacks says what a group with s in it still lacks before it opens an incident; "" when it has enough.
func (d *Domain) lacks(g *group, s *series, r *rule) string {
	w := r.openWhen
	if w.Alerts <= 1 && w.Hosts <= 1 && w.Services <= 1 {
		return ""
	}
	hosts, services := g.hosts, g.services
	alerts := len(g.waiting)
	if w.Within > 0 {
		alerts, hosts, services = 0, map[uint32]int32{}, map[uint32]int32{}
		for _, x := range slices.Backward(g.waiting) {
			if d.now-x.firstAt > w.Within.Microseconds() {
				break
			}
			alerts++
			bump(hosts, x.host, 1)
			bump(services, x.service, 1)
		}
	}
	with := func(m map[uint32]int32, k uint32) int {
		if k != 0 && m[k] == 0 {
			return len(m) + 1
		}
		return len(m)
	}
	switch {
	case alerts+1 < w.Alerts:
		return fmt.Sprintf("%d of %d alerts", alerts+1, w.Alerts)
	case with(hosts, s.host) < w.Hosts:
		return fmt.Sprintf("%d of %d hosts", with(hosts, s.host), w.Hosts)
	case with(services, s.service) < w.Services:
		return fmt.Sprintf("%d of %d services", with(services, s.service), w.Services)
	}
	return ""
}

func since(now int64, t time.Time) string {
	return short((time.Duration(now-t.UnixMicro()) * time.Microsecond).Round(time.Second))
}

// short writes a length as people do: 15m, not 15m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
