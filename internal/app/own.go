package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tocsin/correlate"
	"tocsin/internal/journal"
	"tocsin/internal/store"
)

// A holding is one partition while this node works on it.
type holding struct {
	part   store.Part                       // as it was claimed
	worker atomic.Pointer[correlate.Worker] // nil while the state is being loaded
}

// holdings are the partitions that this node works on now.
type holdings struct {
	mu    sync.Mutex
	of    map[int]*holding
	told  bool // a partition has been given out to this node, once
	spare bool // it may be that there is none for this node
}

func (h *holdings) add(x *holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[int]*holding{}
	}
	h.of[x.part.Partition] = x
	h.told = true
}

func (h *holdings) remove(x *holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[x.part.Partition] == x {
		delete(h.of, x.part.Partition)
	}
}

// all returns the holdings, the lowest partition first.
func (h *holdings) all() []*holding {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*holding, 0, len(h.of))
	for _, x := range h.of {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *holding) int { return a.part.Partition - b.part.Partition })
	return out
}

// get returns the worker of a partition; nil: it is not ours, or not loaded yet.
func (h *holdings) get(partition int) *correlate.Worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.of[partition]; x != nil {
		return x.worker.Load()
	}
	return nil
}

// whole reports whether all that this node was given is loaded.
func (h *holdings) whole() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.of {
		if x.worker.Load() == nil {
			return false
		}
	}
	return h.told || h.spare
}

// groupIdle is after how long without a new claim a smaller generation may claim: the group was forgotten, and counts anew.
const groupIdle = 12 * time.Second

// claim makes this node the owner of a partition.
func (a *App) claim(ctx context.Context, c journal.Claim) (part store.Part, err error) {
	err = a.db.Update(ctx, store.Commands, func(tx *store.Tx) (err error) {
		part, err = tx.Take(c.Partition, a.node.name(), c.Generation, a.clock.Now(), groupIdle)
		return err
	})
	if errors.Is(err, store.ErrFenced) {
		a.fenced.Inc()
	}
	return part, err
}

// errForeign means that the journal's records are not those that the state has applied.
var errForeign = errors.New("the journal was cut or made anew behind the state's back: nothing is applied until tocsin migrate --rejoin says where to go on")

// own applies one partition's journal for as long as ctx lasts.
func (a *App) own(ctx context.Context, c journal.Claim) error {
	defer a.tellOthers(ctx, c.Partition)()
	err := a.work(ctx, c)
	switch {
	case ctx.Err() != nil:
		if err != nil && !errors.Is(err, context.Canceled) {
			a.log.Warn("the end of work on a partition was not clean, and its next owner reads what is missing from the journal", "partition", c.Partition, "error", err)
		}
		return nil
	case errors.Is(err, store.ErrFenced):
		a.log.Warn("partition has another owner", "partition", c.Partition, "generation", c.Generation)
	case err != nil:
		a.broken.WithLabelValues(strconv.Itoa(c.Partition)).Inc()
		a.log.Error("partition is not applied, and will be tried again", "partition", c.Partition, "error", err)
	}
	return err
}

func (a *App) work(ctx context.Context, c journal.Claim) (err error) {
	began, history := time.Now(), historyOf(a.db) // before anything is read
	part, err := a.claim(ctx, c)
	if err != nil {
		return err
	}
	h := &holding{part: part}
	a.holds.add(h)
	defer a.holds.remove(h)
	first, err := a.tail(part)
	if err != nil {
		return err
	}
	l, err := a.load(ctx, part, first)
	if err != nil {
		return err
	}
	reader, err := a.journal.Read(part.Partition, part.NextOffset)
	if gap, is := errors.AsType[*journal.GapError](err); is {
		a.gap(gap)
		reader, err = a.journal.Read(part.Partition, gap.To)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	o := correlate.WorkerOptions{Log: a.log, Aside: a.aside(part.Partition), LastWriter: uint64(part.LastWriter), LastSeq: uint64(part.LastSeq)} //nolint:gosec // as it was stored
	if a.kafka != nil {
		o.Copies = l.fold
	}
	b := &book{office: a.office, partition: part.Partition, partitions: a.partitions, epoch: part.Epoch, history: history, passed: c.Passed, fenced: a.fenced.Inc}
	w := correlate.NewWorker(l.domain, l.seq, a.records(part.Partition, reader), b, o)
	h.worker.Store(w)
	w.Nudge() // somebody may have commanded something since the rows were read
	a.log.Info("state loaded", "partition", part.Partition, "generation", c.Generation, "epoch", part.Epoch,
		"alerts", l.domain.Firing(), "incidents", l.domain.OpenIncidents(), "took", time.Since(began))
	err = w.Run(ctx)
	if errors.Is(err, correlate.ErrLost) {
		return fmt.Errorf("%w: %w", store.ErrFenced, err)
	}
	return err
}

// tail finds out whether the journal still has the end of what the state has applied of it, and the first offset that it has.
func (a *App) tail(part store.Part) (first int64, err error) {
	first, next, err := a.journal.Bounds(part.Partition)
	if err != nil {
		return 0, err
	}
	if next < part.NextOffset {
		return 0, fmt.Errorf("partition %d of the journal ends before offset %d and %d were applied: %w", part.Partition, next, part.NextOffset, errForeign)
	}
	return first, nil
}

// stands finds out whether the record before part.NextOffset is the one that was applied last. rec is nil where it is gone.
func stands(part store.Part, rec *correlate.Record) error {
	if rec == nil || part.LastWriter == 0 || rec.Offset != part.NextOffset-1 {
		return nil
	}
	if int64(rec.Writer) == part.LastWriter && int64(rec.Seq) == part.LastSeq { //nolint:gosec // as it was stored
		return nil
	}
	return fmt.Errorf("partition %d, offset %d: writer %x wrote number %d there, and number %d of writer %x was applied: %w",
		part.Partition, rec.Offset, rec.Writer, rec.Seq, part.LastSeq, part.LastWriter, errForeign)
}

// nudge tells a partition's worker, if it is ours, that a command was committed.
func (a *App) nudge(partition int) {
	if w := a.holds.get(partition); w != nil {
		w.Nudge()
	}
}

func (a *App) records(partition int, r journal.Reader) *records {
	return &records{
		partition: partition, reader: r, in: a.intake, rules: a.rulesByHash, gap: a.gap,
		dead: func(offset int64, payload []byte, cause error) { a.dead(partition, offset, payload, cause) },
	}
}

// gap says that records are gone that nobody has applied.
func (a *App) gap(g *journal.GapError) {
	a.lost.Add(float64(g.To - g.From))
	a.log.Error("records of the journal are lost", "partition", g.Partition, "from", g.From, "to", g.To, "cause", g.Cause)
}
