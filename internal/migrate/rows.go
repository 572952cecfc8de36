package migrate

import (
	"context"
	"slices"
	"strings"

	"tocsin/internal/store"
)

// heldPrefix begins the names in meta under which the correlator of each partition keeps the scopes that are over a limit of theirs, but not yet
// for long enough; behind it stands the partition.
const heldPrefix = "held "

// feedPrefix begins the names under which the feed keeps how far each partition is published (feed.CursorName). The history is numbered
// anew, so it begins again with all of it: what was published before comes once more.
const feedPrefix = "feed "

// moves reports whether a row of meta belongs to what is moved, not to the database that it stands in.
func moves(name string) bool {
	switch name {
	case "min_reader", store.MetaPartitions, store.MetaIsolateBy, store.MetaJournal, store.MetaMigration, store.MetaMoved:
		return false
	}
	return !strings.HasPrefix(name, heldPrefix) && !strings.HasPrefix(name, feedPrefix)
}

// placed are the tables whose rows have a partition, but for the history.
var placed = []string{"alert", "incident", "major", "page", "timer"}

// moveRows is the step of every table but the history.
func (j *Job) moveRows(ctx context.Context, m *Mark) error {
	h, err := j.findHomes(ctx)
	if err != nil {
		return err
	}
	begun := m.Table == ""
	for _, b := range store.Tables() {
		if b.Name == "change" || m.InPlace && !slices.Contains(placed, b.Name) {
			continue
		}
		if !begun && b.Name != m.Table {
			continue // done before
		}
		begun = true
		err = j.moveTable(ctx, m, b, h)
		if err != nil {
			return err
		}
	}
	return j.To.Update(ctx, store.Commands, func(tx *store.Tx) error { return m.to(tx, history) })
}

func (j *Job) moveTable(ctx context.Context, m *Mark, b store.Table, h *homes) error {
	if m.Table != b.Name {
		m.Table, m.After = b.Name, ""
	}
	told := &teller{say: j.Say, what: b.Name}
	err := batches(ctx, j.From, b, m.After, j.Chunk, func(batch []store.Row, last store.Cursor) error {
		told.more(len(batch))
		batch, err := prepare(m, b, batch, h)
		if err != nil {
			return err
		}
		was := m.After
		m.After = last
		err = j.To.Update(ctx, store.Correlation, func(tx *store.Tx) error {
			err := tx.Import(b, batch)
			if err != nil {
				return err
			}
			return writeMeta(tx, store.MetaMigration, m)
		})
		if err != nil {
			m.After = was
		}
		return err
	})
	if err == nil {
		told.end()
	}
	return err
}

// prepare makes of rows of the source what they are in the target.
func prepare(m *Mark, b store.Table, batch []store.Row, h *homes) ([]store.Row, error) {
	for _, r := range batch {
		err := h.place(b, r)
		if err != nil {
			return nil, err
		}
	}
	switch {
	case b.Name == "meta":
		batch = slices.DeleteFunc(batch, func(r store.Row) bool { return !moves(r.Text(0)) })
	case b.Name == "dead_letter" && !m.InPlace:
		for _, r := range batch {
			if r.Int(1) >= 0 {
				r[1] = -r.Int(1) - 1 // an offset of the new journal is another record's
			}
		}
	}
	return batch, nil
}

// teller says now and then how far something is.
type teller struct {
	say        func(format string, args ...any)
	what       string
	rows, told int
}

// tellEvery is after how many rows something is said.
const tellEvery = 100_000

func (t *teller) more(n int) {
	t.rows += n
	if t.rows-t.told >= tellEvery {
		t.told = t.rows
		t.say("  %s: %d rows so far", t.what, t.rows)
	}
}

func (t *teller) end() {
	if t.rows > 0 {
		t.say("  %s: %d rows", t.what, t.rows)
	}
}
