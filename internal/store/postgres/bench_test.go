package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/storetest"
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
		alerts := storetest.Many(1+round*size, size)
		b.StartTimer()
		update(b, db, func(tx *store.Tx) error { return tx.PutAlerts(alerts) })
	})
}

func BenchmarkAddAlerts(b *testing.B) {
	ways(b, func(*DB) {}, func(db *DB, round, size int) {
		b.StopTimer()
		alerts := storetest.Many(1+round*size, size)
		b.StartTimer()
		update(b, db, func(tx *store.Tx) error { return tx.AddAlerts(alerts) })
	})
}

const benchRows = 50_000

func fillBench(b *testing.B, db *DB) {
	b.Helper()
	for i := 0; i < benchRows; i += 1000 {
		alerts := storetest.Many(i+1, 1000)
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
			err := storetest.FillDue(b.Context(), db)
			if err != nil {
				b.Fatal(err)
			}
			db.bulks.never, db.bulks.known = way == "pipelined", nil
			for b.Loop() {
				claimed, err := storetest.ClaimDue(b.Context(), db)
				if err != nil || claimed != 50 {
					b.Fatalf("%d pages claimed, want 50; error %v", claimed, err)
				}
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

// BenchmarkLarge is D8 of the catalogue: a claim takes at most 5 ms, a list 200 ms, with 10,000,000 events behind them. It takes minutes:
//
//	go test -run - -bench Large -benchtime 300x -timeout 30m ./internal/store/postgres
func BenchmarkLarge(b *testing.B) {
	db := openBench(b)
	storetest.BenchLarge(b, db, func() error {
		pc, err := db.acquire(b.Context(), db.health)
		if err != nil {
			return err
		}
		defer pc.Release()
		_, err = pc.Conn().PgConn().Exec(b.Context(), "VACUUM ANALYZE").ReadAll() // autovacuum would within the minute
		return err
	})
}
