package postgres

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/storetest"
	"tocsin/parts/partstest"
)

// plans are what PostgreSQL did for the statements of a test.
type plans struct {
	mu   sync.Mutex
	said []string
}

// take returns the plans since the last time.
func (p *plans) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.said
	p.said = nil
	return said
}

// openPlanned opens a database whose server tells each plan.
func openPlanned(t *testing.T) (*DB, *plans) {
	t.Helper()
	db := &DB{log: slog.New(slog.DiscardHandler), id: "test", hints: make(chan struct{}, 1), tries: newTries()}
	config, err := db.parse(partstest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	told := &plans{}
	for name, value := range map[string]string{
		"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0", "auto_explain.log_level": "notice", "client_min_messages": "notice",
		"auto_explain.log_analyze": "on",
	} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		told.mu.Lock()
		defer told.mu.Unlock()
		told.said = append(told.said, n.Message)
	}
	err = db.open(t.Context(), config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, told
}

var wholeTable = regexp.MustCompile(`Seq Scan on (alert|page|incident|change|timer)\b`)

func TestNothingThatIsAskedOftenReadsAWholeTable(t *testing.T) {
	t.Parallel()
	db, told := openPlanned(t)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	fillPlanned(t, db, at)
	told.take()
	ask := func(name string, fn func(*store.Tx) error) {
		err := db.Update(t.Context(), store.Commands, fn)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		said := told.take()
		if len(said) > 40 || name == "next page" && len(said) > 2 { // that one is asked after every claim
			t.Errorf("%s: %d statements, want fewer trips", name, len(said))
		}
		if len(said) == 0 {
			t.Errorf("%s: no plan was told", name)
		}
		for _, plan := range said {
			if wholeTable.MatchString(plan) || inVain(plan) > 2000 {
				t.Errorf("%s reads a whole table:\n%s", name, plan)
			}
		}
	}
	ask("claim", func(tx *store.Tx) error {
		got, err := tx.ClaimPages(at.Add(time.Hour), time.Minute, map[string]int{"sms": 25, "email": 25, "voice": 5}, 1)
		if err == nil && len(got) != 50 {
			err = fmt.Errorf("%d pages claimed, want 50", len(got))
		}
		return err
	})
	ask("next page", func(tx *store.Tx) error { _, err := tx.NextPageDue(); return err })
	ask("due timers", func(tx *store.Tx) error { _, err := tx.DueTimers(at, 10); return err })
	ask("move", func(tx *store.Tx) error {
		return tx.MoveAlerts([]store.AlertMove{{ID: 7, Status: tocsin.Resolved}, {ID: 70, Status: tocsin.Resolved}})
	})
	ask("put", func(tx *store.Tx) error { return tx.PutAlerts(storetest.Many(1, 64)) })
	ask("open incidents", func(tx *store.Tx) error { _, err := tx.OpenIncidents(0); return err })
	ask("newest incidents", func(tx *store.Tx) error { _, err := tx.Incidents(store.IncidentFilter{}); return err })
	ask("incidents of a state", func(tx *store.Tx) error {
		_, err := tx.Incidents(store.IncidentFilter{States: []tocsin.IncidentState{tocsin.Triggered}})
		return err
	})
	ask("code", func(tx *store.Tx) error { _, err := tx.IncidentByCode(17, at); return ignoreMissing(err) })
	ask("pages of an incident", func(tx *store.Tx) error { _, err := tx.Pages(store.PageFilter{Incident: 5}); return err })
	ask("newest pages", func(tx *store.Tx) error { _, err := tx.Pages(store.PageFilter{}); return err })
	ask("history of an incident", func(tx *store.Tx) error { _, err := tx.ChangesOfIncident(5, 10); return err })
	ask("feed", func(tx *store.Tx) error { _, err := tx.Changes(0, 900, 100); return err })
	for name, f := range map[string]store.AlertFilter{
		"by service": {Service: "db-77"}, "firing by service": {Status: tocsin.Firing, Service: "db-77"}, "firing by host": {Status: tocsin.Firing, Host: "host-77"}, "firing by name": {Status: tocsin.Firing, Alertname: "ReplicationLag77"},
		"firing by source": {Status: tocsin.Firing, Source: "prometheus-77"}, "of an incident": {Incident: 77}, "one page": {Limit: 100},
		"one page of what fires": {Status: tocsin.Firing, Limit: 100},
	} {
		ask("alerts "+name, func(tx *store.Tx) error {
			for _, err := range tx.RawAlerts(f) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// A storm makes more pages due than the database's statistics know of: it was quiet when they were made.
func TestWhenTheNextPageIsDueIsFoundWithoutReadingAllThatSuddenlyAre(t *testing.T) {
	t.Parallel()
	db, told := openPlanned(t)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	pages := func(name string, state tocsin.PageState) {
		var put []tocsin.Page
		for i := range 5000 {
			put = append(put, tocsin.Page{
				ID: fmt.Sprint(name, i), Kind: tocsin.KindNotice, Person: "one", Channel: []string{"sms", "email"}[i%2], State: state, Lane: 1 + i%3,
				DueAt: at.Add(time.Duration(i) * time.Second), ClaimedTo: at.Add(time.Duration(i) * time.Minute),
			})
		}
		update(t, db, func(tx *store.Tx) error { return tx.InsertPages(put) })
	}
	pages("sent", tocsin.PageDelivered)
	analyze(t, db)
	pages("due", tocsin.PageDue)
	pages("claimed", tocsin.PageClaimed)
	told.take()
	var next time.Time
	update(t, db, func(tx *store.Tx) (err error) {
		next, err = tx.NextPageDue()
		return err
	})
	if !next.Equal(at) {
		t.Errorf("the next page is due at %s, want %s", next, at)
	}
	plan := strings.Join(told.take(), "\n")
	read := regexp.MustCompile(`actual time=\S+ rows=(\d+)`).FindAllStringSubmatch(plan, -1)
	for _, m := range read {
		if n, _ := strconv.Atoi(m[1]); n > 100 {
			t.Fatalf("%d rows are read to find one:\n%s", n, plan)
		}
	}
	if len(read) == 0 {
		t.Errorf("no plan was told: %s", plan)
	}
}

var dropped = regexp.MustCompile(`Rows Removed by Filter: (\d+)`)

// inVain is how many rows a plan has read for nothing.
func inVain(plan string) (rows int) {
	for _, m := range dropped.FindAllStringSubmatch(plan, -1) {
		n, _ := strconv.Atoi(m[1]) // it is digits
		rows += n
	}
	return rows
}

func ignoreMissing(err error) error {
	if err != nil && strings.Contains(err.Error(), store.ErrNotFound.Error()) {
		return nil
	}
	return err
}

// fillPlanned puts as much as makes the ways to it differ.
func fillPlanned(t *testing.T, db *DB, at time.Time) {
	t.Helper()
	const alerts, incidents, pages = 30_000, 20_000, 30_000
	for i := 0; i < alerts; i += 2000 {
		batch := storetest.Many(i+1, 2000)
		for n := range batch {
			if i+n < alerts-alerts/20 { // what fires is young, mostly
				batch[n].Status = tocsin.Resolved
			}
		}
		update(t, db, func(tx *store.Tx) error { return tx.PutAlerts(batch) })
	}
	update(t, db, func(tx *store.Tx) error {
		var put []tocsin.Incident
		for i := range incidents {
			in := tocsin.Incident{ID: int64(i + 1), State: tocsin.Settled, ResolvedAt: at.Add(-time.Hour), Title: "t", Service: fmt.Sprint("db-", i%1000)}
			if i%50 == 0 {
				in.State, in.ResolvedAt, in.Code = tocsin.Triggered, time.Time{}, i%99+1
			}
			put = append(put, in)
		}
		err := tx.PutIncidents(put)
		if err != nil {
			return err
		}
		var owed []tocsin.Page
		for i := range pages {
			p := tocsin.Page{
				ID: fmt.Sprint(i), Kind: tocsin.KindNotice, Incident: int64(i%incidents + 1), Person: fmt.Sprint("person-", i%500), Channel: []string{"sms", "email"}[i%2],
				State: tocsin.PageDelivered, Lane: 1 + i%3, DueAt: at.Add(-time.Duration(i) * time.Second),
			}
			if i%20 < 2 {
				p.State = tocsin.PageDue
			}
			owed = append(owed, p)
		}
		err = tx.InsertPages(owed)
		if err != nil {
			return err
		}
		var timers []store.Timer
		for i := range 10_000 {
			timers = append(timers, store.Timer{Kind: store.TimerStep, Incident: int64(i + 1), DueAt: at.Add(time.Duration(i) * time.Minute)})
		}
		err = tx.AddTimers(timers)
		if err != nil {
			return err
		}
		p, err := tx.Claim(0, "one")
		if err != nil {
			return err
		}
		changes := benchChanges(20_000)
		for i := range changes {
			changes[i].At = at.Add(time.Duration(i) * time.Second)
		}
		err = tx.AddChanges(&p, changes)
		if err != nil {
			return err
		}
		return tx.SavePart(p)
	})
	analyze(t, db)
}

// analyze lets the database's statistics know of all that is there.
func analyze(t *testing.T, db *DB) {
	t.Helper()
	pc, err := db.acquire(t.Context(), db.health)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Release()
	_, err = pc.Conn().PgConn().Exec(t.Context(), "ANALYZE").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
}
