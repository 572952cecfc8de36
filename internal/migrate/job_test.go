package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// to12 is a job to twelve partitions.
func to12(from, to store.DB) *Job {
	ends := make([]int64, 12)
	for n := range ends {
		ends[n] = int64(50 + n)
	}
	return &Job{
		From: from, To: to, Source: "the old storage", Target: "the new storage", Partitions: 12, IsolateBy: `["customer"]`, Journal: "the new journal",
		Ends: ends, Home: homeOf(12), Chunk: 9,
	}
}

var small = size{partitions: 4, incidents: 31, alerts: 3}

func TestAStateMovesToAnotherDatabaseAndToMorePartitions(t *testing.T) {
	from, to := fresh(t), fresh(t)
	fill(t, from, small)
	before := tell(t, from)
	j := to12(from, to)
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tell(t, to), before)
	layout(t, to, j.Ends)
	for name, s := range r.Source {
		if s != r.Target[name] {
			t.Errorf("%s: %v and %v", name, s, r.Target[name])
		}
	}
	if got := r.Target["alert"].Rows; got != int64(small.incidents*small.alerts) {
		t.Errorf("%d alerts were counted, want %d", got, small.incidents*small.alerts)
	}
	wantMeta(t, to, map[string]string{store.MetaJournal: "the new journal", store.MetaPartitions: "12", store.MetaIsolateBy: `["customer"]`, store.MetaSigningKey: "00ff"})
	held := 0
	view(t, to, func(tx *store.Tx) error {
		for p := range 12 {
			text, err := tx.Meta(fmt.Sprintf("held %d", p))
			if err == nil {
				held += strings.Count(text, "customer-")
			}
		}
		letters, err := tx.DeadLetters(10)
		if len(letters) != 1 || letters[0].Offset != -8 {
			t.Errorf("dead letters: %+v, want one that takes no offset of the new journal", letters)
		}
		return err
	})
	if held != 4 {
		t.Errorf("%d scopes wait, want the 4 of before", held)
	}
	if err := Settled(t.Context(), to); err != nil {
		t.Errorf("the target may not be served: %v", err)
	}
	err = Settled(t.Context(), from)
	if err == nil || !strings.Contains(err.Error(), "was moved to the new storage") {
		t.Errorf("the source may be served: %v", err)
	}
	wantMeta(t, from, map[string]string{store.MetaJournal: noneMore + "the new storage"})
}

func TestAStateGoesToMorePartitionsInPlace(t *testing.T) {
	db := fresh(t)
	fill(t, db, small)
	before := tell(t, db)
	j := to12(db, db)
	_, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tell(t, db), before)
	parts := layout(t, db, j.Ends)
	if parts[0].Epoch < 2 {
		t.Errorf("the epoch is %d: an owner of before could still commit", parts[0].Epoch)
	}
	wantMeta(t, db, map[string]string{store.MetaJournal: "the new journal", store.MetaPartitions: "12"})
	if err := Settled(t.Context(), db); err != nil {
		t.Errorf("the state may not be served: %v", err)
	}
}

func TestAStateThatWasMovedAwayComesBack(t *testing.T) {
	from, to := fresh(t), fresh(t)
	fill(t, from, small)
	before := tell(t, from)
	_, err := to12(from, to).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	back := to12(to, from)
	back.Partitions, back.Ends, back.Home = 1, []int64{2000}, homeOf(1)
	_, err = back.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tell(t, from), before)
	layout(t, from, []int64{2000})
}

func TestTheHistoryOfManyPartitionsIsMergedByTime(t *testing.T) {
	from, to := fresh(t), fresh(t)
	fill(t, from, small)
	j := to12(from, to)
	j.Partitions, j.Ends, j.Home = 1, []int64{0}, homeOf(1)
	_, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	view(t, to, func(tx *store.Tx) error {
		lines, err := tx.Changes(0, 0, 1<<20)
		opened := time.Time{}
		for _, c := range lines {
			if c.Kind != tocsin.ChangeOpened {
				continue
			}
			if c.At.Before(opened) {
				t.Errorf("incident %d opened at %s stands behind one that opened at %s", c.Incident, c.At, opened)
			}
			opened = c.At
		}
		return err
	})
}

// errKilled is what a process that was killed sees of the rest of its work.
var errKilled = errors.New("killed")

// dying is a database whose process is killed at one of its transactions: before its commit, or just after.
type dying struct {
	store.DB
	left  *int
	after bool
}

func (d *dying) Update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	*d.left--
	if *d.left < 0 {
		return errKilled
	}
	if *d.left > 0 {
		return d.DB.Update(ctx, lane, fn)
	}
	err := d.DB.Update(ctx, lane, func(tx *store.Tx) error {
		err := fn(tx)
		if err == nil && !d.after {
			err = errKilled
		}
		return err
	})
	return errors.Join(err, errKilled)
}

func TestAMoveThatIsKilledAtAnyTransactionEndsTheSameWhenItIsRunAgain(t *testing.T) {
	for name, inPlace := range map[string]bool{"to another database": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := size{partitions: 3, incidents: 6, alerts: 2}
			db := fresh(t)
			fill(t, db, z)
			want := tell(t, db)
			killed := 0
			for n := 1; ; n++ {
				for _, after := range []bool{false, true} {
					from, to := fresh(t), fresh(t)
					fill(t, from, z)
					left := n
					source, target := &dying{from, &left, after}, &dying{to, &left, after}
					again := to12(from, to)
					if inPlace {
						target, to, again = source, from, to12(from, from)
					}
					j := to12(source, target)
					_, err := j.Run(t.Context())
					if err == nil {
						if killed < 20 {
							t.Fatalf("it ran through without %d transactions", killed)
						}
						return
					}
					killed++
					if !errors.Is(err, errKilled) {
						t.Fatal(err)
					}
					served := Settled(t.Context(), to)
					if Settled(t.Context(), from) == nil && served == nil && !inPlace && n > 1 {
						t.Fatalf("killed at transaction %d (after its commit: %t) both sides may be served", n, after)
					}
					pending, err := Pending(t.Context(), to)
					if err != nil {
						t.Fatal(err)
					}
					if moved, err := MovedTo(t.Context(), from); err != nil || moved != nil && pending == nil {
						layout(t, to, again.Ends) // all was done
						continue
					}
					if done, err := noneLeft(t, to, inPlace); err != nil || done {
						continue
					}
					_, err = again.Run(t.Context())
					if err != nil {
						t.Fatalf("run again after transaction %d (after its commit: %t): %v", n, after, err)
					}
					same(t, tell(t, to), want)
					layout(t, to, again.Ends)
					closeBoth(t, from, to)
				}
			}
		})
	}
}

// noneLeft reports whether a job in place was done when it was killed.
func noneLeft(t *testing.T, db store.DB, inPlace bool) (done bool, err error) {
	t.Helper()
	err = db.View(t.Context(), func(tx *store.Tx) error {
		n, err := tx.Partitions()
		done = inPlace && n == 12
		return err
	})
	return done, err
}

func closeBoth(t *testing.T, dbs ...store.DB) {
	t.Helper()
	for _, db := range dbs {
		err := db.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantMeta(t testing.TB, db store.DB, want map[string]string) {
	t.Helper()
	view(t, db, func(tx *store.Tx) error {
		for name, value := range want {
			got, err := tx.Meta(name)
			if err != nil {
				return err
			}
			if got != value {
				t.Errorf("meta %s is %q, want %q", name, got, value)
			}
		}
		return nil
	})
}
