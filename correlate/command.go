package correlate

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tocsin"
)

// A StateError refuses a command because of where its incident or major is by now.
type StateError struct {
	Is    string    // the present state
	By    string    // who brought it there; "" where nobody did
	Since time.Time // UTC
}

func (e *StateError) Error() string {
	if e.By == "" {
		return "it is " + e.Is
	}
	return fmt.Sprintf("it is %s, by %s since %s", e.Is, e.By, e.Since.UTC().Format(time.TimeOnly))
}

// Command is the state table of incidents (process model, section 4): it changes i by a command of a person or robot, or
// refuses with a *StateError and changes nothing.
func Command(i *tocsin.Incident, kind, by string, at time.Time) error {
	refused := &StateError{Is: i.State.String(), By: i.AckedBy, Since: i.AckedAt}
	if !i.State.Open() {
		refused.By, refused.Since = i.ResolvedBy, i.ResolvedAt
	}
	switch kind {
	case tocsin.DoAck:
		if i.State != tocsin.Triggered {
			return refused
		}
		i.State, i.AckedAt, i.AckedBy = tocsin.Acked, at, by
	case tocsin.DoTake:
		if !i.State.Open() {
			return refused
		}
		i.State, i.AckedAt, i.AckedBy = tocsin.Acked, at, by
	case tocsin.DoUnack, tocsin.DoEscalate:
		if !i.State.Open() || kind == tocsin.DoUnack && i.State != tocsin.Acked {
			return refused
		}
		i.State, i.AckedAt, i.AckedBy = tocsin.Triggered, time.Time{}, ""
		pagedBy(i, at)
	case tocsin.DoResolve:
		if !i.State.Open() {
			return refused
		}
		i.State, i.ResolvedAt, i.ResolvedBy = tocsin.Settled, at, by
	case tocsin.DoReopen:
		if i.State != tocsin.Settled || at.Sub(i.ResolvedAt) > reopenByHand {
			return refused
		}
		i.State, i.AckedAt, i.AckedBy, i.ResolvedAt, i.ResolvedBy = tocsin.Triggered, time.Time{}, "", time.Time{}, ""
		i.Reopened++
		i.NewestAt = at // it is news again: it takes new alerts, and counts for majors
		pagedBy(i, at)
	case tocsin.DoNote:
	default:
		return fmt.Errorf("no command %q for an incident", kind)
	}
	return nil
}

// pagedBy says that a command has started the paging of i: group_wait is over.
func pagedBy(i *tocsin.Incident, at time.Time) {
	if !i.Paged {
		i.Paged, i.PageAt = true, at
	}
}

// reopenByHand is how long after its end a person may open an incident again; its code is not another's until then.
const reopenByHand = CodeRest

// Decide is the state table of majors. On DoConfirm the open ones among members become its children.
func Decide(m *tocsin.Major, members []*tocsin.Incident, kind, by string, at time.Time) error {
	refused := &StateError{Is: m.State.String(), By: m.DecidedBy, Since: m.DecidedAt}
	candidate := kind != tocsin.DoResolveMajor && kind != tocsin.DoLead
	switch {
	case kind == tocsin.DoNote:
		return nil
	case kind == tocsin.DoPassOn && m.State == tocsin.Confirmed: // the next one is asked to lead it
		m.LedBy = ""
		return nil
	case candidate && m.State != tocsin.Proposed, !candidate && m.State != tocsin.Confirmed:
		return refused
	}
	switch kind {
	case tocsin.DoConfirm:
		m.State, m.Phase, m.DecidedAt, m.DecidedBy = tocsin.Confirmed, "identify", at, by
		for _, i := range members {
			if i.State.Open() && i.Major == 0 {
				i.Major = m.ID
			}
		}
	case tocsin.DoReject:
		m.State, m.DecidedAt, m.DecidedBy = tocsin.Rejected, at, by
	case tocsin.DoExpire:
		m.State, m.DecidedAt, m.DecidedBy = tocsin.Expired, at, by
	case tocsin.DoLooking:
		m.DecideBy = at.Add(m.DecideAfter)
	case tocsin.DoPassOn:
		m.Escalated++
		m.DecideBy = at.Add(m.DecideAfter)
	case tocsin.DoLead:
		m.LedBy = by
	case tocsin.DoResolveMajor:
		m.State, m.Phase, m.ResolvedAt = tocsin.MajorResolved, "closed", at
	default:
		return fmt.Errorf("no command %q for a major", kind)
	}
	return nil
}

// OnTimeout says which command an undecided candidate comes to when its time is over: passed on at most twice, then
// confirmed where it is SEV1 or SEV2, else expired.
func OnTimeout(m tocsin.Major) string {
	switch {
	case m.OnTimeout == "confirm":
		return tocsin.DoConfirm
	case m.OnTimeout == "expire":
		return tocsin.DoExpire
	case m.Escalated < escalatedAtMost:
		return tocsin.DoPassOn
	case m.Priority <= 2:
		return tocsin.DoConfirm
	}
	return tocsin.DoExpire
}

// Absorb takes in a command that was committed outside, as its transaction did. What follows from it in other places
// (scopes, majors) is decided by the next record or tick, as of the command's time: NextDue asks for one.
//
// The Data of a DoReopen has under before the incident's row as it stood then, for one that ended so long ago that it is
// forgotten here.
func (d *Domain) Absorb(c tocsin.Change) {
	if !tocsin.IsCommand(c.Kind) {
		return
	}
	d.begin()
	d.absorbing = true
	switch {
	case c.Major != 0:
		d.absorbMajor(c)
	case c.Incident != 0:
		d.absorbIncident(c)
	}
	d.absorbing = false
	if len(d.marked) > 0 {
		d.pending = max(d.pending, micros(c.At))
	}
}

func (d *Domain) absorbIncident(c tocsin.Change) {
	i := d.incidents[c.Incident]
	if i == nil && c.Kind == tocsin.DoReopen {
		i = d.remember(c)
	}
	if i == nil {
		return
	}
	d.saveIncident(i)
	was := i.State.Open()
	err := Command(&i.Incident, c.Kind, c.Actor, c.At)
	if err != nil {
		return // refused there too: the line of history is a refusal then
	}
	switch is := i.State.Open(); {
	case was && !is:
		d.closed(i)
	case !was && is:
		d.reopened(i)
	}
	d.arm(i)
}

// remember takes an incident back into memory that was forgotten; so are its alerts, which have all ended.
func (d *Domain) remember(c tocsin.Change) *incident {
	var data struct {
		Before tocsin.Incident `json:"before"`
	}
	err := json.Unmarshal(c.Data, &data)
	row := data.Before
	if err != nil || row.ID != c.Incident || row.State != tocsin.Settled {
		return nil
	}
	g := d.group(groupKey{row.Rule, row.Group})
	i := &incident{Incident: row, rule: d.rules.at(row.Rule), grp: g, batch: d.batch, lasting: true}
	i.Open = 0
	for _, m := range d.majors {
		if _, is := slices.BinarySearch(m.Incidents, i.ID); is && m.State.Open() {
			i.covers++
		}
	}
	d.incidents[i.ID] = i
	d.saved = append(d.saved, i)
	d.undo(func() { delete(d.incidents, i.ID) })
	g.remember(i)
	d.undo(func() { g.forget(i) })
	return i
}

func (d *Domain) absorbMajor(c tocsin.Change) {
	m := d.majors[c.Major]
	if m == nil {
		return
	}
	d.saveMajor(m)
	var members []*tocsin.Incident
	if c.Kind == tocsin.DoConfirm {
		for _, id := range m.Incidents {
			if i := d.incidents[id]; i != nil {
				d.saveIncident(i)
				members = append(members, &i.Incident)
			}
		}
	}
	open := m.State.Open()
	err := Decide(&m.Major, members, c.Kind, c.Actor, c.At)
	if err != nil {
		return
	}
	for _, x := range members {
		d.arm(d.incidents[x.ID])
	}
	switch {
	case open && !m.State.Open():
		d.majorEnded(m)
	case c.Kind == tocsin.DoConfirm && m.scope != nil:
		d.setStale(m.scope, true)
		d.mark(m.scope)
	}
}
