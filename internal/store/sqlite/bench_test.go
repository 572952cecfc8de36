package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

func openBench(b testing.TB) *DB {
	b.Helper()
	db, err := Open(filepath.Join(b.TempDir(), "tocsin.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

// benchAlerts returns alerts with about 800 bytes of text each; 100 share each service, host and name.
func benchAlerts(from, n int) []tocsin.Alert {
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	out := make([]tocsin.Alert, n)
	for i := range out {
		id := from + i
		group := id / 100
		out[i] = tocsin.Alert{
			ID: int64(id), Fingerprint: tocsin.FingerprintOf("prometheus", fmt.Sprint(id)), Source: fmt.Sprintf("prometheus-%d", id%1000), Key: "",
			Status: tocsin.Firing, Severity: tocsin.Critical, Word: "critical", Summary: "replication lag of the database is 340 s and rises", About: fmt.Sprintf("db-%d", id),
			Labels: tocsin.NewLabels(map[string]string{
				"alertname": fmt.Sprintf("ReplicationLag%d", id%1000), "service": fmt.Sprintf("db-%d", id%1001), "host": fmt.Sprintf("host-%d", group),
				"env": "production", "region": "eu-west", "team": "platform", "job": "postgres", "severity": "critical", "cluster": "main", "instance": fmt.Sprintf("10.0.0.%d:9100", id%256),
			}),
			Annotations: tocsin.NewLabels(map[string]string{"summary": "replication lag of the database is 340 s and rises", "description": strings.Repeat("what to do about it; ", 12)}),
			URL:         "http://127.0.0.1:9090/graph?g0.expr=pg_replication_lag", StartsAt: at, FirstAt: at, LastAt: at, EndsAt: at.Add(5 * time.Minute), Count: 1,
			Rule: "databases", Group: fmt.Sprintf("db-%d", id%1001), Incident: int64(id/10 + 1), AsOf: int64(id),
			Why: tocsin.Why{Rule: "databases", Matchers: []string{`kind="database"`, `severity!="info"`}, Group: map[string]string{"service": fmt.Sprintf("db-%d", id%1001)}, Joined: "opened"},
		}
	}
	return out
}

func put(b testing.TB, db *DB, alerts []tocsin.Alert) {
	b.Helper()
	err := db.Update(context.Background(), store.Correlation, func(t *store.Tx) error { return t.PutAlerts(alerts) })
	if err != nil {
		b.Fatal(err)
	}
}

func fill(b testing.TB, db *DB, n int) {
	b.Helper()
	for i := 0; i < n; i += 1000 {
		put(b, db, benchAlerts(i+1, 1000))
	}
	var incidents []tocsin.Incident
	for i := range n/10 + 1 {
		incidents = append(incidents, tocsin.Incident{ID: int64(i + 1), State: tocsin.Triggered, Title: "t", OpenedAt: time.Unix(1764000000, 0)})
	}
	err := db.Update(context.Background(), store.Correlation, func(t *store.Tx) error { return t.PutIncidents(incidents) })
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPutAlerts(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprintf("%d in a commit", size), func(b *testing.B) {
			db := openBench(b)
			next := 1
			for b.Loop() {
				put(b, db, benchAlerts(next, size))
				next += size
			}
			b.ReportMetric(float64(next-1)/b.Elapsed().Seconds(), "alerts/s")
		})
	}
}

func BenchmarkMoveAlerts(b *testing.B) {
	db := openBench(b)
	fill(b, db, 100_000)
	next, n := 0, 0
	for b.Loop() {
		moves := make([]store.AlertMove, 1000)
		for i := range moves {
			moves[i] = store.AlertMove{ID: int64((next+i*7)%100_000 + 1), Status: tocsin.Status(1 + n/100_000%2), Incident: 1, Severity: 1, Rule: "databases", Joined: "resolved"}
			n++
		}
		next += 7000
		if n/100_000%2 == 0 {
			for i := range moves {
				moves[i].Status = tocsin.Resolved
			}
		}
		err := db.Update(b.Context(), store.Correlation, func(t *store.Tx) error { return t.MoveAlerts(moves) })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "alerts/s")
}

func BenchmarkSingleCommits(b *testing.B) {
	db := openBench(b)
	n := 0
	for b.Loop() {
		put(b, db, benchAlerts(n+1, 1))
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkRawAlerts(b *testing.B) {
	db := openBench(b)
	fill(b, db, 100_000)
	for name, f := range map[string]store.AlertFilter{
		"all of 100000":  {Status: tocsin.Firing},
		"100 by service": {Status: tocsin.Firing, Service: "db-77"},
		"100 by host":    {Status: tocsin.Firing, Host: "host-77"},
		"100 by name":    {Status: tocsin.Firing, Alertname: "ReplicationLag77"},
		"100 by source":  {Status: tocsin.Firing, Source: "prometheus-77"},
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = 0
				err := db.View(b.Context(), func(t *store.Tx) error {
					for _, err := range t.RawAlerts(f) {
						if err != nil {
							return err
						}
						n++
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "alerts")
		})
	}
}

func BenchmarkLoadAlerts(b *testing.B) {
	db := openBench(b)
	const rows = 200_000
	fill(b, db, rows)
	err := db.Update(b.Context(), store.Commands, func(t *store.Tx) error { _, err := t.Claim(0, "one"); return err })
	if err != nil {
		b.Fatal(err)
	}
	b.Run("one connection", func(b *testing.B) {
		n := 0
		for b.Loop() {
			err := db.View(b.Context(), func(t *store.Tx) error {
				for _, err := range t.LoadAlerts(0, time.Now()) {
					if err != nil {
						return err
					}
					n++
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "alerts/s")
	})
	b.Run("two connections", func(b *testing.B) {
		n := 0
		for b.Loop() {
			err := store.LoadAlerts(b.Context(), db, 0, time.Now(), func() {}, func(batch []tocsin.Alert) error { n += len(batch); return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "alerts/s")
	})
}
