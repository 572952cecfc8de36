//go:build unix

package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/storetest"
)

func openBench(b testing.TB) *DB {
	b.Helper()
	return open(b, filepath.Join(b.TempDir(), "tocsin.db"))
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
		put(b, db, storetest.Many(i+1, 1000))
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
				alerts := storetest.Many(next, size)
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
		put(b, db, storetest.Many(n+1, 1))
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
			put(b, db, storetest.Many(int(next.Add(1)), 1))
		}
	})
	perSecond(b, b.N, cpu, "updates")
}

func BenchmarkClaimPages(b *testing.B) {
	db := openBench(b)
	err := storetest.FillDue(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("50 of 100000 due", func(b *testing.B) {
		for b.Loop() {
			_, err := storetest.ClaimDue(b.Context(), db)
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
	touches := make([]store.Touch, 1<<store.ChunkBits)
	n, cpu := 0, cpuTime(b)
	for b.Loop() {
		err := db.Update(b.Context(), store.Correlation, func(t *store.Tx) error {
			for chunk := range int64(100) {
				for i := range touches {
					touches[i] = store.Touch{Alert: chunk<<store.ChunkBits + int64(i), LastAt: storetest.Night, EndsAt: storetest.Night.Add(5 * time.Minute), Count: int64(n), AsOf: int64(n)}
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

// BenchmarkLarge is D8 of the catalogue: a claim takes at most 5 ms, a list 200 ms, with 10,000,000 events behind them. It takes minutes:
//
//	go test -run - -bench Large -benchtime 300x -timeout 30m ./internal/store/sqlite
func BenchmarkLarge(b *testing.B) {
	storetest.BenchLarge(b, openBench(b), func() error { return nil })
}
