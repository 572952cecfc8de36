package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// rated is how many alerts a second a set-up is sized for.
const rated = 20_000.0

// A comeback is how a consumer came back that had been down.
type comeback struct {
	loaded time.Duration // from its start until it works on all partitions
	whole  time.Duration // from its start until everything is applied
	rate   float64       // alerts a second, from loaded to whole
	peak   float64       // MiB
	share  share
}

// catchUp is row 13: a node whose state is from before 1,000,000 alerts that are in Kafka.
func catchUp(ctx context.Context, b *bench) (rows []row, err error) {
	const distinct = 10_000
	count := int64(1_000_000)
	if b.quick {
		count = 100_000
	}
	l := load{path: "/api/v2/alerts", alerts: prometheus("catchup", 1000), batch: 64, conns: 8, distinct: distinct, count: distinct}
	var rates, loaded, whole, peak, target, beside spread
	err = b.ground.lend(ctx, onBoth, func(h home) error {
		err := b.run(ctx, h, "catchup-before", func(s *server) error {
			_, err := s.sendAll(ctx, l, time.Minute)
			return err
		})
		if err != nil {
			return fmt.Errorf("first time: %w", err)
		}
		return b.ground.copied(ctx, h, func(before home) error {
			l.count = count
			err := b.run(ctx, h, "catchup-meanwhile", func(s *server) error {
				o, err := s.send(ctx, l)
				if err == nil && o.accepted != count {
					err = fmt.Errorf("%d of %d were accepted", o.accepted, count)
				}
				b.say("   %s alerts accepted, %s/s", number(float64(o.accepted)), number(o.rate()))
				return err
			})
			if err != nil {
				return fmt.Errorf("meanwhile: %w", err)
			}
			for range b.rounds {
				r, err := undisturbed(ctx, b, "catch-up", func() (r comeback, _ share, err error) {
					err = b.ground.copied(ctx, before, func(h home) error {
						r, err = b.comeBack(ctx, h, count, distinct)
						return err
					})
					return r, r.share, err
				})
				if err != nil {
					return err
				}
				b.say("   loaded after %.2f s, all applied after %.2f s, %s/s between, peak %s MiB; cores: server %.2f, storage %.2f, others %.2f", r.loaded.Seconds(), r.whole.Seconds(), number(r.rate), number(r.peak),
					r.share.target, r.share.beside, r.share.other)
				rates, loaded, whole = append(rates, r.rate), append(loaded, r.loaded.Seconds()), append(whole, r.whole.Seconds())
				peak, target, beside = append(peak, r.peak), append(target, r.share.target), append(beside, r.share.beside)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	v := rates.median()
	return []row{{
		id: "13", what: fmt.Sprintf("Kafka and PostgreSQL: a consumer that was down for %s alerts (10,000 distinct) catches up, alerts/s", number(float64(count))), must: "3x 20,000",
		measured: fmt.Sprintf("%s (%.1fx); after its start it worked in %s s and was done in %s s; cores: server %.2f, brokers and database %.2f, RSS peak %s MiB", number(v), v/rated, number(loaded.median()), number(whole.median()),
			target.median(), beside.median(), number(peak.median())),
		spread: rates.ends(), verdict: orMore(v, 3*rated),
	}}, nil
}

// run calls use with a server on h that works, and stops it.
func (b *bench) run(ctx context.Context, h home, name string, use func(s *server) error) (err error) {
	s, err := b.tocsinAt(h, name, gathering)
	if err != nil {
		return err
	}
	err = s.startAt(ctx, h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return use(s)
}

// comeBack starts a server on h, which has count alerts to apply, 64 a record, and waits until it has; then open must be open.
func (b *bench) comeBack(ctx context.Context, h home, count, open int64) (r comeback, err error) {
	s, err := b.tocsinAt(h, fmt.Sprintf("catchup-%d", b.ground.lent), gathering)
	if err != nil {
		return r, err
	}
	began := time.Now()
	err = s.startAt(ctx, h)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	at, before := time.Now(), s.used()
	r.loaded = at.Sub(began)
	left, ok := s.metric(lagMetric) // records
	if !ok {
		return r, errors.New("it does not say how far behind it is")
	}
	_, err = s.caughtUp(ctx, 5*time.Minute)
	if err != nil {
		return r, err
	}
	took := time.Since(at)
	r.whole = time.Since(began)
	r.share = before.until(s.used())
	_, r.peak = memoryOf(s.pid())
	got, ok := s.metric(openMetric)
	if !ok || int64(got) != open {
		return r, fmt.Errorf("%.0f alerts are open, want %d", got, open)
	}
	if left == 0 {
		return r, fmt.Errorf("nothing of %d alerts was left when it began to be watched", count)
	}
	r.rate = min(left*64, float64(count)) / took.Seconds()
	return r, nil
}
