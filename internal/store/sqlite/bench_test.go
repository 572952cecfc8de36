//go:build unix

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
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

// perSecond reports n a second, and a second of CPU of the whole process, which other load on the machine does not change.
func perSecond(b *testing.B, n int, cpu time.Duration, unit string) {
	b.Helper()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), unit+"/s")
	b.ReportMetric(float64(n)/(cpuTime(b)-cpu).Seconds(), unit+"/cpu-s")
}

func cpuTime(b testing.TB) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
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
				b.StopTimer()
				alerts := benchAlerts(next, size)
				b.StartTimer()
				put(b, db, alerts)
				next += size
			}
			b.ReportMetric(float64(next-1)/b.Elapsed().Seconds(), "alerts/s")
		})
	}
}

func BenchmarkMoveAlerts(b *testing.B) {
	db := openBench(b)
	fill(b, db, 100_000)
	next, n, cpu := 0, 0, cpuTime(b)
	for b.Loop() {
		moves := make([]store.AlertMove, 1000)
		for i := range moves {
			moves[i] = store.AlertMove{ID: int64((next+i*7)%100_000 + 1), Status: tocsin.Status(1 + n/100_000%2), Incident: 1, Severity: 1, Joined: "resolved"}
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
	perSecond(b, n, cpu, "alerts")
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
			n, cpu := 0, cpuTime(b)
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
			perSecond(b, b.N*n, cpu, "alerts")
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
		n, cpu := 0, cpuTime(b)
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
		perSecond(b, n, cpu, "alerts")
	})
	b.Run("two connections", func(b *testing.B) {
		n, cpu := 0, cpuTime(b)
		for b.Loop() {
			err := store.LoadAlerts(b.Context(), db, 0, time.Now(), func() {}, func(batch []tocsin.Alert) error { n += len(batch); return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, n, cpu, "alerts")
	})
}

func BenchmarkCommitsOf64Callers(b *testing.B) {
	db := openBench(b)
	var next atomic.Int64
	b.SetParallelism(32)
	cpu := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			put(b, db, benchAlerts(int(next.Add(1)), 1))
		}
	})
	perSecond(b, b.N, cpu, "updates")
}

func BenchmarkClaimPages(b *testing.B) {
	db := openBench(b)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	var pages []tocsin.Page
	for i := range 100_000 {
		pages = append(pages, tocsin.Page{
			ID: fmt.Sprint(i), Kind: tocsin.KindPage, Incident: int64(i/2 + 1), Person: fmt.Sprintf("person-%d", i%500), Channel: []string{"sms", "email"}[i%2],
			State: tocsin.PageDue, Lane: 1 + i%3, DueAt: at.Add(time.Duration(i) * time.Millisecond),
		})
	}
	var incidents []tocsin.Incident
	for i := range 50_001 {
		incidents = append(incidents, tocsin.Incident{ID: int64(i), State: tocsin.Triggered})
	}
	err := db.Update(b.Context(), store.Paging, func(t *store.Tx) error { return errors.Join(t.PutIncidents(incidents), t.InsertPages(pages)) })
	if err != nil {
		b.Fatal(err)
	}
	claimed := 0
	b.Run("50 of 100000 due", func(b *testing.B) {
		for b.Loop() {
			err := db.Update(b.Context(), store.Paging, func(t *store.Tx) error {
				got, err := t.ClaimPages(at.Add(time.Hour), time.Hour, map[string]int{"sms": 25, "email": 25, "voice": 25}, 1)
				claimed += len(got)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("next due", func(b *testing.B) {
		for b.Loop() {
			err := db.View(b.Context(), func(t *store.Tx) error { _, err := t.NextPageDue(); return err })
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTouches(b *testing.B) {
	db := openBench(b)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	touches := make([]store.Touch, 1<<store.ChunkBits)
	n, cpu := 0, cpuTime(b)
	for b.Loop() {
		err := db.Update(b.Context(), store.Correlation, func(t *store.Tx) error {
			for chunk := range int64(100) {
				for i := range touches {
					touches[i] = store.Touch{Alert: chunk<<store.ChunkBits + int64(i), LastAt: at, EndsAt: at.Add(5 * time.Minute), Count: int64(n), AsOf: int64(n)}
				}
				err := t.PutTouches(0, chunk, touches)
				if err != nil {
					return err
				}
				n += len(touches)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, n, cpu, "touches")
}
