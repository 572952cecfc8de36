package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// MaxPayload is the size in bytes that one entry's payload may have; a larger request is split before it gets here.
const MaxPayload = 256 << 10

// ErrSick means that the journal cannot make anything durable now and has stopped trying to; nothing was acknowledged.
// Callers answer 503. The implementation heals itself where that is safe.
var ErrSick = errors.New("journal cannot write")

// ErrTooBig means a payload over MaxPayload.
var ErrTooBig = fmt.Errorf("journal: payload over %d bytes", MaxPayload)

// ErrClosed means that the journal, or the reader, was closed.
var ErrClosed = errors.New("journal is closed")

// A GapError says that the entries [From, To) of a partition are gone: retention passed them, or media damage took them.
type GapError struct {
	Partition int
	From, To  int64
	Cause     string
	Skipped   bool // no entry that was ever acknowledged had these offsets: a write failed, and they are not used again
}

func (e *GapError) Error() string {
	if e.Skipped {
		return fmt.Sprintf("journal: partition %d skips offsets %d to %d: %s", e.Partition, e.From, e.To-1, e.Cause)
	}
	return fmt.Sprintf("journal: partition %d lost offsets %d to %d: %s", e.Partition, e.From, e.To-1, e.Cause)
}

// An Entry is one record as the journal keeps it.
type Entry struct {
	Offset  int64     // set by the journal; contiguous within a partition
	At      time.Time // receive time, UTC, microseconds; indexes the journal by time
	Payload []byte    // an encoded Record
}

// A Journal keeps entries, in order, by partition.
type Journal interface {
	// Append writes the entries of one request, in order, and returns the offset of the last once all of them are durable.
	// An error means that none was acknowledged; some may still be read later.
	Append(ctx context.Context, partition int, entries ...Entry) (last int64, err error)
	// Read returns a reader that starts at offset from. It is an error when from is behind what is kept (a *GapError that
	// says what is gone) or beyond the end plus one.
	Read(partition int, from int64) (Reader, error)
	// Bounds returns the first offset kept and the offset that the next entry will have.
	Bounds(partition int) (first, next int64, err error)
	// OffsetAt returns the offset of the first entry received at or after t, or the next offset where there is none yet.
	OffsetAt(partition int, t time.Time) (int64, error)
	// Partitions returns how many partitions there are.
	Partitions() int
	Close() error
}

// A Reader reads one partition in order.
type Reader interface {
	// Next returns at least one entry and at most max bytes of payload (but always one entry); it waits at the tail until
	// there is one, without polling, or ctx ends. Only durable entries are returned. The entries may be kept until the next call of Next.
	// A *GapError is returned once, and the next call goes on behind the gap.
	Next(ctx context.Context, max int) ([]Entry, error)
	Close() error
}
