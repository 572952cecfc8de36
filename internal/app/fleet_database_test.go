//go:build !race

package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tocsin"
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
	f.begin()
	db := f.database()
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

// D3: eight people and robots command about one incident at once, at both nodes, while its alerts go on. Nobody is answered that it cannot be
// done now, and what was confirmed was done once.
func TestFleetTakesTheCommandsOfManyAboutOneIncidentAtOnce(t *testing.T) {
	together(t)
	seed := seedOf(t)
	length := 5 * time.Second
	if full() {
		length = time.Minute
	}
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.begin()
	const service = 40
	f.knockAt(f.urls()[0], service)
	var open struct{ Incidents []struct{ Number int64 } }
	f.until("there is an incident", 30*time.Second, func() bool {
		err := getJSON(t.Context(), f.urls()[0]+"/api/v1/incidents", &open)
		return err == nil && len(open.Incidents) == 1
	})
	incident := open.Incidents[0].Number
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var confirmed, refused atomic.Int64
	var all sync.WaitGroup
	c := f.crowd()
	for n := range 8 {
		r := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // a small number
		all.Go(func() {
			for ctx.Err() == nil {
				word := []string{"note", "ack", "unack", "take"}[r.IntN(4)]
				status, answer, err := c.says(ctx, f.at(t.Context()), incident, word, fmt.Sprintf("p%d", service+n%2))
				switch {
				case err == nil && status == http.StatusOK && word == "unack":
					// said once more by who said it last, it is done already
				case err == nil && status == http.StatusOK:
					confirmed.Add(1)
				case err == nil && status == http.StatusConflict:
					refused.Add(1) // the incident was not in a state for it
				default:
					t.Errorf("%s is answered %d %s, %v; want 200, or 409", word, status, answer, err)
				}
			}
		})
	}
	for ctx.Err() == nil {
		f.knockAt(f.at(t.Context()), service)
	}
	all.Wait()
	retries := f.sum("tocsin_store_retries_total")
	f.settle()
	f.stop()
	sum := f.audit()
	s, err := f.nodes[0].state()
	if err != nil {
		t.Fatal(err)
	}
	done := int64(0)
	for _, x := range s.changes {
		if tocsin.IsCommand(x.Kind) && x.Kind != tocsin.DoUnack && x.Incident == incident {
			done++
		}
	}
	if done != confirmed.Load() {
		t.Errorf("the history has %d commands, %d were confirmed", done, confirmed.Load())
	}
	t.Logf("%s 8 writers of one incident for %s: %d commands (but for taking acks back) confirmed, %d refused for its state, transactions begun again %.0f", f.figures(seed, sum), length, confirmed.Load(), refused.Load(), retries)
}

// D4: another session locks what everything needs.
func TestFleetWhoseTablesAreLockedGoesOnTakingAlerts(t *testing.T) {
	together(t)
	seed := seedOf(t)
	length := 4 * time.Second
	if full() {
		length = time.Minute
	}
	m := sharedStorage(t)
	f := newFleet(t, 2, m, killRules)
	f.begin()
	db, other := f.database(), session(t, m.direct)
	stop := f.load(seed)
	var longest time.Duration
	for _, table := range []string{"incident", "page", "part"} {
		sleepFor(t, 2*time.Second)
		whileLocked(t, other, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE", func() {
			for until := time.Now().Add(length); time.Now().Before(until); {
				if statuses, _ := f.knock(); !slices.Equal(statuses, []int{http.StatusAccepted, http.StatusAccepted}) {
					t.Errorf("while table %s is locked the doors answered %v, want 202", table, statuses)
				}
				sleepFor(t, 100*time.Millisecond)
			}
		})
		before := f.applied(db)
		longest = max(longest, f.until("alerts are applied again", 60*time.Second, func() bool { return f.applied(db) > before && f.working() }))
	}
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s three tables locked for %s each, applied again at most %s after", f.figures(seed, sum), length, longest.Round(10*time.Millisecond))
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
	f.begin()
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
