package journal

import (
	"fmt"
	"iter"

	"tocsin"
)

// An EventTooBigError names the one event that fits into no entry.
type EventTooBigError struct {
	Index int // in the events that were to be split
}

func (e *EventTooBigError) Error() string {
	return fmt.Sprintf("journal: event %d alone takes more than %d bytes", e.Index, MaxPayload)
}

// Unwrap makes it an ErrTooBig.
func (e *EventTooBigError) Unwrap() error { return ErrTooBig }

// Split yields records that together say what r says, in order, none of which takes more than MaxPayload bytes. All have r's
// head, with Seq counting up from r.Seq, and share r's events; the first has r.Raw. A record without events is yielded as it is.
// The last pair has an error where an event fits into no entry (*EventTooBigError), or where r.Raw leaves no room for one:
// a caller that must not take half of a request collects the parts before it appends the first.
func Split(r *Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if upperBound(r) <= MaxPayload {
			yield(*r, nil)
			return
		}
		e := encoders.Get().(*encoder)
		defer func() { e.forget(); encoders.Put(e) }()
		part := *r
		for from := 0; ; {
			to, full := e.fill(&part, r.Events[from:])
			if full && to == 0 {
				yield(Record{}, tooBig(&part, from))
				return
			}
			part.Events = r.Events[from : from+to]
			from += to
			if !yield(part, nil) || from == len(r.Events) {
				return
			}
			part.Seq++
			part.Raw = nil
		}
	}
}

func tooBig(part *Record, index int) error {
	if len(part.Raw) > 0 {
		return fmt.Errorf("%w: the raw body of %d bytes leaves no room for event %d", ErrTooBig, len(part.Raw), index)
	}
	return &EventTooBigError{Index: index}
}

// headBound is more than everything takes that is not a string, an event or the raw body.
const headBound = 128

// fill says how many of events fit into one record with part's head, and whether that is because the next does not.
func (e *encoder) fill(part *Record, events []tocsin.Event) (n int, full bool) {
	e.reset()
	e.table.ref(part.Domain)
	e.table.ref(part.Source)
	e.table.ref(part.Rules)
	for i := range events {
		e.event(&events[i], part.Source)
		if headBound+len(part.Raw)+len(e.table.wire)+len(e.events) > MaxPayload {
			return i, true
		}
	}
	return len(events), headBound+len(part.Raw)+len(e.table.wire) > MaxPayload
}

// upperBound is at least as much as r takes when no text repeats: quick to say that nearly every request is one record.
func upperBound(r *Record) int {
	n := headBound + len(r.Raw) + len(r.Domain) + len(r.Source) + len(r.Rules) + 30
	const perString = 1 + 4 + 4 // tag and length in the table, and the ref
	for i := range r.Events {
		ev := &r.Events[i]
		n += 80 + 6*perString + len(ev.Source) + len(ev.Key) + len(ev.Word) + len(ev.Summary) + len(ev.About) + len(ev.URL)
		n += labelsBound(ev.Labels, perString) + labelsBound(ev.Annotations, perString)
	}
	return n
}

func labelsBound(ls tocsin.Labels, perString int) int {
	n := 2 * perString * len(ls)
	for i := range ls {
		n += len(ls[i].Name) + len(ls[i].Value)
	}
	return n
}
