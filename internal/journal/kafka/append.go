package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"tocsin/internal/journal"
)

const (
	flushBytes  = 1 << 20          // what may gather while a flush is under way
	flushLimit  = 10 * time.Second // how long a flush is tried
	probeFirst  = 500 * time.Millisecond
	probeMost   = 5 * time.Second
	probeLimit  = 2 * time.Second
	writerBatch = 128 // messages in one batch of the Writer, which makes room for so many each time
)

// A partition gathers what is appended to one partition, and flushes it.
type partition struct {
	j *Journal
	n int

	work chan struct{} // has one when there may be something to flush
	stop chan struct{}
	last *flush // that was given to the Writer; run's

	mu      sync.Mutex
	pending *flush
	room    chan struct{} // closed when pending was taken; nil while nobody waits
	sick    error         // an ErrSick with its cause
	closed  bool
	at      int64 // newest time that was appended or read, in milliseconds
}

// A flush is what is written at once.
type flush struct {
	buf   []byte // all payloads
	slots []slot
	left  atomic.Int64  // slots that the Writer has not done with
	done  chan struct{} // closed when err and slots say what became of it
	err   error         // of all of it
	errs  kafka.WriteErrors
}

// A slot is one entry on its way; a kafka.Message carries it as its WriterData.
type slot struct {
	flush     *flush // nil for what is no entry
	partition int
	from, to  int // its payload in buf
	null      bool
	at        int64
	offset    int64 // where it was written
}

// balance leads each message to the partition that its slot says, and those that have none by their key, as Java's clients do.
func balance(byKey kafka.Balancer) kafka.BalancerFunc {
	return func(m kafka.Message, partitions ...int) int {
		if s, ok := m.WriterData.(*slot); ok {
			return s.partition
		}
		return byKey.Balance(m, partitions...)
	}
}

// completed notes where the Writer has written messages, or that it has given them up.
func completed(messages []kafka.Message, err error) {
	for i := range messages {
		s, ok := messages[i].WriterData.(*slot)
		if !ok || s.flush == nil {
			continue
		}
		if err == nil {
			s.offset = messages[i].Offset
		}
		s.flush.left.Add(-1)
	}
}

func newPartition(j *Journal, n int) *partition {
	return &partition{j: j, n: n, work: make(chan struct{}, 1), stop: make(chan struct{}), pending: newFlush()}
}

func newFlush() *flush { return &flush{done: make(chan struct{})} }

// Append writes entries and returns once all in-sync copies have them. The payloads are copied before it waits. Times are cut to milliseconds,
// and one that lies before what this process has appended or read is raised to it.
//
// What arrives while a flush is under way goes together in the next one. A flush is tried again for up to 10 s: a partition that has no
// leader for a while, a connection that is cut, or followers that are missing, cost time only. Then everybody who waits gets ErrSick with
// the cause, as does at once everybody who comes, until a probe finds the partition able to take entries again.
func (j *Journal) Append(ctx context.Context, partition int, entries ...journal.Entry) (last int64, err error) {
	p, err := j.partition(partition)
	if err != nil {
		return 0, err
	}
	if len(entries) == 0 {
		return 0, errors.New("journal: nothing to append")
	}
	size := 0
	for i := range entries {
		if len(entries[i].Payload) > journal.MaxPayload {
			return 0, journal.ErrTooBig
		}
		size += len(entries[i].Payload)
	}
	err = ctx.Err()
	if err != nil {
		return 0, fmt.Errorf("journal: append: %w", err)
	}
	f, first, err := p.gather(ctx, entries, size)
	if err != nil {
		return 0, err
	}
	select {
	case p.work <- struct{}{}:
	default:
	}
	select {
	case <-f.done:
		return f.result(first, len(entries))
	case <-ctx.Done():
		return 0, fmt.Errorf("journal: wait for Kafka: %w", ctx.Err())
	}
}

// result says what became of n slots from first.
func (f *flush) result(first, n int) (last int64, err error) {
	if f.err != nil {
		return 0, f.err
	}
	for i := first; i < first+n; i++ {
		if f.errs != nil && f.errs[i] != nil {
			return 0, sick(f.errs[i])
		}
	}
	return f.slots[first+n-1].offset, nil
}

func sick(cause error) error { return fmt.Errorf("%w: %w", journal.ErrSick, cause) }

// gather copies entries into the flush that gathers, once it has room.
func (p *partition) gather(ctx context.Context, entries []journal.Entry, size int) (f *flush, first int, err error) {
	p.mu.Lock()
	for {
		switch {
		case p.closed:
			p.mu.Unlock()
			return nil, 0, journal.ErrClosed
		case p.sick != nil:
			err := p.sick
			p.mu.Unlock()
			return nil, 0, err
		}
		if len(p.pending.slots) == 0 || len(p.pending.buf)+size <= flushBytes {
			break
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("journal: wait for room: %w", ctx.Err())
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	f = p.pending
	first = len(f.slots)
	for i := range entries {
		e := &entries[i]
		p.at = max(p.at, e.At.UnixMilli())
		from := len(f.buf)
		f.buf = append(f.buf, e.Payload...)
		f.slots = append(f.slots, slot{flush: f, partition: p.n, from: from, to: len(f.buf), null: e.Payload == nil, at: p.at})
	}
	return f, first, nil
}

// run flushes what gathers until the partition is closed.
func (p *partition) run() {
	wait := probeFirst
	probe := time.NewTimer(wait)
	defer probe.Stop()
	probe.Stop()
	for {
		select {
		case <-p.work:
		case <-probe.C:
			wait = min(2*wait, probeMost) // until something is written
			p.heal()
		case <-p.stop:
			p.flushAll()
			return
		}
		if p.flushAll() {
			wait = probeFirst
		}
		if p.health() != nil {
			probe.Reset(wait)
		}
	}
}

// flushAll flushes until nothing has gathered, and says whether any flush succeeded.
func (p *partition) flushAll() (written bool) {
	for f := p.take(); f != nil; f = p.take() {
		written = p.write(f) || written
	}
	return written
}

// take returns what has gathered, or nil.
func (p *partition) take() *flush {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending.slots) == 0 {
		return nil
	}
	return p.swap()
}

// swap returns what has gathered and begins anew; p.mu is held.
func (p *partition) swap() *flush {
	f := p.pending
	p.pending = newFlush()
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
	return f
}

// write gives f to the Writer and answers all who wait for it. It says whether all of f was written.
func (p *partition) write(f *flush) bool {
	messages := make([]kafka.Message, len(f.slots))
	for i := range f.slots {
		s := &f.slots[i]
		messages[i] = kafka.Message{Topic: p.j.o.Topic, Time: time.UnixMilli(s.at), WriterData: s}
		if !s.null {
			messages[i].Value = f.buf[s.from:s.to:s.to]
		}
	}
	f.left.Store(int64(len(f.slots)))
	p.last = f
	ctx, cancel := context.WithTimeout(p.j.ctx, p.j.flushLimit)
	err := p.j.writer.WriteMessages(ctx, messages...)
	cancel()
	if errs, ok := errors.AsType[kafka.WriteErrors](err); ok {
		f.errs = errs
		err = firstOf(errs)
	} else if err != nil {
		f.err = p.failure(err)
	}
	if err == nil {
		p.j.stats.flushes.Add(1)
		p.j.stats.entries.Add(int64(len(f.slots)))
		p.j.stats.bytes.Add(int64(len(f.buf)))
	} else {
		p.fail(err)
	}
	close(f.done)
	return err == nil
}

// failure makes of the Writer's error what Append returns.
func (p *partition) failure(err error) error {
	switch {
	case errors.Is(err, io.ErrClosedPipe), p.j.ctx.Err() != nil:
		return journal.ErrClosed
	case errors.Is(err, context.DeadlineExceeded):
		return sick(fmt.Errorf("partition %d took nothing for %v: %w", p.n, p.j.flushLimit, p.j.gate.lastError(err)))
	}
	return sick(err)
}

func firstOf(errs kafka.WriteErrors) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fail makes the partition sick, and gives up what has gathered.
func (p *partition) fail(cause error) {
	err := p.failure(cause)
	p.mu.Lock()
	began := p.sick == nil
	p.sick = err
	if errors.Is(cause, kafka.InvalidTimestamp) {
		p.at = 0 // an entry of a clock that was far ahead must not take the next ones with it
	}
	f := p.swap()
	p.mu.Unlock()
	f.err = err
	close(f.done)
	p.j.stats.failures.Add(1)
	if began && !errors.Is(err, journal.ErrClosed) {
		p.j.o.Log.Error("partition cannot be written", "partition", p.n, "error", err)
	}
}

// health returns nil, or why the partition takes nothing.
func (p *partition) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sick
}

// heal asks whether the partition can be written again, and takes entries again if so. Not before the Writer has given up what it was
// given last: it would be written after all, long after its sender was told that it was not.
func (p *partition) heal() {
	if p.last != nil && p.last.left.Load() > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(p.j.ctx, probeLimit)
	defer cancel()
	err := p.probe(ctx)
	if err != nil {
		p.mu.Lock()
		p.sick = sick(fmt.Errorf("partition %d: %w", p.n, err))
		p.mu.Unlock()
		return
	}
	p.mu.Lock()
	p.sick = nil
	p.mu.Unlock()
	p.j.o.Log.Info("partition tried again", "partition", p.n)
}

// probe returns nil if there is a leader that answers, with as many followers as a write needs.
func (p *partition) probe(ctx context.Context) error {
	l, err := p.j.gate.layout(ctx)
	if err != nil {
		return err
	}
	parts, err := partitionsOf(l, p.j.o.Topic)
	if err != nil {
		return err
	}
	for i := range parts {
		if n := len(parts[i].IsrNodes); int(parts[i].PartitionIndex) == p.n && n < p.j.needed {
			return fmt.Errorf("%d of %d copies are in sync, %d are needed", n, len(parts[i].ReplicaNodes), p.j.needed)
		}
	}
	_, err = p.j.offset(ctx, p.j.o.Topic, p.n, kafka.LastOffset)
	return err
}

// saw raises the time that appended entries have at least to what was read.
func (p *partition) saw(at int64) {
	p.mu.Lock()
	p.at = max(p.at, at)
	p.mu.Unlock()
}

// close refuses what comes; what has gathered is flushed.
func (p *partition) close() {
	p.mu.Lock()
	p.closed = true
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
	p.mu.Unlock()
	close(p.stop)
}
