package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// applyStates is row 3: alerts that are all new, then all of them resolved. They are offered faster than they can be applied,
// so that doors and correlator share the machine, and the clock stops when everything is applied.
func applyStates(ctx context.Context, b *bench) ([]row, error) {
	c, err := b.changes(ctx, 0)
	if err != nil {
		return nil, err
	}
	v := c.rates.median()
	return []row{{
		id: "3", what: fmt.Sprintf("state changes applied/s while accepting: %s new alerts in 1,000 groups, then resolved", number(float64(c.count))), peer: "GoAlert 652, Alerta 83", must: "15,000", aim: "25,000",
		measured: fmt.Sprintf("%s (new %s, resolved %s), %.2f cores, RSS peak %s MiB", number(v), number(c.raised.median()), number(c.ended.median()), c.target.median(), number(c.peak.median())),
		spread:   c.rates.ends(), verdict: atLeast(v, 15_000, 25_000),
	}}, nil
}

// changes are all rounds of one storage.
type changes struct {
	count                                      int64
	rates, raised, ended, target, beside, peak spread
}

// changes does the rounds on a storage: 0 is the embedded one.
func (b *bench) changes(ctx context.Context, on int) (*changes, error) {
	c := &changes{count: 100_000}
	if b.quick {
		c.count = 20_000
	}
	g := b.ground
	if on == 0 {
		g = nil
	}
	for round := range b.rounds {
		once, err := undisturbed(ctx, b, "states", func() (s states, _ share, err error) {
			err = g.lend(ctx, on, func(h home) error {
				s, err = b.applyOnce(ctx, h, fmt.Sprintf("states-%d-%d", round, time.Now().UnixNano()), c.count)
				return err
			})
			return s, s.share, err
		})
		if err != nil {
			return nil, err
		}
		b.say("   new %s/s, resolved %s/s, together %s/s, %s per CPU second, peak %s MiB; cores: server %.2f, storage %.2f, sender %.2f, others %.2f", number(once.raised), number(once.ended), number(once.rate),
			number(float64(2*c.count)/once.share.targetSeconds), number(once.peak), once.share.target, once.share.beside, once.share.sender, once.share.other)
		c.rates, c.raised, c.ended = append(c.rates, once.rate), append(c.raised, once.raised), append(c.ended, once.ended)
		c.target, c.beside, c.peak = append(c.target, once.share.target), append(c.beside, once.share.beside), append(c.peak, once.peak)
	}
	return c, nil
}

// states is one round.
type states struct {
	rate, raised, ended float64 // changes a second: all, new alerts, resolved ones
	peak                float64 // MiB
	share               share
}

// offered is how many alerts a second are offered: more than are applied.
const offered = 40_000

func (b *bench) applyOnce(ctx context.Context, h home, name string, count int64) (s states, err error) {
	t, err := b.tocsinAt(h, name, gathering)
	if err != nil {
		return s, err
	}
	err = t.startAt(ctx, h)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	alerts := prometheus(name, 1000)
	before, began := t.used(), time.Now()
	raised, err := b.pass(ctx, t, alerts, count, count)
	if err != nil {
		return s, fmt.Errorf("new alerts: %w", err)
	}
	ended, err := b.pass(ctx, t, alerts.over(), count, 0)
	if err != nil {
		return s, fmt.Errorf("resolved alerts: %w", err)
	}
	s.rate = float64(2*count) / time.Since(began).Seconds()
	s.share = before.until(t.used())
	s.raised, s.ended = float64(count)/raised.Seconds(), float64(count)/ended.Seconds()
	_, s.peak = memoryOf(t.pid())
	return s, nil
}

// pass sends count alerts and returns how long it took until they were applied; then open alerts must be open.
func (b *bench) pass(ctx context.Context, t *server, alerts *stream, count, open int64) (time.Duration, error) {
	began := time.Now()
	o, err := t.sendAll(ctx, load{path: "/api/v2/alerts", alerts: alerts, batch: 64, conns: 8, count: count, rate: offered}, 3*time.Minute)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	if o.accepted != count {
		return 0, fmt.Errorf("%d of %d were accepted", o.accepted, count)
	}
	got, ok := t.metric(openMetric)
	if !ok || int64(got) != open {
		return 0, fmt.Errorf("%.0f alerts are open, want %d", got, open)
	}
	return took, nil
}
