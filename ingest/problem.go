package ingest

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// ErrBusy means that a sender has to slow down; nothing was taken. It is answered with 429.
var ErrBusy = errors.New("too many alerts at once")

// ErrUnavailable means that nothing can be made durable now; nothing was taken. It is answered with 503.
var ErrUnavailable = errors.New("alerts cannot be made durable now")

// A WaitError says when it is worth trying again; Err is or wraps ErrBusy or ErrUnavailable.
type WaitError struct {
	Wait time.Duration
	Err  error
}

func (e *WaitError) Error() string { return e.Err.Error() + ", try again in " + e.Wait.String() }

func (e *WaitError) Unwrap() error { return e.Err }

// defaultWait is what senders are told to wait where the error does not say.
const defaultWait = 5 * time.Second

// Outcomes of requests and alerts, as they are counted.
const (
	OutcomeAccepted     = "accepted"     // alerts that are durable
	OutcomeRefused      = "refused"      // alerts, or bodies as a whole, that were bad
	OutcomeUnauthorized = "unauthorized" // requests of nobody we know, or not allowed to send
	OutcomeTooBig       = "too_big"      // requests
	OutcomeBusy         = "busy"         // requests of a sender that is too fast
	OutcomeUnavailable  = "unavailable"  // requests that could not be made durable
)

// An ItemError says what is wrong with one alert of a batch.
type ItemError struct {
	Item   int    `json:"item"`            // its place in the batch, from 0
	Field  string `json:"field,omitempty"` // as the sender names it
	Detail string `json:"detail"`
}

func (e ItemError) Error() string {
	s := "item " + strconv.Itoa(e.Item)
	if e.Field != "" {
		s += ": " + e.Field
	}
	return s + ": " + e.Detail
}

// A Problem is why nothing of a request was taken; it is written as RFC 9457 has it, unless the door has a form of its own.
type Problem struct {
	Status  int
	Detail  string
	Err     error         // what Parse said, if that is why
	Outcome string        // as it is counted
	Wait    time.Duration // when it is worth trying again; 0 if it is not
	Refused *Refused      // the bad alerts, if that is why
}

// WriteHeader writes the status and the headers that belong to it; the body is the caller's.
func (p *Problem) WriteHeader(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	if p.Wait > 0 {
		// Spread, so that not all senders come back in the same second.
		s := max(1, int((p.Wait+time.Second-1)/time.Second))
		h.Set("Retry-After", strconv.Itoa(s+rand.IntN(s+1)))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tocsin", Basic realm="tocsin"`)
	}
	if p.Status == http.StatusUnsupportedMediaType {
		h.Set("Accept-Encoding", "gzip")
	}
	w.WriteHeader(p.Status)
}

// Write answers p as problem+json.
func (p *Problem) Write(w http.ResponseWriter) {
	body := struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
		Failures
	}{Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail}
	if p.Refused != nil {
		body.Failures = p.Refused.Failures()
	}
	p.WriteHeader(w, "application/problem+json")
	WriteJSON(w, body)
}

// WriteJSON writes v. A reader that has gone away is no mistake of ours, and what we write can be written: no error is left
// that anybody could act on.
func WriteJSON(w http.ResponseWriter, v any) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// maxNamed is how many refused alerts of a batch are told with their reason; of the others the answer has the places.
const maxNamed = 100

// Refused are the bad alerts of a batch. Every one of them is told: the first hundred with the reason.
type Refused struct {
	Count int
	Named []ItemError
	also  []span
}

// A span is a run of places in a batch, both ends included.
type span struct{ from, to int }

// Add notes that an alert is refused. Alerts come in order; of one alert only the first reason counts.
func (r *Refused) Add(item int, field, detail string) {
	r.Count++
	if len(r.Named) < maxNamed {
		r.Named = append(r.Named, ItemError{item, field, detail})
		return
	}
	if n := len(r.also); n > 0 && r.also[n-1].to == item-1 {
		r.also[n-1].to = item
		return
	}
	r.also = append(r.also, span{item, item})
}

// Also returns the places of those that Named does not hold, such as 100-180,185; "" if it holds all.
func (r *Refused) Also() string {
	var b []byte
	for i, s := range r.also {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(s.from), 10)
		if s.to > s.from {
			b = append(b, '-')
			b = strconv.AppendInt(b, int64(s.to), 10)
		}
	}
	return string(b)
}

// Failures are the refused alerts as answers have them.
type Failures struct {
	Refused int         `json:"refused,omitempty"`
	Errors  []ItemError `json:"errors,omitempty"`
	Also    string      `json:"also_refused,omitempty"` // the places of those that errors does not name
}

// Failures returns r as answers have it.
func (r *Refused) Failures() Failures { return Failures{r.Count, r.Named, r.Also()} }

func (r *Refused) reset() {
	clear(r.Named)
	*r = Refused{Named: r.Named[:0]}
}
