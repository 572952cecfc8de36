package correlate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin"
)

// A Log is the journal of one partition, decoded, as a worker reads it.
type Log interface {
	// Next waits for records and returns those that are there, in order, at most about a megabyte of them.
	Next(ctx context.Context) ([]Record, error)
	// Tick appends a record that says only that time has passed; it comes back by Next.
	Tick(ctx context.Context) error
}

// A Book is where a worker's decisions become durable, with all that follows from them, in one transaction.
type Book interface {
	// Commit writes b. Commands that were committed after b.Seq come back instead, with nothing written: the worker must absorb
	// them first. It returns the seq of the newest change.
	Commit(ctx context.Context, b Batch) (seq int64, commands []tocsin.Change, err error)
	// Commands returns the commands committed after seq, and the seq of the newest change.
	Commands(ctx context.Context, seq int64) (newest int64, commands []tocsin.Change, err error)
}

// A Batch is what one transaction makes durable.
type Batch struct {
	Next    int64 // the offset to apply next
	Seq     int64 // of the newest change the worker knows of
	Rules   string
	Writes  Writes
	Effects []Effect
	Flush   bool // Touches are all that there is, and touch_offset moves to Next
	Touches map[int64][]Touch
}

// WorkerOptions tune a Worker; the zero value is ready to use.
type WorkerOptions struct {
	FlushEvery  time.Duration // touches are written at least so often; 0: 15 s
	FlushEvents int           // and after so many events; 0: 500,000
	Log         *slog.Logger  // nil: discard
}

// A Worker applies one partition's journal to its domain and commits what comes of it.
type Worker struct {
	d       *Domain
	log     Log
	book    Book
	o       WorkerOptions
	seq     int64
	nudge   chan struct{}
	pending int // events applied since the last flush
	flushed time.Time
	ticking bool // a tick is on its way through the journal

	applied atomic.Int64 // events
	offset  atomic.Int64
	firing  atomic.Int64
	open    atomic.Int64
	peek    chan func(*Domain)
}

// NewWorker returns a worker that goes on where d stands; seq is that of the newest change d knows of.
func NewWorker(d *Domain, seq int64, log Log, book Book, o WorkerOptions) *Worker {
	o.FlushEvery = cmp.Or(o.FlushEvery, 15*time.Second)
	o.FlushEvents = cmp.Or(o.FlushEvents, 500_000)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	w := &Worker{d: d, log: log, book: book, o: o, seq: seq, nudge: make(chan struct{}, 1), peek: make(chan func(*Domain))}
	w.observe()
	return w
}

// Nudge tells the worker that a command was committed.
func (w *Worker) Nudge() {
	select {
	case w.nudge <- struct{}{}:
	default: // it has been told already
	}
}

// Applied returns how many events have been applied by this worker, and the offset that it applies next.
func (w *Worker) Applied() (events, next int64) { return w.applied.Load(), w.offset.Load() }

// Firing returns how many alerts fire and how many incidents are open.
func (w *Worker) Firing() (alerts, incidents int64) { return w.firing.Load(), w.open.Load() }

// Peek runs f on the domain between two records: what memory knows that no row says. f must not change anything.
func (w *Worker) Peek(ctx context.Context, f func(*Domain)) error {
	done := make(chan struct{})
	select {
	case w.peek <- func(d *Domain) { f(d); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run applies records until ctx ends; then it writes the touches and returns nil. Any other end is an error: the partition
// has another owner, or the database refused for good.
func (w *Worker) Run(ctx context.Context) error {
	batches := make(chan read)
	reader, stop := context.WithCancel(ctx)
	defer stop()
	go w.read(reader, batches)
	timer := time.NewTimer(0)
	defer timer.Stop()
	w.flushed = time.Now()
	for {
		var err error
		select {
		case b := <-batches:
			err = b.err
			if err == nil {
				err = w.step(ctx, b.records)
			}
		case <-w.nudge:
			err = w.absorb(ctx)
		case f := <-w.peek:
			f(w.d)
		case <-timer.C:
			err = w.tick(ctx)
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return w.flush(late)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		w.observe()
		if w.pending >= w.o.FlushEvents || time.Since(w.flushed) >= w.o.FlushEvery {
			err = w.flush(ctx)
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
		timer.Reset(w.wait())
	}
}

type read struct {
	records []Record
	err     error
}

func (w *Worker) read(ctx context.Context, to chan<- read) {
	for {
		rs, err := w.log.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case to <- read{rs, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// wait is how long nothing is due.
func (w *Worker) wait() time.Duration {
	wait := w.o.FlushEvery
	if due := w.d.NextDue(); !due.IsZero() && !w.ticking {
		wait = min(wait, max(time.Until(due), time.Millisecond))
	}
	return wait
}

func (w *Worker) tick(ctx context.Context) error {
	due := w.d.NextDue()
	if due.IsZero() || w.ticking || time.Until(due) > 0 {
		return nil
	}
	err := w.log.Tick(ctx)
	if err != nil {
		w.o.Log.Warn("tick was not written", "error", err) // what is due waits until the journal takes records again
		return nil
	}
	w.ticking = true
	return nil
}

// step takes one batch through Apply and commits what changed, what is owed and the offset read to. Where commands were
// committed meanwhile, it goes back, absorbs them and applies the batch again.
func (w *Worker) step(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	events := 0
	for {
		var effects []Effect
		events = 0
		for _, r := range records {
			effects = append(effects, Apply(w.d, r)...)
			events += len(r.Events)
		}
		behind, err := w.commit(ctx, effects)
		if err != nil {
			return err
		}
		if !behind {
			break
		}
	}
	w.ticking = false
	w.pending += events
	w.applied.Add(int64(events))
	return nil
}

// commit makes durable what was applied. behind: it was rolled back because of commands, which have been absorbed now.
func (w *Worker) commit(ctx context.Context, effects []Effect) (behind bool, err error) {
	if !w.d.Dirty() {
		w.d.Commit()
		return false, nil
	}
	b := Batch{Next: w.d.offset, Seq: w.seq, Rules: w.d.RulesHash(), Writes: w.d.Writes(), Effects: effects}
	seq, commands, err := w.try(ctx, b)
	if err != nil {
		w.d.Rollback()
		return false, fmt.Errorf("correlate: partition %d before offset %d: %w", w.d.partition, b.Next, err)
	}
	if len(commands) > 0 {
		w.d.Rollback()
		return true, w.take(ctx, commands)
	}
	w.seq = seq
	w.d.Commit()
	return false, nil
}

// ErrLost is what a Book's error is when no retry can help: another owner has the partition.
var ErrLost = errors.New("the partition has another owner")

// try commits b, again and again while the database refuses for a reason that may pass.
func (w *Worker) try(ctx context.Context, b Batch) (seq int64, commands []tocsin.Change, err error) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		seq, commands, err = w.book.Commit(ctx, b)
		if err == nil || errors.Is(err, ErrLost) || ctx.Err() != nil {
			return seq, commands, err
		}
		w.o.Log.Error("batch was not committed, and will be tried again", "offset", b.Next, "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
}

func (w *Worker) absorb(ctx context.Context) error {
	seq, commands, err := w.book.Commands(ctx, w.seq)
	if err != nil {
		w.o.Log.Warn("commands were not read, and will be before the next batch", "error", err)
		return nil
	}
	if len(commands) > 0 {
		return w.take(ctx, commands)
	}
	w.seq = seq
	return nil
}

// take absorbs commands that stand in the database already: nothing is to be written for them.
func (w *Worker) take(_ context.Context, commands []tocsin.Change) error {
	for _, c := range commands {
		w.d.Absorb(c)
		w.seq = c.Seq
	}
	w.d.Commit()
	return nil
}

// flush writes the touches: what repeats changed since the last flush.
func (w *Worker) flush(ctx context.Context) error {
	w.flushed, w.pending = time.Now(), 0
	touches := w.d.Touches()
	if len(touches) == 0 && w.offset.Load() == w.d.offset {
		return nil
	}
	b := Batch{Next: w.d.offset, Seq: w.seq, Rules: w.d.RulesHash(), Writes: Writes{Next: w.d.next, SeenAt: moment(w.d.now)}, Flush: true, Touches: touches}
	for {
		seq, commands, err := w.try(ctx, b)
		if err != nil {
			return fmt.Errorf("correlate: partition %d: touches: %w", w.d.partition, err)
		}
		if len(commands) == 0 {
			w.seq = seq
			break
		}
		err = w.take(ctx, commands)
		if err != nil {
			return err
		}
		b.Seq = w.seq
	}
	w.d.FlushTouches()
	return nil
}

func (w *Worker) observe() {
	w.offset.Store(w.d.offset)
	w.firing.Store(int64(w.d.firing))
	w.open.Store(int64(w.d.open))
}
