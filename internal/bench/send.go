package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A load is what is sent to one server, and how.
type load struct {
	path     string
	alerts   *stream
	batch    int
	conns    int           // requests under way at once
	from     int64         // number of the first alert
	distinct int64         // alerts are sent over and over in this many; 0: each only once
	count    int64         // ends after so many alerts; 0: by time
	lasts    time.Duration // ends after this long
	rate     float64       // alerts a second offered; 0: as fast as they are taken
	sent     func(n int64, at time.Time)
}

// requestTime bounds one request of a load.
const requestTime = 60 * time.Second

// An outcome is what became of a load.
type outcome struct {
	accepted, refused int64
	wall              time.Duration // from the first request to the last answer
	drained           time.Duration // from the last answer until everything was applied
	latency           latency
	share             share // until everything was applied
}

func (o outcome) rate() float64   { return float64(o.accepted) / o.wall.Seconds() }
func (o outcome) perCPU() float64 { return float64(o.accepted) / max(o.share.targetSeconds, 0.01) }

// send runs the load. What is refused is counted and sent no second time; the first refusal is the error where nothing was
// accepted.
func (s *server) send(ctx context.Context, l load) (outcome, error) {
	if !l.alerts.list {
		l.batch = 1
	}
	var next, accepted, refused atomic.Int64
	var first atomic.Pointer[error]
	fail := func(err error, n int) {
		refused.Add(int64(n))
		first.CompareAndSwap(nil, &err)
	}
	times := make([][]time.Duration, l.conns)
	var wg sync.WaitGroup
	before, began := s.used(), time.Now()
	for w := range l.conns {
		c, err := newClient("POST", s.url+l.path, s.headers...)
		if err != nil {
			return outcome{}, err
		}
		wg.Go(func() {
			defer c.close()
			times[w] = l.work(ctx, c, began, &next, &accepted, fail)
		})
	}
	wg.Wait()
	o := outcome{accepted: accepted.Load(), refused: refused.Load(), wall: time.Since(began)}
	o.share = before.until(s.used())
	var all []time.Duration
	for _, t := range times {
		all = append(all, t...)
	}
	o.latency = quantiles(all)
	if err := first.Load(); err != nil && (o.accepted == 0 || errors.Is(*err, errElsewhere)) {
		return o, fmt.Errorf("nothing was accepted: %w", *err)
	}
	return o, ctx.Err()
}

// work is one connection: request after request, each waiting for its answer.
func (l load) work(ctx context.Context, c *client, began time.Time, next, accepted *atomic.Int64, fail func(error, int)) []time.Duration {
	var times []time.Duration
	body := make([]byte, 0, l.batch*1100)
	ns := make([]int64, 0, l.batch)
	stop := began.Add(l.lasts)
	for broken := 0; ctx.Err() == nil && broken < 20; {
		first := next.Add(int64(l.batch)) - int64(l.batch)
		if l.count > 0 && first >= l.count {
			break
		}
		if l.rate > 0 {
			pause(ctx, time.Until(began.Add(time.Duration(float64(first)/l.rate*1e9))))
		}
		now := time.Now()
		if l.lasts > 0 && now.After(stop) {
			break
		}
		ns = ns[:0]
		for n := first; n < first+int64(l.batch) && (l.count == 0 || n < l.count); n++ {
			k := n
			if l.distinct > 0 {
				k %= l.distinct
			}
			ns = append(ns, k+l.from)
		}
		body = l.alerts.body(body[:0], now, ns)
		now = time.Now()
		if l.sent != nil {
			for _, n := range ns {
				l.sent(n, now)
			}
		}
		status, err := c.do(body, requestTime)
		if err == nil && status/100 == 2 {
			times = append(times, time.Since(now))
			accepted.Add(int64(len(ns)))
			continue
		}
		broken++
		if err == nil {
			err = fmt.Errorf("status %d", status)
		}
		fail(err, len(ns))
	}
	return times
}

// sendAll sends the load, waits until all of it is applied, and counts the server's CPU time until then.
func (s *server) sendAll(ctx context.Context, l load, patience time.Duration) (outcome, error) {
	before := s.used()
	o, err := s.send(ctx, l)
	if err != nil {
		return o, err
	}
	o.drained, err = s.caughtUp(ctx, patience)
	o.share = before.until(s.used())
	return o, err
}
