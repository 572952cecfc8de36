package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// A Job moves one state. What the source's journal held must have been applied, and nobody may work on either side.
type Job struct {
	From, To       store.DB // the same one where rows only go to other partitions of it
	Source, Target string   // in words, without secrets

	Partitions int     // of the new layout
	IsolateBy  string  // the labels that isolate there, as the state keeps them: a JSON list
	Journal    string  // what the state calls the new journal
	Ends       []int64 // where each partition of it begins to be applied

	// Home returns the partition in which the new layout expects what has these labels. whole is false where one of the labels that
	// isolate is missing.
	Home func(tocsin.Labels) (partition int, whole bool)

	Chunk int                              // rows of one transaction; 0: 2,000
	Say   func(format string, args ...any) // is told each step and how far it is; nil: nobody is
}

// chunk is how many rows one transaction has where nobody says otherwise.
const chunk = 2000

// A Preview is what a job would do.
type Preview struct {
	Rows  map[string]int64 // by table
	Torn  []int64          // ids of open incidents whose firing alerts belong to several partitions of the new layout
	Going *Mark            // the job that is under way already; nil: none
}

// A Report is what a job has done.
type Report struct {
	Source, Target map[string]Sum // by table; equal
}

// ErrNotEmpty means that the target has a state of its own.
var ErrNotEmpty = errors.New("the target has a state already")

// ErrAlive means that a node works on the state.
var ErrAlive = errors.New("a node works on this state")

// ErrWorked means that the source was served again after its rows had been copied.
var ErrWorked = errors.New("the old state was served again meanwhile")

func (j *Job) inPlace() bool { return j.From == j.To }

func (j *Job) fill() error {
	j.Chunk = cmp.Or(j.Chunk, chunk)
	if j.Say == nil {
		j.Say = func(string, ...any) {}
	}
	switch {
	case j.From == nil || j.To == nil || j.Home == nil:
		return errors.New("migrate: a job needs a source, a target and to know where rows go")
	case j.Partitions < 1 || len(j.Ends) != j.Partitions:
		return fmt.Errorf("migrate: %d partitions and %d ends of a journal", j.Partitions, len(j.Ends))
	}
	return nil
}

// Look says what Run would do, and changes nothing. To may be nil: a target that nobody has looked at.
func (j *Job) Look(ctx context.Context) (p Preview, err error) {
	j.Chunk = cmp.Or(j.Chunk, chunk)
	p.Rows = map[string]int64{}
	err = j.From.View(ctx, func(tx *store.Tx) error {
		for _, b := range store.Tables() {
			p.Rows[b.Name], err = tx.CountRows(b)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	if j.To != nil {
		p.Going, err = Pending(ctx, j.To)
		if err != nil {
			return p, err
		}
	}
	h, err := j.findHomes(ctx)
	if err == nil {
		p.Torn = h.torn
	}
	return p, err
}

// Run does the job, or goes on with it. When it returns an error, the same job may be run again.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	err := j.fill()
	if err != nil {
		return nil, err
	}
	m, err := j.begin(ctx)
	if err != nil {
		return nil, err
	}
	var report *Report
	for m.Step != "" {
		j.Say("step: %s", said[m.Step])
		switch m.Step {
		case clearing:
			err = j.clear(ctx, m)
		case rows:
			err = j.moveRows(ctx, m)
		case history:
			err = j.moveHistory(ctx, m)
		case flip:
			err = j.flip(ctx, m)
		case parts:
			err = j.makeParts(ctx, m)
		case verify:
			report, err = j.verify(ctx, m)
		case switches:
			err = j.switchOver(ctx, m)
		default:
			err = fmt.Errorf("the target is at step %q, which this tocsin does not know", m.Step)
		}
		if err != nil {
			return nil, fmt.Errorf("migrate, %s: %w", cmp.Or(said[m.Step], string(m.Step)), err)
		}
	}
	return report, nil
}

// said is how people are told of a step.
var said = map[step]string{
	clearing: "empty the target", rows: "move rows", history: "merge the history", flip: "put the history in its place",
	parts: "set where each partition goes on", verify: "count and hash", switches: "switch over",
}

// to ends a step: the next one is written down with what tx did.
func (m *Mark) to(tx *store.Tx, next step) error {
	m.Step, m.Table, m.After = next, "", ""
	return writeMeta(tx, store.MetaMigration, m)
}

// begin finds the job in the target, or begins it.
func (j *Job) begin(ctx context.Context) (*Mark, error) {
	m, err := Pending(ctx, j.To)
	if err != nil {
		return nil, err
	}
	now, err := j.To.Now(ctx)
	if err != nil {
		return nil, err
	}
	if m != nil {
		return m, j.resume(ctx, m)
	}
	moved, err := MovedTo(ctx, j.From)
	if err != nil {
		return nil, err
	}
	if moved != nil {
		return nil, fmt.Errorf("the old state was moved to %s at %s already", moved.To, moved.At.Format(minute))
	}
	m = &Mark{
		From: j.Source, To: j.Target, InPlace: j.inPlace(), Partitions: j.Partitions, IsolateBy: j.IsolateBy, Journal: j.Journal,
		Begun: now.UTC(), Ends: j.Ends, Step: clearing,
	}
	m.Source, err = stands(ctx, j.From)
	if err != nil {
		return nil, err
	}
	if j.inPlace() {
		m.Step = rows
		j.Say("step: count and hash what there is")
		m.Before, err = j.sums(ctx, j.From)
	} else {
		err = j.vacant(ctx)
	}
	if err != nil {
		return nil, err
	}
	return m, j.To.Update(ctx, store.Commands, func(tx *store.Tx) error {
		err := nobody(tx, now)
		if err != nil {
			return err
		}
		err = tx.SetMeta(store.MetaJournal, noneYet)
		if err != nil {
			return err
		}
		return writeMeta(tx, store.MetaMigration, m)
	})
}

// resume checks that the job under way is this one. Where the source was served again, its rows are copied again.
func (j *Job) resume(ctx context.Context, m *Mark) error {
	if m.InPlace != j.inPlace() || m.Partitions != j.Partitions || m.IsolateBy != j.IsolateBy || m.Journal != j.Journal {
		return fmt.Errorf("another migration to this state is under way, begun %s: from %s, to %d partitions isolated by %s, with %s; this one is to %d partitions isolated by %s, with %s%s",
			m.Begun.Format(minute), m.From, m.Partitions, m.IsolateBy, m.Journal, j.Partitions, j.IsolateBy, j.Journal, m.instead())
	}
	j.Say("going on with the migration begun %s", m.Begun.Format(minute))
	if m.InPlace || m.Step == switches {
		return nil
	}
	now, err := stands(ctx, j.From)
	if err != nil || slices.Equal(now, m.Source) {
		return err
	}
	j.Say("the old state was served again since: its rows are moved again from the first")
	return j.again(ctx, m, now)
}

// again begins anew with a source that stands elsewhere now.
func (j *Job) again(ctx context.Context, m *Mark, now []stand) error {
	m.Source, m.Streams, m.Seqs, m.Ends = now, nil, nil, j.Ends
	return j.To.Update(ctx, store.Commands, func(tx *store.Tx) error { return m.to(tx, clearing) })
}

// fromFirst begins anew with the source as it stands now.
func (j *Job) fromFirst(ctx context.Context, m *Mark) error {
	now, err := stands(ctx, j.From)
	if err != nil {
		return err
	}
	return j.again(ctx, m, now)
}

// stands returns where the work on each partition stands.
func stands(ctx context.Context, db store.DB) (out []stand, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		out, err = standsOf(tx)
		return err
	})
	return out, err
}

func standsOf(tx *store.Tx) ([]stand, error) {
	parts, err := tx.Parts()
	out := make([]stand, 0, len(parts))
	for _, p := range parts {
		out = append(out, stand{p.Partition, p.NextOffset, p.Seq})
	}
	return out, err
}

// AliveFor is how long a node counts as alive after it was seen last.
const AliveFor = 10 * time.Second

// nobody returns an error where a node works on the state.
func nobody(tx *store.Tx, now time.Time) error {
	n, err := tx.Alive(now.Add(-AliveFor))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s at %s was seen %s ago; stop it, and wait %s where it was killed", ErrAlive, n.Name, n.Address,
		now.Sub(n.SeenAt).Round(time.Second/10), AliveFor)
}

// Nobody returns an error, an ErrAlive that names it, where a node works on the state in db.
func Nobody(ctx context.Context, db store.DB) error {
	now, err := db.Now(ctx)
	if err != nil {
		return err
	}
	return db.View(ctx, func(tx *store.Tx) error { return nobody(tx, now) })
}

// vacant returns an ErrNotEmpty where the target has a state that was not moved away.
func (j *Job) vacant(ctx context.Context) error {
	return j.To.View(ctx, func(tx *store.Tx) error {
		moved, err := readMeta[Moved](tx, store.MetaMoved)
		if err != nil {
			return err
		}
		if moved != nil {
			j.Say("the target holds a state that was moved to %s at %s: it is replaced", moved.To, moved.At.Format(minute))
			return nil
		}
		var found []string
		for _, b := range store.Tables() {
			n, err := tx.CountRows(b)
			if err != nil {
				return err
			}
			if n > 0 && b.Name != "meta" && b.Name != "ruleset" && !strings.HasPrefix(b.Name, "login") {
				found = append(found, fmt.Sprintf("%d rows of %s", n, b.Name))
			}
		}
		if len(found) > 0 {
			return fmt.Errorf("%w: %s; name an empty database, or delete that one yourself", ErrNotEmpty, strings.Join(found, ", "))
		}
		return nil
	})
}

// clear empties the target.
func (j *Job) clear(ctx context.Context, m *Mark) error {
	err := empty(ctx, j.To)
	if err != nil {
		return err
	}
	return j.To.Update(ctx, store.Commands, func(tx *store.Tx) error {
		names := []string{store.MetaMoved, store.MetaPartitions, store.MetaIsolateBy}
		kept, err := tx.Export(table("meta"), "", mostMeta)
		if err != nil {
			return err
		}
		for _, r := range kept {
			if moves(r.Text(0)) || strings.HasPrefix(r.Text(0), heldPrefix) {
				names = append(names, r.Text(0))
			}
		}
		for _, name := range names {
			err := tx.DropMeta(name)
			if err != nil {
				return err
			}
		}
		return m.to(tx, rows)
	})
}

// mostMeta is more rows than meta ever has: some for the installation, and one for each rule set that was ever in force.
const mostMeta = 1 << 20

// empty deletes every row but those of meta.
func empty(ctx context.Context, db store.DB) error {
	for _, b := range store.Tables() {
		for more := b.Name != "meta"; more; {
			err := db.Update(ctx, store.Commands, func(tx *store.Tx) error {
				n, err := tx.Clear(b, 5000)
				more = n > 0
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		err := tx.DropTouches(-1)
		if err != nil {
			return err
		}
		return tx.PutParts(nil)
	})
}

// table returns one of store.Tables.
func table(name string) store.Table {
	all := store.Tables()
	return all[slices.IndexFunc(all, func(b store.Table) bool { return b.Name == name })]
}

// each calls do for every row of a table, by their keys.
func (j *Job) each(ctx context.Context, db store.DB, b store.Table, do func(store.Row) error) error {
	return batches(ctx, db, b, "", j.Chunk, func(batch []store.Row, _ store.Cursor) error {
		for _, r := range batch {
			err := do(r)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// batches calls do for the rows of a table that stand behind after, size of them at a time, by their keys, with the key of the last one.
func batches(ctx context.Context, db store.DB, b store.Table, after store.Cursor, size int, do func(batch []store.Row, last store.Cursor) error) error {
	for more := true; more; {
		var batch []store.Row
		err := db.View(ctx, func(tx *store.Tx) (err error) {
			batch, err = tx.Export(b, after, size)
			return err
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		after, err = b.Cursor(batch[len(batch)-1])
		if err != nil {
			return err
		}
		more = len(batch) == size
		err = do(batch, after)
		if err != nil {
			return err
		}
	}
	return nil
}
