package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A fleet is two nodes that share four partitions. Each cluster of the alerts is a domain of its own.
type fleet struct {
	nodes  [2]*server
	alerts *stream
	total  int64 // alerts that are open
	next   int64 // number of the next new alert
	turn   int   // whose turn it is to go
}

const (
	fleetPartitions = 4
	fleetClusters   = 400
)

// A fall is how a node went, and the other took over what it had.
type fall struct {
	gone  time.Duration // until the process had ended
	taken time.Duration // until alerts that came after it were applied in all partitions, elsewhere
	share share
}

// failOver is row 14: nodes that are killed, and nodes that are stopped, while the other one takes over.
func failOver(ctx context.Context, b *bench) (rows []row, err error) {
	each, kills, stops := int64(100_000), 10, 5
	if b.quick {
		each, kills, stops = 5_000, 2, 1
	}
	var killed, stopped []fall
	err = b.ground.lendOf(ctx, onBoth, fleetPartitions, func(h home) (err error) {
		f, err := b.newFleet(ctx, h, fleetPartitions*each)
		if f != nil {
			defer func() { err = errors.Join(err, f.stop()) }()
		}
		if err != nil {
			return err
		}
		for range kills {
			x, err := b.lose(ctx, f, "kill", (*server).kill)
			if err != nil {
				return err
			}
			killed = append(killed, x)
		}
		for range stops {
			x, err := b.lose(ctx, f, "stop", (*server).stop)
			if err != nil {
				return err
			}
			stopped = append(stopped, x)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, takenKill, spreadKill := sum(killed)
	gone, taken, spreadStop := sum(stopped)
	return []row{
		{
			id: "14a", what: fmt.Sprintf("Kafka and PostgreSQL: a node of two is killed (SIGKILL) -> its two partitions (about %s open alerts each) apply new alerts elsewhere, p50 / p99 of %d kills", number(float64(each)), kills), must: "p99 20 s",
			measured: fmt.Sprintf("%s / %s s", number(takenKill.p50/1000), number(takenKill.p99/1000)), spread: spreadKill, verdict: orLess(takenKill.p99/1000, 20),
		},
		{
			id: "14b", what: fmt.Sprintf("the same by a clean stop (SIGTERM): until the process has ended, at most of %d; and until the other node has taken over", stops), must: "3 s",
			measured: fmt.Sprintf("%s s; taken over after %s s, at most %s s", number(gone.most/1000), number(taken.p50/1000), number(taken.most/1000)), spread: spreadStop, verdict: orLess(gone.most/1000, 3),
		},
	}, nil
}

// sum returns how long it took until the nodes were gone, and until the other one had taken over, with the extremes of that in seconds.
func sum(falls []fall) (gone, taken latency, ends string) {
	var g, t []time.Duration
	var s spread
	for _, f := range falls {
		g, t, s = append(g, f.gone), append(t, f.taken), append(s, f.taken.Seconds())
	}
	return quantiles(g), quantiles(t), s.ends()
}

// newFleet starts two nodes on h and sends them so many alerts. It returns also a fleet that is not complete, to be stopped.
func (b *bench) newFleet(ctx context.Context, h home, count int64) (*fleet, error) {
	f := &fleet{alerts: prometheus("fleet", 10), total: count}
	f.alerts.clusters = fleetClusters
	for i := range f.nodes {
		s, err := b.tocsinAt(h, fmt.Sprintf("node-%d", i), isolated(gathering))
		if err == nil {
			f.nodes[i] = s
			_, err = s.start(ctx)
		}
		if err != nil {
			return f, err
		}
	}
	err := f.shared(ctx)
	if err != nil {
		return f, err
	}
	began := time.Now()
	o, err := f.nodes[0].send(ctx, load{path: "/api/v2/alerts", alerts: f.alerts, batch: 64, conns: 8, count: count, rate: offered})
	if err != nil {
		return f, err
	}
	if o.accepted != count {
		return f, fmt.Errorf("%d of %d were accepted", o.accepted, count)
	}
	err = f.nodes[0].await(ctx, 5*time.Minute, func() bool {
		pause(ctx, 50*time.Millisecond)
		one, two := f.nodes[0].open(), f.nodes[1].open()
		return one+two == count
	})
	if err != nil {
		return f, fmt.Errorf("wait until all %d alerts are open: %w", count, err)
	}
	b.say("   %s alerts applied by two nodes in %.1f s (%s/s); open: %s and %s", number(float64(count)), time.Since(began).Seconds(), number(float64(count)/time.Since(began).Seconds()),
		number(float64(f.nodes[0].open())), number(float64(f.nodes[1].open())))
	const round = 64 * fleetClusters
	f.next = (count + round - 1) / round * round
	return f, nil
}

// open returns how many alerts are open in the partitions of a node; -1: it does not say.
func (s *server) open() int64 {
	v, ok := s.metric(openMetric)
	if !ok {
		return -1
	}
	return int64(v)
}

// shared waits until each node works on half of the partitions.
func (f *fleet) shared(ctx context.Context) error {
	for _, s := range f.nodes {
		err := s.holds(ctx, fleetPartitions/len(f.nodes))
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) stop() error {
	var errs []error
	for _, s := range f.nodes {
		if s != nil {
			errs = append(errs, s.stop())
		}
	}
	return errors.Join(errs...)
}

// lose ends a node, waits until the other one has taken over, and starts it again.
func (b *bench) lose(ctx context.Context, f *fleet, how string, end func(*server) error) (fall, error) {
	x, err := undisturbed(ctx, b, how, func() (fall, share, error) {
		x, err := f.lose(ctx, end)
		return x, x.share, err
	})
	if err == nil {
		b.say("   %s: gone after %.2f s, taken over after %.2f s; cores: the other node %.2f, storage %.2f, others %.2f", how, x.gone.Seconds(), x.taken.Seconds(), x.share.target, x.share.beside, x.share.other)
	}
	return x, err
}

func (f *fleet) lose(ctx context.Context, end func(*server) error) (x fall, err error) {
	victim, heir := f.nodes[f.turn%2], f.nodes[(f.turn+1)%2]
	f.turn++
	before, began := heir.used(), time.Now()
	err = end(victim)
	if err != nil {
		return x, err
	}
	x.gone = time.Since(began)
	err = f.sendEverywhere(heir)
	if err != nil {
		return x, err
	}
	err = heir.await(ctx, 2*time.Minute, func() bool {
		pause(ctx, 20*time.Millisecond)
		lag, ok := heir.metric(lagMetric)
		return ok && lag == 0 && heir.open() == f.total && heir.works(fleetPartitions)
	})
	if err != nil {
		return x, fmt.Errorf("wait until the other node has %d open alerts, it has %d: %w", f.total, heir.open(), err)
	}
	x.taken = time.Since(began)
	x.share = before.until(heir.used())
	_, err = victim.start(ctx)
	if err != nil {
		return x, fmt.Errorf("start again: %w", err)
	}
	return x, f.shared(ctx)
}

// sendEverywhere sends one new alert of each cluster.
func (f *fleet) sendEverywhere(s *server) error {
	c, err := newClient("POST", s.url+"/api/v2/alerts", s.headers...)
	if err != nil {
		return err
	}
	defer c.close()
	ns := make([]int64, 0, fleetClusters)
	for k := range int64(fleetClusters) {
		ns = append(ns, f.next+64*k)
	}
	status, err := c.do(f.alerts.body(nil, time.Now(), ns), requestTime)
	if err != nil {
		return fmt.Errorf("alerts to the node that is left: %w", err)
	}
	if status/100 != 2 {
		return fmt.Errorf("alerts to the node that is left: status %d", status)
	}
	f.total += fleetClusters
	f.next += 64 * fleetClusters
	return nil
}
