package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A lock is a row that another session of the database keeps locked.
type lock struct {
	name string
	text string // locks it
	key  func(at place) int64
}

func locks() []lock {
	return []lock{
		{"a partition's row", "UPDATE part SET epoch = epoch WHERE partition = $1", func(at place) int64 { return int64(at.partition) }},
		{"an incident's row", "UPDATE incident SET state = state WHERE id = $1", func(at place) int64 { return at.incident }},
	}
}

// A place is where the incident of an alert stands.
type place struct {
	incident  int64
	partition int
}

// A siege is one run of row 17: a server under a steady load, one row of whose database is kept locked for a while.
type siege struct {
	s      *server
	h      home
	p      *pager
	lead   time.Duration // of the load before the lock
	held   time.Duration
	second time.Duration // the next step comes so long after the first
	load   load
	roster roster

	alert  place // of the group to which a new alert comes every second: its row is locked, or its partition's
	from   time.Time
	to     time.Time
	acks   *acker
	mu     sync.Mutex
	sent   []time.Time
	places map[int64]place     // by number of the alert; only those that the database knows
	due    map[int64]time.Time // of the first pages, by number of the alert
	end    time.Time           // when waiting ended
	share  share
}

const (
	joinedRun  = "joined" // the run of the alerts of one group
	joinedRule = `  - {name: joined, matchers: ['run="` + joinedRun + `"'], group_by: [run], window: 1h}` + "\n"
)

// besieged is how many clusters alerts are of, each a domain of its own, so that all partitions have their part.
const besieged = 240

// pageBesideLock is row 17: row 11's load in twelve partitions, while another session keeps a row of one of them locked.
func pageBesideLock(ctx context.Context, b *bench) (rows []row, err error) {
	var found []aftermath
	held := time.Minute
	for i, k := range locks() {
		tries := 0
		x, err := undisturbed(ctx, b, k.name, func() (x aftermath, _ share, err error) {
			tries++
			g, err := b.besiege(ctx, fmt.Sprintf("locked-%d-%d", i, tries), k)
			if err != nil {
				return x, share{}, err
			}
			held = g.held
			return g.judge(), g.share, nil
		})
		if err != nil {
			return nil, err
		}
		x.lock = k.name
		for _, line := range []string{x.pagesText(), x.acksText(), x.stepsText()} {
			b.say("   %s", line)
		}
		found = append(found, x)
	}
	return lockedRows(found, held), nil
}

// lockedRows are the three rows of both locks.
func lockedRows(found []aftermath, held time.Duration) []row {
	rows := []row{
		{id: "17a", what: fmt.Sprintf("Kafka and PostgreSQL: POST to the provider's request, 100 incidents/s in %d partitions, while another session keeps a row locked for %.0f s: in the other partitions, p50 / p99", usual, held.Seconds()), must: "p99 2 s"},
		{id: "17b", what: "acknowledgements answered meanwhile, ten a second in the other partitions, p50 / p99; and one a second in the partition of the row", must: "p99 2 s; 200 or 503 within 10 s"},
		{id: "17c", what: "an escalation's next steps meanwhile: how late they come in the other partitions, p50 / p99", must: "p99 2 s"},
	}
	for i, x := range found {
		for n, part := range []struct {
			text string
			v    verdict
		}{{x.pagesText(), x.pagesVerdict()}, {x.acksText(), x.acksVerdict()}, {x.stepsText(), x.stepsVerdict()}} {
			if i > 0 {
				rows[n].measured += "; "
			}
			rows[n].measured += part.text
			rows[n].verdict = worse(rows[n].verdict, part.v)
		}
	}
	return rows
}

// besiege does one run.
func (b *bench) besiege(ctx context.Context, name string, k lock) (g *siege, err error) {
	g = &siege{lead: 5 * time.Second, held: time.Minute, second: 15 * time.Second}
	if b.quick {
		g.lead, g.held, g.second = 3*time.Second, 6*time.Second, 2*time.Second
	}
	g.p, err = newPager(0)
	if err != nil {
		return nil, err
	}
	defer g.p.close()
	g.load = steady(int64((g.lead + g.held) / time.Second))
	g.load.alerts = prometheus("pages", 0)
	g.load.alerts.teams, g.load.alerts.clusters, g.load.alerts.mixed = true, besieged, true
	g.sent = make([]time.Time, g.load.count)
	g.load.sent = func(n int64, at time.Time) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.sent[n] = at
	}
	g.roster = roster{people: int(g.load.count), second: g.second, rules: joinedRule}
	err = b.ground.lend(ctx, onBoth, func(h home) error {
		g.h = h
		g.s, err = b.tocsinAt(h, name, isolated(g.roster.settings(g.p.address())))
		if err != nil {
			return err
		}
		return g.run(ctx, b, k)
	})
	return g, err
}

// run starts the server, goes through the lock, and waits until every page that must come has come.
func (g *siege) run(ctx context.Context, b *bench, k lock) (err error) {
	err = g.s.startAt(ctx, g.h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.s.stop()) }()
	err = g.s.settle(ctx)
	if err != nil {
		return err
	}
	db, err := pgx.Connect(ctx, g.h.dsn)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	err = g.open(ctx, db)
	if err != nil {
		return err
	}
	before := g.s.used()
	loading := make(chan error, 1)
	go func() {
		o, err := g.s.send(ctx, g.load)
		if err == nil && o.refused > 0 {
			err = fmt.Errorf("%d of %d alerts were refused", o.refused, g.load.count)
		}
		loading <- err
	}()
	err = g.hold(ctx, db, k)
	err = errors.Join(err, <-loading)
	if err != nil {
		return err
	}
	b.say("   %s was locked for %.1f s", k.name, g.to.Sub(g.from).Seconds())
	err = g.settle(ctx)
	g.share = before.until(g.s.used())
	if err != nil {
		return err
	}
	return g.census(ctx, db)
}

// open makes the incident of the group to which an alert comes every second, and finds out where it stands.
func (g *siege) open(ctx context.Context, db *pgx.Conn) error {
	err := g.join(0)
	if err != nil {
		return err
	}
	var last error
	err = g.s.await(ctx, 30*time.Second, func() bool {
		last = db.QueryRow(ctx, "SELECT id, partition FROM incident WHERE rule = 'joined'").Scan(&g.alert.incident, &g.alert.partition)
		if last != nil {
			pause(ctx, 20*time.Millisecond)
		}
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("the incident whose row is to be locked: %w", errors.Join(err, last))
	}
	return nil
}

// join sends alert n of the one group.
func (g *siege) join(n int64) error {
	c, err := newClient("POST", g.s.url+g.load.path, g.s.headers...)
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.do(prometheus(joinedRun, 1).body(nil, time.Now(), []int64{n}), requestTime)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return fmt.Errorf("an alert of the group whose incident is to be locked: %w", err)
	}
	return nil
}

// hold lets the load run for a while, then keeps the row locked; meanwhile alerts join the group, and people acknowledge.
func (g *siege) hold(ctx context.Context, db *pgx.Conn, k lock) (err error) {
	pause(ctx, g.lead)
	rival, err := pgx.Connect(ctx, g.h.dsn)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, rival.Close(context.WithoutCancel(ctx))) }() // that ends what it has begun
	known, err := incidents(ctx, db, time.Time{})
	if err != nil {
		return err
	}
	_, err = rival.Exec(ctx, "BEGIN")
	if err == nil {
		_, err = rival.Exec(ctx, k.text, k.key(g.alert))
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", k.name, err)
	}
	g.from = time.Now()
	g.acks = newAcker(g.s, g.alert, known)
	locked, release := context.WithTimeout(ctx, g.held)
	defer release()
	var wg sync.WaitGroup
	errs := make([]error, 3)
	wg.Go(func() { errs[0] = g.joinEverySecond(locked) })
	wg.Go(func() { errs[1] = g.lookAround(locked, db) })
	wg.Go(func() { g.acks.work(locked, g.p) })
	<-locked.Done()
	_, errs[2] = rival.Exec(ctx, "ROLLBACK")
	g.to = time.Now()
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

func (g *siege) joinEverySecond(ctx context.Context) error {
	for n := int64(1); ; n++ {
		pause(ctx, time.Second)
		if ctx.Err() != nil {
			return nil
		}
		err := g.join(n)
		if err != nil {
			return err
		}
	}
}

// lookAround keeps telling the acker which incidents there are.
func (g *siege) lookAround(ctx context.Context, db *pgx.Conn) error {
	for {
		pause(ctx, 500*time.Millisecond)
		if ctx.Err() != nil {
			return nil
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		found, err := incidents(late, db, time.Now().Add(-5*time.Second))
		cancel()
		if err != nil {
			return err
		}
		g.acks.learn(found)
	}
}

// settle waits until all pages have come that must. What does not come is for the figures to say.
func (g *siege) settle(ctx context.Context) error {
	stop := time.Now().Add(g.second + pagesWait)
	err := g.s.await(ctx, g.second+2*pagesWait, func() bool {
		if g.missing() == 0 || time.Now().After(stop) {
			return true
		}
		pause(ctx, 100*time.Millisecond)
		return false
	})
	g.end = time.Now()
	return err
}

// missing returns how many pages are still to come: the first of each incident, and the second of those that nobody has acknowledged.
func (g *siege) missing() (n int) {
	came := g.p.book()
	for k := range g.load.count {
		_, first := came[k]
		_, second := came[k+int64(g.roster.people)]
		_, answered := g.acks.triedAt(k)
		if !first || !second && !answered {
			n++
		}
	}
	return n
}

// census asks the database where each incident stands, and when its first page was due.
func (g *siege) census(ctx context.Context, db *pgx.Conn) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	g.places, err = incidents(ctx, db, time.Time{})
	if err != nil {
		return err
	}
	g.due = map[int64]time.Time{}
	rows, err := db.Query(ctx, "SELECT person, MIN(due_at) FROM page WHERE person LIKE 'p%' GROUP BY person") // notices come later
	if err != nil {
		return fmt.Errorf("when pages were due: %w", err)
	}
	var person string
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&person, &at}, func() error {
		numbers([]byte(person), "p", func(n int64) { g.due[n] = time.UnixMicro(at) })
		return nil
	})
	if err != nil {
		return fmt.Errorf("when pages were due: %w", err)
	}
	return nil
}

// incidents asks the database for those of the load that were opened since a moment, by number of their alert.
func incidents(ctx context.Context, db *pgx.Conn, since time.Time) (map[int64]place, error) {
	from := int64(0)
	if !since.IsZero() {
		from = since.UnixMicro()
	}
	rows, err := db.Query(ctx, "SELECT id, partition, labels FROM incident WHERE rule = 'everything' AND opened_at >= $1", from)
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", err)
	}
	out := map[int64]place{}
	var at place
	var labels string
	_, err = pgx.ForEachRow(rows, []any{&at.incident, &at.partition, &labels}, func() error {
		markers([]byte(labels), func(n int64) { out[n] = at })
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", err)
	}
	return out, nil
}
