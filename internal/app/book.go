package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
)

// book makes the correlator's decisions durable: state, history, pages due and the offset read to in one transaction.
type book struct {
	*office
	partition  int
	partitions int // of the state
	epoch      int64
	history    int64            // of the database when the state was loaded; 0: it tells none
	passed     func(next int64) // tells the journal, for those who watch the lag; nil: nobody does
	fenced     func()           // counts commits that were refused because the partition has another owner; nil: nobody does
}

// errBehind rolls a batch back because commands were committed that its domain does not know.
var errBehind = errors.New("commands were committed meanwhile")

// A staleError says why the state is not the one that was loaded. No record is at fault, whatever the store calls it.
type staleError struct{ why error }

func (e *staleError) Error() string { return correlate.ErrStale.Error() + ": " + e.why.Error() }
func (e *staleError) Unwrap() error { return correlate.ErrStale }

// historyOf is the number of the history that a database goes on in: a failover begins another, which may lack the end of the one before. Nobody
// who read the state before knows what it is now, however far the rows have come again since. 0 is a database that tells none.
func historyOf(db store.DB) int64 {
	if h, ok := db.(interface{ History() int64 }); ok {
		return h.History()
	}
	return 0
}

// atOnce is how many commands are absorbed in one go.
const atOnce = 1000

// Commit writes b, or returns the commands that stand before it.
func (b *book) Commit(ctx context.Context, batch correlate.Batch) (seq int64, commands []tocsin.Change, err error) {
	var t *turn
	err = b.db.Update(ctx, store.Correlation, func(tx *store.Tx) error {
		if t != nil {
			t.release(b.pager)
		}
		var err error
		t, err = b.turn(tx, b.partition)
		if err != nil {
			return err
		}
		if t.part.Epoch != b.epoch {
			return store.ErrFenced
		}
		if now := historyOf(b.db); b.history != 0 && now != b.history {
			return fmt.Errorf("%w: the database has failed over, from history %d to %d", correlate.ErrStale, b.history, now)
		}
		if t.part.Seq < batch.Seq {
			return fmt.Errorf("%w: its history ends at %d, and had %d", correlate.ErrStale, t.part.Seq, batch.Seq)
		}
		if !batch.Flush && t.part.NextOffset >= batch.Next && batch.Next > 0 {
			seq = batch.Seq // an earlier try was committed, and its answer was lost: nobody else moves the offset of this epoch
			t = nil
			return nil
		}
		commands, err = tx.Commands(b.partition, 0, batch.Seq, atOnce)
		if err != nil {
			return err
		}
		if len(commands) > 0 {
			return errBehind
		}
		err = b.write(t, batch)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) {
			return &staleError{err}
		}
		seq = t.part.Seq
		return err
	})
	switch {
	case errors.Is(err, errBehind):
		return 0, commands, nil
	case errors.Is(err, store.ErrFenced):
		if b.fenced != nil {
			b.fenced()
		}
		return 0, nil, fmt.Errorf("%w: %w", correlate.ErrLost, err)
	case err != nil:
		if t != nil {
			t.release(b.pager)
		}
		if errors.Is(err, store.ErrRefused) && !errors.Is(err, correlate.ErrStale) { // a database says both of a row that is in the way
			err = fmt.Errorf("%w: %w", correlate.ErrRefused, err)
		}
		return 0, nil, err
	}
	if t != nil {
		t.after(ctx, b.pager)
	}
	if b.passed != nil {
		b.passed(batch.Next)
	}
	return seq, nil, nil
}

func (b *book) write(t *turn, batch correlate.Batch) error {
	w := batch.Writes
	fresh, known := split(w.Alerts, func(a *tocsin.Alert) bool { return unused(a.ID, t.part.NextAlert, b.partitions) })
	err := t.tx.AddAlerts(fresh)
	if err != nil {
		return err
	}
	err = t.tx.PutAlerts(known)
	if err != nil {
		return err
	}
	err = t.tx.MoveAlerts(moves(w.Moves))
	if err != nil {
		return err
	}
	err = t.tx.PutIncidents(w.Incidents)
	if err != nil {
		return err
	}
	err = t.tx.PutMajors(w.Majors)
	if err != nil {
		return err
	}
	if w.HeldNew {
		err = putHeld(t.tx, b.partition, w.Held)
		if err != nil {
			return err
		}
	}
	for chunk, touches := range batch.Touches {
		err = t.tx.PutTouches(b.partition, chunk, storeTouches(touches))
		if err != nil {
			return err
		}
	}
	err = t.effects(batch.Effects, w)
	if err != nil {
		return err
	}
	t.part.NextOffset, t.part.Rules = batch.Next, batch.Rules
	t.part.NextAlert, t.part.NextIncident, t.part.NextMajor = w.Next.Alert, w.Next.Incident, w.Next.Major
	if w.SeenAt.After(t.part.SeenAt) {
		t.part.SeenAt = w.SeenAt
	}
	t.part.LastWriter, t.part.LastSeq = int64(batch.LastWriter), int64(batch.LastSeq) //nolint:gosec // all 64 bits are kept
	if batch.Flush {
		t.part.TouchOffset, t.part.Fold = batch.Next, batch.Fold
	}
	return t.finish()
}

// Commands returns what people commanded since.
func (b *book) Commands(ctx context.Context, seq int64) (newest int64, commands []tocsin.Change, err error) {
	err = b.db.View(ctx, func(tx *store.Tx) error {
		part, err := tx.Part(b.partition)
		if err != nil {
			return err
		}
		newest = part.Seq
		commands, err = tx.Commands(b.partition, 0, seq, atOnce)
		return err
	})
	return newest, commands, err
}

// unused reports whether an id is of those that a partition has not given yet. next counts the ids that it has given, of which there is one
// in so many as there are partitions.
func unused(id, next int64, partitions int) bool { return id > next*int64(partitions) }

// split returns those that are, and the others.
func split[T any](all []T, is func(*T) bool) (are, others []T) {
	n := 0
	for n < len(all) && is(&all[n]) {
		n++
	}
	if n == len(all) {
		return all, nil
	}
	are = slices.Clip(all[:n])
	for i := n; i < len(all); i++ {
		if is(&all[i]) {
			are = append(are, all[i])
		} else {
			others = append(others, all[i])
		}
	}
	return are, others
}

func moves(ms []correlate.Move) []store.AlertMove {
	out := make([]store.AlertMove, len(ms))
	for i, m := range ms {
		out[i] = store.AlertMove{
			ID: m.Alert, Status: m.Status, Severity: m.Severity, Incident: m.Incident, LastAt: m.LastAt, EndsAt: m.EndsAt, Count: m.Count, AsOf: m.AsOf, Joined: m.Joined,
		}
	}
	return out
}

func storeTouches(ts []correlate.Touch) []store.Touch {
	out := make([]store.Touch, len(ts))
	for i, t := range ts {
		out[i] = store.Touch(t)
	}
	return slices.Clip(out)
}
