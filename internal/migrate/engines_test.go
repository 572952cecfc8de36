package migrate

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/parts/partstest"
)

// onPostgres opens an empty database on the PostgreSQL of the tests.
func onPostgres(t testing.TB) store.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), partstest.Database(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TOCSIN_FULL=1 moves 100,000 alerts of 2,000 incidents, and logs how long it takes.
func TestAStateMovesFromSQLiteToPostgreSQLAndBack(t *testing.T) {
	z := small
	full := os.Getenv("TOCSIN_FULL") == "1"
	if full {
		z = size{partitions: 4, incidents: 2000, alerts: 50}
	}
	from, to := fresh(t), onPostgres(t)
	fill(t, from, z)
	var before told
	if !full {
		before = tell(t, from)
	}
	j := to12(from, to)
	if full {
		j.Chunk = 0
	}
	began := time.Now()
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d alerts moved to PostgreSQL in %.1f s", r.Target["alert"].Rows, time.Since(began).Seconds())
	if n := r.Target["alert"].Rows; !maps.Equal(r.Source, r.Target) || n != int64(z.incidents*z.alerts) {
		t.Errorf("source %v, target %v; want them equal, with %d alerts", r.Source, r.Target, z.incidents*z.alerts)
	}
	layout(t, to, j.Ends)
	back := to12(to, from)
	back.Partitions, back.Ends, back.Home, back.Chunk = 4, slices.Repeat([]int64{3000}, 4), homeOf(4), j.Chunk
	began = time.Now()
	_, err = back.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("and back to SQLite in %.1f s", time.Since(began).Seconds())
	if !full {
		same(t, tell(t, from), before)
		same(t, tell(t, to), before)
	}
	err = Settled(t.Context(), to)
	if want := fmt.Sprintf("this state was moved to %s at", back.Target); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("PostgreSQL may be served with error %v, want %q", err, want)
	}
}
