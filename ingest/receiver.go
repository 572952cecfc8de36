package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tocsin"
)

// An Acceptor makes events durable.
type Acceptor interface {
	// Accept returns nil once all events are durable; else none of them counts, and the error is or wraps ErrBusy or
	// ErrUnavailable, in a *WaitError where it is known how long. It must not keep events, or their label slices, after it has
	// returned; their strings it may.
	Accept(ctx context.Context, source string, events []tocsin.Event) (Receipt, error)
}

// A Receipt says under which names events were accepted.
type Receipt struct {
	Prefix string // the id of event i, from 0, is Prefix-i
}

// A Door is one wire: who comes in by it, what a body means, and how the answers are worded.
type Door struct {
	// Sender says who sends r, before the body is read. ErrInBody means that only the body says it: then Parse has to call
	// Message.Route. Any other error means nobody that we know.
	Sender func(sources *Sources, r *http.Request) (*Source, error)
	// Parse is what a body means; see Parser.
	Parse ParserFunc
	// Taken answers once m.Events are durable; some of the batch may have been refused.
	Taken func(w http.ResponseWriter, m *Message, receipt Receipt)
	// Refuse answers that nothing was taken; nil writes problem+json.
	Refuse func(w http.ResponseWriter, p *Problem)
	// MaxBody is the size in bytes that an unpacked body may have; 0 means the Receiver's.
	MaxBody int64
}

// ErrUnknown means that a request carries no credential, or one that nobody here has.
var ErrUnknown = errors.New("unknown sender")

// ErrInBody means that who sends stands in the body.
var ErrInBody = errors.New("the body says who sends")

// ErrNotHere is a Problem's cause where a known sender has come by the wrong door; the text says which is the right one.
var ErrNotHere = errors.New("not the door of this source")

// ErrNoKey is what Parse returns where the key in the body is nobody's.
var ErrNoKey = errors.New("the key in the body is not known here")

// Options tune a Receiver; the zero value is ready to use.
type Options struct {
	MaxBody  int64         // bytes of an unpacked body; 0 means 1 MiB
	BodyTime time.Duration // in which a body has to be there; 0 means the time that the server gives the whole request
	// Observe is told of n alerts or requests of a source, by outcome (OutcomeAccepted ...). The source is "" where it is not known, so
	// that no sender can choose it. It is called from many goroutines. nil means nobody is told.
	Observe func(source, outcome string, n int)
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means discard
}

// A Receiver is what all doors have in common.
type Receiver struct {
	sources  *Sources
	acceptor Acceptor
	Options

	messages sync.Pool
	unpack   unpackers
}

// NewReceiver returns a receiver of what sources send, which acceptor makes durable.
func NewReceiver(sources *Sources, acceptor Acceptor, o Options) (*Receiver, error) {
	if sources == nil || acceptor == nil {
		return nil, errors.New("ingest: a receiver needs sources and an acceptor")
	}
	if o.MaxBody < 0 || o.BodyTime < 0 {
		return nil, fmt.Errorf("ingest: bodies of %d bytes in %s: nothing would ever be let in", o.MaxBody, o.BodyTime)
	}
	o.MaxBody = cmp.Or(o.MaxBody, 1<<20)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Observe == nil {
		o.Observe = func(string, string, int) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	rc := &Receiver{sources: sources, acceptor: acceptor, Options: o}
	rc.messages.New = func() any { return new(Message) }
	return rc, nil
}

// Handler answers requests that come by door d.
func (rc *Receiver) Handler(d Door) http.Handler {
	if d.MaxBody <= 0 || d.MaxBody > rc.MaxBody {
		d.MaxBody = rc.MaxBody
	}
	if d.Refuse == nil {
		d.Refuse = func(w http.ResponseWriter, p *Problem) { p.Write(w) }
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := rc.messages.Get().(*Message)
		m.sources, m.Now = rc.sources, rc.Now().UTC()
		p := rc.receive(&d, m, w, r)
		if p != nil {
			rc.count(m, p)
			d.Refuse(w, p)
		}
		m.reset()
		rc.messages.Put(m)
	})
}

// receive takes one request as far as its answer; a Problem is what is still to be answered.
func (rc *Receiver) receive(d *Door, m *Message, w http.ResponseWriter, r *http.Request) *Problem {
	if p := rc.authenticate(d, m, r); p != nil {
		return p
	}
	if p := rc.read(d, m, w, r); p != nil {
		return p
	}
	if p := rc.parse(r.Context(), d, m); p != nil {
		return p
	}
	if isDryRun(r) {
		writeDryRun(w, m)
		return nil
	}
	if len(m.Events) == 0 {
		d.Taken(w, m, Receipt{})
		return nil
	}
	if wait := m.Source.wait(m.Now, len(m.Events)); wait > 0 {
		return tooFast(wait)
	}
	receipt, err := rc.acceptor.Accept(r.Context(), m.Source.Name, m.Events)
	if err != nil {
		return rc.notTaken(r.Context(), m, err)
	}
	rc.Observe(m.Source.Name, OutcomeAccepted, len(m.Events))
	if m.Refused.Count > 0 {
		rc.Observe(m.Source.Name, OutcomeRefused, m.Refused.Count)
	}
	d.Taken(w, m, receipt)
	return nil
}

// authenticate finds out who sends, as far as that can be known before the body is read.
func (rc *Receiver) authenticate(d *Door, m *Message, r *http.Request) *Problem {
	src, err := d.Sender(rc.sources, r)
	switch {
	case errors.Is(err, ErrInBody):
		return nil
	case errors.Is(err, ErrNotHere):
		return &Problem{Status: http.StatusNotFound, Detail: err.Error(), Outcome: OutcomeRefused}
	case err != nil:
		return &Problem{Status: http.StatusUnauthorized, Detail: "a source's token is needed, as Bearer, as basic password or as ?token=", Outcome: OutcomeUnauthorized}
	case !src.May(Send):
		return &Problem{Status: http.StatusForbidden, Detail: "this token may not send", Outcome: OutcomeUnauthorized}
	}
	m.from(src)
	if wait := src.exhausted(m.Now); wait > 0 {
		return tooFast(wait)
	}
	return nil
}

// read reads the body, which has to come in time.
func (rc *Receiver) read(d *Door, m *Message, w http.ResponseWriter, r *http.Request) *Problem {
	// A ResponseWriter without deadlines (a test's recorder) has nobody slow at its other end.
	control := http.NewResponseController(w)
	if rc.BodyTime > 0 {
		_ = control.SetReadDeadline(time.Now().Add(rc.BodyTime))
	}
	var err error
	m.Body, err = rc.readBody(r, m.Body, d.MaxBody)
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // else the request would be cancelled while it waits to become durable
		return nil
	}
	switch {
	case errors.Is(err, errTooBig):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("a body may have %d bytes, unpacked", d.MaxBody), Outcome: OutcomeTooBig}
	case errors.Is(err, errCoding):
		return &Problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Encoding: only gzip can be unpacked", Outcome: OutcomeRefused}
	}
	return &Problem{Status: http.StatusBadRequest, Detail: "the body could not be read to its end: " + err.Error(), Outcome: OutcomeRefused}
}

// parse makes events of the body.
func (rc *Receiver) parse(ctx context.Context, d *Door, m *Message) *Problem {
	m.Scan.Reset(m.Body)
	err := m.Scan.Err()
	if err == nil {
		err = d.Parse(ctx, m)
	}
	switch {
	case errors.Is(err, ErrNoKey):
		return &Problem{Status: http.StatusUnauthorized, Detail: err.Error(), Err: err, Outcome: OutcomeUnauthorized}
	case err != nil:
		return &Problem{Status: http.StatusBadRequest, Detail: err.Error(), Err: err, Outcome: OutcomeRefused}
	case len(m.Events) == 0 && m.Refused.Count > 0:
		return &Problem{Status: http.StatusBadRequest, Detail: "nothing of it can be taken", Outcome: OutcomeRefused, Refused: &m.Refused}
	}
	return nil
}

// notTaken words why events are not durable.
func (rc *Receiver) notTaken(ctx context.Context, m *Message, err error) *Problem {
	wait := defaultWait
	if w, ok := errors.AsType[*WaitError](err); ok {
		wait = w.Wait
	}
	if errors.Is(err, ErrBusy) {
		return tooFast(wait)
	}
	if ctx.Err() == nil {
		rc.Log.Error("alerts not accepted", "source", m.Source.Name, "events", len(m.Events), "err", err)
	}
	return &Problem{Status: http.StatusServiceUnavailable, Detail: ErrUnavailable.Error(), Outcome: OutcomeUnavailable, Wait: wait}
}

func tooFast(wait time.Duration) *Problem {
	return &Problem{Status: http.StatusTooManyRequests, Detail: ErrBusy.Error(), Outcome: OutcomeBusy, Wait: max(wait, time.Second)}
}

func (rc *Receiver) count(m *Message, p *Problem) {
	source, n := "", 1
	if m.Source != nil {
		source = m.Source.Name
	}
	if p.Refused != nil {
		n = p.Refused.Count
	}
	rc.Observe(source, p.Outcome, n)
}

// isDryRun reports whether r only asks what would be made of it.
func isDryRun(r *http.Request) bool {
	if !strings.Contains(r.URL.RawQuery, "dry_run") {
		return false
	}
	q, _ := url.ParseQuery(r.URL.RawQuery) // what cannot be read of it must not turn a question into an alert
	v := q.Get("dry_run")
	return q.Has("dry_run") && v != "0" && v != "false"
}

// writeDryRun answers what would have been made of the body.
func writeDryRun(w http.ResponseWriter, m *Message) {
	type alert struct {
		Status      tocsin.Status   `json:"status"`
		Severity    tocsin.Severity `json:"severity"`
		Summary     string          `json:"summary"`
		About       string          `json:"about"`
		Key         string          `json:"key"`
		Fingerprint string          `json:"fingerprint"`
		Labels      tocsin.Labels   `json:"labels"`
	}
	answer := struct {
		Alerts  []alert `json:"alerts"`
		Control *string `json:"control"`
		Failures
	}{Alerts: []alert{}, Failures: m.Refused.Failures()}
	for i := range m.Events {
		e := &m.Events[i]
		answer.Alerts = append(answer.Alerts, alert{e.Status, e.Severity, e.Summary, e.About, e.Key, e.Fingerprint.String(), e.Labels})
	}
	if m.Control != "" {
		answer.Control = &m.Control
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	WriteJSON(w, answer)
}
