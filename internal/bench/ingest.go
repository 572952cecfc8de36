package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What Alertmanager did when it was measured on such a machine, where it is not installed.
const (
	knownBatches       = 33000.0
	knownBatchesPerCPU = 17000.0
	knownSingles       = 8600.0
)

// lagTime is how soon after the last POST everything must be applied for a rate to count.
const lagTime = 2 * time.Second

// A duel is one load on both servers, in turn.
type duel struct {
	rate, perCPU, p50, p99, target, beside, drained spread // ours
	peerRate, peerPerCPU, peerP50, peerP99          spread
	late                                            int // rounds whose lag was not 0 in time
}

// acceptBatches is row 1: 10,000 alerts sent over and over, 64 a POST on 8 connections.
func acceptBatches(ctx context.Context, b *bench) ([]row, error) {
	d, err := b.compare(ctx, home{}, "/api/v2/alerts", prometheus("batches", 1000), prometheus("batches", 1000), 64, 8)
	if err != nil {
		return nil, err
	}
	am, amCPU := d.peerRate.median(), d.peerPerCPU.median()
	peer := func(unit string, s spread, known string) string {
		if b.peer == "" {
			return "Alertmanager " + known + " (earlier)"
		}
		return beside("Alertmanager "+number(s.median())+unit, s.ends())
	}
	if b.peer == "" {
		am, amCPU = knownBatches, knownBatchesPerCPU
	}
	rate, cpu, p99 := d.rate.median(), d.perCPU.median(), d.p99.median()
	return []row{
		{
			id: "1a", what: "accepted alerts/s, 64 a POST, 8 connections, 10,000 distinct re-sent", peer: peer("", d.peerRate, "33,000"), must: "3x", aim: "5x",
			measured: fmt.Sprintf("%s (%.1fx), %.2f cores, lag 0 after %s ms", number(rate), rate/am, d.target.median(), number(d.drained.median())),
			spread:   d.rate.ends(), verdict: atLeast(rate/am, 3, 5).unless(d.late > 0),
		},
		{
			id: "1b", what: "the same per CPU second of the server", peer: peer("", d.peerPerCPU, "17,000"), must: "4x", aim: "8x",
			measured: fmt.Sprintf("%s (%.1fx)", number(cpu), cpu/amCPU), spread: d.perCPU.ends(), verdict: atLeast(cpu/amCPU, 4, 8),
		},
		{
			id: "1c", what: "POST latency at saturation, 64 x 8, p99", peer: peer(" ms", d.peerP99, "62 ms"), must: "15 ms", aim: "6 ms",
			measured: fmt.Sprintf("%s ms (p50 %s ms)", number(p99), number(d.p50.median())), spread: d.p99.ends(), verdict: atMost(p99, 15, 6),
		},
	}, nil
}

// acceptSingles is row 2: PagerDuty events on 64 connections, beside Alertmanager with one alert a POST.
func acceptSingles(ctx context.Context, b *bench) ([]row, error) {
	d, err := b.compare(ctx, home{}, "/v2/enqueue", events("singles", 1000), prometheus("singles", 1000), 1, 64)
	if err != nil {
		return nil, err
	}
	am, peer := d.peerRate.median(), beside("Alertmanager "+number(d.peerRate.median()), d.peerRate.ends())
	if b.peer == "" {
		am, peer = knownSingles, "Alertmanager 8,600 (earlier)"
	}
	rate := d.rate.median()
	return []row{{
		id: "2", what: "one alert a POST (PagerDuty events), 64 connections, alerts/s", peer: peer + "; GoAlert 652", must: "2x", aim: "2.5x",
		measured: fmt.Sprintf("%s (%.1fx), %s per CPU second, %.2f cores, p99 %s ms", number(rate), rate/am, number(d.perCPU.median()), d.target.median(), number(d.p99.median())),
		spread:   d.rate.ends(), verdict: atLeast(rate/am, 2, 2.5).unless(d.late > 0),
	}}, nil
}

// compare drives both servers in turn, each in rounds of the same length. Before the first round each has seen all alerts.
func (b *bench) compare(ctx context.Context, h home, path string, ours, theirs *stream, batch, conns int) (d *duel, err error) {
	const distinct = 10_000
	t, err := b.tocsinAt(h, "ingest-"+ours.run, gathering)
	if err != nil {
		return nil, err
	}
	err = t.startAt(ctx, h)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	l := load{path: path, alerts: ours, batch: batch, conns: conns, distinct: distinct, count: distinct}
	_, err = t.sendAll(ctx, l, time.Minute)
	if err != nil {
		return nil, fmt.Errorf("first time: %w", err)
	}
	l.count, l.lasts = 0, b.long
	var peer *server
	p := load{path: "/api/v2/alerts", alerts: theirs, batch: batch, conns: conns, distinct: distinct, count: distinct}
	if b.peer != "" {
		peer, err = b.alertmanager("peer-"+ours.run, peerSettings("namespace", "1h", "127.0.0.1:9"))
		if err != nil {
			return nil, err
		}
		_, err = peer.start(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, peer.stop()) }()
		_, err = peer.send(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("alertmanager, first time: %w", err)
		}
		p.count, p.lasts = 0, b.long
	}
	d = &duel{}
	for range b.rounds {
		o, err := undisturbed(ctx, b, "tocsin", func() (outcome, share, error) {
			o, err := t.sendAll(ctx, l, 2*time.Minute)
			return o, o.share, err
		})
		if err != nil {
			return nil, err
		}
		d.add(o)
		b.say("   tocsin %s/s, %s per CPU second, p50 %s p99 %s ms, lag 0 after %s ms; cores: server %.2f, storage %.2f, sender %.2f, others %.2f, stolen %.2f; %d refused", number(o.rate()), number(o.perCPU()),
			number(o.latency.p50), number(o.latency.p99), number(o.drained.Seconds()*1000), o.share.target, o.share.beside, o.share.sender, o.share.other, o.share.stolen, o.refused)
		if peer == nil {
			continue
		}
		o, err = undisturbed(ctx, b, "alertmanager", func() (outcome, share, error) {
			o, err := peer.send(ctx, p)
			return o, o.share, err
		})
		if err != nil {
			return nil, err
		}
		d.addPeer(o)
		b.say("   alertmanager %s/s, %s per CPU second, p50 %s p99 %s ms; cores: server %.2f, sender %.2f, others %.2f, stolen %.2f", number(o.rate()), number(o.perCPU()),
			number(o.latency.p50), number(o.latency.p99), o.share.target, o.share.sender, o.share.other, o.share.stolen)
	}
	return d, nil
}

func (d *duel) add(o outcome) {
	d.rate, d.perCPU = append(d.rate, o.rate()), append(d.perCPU, o.perCPU())
	d.p50, d.p99 = append(d.p50, o.latency.p50), append(d.p99, o.latency.p99)
	d.target, d.beside = append(d.target, o.share.target), append(d.beside, o.share.beside)
	d.drained = append(d.drained, o.drained.Seconds()*1000)
	if o.drained > lagTime {
		d.late++
	}
}

func (d *duel) addPeer(o outcome) {
	d.peerRate, d.peerPerCPU = append(d.peerRate, o.rate()), append(d.peerPerCPU, o.perCPU())
	d.peerP50, d.peerP99 = append(d.peerP50, o.latency.p50), append(d.peerP99, o.latency.p99)
}

// beside puts what there is to say of the rounds behind a figure.
func beside(figure, ends string) string {
	if ends == "" {
		return figure
	}
	return figure + " (" + ends + ")"
}
