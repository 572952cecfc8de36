package tocsin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Status is what one event says of its alert.
type Status uint8

// The statuses of events and alerts. Only an event is ever Acknowledged: it acknowledges the incident of its alert.
const (
	Firing Status = iota + 1
	Resolved
	Acknowledged
)

func (s Status) String() string {
	switch s {
	case Firing:
		return "firing"
	case Resolved:
		return "resolved"
	case Acknowledged:
		return "acknowledged"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// MarshalText writes the word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads firing, resolved or acknowledged.
func (s *Status) UnmarshalText(b []byte) error {
	switch string(b) {
	case "firing":
		*s = Firing
	case "resolved":
		*s = Resolved
	case "acknowledged":
		*s = Acknowledged
	default:
		return fmt.Errorf("status %q: one of firing, resolved, acknowledged", b)
	}
	return nil
}

// A Fingerprint is the identity of an alert: what the same source sends under the same key is the same alert.
type Fingerprint [16]byte

// FingerprintOf hashes the source (or the group of replicas it belongs to) and the sender's own key: the first 16 bytes of
// SHA-256, so that no sender can make two of its alerts into one by accident or on purpose.
func FingerprintOf(source, key string) Fingerprint {
	buf := make([]byte, 0, 512)
	buf = append(buf, source...)
	buf = append(buf, 0)
	buf = append(buf, key...)
	sum := sha256.Sum256(buf)
	return Fingerprint(sum[:16])
}

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// An Event is one message about one alert, normalized: what a front door makes of what a sender posted.
type Event struct {
	Source      string      // name of the source in the configuration
	Key         string      // the sender's own identity of the alert, before hashing
	Fingerprint Fingerprint // FingerprintOf(Source, Key)
	Status      Status
	Severity    Severity
	Word        string // the sender's own word for the severity
	Summary     string // one line for a person
	About       string // the host, service or check it is about, as the sender named it
	Labels      Labels // the sender's and the source's; before enrichment
	Annotations Labels
	URL         string    // where the sender shows it
	StartsAt    time.Time // UTC, by the sender's clock; zero: not said
	EndsAt      time.Time // UTC; of a firing event: it resolves by itself then unless repeated; zero: never
}
