package correlate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// openIncident opens a new episode of g for the alert s and those that wait with it, and pages or waits to.
func (d *Domain) openIncident(g *group, r *rule, s *series, e *tocsin.Event, ls tocsin.Labels, why string) {
	i := &incident{rule: r, grp: g, batch: d.batch, dirty: true}
	key := keyText(r, ls, e)
	i.Incident = tocsin.Incident{
		ID: d.number(&d.next.Incident), Partition: d.partition, State: tocsin.Triggered, Title: strings.Clone(cmp.Or(e.Summary, key)),
		Rule: r.path, Key: key, Group: g.key.key, Labels: slices.Clone(d.syms.labels(s.labels)), Service: strings.Clone(tocsin.Handle(ls.Get("service"))),
		Priority: leastPriority, Escalation: r.escalation, Team: strings.Clone(ls.Get("team")), OpenedAt: moment(d.now), NewestAt: moment(d.now),
	}
	d.incidents[i.ID] = i
	d.undo(func() { delete(d.incidents, i.ID) })
	d.saved = append(d.saved, i)
	d.changed.incidents = append(d.changed.incidents, i)
	g.remember(i)
	d.undo(func() { g.forget(i) })
	d.open++
	d.say(Effect{Kind: Opened, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: why})
	for len(g.waiting) > 0 {
		w := g.waiting[0]
		d.unwait(g, w)
		d.join(i, w)
		c := d.saveSeries(w)
		c.joined = "joined: it waited until its group had enough to open an incident"
		d.say(Effect{Kind: Joined, Incident: i.ID, Alert: w.id, Why: c.joined})
	}
	d.join(i, s)
	i.revalue()
	d.giveCode(i)
	d.start(i)
	d.arm(i)
}

const leastPriority = 5

// giveCode gives i the short code that people will answer with, once it is one that people are told of.
func (d *Domain) giveCode(i *incident) {
	if i.Urgency != tocsin.UrgencyNone && i.Code == 0 {
		i.Code = d.codes.take(d.now, d.undo)
	}
}

func keyText(r *rule, ls tocsin.Labels, e *tocsin.Event) string {
	var said []string
	for _, n := range r.groupBy {
		if v := ls.Get(n); v != "" {
			said = append(said, n+"="+v)
		}
	}
	if len(said) == 0 {
		return e.Source + ": " + e.Key
	}
	return strings.Join(said, ", ")
}

// join puts a firing alert into i.
func (d *Domain) join(i *incident, s *series) {
	d.saveSeries(s)
	d.saveIncident(i)
	s.inc = i
	i.Alerts++
	i.Labels = agree(i.Labels, d.syms.labels(s.labels))
	d.fires(i, s)
}

// fires counts a firing alert of i in.
func (d *Domain) fires(i *incident, s *series) {
	d.saveIncident(i)
	i.Open++
	i.worst[s.severity]++
	i.NewestAt = moment(d.now)
	d.enter(i)
	i.add(s)
	d.undo(func() { i.drop(s) })
	d.count(i, s, i.counted, 1)
}

// calms counts an alert of i out that fired until now.
func (d *Domain) calms(i *incident, s *series) {
	d.saveIncident(i)
	d.count(i, s, i.counted, -1)
	i.drop(s)
	d.undo(func() { i.add(s) })
	i.Open--
	i.worst[s.severity]--
}

func (i *incident) add(s *series) {
	s.at = int32(len(i.firing))
	i.firing = append(i.firing, s)
}

func (i *incident) drop(s *series) {
	last := len(i.firing) - 1
	i.firing[s.at] = i.firing[last]
	i.firing[s.at].at = s.at
	i.firing[last] = nil
	i.firing = i.firing[:last]
	if last == 0 {
		i.firing = nil
	}
}

// agree keeps of a what b has too.
func agree(a, b tocsin.Labels) tocsin.Labels {
	same := func(l tocsin.Label) bool { return b.Get(l.Name) == l.Value }
	if !slices.ContainsFunc(a, func(l tocsin.Label) bool { return !same(l) }) {
		return a
	}
	var out tocsin.Labels
	for _, l := range a {
		if same(l) {
			out = append(out, l)
		}
	}
	return out
}

// revalue lets severity and urgency follow the worst firing alert; priority rises with it, and falls only by a person. When
// none fires, what it was stays said.
func (i *incident) revalue() {
	worst := slices.IndexFunc(i.worst[:], func(n int32) bool { return n > 0 })
	if worst < 0 {
		return
	}
	i.Severity = tocsin.Severity(worst)
	i.Priority = min(i.Priority, tocsin.PriorityOf(i.Severity))
	i.Urgency = tocsin.UrgencyNone
	for sev, n := range i.worst {
		if n > 0 {
			i.Urgency = max(i.Urgency, i.rule.urgency[sev])
		}
	}
}

// followAlerts lets i be what its alerts are; a rise of the urgency pages again, also after an ack.
func (d *Domain) followAlerts(i *incident) {
	was := i.Urgency
	i.revalue()
	if i.Urgency <= was || !i.State.Open() {
		return
	}
	d.giveCode(i)
	d.say(Effect{Kind: Rose, Incident: i.ID, Summary: i.Title, Why: fmt.Sprintf("urgency rose from %s to %s: an alert is %s", was, i.Urgency, i.Severity)})
	if d.inMajor(i) {
		return // the major's people have it
	}
	if i.State == tocsin.Acked {
		i.State, i.AckedAt, i.AckedBy = tocsin.Triggered, time.Time{}, ""
	}
	if i.PageAt.IsZero() {
		i.PageAt = i.OpenedAt.Add(i.rule.groupWait)
	}
	if i.PageAt.UnixMicro() <= d.now {
		d.pageNow(i, "the urgency rose to "+i.Urgency.String())
	}
	d.arm(i)
}

// start begins group_wait, or pages at once where there is none.
func (d *Domain) start(i *incident) {
	if i.Urgency == tocsin.UrgencyNone || d.inMajor(i) {
		return
	}
	i.PageAt = i.OpenedAt.Add(i.rule.groupWait)
	if i.rule.groupWait <= 0 {
		d.pageNow(i, "it opened")
	}
}

func (d *Domain) pageNow(i *incident, why string) {
	if i.Urgency == tocsin.UrgencyNone || d.inMajor(i) {
		return
	}
	d.saveIncident(i)
	i.Paged = true
	if i.PageAt.IsZero() || i.PageAt.UnixMicro() > d.now {
		i.PageAt = moment(d.now)
	}
	d.say(Effect{Kind: PageNow, Incident: i.ID, Summary: i.Title, Why: why})
}

// resolve ends a firing alert, and its incident when it was the last.
func (d *Domain) resolve(s *series, at int64, why string) {
	c := d.saveSeries(s)
	s.status = tocsin.Resolved
	s.endsAt = d.now
	if at > 0 {
		s.endsAt = min(at, d.now)
	}
	d.firing--
	i := s.inc
	if i == nil {
		g := d.waiting[s.id]
		c.key = g.key
		d.unwait(g, s)
		d.dropGroup(g)
		d.ends.set(s, s.due())
		return
	}
	d.calms(i, s)
	d.ends.set(s, s.due())
	switch {
	case !i.State.Open():
		i.revalue()
	case i.Open > 0:
		i.revalue()
		d.say(Effect{Kind: Eased, Incident: i.ID, Alert: s.id, Why: why})
	default:
		i.State, i.ResolvedAt, i.ResolvedBy, i.lasting = tocsin.Settled, moment(d.now), tocsin.ByItself, false
		d.closed(i)
		d.say(Effect{Kind: Recovered, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: "all its alerts have ended; the last one: " + why})
	}
	d.arm(i)
}

// closed takes an incident out of what is counted that was open until now.
func (d *Domain) closed(i *incident) {
	d.open--
	d.leave(i, ^uint64(0))
	d.codes.ended(i.Code, i.ResolvedAt, d.undo)
}

// reopened is the reverse of closed, for an incident that comes back.
func (d *Domain) reopened(i *incident) {
	d.open++
	i.lasting = false
	d.codes.again(i.Code, d.undo)
	d.enter(i)
}

// takesBack reports whether a returning or new alert of i's group belongs to i again.
func (d *Domain) takesBack(i *incident) bool {
	if i.State.Open() {
		return true
	}
	return i.State == tocsin.Settled && (i.quiet() || d.now-i.ResolvedAt.UnixMicro() <= i.rule.reopen.Microseconds())
}

// quiet reports whether i recovered so recently that it may not last.
func (i *incident) quiet() bool {
	return i.State == tocsin.Settled && i.ResolvedBy == tocsin.ByItself && !i.lasting
}

// comeBack opens an ended incident again, as s is about to fire in it; what it returns is called when s does. Within quiet
// it is as if nothing had been; after that it is a new start.
func (d *Domain) comeBack(i *incident, s *series) (then func()) {
	d.saveIncident(i)
	quiet := i.quiet()
	why := "an alert of the same group fires again"
	if i.ResolvedBy != tocsin.ByItself {
		why = i.ResolvedBy + " resolved it, and " + why
	}
	if d.now-i.ResolvedAt.UnixMicro() >= CodeRest.Microseconds() {
		i.Code = 0 // it may be another's by now
	}
	i.State, i.ResolvedAt, i.ResolvedBy, i.NewestAt = tocsin.Triggered, time.Time{}, "", moment(d.now)
	if quiet {
		if i.AckedBy != "" {
			i.State = tocsin.Acked
		}
		d.reopened(i)
		d.say(Effect{Kind: Returned, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: "the recovery did not last " + short(i.rule.quiet)})
		return func() {
			d.giveCode(i)
			d.followAlerts(i)
		}
	}
	i.AckedAt, i.AckedBy = time.Time{}, ""
	i.Reopened++
	if !d.inMajor(i) {
		i.Major = 0
	}
	d.reopened(i)
	d.say(Effect{Kind: Reopened, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: why})
	return func() {
		i.revalue()
		d.giveCode(i)
		d.pageNow(i, "it came back")
	}
}

// What falls due of an incident, first what comes first at equal times.
const (
	duePage   = iota // its group_wait is over
	dueQuiet         // its recovery has lasted
	dueReopen        // it was resolved by hand, and alerts still fire
	dueAge           // its newest alert leaves a major rule's window
	dueForget        // nothing can come back to it any more
	dueKinds
)

func (i *incident) dueOf(d *Domain, kind int) int64 {
	switch {
	case kind == duePage && i.State == tocsin.Triggered && !i.Paged && i.Major == 0 && i.Urgency != tocsin.UrgencyNone:
		return micros(i.PageAt)
	case kind == dueQuiet && i.quiet():
		return i.ResolvedAt.Add(i.rule.quiet).UnixMicro()
	case kind == dueReopen && i.State == tocsin.Settled && i.ResolvedBy != tocsin.ByItself && i.Open > 0:
		return i.ResolvedAt.Add(HandReopen).UnixMicro()
	case kind == dueAge && i.counted != 0:
		return d.ageDue(i)
	case kind == dueForget && !i.State.Open() && i.Open == 0:
		return i.forgetAt()
	}
	return 0
}

// forgetAt is when nothing can come back to i, which has ended: by then all its alerts are forgotten too.
func (i *incident) forgetAt() int64 {
	at := i.ResolvedAt.Add(max(i.rule.reopen, i.rule.quiet, keepEnded))
	if i.ResolvedBy != tocsin.ByItself {
		at = at.Add(HandReopen)
	}
	return at.UnixMicro()
}

// next returns what falls due first of i.
func (i *incident) next(d *Domain) (kind int, due int64) {
	for k := range dueKinds {
		if at := i.dueOf(d, k); sooner(due, at) != due {
			kind, due = k, at
		}
	}
	return kind, due
}

func (i *incident) due(d *Domain) int64 {
	if d.incidents[i.ID] != i {
		return 0
	}
	_, due := i.next(d)
	return due
}

func (i *incident) fire(d *Domain) {
	switch kind, _ := i.next(d); kind {
	case duePage:
		d.pageNow(i, "group_wait is over")
	case dueQuiet:
		d.saveIncident(i)
		i.lasting = true
		d.say(Effect{Kind: LastingEnd, Incident: i.ID, Summary: i.Title, Why: "it stayed quiet for " + short(i.rule.quiet)})
	case dueReopen:
		d.stillFires(i)
	case dueAge:
		d.age(i)
	case dueForget:
		d.forget(i)
	}
}

// stillFires opens an incident again that was resolved by hand too early.
func (d *Domain) stillFires(i *incident) {
	d.saveIncident(i)
	by := i.ResolvedBy
	i.State, i.ResolvedAt, i.ResolvedBy, i.AckedAt, i.AckedBy = tocsin.Triggered, time.Time{}, "", time.Time{}, ""
	i.Reopened++
	i.NewestAt = moment(d.now)
	if !d.inMajor(i) {
		i.Major = 0
	}
	d.reopened(i)
	i.revalue()
	d.giveCode(i)
	d.say(Effect{Kind: Reopened, Incident: i.ID, Summary: i.Title, Why: fmt.Sprintf("%s resolved it %s ago, and %s", by, short(HandReopen), stillFiring(i.Open))})
	d.pageNow(i, "it still fires")
}

func stillFiring(n int) string {
	if n == 1 {
		return "1 alert still fires"
	}
	return fmt.Sprintf("%d alerts still fire", n)
}

// forget drops an ended incident that nothing can come back to from memory; its rows stay.
func (d *Domain) forget(i *incident) {
	delete(d.incidents, i.ID)
	d.saved = append(d.saved, i)
	d.undo(func() { d.incidents[i.ID] = i })
	g := i.grp
	g.forget(i)
	d.undo(func() { g.remember(i) })
	d.dropGroup(g)
}

// setRules puts another rule set in force. Incidents go on under the rule of the same path, or under none where it is gone.
func (d *Domain) setRules(r *Rules) {
	old := d.rules
	d.rules, d.rearmAll, d.decided = r, true, true
	d.undo(func() { d.rules = old })
	for _, i := range d.incidents {
		if now := r.at(i.Rule); now != i.rule {
			d.keepIncident(i)
			i.rule = now
		}
	}
	d.rebuildScopes()
	d.armAll()
}

// armAll sets every timer again, after the rules that they follow from have changed.
func (d *Domain) armAll() {
	for _, i := range d.incidents {
		d.arm(i)
	}
	for _, m := range d.majors {
		d.arm(m)
	}
	for _, sc := range d.scopes {
		d.arm(sc)
	}
	for _, c := range d.chunks {
		for _, s := range c {
			d.ends.set(s, s.due())
		}
	}
}
