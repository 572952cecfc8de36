package paging

import (
	"time"

	"golang.org/x/time/rate"

	"tocsin"
)

const (
	maxPersons  = 20_000 // numbers and addresses that are remembered
	maxPromised = 1_000  // pages of one person that have been given a later time
)

// persons limits how many pages one number or address gets: a burst, then one a second. It protects a person from a storm
// and is not what folds many incidents into one message.
type persons struct {
	every time.Duration // 0: no limit
	rate  rate.Limit
	burst int
	of    map[string]*person
}

type person struct {
	limit    *rate.Limiter
	promised map[string]time.Time // page id: when its turn is, already paid for
	seen     time.Time
}

func newPersons(perSecond float64, burst int) *persons {
	p := &persons{burst: burst, of: make(map[string]*person)}
	if perSecond > 0 {
		p.rate = rate.Limit(perSecond)
		p.every = time.Duration(float64(time.Second) / perSecond)
	}
	return p
}

// allow says when p may go; not after now: now. A page that was given a later time keeps it when it comes back.
func (ps *persons) allow(p tocsin.Page, now time.Time) time.Time {
	if ps.every == 0 {
		return now
	}
	key := p.Channel + "\x00" + p.Address
	one := ps.of[key]
	if one == nil {
		ps.forget(now)
		one = &person{limit: rate.NewLimiter(ps.rate, ps.burst), promised: make(map[string]time.Time)}
		ps.of[key] = one
	}
	one.seen = now
	if at, ok := one.promised[p.ID]; ok {
		if !at.After(now) {
			delete(one.promised, p.ID)
		}
		return at
	}
	if len(one.promised) >= maxPromised {
		return now.Add(time.Duration(maxPromised) * ps.every)
	}
	turn := one.limit.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		one.promised[p.ID] = now.Add(wait)
	}
	return now.Add(wait)
}

// forget drops those not seen for as long as their burst takes to come back, when there are too many.
func (ps *persons) forget(now time.Time) {
	if len(ps.of) < maxPersons {
		return
	}
	for key, one := range ps.of {
		if now.Sub(one.seen) > time.Duration(ps.burst+len(one.promised))*ps.every {
			delete(ps.of, key)
		}
	}
	if len(ps.of) >= maxPersons { // all are busy: a limit forgotten is better than memory without one
		clear(ps.of)
	}
}
