package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"tocsin/internal/store"
)

// Rejoin lets a state go on with a journal that was cut, or made anew, behind its back: each partition of at is applied from that offset on.
// journal is what the state calls it from now on. Copies of records that were applied before are still known as such.
func Rejoin(ctx context.Context, db store.DB, journal string, at map[int]int64) error {
	b := table("alert")
	partition, asOf := b.Column("partition"), b.Column("as_of")
	err := batches(ctx, db, b, "", chunk, func(batch []store.Row, _ store.Cursor) error {
		// What repeats said comes into the rows: it is told from older by offsets, and those begin anew.
		batch = slices.DeleteFunc(batch, func(r store.Row) bool {
			_, is := at[int(r.Int(partition))]
			return !is || r.Int(asOf) == 0
		})
		for _, r := range batch {
			r[asOf] = int64(0)
		}
		return db.Update(ctx, store.Correlation, func(tx *store.Tx) error { return tx.Import(b, batch) })
	})
	if err != nil {
		return err
	}
	now, err := db.Now(ctx)
	if err != nil {
		return err
	}
	err = db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		err := nobody(tx, now)
		if err != nil {
			return err
		}
		for _, n := range slices.Sorted(maps.Keys(at)) {
			err = rejoin(tx, n, at[n])
			if err != nil {
				return err
			}
		}
		return tx.SetMeta(store.MetaJournal, journal)
	})
	if err != nil {
		return fmt.Errorf("rejoin: %w", err)
	}
	return nil
}

func rejoin(tx *store.Tx, partition int, at int64) error {
	p, err := tx.Claim(partition, "tocsin migrate")
	if err != nil {
		return err
	}
	p.NextOffset, p.TouchOffset, p.LastWriter, p.LastSeq = at, at, 0, 0
	err = tx.SavePart(p)
	if err != nil {
		return err
	}
	err = tx.DropTouches(partition)
	if err != nil {
		return err
	}
	return tx.PutBefore(partition)
}
