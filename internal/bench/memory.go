package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// memoryAndRestart is row 6: what 1,000,000 open alerts take in memory, and how soon a server is back that was killed with them.
func memoryAndRestart(ctx context.Context, b *bench) (rows []row, err error) {
	count := int64(1_000_000)
	if b.quick {
		count = 50_000
	}
	t, err := b.tocsin("memory", gathering)
	if err != nil {
		return nil, err
	}
	_, err = t.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	err = t.settle(ctx)
	if err != nil {
		return nil, err
	}
	empty, _ := memoryOf(t.pid())
	began := time.Now()
	l := load{path: "/api/v2/alerts", alerts: prometheus("memory", 1000), batch: 64, conns: 8, count: count, rate: offered}
	o, err := t.sendAll(ctx, l, 8*time.Minute)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	if o.accepted != count {
		return nil, fmt.Errorf("%d of %d were accepted", o.accepted, count)
	}
	loaded, peak := memoryOf(t.pid())
	pause(ctx, b.long) // a collector that is under way may end
	settled, _ := memoryOf(t.pid())
	each := func(mib float64) float64 { return (mib - empty) * 1024 / float64(count) }
	b.say("   %s alerts applied in %.0f s (%s/s); RSS %s MiB empty, %s loaded, %s settled, %s peak; cores: server %.2f, others %.2f", number(float64(count)), took.Seconds(), number(float64(count)/took.Seconds()),
		number(empty), number(loaded), number(settled), number(peak), o.share.target, o.share.other)
	rows = append(rows, row{
		id: "6a", what: fmt.Sprintf("RSS per open alert at %s", number(float64(count))), peer: "Alertmanager 4.3 KiB", must: "1.5 KiB", aim: "1.0 KiB",
		measured: fmt.Sprintf("%s KiB (%s MiB; %s KiB at the peak while loading, %s alerts/s)", number(each(settled)), number(settled), number(each(peak)), number(float64(count)/took.Seconds())),
		verdict:  atMost(each(settled), 1.5, 1.0),
	})
	var accepts, whole, after, later spread
	for range b.rounds {
		r, err := undisturbed(ctx, b, "restart", func() (revival, share, error) {
			r, err := t.revive(ctx, count)
			return r, r.share, err
		})
		if err != nil {
			return rows, err
		}
		b.say("   gone after %.2f s; accepts after %.2f s, whole after %.2f s, RSS %s MiB (peak %s, 10 s later %s); others %.2f cores", r.gone.Seconds(), r.accepts.Seconds(), r.whole.Seconds(), number(r.memory), number(r.peak), number(r.later), r.share.other)
		accepts, whole, after = append(accepts, r.accepts.Seconds()), append(whole, r.whole.Seconds()), append(after, r.memory)
		later = append(later, r.later)
	}
	rows = append(rows, row{
		id: "6b", what: fmt.Sprintf("SIGKILL with %s open alerts: accepts again / whole again, after the new start", number(float64(count))), peer: "Alertmanager: at once, knowing nothing", must: "1 s / 10 s", aim: "0.5 / 5 s",
		measured: fmt.Sprintf("%s / %s s (RSS %s MiB then, %s MiB 10 s later)", number(accepts.median()), number(whole.median()), number(after.median()), number(later.median())), spread: accepts.ends() + " / " + whole.ends(),
		verdict: worse(atMost(accepts.median(), 1, 0.5), atMost(whole.median(), 10, 5)),
	})
	return rows, nil
}

// A revival is how a server came back.
type revival struct {
	gone           time.Duration // from SIGKILL until the old process had ended
	accepts, whole time.Duration // from the start of the new one
	memory, peak   float64       // MiB, when it was whole
	later          float64       // MiB, 10 s after that
	share          share
}

// revive kills s and starts it again.
func (s *server) revive(ctx context.Context, open int64) (r revival, err error) {
	began := time.Now()
	err = s.kill()
	if err != nil {
		return r, err
	}
	r.gone = time.Since(began)
	began = time.Now()
	err = s.launch(ctx)
	if err != nil {
		return r, err
	}
	before := s.used()
	c, err := newClient("POST", s.url+"/api/v2/alerts", s.headers...)
	if err != nil {
		return r, err
	}
	defer c.close()
	known := prometheus("memory", 1000)
	err = s.await(ctx, time.Minute, func() bool {
		status, err := c.do(known.body(nil, time.Now(), []int64{0}), time.Second)
		return err == nil && status == http.StatusOK
	})
	if err != nil {
		return r, fmt.Errorf("wait until it accepts: %w", err)
	}
	r.accepts = time.Since(began)
	err = s.await(ctx, 3*time.Minute, func() bool {
		_, body, err := fetch(s.url+"/readyz", time.Second)
		if err != nil || !strings.Contains(string(body), `"correlate":"ok"`) {
			time.Sleep(10 * time.Millisecond)
			return false
		}
		got, ok := s.metric(openMetric)
		return ok && int64(got) == open
	})
	if err != nil {
		got, _ := s.metric(openMetric)
		return r, fmt.Errorf("wait until %d alerts are open again, %.0f are: %w", open, got, err)
	}
	r.whole = time.Since(began)
	r.share = before.until(s.used())
	r.memory, r.peak = memoryOf(s.pid())
	pause(ctx, 10*time.Second)
	r.later, _ = memoryOf(s.pid())
	return r, errors.Join(ctx.Err(), s.lives())
}
