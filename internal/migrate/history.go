package migrate

import (
	"context"
	"slices"

	"tocsin/internal/store"
)

// moveHistory merges the history of all partitions by time, and numbers it anew where it goes to. Lines of one old partition stay in
// their order.
func (j *Job) moveHistory(ctx context.Context, m *Mark) error {
	h, err := j.findHomes(ctx)
	if err != nil {
		return err
	}
	if m.Streams == nil {
		m.Seqs = make([]int64, m.Partitions)
		m.Streams = []stream{}
		for _, s := range m.Source {
			m.Streams = append(m.Streams, stream{Partition: int64(s.Partition)})
		}
	}
	g := merge{job: j, mark: m, homes: h, waiting: make([][]store.Row, len(m.Streams)), ended: make([]bool, len(m.Streams)), table: table("change")}
	told := &teller{say: j.Say, what: "change"}
	for {
		err = g.fill(ctx)
		if err != nil {
			return err
		}
		next := m.copy()
		batch := g.take(next)
		if len(batch) == 0 {
			told.end()
			break
		}
		told.more(len(batch))
		err = j.To.Update(ctx, store.Correlation, func(tx *store.Tx) error { return g.write(tx, next, batch) })
		if err != nil {
			return err
		}
		*m = *next
	}
	after := parts
	if m.InPlace {
		after = flip
	}
	return j.To.Update(ctx, store.Commands, func(tx *store.Tx) error { return m.to(tx, after) })
}

// copy returns a mark that may be moved on while m is what stands in the target.
func (m *Mark) copy() *Mark {
	next := *m
	next.Streams, next.Seqs = slices.Clone(m.Streams), slices.Clone(m.Seqs)
	return &next
}

// merge is moveHistory under way.
type merge struct {
	job     *Job
	mark    *Mark
	homes   *homes
	table   store.Table
	waiting [][]store.Row // of each stream: read and not taken
	ended   []bool        // there is no more
}

// fill reads on where nothing waits.
func (g *merge) fill(ctx context.Context) error {
	size := max(g.job.Chunk/max(len(g.waiting), 1), 1)
	for i, s := range g.mark.Streams {
		if len(g.waiting[i]) > 0 || g.ended[i] {
			continue
		}
		err := g.job.From.View(ctx, func(tx *store.Tx) (err error) {
			g.waiting[i], err = tx.ExportChanges(s.Partition, s.Seq, size)
			return err
		})
		if err != nil {
			return err
		}
		g.ended[i] = len(g.waiting[i]) < size
	}
	return nil
}

// take takes lines, the earliest first, until a stream must be read on, and moves the mark with them.
func (g *merge) take(m *Mark) []store.Row {
	var out []store.Row
	for len(out) < g.job.Chunk {
		first, when := -1, int64(0)
		for i := range g.waiting {
			if len(g.waiting[i]) == 0 {
				if !g.ended[i] {
					return out
				}
				continue
			}
			at := max(m.Streams[i].At, g.waiting[i][0].Int(g.table.Column("at")))
			if first < 0 || at < when {
				first, when = i, at
			}
		}
		if first < 0 {
			return out
		}
		r := g.waiting[first][0]
		g.waiting[first] = g.waiting[first][1:]
		s := &m.Streams[first]
		s.Seq, s.At = r.Int(g.table.Column("seq")), when
		out = append(out, g.renumber(m, s, r))
	}
	return out
}

// renumber makes of a line of the source what it is in the target. A command that no record has been applied after yet goes on to wait for
// one; all others stand before the new journal.
func (g *merge) renumber(m *Mark, s *stream, r store.Row) store.Row {
	c := func(name string) int { return g.table.Column(name) }
	home := g.homes.about(r.Int(c("incident")), r.Int(c("major")), s.Partition)
	m.Seqs[home]++
	waits := r.Int(c("command")) == 1 && r.Int(c("after_offset")) >= m.next(s.Partition)
	r[c("after_offset")] = int64(-1)
	if waits {
		r[c("after_offset")] = m.Ends[home]
	}
	r[c("partition")], r[c("seq")] = int64(home), m.Seqs[home]
	if m.InPlace {
		r[c("partition")] = aside(home)
	}
	return r
}

// next is the offset that was to be applied next in a partition of the source.
func (m *Mark) next(partition int64) int64 {
	for _, s := range m.Source {
		if int64(s.Partition) == partition {
			return s.Next
		}
	}
	return 0
}

// aside is the partition where the new history of a partition waits until the old one is gone.
func aside(partition int) int64 { return -int64(partition) - 1 }

// write writes lines with the mark that they came to.
func (g *merge) write(tx *store.Tx, m *Mark, batch []store.Row) error {
	err := tx.ImportChanges(batch)
	if err != nil {
		return err
	}
	for i, s := range m.Streams {
		if m.InPlace && s.Seq != g.mark.Streams[i].Seq {
			err = tx.DropChanges(s.Partition, s.Seq)
			if err != nil {
				return err
			}
		}
	}
	return writeMeta(tx, store.MetaMigration, m)
}

// flip brings the new history to the partitions where it belongs.
func (j *Job) flip(ctx context.Context, m *Mark) error {
	partition := table("change").Column("partition")
	seq := table("change").Column("seq")
	told := &teller{say: j.Say, what: "change"}
	for home := range m.Partitions {
		for after := int64(0); ; {
			var batch []store.Row
			err := j.To.View(ctx, func(tx *store.Tx) (err error) {
				batch, err = tx.ExportChanges(aside(home), after, j.Chunk)
				return err
			})
			if err != nil {
				return err
			}
			if len(batch) == 0 {
				break
			}
			for _, r := range batch {
				r[partition] = int64(home)
				after = r.Int(seq)
			}
			err = j.To.Update(ctx, store.Correlation, func(tx *store.Tx) error {
				err := tx.ImportChanges(batch)
				if err != nil {
					return err
				}
				return tx.DropChanges(aside(home), after)
			})
			if err != nil {
				return err
			}
			told.more(len(batch))
		}
	}
	told.end()
	return j.To.Update(ctx, store.Commands, func(tx *store.Tx) error { return m.to(tx, parts) })
}
