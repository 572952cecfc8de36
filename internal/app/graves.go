package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"tocsin/correlate"
	"tocsin/internal/api"
	"tocsin/internal/journal"
	"tocsin/internal/store"
)

// stateGraves keeps dead letters in the state, for a journal that has no place of its own for them.
type stateGraves struct{ db store.DB }

// Bury keeps d.
func (g stateGraves) Bury(ctx context.Context, d journal.DeadLetter) error {
	d.At = d.At.Truncate(time.Millisecond)
	return g.db.Update(ctx, store.Correlation, func(tx *store.Tx) error { return tx.BuryDead(store.DeadLetter(d)) })
}

// DeadLetters returns the newest letters, newest last.
func (g stateGraves) DeadLetters(ctx context.Context, limit int) (out []journal.DeadLetter, err error) {
	err = g.db.View(ctx, func(tx *store.Tx) error {
		found, err := tx.DeadLetters(limit)
		out = make([]journal.DeadLetter, len(found))
		for i, d := range found {
			out[i] = journal.DeadLetter(d)
		}
		return err
	})
	return out, err
}

// Settle removes a letter.
func (g stateGraves) Settle(ctx context.Context, partition int, offset int64) error {
	return g.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		_, err := tx.SettleDead(partition, offset)
		return err
	})
}

// graves is where this installation keeps what could not be applied.
func (a *App) graves() journal.Graveyard {
	if g, ok := a.journal.(journal.Graveyard); ok {
		return g
	}
	return stateGraves{a.db}
}

// buryTime bounds how long it may take to set a record aside: its partition waits meanwhile.
const buryTime = 5 * time.Second

// dead sets a record aside that cannot be read: it stays in the journal, too, for as long as that keeps it.
func (a *App) dead(partition int, offset int64, payload []byte, cause error) {
	a.unreadable.Inc()
	a.log.Error("record of the journal cannot be applied", "partition", partition, "offset", offset, "bytes", len(payload), "error", cause)
	a.bury(journal.DeadLetter{Partition: partition, Offset: offset, At: a.clock.Now(), Reason: cause.Error(), Payload: payload, Tries: 1})
}

// aside returns what sets a record of the partition aside that the correlator has given up on.
func (a *App) aside(partition int) func(r correlate.Record, tries int, cause error) {
	return func(r correlate.Record, tries int, cause error) {
		payload, err := a.payload(partition, r.Offset)
		if err != nil {
			a.log.Error("record was not set aside: it can be read in the journal only", "partition", partition, "offset", r.Offset, "error", err)
			return
		}
		reason, _, _ := strings.Cut(cause.Error(), "\n") // what follows is for the log
		a.bury(journal.DeadLetter{Partition: partition, Offset: r.Offset, At: a.clock.Now(), Reason: reason, Payload: payload, Tries: tries})
	}
}

// payload reads one record of the journal as it was written.
func (a *App) payload(partition int, offset int64) ([]byte, error) {
	r, err := a.journal.Read(partition, offset)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), buryTime)
	defer cancel()
	entries, err := r.Next(ctx, 1)
	if err != nil {
		return nil, err
	}
	if entries[0].Offset != offset {
		return nil, fmt.Errorf("record %d/%d is gone", partition, offset)
	}
	return entries[0].Payload, nil
}

func (a *App) bury(d journal.DeadLetter) {
	ctx, cancel := context.WithTimeout(context.Background(), buryTime)
	defer cancel()
	err := a.graves().Bury(ctx, d)
	if err != nil {
		a.log.Error("record was not set aside: it can be read in the journal only", "partition", d.Partition, "offset", d.Offset, "error", err)
		return
	}
	a.letters.WithLabelValues("buried").Inc()
}

// DeadLetters returns the newest records that could not be applied, newest last.
func (o operator) DeadLetters(ctx context.Context, limit int) ([]journal.DeadLetter, error) {
	return o.graves().DeadLetters(ctx, limit)
}

// mostLetters is how many letters, the newest, are looked through for one.
const mostLetters = 1000

// letter returns one of the letters that are not settled.
func (o operator) letter(ctx context.Context, partition int, offset int64) (journal.DeadLetter, error) {
	found, err := o.graves().DeadLetters(ctx, mostLetters)
	for _, d := range found {
		if d.Partition == partition && d.Offset == offset {
			return d, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("dead letter %d/%d: %w", partition, offset, store.ErrNotFound)
	}
	return journal.DeadLetter{}, err
}

// Redrive puts the events of a letter into the journal again, as said now: their alerts take them in the order of the journal. A
// failure between its two steps leaves the letter, and another try doubles the record, which alerts count as a repeat.
func (o operator) Redrive(ctx context.Context, partition int, offset int64, by string) (to int, at int64, err error) {
	d, err := o.letter(ctx, partition, offset)
	if err != nil {
		return 0, 0, err
	}
	var dec journal.Decoder
	var rec journal.Record
	err = dec.Decode(d.Payload, &rec)
	if err != nil {
		return 0, 0, fmt.Errorf("record %d/%d: %w: %w", partition, offset, api.ErrStillDead, err)
	}
	if rec.Kind != journal.Events {
		return 0, 0, fmt.Errorf("record %d/%d: %w: it has no events; for rules, reload the configuration", partition, offset, api.ErrStillDead)
	}
	to = partition
	if rec.Domain != "" || to >= o.partitions {
		to = o.intake.of(rec.Domain) // the state may have been moved to another number of partitions
	}
	rec.At = o.clock.Now()
	at, err = o.intake.again(ctx, to, &rec)
	if err != nil {
		return 0, 0, fmt.Errorf("record %d/%d: %w", partition, offset, err)
	}
	err = o.graves().Settle(ctx, partition, offset)
	if err != nil {
		return 0, 0, fmt.Errorf("record %d/%d was driven again, as %d/%d, and its letter not settled: %w", partition, offset, to, at, err)
	}
	o.letters.WithLabelValues("redriven").Inc()
	o.log.Info("dead letter driven again", slog.Int("partition", partition), slog.Int64("offset", offset), "now", at, "by", by, "events", len(rec.Events))
	return to, at, nil
}

// again appends a record under this process's own numbers, so that nobody takes it for a copy, and returns the offset of its last part.
func (i *intake) again(ctx context.Context, partition int, rec *journal.Record) (last int64, err error) {
	rec.Writer = i.writer
	var entries []journal.Entry
	for part, err := range journal.Split(rec) {
		if err != nil {
			return 0, fmt.Errorf("cannot be kept: %w", err)
		}
		part.Seq = i.seq.Add(1)
		entries = append(entries, journal.Entry{At: part.At, Payload: part.Append(nil)})
	}
	return i.j.Append(ctx, partition, entries...)
}

// Drop settles a letter whose record nobody needs.
func (o operator) Drop(ctx context.Context, partition int, offset int64, by string) error {
	_, err := o.letter(ctx, partition, offset)
	if err == nil {
		err = o.graves().Settle(ctx, partition, offset)
	}
	if err != nil {
		return err
	}
	o.letters.WithLabelValues("dropped").Inc()
	o.log.Info("dead letter dropped", slog.Int("partition", partition), slog.Int64("offset", offset), "by", by)
	return nil
}
