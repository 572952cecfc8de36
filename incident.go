package tocsin

import (
	"fmt"
	"time"
)

// IncidentState is where an incident is in its life.
type IncidentState uint8

// The states of an incident (process model, section 4).
const (
	Triggered IncidentState = iota + 1
	Acked
	Settled // resolved
	Closed
)

func (s IncidentState) String() string {
	switch s {
	case Triggered:
		return "triggered"
	case Acked:
		return "acknowledged"
	case Settled:
		return "resolved"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Open reports whether somebody may still have to act.
func (s IncidentState) Open() bool { return s == Triggered || s == Acked }

// MarshalText writes the word.
func (s IncidentState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *IncidentState) UnmarshalText(b []byte) error {
	for v := Triggered; v <= Closed; v++ {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("state %q: one of triggered, acknowledged, resolved, closed", b)
}

// An Incident is an interruption or loss of quality of a service: the alerts of one rule and group key in one episode.
type Incident struct {
	ID         int64 // its number too; unique in the installation
	Partition  int
	State      IncidentState
	Title      string
	Rule       string // path of the rule that opened it
	Key        string // the group key as people read it
	Group      string // the group key as the rules compare it
	Labels     Labels // those all its alerts agree on
	Service    string // the service most telling for it, as Handle writes it; "" where none is known
	Severity   Severity
	Priority   int // 1 to 5, shown as SEV1 to SEV5
	Urgency    Urgency
	Escalation string // name of the escalation that is walked for it
	Team       string
	Code       int // the short code people answer with; 0: never paged
	OpenedAt   time.Time
	NewestAt   time.Time // when its newest alert joined
	PageAt     time.Time // when the first page is due: opened plus group_wait; zero: not paged by this incident
	Paged      bool      // whether paging has been started
	AckedAt    time.Time
	AckedBy    string // person's name in the configuration, or the robot's
	ResolvedAt time.Time
	ResolvedBy string // "" or ByItself: all alerts resolved
	Open       int    // alerts firing now
	Alerts     int    // alerts ever joined
	Reopened   int    // times it came back
	Major      int64  // the confirmed major it was joined to; 0: none
}

// ByItself is who resolved an incident whose alerts all ended.
const ByItself = "recovered"
