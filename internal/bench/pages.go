package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// A volley is how pages came that followed from a load.
type volley struct {
	sent, paged, again int
	latency            latency       // from the POST to the page's request
	wall               time.Duration // from the first POST to the last page
	requests           int64
	idle, peak         float64 // MiB before the first POST, and at most from then on
	share              share
}

// knownPages is what Alertmanager did when it was measured on such a machine, where it is not installed.
const knownPages = "Alertmanager 1.1 / 5 to 24 ms (earlier)"

// steady is the load of 100 incidents a second, for so many seconds.
func steady(seconds int64) load {
	const perSecond = 100
	return load{path: "/api/v2/alerts", batch: 1, conns: 8, count: seconds * perSecond, rate: perSecond}
}

// pageLatency is row 4: 100 incidents a second, each for a person of its own, so that nobody's limit holds a page back.
func pageLatency(ctx context.Context, b *bench) ([]row, error) {
	r, p50, p99, err := b.pageTimes(ctx, nil, "latency")
	if err != nil {
		return nil, err
	}
	r.id, r.what = "4", "POST to the provider's request, group_wait 0, 100 incidents/s, p50 / p99"
	r.peer, r.must, r.aim = r.peer+"; GoAlert 3.2 / 5.5 s", "5 / 25 ms", "3 / 10 ms"
	r.verdict = worse(atMost(p50, 5, 3), atMost(p99, 25, 10))
	return []row{r}, nil
}

// pageTimes measures how long pages take at the steady load on g, in milliseconds, and returns what of its row says so. See volleys for g.
func (b *bench) pageTimes(ctx context.Context, g *ground, name string) (r row, p50, p99 float64, err error) {
	seconds := int64(10)
	if b.quick {
		seconds = 3
	}
	l := steady(seconds)
	var halves, mosts, peerHalves, peerMosts spread
	for round := range b.rounds {
		ours, theirs, err := b.volleys(ctx, g, fmt.Sprintf("%s-%d", name, round), l, 0)
		if err != nil {
			return row{}, 0, 0, err
		}
		halves, mosts = append(halves, ours.latency.p50), append(mosts, ours.latency.p99)
		if b.peer != "" {
			peerHalves, peerMosts = append(peerHalves, theirs.latency.p50), append(peerMosts, theirs.latency.p99)
		}
	}
	r.peer = knownPages
	if b.peer != "" {
		r.peer = fmt.Sprintf("Alertmanager %s / %s ms", number(peerHalves.median()), number(peerMosts.median()))
	}
	p50, p99 = halves.median(), mosts.median()
	r.measured, r.spread = fmt.Sprintf("%s / %s ms", number(p50), number(p99)), halves.ends()+" / "+mosts.ends()
	return r, p50, p99, nil
}

// pageBurst is row 5: an incident for each of 10,000 people at once, and a provider that takes 100 ms for each page.
func pageBurst(ctx context.Context, b *bench) ([]row, error) {
	count := int64(10_000)
	if b.quick {
		count = 2000
	}
	l := load{path: "/api/v2/alerts", batch: 64, conns: 4, count: count}
	var rate, peak, idle, last, peerRate spread
	for round := range b.rounds {
		ours, theirs, err := b.volleys(ctx, nil, fmt.Sprintf("burst-%d", round), l, 100*time.Millisecond)
		if err != nil {
			return nil, err
		}
		rate, peak = append(rate, float64(ours.paged)/ours.wall.Seconds()), append(peak, ours.peak)
		idle = append(idle, ours.idle)
		last = append(last, ours.wall.Seconds())
		if b.peer != "" {
			peerRate = append(peerRate, float64(theirs.paged)/theirs.wall.Seconds())
		}
	}
	peer := "Alertmanager 1,200 to 1,700/s (earlier)"
	if b.peer != "" {
		peer = "Alertmanager " + number(peerRate.median()) + "/s"
	}
	return []row{{
		id: "5", what: fmt.Sprintf("%s incidents at once for as many people, provider answering in 100 ms, pages/s", number(float64(count))), peer: peer + "; GoAlert 0.8/s",
		must: "2,000/s, RSS <= 200 MiB", aim: "4,000/s",
		measured: fmt.Sprintf("%s/s, last page after %s s, RSS peak %s MiB (%s before)", number(rate.median()), number(last.median()), number(peak.median()), number(idle.median())),
		spread:   rate.ends(), verdict: worse(atLeast(rate.median(), 2000, 4000), atMost(peak.median(), 200, 200)),
	}}, nil
}

// volleys drives both servers once with l, and says how their pages came. Ours stands on g, or where that is nil on embedded storage.
func (b *bench) volleys(ctx context.Context, g *ground, name string, l load, delay time.Duration) (ours, theirs volley, err error) {
	p, err := newPager(delay)
	if err != nil {
		return ours, theirs, err
	}
	defer p.close()
	tries := 0
	ours, err = undisturbed(ctx, b, "tocsin", func() (volley, share, error) {
		tries++
		var v volley
		err := g.lend(ctx, onBoth, func(h home) error {
			t, err := b.tocsinAt(h, fmt.Sprintf("%s-%d", name, tries), paging(int(l.count), p.address()))
			if err != nil {
				return err
			}
			v, err = volleyOf(ctx, h, t, l, p)
			return err
		})
		return v, v.share, err
	})
	if err != nil {
		return ours, theirs, err
	}
	b.told("tocsin", ours)
	if b.peer == "" {
		return ours, theirs, nil
	}
	theirs, err = undisturbed(ctx, b, "alertmanager", func() (volley, share, error) {
		tries++
		t, err := b.alertmanager(fmt.Sprintf("%s-peer-%d", name, tries), peerSettings("pod", "0s", p.address()))
		if err != nil {
			return volley{}, share{}, err
		}
		v, err := volleyOf(ctx, home{}, t, l, p)
		return v, v.share, err
	})
	if err != nil {
		return ours, theirs, err
	}
	b.told("alertmanager", theirs)
	return ours, theirs, nil
}

func (b *bench) told(who string, v volley) {
	b.say("   %s: %d of %d paged, %d twice, p50 %s p99 %s max %s ms, last after %.2f s (%s/s), RSS peak %s MiB (%s before); cores: server %.2f, storage %.2f, sender %.2f, others %.2f", who, v.paged, v.sent, v.again,
		number(v.latency.p50), number(v.latency.p99), number(v.latency.most), v.wall.Seconds(), number(float64(v.paged)/v.wall.Seconds()), number(v.peak), number(v.idle), v.share.target, v.share.beside, v.share.sender, v.share.other)
}

// pagesWait bounds the wait for pages after the last POST.
const pagesWait = time.Minute

// volleyOf starts t, sends it l, waits for the pages, and stops it.
func volleyOf(ctx context.Context, h home, t *server, l load, p *pager) (v volley, err error) {
	err = t.startAt(ctx, h)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	err = t.settle(ctx)
	if err != nil {
		return v, err
	}
	return t.fire(ctx, l, p)
}

// fire sends l to a server that runs, and waits for the pages.
func (s *server) fire(ctx context.Context, l load, p *pager) (v volley, err error) {
	p.forget()
	sent := make([]time.Time, l.count)
	var mu sync.Mutex
	l.alerts = prometheus("pages", 0)
	l.alerts.teams = true
	l.sent = func(n int64, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		sent[n] = at
	}
	err = forgetPeak(s.pid())
	if err != nil {
		return v, err
	}
	v.idle, _ = memoryOf(s.pid())
	before, began := s.used(), time.Now()
	o, err := s.send(ctx, l)
	if err != nil {
		return v, err
	}
	err = s.await(ctx, pagesWait, func() bool { paged, _ := p.got(); return paged >= int(o.accepted) })
	if err != nil {
		paged, _ := p.got()
		return v, fmt.Errorf("%d of %d were paged: %w", paged, o.accepted, err)
	}
	v.share = before.until(s.used())
	_, v.peak = memoryOf(s.pid())
	v.sent, v.requests = int(o.accepted), p.requests.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	v.paged, v.again = len(p.first), p.again
	var took []time.Duration
	var last time.Time
	for n, at := range p.first {
		if n < 0 || n >= l.count {
			return v, fmt.Errorf("a page for alert %d, which was never sent", n)
		}
		took = append(took, at.Sub(sent[n]))
		if at.After(last) {
			last = at
		}
	}
	v.latency, v.wall = quantiles(took), last.Sub(began)
	return v, nil
}

// settle waits until a server that has just started does nothing any more.
func (s *server) settle(ctx context.Context) error {
	for range 50 {
		before := cpuOf(s.pid(), true)
		pause(ctx, 200*time.Millisecond)
		if math.Abs(cpuOf(s.pid(), true)-before) < 0.03 {
			return ctx.Err()
		}
	}
	return errors.New("it is busy 10 s after its start, with nothing to do")
}
