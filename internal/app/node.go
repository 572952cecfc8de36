package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"tocsin/config"
	"tocsin/internal/store"
)

const (
	beatEvery = 2 * time.Second
	// goneAfter is how long a node may not have renewed its row before others finish what it had begun. What it claimed it checks
	// again before it sends, so that one who was only asleep sends nothing that others have taken over.
	goneAfter   = 10 * time.Second
	forgetAfter = 24 * time.Hour
	// silentFor is after how long without an answer of the state a node leaves its partitions to the others. A database that restarts, or
	// fails over, is back before: nobody has to load anything anew then.
	silentFor   = 20 * time.Second
	silentEvery = 250 * time.Millisecond
)

// A node is this process among those that work on the same state.
type node struct {
	id    int64
	row   store.Node
	alone bool                      // nobody else can work on this state
	heard atomic.Pointer[time.Time] // when the state last took the row
	back  time.Time                 // when it did so again after a silence; beat's
}

// name tells this process from others in the rows.
func (n *node) name() string { return n.row.Name + "-" + strconv.FormatInt(n.id, 36) }

// nodeDetail is what a node says of itself to the others.
type nodeDetail struct {
	Journal    string     `json:"journal"`
	State      string     `json:"state"`
	Partitions []nodePart `json:"partitions"`
}

// nodePart is one partition in a node's hands.
type nodePart struct {
	Partition int    `json:"partition"`
	Epoch     int64  `json:"epoch"`
	Offset    int64  `json:"offset"` // applied up to here
	Lag       int64  `json:"lag"`    // records that wait
	State     string `json:"state"`  // loading or ok
	Alerts    int64  `json:"alerts"`
	Incidents int64  `json:"incidents"`
}

// enlist makes this process known. Where the storage is one process's alone, claims of earlier lives end at once; else another
// node that lives is refused where the journal could not be shared with it.
func (a *App) enlist(ctx context.Context, c *config.Config) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	now := a.clock.Now()
	a.node.id, a.node.alone = rand.Int64N(1<<53-1)+1, c.Storage.Postgres == nil // a number that JSON readers keep
	a.node.row = store.Node{ID: a.node.id, Name: host, Address: c.Server.Listen, Version: Version(), StartedAt: now, SeenAt: now, Detail: []byte("{}")}
	err = a.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		nodes, err := tx.Nodes()
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if a.disk != nil && !a.node.alone && n.EndedAt.IsZero() && now.Sub(n.SeenAt) < goneAfter {
				return fmt.Errorf("node %s at %s works on this state, and alerts in the embedded journal reach only the node that took them: set storage.journal.kafka to run more than one", n.Name, n.Address)
			}
		}
		err = tx.PutNode(a.node.row)
		if err != nil || !a.node.alone {
			return err
		}
		_, err = tx.TakeBack(a.node.id, now.Add(time.Hour), now.Add(pagesAfter))
		if err != nil {
			return err
		}
		return tx.ForgetNodes(now.Add(-forgetAfter)) // nothing else would: a node that is alone never renews its row
	})
	if err != nil {
		return fmt.Errorf("join the nodes: %w", err)
	}
	a.node.heard.Store(new(time.Now()))
	return nil
}

// pagesAfter is how long a page waits whose node is gone: its request may have gone out, and the provider's callback says so, or
// its list shows it by then.
const pagesAfter = 10 * time.Second

// beat renews this node's row, and finishes for nodes that are gone what they had begun, until ctx ends; then it says that this one stops.
func (a *App) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	if a.node.alone {
		tick.Stop() // nobody looks
	}
	failed := false
	for {
		select {
		case <-tick.C:
			err := a.renew(ctx, false)
			if err != nil && ctx.Err() == nil && !failed {
				a.log.Warn("this node could not say that it lives: others will take over what it does", "error", err)
			}
			failed = err != nil
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatEvery)
			defer cancel()
			err := a.renew(late, true)
			if err != nil && !errors.Is(err, store.ErrClosed) {
				a.log.Warn("the other nodes were not told that this one stops", "error", err)
			}
			return nil
		}
	}
}

func (a *App) renew(ctx context.Context, ends bool) error {
	ctx, cancel := context.WithTimeout(ctx, goneAfter/2)
	defer cancel()
	detail, err := json.Marshal(a.detail())
	if err != nil {
		return err
	}
	judges := a.node.judges(time.Now())
	err = a.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		now := a.clock.Now()
		row := a.node.row
		row.SeenAt, row.Detail = now, detail
		if ends {
			row.EndedAt = now
		}
		err := tx.PutNode(row)
		if err != nil || ends {
			return err
		}
		if !judges {
			return tx.ForgetNodes(now.Add(-forgetAfter))
		}
		n, err := tx.TakeBack(a.node.id, now.Add(-goneAfter), now)
		if n > 0 {
			a.log.Warn("pages of nodes that are gone were taken over", "pages", n)
		}
		if err != nil {
			return err
		}
		return tx.ForgetNodes(now.Add(-forgetAfter))
	})
	if err == nil {
		a.node.answered(time.Now())
	}
	return err
}

// answered notes that the state has taken the row.
func (n *node) answered(now time.Time) {
	if now.Sub(*n.heard.Load()) > goneAfter/2 {
		n.back = now
	}
	n.heard.Store(&now)
}

// judges reports whether this node may say that others are gone: not when it was silent itself, nor soon after. It was the state that
// was away then, and they have yet to say that they live, and what became of what they sent.
func (n *node) judges(now time.Time) bool {
	return now.Sub(*n.heard.Load()) <= goneAfter/2 && now.Sub(n.back) >= goneAfter
}

// whileHeard returns a context that ends when the state has not answered for silentFor. Where no other node could do better it does
// not end.
func (a *App) whileHeard(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if a.kafka == nil || a.node.alone {
		return ctx, cancel
	}
	go func() {
		if a.watchHeard(ctx, func(silent time.Duration) bool { return silent > silentFor }) {
			cancel()
		}
	}()
	return ctx, cancel
}

// untilHeard waits until the state answers again; false: ctx has ended.
func (a *App) untilHeard(ctx context.Context) bool {
	return a.watchHeard(ctx, func(silent time.Duration) bool { return silent < goneAfter })
}

// watchHeard looks at how long the state has been silent until that is enough; false: ctx has ended before.
func (a *App) watchHeard(ctx context.Context, enough func(silent time.Duration) bool) bool {
	tick := time.NewTicker(silentEvery)
	defer tick.Stop()
	for !enough(time.Since(*a.node.heard.Load())) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// detail says what this node does now.
func (a *App) detail() nodeDetail {
	d := nodeDetail{Journal: "embedded", State: "embedded", Partitions: []nodePart{}}
	if a.kafka != nil {
		d.Journal = "kafka"
	}
	if !a.node.alone {
		d.State = "postgres"
	}
	for _, h := range a.holds.all() {
		p := nodePart{Partition: h.part.Partition, Epoch: h.part.Epoch, Offset: h.part.NextOffset, State: "loading"}
		if w := h.worker.Load(); w != nil {
			p.State = "ok"
			_, p.Offset = w.Applied()
			p.Alerts, p.Incidents = w.Firing()
		}
		p.Lag = a.behind(p.Partition, p.Offset)
		d.Partitions = append(d.Partitions, p)
	}
	return d
}

// A NodeStatus is one node as others see it.
type NodeStatus struct {
	store.Node
	State  string // ok, stopped or gone
	Detail nodeDetail
}

// Nodes returns who works on this state, by the database's clock.
func (o *office) Nodes(ctx context.Context) (out []NodeStatus, err error) {
	now := o.clock.Now()
	err = o.db.View(ctx, func(tx *store.Tx) error {
		nodes, err := tx.Nodes()
		if err != nil {
			return err
		}
		out = make([]NodeStatus, 0, len(nodes))
		for _, n := range nodes {
			s := NodeStatus{Node: n, State: "ok"}
			switch {
			case !n.EndedAt.IsZero():
				s.State = "stopped"
			case n.ID != o.node && now.Sub(n.SeenAt) >= goneAfter:
				s.State = "gone"
			}
			err = json.Unmarshal([]byte(cmp.Or(string(n.Detail), "{}")), &s.Detail)
			if err != nil {
				return fmt.Errorf("node %s: %w", n.Name, err)
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}
