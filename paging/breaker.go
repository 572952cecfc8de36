package paging

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/time/rate"
)

const (
	defaultParallel = 512
	probes          = 8 // requests under way at a provider whose breaker is open, where there is no other
	breakWindow     = 2 * time.Minute
	breakMin        = 10
	breakRest       = 10 * time.Minute
)

// A route is one provider of one channel: its slots, its limit, its breaker.
type route struct {
	Provider
	breaker circuitbreaker.CircuitBreaker[any]
	bucket  *rate.Limiter // nil: no limit
	flight  int
	took    time.Duration // of late, a moving average
	paused  time.Time     // the provider asked to be left alone until then
	window  int           // requests under way that it bears: halved when it asks to wait, one more with each success
}

func newLine(channel string, providers []Provider) (*line, error) {
	if len(providers) == 0 {
		return nil, errors.New("no providers")
	}
	l := &line{channel: channel}
	names := map[string]bool{}
	for _, p := range providers {
		switch {
		case p.Name == "" || p.Sender == nil:
			return nil, errors.New("a provider needs a name and a sender")
		case names[p.Name]:
			return nil, fmt.Errorf("provider %s stands twice", p.Name)
		case p.Rate < 0 || p.Parallel < 0 || p.Burst < 0:
			return nil, fmt.Errorf("provider %s: limits below 0", p.Name)
		}
		names[p.Name] = true
		p.Parallel = cmp.Or(p.Parallel, defaultParallel)
		r := &route{Provider: p, breaker: newBreaker(), window: p.Parallel}
		if p.Rate > 0 {
			r.bucket = rate.NewLimiter(rate.Limit(p.Rate), cmp.Or(p.Burst, max(int(p.Rate), 1)))
		}
		l.routes = append(l.routes, r)
	}
	return l, nil
}

// newBreaker opens when at least half of ten or more requests within two minutes failed, and tries again after ten minutes;
// eight of ten must then succeed.
func newBreaker() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(0.5, breakMin, breakWindow).
		WithDelay(breakRest).
		WithSuccessThresholdRatio(8, 10).
		Build()
}

// slots is how many requests may be under way for a lane: an eighth is kept for majors and high urgency.
func (r *route) slots(lane int) int {
	if lane >= 2 {
		return r.window - r.window/8
	}
	return r.window
}

// resting reports whether the breaker is open and not yet due to try again.
func (r *route) resting() bool { return r.breaker.IsOpen() && r.breaker.RemainingDelay() > 0 }

// rest leaves the provider alone for wait; the first to hear of a limit also halves what is under way at once.
func (r *route) rest(now time.Time, wait time.Duration) {
	if !r.paused.After(now) {
		r.window = max(r.window/2, 1)
	}
	if at := now.Add(wait); at.After(r.paused) {
		r.paused = at
	}
}

// room is how many jobs may be in hand for this provider: those under way, and those it will start within half a second.
func (r *route) room(now time.Time) int {
	if r.paused.Sub(now) > patience || r.resting() {
		return 0
	}
	ahead := r.window
	if r.took > 500*time.Millisecond {
		ahead = int(int64(r.window) * int64(500*time.Millisecond) / int64(r.took))
	}
	if r.bucket == nil {
		return r.window + ahead
	}
	return min(r.window+ahead, r.flight+max(int(r.bucket.TokensAt(now)+r.Rate/2), 1))
}

// wait is how long the provider's own limits make a request wait.
func (r *route) wait(now time.Time) time.Duration {
	wait := max(r.paused.Sub(now), 0)
	if r.bucket != nil {
		if missing := 1 - r.bucket.TokensAt(now); missing > 0 {
			wait = max(wait, time.Duration(missing/r.Rate*float64(time.Second))+time.Millisecond)
		}
	}
	return wait
}

func (r *route) take(now time.Time) {
	r.flight++
	if r.bucket != nil {
		r.bucket.AllowN(now, 1)
	}
}

// release ends a request; good: the provider works, whatever it said of this message.
func (r *route) release(took time.Duration, forced, good bool) {
	r.flight--
	if r.took == 0 {
		r.took = took
	}
	r.took += (took - r.took) / 8
	if good && !r.paused.After(time.Now()) {
		r.window = min(r.window+1, r.Parallel)
	}
	switch {
	case forced && good:
		r.breaker.Close() // it works again, and there is no other
	case forced:
	case good:
		r.breaker.RecordSuccess()
	default:
		r.breaker.RecordFailure()
	}
}

// unused ends a request that was never made. It counts as good for the breaker, which wants an end for each permit.
func (r *route) unused(forced bool) {
	r.flight--
	if !forced && !r.breaker.IsClosed() {
		r.breaker.RecordSuccess()
	}
}
