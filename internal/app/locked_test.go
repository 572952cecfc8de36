package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"tocsin"
	"tocsin/config"
	"tocsin/internal/store"
	"tocsin/paging"
	"tocsin/parts/partstest"
)

// A bystander is an app on PostgreSQL that does nothing by itself, with an incident, a page under way and a timer due in each of two
// partitions, and a session beside it that keeps rows locked.
type bystander struct {
	t     *testing.T
	a     *App
	book  *pagebook
	other *pgx.Conn
	now   time.Time
}

func newBystander(t *testing.T) *bystander {
	t.Helper()
	dsn := partstest.Database(t)
	c, problems := config.Load(newPlant(t, killRules).config())
	if c == nil {
		t.Fatal(problems)
	}
	c.Storage.Postgres = &config.Postgres{DSN: dsn}
	a, err := open(t.Context(), c, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.listener.Close(), a.close() })
	b := &bystander{t: t, a: a, book: &pagebook{office: a.office}, now: a.clock.Now()}
	b.other = session(t, dsn)
	err = a.db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error {
		for p := range 2 {
			part, err := tx.Claim(p, "one")
			if err != nil {
				return err
			}
			id := int64(p + 1)
			err = tx.PutIncidents([]tocsin.Incident{{ID: id, Partition: p, State: tocsin.Triggered, Severity: tocsin.Critical, Priority: 3, Urgency: tocsin.UrgencyHigh, OpenedAt: b.now, Service: fmt.Sprintf("s%d", p)}})
			if err != nil {
				return err
			}
			err = tx.InsertPages([]tocsin.Page{b.page(p, tocsin.PageClaimed)})
			if err != nil {
				return err
			}
			err = tx.AddTimers([]store.Timer{{Partition: p, Kind: store.TimerStep, Incident: id, DueAt: b.now.Add(time.Duration(p) * time.Millisecond), Data: fmt.Sprintf(`{"Escalation":"e%d","Step":1,"Incident":%d}`, p, id)}})
			if err != nil {
				return err
			}
			err = tx.SavePart(part)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// page is the page of a partition's incident.
func (b *bystander) page(partition int, state tocsin.PageState) tocsin.Page {
	return tocsin.Page{
		ID: fmt.Sprintf("page-%d", partition), Partition: partition, Incident: int64(partition + 1), Kind: tocsin.KindPage, Person: fmt.Sprintf("p%d", partition), Channel: paging.SMS, Address: phoneOf(partition),
		State: state, DueAt: b.now, ClaimedTo: b.now.Add(lease), Token: 1, Attempts: 1,
	}
}

// locked runs f while another session keeps a row locked.
func (b *bystander) locked(statement string, f func()) {
	b.t.Helper()
	whileLocked(b.t, b.other, statement, f)
}

// session is one of the database beside tocsin's.
func session(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

// whileLocked runs f while c keeps locked what statement locks.
func whileLocked(t *testing.T, c *pgx.Conn, statement string, f func()) {
	t.Helper()
	for _, text := range []string{"BEGIN", statement} {
		_, err := c.Exec(t.Context(), text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	f()
	_, err := c.Exec(t.Context(), "ROLLBACK")
	if err != nil {
		t.Fatal(err)
	}
}

// states are those of the pages, by id.
func (b *bystander) states() (out map[string]tocsin.PageState) {
	b.t.Helper()
	err := b.a.db.View(b.t.Context(), func(tx *store.Tx) error {
		out = map[string]tocsin.PageState{}
		for p := range 2 {
			page, err := tx.Page(b.page(p, 0).ID)
			if err != nil {
				return err
			}
			out[page.ID] = page.State
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// D4
func TestTimersFireWhileAnotherPartitionIsLocked(t *testing.T) {
	b := newBystander(t)
	fire := func() (timers []int) {
		t.Helper()
		_, _, err := b.book.FireTimers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = b.a.db.View(t.Context(), func(tx *store.Tx) error {
			due, err := tx.DueTimers(b.now.Add(time.Second), 10) // what falls due later is not meant
			for _, m := range due {
				timers = append(timers, m.Partition)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return timers
	}
	b.locked("UPDATE part SET epoch = epoch WHERE partition = 0", func() {
		if left := fire(); !slices.Equal(left, []int{0}) {
			t.Errorf("partitions of timers that have not fired = %v, want that of the locked one, which was due first", left)
		}
		another := b.a.clock.Now().Add(3 * time.Second).Truncate(time.Microsecond)
		err := b.a.db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error {
			return tx.AddTimers([]store.Timer{{Partition: 1, Kind: store.TimerNudge, Incident: 2, DueAt: another}})
		})
		if err != nil {
			t.Fatal(err)
		}
		b.book.resting[0] = rest{last: restMost}
		_, soon, err := b.book.FireTimers(t.Context())
		if err != nil || soon.After(time.Now()) {
			t.Errorf("after all that was due was locked the next look at timers is at %s, %v; want it at once", soon, err)
		}
		_, next, err := b.book.FireTimers(t.Context())
		if err != nil || !next.Equal(another) {
			t.Errorf("the next look at timers is at %s, %v; want it when one of another partition is due, at %s", next, err, another)
		}
	})
	for p := range b.book.resting {
		b.book.resting[p] = rest{} // it has rested
	}
	if left := fire(); len(left) > 0 {
		t.Errorf("partitions of timers that have not fired = %v, want none once nothing is locked", left)
	}
}

func TestATimerThatCannotBeFiredIsInNobodysWay(t *testing.T) {
	b := newBystander(t)
	err := b.a.db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error {
		var timers []store.Timer
		var incidents []tocsin.Incident
		for n := range int64(9) {
			id := 10 + n
			incidents = append(incidents, tocsin.Incident{ID: id, State: tocsin.Triggered, Severity: tocsin.Critical, Priority: 3, Urgency: tocsin.UrgencyHigh, OpenedAt: b.now, Service: "s0"})
			data := fmt.Sprintf(`{"Escalation":"e0","Step":1,"Incident":%d}`, id)
			if n == 4 {
				data = "{"
			}
			timers = append(timers, store.Timer{Kind: store.TimerStep, Incident: id, DueAt: b.now.Add(-time.Minute), Data: data})
		}
		return errors.Join(tx.PutIncidents(incidents), tx.AddTimers(timers))
	})
	if err != nil {
		t.Fatal(err)
	}
	fired, _, err := b.book.FireTimers(t.Context())
	if fired != 10 || err == nil || !strings.Contains(err.Error(), "incident 14") {
		t.Errorf("fired %d, %v; want all but the one of incident 14, and its error", fired, err)
	}
}

// Of one incident a turn says one thing, and a command that a timer gives is one line.
func TestTimersOfOneIncidentFireInTurnsOfTheirOwn(t *testing.T) {
	due := []store.Timer{
		{ID: 1, Incident: 1}, {ID: 2, Partition: 1, Incident: 2}, {ID: 3, Incident: 3}, {ID: 4, Incident: 1}, {ID: 5, Major: 1}, {ID: 6, Incident: 4}, {ID: 7, Partition: 1, Incident: 5},
	}
	var turns [][]int64
	for len(due) > 0 {
		var turn []store.Timer
		turn, due = inOneTurn(due, 10)
		var ids []int64
		for _, m := range turn {
			ids = append(ids, m.ID)
		}
		turns = append(turns, ids)
	}
	if diff := cmp.Diff([][]int64{{1, 3, 6}, {2, 7}, {4}, {5}}, turns); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

// D4
func TestFatesOfPagesAreSavedWhileOthersAreLocked(t *testing.T) {
	for name, c := range map[string]struct {
		lock  string
		fates [2]tocsin.PageState // of the pages in partitions 0 and 1
	}{
		"a page that was sent":                     {"UPDATE page SET token = token WHERE id = 'page-0'", [2]tocsin.PageState{tocsin.PageSent, tocsin.PageSent}},
		"a page that was sent, while others fail":  {"UPDATE page SET token = token WHERE id = 'page-0'", [2]tocsin.PageState{tocsin.PageSent, tocsin.PageFailed}},
		"a page that failed":                       {"UPDATE page SET token = token WHERE id = 'page-0'", [2]tocsin.PageState{tocsin.PageFailed, tocsin.PageSent}},
		"a partition in which a page failed":       {"UPDATE part SET epoch = epoch WHERE partition = 0", [2]tocsin.PageState{tocsin.PageFailed, tocsin.PageSent}},
		"a partition, while pages fail in another": {"UPDATE part SET epoch = epoch WHERE partition = 0", [2]tocsin.PageState{tocsin.PageFailed, tocsin.PageFailed}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBystander(t)
			var fates []paging.Fate
			for p := range 2 {
				fates = append(fates, paging.Fate{Page: b.page(p, c.fates[p])})
			}
			b.locked(c.lock, func() {
				left, err := b.book.Save(t.Context(), fates)
				if err != nil || !slices.Equal(left, []int{0}) {
					t.Errorf("save = left %v, %v; want the first left", left, err)
				}
			})
			if diff := cmp.Diff(map[string]tocsin.PageState{"page-0": tocsin.PageClaimed, "page-1": c.fates[1]}, b.states()); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			left, err := b.book.Save(t.Context(), fates[:1])
			if err != nil || len(left) > 0 {
				t.Errorf("save of what was left = left %v, %v; want none", left, err)
			}
			if diff := cmp.Diff(map[string]tocsin.PageState{"page-0": c.fates[0], "page-1": c.fates[1]}, b.states()); diff != "" {
				t.Errorf("states in the end (-want +got):\n%s", diff)
			}
		})
	}
}

// D4: there are two connections for commands.
func TestManyWhoWaitForALockedPartitionLeaveRoomForOthers(t *testing.T) {
	b := newBystander(t)
	waiting := make(chan error, 8)
	b.locked("UPDATE part SET epoch = epoch WHERE partition = 0", func() {
		for range cap(waiting) {
			go func() {
				_, err := b.a.office.Incident(t.Context(), 1, tocsin.DoNote, "p0", "said while it is locked")
				waiting <- err
			}()
		}
		for waits := 0; waits == 0; {
			err := b.other.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))").Scan(&waits)
			if err != nil {
				t.Fatal(err)
			}
		}
		for n := range 20 {
			_, err := b.a.office.Incident(t.Context(), 2, tocsin.DoNote, "p1", fmt.Sprint(n))
			if err != nil {
				t.Errorf("note %d in the other partition: %v", n, err)
				break
			}
		}
		select {
		case err := <-waiting:
			t.Errorf("a command in the locked partition came to an end before 20 in the other: %v", err)
			waiting <- err
		default:
		}
	})
	for range cap(waiting) {
		if err := <-waiting; err != nil {
			t.Errorf("a command of the partition that is free again: %v", err)
		}
	}
}
