package journal

import (
	"time"

	"tocsin"
)

// Kind is what a record is for.
type Kind uint8

// The kinds of records.
const (
	Events Kind = iota + 1 // what senders said
	Tick                   // nothing was said, but time has passed: fires what is due
	Rules                  // from here on the rule set with this hash is in force
)

// A Record is the unit that is appended, read and applied: the events of one request, or a part of them.
type Record struct {
	Kind   Kind
	Writer uint64    // random for each start of a process
	Seq    uint64    // of the writer, from 1, without gaps: copies are folded by (partition, writer, seq)
	Domain string    // values of the isolate_by labels; "" without any
	Source string    // name of the source that all events came by
	At     time.Time // receive time, UTC, microseconds
	Rules  string    // hash of a rule set, of kind Rules
	Events []tocsin.Event
	Raw    []byte // the body as it was sent, zstd; optional, skipped by the worker
}
