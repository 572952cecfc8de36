package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	ackEvery = 100 * time.Millisecond // in partitions of which nothing is locked
	ackTurns = 10                     // to one in the partition of which a row is
	ackTime  = 20 * time.Second       // bounds one acknowledgement
	ackConns = 256                    // under way at once, at most
)

// An answer is how an acknowledgement was answered.
type answer struct {
	took   time.Duration // from when it was due
	status int           // 0: there was no answer
	retry  bool          // it says when to come back
}

// An acker acknowledges incidents by the API, as many a second as ackEvery says, however slowly it is answered.
type acker struct {
	s      *server
	locked []int64 // incidents of the partition of which a row is locked, the one that alerts join first
	part   int     // that partition

	mu     sync.Mutex
	fresh  []ackable // the newest last
	seen   map[int64]bool
	tried  map[int64]time.Time // by number of the alert
	idle   []*client
	there  []answer // of that partition
	others []answer
}

// An ackable is an incident that may be acknowledged.
type ackable struct{ alert, incident int64 }

// newAcker returns one for s, which has these incidents. at is the incident that alerts join.
func newAcker(s *server, at place, known map[int64]place) *acker {
	a := &acker{s: s, part: at.partition, locked: []int64{at.incident}, seen: map[int64]bool{}, tried: map[int64]time.Time{}}
	for _, n := range slices.Sorted(maps.Keys(known)) {
		if known[n].partition == at.partition {
			a.locked = append(a.locked, known[n].incident)
			a.tried[n] = time.Now() // it may be acknowledged at any time from now on: nobody waits for its next step
		}
	}
	a.learn(known)
	return a
}

// learn takes note of incidents.
func (a *acker) learn(known map[int64]place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(known)) {
		if !a.seen[n] && known[n].partition != a.part {
			a.seen[n] = true
			a.fresh = append(a.fresh, ackable{n, known[n].incident})
		}
	}
}

// next returns the newest incident of another partition whose page has come, and that was not acknowledged before.
func (a *acker) next(p *pager) (ackable, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, x := range slices.Backward(a.fresh) {
		if p.has(x.alert) {
			a.fresh = slices.Delete(a.fresh, i, i+1)
			a.tried[x.alert] = time.Now()
			return x, true
		}
	}
	return ackable{}, false
}

// triedAt returns when the incident of an alert was acknowledged, or somebody tried to.
func (a *acker) triedAt(alert int64) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.tried[alert]
	return at, ok
}

// work acknowledges until ctx ends, and returns once all is answered.
func (a *acker) work(ctx context.Context, p *pager) {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		for _, c := range a.idle {
			c.close()
		}
	}()
	room := make(chan struct{}, ackConns)
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	ack := func(incident int64, into *[]answer) {
		due := time.Now()
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			x := a.ack(incident, due)
			a.mu.Lock()
			defer a.mu.Unlock()
			*into = append(*into, x)
		})
	}
	for k := 0; ; k++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if x, ok := a.next(p); ok {
			ack(x.incident, &a.others)
		}
		if k%ackTurns == 0 {
			ack(a.turn(k/ackTurns), &a.there)
		}
	}
}

// turn returns the incident of the locked partition whose turn it is: each other time the one that alerts join.
func (a *acker) turn(k int) int64 {
	if k%2 == 0 || len(a.locked) == 1 {
		return a.locked[0]
	}
	return a.locked[1+k/2%(len(a.locked)-1)]
}

// ack acknowledges an incident, and returns how that was answered.
func (a *acker) ack(incident int64, due time.Time) answer {
	c, err := a.client()
	if err == nil {
		err = c.aim(fmt.Sprintf("%s/api/v1/incidents/i%d/ack", a.s.url, incident))
	}
	if err != nil {
		return answer{took: time.Since(due)}
	}
	status, err := c.do(nil, ackTime)
	x := answer{took: time.Since(due), status: status, retry: c.retry > 0}
	if err != nil {
		x.status = 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = append(a.idle, c)
	return x
}

// client returns a connection that nobody uses, a new one where there is none.
func (a *acker) client() (*client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.idle); n > 0 {
		c := a.idle[n-1]
		a.idle = a.idle[:n-1]
		return c, nil
	}
	return newClient("POST", a.s.url, "Authorization: Bearer "+robot)
}
