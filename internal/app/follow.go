package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// followEvery is how often the state is asked whether another node has changed anything; after a commit that is heard of it is sooner,
// but for those that come within followGap of each other once.
const (
	followEvery = 250 * time.Millisecond
	followGap   = 25 * time.Millisecond
)

// moved is the state as those see it who wait for changes: it tells of those that other nodes commit, too.
type moved struct {
	store.DB
	seen store.Signal
}

// Committed is closed, and replaced, when this node has seen that any has committed changes.
func (m *moved) Committed() <-chan struct{} { return m.seen.Next() }

// seenByAll is the state for those who wait for changes: as it is, where nobody else can commit any.
func (a *App) seenByAll() store.DB {
	if a.node.alone {
		return a.db
	}
	return &moved{DB: a.db}
}

// follow tells those who wait for changes on this node what is committed anywhere: the feeds, the correlators of our partitions
// that somebody commanded something, and the pager that pages in its hands are not wanted any more. It ends with ctx.
func (a *App) follow(ctx context.Context) error {
	m, shared := a.changes.(*moved)
	if !shared {
		return nil // this node's own commits tell its feeds, its correlators and its pager themselves
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	at := map[int]int64{}
	for first, failed := true, false; ; {
		gap := time.After(followGap)
		committed := a.db.Committed()
		news, err := a.look(ctx, at, first)
		first = first && err != nil
		if news {
			m.seen.Tell()
		}
		if err != nil && ctx.Err() == nil && !failed {
			a.log.Warn("what other nodes do is not seen", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-committed:
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-gap:
		}
	}
}

// followAtOnce is how many changes are read in one go.
const followAtOnce = 1000

// look takes notice of what was committed behind at, and says whether anything was. The first look only finds out where things stand.
func (a *App) look(ctx context.Context, at map[int]int64, first bool) (news bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var parts []store.Part
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		return err
	})
	if err != nil {
		return false, err
	}
	for _, p := range parts {
		if p.Seq == at[p.Partition] {
			continue
		}
		if !first {
			news = true
			err = a.catchUp(ctx, p.Partition, at[p.Partition], p.Seq)
			if err != nil {
				return news, err
			}
		}
		at[p.Partition] = p.Seq
	}
	return news, nil
}

// catchUp acts on the changes of a partition between two seqs, as far as they concern this node.
func (a *App) catchUp(ctx context.Context, partition int, from, to int64) error {
	commands := false
	for from < to {
		var changes []tocsin.Change
		err := a.db.View(ctx, func(tx *store.Tx) (err error) {
			changes, err = tx.Changes(partition, from, followAtOnce)
			return err
		})
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			break
		}
		for _, c := range changes {
			from = c.Seq
			commands = commands || tocsin.IsCommand(c.Kind)
			err = a.heed(ctx, c)
			if err != nil {
				return err
			}
		}
	}
	if commands {
		a.nudge(partition)
	}
	return nil
}

// heed stops what this node has in its hands of what a change has stopped.
func (a *App) heed(ctx context.Context, c tocsin.Change) error {
	if !bytes.Contains(c.Data, []byte(`"stops"`)) {
		return nil
	}
	var data struct {
		Stops []stop `json:"stops"`
	}
	err := json.Unmarshal(c.Data, &data)
	if err != nil {
		return fmt.Errorf("change %d of partition %d: %w", c.Seq, c.Partition, err)
	}
	for _, s := range data.Stops {
		a.pager.Stop(ctx, s.Incident, s.Major, s.Pages)
	}
	return nil
}

// A stop says in the history, to the other nodes, which pages about an incident or major were ended. Those made after it are others.
type stop struct {
	Incident int64    `json:"i,omitempty"`
	Major    int64    `json:"m,omitempty"`
	Pages    []string `json:"p,omitempty"` // ids
}
