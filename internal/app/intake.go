package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/ingest"
	"tocsin/internal/journal"
)

// retryAfter is what senders are told to wait when nothing can be made durable.
const retryAfter = 5 * time.Second

// intake makes accepted events durable: it is what the doors hand them to.
type intake struct {
	j     journal.Journal
	clock *clock
	shards
	writer uint64 // of this start of the process
	seq    atomic.Uint64
	events atomic.Int64 // accepted since the start
	bufs   sync.Pool
}

func newIntake(j journal.Journal, c *clock, partitions int, isolateBy []string) *intake {
	return &intake{j: j, clock: c, shards: newShards(partitions, isolateBy), writer: rand.Uint64() | 1, bufs: sync.Pool{New: func() any { return new([]byte) }}}
}

// Accept returns once the events are durable.
func (i *intake) Accept(ctx context.Context, source string, events []tocsin.Event) (ingest.Receipt, error) {
	now := i.clock.Now()
	var first uint64
	err := i.each(events, func(partition int, domain string, events []tocsin.Event) error {
		rec := journal.Record{Kind: journal.Events, Writer: i.writer, Source: source, Domain: domain, At: now, Events: events}
		n, err := i.append(ctx, partition, &rec)
		if first == 0 {
			first = n
		}
		return err
	})
	if err != nil {
		return ingest.Receipt{}, err
	}
	i.events.Add(int64(len(events)))
	return ingest.Receipt{Prefix: strconv.FormatUint(i.writer, 36) + "-" + strconv.FormatUint(first, 36)}, nil
}

// append writes rec to a partition, in parts where it is too big for one entry, and returns the writer's number of the first part.
func (i *intake) append(ctx context.Context, partition int, rec *journal.Record) (first uint64, err error) {
	buf, _ := i.bufs.Get().(*[]byte)
	defer i.bufs.Put(buf)
	b := (*buf)[:0]
	var one [1]journal.Entry
	entries := one[:0]
	for part, err := range journal.Split(rec) {
		if err != nil {
			return 0, fmt.Errorf("cannot be kept: %w", err)
		}
		part.Seq = i.seq.Add(1)
		if first == 0 {
			first = part.Seq
		}
		from := len(b)
		b = part.Append(b)
		entries = append(entries, journal.Entry{At: part.At, Payload: b[from:len(b):len(b)]})
	}
	*buf = b
	_, err = i.j.Append(ctx, partition, entries...)
	if errors.Is(err, journal.ErrSick) {
		return 0, &ingest.WaitError{Wait: retryAfter, Err: fmt.Errorf("%w: %w", ingest.ErrUnavailable, err)}
	}
	if err != nil {
		return 0, fmt.Errorf("not kept: %w", err)
	}
	return first, nil
}

// records is the journal of one partition as the correlator reads it.
type records struct {
	partition int
	reader    journal.Reader
	in        *intake
	dec       journal.Decoder
	rules     func(ctx context.Context, hash string) (*correlate.Rules, error)
	gap       func(*journal.GapError)
	dead      func(offset int64, payload []byte, cause error)
	passed    int64 // the offset behind the last gap
}

// readAtOnce is how many bytes of payload are read in one go, at most. What was left behind is applied in larger batches then: an
// incident of which many alerts come has one row and one line of history in each.
const readAtOnce = 4 << 20

// Next returns what is there. A gap is reported and passed over; what cannot be read is set aside with its reason.
func (r *records) Next(ctx context.Context) ([]correlate.Record, error) {
	entries, err := r.reader.Next(ctx, readAtOnce)
	for gap := (*journal.GapError)(nil); errors.As(err, &gap); {
		if !gap.Skipped { // offsets that were never given to anything that was acknowledged
			r.gap(gap)
		}
		r.passed = gap.To
		entries, err = r.reader.Next(ctx, readAtOnce)
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	out := make([]correlate.Record, 0, len(entries))
	for _, e := range entries {
		out = append(out, r.decode(ctx, e))
	}
	return out, nil
}

func (r *records) decode(ctx context.Context, e journal.Entry) correlate.Record {
	var rec journal.Record
	err := r.dec.Decode(e.Payload, &rec)
	if err != nil {
		r.dead(e.Offset, e.Payload, err)
		return correlate.Record{Offset: e.Offset, At: e.At}
	}
	out := correlate.Record{Offset: e.Offset, At: e.At, Events: rec.Events, Writer: rec.Writer, Seq: rec.Seq} // the journal's time never falls; a writer's own may
	if rec.Kind == journal.Rules {
		out.Rules, err = r.rules(ctx, rec.Rules)
		if err != nil {
			r.dead(e.Offset, e.Payload, err)
		}
	}
	return out
}

// Tick appends a record that says only that time has passed.
func (r *records) Tick(ctx context.Context) error {
	_, err := r.in.append(ctx, r.partition, &journal.Record{Kind: journal.Tick, Writer: r.in.writer, At: r.in.clock.Now()})
	return err
}
