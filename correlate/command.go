package correlate

import (
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
	case tocsin.DoResolve:
		if !i.State.Open() {
			return refused
		}
		i.State, i.ResolvedAt, i.ResolvedBy = tocsin.Settled, at, by
	case tocsin.DoReopen:
		if i.State != tocsin.Settled {
			return refused
		}
		i.State, i.AckedAt, i.AckedBy, i.ResolvedAt, i.ResolvedBy = tocsin.Triggered, time.Time{}, "", time.Time{}, ""
		i.Reopened++
	case tocsin.DoNote:
	default:
		return fmt.Errorf("no command %q for an incident", kind)
	}
	return nil
}

// Decide is the state table of majors. On DoConfirm the open ones among members become its children.
func Decide(m *tocsin.Major, members []*tocsin.Incident, kind, by string, at time.Time) error {
	refused := &StateError{Is: m.State.String(), By: m.DecidedBy, Since: m.DecidedAt}
	candidate := kind != tocsin.DoResolveMajor
	switch {
	case kind == tocsin.DoNote:
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
// (scopes) is weighed by the next record or tick.
func (d *Domain) Absorb(c tocsin.Change) {
	switch {
	case !tocsin.IsCommand(c.Kind):
	case c.Major != 0:
		d.absorbMajor(c)
	case c.Incident != 0:
		d.absorbIncident(c)
	}
	for _, sc := range d.marked {
		sc.marked = false
		d.push(micros(c.At), dueWeigh, int64(sc.key.rule), sc)
	}
	d.marked = d.marked[:0]
}

func (d *Domain) absorbIncident(c tocsin.Change) {
	i := d.incidents[c.Incident]
	if i == nil {
		return
	}
	d.saveIncident(i)
	was := i.State.Open()
	err := Command(&i.Incident, c.Kind, c.Actor, c.At)
	if err != nil || was == i.State.Open() {
		return // refused there too: the line of history is a refusal then
	}
	if was {
		d.countOpen(-1)
		d.leaveScopes(i)
		d.endCode(i)
	} else {
		d.countOpen(1)
		d.codes.again(i.Code)
		d.enterScopes(i, nil)
	}
	d.arm(i)
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
	err := Decide(&m.Major, members, c.Kind, c.Actor, c.At)
	if err != nil || m.State.Open() {
		return
	}
	for _, k := range d.scopeKeys() {
		if sc := d.scopes[k]; sc.major == m {
			d.decided(sc, m)
		}
	}
}

// scopeKeys returns the keys of all scopes in order.
func (d *Domain) scopeKeys() []scopeKey {
	keys := make([]scopeKey, 0, len(d.scopes))
	for k := range d.scopes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, scopeKey.compare)
	return keys
}
