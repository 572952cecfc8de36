package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// followEvery is how often the state is asked whether another node has changed anything.
const followEvery = 250 * time.Millisecond

// moved is the state as those see it who wait for changes: it tells of those that other nodes commit, too.
type moved struct {
	store.DB
	mu sync.Mutex
	at chan struct{}
}

func newMoved(db store.DB) *moved { return &moved{DB: db, at: make(chan struct{})} }

// Committed is closed, and replaced, when any node has committed changes.
func (m *moved) Committed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *moved) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.at)
	m.at = make(chan struct{})
}

// follow tells those who wait for changes on this node what is committed anywhere: the feeds, the correlators of our partitions
// that somebody commanded something, and the pager that pages in its hands are not wanted any more. It ends with ctx.
func (a *App) follow(ctx context.Context) error {
	at := map[int]int64{}
	err := a.look(ctx, at, true)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	if a.node.alone {
		tick.Stop() // who else could commit anything
	}
	for failed := err != nil; ; {
		committed := a.db.Committed()
		err := a.look(ctx, at, false)
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
	}
}

// followAtOnce is how many changes are read in one go.
const followAtOnce = 1000

// look takes notice of what was committed behind at. The first look only finds out where things stand.
func (a *App) look(ctx context.Context, at map[int]int64, first bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if a.node.alone { // this node's own commits tell its correlator and its pager themselves
		if !first {
			a.moved.tell()
		}
		return nil
	}
	var parts []store.Part
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		return err
	})
	if err != nil {
		return err
	}
	news := false
	for _, p := range parts {
		if p.Seq == at[p.Partition] {
			continue
		}
		if !first {
			news = true
			err = a.catchUp(ctx, p.Partition, at[p.Partition], p.Seq)
			if err != nil {
				return err
			}
		}
		at[p.Partition] = p.Seq
	}
	if news {
		a.moved.tell()
	}
	return nil
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
		a.pager.Stop(ctx, s.Incident, s.Major, time.UnixMicro(s.At).Add(-time.Microsecond))
	}
	return nil
}

// A stop says in the history, to the other nodes, that no page about an incident or major is wanted any more that was due before At.
type stop struct {
	Incident int64 `json:"i,omitempty"`
	Major    int64 `json:"m,omitempty"`
	At       int64 `json:"at"` // unix microseconds
}
