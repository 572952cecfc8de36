package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/parts/partstest"
)

var at = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// opened opens the database and closes it when the test ends.
func opened(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db := open(t, dsn)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// raw is a connection beside the store's.
func raw(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

func exec(t testing.TB, c *pgx.Conn, statement string) {
	t.Helper()
	_, err := c.Exec(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func claim(t testing.TB, db store.DB, partitions ...int) {
	t.Helper()
	for _, p := range partitions {
		update(t, db, func(tx *store.Tx) error { _, err := tx.Claim(p, "one"); return err })
	}
}

func update(t testing.TB, db store.DB, fn func(*store.Tx) error) {
	t.Helper()
	err := db.Update(t.Context(), store.Correlation, fn)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
}

// note appends one change that says text to the history of a partition.
func note(partition int, text string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		p, err := tx.Lock(partition)
		if err != nil {
			return err
		}
		err = tx.AddChanges(&p, []tocsin.Change{{At: at, Kind: tocsin.DoNote, Data: []byte(strconv.Quote(text))}})
		if err != nil {
			return err
		}
		return tx.SavePart(p)
	}
}

// notes counts what the history of a partition says.
func notes(t testing.TB, db store.DB, partition int) map[string]int {
	t.Helper()
	said := map[string]int{}
	err := db.View(t.Context(), func(tx *store.Tx) error {
		changes, err := tx.Changes(partition, 0, 10_000)
		for _, c := range changes {
			said[string(c.Data)]++
		}
		return err
	})
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	return said
}

func TestAConnectionCutAtItsCommitAppliesNothingTwice(t *testing.T) {
	t.Parallel()
	p, dsn := newProxy(t, partstest.Database(t))
	db := opened(t, dsn)
	claim(t, db, 0)
	const cuts = 20
	unknown := 0
	for i := range cuts {
		text := strconv.Itoa(i)
		p.set([]fault{cutBefore, cutAfter}[i%2])
		err := db.Update(t.Context(), store.Commands, note(0, text))
		p.set(healthy)
		if !errors.Is(err, store.ErrUnknown) {
			t.Fatalf("cut %d: update = %v, want ErrUnknown", i, err)
		}
		unknown++
		there := 0
		update(t, db, func(tx *store.Tx) error { // whoever holds the part knows: the other transaction has ended
			_, err := tx.Lock(0)
			if err != nil {
				return err
			}
			changes, err := tx.Changes(0, 0, 10_000)
			there = len(slices.DeleteFunc(changes, func(c tocsin.Change) bool { return string(c.Data) != strconv.Quote(text) }))
			return err
		})
		if want := i % 2; there != want { // what arrived at the server is done
			t.Errorf("cut %d: the change is there %d times, want %d", i, there, want)
		}
		if there == 0 {
			update(t, db, note(0, text))
		}
	}
	said := notes(t, db, 0)
	for i := range cuts {
		if n := said[strconv.Quote(strconv.Itoa(i))]; n != 1 {
			t.Errorf("change %d is there %d times, want once", i, n)
		}
	}
	if unknown != cuts || len(said) != cuts {
		t.Errorf("%d of %d cuts were of unknown outcome, %d changes are there", unknown, cuts, len(said))
	}
}

func TestTransactionsThatMeetAreRunAgain(t *testing.T) {
	t.Parallel()
	db := opened(t, partstest.Database(t))
	claim(t, db, 0, 1)
	var met sync.WaitGroup // both hold their first part before either wants its second
	met.Add(2)
	var all sync.WaitGroup
	for first := range 2 {
		all.Go(func() {
			tries := 0
			err := db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
				tries++
				_, err := tx.Lock(first)
				if err != nil {
					return err
				}
				if tries == 1 {
					met.Done()
					met.Wait()
				}
				return note(1-first, fmt.Sprint("by ", first))(tx)
			})
			if err != nil {
				t.Errorf("update that locks %d first: %v", first, err)
			}
		})
	}
	all.Wait()
	for p := range 2 {
		if said := notes(t, db, p); len(said) != 1 {
			t.Errorf("changes of partition %d = %v, want one", p, said)
		}
	}
}

func TestWritersOfOnePartitionTakeTurns(t *testing.T) {
	t.Parallel()
	dsn := partstest.Database(t)
	dbs := []*postgres.DB{opened(t, dsn), opened(t, dsn)} // two nodes
	claim(t, dbs[0], 0)
	const writers, each = 8, 20
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				err := dbs[w%2].Update(t.Context(), store.Lane(w%3), note(0, fmt.Sprint(w, i)))
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	all.Wait()
	if said := notes(t, dbs[1], 0); len(said) != writers*each {
		t.Errorf("%d changes, want %d", len(said), writers*each)
	}
}

func TestALockedPartitionIsAnErrorAndOthersGoOn(t *testing.T) {
	t.Parallel()
	dsn := partstest.Database(t)
	db := opened(t, dsn)
	claim(t, db, 0, 1)
	other := raw(t, dsn)
	exec(t, other, "BEGIN")
	exec(t, other, "UPDATE part SET epoch = epoch WHERE partition = 0")
	blocked := make(chan error, 1)
	go func() { blocked <- db.Update(context.WithoutCancel(t.Context()), store.Correlation, note(0, "late")) }()
	for i := range 20 {
		update(t, db, note(1, strconv.Itoa(i)))
	}
	err := <-blocked
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "another session has kept a row or a table locked") {
		t.Errorf("update of the locked partition = %v, want ErrUnavailable and ErrLocked that says why", err)
	}
	exec(t, other, "ROLLBACK")
	update(t, db, note(0, "free"))
	if said := notes(t, db, 0); len(said) != 1 || len(notes(t, db, 1)) != 20 {
		t.Errorf("changes = %v and %v", said, notes(t, db, 1))
	}
}

func TestPagesThatAnotherSessionKeepsLockedAreToldApart(t *testing.T) {
	t.Parallel()
	dsn := partstest.Database(t)
	db := opened(t, dsn)
	update(t, db, func(tx *store.Tx) error {
		return tx.InsertPages([]tocsin.Page{{ID: "a", State: tocsin.PageDue}, {ID: "b", State: tocsin.PageDue}})
	})
	other := raw(t, dsn)
	exec(t, other, "BEGIN")
	exec(t, other, "UPDATE page SET token = token WHERE id = 'a'")
	update(t, db, func(tx *store.Tx) error {
		locked, err := tx.LockedPages([]string{"a", "b", "gone"})
		if want := map[string]bool{"a": true}; err != nil || !maps.Equal(locked, want) {
			t.Errorf("locked = %v, %v; want %v", locked, err, want)
		}
		return err
	})
	exec(t, other, "ROLLBACK")
	update(t, db, func(tx *store.Tx) error {
		locked, err := tx.LockedPages([]string{"a", "b"})
		if err != nil || len(locked) != 0 {
			t.Errorf("locked = %v, %v; want none", locked, err)
		}
		return err
	})
}

func TestAServerThatDiesIsAnErrorUntilItIsBack(t *testing.T) {
	t.Parallel()
	server := partstest.StartPostgreSQL(t)
	db := opened(t, server.URL)
	claim(t, db, 0)
	update(t, db, note(0, "before"))
	tries := 0
	err := db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
		tries++
		err := note(0, "during")(tx)
		if tries == 1 && err == nil {
			server.Kill()
			_, err = tx.Part(0)
		}
		return err
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("update during which the server dies = %v, want ErrUnavailable", err)
	}
	for _, call := range []func() error{
		func() error { return db.Update(t.Context(), store.Paging, note(0, "while it is dead")) },
		func() error {
			return db.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Part(0); return err })
		},
		func() error { _, err := db.Now(t.Context()); return err },
	} {
		if err := call(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("call while the server is dead = %v, want ErrUnavailable", err)
		}
	}
	server.Start()
	update(t, db, note(0, "after"))
	if said := notes(t, db, 0); said[`"before"`] != 1 || said[`"after"`] != 1 || len(said) != 2 {
		t.Errorf("changes = %v, want before and after", said)
	}
}

func TestIdleConnectionsThatDiedAreReplacedUnseen(t *testing.T) {
	t.Parallel()
	p, dsn := newProxy(t, partstest.Database(t))
	db := opened(t, dsn)
	claim(t, db, 0)
	for i := range 5 {
		p.Cut()
		update(t, db, note(0, strconv.Itoa(i)))
		if said := notes(t, db, 0); len(said) != i+1 {
			t.Errorf("changes = %v, want %d", said, i+1)
		}
	}
}

func TestAServerThatIsNotHeardAnyMoreIsGivenUp(t *testing.T) {
	t.Parallel()
	p, dsn := newProxy(t, partstest.Database(t))
	db := opened(t, dsn)
	claim(t, db, 0)
	p.set(swallowing)
	var all sync.WaitGroup
	for _, call := range []func() error{
		func() error { return db.Update(t.Context(), store.Commands, note(0, "lost")) },
		func() error {
			return db.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Part(0); return err })
		},
		func() error { _, err := db.Now(t.Context()); return err },
	} {
		all.Go(func() {
			if err := call(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("call = %v, want ErrUnavailable", err)
			}
		})
	}
	all.Wait()
	p.set(healthy)
	p.Cut() // what was swallowed must not arrive in pieces
	update(t, db, note(0, "again"))
	if said := notes(t, db, 0); len(said) != 1 {
		t.Errorf("changes = %v, want one", said)
	}
}

func TestSlowReportsTakeNothingFromPaging(t *testing.T) {
	t.Parallel()
	db := opened(t, partstest.Database(t))
	claim(t, db, 0)
	release := make(chan struct{})
	var began, all sync.WaitGroup
	for range 4 { // all connections for reading
		began.Add(1)
		all.Go(func() {
			err := db.View(t.Context(), func(tx *store.Tx) error {
				began.Done()
				<-release
				_, err := tx.Part(0)
				return err
			})
			if err != nil {
				t.Errorf("view: %v", err)
			}
		})
	}
	began.Wait()
	for _, lane := range []store.Lane{store.Commands, store.Paging, store.Correlation} {
		if err := db.Update(t.Context(), lane, note(0, fmt.Sprint(lane))); err != nil {
			t.Errorf("update in lane %d: %v", lane, err)
		}
	}
	if _, err := db.Now(t.Context()); err != nil {
		t.Errorf("now: %v", err)
	}
	close(release)
	all.Wait()
}

func TestAnOldPrimaryThatComesBackIsRefused(t *testing.T) {
	t.Parallel()
	past, now := partstest.StartPostgreSQL(t), partstest.StartPostgreSQL(t)
	now.Promote()
	p, dsn := newProxy(t, past.URL)
	db := opened(t, dsn)
	claim(t, db, 0)
	opened(t, now.URL) // its tables
	p.Lead(host(t, now.URL))
	claim(t, db, 0)
	p.Lead(host(t, past.URL))
	err := db.Update(t.Context(), store.Correlation, note(0, "on the old one"))
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "old primary") {
		t.Errorf("update on the old primary = %v, want a refusal that says so", err)
	}
	p.Lead(host(t, now.URL))
	update(t, db, note(0, "on the new one"))
	if said := notes(t, opened(t, past.URL), 0); len(said) != 0 {
		t.Errorf("changes on the old primary = %v, want none", said)
	}
}

// Neither who is new nor who has connected to nobody since the failover has seen the new timeline: they ask all servers of the address.
func TestOfTwoPrimariesTheNewerIsUsedAlsoByWhoSawNoFailover(t *testing.T) {
	t.Parallel()
	past := partstest.StartPostgreSQL(t)
	next := partstest.StandbyOf(t, host(t, past.URL))
	dsn := strings.Replace(past.URL, host(t, past.URL), host(t, past.URL)+","+host(t, next.URL), 1)
	was := opened(t, dsn)
	claim(t, was, 0)
	began := was.History()
	standby, copied := raw(t, next.URL), 0
	for copied == 0 && t.Context().Err() == nil {
		err := standby.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE tablename = 'part'").Scan(&copied)
		if err == nil && copied > 0 {
			err = standby.QueryRow(t.Context(), "SELECT count(*) FROM part").Scan(&copied)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	next.Promote()

	update(t, opened(t, dsn), note(0, "by who is new"))
	if said := notes(t, was, 0); len(said) != 1 {
		t.Errorf("who connects anew reads %v, want what was written to the new primary", said)
	}
	if is := was.History(); is != began+1 {
		t.Errorf("the history is number %d, want the one after %d", is, began)
	}
	update(t, was, note(0, "by a connection to the old one"))
	if said := notes(t, was, 0); len(said) != 2 {
		t.Errorf("changes on the new primary = %v, want both", said)
	}
	var written int
	err := raw(t, past.URL).QueryRow(t.Context(), "SELECT count(*) FROM change").Scan(&written)
	if err != nil || written != 0 {
		t.Errorf("%d changes on the old primary, %v, want none", written, err)
	}
}

func TestAStandbyIsRefused(t *testing.T) {
	t.Parallel()
	server := partstest.StartPostgreSQL(t)
	server.Demote()
	db, err := postgres.Open(t.Context(), server.URL, postgres.Options{})
	if err == nil {
		_ = db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "the server is a standby") {
		t.Errorf("open = %v, want a refusal that says why", err)
	}
}

func host(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestACommitOfAnotherNodeIsHintedAt(t *testing.T) {
	t.Parallel()
	dsn := partstest.Database(t)
	one, two := opened(t, dsn), opened(t, dsn)
	claim(t, one, 0)
	heard := two.Committed()
	for i := 0; ; i++ { // the first may come before the other listens
		update(t, one, note(0, strconv.Itoa(i)))
		select {
		case <-heard:
			return
		case <-t.Context().Done():
			t.Fatal("no hint came")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestTextThatPostgreSQLCannotHoldIsMendedNotRefused(t *testing.T) {
	t.Parallel()
	db := opened(t, partstest.Database(t))
	p := tocsin.Page{ID: "one", Kind: tocsin.KindNotice, Channel: "sms", State: tocsin.PageDue, Text: "zero \x00 byte", Error: "cut \xc3", DueAt: at}
	update(t, db, func(tx *store.Tx) error { return tx.InsertPages([]tocsin.Page{p}) })
	q := p
	q.ID = "two"
	r := p
	r.ID = "three"
	update(t, db, func(tx *store.Tx) error { return tx.InsertPages([]tocsin.Page{q, r}) })
	for _, id := range []string{"one", "two", "three"} {
		var got tocsin.Page
		err := db.View(t.Context(), func(tx *store.Tx) (err error) { got, err = tx.Page(id); return err })
		if err != nil || got.Text != "zero \uFFFD byte" || got.Error != "cut \uFFFD" {
			t.Errorf("page %s = %q, %q, %v", id, got.Text, got.Error, err)
		}
	}
}

func TestARowThatStandsTwiceInABatchEndsAsTheLast(t *testing.T) {
	t.Parallel()
	db := opened(t, partstest.Database(t))
	alerts := []tocsin.Alert{{ID: 1, Summary: "a"}, {ID: 2, Summary: "b"}, {ID: 1, Summary: "c"}, {ID: 3, Summary: "d"}, {ID: 1, Summary: "e"}}
	moves := []store.AlertMove{{ID: 2, Count: 1}, {ID: 3, Count: 2}, {ID: 2, Count: 3}}
	update(t, db, func(tx *store.Tx) error { return errors.Join(tx.PutAlerts(alerts), tx.MoveAlerts(moves)) })
	got := map[int64]string{}
	err := db.View(t.Context(), func(tx *store.Tx) error {
		for a, err := range tx.Alerts(store.AlertFilter{}) {
			if err != nil {
				return err
			}
			got[a.ID] = fmt.Sprint(a.Summary, a.Count)
		}
		return nil
	})
	if want := map[int64]string{1: "e0", 2: "b3", 3: "d2"}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("alerts = %v, %v, want %v", got, err, want)
	}
}
