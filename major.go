package tocsin

import (
	"fmt"
	"time"
)

// MajorState is where a major is in its life.
type MajorState uint8

// The states of a major (process model, section 4).
const (
	Proposed MajorState = iota + 1
	Confirmed
	Rejected
	Expired
	Demoted
	MajorResolved
)

func (s MajorState) String() string {
	switch s {
	case Proposed:
		return "proposed"
	case Confirmed:
		return "confirmed"
	case Rejected:
		return "rejected"
	case Expired:
		return "expired"
	case Demoted:
		return "demoted"
	case MajorResolved:
		return "resolved"
	}
	return fmt.Sprintf("major-state(%d)", uint8(s))
}

// Open reports whether it is a candidate or under way.
func (s MajorState) Open() bool { return s == Proposed || s == Confirmed }

// MarshalText writes the word.
func (s MajorState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *MajorState) UnmarshalText(b []byte) error {
	for v := Proposed; v <= MajorResolved; v++ {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("state %q: one of proposed, confirmed, rejected, expired, demoted, resolved", b)
}

// A Major is an incident that needs coordinated response: a candidate until a manager, a rule or a time-out confirms it.
type Major struct {
	ID          int64 // its number too
	Partition   int
	State       MajorState
	Phase       string // identify, contain, resolve, maintain, closed; "" before it is confirmed
	Title       string
	Rule        string // name of the major rule
	Scope       Labels // what it covers
	Priority    int
	Escalation  string
	Action      string // propose or promote, as the rule said
	OnTimeout   string // escalate, confirm or expire
	DecideAfter time.Duration
	Code        int
	Measures    Measures // at the moment of the proposal
	Peak        Measures // the largest seen since
	Limits      Measures // what the rule asked for; 0: not asked
	Incidents   []int64  // those that count in its scope, ascending
	ProposedAt  time.Time
	DecideBy    time.Time
	Escalated   int // how often an undecided review was passed on
	DecidedAt   time.Time
	DecidedBy   string
	LedBy       string // who leads a confirmed major, once somebody took it
	ResolvedAt  time.Time
}

// Measures are counted over the open incidents of one scope.
type Measures struct {
	Hosts     int       `json:"hosts,omitempty"`
	Services  int       `json:"services,omitempty"`
	Incidents int       `json:"incidents,omitempty"`
	Users     int       `json:"users,omitempty"`
	Since     time.Time `json:"since,omitzero"` // when the oldest of the incidents opened
}
