package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// askers is how many clients ask for reports at once.
const askers = 100

const (
	reportTime = time.Minute // bounds one report
	askAgain   = time.Second // the longest that a client waits which was told to come back later
)

// A survey is what became of the reports that clients asked for.
type survey struct {
	took     []time.Duration // of those that were answered
	refused  int             // answered 503
	failed   int             // answered otherwise, or not in time
	firstBad error           // of those that failed
}

func (y *survey) add(other survey) {
	y.took = append(y.took, other.took...)
	y.refused += other.refused
	y.failed += other.failed
	if y.firstBad == nil {
		y.firstBad = other.firstBad
	}
}

// String says how many reports were answered how.
func (y survey) String() string {
	l := quantiles(y.took)
	text := fmt.Sprintf("%s answered 200 (p50 %s s, p99 %s s), %s answered 503", count(len(y.took)), number(l.p50/1000), number(l.p99/1000), count(y.refused))
	if y.failed > 0 {
		text += fmt.Sprintf(", %s failed", count(y.failed))
	}
	return text
}

// pageBesideReports is row 16: row 11's load while 100 clients ask for slow listings of 100,000 other alerts.
func pageBesideReports(ctx context.Context, b *bench) ([]row, error) {
	others, seconds := int64(100_000), int64(20)
	if b.quick {
		others, seconds = 10_000, 3
	}
	l := steady(seconds)
	p, err := newPager(0)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var halves, mosts spread
	var all survey
	for round := range b.rounds {
		tries := 0
		x, err := undisturbed(ctx, b, "tocsin", func() (x besideReports, _ share, err error) {
			tries++
			err = b.ground.lend(ctx, onBoth, func(h home) error {
				s, err := b.tocsinAt(h, fmt.Sprintf("reports-%d-%d", round, tries), roster{people: int(l.count), rules: backgroundRule}.settings(p.address()))
				if err != nil {
					return err
				}
				x, err = s.fireBesideReports(ctx, h, l, others, p)
				return err
			})
			return x, x.volley.share, err
		})
		if err != nil {
			return nil, err
		}
		b.told("tocsin", x.volley)
		b.say("   reports: %v", x.survey)
		if x.survey.firstBad != nil {
			b.say("   the first that failed: %v", x.survey.firstBad)
		}
		halves, mosts = append(halves, x.volley.latency.p50), append(mosts, x.volley.latency.p99)
		all.add(x.survey)
	}
	p99 := mosts.median()
	return []row{{
		id: "16", what: fmt.Sprintf("Kafka and PostgreSQL: POST to the provider's request, 100 incidents/s, while %d clients ask for slow reports of %s other alerts, p50 / p99", askers, number(float64(others))), must: "p99 2 s",
		measured: fmt.Sprintf("%s / %s ms; reports: %v", number(halves.median()), number(p99), all), spread: halves.ends() + " / " + mosts.ends(), verdict: orLess(p99, 2000),
	}}, nil
}

// backgroundRule is for alerts that are there, and that nobody is paged for.
const backgroundRule = `  - {name: background, matchers: ['run="background"'], group_by: [namespace], window: 1h, urgency: none}` + "\n"

// A besideReports is how pages came, and reports, at the same time.
type besideReports struct {
	volley volley
	survey survey
}

// fireBesideReports starts s on h with so many other alerts, and sends it l while reports are asked for.
func (s *server) fireBesideReports(ctx context.Context, h home, l load, others int64, p *pager) (x besideReports, err error) {
	err = s.startAt(ctx, h)
	if err != nil {
		return x, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	o, err := s.sendAll(ctx, load{path: "/api/v2/alerts", alerts: prometheus("background", 1000), batch: 64, conns: 8, count: others, rate: offered}, 3*time.Minute)
	if err == nil && o.accepted != others {
		err = fmt.Errorf("%d of %d were accepted", o.accepted, others)
	}
	if err != nil {
		return x, fmt.Errorf("alerts that reports are of: %w", err)
	}
	err = s.settle(ctx)
	if err != nil {
		return x, err
	}
	asking, enough := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.survey = s.survey(asking)
	}()
	pause(ctx, time.Second) // all of them have asked
	x.volley, err = s.fire(ctx, l, p)
	enough()
	<-done
	return x, err
}

// survey lets clients ask s for reports, each for one after the other, until ctx ends; those under way are waited for.
func (s *server) survey(ctx context.Context) (all survey) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for k := range askers {
		wg.Go(func() {
			y := s.enquire(ctx, k)
			mu.Lock()
			defer mu.Unlock()
			all.add(y)
		})
	}
	wg.Wait()
	return all
}

// A report is a listing that takes long. One that comes in pages is asked for page after page.
type report struct {
	path, query string
	paged       bool
}

// reports are what each client asks for in turn: all alerts, some by a label without an index, and pages of 1,000.
func reports() []report {
	return []report{
		{"/api/v2/alerts", "", false},
		{"/api/v2/alerts", "filter=" + url.QueryEscape(`namespace="payments-7"`), false},
		{"/api/v1/incidents", "limit=1000", true},
		{"/api/v1/alerts", "state=firing&limit=1000", true},
	}
}

// enquire is client k. It comes back after a second where it is told to come back later.
func (s *server) enquire(ctx context.Context, k int) (y survey) {
	list := reports()
	next := make([]string, len(list)) // what the last page said
	c, err := newClient("GET", s.url, "Authorization: Bearer "+robot)
	if err != nil {
		return survey{failed: 1, firstBad: err}
	}
	defer c.close()
	for ; ctx.Err() == nil; k++ {
		i := k % len(list)
		r := list[i]
		target := s.url + r.path + "?" + r.query
		if next[i] != "" {
			target += "&next=" + url.QueryEscape(next[i])
		}
		c.keep = r.paged
		err := c.aim(target)
		if err != nil {
			return survey{failed: 1, firstBad: err}
		}
		began := time.Now()
		status, err := c.do(nil, reportTime)
		switch {
		case err == nil && status == 200:
			y.took = append(y.took, time.Since(began))
			next[i] = nextPage(c.answer)
		case err == nil && status == 503 && c.retry > 0:
			y.refused++
			pause(ctx, min(c.retry, askAgain))
		default:
			y.failed++
			if y.firstBad == nil {
				y.firstBad = errors.Join(fmt.Errorf("GET %s?%s: status %d after %.1f s", r.path, r.query, status, time.Since(began).Seconds()), err)
			}
			pause(ctx, askAgain)
		}
	}
	return y
}

// nextPage returns what the last field of a page says about the one behind it; "" where there is none.
func nextPage(answer []byte) string {
	const field = `"next":"`
	i := bytes.LastIndex(answer, []byte(field))
	if i < 0 {
		return ""
	}
	word, rest, ok := bytes.Cut(answer[i+len(field):], []byte(`"`))
	if !ok || string(bytes.TrimSpace(rest)) != "}" {
		return ""
	}
	return string(word)
}
