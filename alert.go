package tocsin

import (
	"strconv"
	"time"
)

// An Alert is the folded state of one failing thing, from its first event until it resolves.
type Alert struct {
	ID          int64 // unique in the installation
	Partition   int
	Fingerprint Fingerprint
	Source      string
	Key         string // the sender's own identity
	Status      Status // Firing or Resolved
	Severity    Severity
	Word        string // the sender's own word for the severity
	Summary     string
	About       string
	Labels      Labels // after enrichment
	Annotations Labels
	URL         string
	StartsAt    time.Time // UTC, the sender's clock where it said so, else FirstAt
	FirstAt     time.Time // UTC, receive time of the first event
	LastAt      time.Time // UTC, receive time of the newest event
	EndsAt      time.Time // UTC; of a resolved alert: when it ended; of a firing one: when it resolves by itself; zero: never
	Count       int64     // events folded into it
	Rule        string    // the rule that claimed it
	Group       string    // the group key under that rule
	Incident    int64     // 0: waiting in its group until open_when holds
	Why         Why
	Content     uint64 // hash of the labels and severity as sent: what tells a plain repeat from a change
	AsOf        int64  // journal offset up to which (exclusive) LastAt, EndsAt and Count are counted
}

// A Why says why an alert is where it is: the rule that claimed it, the values it was grouped by, and what happened to it.
type Why struct {
	Rule     string            `json:"rule"`               // path of the rule, outermost first, joined by "/"
	Matchers []string          `json:"matchers,omitempty"` // what matched, the inherited ones first
	Group    map[string]string `json:"group,omitempty"`    // the group_by values; none: an incident of its own
	Joined   string            `json:"joined"`             // opened, joined, reopened, returned or waiting, with the reason in words
	Set      map[string]string `json:"set,omitempty"`      // labels that enrichment set
}

// IDs in answers and addresses carry a letter, so that one kind cannot be taken for another.

// AlertID returns the id of alert n as users see it.
func AlertID(n int64) string { return "a" + strconv.FormatInt(n, 10) }

// IncidentID returns the id of incident n as users see it.
func IncidentID(n int64) string { return "i" + strconv.FormatInt(n, 10) }

// MajorID returns the id of major n as users see it.
func MajorID(n int64) string { return "m" + strconv.FormatInt(n, 10) }

// ParseID reads an id that AlertID, IncidentID or MajorID wrote; kind is its letter. The bare number is taken too.
func ParseID(kind byte, id string) (int64, bool) {
	if len(id) > 0 && id[0] == kind {
		id = id[1:]
	}
	n, err := strconv.ParseInt(id, 10, 64)
	return n, err == nil && n > 0
}
