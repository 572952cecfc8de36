package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// orMore and orLess compare with a must that has no aim beside it.
func orMore(v, must float64) verdict { return atLeast(v, must, math.Inf(1)) }
func orLess(v, must float64) verdict { return atMost(v, must, math.Inf(-1)) }

// acceptShared is row 10: row 1 on Kafka and PostgreSQL.
func acceptShared(ctx context.Context, b *bench) (rows []row, err error) {
	var d *duel
	err = b.ground.lend(ctx, onBoth, func(h home) (err error) {
		d, err = b.compare(ctx, h, "/api/v2/alerts", prometheus("shared", 1000), prometheus("shared", 1000), 64, 8)
		return err
	})
	if err != nil {
		return nil, err
	}
	am, amCPU := d.peerRate.median(), d.peerPerCPU.median()
	peer := []string{
		beside("Alertmanager "+number(am), d.peerRate.ends()), beside("Alertmanager "+number(amCPU), d.peerPerCPU.ends()), beside("Alertmanager "+number(d.peerP99.median())+" ms", d.peerP99.ends()),
	}
	if b.peer == "" {
		am, amCPU = knownBatches, knownBatchesPerCPU
		peer = []string{"Alertmanager 33,000 (earlier)", "Alertmanager 17,000 (earlier)", "Alertmanager 62 ms (earlier)"}
	}
	rate, cpu, p99 := d.rate.median(), d.perCPU.median(), d.p99.median()
	return []row{
		{
			id: "10a", what: "Kafka and PostgreSQL: accepted alerts/s, 64 a POST, 8 connections, 10,000 distinct re-sent", peer: peer[0], must: "1.5x",
			measured: fmt.Sprintf("%s (%.1fx), cores: server %.2f, brokers and database %.2f, lag 0 after %s ms", number(rate), rate/am, d.target.median(), d.beside.median(), number(d.drained.median())),
			spread:   d.rate.ends(), verdict: orMore(rate/am, 1.5).unless(d.late > 0),
		},
		{
			id: "10b", what: "the same per CPU second of the server", peer: peer[1],
			measured: fmt.Sprintf("%s (%.1fx)", number(cpu), cpu/amCPU), spread: d.perCPU.ends(),
		},
		{
			id: "10c", what: "Kafka and PostgreSQL: POST latency at saturation, 64 x 8, p99", peer: peer[2],
			measured: fmt.Sprintf("%s ms (p50 %s ms)", number(p99), number(d.p50.median())), spread: d.p99.ends(),
		},
	}, nil
}

// pageShared is row 11: row 4 on Kafka and PostgreSQL.
func pageShared(ctx context.Context, b *bench) ([]row, error) {
	r, p50, p99, err := b.pageTimes(ctx, b.ground, "shared-latency")
	if err != nil {
		return nil, err
	}
	r.id, r.what, r.must = "11", "Kafka and PostgreSQL: POST to the provider's request, group_wait 0, 100 incidents/s, p50 / p99", "10 / 50 ms"
	r.verdict = worse(orLess(p50, 10), orLess(p99, 50))
	return []row{r}, nil
}

// applyShared is row 12: row 3 on PostgreSQL, with the embedded journal and with Kafka.
func applyShared(ctx context.Context, b *bench) (rows []row, err error) {
	for _, on := range []struct {
		id, journal string
		ground      int
	}{{"12a", "the embedded journal", onPostgres}, {"12b", "Kafka", onBoth}} {
		changes, err := b.changes(ctx, on.ground)
		if err != nil {
			return rows, err
		}
		v := changes.rates.median()
		rows = append(rows, row{
			id: on.id, what: fmt.Sprintf("PostgreSQL and %s: state changes applied/s while accepting, %s new alerts in 1,000 groups, then resolved", on.journal, number(float64(changes.count))), must: "20,000",
			measured: fmt.Sprintf("%s (new %s, resolved %s), cores: server %.2f, brokers and database %.2f, RSS peak %s MiB", number(v), number(changes.raised.median()), number(changes.ended.median()), changes.target.median(),
				changes.beside.median(), number(changes.peak.median())),
			spread: changes.rates.ends(), verdict: orMore(v, 20_000),
		})
	}
	return rows, nil
}

// connect is row 15: how many connections a node of 12 partitions has to a broker, under load on all of them.
func connect(ctx context.Context, b *bench) (rows []row, err error) {
	var ports []uint16
	for _, a := range b.ground.brokers {
		port, err := portOf(a)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	most, steady := 0, 0
	err = b.ground.lend(ctx, onBoth, func(h home) (err error) {
		s, err := b.tocsinAt(h, "connections", isolated(gathering))
		if err != nil {
			return err
		}
		err = s.launch(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		watching, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for watching.Err() == nil {
				steady = 0
				for _, n := range connections(s.pid(), ports) {
					steady = max(steady, n)
				}
				most = max(most, steady)
				pause(watching, 20*time.Millisecond)
			}
		}()
		defer func() { cancel(); <-done }()
		err = s.await(ctx, time.Minute, func() bool { return s.works(h.partitions) })
		if err != nil {
			return fmt.Errorf("wait until it works on all partitions: %w", err)
		}
		alerts := prometheus("connections", 10)
		alerts.clusters = 100
		_, err = s.sendAll(ctx, load{path: "/api/v2/alerts", alerts: alerts, batch: 64, conns: 8, distinct: 10_000, lasts: b.long}, time.Minute)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []row{{
		id: "15", what: fmt.Sprintf("connections of a node to a broker, at most, from its start through load on all of %d partitions", usual), must: "4",
		measured: fmt.Sprintf("%d (%d at the end)", most, steady), verdict: orLess(float64(most), 4),
	}}, nil
}
