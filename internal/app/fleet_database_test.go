//go:build !race

package app

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// linked is storage whose nodes reach the database through a link.
func linked(t *testing.T) (*manyNodes, *link) {
	t.Helper()
	m := sharedStorage(t)
	l, through := newLink(t, m.direct)
	m.dsn = through
	return m, l
}

// D1: the network to the database swallows everything for a while.
func TestFleetWhoseDatabaseIsNotHeardGoesOnTakingAlerts(t *testing.T) {
	together(t)
	seed := seedOf(t)
	rounds, away := 1, 4*time.Second
	if full() {
		rounds, away = 5, 15*time.Second
	}
	m, l := linked(t)
	f := newFleet(t, 2, m, killRules)
	f.start()
	f.until("every partition is worked on", 60*time.Second, f.working)
	db, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stop := f.load(seed)
	longest, slowest := time.Duration(0), time.Duration(0)
	for range rounds {
		sleepFor(t, 2*time.Second)
		l.hold()
		sleepFor(t, 100*time.Millisecond) // what the server had already been asked
		before := f.applied(db)
		began := time.Now()
		asked := make(chan time.Duration, 1)
		go func() {
			_, err := get(context.WithoutCancel(t.Context()), f.at(t.Context())+"/api/v1/incidents", robot)
			if err == nil && time.Since(began) < away {
				t.Error("incidents were listed while the database could not be asked")
			}
			asked <- time.Since(began)
		}()
		for time.Since(began) < away {
			if statuses, _ := f.knock(); !slices.Equal(statuses, []int{http.StatusAccepted, http.StatusAccepted}) {
				t.Errorf("without a database the doors answered %v, want 202", statuses)
			}
			sleepFor(t, 500*time.Millisecond)
		}
		if now := f.applied(db); now != before {
			t.Errorf("%d records were applied while the database could not be reached", now-before)
		}
		l.carryOn()
		longest = max(longest, f.until("alerts are applied again", 60*time.Second, func() bool { return f.applied(db) > before && f.working() }))
		slowest = max(slowest, <-asked)
	}
	if slowest > 12*time.Second {
		t.Errorf("who asked for incidents meanwhile waited %s", slowest)
	}
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s database unheard %d times for %s, applied again at most %s after; who asked for incidents was answered after at most %s",
		f.figures(seed, sum), rounds, away, longest.Round(10*time.Millisecond), slowest.Round(10*time.Millisecond))
}

// D6: connections to the database end at their COMMIT, before it arrives or before its answer does.
func TestFleetWhoseCommitsAreCutDoesNothingTwice(t *testing.T) {
	together(t)
	seed := seedOf(t)
	cuts := int64(20)
	if full() {
		cuts = 200
	}
	m, l := linked(t)
	f := newFleet(t, 2, m, killRules)
	f.start()
	f.until("every partition is worked on", 60*time.Second, f.working)
	stop := f.load(seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var done, commits atomic.Int64
	l.atCommit(func() cut {
		commits.Add(1)
		if done.Load() >= cuts || r.IntN(20) > 0 {
			return whole
		}
		done.Add(1)
		return cutBefore + cut(r.IntN(2))
	})
	took := f.until("all are cut that shall be", 5*time.Minute, func() bool { return done.Load() >= cuts })
	l.atCommit(nil)
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s %d of %d commits cut in %s", f.figures(seed, sum), done.Load(), commits.Load(), took.Round(100*time.Millisecond))
}
