package app

import (
	"context"
	"time"

	"tocsin/internal/api"
	"tocsin/internal/store"
)

// An operator is the app as those see it who run the installation.
type operator struct{ *App }

// listedFor is how long a node that ended is told of.
const listedFor = time.Hour

// Nodes returns who works on the state, and what nobody works on.
func (o operator) Nodes(ctx context.Context) (out api.Nodes, err error) {
	all, err := o.office.Nodes(ctx)
	if err != nil {
		return out, err
	}
	now := o.clock.Now()
	var parts []store.Part
	var hands map[int64]int
	err = o.db.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		if err == nil {
			hands, err = tx.PagesInHand(now)
		}
		return err
	})
	if err != nil {
		return out, err
	}
	epochs := map[int]int64{}
	for _, p := range parts {
		epochs[p.Partition] = p.Epoch
	}
	detail := o.detail()
	out.Journal, out.State = detail.Journal, detail.State
	held := map[int]bool{}
	for _, n := range all {
		self := n.ID == o.node.id
		if self {
			n.Detail, n.SeenAt, n.State = detail, now, "ok"
		}
		if !self && (o.node.alone || now.Sub(n.SeenAt) > listedFor) {
			continue
		}
		x := api.Node{
			ID: (&node{id: n.ID, row: n.Node}).name(), Name: n.Name, Address: n.Address, Version: n.Version, State: n.State, Self: self,
			StartedAt: n.StartedAt, SeenAt: n.SeenAt, EndedAt: n.EndedAt, Pages: hands[n.ID],
		}
		for _, p := range n.Detail.Partitions {
			if n.State != "ok" || p.Epoch != epochs[p.Partition] && !self {
				continue // somebody has claimed it since
			}
			held[p.Partition] = true
			x.Partitions = append(x.Partitions, api.Holding{
				Partition: p.Partition, State: p.State, Offset: p.Offset, Lag: p.Lag, Alerts: p.Alerts, Incidents: p.Incidents,
			})
		}
		out.Nodes = append(out.Nodes, x)
	}
	out.Unheld = o.unheld(parts, held)
	return out, nil
}

// unheld returns the partitions that nobody works on. A journal that does not answer is asked only once.
func (o operator) unheld(parts []store.Part, held map[int]bool) (out []api.Unheld) {
	answers := true
	for _, p := range parts {
		if held[p.Partition] || p.Partition >= o.partitions {
			continue
		}
		u := api.Unheld{Partition: p.Partition, Offset: p.NextOffset, Lag: -1}
		if answers {
			_, next, err := o.journal.Bounds(p.Partition)
			answers = err == nil
			if answers {
				u.Lag = max(next-p.NextOffset, 0)
			}
		}
		out = append(out, u)
	}
	return out
}

// behind returns how many records of a partition of this node wait behind next, without asking anybody far away: a node must be able
// to say that it lives while brokers do not answer.
func (a *App) behind(partition int, next int64) int64 {
	if a.kafka != nil {
		lag, _ := a.kafka.Lag(partition, next)
		return lag
	}
	_, end, err := a.journal.Bounds(partition)
	if err != nil {
		return 0
	}
	return max(end-next, 0)
}
