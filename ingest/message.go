package ingest

import (
	"context"
	"time"

	"tocsin"
)

// A Parser turns what stands in a Message into its Events.
type Parser interface {
	// Parse appends to m.Events what the body says, and tells m.Refuse what it cannot take of a batch. An error means that the
	// body as a whole is of no use; then nothing of it is taken. It does no I/O; ctx ends when nobody
	// waits for the answer any more.
	Parse(ctx context.Context, m *Message) error
}

// A ParserFunc is a Parser that is a function.
type ParserFunc func(ctx context.Context, m *Message) error

// Parse calls f.
func (f ParserFunc) Parse(ctx context.Context, m *Message) error { return f(ctx, m) }

// A Message is one body on its way through a door. All its memory is used again once the request is answered.
type Message struct {
	Source  *Source       // who sends; nil until the body says it, where only the body can
	Scope   string        // what the sender's keys are told apart by: first argument of tocsin.FingerprintOf
	Labels  tocsin.Labels // what the configuration sets on every alert
	Now     time.Time     // UTC, when the request came
	Body    []byte
	Scan    Scanner // at the start of Body
	Events  []tocsin.Event
	Control string // ping, confirm-subscription or ignore, for a message that is no alert
	Refused Refused

	sources *Sources
	labels  []tocsin.Label // where the events' labels stand
	names   Names
	key     []byte
}

// NewMessage returns the message that body is, for a Parser; src is nil where the body says who sends. Receivers have their own.
func NewMessage(sources *Sources, src *Source, body []byte, now time.Time) *Message {
	m := &Message{Body: body, Now: now, sources: sources}
	m.Scan.Reset(body)
	if src != nil {
		m.from(src)
	}
	return m
}

// from says that src sends.
func (m *Message) from(src *Source) {
	m.Source, m.Scope, m.Labels = src, src.Identity, src.Labels
}

// Route finds out who sends by a routing key in the body; it is false for one that nobody has.
func (m *Message) Route(key string) bool {
	r, ok := m.sources.route(key)
	if !ok {
		return false
	}
	m.Source, m.Scope, m.Labels = r.source, r.scope, r.labels
	return true
}

// Refuse says that one alert of the batch is not taken: where it stands in the batch, from 0, which field is why, and what is
// wrong with it.
func (m *Message) Refuse(item int, field, detail string) { m.Refused.Add(item, field, detail) }

// Names returns an empty set of names. There is one a Message.
func (m *Message) Names() *Names {
	m.names.Reset()
	return &m.names
}

// Room returns an empty list with room for n labels of an event. Once it is filled, Fit gives back what was not needed.
func (m *Message) Room(n int) tocsin.Labels {
	if cap(m.labels)-len(m.labels) < n {
		m.labels = make([]tocsin.Label, 0, max(2*cap(m.labels), n, 1024)) // what has been given out stays where it is
	}
	start := len(m.labels)
	m.labels = m.labels[:start+n]
	return tocsin.Labels(m.labels[start : start : start+n])
}

// Fit returns ls, which came from the last call of Room, without the room that it does not use.
func (m *Message) Fit(ls tocsin.Labels) tocsin.Labels {
	m.labels = m.labels[:len(m.labels)-cap(ls)+len(ls)]
	return ls[:len(ls):len(ls)]
}

// Merge returns ls with the labels of the configuration, which win, in Room. Both are sorted.
func (m *Message) Merge(ls tocsin.Labels) tocsin.Labels {
	if len(m.Labels) == 0 {
		return ls
	}
	out := m.Room(len(ls) + len(m.Labels))
	set := m.Labels
	for len(ls) > 0 && len(set) > 0 {
		switch {
		case ls[0].Name < set[0].Name:
			out, ls = append(out, ls[0]), ls[1:]
		case ls[0].Name == set[0].Name:
			ls = ls[1:]
		default:
			out, set = append(out, set[0]), set[1:]
		}
	}
	return m.Fit(append(append(out, ls...), set...))
}

// maxKept is how many bytes, labels and so on a pooled Message may keep: what one unusual request has grown is given back.
const maxKept = 1 << 18

// reset forgets the request, so that nothing of it is kept in the pool.
func (m *Message) reset() {
	m.Scan.release()
	clear(m.Events)
	clear(m.labels)
	m.Refused.reset()
	m.names.Reset()
	clear(m.names.few[:cap(m.names.few)])
	kept := Message{Body: m.Body[:0], Events: m.Events[:0], labels: m.labels[:0], names: m.names, Refused: m.Refused, key: m.key[:0]}
	if cap(kept.Body) > maxKept {
		kept.Body = nil
	}
	if cap(kept.Events) > maxKept/256 {
		kept.Events = nil
	}
	if cap(kept.labels) > maxKept/16 {
		kept.labels = nil
	}
	m.Source, m.Scope, m.Labels, m.Now, m.Control, m.sources = nil, "", nil, time.Time{}, "", nil
	m.Body, m.Events, m.labels, m.names, m.Refused, m.key = kept.Body, kept.Events, kept.labels, kept.names, kept.Refused, kept.key
}
