package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/internal/store"
)

// makeParts makes the rows that say where each partition goes on. All is of one transaction: what it reads, in place, is what it replaces.
func (j *Job) makeParts(ctx context.Context, m *Mark) error {
	h := &homes{partitions: j.Partitions, of: j.Home}
	var old []store.Part
	var held map[string]string
	read := func(tx *store.Tx) (err error) {
		old, err = tx.Parts()
		if err != nil {
			return err
		}
		held, err = j.rehold(tx, h)
		return err
	}
	if !m.InPlace {
		err := j.From.View(ctx, read)
		if err != nil {
			return err
		}
	}
	next := m.copy()
	err := j.To.Update(ctx, store.Commands, func(tx *store.Tx) error {
		if m.InPlace {
			err := read(tx)
			if err != nil {
				return err
			}
		}
		parts, err := m.parts(tx, old)
		if err != nil {
			return err
		}
		for _, p := range old {
			for _, prefix := range []string{heldPrefix, feedPrefix} {
				err = tx.DropMeta(prefix + strconv.Itoa(p.Partition))
				if err != nil {
					return err
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(held)) {
			err = tx.SetMeta(name, held[name])
			if err != nil {
				return err
			}
		}
		err = tx.DropTouches(-1)
		if err != nil {
			return err
		}
		err = tx.PutParts(parts)
		if err != nil {
			return err
		}
		return next.to(tx, verify)
	})
	if err == nil {
		*m = *next
	}
	return err
}

// parts returns the new partitions. Epochs are above all old ones, so that whoever owned a partition once can commit nothing here.
func (m *Mark) parts(tx *store.Tx, old []store.Part) ([]store.Part, error) {
	var epoch int64
	var seen time.Time
	var rules string
	for _, p := range old {
		epoch = max(epoch, p.Epoch)
		if p.Rules != "" && (rules == "" || p.SeenAt.After(seen)) {
			rules = p.Rules
		}
		if p.SeenAt.After(seen) {
			seen = p.SeenAt
		}
	}
	most := map[string]int64{}
	for _, name := range []string{"alert", "incident", "major"} {
		id, err := tx.MostID(table(name))
		if err != nil {
			return nil, err
		}
		// The next id is counter*N + partition + 1.
		most[name] = (id + int64(m.Partitions) - 1) / int64(m.Partitions)
		for _, p := range old { // what was given may have been deleted
			given := map[string]int64{"alert": p.NextAlert, "incident": p.NextIncident, "major": p.NextMajor}[name] * int64(len(old))
			most[name] = max(most[name], (given+int64(m.Partitions)-1)/int64(m.Partitions))
		}
	}
	out := make([]store.Part, m.Partitions)
	for n := range out {
		out[n] = store.Part{
			Partition: n, Epoch: epoch + 1, NextOffset: m.Ends[n], TouchOffset: m.Ends[n], Seq: m.Seqs[n], SeenAt: seen, Rules: rules,
			NextAlert: most["alert"], NextIncident: most["incident"], NextMajor: most["major"],
		}
	}
	return out, nil
}

// rehold returns what is to be kept of the scopes that wait, by the name in meta.
func (j *Job) rehold(tx *store.Tx, h *homes) (map[string]string, error) {
	meta := table("meta")
	lists := map[string][]json.RawMessage{}
	for after := store.Cursor(""); ; {
		batch, err := tx.Export(meta, after, j.Chunk)
		if err != nil {
			return nil, err
		}
		for _, r := range batch {
			name, ok := strings.CutPrefix(r.Text(0), heldPrefix)
			if !ok {
				continue
			}
			err = h.share(name, r.Text(1), lists)
			if err != nil {
				return nil, fmt.Errorf("scopes over their limit, partition %s: %w", name, err)
			}
		}
		if len(batch) < j.Chunk {
			break
		}
		after, err = meta.Cursor(batch[len(batch)-1])
		if err != nil {
			return nil, err
		}
	}
	out := map[string]string{}
	for name, list := range lists {
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		out[name] = string(text)
	}
	return out, nil
}

// share shares the scopes of one old partition out.
func (h *homes) share(partition, text string, lists map[string][]json.RawMessage) error {
	_, err := strconv.Atoi(partition)
	if err != nil {
		return err
	}
	var scopes []json.RawMessage
	err = json.Unmarshal([]byte(text), &scopes)
	if err != nil {
		return err
	}
	for _, s := range scopes {
		var of struct {
			Scope json.RawMessage `json:"scope"`
		}
		err = json.Unmarshal(s, &of)
		if err != nil {
			return err
		}
		home, _, err := h.labels(string(of.Scope))
		if err != nil {
			return err
		}
		name := heldPrefix + strconv.Itoa(home)
		lists[name] = append(lists[name], s)
	}
	return nil
}

// verify compares both sides.
func (j *Job) verify(ctx context.Context, m *Mark) (*Report, error) {
	r := &Report{Source: m.Before}
	var err error
	if !m.InPlace {
		r.Source, err = j.sums(ctx, j.From)
		if err != nil {
			return nil, err
		}
	}
	r.Target, err = j.sums(ctx, j.To)
	if err != nil {
		return nil, err
	}
	var differ []string
	for _, b := range store.Tables() {
		if r.Source[b.Name] != r.Target[b.Name] {
			differ = append(differ, fmt.Sprintf("%s (%d rows, %.12s; %d rows, %.12s)", b.Name, r.Source[b.Name].Rows, r.Source[b.Name].Hash, r.Target[b.Name].Rows, r.Target[b.Name].Hash))
		}
	}
	if len(differ) == 0 {
		return r, j.To.Update(ctx, store.Commands, func(tx *store.Tx) error { return m.to(tx, switches) })
	}
	err = fmt.Errorf("the two sides differ in %s", strings.Join(differ, ", "))
	if m.InPlace {
		return nil, fmt.Errorf("%w: nothing serves this state before it is restored from a backup", err)
	}
	again := j.fromFirst(ctx, m)
	if again != nil {
		return nil, again
	}
	return nil, fmt.Errorf("%w: nothing was switched; run it again, and the rows are moved again from the first", err)
}

// switchOver closes the source, then opens the target: at no moment do both serve.
func (j *Job) switchOver(ctx context.Context, m *Mark) error {
	now, err := j.To.Now(ctx)
	if err != nil {
		return err
	}
	if !m.InPlace {
		err = j.close(ctx, m)
		if err != nil {
			return err
		}
	}
	err = j.To.Update(ctx, store.Commands, func(tx *store.Tx) error {
		err := nobody(tx, now)
		if err != nil {
			return err
		}
		for name, value := range map[string]string{
			store.MetaPartitions: strconv.Itoa(m.Partitions), store.MetaIsolateBy: m.IsolateBy, store.MetaJournal: m.Journal,
		} {
			err = tx.SetMeta(name, value)
			if err != nil {
				return err
			}
		}
		err = tx.DropMeta(store.MetaMoved)
		if err != nil {
			return err
		}
		return tx.DropMeta(store.MetaMigration)
	})
	if err == nil {
		m.Step = ""
	}
	return err
}

// close writes into the source where it was moved to, unless somebody has worked on it.
func (j *Job) close(ctx context.Context, m *Mark) error {
	now, err := j.From.Now(ctx)
	if err != nil {
		return err
	}
	worked := false
	err = j.From.Update(ctx, store.Commands, func(tx *store.Tx) error {
		moved, err := readMeta[Moved](tx, store.MetaMoved)
		if err != nil {
			return err
		}
		if moved != nil {
			if moved.Begun.Equal(m.Begun) {
				return nil // this job, when it ran before
			}
			return fmt.Errorf("the old state was moved to %s at %s", moved.To, moved.At.Format(minute))
		}
		err = nobody(tx, now)
		if err != nil {
			return err
		}
		for _, s := range m.Source {
			_, err = tx.Lock(s.Partition)
			if err != nil {
				return err
			}
		}
		at, err := standsOf(tx)
		if err != nil {
			return err
		}
		worked = !slices.Equal(at, m.Source)
		if worked {
			return ErrWorked
		}
		journal, err := tx.Meta(store.MetaJournal)
		if err != nil {
			return err
		}
		err = writeMeta(tx, store.MetaMoved, Moved{To: m.To, At: now.UTC(), Begun: m.Begun, Journal: journal})
		if err != nil {
			return err
		}
		return tx.SetMeta(store.MetaJournal, noneMore+m.To)
	})
	if !worked {
		return err
	}
	again := j.fromFirst(ctx, m)
	if again != nil {
		return again
	}
	return fmt.Errorf("%w: run it again, and its rows are moved again from the first", err)
}
