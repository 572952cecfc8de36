package correlate

import (
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
	return [...]string{"", "opened", "joined", "eased", "returned", "recovered", "recovery-lasted", "reopened", "urgency-rose",
		"acknowledged-by-sender", "page-now", "proposed", "promoted", "grew", "joined-major", "lapsed"}[k]
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
	LastAt   time.Time
	EndsAt   time.Time
	Count    int64
	AsOf     int64
}

// Empty reports whether there is nothing to write but repeats.
func (w *Writes) Empty() bool {
	return len(w.Alerts)+len(w.Moves)+len(w.Incidents)+len(w.Majors) == 0
}

// Dirty reports whether anything but repeats was applied since the last Commit.
func (d *Domain) Dirty() bool {
	return len(d.changed.series)+len(d.changed.incidents)+len(d.changed.majors)+len(d.changed.forgotten)+len(d.out) > 0
}

// Writes returns the rows that changed since the last Commit.
func (d *Domain) Writes() Writes {
	w := Writes{Next: d.next, SeenAt: moment(d.now)}
	for _, s := range d.changed.series {
		if full := d.changed.full[s]; full != nil {
			a := *full
			a.Content = s.content
			a.Status, a.Severity, a.LastAt, a.EndsAt = s.status, s.severity, moment(s.lastAt), moment(s.endsAt)
			a.Count, a.AsOf, a.Incident = s.count, s.asOf, s.incident()
			w.Alerts = append(w.Alerts, a)
			continue
		}
		w.Moves = append(w.Moves, Move{
			Alert: s.id, Status: s.status, Severity: s.severity, Incident: s.incident(),
			LastAt: moment(s.lastAt), EndsAt: moment(s.endsAt), Count: s.count, AsOf: s.asOf,
		})
	}
	for _, i := range d.changed.incidents {
		w.Incidents = append(w.Incidents, i.Incident)
	}
	for _, m := range d.changed.majors {
		w.Majors = append(w.Majors, m.Major)
	}
	return w
}

func (s *series) incident() int64 {
	if s.inc == nil {
		return 0
	}
	return s.inc.ID
}
