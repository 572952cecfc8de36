package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/journal"
	"tocsin/internal/store"
)

// loaded is what a worker begins with.
type loaded struct {
	domain *correlate.Domain
	seq    int64 // of the newest change that the rows contain
	fold   *journal.Fold
}

// load builds the correlator's memory of one partition from the rows, and from what repeats said since the last touches; first is the
// first offset that the journal has. The seq loaded is that of the newest change that the rows contain: doors are open, and people
// command while they are read.
func (a *App) load(ctx context.Context, part store.Part, first int64) (_ *loaded, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(loadGC)) // almost all that a load allocates stays
	var seq int64
	s := correlate.Snapshot{
		Next:   correlate.Counters{Alert: part.NextAlert, Incident: part.NextIncident, Major: part.NextMajor},
		Offset: part.NextOffset, SeenAt: part.SeenAt,
	}
	s.Rules, err = a.rulesByHash(ctx, part.Rules)
	if err != nil {
		return nil, err
	}
	// Not our clock: what the journal goes on with may be older than it by as long as nobody ran.
	seen := part.SeenAt
	back := seen.Add(-correlate.DefaultReopen - time.Minute)
	if s.Rules != nil {
		back = seen.Add(-s.Rules.LookBack())
	}
	err = a.db.View(ctx, func(tx *store.Tx) error {
		var err error
		seq, s.CommandAt, err = newest(tx, part)
		if err != nil {
			return err
		}
		open, err := tx.OpenIncidents(part.Partition)
		if err != nil {
			return err
		}
		ended, err := tx.ResolvedSince(part.Partition, back)
		if err != nil {
			return err
		}
		s.Incidents = append(ended, open...)
		s.Majors, err = tx.MajorsSince(part.Partition, back)
		if err != nil {
			return err
		}
		s.Held, err = heldScopes(tx, part.Partition)
		if err != nil {
			return err
		}
		s.Codes, err = tx.Codes(part.Partition, seen)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load partition %d: %w", part.Partition, err)
	}
	d := correlate.Restore(part.Partition, a.partitions, s)
	touches, err := a.touches(ctx, part.Partition)
	if err != nil {
		return nil, err
	}
	err = store.LoadAlerts(ctx, a.db, part.Partition, back, func() { d = correlate.Restore(part.Partition, a.partitions, s) }, func(alerts []tocsin.Alert) error {
		for i := range alerts {
			x := &alerts[i]
			if t, ok := touches[x.ID]; ok && t.AsOf > x.AsOf && x.Status == tocsin.Firing {
				x.LastAt, x.EndsAt, x.Count, x.AsOf = t.LastAt, t.EndsAt, t.Count, t.AsOf
			}
			d.AddAlert(x)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("load alerts of partition %d: %w", part.Partition, err)
	}
	d.Ready()
	l := &loaded{domain: d, seq: seq}
	l.fold, err = journal.ParseFold(part.Fold)
	if err != nil {
		return nil, fmt.Errorf("load partition %d: %w", part.Partition, err)
	}
	return l, a.retouch(ctx, l, part, first)
}

// newest returns the seq of the newest change that the rows of part contain, and when the newest of the commands was given that
// no record has been applied after: zero, where there are none.
func newest(tx *store.Tx, part store.Part) (seq int64, commandAt time.Time, err error) {
	now, err := tx.Part(part.Partition)
	if err != nil {
		return 0, commandAt, err
	}
	for after := int64(0); ; {
		commands, err := tx.Commands(part.Partition, part.NextOffset, after, atOnce)
		if err != nil || len(commands) == 0 {
			return now.Seq, commandAt, err
		}
		last := commands[len(commands)-1]
		after, commandAt = last.Seq, last.At
	}
}

// heldName is where the scopes are kept that are over their limit, but not yet for long enough.
func heldName(partition int) string { return fmt.Sprintf("held %d", partition) }

func heldScopes(tx *store.Tx, partition int) (scopes []correlate.Held, err error) {
	text, err := tx.Meta(heldName(partition))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &scopes)
	}
	return scopes, err
}

func putHeld(tx *store.Tx, partition int, scopes []correlate.Held) error {
	text, err := json.Marshal(scopes)
	if err != nil {
		return fmt.Errorf("scopes over their limit: %w", err)
	}
	return tx.SetMeta(heldName(partition), string(text))
}

func (a *App) touches(ctx context.Context, partition int) (map[int64]store.Touch, error) {
	out := map[int64]store.Touch{}
	err := a.db.View(ctx, func(tx *store.Tx) error {
		for t, err := range tx.LoadTouches(partition) {
			if err != nil {
				return err
			}
			out[t.Alert] = t
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load touches of partition %d: %w", partition, err)
	}
	return out, nil
}

// retouch reads the records again that lie between the last touches and the offset to go on from. The last of them must be the one
// that was applied last.
func (a *App) retouch(ctx context.Context, l *loaded, part store.Part, first int64) error {
	from := max(min(part.TouchOffset, part.NextOffset-1), first)
	if from >= part.NextOffset {
		return nil
	}
	r, err := a.journal.Read(part.Partition, from)
	if err != nil {
		return fmt.Errorf("read journal again from offset %d: %w", from, err)
	}
	defer r.Close()
	rs := a.records(part.Partition, r)
	rs.dead = func(int64, []byte, error) {} // it was set aside when it was read for the first time
	for at := from; at < part.NextOffset; {
		within, cancel := context.WithTimeout(ctx, rereadWait)
		batch, err := rs.Next(within)
		cancel()
		late := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
		if late && (a.kafka == nil || rs.passed >= part.NextOffset) {
			return nil // what should be there is lost, and has been said so
		}
		if late {
			return fmt.Errorf("read journal again up to offset %d: nothing came for %v: %w", part.NextOffset, rereadWait, err)
		}
		if err != nil {
			return err
		}
		for i := range batch {
			rec := &batch[i]
			at = rec.Offset + 1
			if at > part.NextOffset {
				break
			}
			err = stands(part, rec)
			if err != nil {
				return err
			}
			if rec.Offset >= part.TouchOffset && (a.kafka == nil || !l.fold.Seen(rec.Writer, rec.Seq)) {
				l.domain.Retouch(*rec)
			}
		}
	}
	return nil
}

// loadGC is how much the heap may grow, in percent, between two collections while the state is loaded.
const loadGC = 400

// rereadWait bounds the wait for records that are there already.
const rereadWait = 10 * time.Second

// rulesByHash compiles a rule set that the database keeps; "" is none.
func (a *App) rulesByHash(ctx context.Context, hash string) (*correlate.Rules, error) {
	if hash == "" {
		return nil, nil //nolint:nilnil // no rules are in force before the first record says so
	}
	var body []byte
	err := a.db.View(ctx, func(tx *store.Tx) error {
		var err error
		body, err = tx.Rules(hash)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rule set %s: %w", hash, err)
	}
	return correlate.ParseRules(body)
}

// publish makes the rules of the configuration those in force from the next record on, where they are not yet.
// Started anew, only a rule set never seen before is published: going back to an older one needs a reload.
func (a *App) publish(ctx context.Context, s *setup, reload bool) error {
	const published = "published rules "
	seen := false
	err := a.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		_, err := tx.Meta(published + s.hash)
		seen = err == nil
		if seen || !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.PutRules(s.hash, s.rules)
	})
	if err != nil {
		return fmt.Errorf("rule set %s: %w", s.hash, err)
	}
	if seen && !reload {
		return nil
	}
	for partition := range a.partitions {
		_, err = a.intake.append(ctx, partition, &journal.Record{Kind: journal.Rules, Writer: a.intake.writer, At: a.clock.Now(), Rules: s.hash})
		if err != nil {
			return fmt.Errorf("publish rule set %s: %w", s.hash, err)
		}
	}
	return a.db.Update(ctx, store.Commands, func(tx *store.Tx) error { return tx.SetMeta(published+s.hash, "1") })
}
