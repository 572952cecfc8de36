package tocsin

import (
	"fmt"
	"time"
)

// PageState is where a page is in its life.
type PageState uint8

// The states of a page, in the order in which they may rise; Answered and Cancelled end it from any state before them.
const (
	PageDue       PageState = iota + 1
	PageClaimed             // a worker has it and is about to send, or has sent and knows no outcome yet
	PageUnknown             // the request went out and its answer never came: look it up before sending again
	PageSent                // the provider took it
	PageDelivered           // the carrier or mail server confirmed it
	PageFailed              // nobody will deliver it; the error says why
	PageAnswered            // the person answered it
	PageCancelled           // nobody needs it any more
)

func (s PageState) String() string {
	switch s {
	case PageDue:
		return "due"
	case PageClaimed:
		return "claimed"
	case PageUnknown:
		return "unknown"
	case PageSent:
		return "sent"
	case PageDelivered:
		return "delivered"
	case PageFailed:
		return "failed"
	case PageAnswered:
		return "answered"
	case PageCancelled:
		return "cancelled"
	}
	return fmt.Sprintf("page-state(%d)", uint8(s))
}

// MarshalText writes the word.
func (s PageState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Final reports whether nothing may change the state any more but an answer.
func (s PageState) Final() bool { return s >= PageDelivered }

// Page kinds: what a message is for. Only KindPage and KindCandidate owe an answer.
const (
	KindPage      = "page"      // an incident that wants an acknowledgement
	KindCandidate = "candidate" // a major candidate that wants a decision
	KindMajor     = "major"     // a confirmed major that wants an acknowledgement
	KindNotice    = "notice"    // to those already woken: it recovered, somebody has it
)

// A Page is one message owed to one person by one channel about one incident or major.
type Page struct {
	ID         string // stable across retries; in callbacks too
	Partition  int
	Kind       string
	Incident   int64 // 0 where it is about a major
	Major      int64 // 0 where it is about an incident
	Person     string
	Channel    string // sms, voice, email
	Address    string // phone number or mail address as it stood when the page was made
	Provider   string // the provider that has it, once claimed
	ProviderID string // the provider's own id, once it took it
	State      PageState
	Lane       int       // 0 major, 1 high urgency, 2 low, 3 notices: smaller goes first
	Round      int       // of the escalation, from 0
	Step       int       // of the escalation, from 0
	Text       string    // a notice's whole text; "" for the others, which are written when they are sent
	DueAt      time.Time // UTC
	Expires    time.Time // UTC; not worth sending after this; zero: always worth it
	ClaimedTo  time.Time // UTC; a claim older than this is void
	Token      int64     // fences the claim: a later claim has a greater one
	Attempts   int
	Tried      []string // providers that were tried, in order
	SentAt     time.Time
	EndedAt    time.Time // when it was delivered, failed, answered or cancelled
	Error      string
	Body       string // the SMS as it was handed to a provider last, or is about to be: how it is known again there
	Message    string // of pages that share one message: the ID of the page that it went out under; "" where it has its own
}
