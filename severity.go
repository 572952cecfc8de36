package tocsin

import (
	"fmt"
	"strings"
)

// Severity is how bad the sender says one alert is; the worst is the smallest.
type Severity uint8

// The four severities. The sender's own word is kept beside them.
const (
	Critical Severity = iota + 1
	Error
	Warning
	Info
)

func (s Severity) String() string {
	switch s {
	case Critical:
		return "critical"
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Info:
		return "info"
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads one of the four words.
func (s *Severity) UnmarshalText(b []byte) error {
	v, ok := ParseSeverity(string(b))
	if !ok {
		return fmt.Errorf("severity %q: one of critical, error, warning, info", b)
	}
	*s = v
	return nil
}

// ParseSeverity reads one of the four words exactly.
func ParseSeverity(word string) (Severity, bool) {
	switch word {
	case "critical":
		return Critical, true
	case "error":
		return Error, true
	case "warning":
		return Warning, true
	case "info":
		return Info, true
	}
	return 0, false
}

// SeverityOf says which severity a sender's own word means. A word nobody knows is an Error: loud enough to be seen, and
// false where it was not understood, so that the caller can say so.
func SeverityOf(word string) (s Severity, known bool) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "critical", "crit", "fatal", "emergency", "emerg", "disaster", "page", "p1", "sev1", "blocker", "down":
		return Critical, true
	case "error", "err", "high", "major", "alert", "p2", "sev2", "severe":
		return Error, true
	case "warning", "warn", "medium", "average", "minor", "p3", "sev3", "moderate":
		return Warning, true
	case "info", "informational", "information", "notice", "low", "ok", "debug", "none", "p4", "p5", "sev4", "sev5", "not classified":
		return Info, true
	}
	return Error, false
}

// Urgency is how people are paged for an incident.
type Urgency uint8

// None is recorded and shown, never paged. A rise is a move to a greater value.
const (
	UrgencyNone Urgency = iota
	UrgencyLow
	UrgencyHigh
)

func (u Urgency) String() string {
	switch u {
	case UrgencyNone:
		return "none"
	case UrgencyLow:
		return "low"
	case UrgencyHigh:
		return "high"
	}
	return fmt.Sprintf("urgency(%d)", uint8(u))
}

// MarshalText writes the word.
func (u Urgency) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads high, low or none.
func (u *Urgency) UnmarshalText(b []byte) error {
	switch string(b) {
	case "none":
		*u = UrgencyNone
	case "low":
		*u = UrgencyLow
	case "high":
		*u = UrgencyHigh
	default:
		return fmt.Errorf("urgency %q: one of high, low, none", b)
	}
	return nil
}

// PriorityOf is the priority an incident has by its worst alert: SEV1 and SEV2 are said by a person or a major rule only.
func PriorityOf(s Severity) int {
	switch s {
	case Critical:
		return 3
	case Error, Warning:
		return 4
	}
	return 5
}
