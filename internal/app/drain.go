package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"tocsin/config"
	"tocsin/internal/journal"
	"tocsin/internal/store"
	"tocsin/paging"
)

// stuckAfter is how long a drain may go without applying anything before it is given up.
const stuckAfter = 2 * time.Minute

// drain applies what the journal holds, by the same correlator that would have applied it in a server. Nobody is let in and nobody is
// paged: pages that fall due wait in their rows.
func (a *App) drain(ctx context.Context, c *config.Config) error {
	ends, parts, err := a.stand(ctx)
	if err != nil {
		return err
	}
	if drained(ends, parts, true) {
		return nil
	}
	err = a.staff(ctx, c)
	if err != nil {
		return err
	}
	err = a.applyUpTo(ctx, ends)
	if err != nil {
		return err
	}
	_, parts, err = a.stand(ctx)
	if err == nil && !drained(ends, parts, false) {
		err = errors.New("the correlator stopped before the end of the journal: run it again")
	}
	return err
}

// stand returns where the journal's partitions end, and where the work on them stands.
func (a *App) stand(ctx context.Context) (ends []int64, parts []store.Part, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		return err
	})
	for partition := 0; err == nil && partition < a.partitions; partition++ {
		var next int64
		_, next, err = a.journal.Bounds(partition)
		ends = append(ends, next)
	}
	if err == nil && len(parts) != a.partitions {
		err = fmt.Errorf("the state has %d rows for its %d partitions", len(parts), a.partitions)
	}
	return ends, parts, err
}

// drained reports whether everything before ends was applied; with touches, also what repeats said is written.
func drained(ends []int64, parts []store.Part, touches bool) bool {
	for _, p := range parts {
		if p.NextOffset < ends[p.Partition] || touches && p.TouchOffset < p.NextOffset {
			return false
		}
	}
	return true
}

// left returns how many records are still to be applied.
func (a *App) left(ctx context.Context) (n int64, err error) {
	ends, parts, err := a.stand(ctx)
	for _, p := range parts {
		if err == nil {
			n += max(ends[p.Partition]-p.NextOffset, 0)
		}
	}
	return n, err
}

// staff makes the parts that a correlator works with, but for doors and a pager that sends.
func (a *App) staff(ctx context.Context, c *config.Config) error {
	a.node = node{id: rand.Int64N(1<<53-1) + 1, alone: c.Storage.Postgres == nil}
	a.node.row = store.Node{ID: a.node.id, Name: "tocsin migrate"}
	a.changes = a.seenByAll()
	a.intake = newIntake(a.journal, a.clock, a.partitions, c.IsolateBy)
	secret, err := a.secret(ctx)
	if err != nil {
		return err
	}
	a.office = &office{db: a.db, clock: a.clock, setup: &a.setup, log: a.log, secret: secret, node: a.node.id, alone: a.node.alone, nudge: a.nudge}
	s, err := a.build(c)
	if err != nil {
		return err
	}
	a.setup.Store(s)
	// It never runs, and has room for nothing: no page is claimed.
	a.pager, err = paging.NewWorker(&pagebook{office: a.office}, map[string][]paging.Provider{"none": {{Name: "none", Sender: mute{}}}}, paging.Options{Log: a.log})
	a.office.pager = a.pager
	return err
}

// mute is a way out that sends nothing.
type mute struct{}

// Send refuses.
func (mute) Send(context.Context, paging.Message) (paging.Receipt, error) {
	return paging.Receipt{}, errors.New("nothing is sent while the state is moved")
}

// applyUpTo runs the correlators of all partitions until each has come to its end.
func (a *App) applyUpTo(ctx context.Context, ends []int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var shared sync.WaitGroup
	defer shared.Wait()
	defer cancel(nil)
	var last lastError
	shared.Go(func() {
		err := a.journal.Share(ctx, func(ctx context.Context, c journal.Claim) error {
			err := a.own(ctx, c)
			last.set(err)
			if errors.Is(err, errForeign) {
				cancel(err) // no other try helps
			}
			return err
		})
		if err != nil {
			cancel(err)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	applied, since := int64(-1), time.Now()
	for {
		at, all := a.progress(ends)
		switch {
		case all:
			return nil
		case at != applied:
			applied, since = at, time.Now()
		case time.Since(since) > stuckAfter:
			return fmt.Errorf("nothing was applied for %s: %w", stuckAfter, errors.Join(errors.New("the partitions are not ours or cannot be loaded"), last.get()))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// progress returns how far the correlators have come, as one number, and whether each has reached its end.
func (a *App) progress(ends []int64) (at int64, all bool) {
	all = true
	for partition, end := range ends {
		w := a.holds.get(partition)
		if w == nil {
			all = false
			continue
		}
		_, next := w.Applied()
		at += next + 1
		all = all && next >= end
	}
	return at, all
}

// lastError keeps the last error of several goroutines.
type lastError struct {
	mu  sync.Mutex
	err error
}

func (f *lastError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err = err
	}
}

func (f *lastError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
