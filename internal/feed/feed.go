package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin"
	"tocsin/internal/store"
)

// A Publisher makes messages durable where others read them.
type Publisher interface {
	// Publish returns once all messages are durable, those of one key in order. After an error some may be; all of them are then
	// published again.
	Publish(ctx context.Context, messages []Message) error
}

// Options tune a Feed; the zero value is ready to use.
type Options struct {
	Batch    int                   // changes that are published together at most; 0 means 200
	Registry prometheus.Registerer // nil means none
	Log      *slog.Logger          // nil means discard
}

const (
	readLimit    = 10 * time.Second
	publishLimit = 15 * time.Second
	saveEvery    = time.Second            // the cursor is moved at most so often: that much may be repeated after a crash
	linger       = 50 * time.Millisecond  // changes gather so long
	lookEvery    = time.Second            // where nobody tells of commits
	retryFirst   = 200 * time.Millisecond // after a failure, and then twice as long each time
	retryMost    = 10 * time.Second
	stopLimit    = 2 * time.Second
)

// A Feed publishes the changes of partitions.
type Feed struct {
	db      store.DB
	to      Publisher
	records Records
	Options
	behind    atomic.Int64 // changes that are committed and not published, in all partitions under way
	published prometheus.Counter
	failed    prometheus.Counter
}

// New returns a feed of what is committed in db.
func New(db store.DB, to Publisher, r Records, o Options) (*Feed, error) {
	if db == nil || to == nil || r.Incident == nil || r.Major == nil {
		return nil, errors.New("feed: it needs a store, a publisher, and records of incidents and majors")
	}
	if o.Batch < 0 {
		return nil, fmt.Errorf("feed: batches of %d", o.Batch)
	}
	o.Batch = cmp.Or(o.Batch, 200)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	f := &Feed{db: db, to: to, records: r, Options: o}
	return f, f.observe()
}

func (f *Feed) observe() error {
	f.published = prometheus.NewCounter(prometheus.CounterOpts{Name: "tocsin_feed_messages_total", Help: "Changes that were published."})
	f.failed = prometheus.NewCounter(prometheus.CounterOpts{Name: "tocsin_feed_failures_total", Help: "Times that changes could not be read or published; they are tried again."})
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_feed_lag_changes", Help: "Changes that are committed and not published, in the partitions of this node.",
	}, func() float64 { return float64(f.behind.Load()) })
	if f.Registry == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{f.published, f.failed, lag} {
		errs = append(errs, f.Registry.Register(c))
	}
	return errors.Join(errs...)
}

// CursorName is under which name of meta the seq stands up to which the changes of a partition are published.
func CursorName(partition int) string { return "feed " + strconv.Itoa(partition) }

// A run is one partition under way.
type run struct {
	*Feed
	partition int
	at        int64         // published up to this seq; below 0: the cursor in the state says it
	newest    tocsin.Change // the one at that seq, where this run has published it
	kept      int64         // the cursor as it stands in the state
	keptAt    time.Time
	lag       int64 // this run's part of behind
}

// Run publishes the changes of a partition until ctx ends. What fails is tried again, with waits of up to 10 s; nobody else waits for it.
func (f *Feed) Run(ctx context.Context, partition int) {
	r := &run{Feed: f, partition: partition, at: -1}
	defer r.stop(ctx)
	wait := time.Duration(0)
	for said := false; ; {
		committed := f.db.Committed()
		more, err := r.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(max(2*wait, retryFirst), retryMost)
			f.failed.Inc()
			if !said {
				f.Log.Warn("changes are not published, and will be tried again", "partition", partition, "after", r.at, "error", err)
			}
			said, committed = true, nil
		case more:
			wait, said = 0, false
			continue
		default:
			wait, said = lookEvery, false
		}
		if !rest(ctx, wait, committed) {
			return
		}
		if err == nil {
			wait = 0
		}
	}
}

// rest waits until something was committed, and a little longer, or for wait. It is false when ctx has ended.
func rest(ctx context.Context, wait time.Duration, committed <-chan struct{}) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	case <-committed:
	}
	t.Reset(linger)
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// step publishes one batch. more: there may be another.
func (r *run) step(ctx context.Context) (more bool, err error) {
	messages, newest, err := r.read(ctx)
	if err != nil {
		return false, err
	}
	if len(messages) > 0 {
		within, cancel := context.WithTimeout(ctx, publishLimit)
		err = r.to.Publish(within, messages)
		cancel()
		if err != nil {
			return false, err
		}
		r.published.Add(float64(len(messages)))
		r.behindBy(r.lag - (newest.Seq - r.at))
		r.at, r.newest = newest.Seq, newest
	}
	if r.at > r.kept && (len(messages) == 0 || time.Since(r.keptAt) >= saveEvery) {
		err = r.keep(ctx)
	}
	return len(messages) == r.Batch, err
}

// read returns the messages of the next changes, and the last of those.
func (r *run) read(ctx context.Context) (messages []Message, newest tocsin.Change, err error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	err = r.db.View(ctx, func(tx *store.Tx) error {
		part, err := tx.Part(r.partition)
		if err != nil {
			return err
		}
		err = r.place(tx, part)
		if err != nil {
			return err
		}
		r.behindBy(part.Seq - r.at)
		if part.Seq == r.at {
			return nil
		}
		changes, err := tx.Changes(r.partition, r.at, r.Batch)
		if err != nil || len(changes) == 0 {
			return err
		}
		newest = changes[len(changes)-1]
		messages, err = r.encode(tx, changes)
		return err
	})
	return messages, newest, err
}

// place finds out where to go on: behind what was published last or, at first and where the state has fallen back, behind its cursor.
func (r *run) place(tx *store.Tx, part store.Part) error {
	fell, err := r.fell(tx, part)
	if err != nil || r.at >= 0 && !fell {
		return err
	}
	if fell {
		r.Log.Warn("the state has fallen back: changes behind its cursor are published again", "partition", r.partition, "published", r.at, "now", part.Seq)
	}
	at, err := cursor(tx, r.partition)
	if err != nil {
		return err
	}
	r.at, r.newest = min(at, part.Seq), tocsin.Change{}
	r.kept = r.at
	return nil
}

// fell reports whether the state does not know what was published last: a failover has lost it, and other changes may have its number.
func (r *run) fell(tx *store.Tx, part store.Part) (bool, error) {
	switch {
	case r.at < 0:
		return false, nil
	case part.Seq < r.at:
		return true, nil
	case r.newest.Seq == 0:
		return false, nil
	}
	is, err := tx.Changes(r.partition, r.at-1, 1)
	if err != nil || len(is) == 0 || is[0].Seq != r.at { // so old that it is not kept any more
		return false, err
	}
	now, was := is[0], r.newest
	return !now.At.Equal(was.At) || now.Kind != was.Kind || now.Actor != was.Actor || now.Incident != was.Incident || now.Major != was.Major, nil
}

// encode makes messages of changes. A change whose data cannot be read is told without it: nothing may stand in the way of the others.
func (r *run) encode(tx *store.Tx, changes []tocsin.Change) ([]Message, error) {
	incidents, majors := map[int64]*tocsin.Incident{}, map[int64]*tocsin.Major{}
	out := make([]Message, 0, len(changes))
	for _, c := range changes {
		i, err := once(incidents, c.Incident, tx.Incident)
		if err != nil {
			return nil, err
		}
		m, err := once(majors, c.Major, tx.Major)
		if err != nil {
			return nil, err
		}
		message, err := Encode(c, i, m, r.records)
		if err != nil {
			r.Log.Error("change is published without its data", "partition", c.Partition, "seq", c.Seq, "error", err)
			c.Data = nil
			message, err = Encode(c, i, m, r.records)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, message)
	}
	return out, nil
}

// once reads a row unless it was read before; nil where there is none.
func once[T any](known map[int64]*T, id int64, read func(int64) (T, error)) (*T, error) {
	if id == 0 {
		return nil, nil //nolint:nilnil // the change is about none
	}
	if v, ok := known[id]; ok {
		return v, nil
	}
	v, err := read(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		known[id] = nil
	case err != nil:
		return nil, err
	default:
		known[id] = &v
	}
	return known[id], nil
}

// behindBy says how many changes of this partition wait.
func (r *run) behindBy(n int64) {
	r.behind.Add(n - r.lag)
	r.lag = n
}

// cursor returns the seq up to which a partition's changes are published.
func cursor(tx *store.Tx, partition int) (int64, error) {
	text, err := tx.Meta(CursorName(partition))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the feed's cursor of partition %d is %q", partition, text)
	}
	return n, nil
}

// keep moves the cursor, never back: a node that does not know yet that another has the partition may be behind it. Nor does it move past what
// the state has.
func (r *run) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	err := r.db.Update(ctx, store.Correlation, func(tx *store.Tx) error {
		part, err := tx.Part(r.partition)
		if err != nil {
			return err
		}
		fell, err := r.fell(tx, part)
		if err != nil || fell {
			return err // the next look finds it
		}
		have, err := cursor(tx, r.partition)
		if err != nil || have >= r.at {
			return err
		}
		return tx.SetMeta(CursorName(r.partition), strconv.FormatInt(r.at, 10))
	})
	if err != nil {
		return fmt.Errorf("keep that changes up to %d are published: %w", r.at, err)
	}
	r.kept, r.keptAt = r.at, time.Now()
	return nil
}

// stop keeps the cursor for whoever comes next.
func (r *run) stop(ctx context.Context) {
	r.behindBy(0)
	if r.at <= r.kept {
		return
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	err := r.keep(late)
	if err != nil && !errors.Is(err, store.ErrClosed) {
		r.Log.Warn("some changes will be published again", "partition", r.partition, "after", r.kept, "error", err)
	}
}
