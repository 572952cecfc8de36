package main

import (
	"fmt"
	"time"
)

// An aftermath is what a siege came to.
type aftermath struct {
	lock string

	pages   latency // from the POST to the page's request, of alerts of the other partitions that were sent while the row was locked
	paged   int
	unpaged int           // of them, never
	longest time.Duration // the same of one of the locked partition

	others, there tally // acknowledgements

	steps   latency // how late the next steps of the other partitions came that fell due while the row was locked
	taken   int
	untaken int // of them, never
}

// A tally is how acknowledgements were answered.
type tally struct {
	took   latency
	sent   int
	done   int // answered 200
	busy   int // answered 503, with when to come back
	strays int // answered otherwise, or not at all
}

// tallyOf sums answers up.
func tallyOf(answers []answer) (y tally) {
	took := make([]time.Duration, 0, len(answers))
	for _, x := range answers {
		took = append(took, x.took)
		switch {
		case x.status == 200:
			y.done++
		case x.status == 503 && x.retry:
			y.busy++
		default:
			y.strays++
		}
	}
	y.sent, y.took = len(answers), quantiles(took)
	return y
}

// String says how many were answered how.
func (y tally) String() string {
	text := fmt.Sprintf("%d of %d answered 200", y.done, y.sent)
	if y.busy > 0 {
		text += fmt.Sprintf(", %d answered 503", y.busy)
	}
	if y.strays > 0 {
		text += fmt.Sprintf(", %d otherwise or not at all", y.strays)
	}
	return text
}

// judge sums a siege up. What never came counts as if it had come when waiting ended; an alert that the database does not know was of any
// partition, and counts with the others.
func (g *siege) judge() (x aftermath) {
	came := g.p.book()
	var pages, steps []time.Duration
	within := func(t time.Time) bool { return !t.Before(g.from) && t.Before(g.to) }
	for n := range g.load.count {
		at, known := g.places[n]
		took, ok := g.pageTime(n, came)
		switch {
		case !within(g.sent[n]):
		case known && at.partition == g.alert.partition:
			x.longest = max(x.longest, took)
		default:
			pages = append(pages, took)
			x.paged++
			if !ok {
				x.unpaged++
			}
		}
		due, ok := g.due[n]
		due = due.Add(g.second)
		if !ok || !within(due) || at.partition == g.alert.partition {
			continue
		}
		late, wanted, ok := g.stepTime(n, due, came)
		if !wanted {
			continue
		}
		steps = append(steps, late)
		x.taken++
		if !ok {
			x.untaken++
		}
	}
	x.pages, x.steps = quantiles(pages), quantiles(steps)
	x.others, x.there = tallyOf(g.acks.others), tallyOf(g.acks.there)
	return x
}

// pageTime returns how long the first page of alert n took; not ok: it never came.
func (g *siege) pageTime(n int64, came map[int64]time.Time) (took time.Duration, ok bool) {
	at, ok := came[n]
	if !ok {
		at = g.end
	}
	return at.Sub(g.sent[n]), ok
}

// stepTime returns how late the second page of alert n came, which was due then; not ok: it never came. It is not wanted where the
// incident was acknowledged in time; one that was acknowledged later is late at least until then.
func (g *siege) stepTime(n int64, due time.Time, came map[int64]time.Time) (late time.Duration, wanted, ok bool) {
	acked, isAcked := g.acks.triedAt(n)
	at, ok := came[n+int64(g.roster.people)]
	switch {
	case isAcked && acked.Before(due):
		return 0, false, ok
	case isAcked && (!ok || acked.Before(at)):
		return acked.Sub(due), true, true
	case !ok:
		at = g.end
	}
	return at.Sub(due), true, ok
}

func (x aftermath) pagesText() string {
	return fmt.Sprintf("%s: %s / %s ms (%s alerts%s), in its own partition at most %s s", x.lock, number(x.pages.p50), number(x.pages.p99), count(x.paged), never(x.unpaged), number(x.longest.Seconds()))
}

func (x aftermath) acksText() string {
	return fmt.Sprintf("%s: %s / %s ms (%v), in its own partition p50 %s s, at most %s s (%v)", x.lock, number(x.others.took.p50), number(x.others.took.p99), x.others, number(x.there.took.p50/1000), number(x.there.took.most/1000), x.there)
}

func (x aftermath) stepsText() string {
	return fmt.Sprintf("%s: %s / %s ms (%s steps%s)", x.lock, number(x.steps.p50), number(x.steps.p99), count(x.taken), never(x.untaken))
}

// never says how many did not come.
func never(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %s of them never", count(n))
}

// mostWait is how long others may wait for what another session has locked, in milliseconds; hangs is when an answer is one no more.
const (
	mostWait = 2000.0
	hangs    = 10_000.0
)

func (x aftermath) pagesVerdict() verdict {
	return worse(orLess(x.pages.p99, mostWait), orLess(float64(x.unpaged), 0)).unless(x.paged == 0)
}

func (x aftermath) acksVerdict() verdict {
	v := worse(orLess(x.others.took.p99, mostWait), orLess(x.there.took.most, hangs))
	return worse(v, orLess(float64(x.others.sent-x.others.done+x.there.strays), 0)).unless(x.others.sent == 0 || x.there.sent == 0)
}

func (x aftermath) stepsVerdict() verdict {
	return worse(orLess(x.steps.p99, mostWait), orLess(float64(x.untaken), 0)).unless(x.taken == 0)
}
