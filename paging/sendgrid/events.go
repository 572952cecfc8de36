package sendgrid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"

	"tocsin"
	"tocsin/paging"
)

// ErrForged means that a callback is not from SendGrid, or too old: answer 403 and do nothing.
var ErrForged = errors.New("events are not signed by our account")

const (
	maxEvents = 1 << 20         // bytes of one callback
	maxAge    = 5 * time.Minute // between the signature's time and ours, either way
)

// An Event is one thing that became of a mail.
type Event struct {
	ID string // SendGrid sends an event again until it is answered 2xx: act on an ID once
	paging.Report
}

// ParseEvents checks the signature of a webhook call over its raw bytes and returns what it says of pages. Events that say
// nothing of delivery, and mails that are no pages, are left out.
func (p *Provider) ParseEvents(r *http.Request) ([]Event, error) {
	if p.public == nil {
		return nil, fmt.Errorf("%w: no public_key is configured", ErrForged)
	}
	signature, stamp := r.Header.Get(eventwebhook.VerificationHTTPHeader), r.Header.Get(eventwebhook.TimestampHTTPHeader)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || signature == "" {
		return nil, fmt.Errorf("%w: signature or time is missing", ErrForged)
	}
	if age := time.Since(time.Unix(seconds, 0)); age > maxAge || age < -maxAge {
		return nil, fmt.Errorf("%w: signed %s ago", ErrForged, age.Round(time.Second))
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEvents+1))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	if len(body) > maxEvents {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrForged, maxEvents)
	}
	ok, err := eventwebhook.VerifySignature(p.public, body, signature, stamp)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: signature does not match", ErrForged)
	}
	return parse(body)
}

func parse(body []byte) ([]Event, error) {
	var raw []struct {
		ID        string `json:"sg_event_id"`
		MessageID string `json:"sg_message_id"`
		Page      string `json:"page"`
		Event     string `json:"event"`
		Type      string `json:"type"`
		Reason    string `json:"reason"`
		Response  string `json:"response"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	var events []Event
	for _, e := range raw {
		// The id of the send comes first; which server handled it comes after a point.
		id, _, _ := strings.Cut(e.MessageID, ".")
		out := Event{ID: e.ID, Report: paging.Report{PageID: e.Page, ProviderID: id}}
		if e.Page == "" && id == "" {
			continue
		}
		switch e.Event {
		case "processed", "deferred":
			out.State = tocsin.PageSent
		case "delivered":
			out.State = tocsin.PageDelivered
		case "bounce":
			out.State = tocsin.PageFailed
			out.Contact = e.Type != "blocked" // blocked is the receiving server's mood, not the address
		case "dropped":
			out.State = tocsin.PageFailed
			out.Contact = true
		default:
			continue
		}
		if out.State == tocsin.PageFailed {
			out.Reason = first(strings.TrimSpace(e.Event+": "+firstOf(e.Reason, e.Response)), 300)
		}
		events = append(events, out)
	}
	return events, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
