package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/parts/partstest"
)

func openBench(b testing.TB) *DB {
	b.Helper()
	db, err := Open(b.Context(), partstest.Database(b), Options{})
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

// benchAlerts returns alerts with about 800 bytes of text each, as the bench of sqlite has them.
func benchAlerts(from, n int) []tocsin.Alert {
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	out := make([]tocsin.Alert, n)
	for i := range out {
		id := from + i
		group := id / 100
		out[i] = tocsin.Alert{
			ID: int64(id), Fingerprint: tocsin.FingerprintOf("prometheus", fmt.Sprint(id)), Source: fmt.Sprintf("prometheus-%d", id%1000),
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

func update(b testing.TB, db *DB, fn func(*store.Tx) error) {
	b.Helper()
	err := db.Update(context.Background(), store.Correlation, fn)
	if err != nil {
		b.Fatal(err)
	}
}

// ways runs a bench for the sizes of a batch, by arrays and by one statement a row.
func ways(b *testing.B, prepare func(*DB), batch func(db *DB, round, size int)) {
	for _, way := range []string{"arrays", "pipelined"} {
		for _, size := range []int{64, 1024} {
			b.Run(fmt.Sprintf("%d by %s", size, way), func(b *testing.B) {
				db := openBench(b)
				db.bulks.never = way == "pipelined"
				prepare(db)
				round := 0
				for b.Loop() {
					batch(db, round, size)
					round++
				}
				b.ReportMetric(float64(round*size)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

func BenchmarkPutAlerts(b *testing.B) {
	ways(b, func(*DB) {}, func(db *DB, round, size int) {
		b.StopTimer()
		alerts := benchAlerts(1+round*size, size)
		b.StartTimer()
		update(b, db, func(tx *store.Tx) error { return tx.PutAlerts(alerts) })
	})
}

const benchRows = 50_000

func fillBench(b *testing.B, db *DB) {
	b.Helper()
	for i := 0; i < benchRows; i += 1000 {
		alerts := benchAlerts(i+1, 1000)
		update(b, db, func(tx *store.Tx) error { return tx.PutAlerts(alerts) })
	}
	update(b, db, func(tx *store.Tx) error { _, err := tx.Claim(0, "one"); return err })
}

func benchMoves(round, size int) []store.AlertMove {
	moves := make([]store.AlertMove, size)
	for i := range moves {
		n := round*size + i
		moves[i] = store.AlertMove{ID: int64(n*7%benchRows + 1), Status: tocsin.Status(1 + (n/benchRows+1)%2), Incident: 1, Severity: 1, Joined: "resolved"}
	}
	return moves
}

func benchChanges(size int) []tocsin.Change {
	changes := make([]tocsin.Change, size)
	for i := range changes {
		changes[i] = tocsin.Change{AfterOffset: int64(i), At: time.Unix(1764000000, 0), Actor: "rule", Kind: tocsin.ChangeJoined, Incident: int64(i + 1), Data: []byte(`{"alert":"A-123456","why":"resolved"}`)}
	}
	return changes
}

func BenchmarkMoveAlerts(b *testing.B) {
	ways(b, func(db *DB) { fillBench(b, db) }, func(db *DB, round, size int) {
		moves := benchMoves(round, size)
		update(b, db, func(tx *store.Tx) error { return tx.MoveAlerts(moves) })
	})
}

func BenchmarkAddChanges(b *testing.B) {
	ways(b, func(db *DB) { fillBench(b, db) }, func(db *DB, _, size int) {
		changes := benchChanges(size)
		update(b, db, func(tx *store.Tx) error {
			p, err := tx.Lock(0)
			if err != nil {
				return err
			}
			err = tx.AddChanges(&p, changes)
			if err != nil {
				return err
			}
			return tx.SavePart(p)
		})
	})
}

// BenchmarkStateChanges is what the correlator commits for a batch: the part locked, alerts moved, their changes, the part saved.
func BenchmarkStateChanges(b *testing.B) {
	ways(b, func(db *DB) { fillBench(b, db) }, func(db *DB, round, size int) {
		moves, changes := benchMoves(round, size), benchChanges(size)
		update(b, db, func(tx *store.Tx) error {
			p, err := tx.Lock(0)
			if err != nil {
				return err
			}
			err = tx.MoveAlerts(moves)
			if err != nil {
				return err
			}
			err = tx.AddChanges(&p, changes)
			if err != nil {
				return err
			}
			return tx.SavePart(p)
		})
	})
}

func BenchmarkClaimPages(b *testing.B) {
	for _, way := range []string{"arrays", "pipelined"} {
		b.Run("50 of 100000 due, by "+way, func(b *testing.B) {
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
			update(b, db, func(tx *store.Tx) error {
				err := tx.PutIncidents(incidents)
				if err != nil {
					return err
				}
				return tx.InsertPages(pages)
			})
			db.bulks.never, db.bulks.known = way == "pipelined", nil
			for b.Loop() {
				update(b, db, func(tx *store.Tx) error {
					got, err := tx.ClaimPages(at.Add(time.Hour), time.Hour, map[string]int{"sms": 25, "email": 25, "voice": 25}, 1)
					if err == nil && len(got) != 50 {
						err = fmt.Errorf("%d pages claimed, want 50", len(got))
					}
					return err
				})
			}
		})
	}
}

func BenchmarkLoadAlerts(b *testing.B) {
	db := openBench(b)
	fillBench(b, db)
	n := 0
	for b.Loop() {
		err := store.LoadAlerts(b.Context(), db, 0, time.Now(), func() {}, func(batch []tocsin.Alert) error { n += len(batch); return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "alerts/s")
}

func BenchmarkRawAlerts(b *testing.B) {
	db := openBench(b)
	fillBench(b, db)
	n := 0
	for b.Loop() {
		err := db.View(b.Context(), func(tx *store.Tx) error {
			for _, err := range tx.RawAlerts(store.AlertFilter{Status: tocsin.Firing}) {
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
}
