package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// A list is how one listing went.
type list struct {
	seconds, bytes float64
	alerts         int
	grew           float64 // MiB: the peak while it ran, over what was there before
	share          share
}

// listing is row 7: GET /api/v2/alerts of 100,000, all of them and 100 by a filter; and the same of Alertmanager.
func listing(ctx context.Context, b *bench) (rows []row, err error) {
	count := int64(100_000)
	if b.quick {
		count = 10_000
	}
	t, err := b.tocsin("listing", gathering)
	if err != nil {
		return nil, err
	}
	all, name, label, err := b.lists(ctx, t, count, true)
	if err != nil {
		return nil, err
	}
	peerAll, peerSome := "Alertmanager 4.2 s (earlier)", "Alertmanager 263 ms (earlier)"
	if b.peer != "" {
		peer, err := b.alertmanager("listing-peer", peerSettings("namespace", "1h", "127.0.0.1:9"))
		if err != nil {
			return nil, err
		}
		a, h, _, err := b.lists(ctx, peer, count, false)
		if err != nil {
			return nil, fmt.Errorf("alertmanager: %w", err)
		}
		peerAll = fmt.Sprintf("Alertmanager %s s, %s MB, RSS +%s MiB", number(a.seconds.median()), number(a.bytes/1e6), number(a.grew))
		peerSome = fmt.Sprintf("Alertmanager %s ms", number(h.seconds.median()*1000))
	}
	v, ms, msLabel := all.seconds.median(), name.seconds.median()*1000, label.seconds.median()*1000
	return []row{
		{
			id: "7a", what: fmt.Sprintf("GET /api/v2/alerts, all of %s", number(float64(count))), peer: peerAll, must: "1 s", aim: "0.5 s",
			measured: fmt.Sprintf("%s s, %s MB, RSS +%s MiB", number(v), number(all.bytes/1e6), number(all.grew)), spread: all.seconds.ends(), verdict: atMost(v, 1, 0.5),
		},
		{
			id: "7b", what: fmt.Sprintf("%d of them by a filter, one alertname (indexed)", name.alerts), peer: peerSome, must: "10 ms", aim: "2 ms",
			measured: number(ms) + " ms", spread: name.seconds.ms().ends(), verdict: atMost(ms, 10, 2),
		},
		{
			id: "7c", what: fmt.Sprintf("%d of them by a filter, one namespace (not indexed)", label.alerts), peer: peerSome, must: "", aim: "",
			measured: number(msLabel) + " ms", spread: label.seconds.ms().ends(),
		},
	}, nil
}

func (s spread) ms() spread {
	out := make(spread, len(s))
	for i, v := range s {
		out[i] = v * 1000
	}
	return out
}

// Lists are the rounds of one listing.
type listRounds struct {
	seconds spread
	bytes   float64
	grew    float64
	alerts  int
}

// lists starts a server, fills it, and times three listings: all, those of an alertname, those of a namespace.
func (b *bench) lists(ctx context.Context, t *server, count int64, lag bool) (all, name, label listRounds, err error) {
	_, err = t.start(ctx)
	if err != nil {
		return all, name, label, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	l := load{path: "/api/v2/alerts", alerts: prometheus("listing", 1000), batch: 64, conns: 8, count: count}
	l.alerts.names = 1000
	if lag {
		_, err = t.sendAll(ctx, l, 3*time.Minute)
	} else {
		_, err = t.send(ctx, l)
	}
	if err != nil {
		return all, name, label, err
	}
	err = t.settle(ctx)
	if err != nil {
		return all, name, label, err
	}
	for _, x := range []struct {
		rounds *listRounds
		name   string
		query  string
		times  int
		want   int64
	}{
		{&name, "one alertname", "?filter=" + url.QueryEscape(`alertname="KubePodCrashLooping7"`), 5 * b.rounds, count / 1000},
		{&label, "one namespace", "?filter=" + url.QueryEscape(`namespace="payments-7"`), 5 * b.rounds, count / 1000},
		{&all, "all", "", b.rounds, count},
	} {
		for range x.times {
			once, err := undisturbed(ctx, b, x.name, func() (list, share, error) {
				g, err := t.list(x.query)
				return g, g.share, err
			})
			if err != nil {
				return all, name, label, err
			}
			if int64(once.alerts) != x.want {
				return all, name, label, fmt.Errorf("%s: %d alerts, want %d", x.name, once.alerts, x.want)
			}
			x.rounds.seconds = append(x.rounds.seconds, once.seconds)
			x.rounds.bytes, x.rounds.alerts, x.rounds.grew = once.bytes, once.alerts, max(x.rounds.grew, once.grew)
		}
		b.say("   %s: %d alerts, %s MB, %s s (%s), RSS +%s MiB", x.name, x.rounds.alerts, number(x.rounds.bytes/1e6), number(x.rounds.seconds.median()), x.rounds.seconds.ends(), number(x.rounds.grew))
	}
	return all, name, label, nil
}

// list gets one listing. Only one that takes long enough for /proc's clock says who used the machine.
func (s *server) list(query string) (list, error) {
	c, err := newClient("GET", s.url+"/api/v2/alerts"+query, s.headers...)
	if err != nil {
		return list{}, err
	}
	defer c.close()
	c.keep = true
	err = forgetPeak(s.pid())
	if err != nil {
		return list{}, err
	}
	was, _ := memoryOf(s.pid())
	before, began := s.used(), time.Now()
	status, err := c.do(nil, 5*time.Minute)
	took := time.Since(began)
	if err != nil || status != 200 {
		return list{}, errors.Join(fmt.Errorf("status %d", status), err)
	}
	g := list{seconds: took.Seconds(), bytes: float64(c.size), alerts: bytes.Count(c.answer, []byte(`"fingerprint"`))}
	if took > 200*time.Millisecond {
		g.share = before.until(s.used())
	}
	_, peak := memoryOf(s.pid())
	g.grew = peak - was
	return g, nil
}
