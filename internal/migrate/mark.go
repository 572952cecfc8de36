package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tocsin/internal/store"
)

// A step of a job.
type step string

const (
	clearing step = "clear"
	rows     step = "rows"
	history  step = "history"
	flip     step = "flip"
	parts    step = "parts"
	verify   step = "verify"
	switches step = "switch"
)

// A Mark says, in the target, what is under way there and how far it has come.
type Mark struct {
	From       string    `json:"from"` // in words
	To         string    `json:"to"`
	InPlace    bool      `json:"in_place,omitempty"`
	Partitions int       `json:"partitions"`
	IsolateBy  string    `json:"isolate_by"`
	Journal    string    `json:"journal"`
	Begun      time.Time `json:"begun"`

	Step    step           `json:"step"`
	Table   string         `json:"table,omitempty"` // of step rows: the one under way
	After   store.Cursor   `json:"after,omitempty"` // its last row that was written
	Streams []stream       `json:"streams,omitempty"`
	Seqs    []int64        `json:"seqs,omitempty"`   // of each new partition: its newest change
	Ends    []int64        `json:"ends"`             // where each partition of the new journal is gone on with
	Source  []stand        `json:"source"`           // where the source stood
	Before  map[string]Sum `json:"before,omitempty"` // in place: of the rows before the first was changed
}

// A stream is the history of one partition while it is merged into others.
type stream struct {
	Partition int64 `json:"partition"`
	Seq       int64 `json:"seq"` // the last that was taken
	At        int64 `json:"at"`  // the latest time that was taken, unix microseconds
}

// A stand tells whether anything has worked on a partition since.
type stand struct {
	Partition int   `json:"partition"`
	Next      int64 `json:"next"` // journal offset
	Seq       int64 `json:"seq"`
}

// CanDrain reports whether the source is as its server left it, so that the server's parts may still work on it: until the rows of a
// state that is changed in place are touched, and until the switch has begun.
func (m *Mark) CanDrain() bool { return m == nil || !m.InPlace && m.Step != switches }

// Pending returns the mark of the job that is under way in db; nil: none is.
func Pending(ctx context.Context, db store.DB) (m *Mark, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		m, err = readMark(tx)
		return err
	})
	return m, err
}

func readMark(tx *store.Tx) (*Mark, error) { return readMeta[Mark](tx, store.MetaMigration) }

// readMeta returns what is kept under name as JSON; nil: nothing is.
func readMeta[T any](tx *store.Tx, name string) (*T, error) {
	text, err := tx.Meta(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // nothing is under way
	}
	if err != nil {
		return nil, err
	}
	v := new(T)
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	if err != nil {
		return nil, fmt.Errorf("meta %s is not what this tocsin writes there: %w", name, err)
	}
	return v, nil
}

func writeMeta(tx *store.Tx, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("meta %s: %w", name, err)
	}
	return tx.SetMeta(name, string(text))
}

// Moved says, in a source, where its state is now.
type Moved struct {
	To      string    `json:"to"`
	At      time.Time `json:"at"`
	Begun   time.Time `json:"begun"`   // of the job
	Journal string    `json:"journal"` // what its offsets were of
}

// MovedTo returns where the state of db was moved to; nil: it was not.
func MovedTo(ctx context.Context, db store.DB) (m *Moved, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		m, err = readMeta[Moved](tx, store.MetaMoved)
		return err
	})
	return m, err
}

// When it is, in the sentences of this package.
const minute = "2006-01-02 15:04 MST"

// Settled returns an error that says what to do where db must not be served: a job is under way in it, or it was moved elsewhere.
func Settled(ctx context.Context, db store.DB) error {
	m, err := Pending(ctx, db)
	if err != nil {
		return err
	}
	if m != nil {
		return fmt.Errorf("a migration from %s to this state was begun %s and is not finished: run the same tocsin migrate again, it goes on where it stopped%s",
			m.From, m.Begun.Format(minute), m.instead())
	}
	moved, err := MovedTo(ctx, db)
	if err != nil || moved == nil {
		return err
	}
	return fmt.Errorf("this state was moved to %s at %s: serve the configuration that names that one; to use this one again as it stood then, run tocsin migrate --take-back with its configuration",
		moved.To, moved.At.Format(minute))
}

// instead says what else can be done than to go on.
func (m *Mark) instead() string {
	if m.InPlace {
		return ""
	}
	return "; to give it up, run tocsin migrate --abandon with the configuration of this state"
}

// What the state says that its offsets are of while they are of nothing: whoever asks for a journal's name finds these.
const (
	noneYet  = "no journal yet, for a migration to this state is not finished"
	noneMore = "no journal any more, for this state was moved to "
)

// TakeBack makes a state that was moved away the one in use again, as it stood then.
func TakeBack(ctx context.Context, db store.DB) (*Moved, error) {
	var moved *Moved
	err := db.Update(ctx, store.Commands, func(tx *store.Tx) (err error) {
		moved, err = readMeta[Moved](tx, store.MetaMoved)
		if err != nil {
			return err
		}
		if moved == nil {
			return errors.New("this state was not moved: there is nothing to take back")
		}
		err = tx.SetMeta(store.MetaJournal, moved.Journal)
		if err != nil {
			return err
		}
		return tx.DropMeta(store.MetaMoved)
	})
	return moved, err
}

// Abandon gives up the job that is under way in db: the rows that were copied are deleted. The source was not touched.
func Abandon(ctx context.Context, db store.DB) (*Mark, error) {
	m, err := Pending(ctx, db)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return nil, errors.New("no migration to this state is under way: there is nothing to give up")
	case m.InPlace:
		return nil, errors.New("the rows of this state are being changed in place, which can only be finished: run the same tocsin migrate again")
	case m.Step == switches:
		return nil, errors.New("the rows have been moved and checked, and the old state may say so already: run the same tocsin migrate again to finish it")
	}
	err = empty(ctx, db)
	if err != nil {
		return nil, err
	}
	return m, db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		for _, name := range []string{store.MetaMigration, store.MetaJournal, store.MetaPartitions, store.MetaIsolateBy} {
			err := tx.DropMeta(name)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
