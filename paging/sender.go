package paging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin"
)

// Channels that a page may go by.
const (
	SMS   = "sms"
	Voice = "voice"
	Email = "email"
)

// A Message is one page, written and ready to go.
type Message struct {
	ID        string // Page.ID: stable across retries, comes back in callbacks
	Kind      string // tocsin.KindPage, KindCandidate, ...
	Channel   string
	To        string        // E.164 number or mail address
	Person    tocsin.Person // whom it is for
	Subject   string        // mail only
	Text      string        // the SMS, the mail's plain text, or what is spoken
	Link      string        // signed address of the page for this person: shows first, acts on a button; "" without one
	Priority  int           // 1 to 5 of the incident or major
	Expires   time.Time     // UTC; the provider is told not to deliver it later; zero: no limit
	CanAnswer bool          // whether keys and replies mean something: false for notices
}

// A Receipt is what a provider gave for a message it took.
type Receipt struct {
	ID string // the provider's own id: SMS or call SID, X-Message-Id, the queue's answer
}

// A Sender hands one message to one provider. Its errors are a *RefusedError, a *RateError or ErrUnknown (by errors.Is), or
// any other error: then nothing was sent, and the same provider may be tried again.
type Sender interface {
	Send(ctx context.Context, m Message) (Receipt, error)
}

// A Finder is a Sender whose provider can be asked what became of a send whose answer was lost.
type Finder interface {
	// Find looks for the message among those sent to m.To since the given time. found is false when the provider surely does not have it.
	Find(ctx context.Context, m Message, since time.Time) (r Receipt, found bool, err error)
}

// A Canceller is a Sender whose provider may still hold what it took (a queued call), and can be told to drop it.
type Canceller interface {
	Cancel(ctx context.Context, providerID string) error
}

// ErrUnknown means that the request went out and no usable answer came: it may or may not have been taken.
var ErrUnknown = errors.New("outcome unknown")

// A RefusedError means that the provider will never take this message.
type RefusedError struct {
	Code    string // the provider's own
	Reason  string
	Contact bool // the person's number or address is at fault, not our set-up: another provider will not help
	Opted   bool // the person has told the carrier to let nothing of ours through: as if they had written STOP
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused by provider (%s): %s", e.Code, e.Reason)
}

// A RateError means that the provider did not process the message because of a limit: send it again after Wait.
type RateError struct{ Wait time.Duration }

func (e *RateError) Error() string { return fmt.Sprintf("provider asks to wait %s", e.Wait) }

// A Report is what a provider's callback says of a message.
type Report struct {
	PageID     string // from the callback's address; "" where the provider does not carry it
	ProviderID string
	State      tocsin.PageState // PageSent, PageDelivered or PageFailed
	Reason     string           // of a failure: the provider's code and words
	Contact    bool             // of a failure: the number or address itself is at fault
	Opted      bool             // of a failure: the person has opted out at the carrier
}

// A Reply is a message that a person sent to us.
type Reply struct {
	ID   string // the provider's id of the message: a repeat of it must not act twice
	From string // E.164 number, or mail address
	To   string
	Text string
}

// A KeyPress is what a person pressed during a call.
type KeyPress struct {
	PageID string
	CallID string
	Digits string // "" : nothing was pressed in time
	First  string // the digit pressed before, where a second is asked for (6 twice)
}
