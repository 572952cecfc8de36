package correlate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tocsin"
)

// A Log is the journal of one partition, decoded, as a worker reads it.
type Log interface {
	// Next waits for records and returns those that are there, in order, at most some megabytes of them. They stay as they
	// are: one batch is committed, and another applied, while a third is read. An error ends the worker.
	Next(ctx context.Context) ([]Record, error)
	// Tick appends a record that says only that time has passed; it comes back by Next.
	Tick(ctx context.Context) error
}

// A Book is where a worker's decisions become durable, with all that follows from them, in one transaction.
type Book interface {
	// Commit writes b: its rows, and its touches. Commands that were committed after b.Seq come back instead, with nothing
	// written: the worker must absorb them first. It returns the seq of the newest change. After an error whose outcome is not
	// known it is called with the same b again, and then must find out. ErrRefused, ErrLost and ErrStale say that no retry can help;
	// after any other error it is called again, for as long as it takes.
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
	Fold    []byte // with Flush: what Copies knows, in its own form
	// LastWriter and LastSeq name the record before Next: it must still stand there when somebody goes on.
	LastWriter, LastSeq uint64
}

// Copies knows which records have been applied: a journal that tries again may keep one more than once.
type Copies interface {
	// Seen says whether the record seq of writer was here before, and remembers it.
	Seen(writer, seq uint64) bool
	// Append puts what it knows behind b.
	Append(b []byte) []byte
}

// WorkerOptions tune a Worker; the zero value is ready to use.
type WorkerOptions struct {
	FlushEvery  time.Duration // touches are written at least so often; 0: 15 s
	FlushEvents int           // and after so many events; 0: 500,000
	Copies      Copies        // nil: the journal makes no copies
	LastWriter  uint64        // of the record before the one to begin with, and its number
	LastSeq     uint64
	// Aside is told of a record that so many times made Apply panic, or the book refuse, and is passed over for it; nil: it is only
	// logged and counted.
	Aside func(r Record, tries int, cause error)
	Log   *slog.Logger // nil: discard
}

// A Worker applies one partition's journal to its domain and commits what comes of it. While one batch is committed it applies the next on
// top of it: where the commit fails, both are undone.
type Worker struct {
	d       *Domain
	log     Log
	book    Book
	o       WorkerOptions
	seq     int64
	nudge   chan struct{}
	pending int                          // events applied since the last flush
	flushed time.Time                    // when touches were written last
	written int64                        // the offset that stands in the database
	ticked  time.Time                    // when a tick was sent that has not come back; zero: none is under way
	tickFor time.Time                    // what was due then
	untick  time.Time                    // no tick before this, for the journal refused one
	still   time.Time                    // since when it refuses them; zero: it does not
	unsure  bool                         // whether the last commit was done is not known
	last    struct{ writer, seq uint64 } // of the record applied last
	flight  *flight                      // the commit under way; nil: none is

	bad struct { // the record that could not be applied last
		offset int64
		tries  int
	}
	suspect  int64                          // a record before this offset is refused; 0: none is known to be
	applyOne func(*Domain, Record) []Effect // Apply, but for tests of what happens when it fails

	applied atomic.Int64 // events
	aside   atomic.Int64 // records
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
	w := &Worker{d: d, log: log, book: book, o: o, seq: seq, written: d.offset, nudge: make(chan struct{}, 1), peek: make(chan func(*Domain)), applyOne: Apply}
	w.last.writer, w.last.seq = o.LastWriter, o.LastSeq
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
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer w.land() // of a commit that was given up its next owner finds out
	defer stop()
	reading.Go(func() { w.read(ctx, batches) })
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
		case <-w.flight.ended():
			err = w.settled(ctx)
		case <-w.nudge:
			err = w.settled(ctx)
			if err == nil {
				w.absorb(ctx)
			}
		case f := <-w.peek:
			err = w.settled(ctx)
			f(w.d)
		case <-timer.C:
			w.tick(ctx)
		case <-ctx.Done():
			return w.stop(ctx)
		}
		w.observe()
		if err == nil && w.untilFlush() <= 0 {
			err = w.flush(ctx, false)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // nothing more is written: what failed is not applied, and counts as seen here already
		case err != nil:
			return err
		}
		timer.Reset(w.wait())
	}
}

// stop writes the touches for the last time.
func (w *Worker) stop(ctx context.Context) error {
	err := w.settled(ctx)
	if err != nil || w.unsure {
		return nil //nolint:nilerr // memory may be behind the database: what is read from the journal again tells
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopFor)
	defer cancel()
	return w.flush(late, true)
}

// stopFor is how long a commit may take once the worker was told to end.
const stopFor = 5 * time.Second

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

// A tick that does not come back is given up for lost after tickLost; one that was refused is tried again after tickRetry.
const (
	tickLost  = 10 * time.Second
	tickRetry = time.Second
	tickEarly = 100 * time.Millisecond // the journal's clock is behind ours: what was due was not due yet
)

// due is when the next tick is to be sent; zero: none is.
func (w *Worker) due() time.Time {
	due := w.d.NextDue()
	switch {
	case due.IsZero():
		return due
	case !w.ticked.IsZero():
		return w.ticked.Add(tickLost)
	case due.Before(w.untick):
		return w.untick
	}
	return due
}

// untilFlush is how long the touches may wait: at least until the next record has decided upon what was commanded.
func (w *Worker) untilFlush() time.Duration {
	switch {
	case w.d.pending != 0:
		return w.o.FlushEvery
	case w.pending >= w.o.FlushEvents:
		return 0
	}
	return time.Until(w.flushed.Add(w.o.FlushEvery))
}

// wait is how long nothing is to be done.
func (w *Worker) wait() time.Duration {
	wait := w.untilFlush()
	if due := w.due(); !due.IsZero() {
		wait = min(wait, time.Until(due))
	}
	return max(wait, time.Millisecond)
}

func (w *Worker) tick(ctx context.Context) {
	due := w.due()
	if due.IsZero() || time.Until(due) > 0 {
		return
	}
	err := w.log.Tick(ctx)
	if err != nil {
		w.untick = time.Now().Add(tickRetry)
		if w.still.IsZero() && ctx.Err() == nil {
			w.still = time.Now()
			w.o.Log.Warn("time stands still: the journal takes no tick, so waits do not end until it does", "partition", w.d.partition, "due", due, "error", err, "every", tickRetry)
		}
		return
	}
	w.ticked, w.tickFor = time.Now(), w.d.NextDue()
	if !w.still.IsZero() {
		w.o.Log.Info("time goes on: the journal takes ticks again", "partition", w.d.partition, "stood", time.Since(w.still).Round(time.Millisecond))
		w.still = time.Time{}
	}
}

func isTick(r Record) bool { return len(r.Events) == 0 && r.Rules == nil }

// step takes one batch through Apply and commits what changed, what is owed and the offset read to. A change of rules begins
// a batch of its own, after the touches: what repeats said before it is read again under the rules that were in force.
func (w *Worker) step(ctx context.Context, records []Record) error {
	from := 0
	for n := range records {
		if records[n].Rules == nil || records[n].Offset < w.d.offset {
			continue
		}
		err := w.apply(ctx, records[from:n])
		if err == nil {
			err = w.flush(ctx, true)
		}
		if err != nil {
			return err
		}
		from = n
	}
	return w.apply(ctx, records[from:])
}

// apply applies records and commits them. Where commands were committed meanwhile, it goes back, absorbs them and applies
// the records again.
func (w *Worker) apply(ctx context.Context, records []Record) error {
	for len(records) > 0 && records[0].Offset < w.d.offset {
		records = records[1:] // the offset in the state wins
	}
	w.fold(records)
	for left := records; len(left) > 0; {
		done, err := w.some(ctx, left, true)
		if err != nil {
			return err
		}
		left = left[done:]
	}
	if !w.ticked.IsZero() && slices.ContainsFunc(records, isTick) {
		w.ticked = time.Time{}
		if w.d.NextDue().Equal(w.tickFor) {
			w.untick = time.Now().Add(tickEarly)
		}
	}
	return nil
}

// fold empties the records that are copies of some that were applied before.
func (w *Worker) fold(records []Record) {
	for i := range records {
		r := &records[i]
		if w.o.Copies != nil && w.o.Copies.Seen(r.Writer, r.Seq) {
			r.Events, r.Rules = nil, nil
		}
	}
}

// ErrLost is what a Book's error is when no retry can help: another owner has the partition.
var ErrLost = errors.New("the partition has another owner")

// ErrRefused is what a Book's error is when it will never take this batch: a record in it is at fault, not the database.
var ErrRefused = errors.New("refused for good")

// ErrStale is what a Book's error is when what the worker knows is not what the database has, such as after a failover to a copy that had
// not heard all: the worker ends, and another must load what there is.
var ErrStale = errors.New("the state is not the one that was loaded")

// try commits b, again and again while the database fails for a reason that may pass; with wait, also while it refuses b.
func (w *Worker) try(ctx context.Context, b Batch, wait bool) (seq int64, commands []tocsin.Change, err error) {
	late, cancel := longer(ctx, stopFor)
	defer cancel()
	for pause := tryFirst; ; pause = min(2*pause, tryMost) {
		seq, commands, err = w.book.Commit(late, b)
		if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrStale) || errors.Is(err, ErrRefused) && !wait || ctx.Err() != nil {
			return seq, commands, err
		}
		w.o.Log.Error("batch was not committed, and will be tried again", "offset", b.Next, "error", err, "wait", pause)
		err = rest(ctx, pause)
		if err != nil {
			return 0, nil, err
		}
	}
}

// How long is waited before a batch is tried again: twice as long each time.
const (
	tryFirst = 10 * time.Millisecond
	tryMost  = 2 * time.Second
)

// rest waits, unless ctx ends before.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// longer returns a context that ends a while after ctx: a commit under way is finished, so that its outcome is known.
func longer(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(by):
			cancel()
		case <-late.Done():
		}
	})
	return late, func() {
		stop()
		cancel()
	}
}

func (w *Worker) absorb(ctx context.Context) {
	seq, commands, err := w.book.Commands(ctx, w.seq)
	if err != nil {
		w.o.Log.Warn("commands were not read, and will be before the next batch", "error", err)
		return
	}
	w.take(commands)
	if len(commands) == 0 {
		w.seq = seq
	}
}

// take absorbs commands that stand in the database already: nothing is to be written for them.
func (w *Worker) take(commands []tocsin.Change) {
	for _, c := range commands {
		w.d.Absorb(c)
		w.seq = c.Seq
	}
	w.d.Commit()
}

// flush writes the touches, what repeats changed since the last flush, and the offset read to. No command may stand before that offset and not
// be decided upon: whatever is commanded next would stand behind it, and a replay decides between the two. Unless it must be now, it waits until
// the next record has.
func (w *Worker) flush(ctx context.Context, now bool) error {
	for {
		err := w.settled(ctx)
		if err != nil {
			return err
		}
		if w.d.pending != 0 && w.written != w.d.offset {
			if !now {
				w.pending = w.o.FlushEvents
				return nil
			}
			err = w.decide(ctx)
			if err != nil {
				return err
			}
		}
		done, err := w.touch(ctx)
		if err != nil || done {
			return err
		}
	}
}

// decide lets what was commanded have its consequences without a record, as of its own time, and commits them at the offset read to, which the
// database is not at yet.
func (w *Worker) decide(ctx context.Context) error {
	again := Record{Offset: w.d.offset - 1, At: moment(w.d.now), Writer: w.last.writer, Seq: w.last.seq} // it says only that this has been reached
	_, err := w.some(ctx, []Record{again}, false)
	return err
}

// touch writes the touches once, or absorbs the commands that stand before them: then it is not done.
func (w *Worker) touch(ctx context.Context) (done bool, err error) {
	w.flushed, w.pending = time.Now(), 0
	touches := w.d.Touches()
	if len(touches) == 0 && w.written == w.d.offset {
		return true, nil
	}
	b := Batch{
		Next: w.d.offset, Seq: w.seq, Rules: w.d.RulesHash(), Writes: Writes{Next: w.d.next, SeenAt: moment(w.d.now)}, Flush: true, Touches: touches,
		LastWriter: w.last.writer, LastSeq: w.last.seq,
	}
	if w.o.Copies != nil {
		b.Fold = w.o.Copies.Append(nil)
	}
	seq, commands, err := w.try(ctx, b, true) // no record is to blame for touches
	w.unsure = err != nil
	if err != nil {
		return false, fmt.Errorf("correlate: partition %d: touches: %w", w.d.partition, err)
	}
	if len(commands) > 0 {
		w.take(commands)
		return false, nil
	}
	w.seq, w.written = seq, b.Next
	w.d.FlushTouches()
	return true, nil
}

// observe tells others how far this is; what is not committed yet is not told.
func (w *Worker) observe() {
	if w.flight != nil {
		return
	}
	w.tell(w.d.standing())
}

func (w *Worker) tell(s standing) {
	w.offset.Store(s.offset)
	w.firing.Store(int64(s.firing))
	w.open.Store(int64(s.open))
}
