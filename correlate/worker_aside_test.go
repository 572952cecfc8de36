package correlate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
)

// poisoned is Apply that panics after its work on records of events with the label poison, so that all of it must be undone.
func poisoned(tried map[int64]int) func(*Domain, Record) []Effect {
	return func(d *Domain, r Record) []Effect {
		effects := Apply(d, r)
		for _, e := range r.Events {
			if e.Labels.Get("poison") != "" {
				tried[r.Offset]++
				panic("poison was swallowed")
			}
		}
		return effects
	}
}

// swallow lets a worker apply records, and returns what the database has then, and what was asked of it before the worker was stopped.
func swallow(t *testing.T, records []Record, o WorkerOptions, apply func(*Domain, Record) []Effect) (has *rows, w *Worker, said []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService(func(r *Rule) { r.AutoResolve = new(time.Hour) }))})
		for _, r := range records {
			m.add(r)
		}
		w = NewWorker(NewDomain(0, 1), 0, m, m, o)
		if apply != nil {
			w.applyOne = apply
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		said = m.said()
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
		has = m.rows
	})
	return has, w, said
}

// touched is what the database has with its touches in their rows: which of them say something depends on what shared a batch.
func touched(r *rows) *rows {
	for _, ts := range r.touches {
		for _, x := range ts {
			a := r.alerts[x.Alert]
			a.LastAt, a.EndsAt, a.Count, a.AsOf = x.LastAt, x.EndsAt, x.Count, x.AsOf
			r.alerts[x.Alert] = a
		}
	}
	r.touches, r.touchOff = nil, 0
	return r
}

// C15, K9
func TestARecordThatMakesApplyPanicIsTriedThriceAndPassedOverAsIfItWereEmpty(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		var records, emptied []Record
		var bad []int64
		for n := range 40 {
			e := event(t, time.Now(), fmt.Sprintf("a%d fires service=s%d", r.IntN(12), r.IntN(4)))
			if r.IntN(3) == 0 {
				e.Status = tocsin.Resolved
			}
			rec := Record{Events: []tocsin.Event{e}, Writer: 7, Seq: uint64(n + 1)}
			empty := rec
			if r.IntN(6) == 0 {
				rec.Events[0].Labels = tocsin.NewLabels(map[string]string{"service": fmt.Sprintf("s%d", r.IntN(4)), "poison": "yes"})
				empty.Events = nil
				bad = append(bad, int64(n+1)) // the rules are record 0
			}
			records, emptied = append(records, rec), append(emptied, empty)
		}
		tried, said := map[int64]int{}, []int64(nil)
		o := WorkerOptions{Aside: func(r Record, tries int, cause error) {
			if len(r.Events) != 1 || tries != maxTries || cause == nil {
				t.Errorf("aside is told of %d events, %d tries, %v; want the record as it was, %d tries, and why", len(r.Events), tries, cause, maxTries)
			}
			said = append(said, r.Offset)
		}}
		got, w, _ := swallow(t, records, o, poisoned(tried))
		want, _, _ := swallow(t, emptied, WorkerOptions{}, nil)
		if diff := cmp.Diff(bad, said); diff != "" {
			t.Fatalf("seed %d: set aside (-want +got):\n%s", seed, diff)
		}
		if w.Aside() != int64(len(bad)) {
			t.Fatalf("seed %d: it counts %d records set aside, want %d", seed, w.Aside(), len(bad))
		}
		for _, offset := range bad {
			if tried[offset] != maxTries {
				t.Fatalf("seed %d: record %d was tried %d times, want %d", seed, offset, tried[offset], maxTries)
			}
		}
		if diff := cmp.Diff(touched(want), touched(got), cmp.AllowUnexported(rows{})); diff != "" {
			t.Fatalf("seed %d: what the database has, had the bad records been empty (-) and as it is (+):\n%s", seed, diff)
		}
	}
}

func TestARecordThatWasPassedOverIsNotTriedAgainAtTheNextStart(t *testing.T) {
	tried := map[int64]int{}
	bad := event(t, start, "a fires service=db poison=yes")
	_, _, said := swallow(t, []Record{{Events: []tocsin.Event{bad}}}, WorkerOptions{}, poisoned(tried))
	if diff := cmp.Diff([]string{"committed to 1: ", "flushed 0 to 2"}, said); diff != "" {
		t.Errorf("asked of the book (-want +got):\n%s", diff)
	}
}

// Time itself may be what panics: then nothing can be passed over, and it must be said rather than tried for ever.
func TestAWorkerThatCannotGoOnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db")}})
		w := NewWorker(NewDomain(0, 1), 0, m, m, WorkerOptions{})
		w.applyOne = func(*Domain, Record) []Effect { panic("time is out of joint") }
		err := w.Run(t.Context())
		want := "correlate: partition 0: record 0 cannot even be passed over: applying it panicked: time is out of joint"
		if err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("the worker ended with %v\nwant %s", err, want)
		}
	})
}
