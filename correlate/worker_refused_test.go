package correlate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
)

// refusing is a book that never takes an alert with the label poison; it counts what was asked of it.
type refusing struct {
	*memory
	asked  int
	events []int // of each batch that was refused: how many alerts it had
}

var errPoison = fmt.Errorf("%w: the value is out of range", ErrRefused)

func (b *refusing) Commit(ctx context.Context, batch Batch) (int64, []tocsin.Change, error) {
	b.asked++
	if slices.ContainsFunc(batch.Writes.Alerts, func(a tocsin.Alert) bool { return a.Labels.Get("poison") != "" }) {
		b.events = append(b.events, len(batch.Writes.Alerts))
		return 0, nil, errPoison
	}
	return b.memory.Commit(ctx, batch)
}

// feed lets a worker apply records over a book, and returns what the database has then.
func feed(t *testing.T, records []Record, o WorkerOptions, book func(*memory) Book) (*rows, *Worker) {
	t.Helper()
	var has *rows
	var w *Worker
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService(func(r *Rule) { r.AutoResolve = new(time.Hour) }))})
		for _, r := range records {
			m.add(r)
		}
		w = NewWorker(NewDomain(0, 1), 0, m, book(m), o)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(5 * time.Second)
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
		has = m.rows
	})
	return has, w
}

// K9
func TestARecordThatTheDatabaseCannotHoldIsTriedThriceAndPassedOverAsIfItWereEmpty(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		var records, emptied []Record
		var bad []int64
		for n := range 1 + r.IntN(80) {
			e := event(t, time.Now(), fmt.Sprintf("a%d fires service=s%d", r.IntN(12), r.IntN(4)))
			if r.IntN(3) == 0 {
				e.Status = tocsin.Resolved
			}
			rec := Record{Events: []tocsin.Event{e}, Writer: 7, Seq: uint64(n + 1)}
			empty := rec
			if r.IntN(8) == 0 {
				rec.Events = []tocsin.Event{event(t, time.Now(), fmt.Sprintf("p%d fires service=s%d poison=yes", n, r.IntN(4)))}
				empty.Events = nil
				bad = append(bad, int64(n+1)) // the rules are record 0
			}
			records, emptied = append(records, rec), append(emptied, empty)
		}
		var said []int64
		o := WorkerOptions{Aside: func(r Record, tries int, cause error) {
			if len(r.Events) != 1 || tries != maxTries || !errors.Is(cause, errPoison) {
				t.Errorf("aside is told of %d events, %d tries, %v; want the record as it was, %d tries, and why", len(r.Events), tries, cause, maxTries)
			}
			said = append(said, r.Offset)
		}}
		var book *refusing
		got, w := feed(t, records, o, func(m *memory) Book { book = &refusing{memory: m}; return book })
		want, _ := feed(t, emptied, WorkerOptions{}, func(m *memory) Book { return m })
		if diff := cmp.Diff(bad, said); diff != "" {
			t.Fatalf("seed %d: set aside (-want +got):\n%s", seed, diff)
		}
		if w.Aside() != int64(len(bad)) {
			t.Fatalf("seed %d: it counts %d records set aside, want %d", seed, w.Aside(), len(bad))
		}
		if most := len(bad)*(maxTries+8) + 1; len(book.events) > most {
			t.Fatalf("seed %d: %d batches were refused for %d bad records of %d, want at most %d: found by halves", seed, len(book.events), len(bad), len(records), most)
		}
		if diff := cmp.Diff(touched(want), touched(got), cmp.AllowUnexported(rows{})); diff != "" {
			t.Fatalf("seed %d: what the database has, had the bad records been empty (-) and as it is (+):\n%s", seed, diff)
		}
	}
}

func TestARecordIsNeverSetAsideForAFailureThatMayPass(t *testing.T) {
	const failures = 200
	fail := make([]error, failures)
	for i := range fail {
		fail[i] = errors.New("the disk is full")
	}
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService())})
		w := NewWorker(NewDomain(0, 1), 0, m, m, WorkerOptions{Aside: func(r Record, _ int, cause error) { t.Errorf("record %d is set aside: %v", r.Offset, cause) }})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		m.mu.Lock()
		m.fail = fail
		m.mu.Unlock()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db")}})
		time.Sleep(2 * failures * tryMost)
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
		want := []string{"committed to 1: "}
		for range failures {
			want = append(want, "failed")
		}
		want = append(want, "committed to 2: opened i1, page-now i1")
		if diff := cmp.Diff(want, m.said()); diff != "" {
			t.Errorf("asked of the book (-want +got):\n%s", diff)
		}
	})
}

// What falls due may be what the database cannot hold: then the record that brings the time is not at fault, and nothing is passed over.
// The partition waits for somebody to mend it.
func TestWhatFallsDueAndIsRefusedIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService(func(r *Rule) { r.GroupWait = new(30 * time.Second) }))})
		w := NewWorker(NewDomain(0, 1), 0, m, m, WorkerOptions{Aside: func(r Record, _ int, cause error) { t.Errorf("record %d is set aside: %v", r.Offset, cause) }})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db")}})
		synctest.Wait()
		const failures = 20
		m.mu.Lock()
		m.fail = slices.Repeat([]error{errPoison}, failures)
		m.mu.Unlock()
		time.Sleep(40 * time.Second)
		if _, next := w.Applied(); next != 2 {
			t.Errorf("the next offset is %d while what is due is refused, want 2", next)
		}
		time.Sleep(failures * tryMost)
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
		if _, ok := m.rows.incidents[1]; !ok {
			t.Errorf("after it was mended: offset %d, incidents %v; want what was due", m.rows.offset, m.rows.incidents)
		}
	})
}

// D2: a worker whose database forgot something knows too much: it must not write on, and no record is to blame.
func TestAWorkerEndsWhenTheStateIsNotTheOneItLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService())})
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db")}})
		m.fail = []error{fmt.Errorf("%w: its history ends at 3, and had 4", ErrStale)}
		w := NewWorker(NewDomain(0, 1), 0, m, m, WorkerOptions{Aside: func(r Record, _ int, cause error) { t.Errorf("record %d is set aside: %v", r.Offset, cause) }})
		err := w.Run(t.Context())
		if !errors.Is(err, ErrStale) {
			t.Errorf("the worker ended with %v, want ErrStale", err)
		}
		if diff := cmp.Diff([]string{"failed"}, m.said()); diff != "" {
			t.Errorf("asked of the book (-want +got):\n%s", diff)
		}
	})
}
