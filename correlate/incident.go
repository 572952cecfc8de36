package correlate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// openIncident opens a new episode of g for the alert s.
func (d *Domain) openIncident(g *group, r *rule, s *series, e *tocsin.Event, ls tocsin.Labels, why string) *incident {
	next := d.next
	d.undo(func() { d.next = next })
	i := &incident{rule: r, grp: g, batch: d.batch, dirty: true}
	i.Incident = tocsin.Incident{
		ID: d.number(&d.next.Incident), Partition: d.partition, State: tocsin.Triggered, Title: e.Summary, Rule: r.path,
		Key: keyText(r, ls, e), Group: g.key.key, Labels: slices.Clone(ls), Service: ls.Get("service"),
		Severity: s.severity, Priority: tocsin.PriorityOf(s.severity), Urgency: r.urgency[s.severity],
		Escalation: r.escalation, Team: ls.Get("team"),
		OpenedAt: moment(d.now), NewestAt: moment(d.now),
	}
	d.giveCode(i)
	d.incidents[i.ID] = i
	d.saveGroup(g)
	d.undo(func() { i.State = 0; delete(d.incidents, i.ID) })
	g.current, g.waiting = i, nil
	d.changed.incidents = append(d.changed.incidents, i)
	d.countOpen(1)
	d.say(Effect{Kind: Opened, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: why})
	return i
}

// giveCode gives i the short code that people will answer with, once it is one that people are told of.
func (d *Domain) giveCode(i *incident) {
	if i.Urgency == tocsin.UrgencyNone || i.Code != 0 {
		return
	}
	i.Code = d.codes.take(d.now)
	code := i.Code
	d.undo(func() { d.codes.forget(code) })
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

func (d *Domain) countOpen(n int) {
	d.open += n
	d.undo(func() { d.open -= n })
}

// join puts a firing alert into i.
func (d *Domain) join(i *incident, s *series) {
	d.saveSeries(s)
	d.saveIncident(i)
	s.inc = i
	i.members = append(i.members, s)
	i.Alerts++
	i.NewestAt = moment(d.now)
	i.Labels = agree(i.Labels, d.syms.labels(s.labels))
	d.fires(i, s)
}

// fires counts a firing alert of i in, and lets the urgency follow.
func (d *Domain) fires(i *incident, s *series) {
	d.saveIncident(i)
	i.Open++
	i.worst[s.severity]++
	i.NewestAt = moment(d.now)
	d.enterScopes(i, s)
	d.revalue(i)
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

// revalue lets severity and urgency follow the worst firing alert; a rise pages again, also after an ack.
func (d *Domain) revalue(i *incident) {
	worst := slices.IndexFunc(i.worst[:], func(n int32) bool { return n > 0 })
	if worst < 0 {
		return // it is over: what it was stays said
	}
	i.Severity = tocsin.Severity(worst)
	if p := tocsin.PriorityOf(i.Severity); i.Priority > 2 {
		i.Priority = p
	}
	var u tocsin.Urgency
	for sev, n := range i.worst {
		if n > 0 {
			u = max(u, i.rule.urgency[sev])
		}
	}
	was := i.Urgency
	i.Urgency = u
	if u <= was || !i.State.Open() {
		return
	}
	d.giveCode(i)
	d.say(Effect{Kind: Rose, Incident: i.ID, Summary: i.Title, Why: fmt.Sprintf("urgency rose from %s to %s: an alert is %s", was, u, i.Severity)})
	if i.State == tocsin.Acked {
		i.State, i.AckedAt, i.AckedBy = tocsin.Triggered, time.Time{}, ""
	}
	if i.PageAt.IsZero() || i.Paged {
		d.pageNow(i, "the urgency rose to "+u.String())
	}
}

// begin starts group_wait, or pages at once where there is none.
func (d *Domain) begin(i *incident) {
	if i.Urgency == tocsin.UrgencyNone || i.Major != 0 {
		return
	}
	i.PageAt = i.OpenedAt.Add(i.rule.groupWait)
	if i.rule.groupWait <= 0 {
		d.pageNow(i, "it opened")
		return
	}
	d.push(i.PageAt.UnixMicro(), duePage, i.ID, i)
}

func (d *Domain) pageNow(i *incident, why string) {
	if i.Urgency == tocsin.UrgencyNone || i.Major != 0 {
		return
	}
	d.saveIncident(i)
	i.Paged = true
	if i.PageAt.IsZero() {
		i.PageAt = moment(d.now)
	}
	d.say(Effect{Kind: PageNow, Incident: i.ID, Summary: i.Title, Why: why})
}

// ended resolves a firing alert, and its incident when it was the last.
func (d *Domain) ended(s *series, at int64, why string) {
	d.saveSeries(s)
	s.status = tocsin.Resolved
	s.endsAt = d.now
	if at > 0 {
		s.endsAt = min(at, d.now)
	}
	d.countFiring(-1)
	i := s.inc
	if i == nil {
		d.leaveGroup(s)
		return
	}
	d.saveIncident(i)
	d.uncount(i, s)
	i.Open--
	i.worst[s.severity]--
	if i.Open > 0 || !i.State.Open() {
		d.revalue(i)
		d.push(d.incidentDue(i, dueForget), dueForget, i.ID, i)
		if i.State.Open() {
			d.say(Effect{Kind: Eased, Incident: i.ID, Alert: s.id, Why: why})
		}
		return
	}
	d.recovered(i, why)
}

func (d *Domain) recovered(i *incident, why string) {
	i.State, i.ResolvedAt, i.ResolvedBy = tocsin.Settled, moment(d.now), tocsin.ByItself
	d.countOpen(-1)
	d.leaveScopes(i)
	d.endCode(i)
	d.say(Effect{Kind: Recovered, Incident: i.ID, Summary: i.Title, Why: "all its alerts have ended; the last one: " + why})
	for _, k := range []dueKind{dueQuiet, dueForget} {
		d.push(d.incidentDue(i, k), k, i.ID, i)
	}
}

func (d *Domain) endCode(i *incident) {
	code, at := i.Code, i.ResolvedAt
	if code == 0 {
		return
	}
	d.codes.ended(code, at)
	d.undo(func() { d.codes.again(code) })
}

// leaveGroup forgets an alert that ended before its group had enough to open an incident.
func (d *Domain) leaveGroup(s *series) {
	if g := s.grp; g != nil {
		d.saveGroup(g)
		g.waiting = slices.DeleteFunc(slices.Clone(g.waiting), func(x *series) bool { return x == s })
	}
	d.forgetSeries(s)
	if g := s.grp; g != nil && g.current == nil && len(g.waiting) == 0 {
		delete(d.groups, g.key)
		d.undo(func() { d.groups[g.key] = g })
	}
}

func (d *Domain) forgetSeries(s *series) {
	if d.series[s.fp] == s {
		delete(d.series, s.fp)
		d.undo(func() { d.series[s.fp] = s })
	}
	d.changed.forgotten = append(d.changed.forgotten, s)
}

// comeBack opens an ended incident again: as if nothing had been within quiet, as a new start after it.
func (d *Domain) comeBack(i *incident, s *series) {
	d.saveIncident(i)
	quiet := i.ResolvedBy == tocsin.ByItself && d.now-i.ResolvedAt.UnixMicro() <= i.rule.quiet.Microseconds()
	i.ResolvedAt, i.ResolvedBy = time.Time{}, ""
	d.countOpen(1)
	code := i.Code
	d.codes.again(code)
	if code != 0 {
		d.undo(func() { d.codes.ended(code, moment(d.now)) })
	}
	if quiet {
		i.State = tocsin.Triggered
		if i.AckedBy != "" {
			i.State = tocsin.Acked
		}
		d.say(Effect{Kind: Returned, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: "the recovery did not last " + i.rule.quiet.String()})
		return
	}
	i.State, i.AckedAt, i.AckedBy = tocsin.Triggered, time.Time{}, ""
	i.Reopened++
	i.NewestAt = moment(d.now)
	d.giveCode(i)
	d.say(Effect{Kind: Reopened, Incident: i.ID, Alert: s.id, Summary: i.Title, Why: "an alert of the same group fires again"})
	d.pageNow(i, "it came back")
}

// incidentDue derives from the state of i when kind falls due; 0: not at all.
func (d *Domain) incidentDue(i *incident, kind dueKind) int64 {
	switch {
	case kind == duePage && i.State == tocsin.Triggered && !i.Paged:
		return micros(i.PageAt)
	case kind == dueQuiet && i.State == tocsin.Settled && i.ResolvedBy == tocsin.ByItself:
		return i.ResolvedAt.Add(i.rule.quiet).UnixMicro()
	case kind == dueReopen && i.State == tocsin.Settled && i.ResolvedBy != tocsin.ByItself && i.Open > 0:
		return i.ResolvedAt.Add(HandReopen).UnixMicro()
	case kind == dueForget && i.State == tocsin.Settled && i.Open == 0:
		return i.ResolvedAt.Add(max(i.rule.reopen, i.rule.quiet)).UnixMicro() + 1
	case kind == dueAge && i.counted != 0:
		return d.ageDue(i)
	}
	return 0
}

func (d *Domain) incidentFires(i *incident, kind dueKind) {
	switch kind {
	case duePage:
		d.pageNow(i, "group_wait is over")
	case dueQuiet:
		d.saveIncident(i)
		d.say(Effect{Kind: LastingEnd, Incident: i.ID, Summary: i.Title, Why: "it stayed quiet for " + i.rule.quiet.String()})
	case dueReopen:
		d.saveIncident(i)
		by := i.ResolvedBy
		i.State, i.ResolvedAt, i.ResolvedBy, i.AckedAt, i.AckedBy = tocsin.Triggered, time.Time{}, "", time.Time{}, ""
		i.Reopened++
		d.countOpen(1)
		d.codes.again(i.Code)
		d.enterScopes(i, nil)
		d.say(Effect{Kind: Reopened, Incident: i.ID, Summary: i.Title, Why: fmt.Sprintf("%s resolved it %s ago, and %d alerts still fire", by, HandReopen, i.Open)})
		d.pageNow(i, "it still fires")
	case dueAge:
		d.age(i)
	case dueForget:
		d.forget(i)
	}
}

// forget drops an ended incident that nothing can come back to from memory; its rows stay.
func (d *Domain) forget(i *incident) {
	delete(d.incidents, i.ID)
	d.undo(func() { d.incidents[i.ID] = i })
	for _, s := range i.members {
		d.forgetSeries(s)
	}
	g := i.grp
	if g.current != i {
		return
	}
	d.saveGroup(g)
	g.current = nil
	if len(g.waiting) == 0 {
		delete(d.groups, g.key)
		d.undo(func() { d.groups[g.key] = g })
	}
}

// setRules puts another rule set in force. Incidents go on under the rule of the same path, or under none where it is gone.
func (d *Domain) setRules(r *Rules) {
	old := d.rules
	d.rules = r
	d.undo(func() { d.rules = old })
	for _, id := range sorted(d.incidents) {
		i := d.incidents[id]
		if now := r.at(i.Rule); now != i.rule {
			was := i.rule
			i.rule = now
			d.undo(func() { i.rule = was })
		}
	}
	d.rebuildScopes()
	for _, id := range sorted(d.incidents) {
		d.arm(d.incidents[id])
	}
}

// arm makes every entry anew that i may need.
func (d *Domain) arm(i *incident) {
	for _, k := range []dueKind{duePage, dueQuiet, dueReopen, dueAge, dueForget} {
		d.push(d.incidentDue(i, k), k, i.ID, i)
	}
}
