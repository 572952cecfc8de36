package correlate

import (
	"fmt"
	"slices"
	"time"

	"tocsin"
)

// EffectKind is what the world must now be told.
type EffectKind uint8

// The kinds of effects. Those about paging tell the shell what to do; all are lines of the history.
const (
	Opened     EffectKind = iota + 1 // an incident opened
	Joined                           // an alert joined an open incident
	Eased                            // an alert of an open incident ended
	Returned                         // a recovery did not last: the incident is as it was before
	Recovered                        // all alerts ended
	LastingEnd                       // the recovery lasted: stop paging for good, tell those who were woken
	Reopened                         // an ended incident came back
	Rose                             // the urgency rose
	AckedBySender
	PageNow  // start the escalation from its first step
	Proposed // a major candidate
	Promoted // a major by rule
	Grew     // a candidate or major covers more
	Subsumed // an incident now belongs to a confirmed major: its own pages stop
	Lapsed   // nothing is left of a candidate
)

func (k EffectKind) String() string {
	names := [...]string{
		"", "opened", "joined", "eased", "returned", "recovered", "recovery-lasted", "reopened", "urgency-rose",
		"acknowledged-by-sender", "page-now", "proposed", "promoted", "grew", "joined-major", "lapsed",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("effect(%d)", uint8(k))
}

// An Effect is one thing that Apply decided.
type Effect struct {
	Kind     EffectKind
	At       time.Time
	Incident int64
	Major    int64
	Alert    int64
	Summary  string // of the alert or incident
	Why      string // in words
}

func (d *Domain) say(e Effect) {
	e.At = moment(d.now)
	d.out = append(d.out, e)
}

// Writes is what a commit must make durable for what was applied: whole rows and moved rows, as they are now.
type Writes struct {
	Alerts    []tocsin.Alert // new, or rewritten wholly
	Moves     []Move
	Incidents []tocsin.Incident
	Majors    []tocsin.Major
	Held      []Held // all there are, where HeldNew
	HeldNew   bool   // Held changed; where it is not kept, hold begins anew after a restart
	Next      Counters
	SeenAt    time.Time
}

// Counters are what ids are made of.
type Counters struct{ Alert, Incident, Major int64 }

// A Move is a change of an alert's row that leaves what people read alone.
type Move struct {
	Alert    int64
	Status   tocsin.Status
	Severity tocsin.Severity
	Incident int64
	Rule     string // path of the rule and group key, as in the whole row
	Group    string
	Joined   string // Why.Joined, where that is new; "": as it was
	LastAt   time.Time
	EndsAt   time.Time
	Count    int64
	AsOf     int64
}

// Empty reports whether there is nothing to write but repeats.
func (w *Writes) Empty() bool {
	return len(w.Alerts)+len(w.Moves)+len(w.Incidents)+len(w.Majors) == 0 && !w.HeldNew
}

// Dirty reports whether anything but repeats was applied since the last Commit.
func (d *Domain) Dirty() bool {
	c := &d.changed
	return len(c.series)+len(c.incidents)+len(c.majors)+len(c.forgotten)+len(d.out) > 0 || d.decided || d.held
}

// Writes returns the rows that changed since the last Commit.
func (d *Domain) Writes() Writes {
	w := Writes{Next: d.next, SeenAt: moment(d.now), HeldNew: d.held}
	if d.held {
		w.Held = d.heldNow()
	}
	full := 0
	for i := range d.changed.series {
		if d.changed.series[i].full != nil {
			full++
		}
	}
	w.Alerts, w.Moves = slices.Grow(w.Alerts, full), slices.Grow(w.Moves, len(d.changed.series)-full)
	for i := range d.changed.series {
		c := &d.changed.series[i]
		if c.full != nil {
			w.Alerts = append(w.Alerts, c.row())
		} else {
			w.Moves = append(w.Moves, c.move())
		}
	}
	for _, i := range d.changed.incidents {
		w.Incidents = append(w.Incidents, i.Incident)
	}
	for _, m := range d.changed.majors {
		row := m.Major
		row.Incidents = slices.Clone(m.Incidents)
		w.Majors = append(w.Majors, row)
	}
	return w
}

func (c *rewrite) row() tocsin.Alert {
	a, s := *c.full, c.s
	a.Content, a.Status, a.Severity, a.Incident = s.content, s.status, s.severity, s.incident()
	a.LastAt, a.EndsAt, a.Count, a.AsOf = moment(s.lastAt), moment(s.endsAt), int64(s.count), s.asOf
	if c.joined != "" {
		a.Why.Joined = c.joined
	}
	return a
}

func (c *rewrite) move() Move {
	s, key := c.s, c.key
	if s.inc != nil {
		key = groupKey{s.inc.Rule, s.inc.Group}
	}
	return Move{
		Alert: s.id, Status: s.status, Severity: s.severity, Incident: s.incident(), Rule: key.rule, Group: key.key, Joined: c.joined,
		LastAt: moment(s.lastAt), EndsAt: moment(s.endsAt), Count: int64(s.count), AsOf: s.asOf,
	}
}

func (s *series) incident() int64 {
	if s.inc == nil {
		return 0
	}
	return s.inc.ID
}
