package correlate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tocsin"
)

// slow is a book whose commits take time, and sometimes fail first.
type slow struct {
	*memory
	wait func() time.Duration
	fail func() error
}

func (b *slow) Commit(ctx context.Context, batch Batch) (int64, []tocsin.Change, error) {
	time.Sleep(b.wait())
	err := b.fail()
	if err != nil {
		return 0, nil, err
	}
	return b.memory.Commit(ctx, batch)
}

// during runs f in a bubble beside a worker whose commits take a second each, with the rules and one incident committed. seen is told of each
// record that is applied, and may panic.
func during(t *testing.T, o WorkerOptions, seen func(Record), f func(t *testing.T, m *memory, w *Worker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService(func(r *Rule) { r.AutoResolve = new(time.Hour) }))})
		book := &slow{memory: m, wait: func() time.Duration { return time.Second }, fail: func() error { return nil }}
		w := NewWorker(NewDomain(0, 1), 0, m, book, o)
		w.applyOne = func(d *Domain, r Record) []Effect {
			seen(r)
			return Apply(d, r)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db warning")}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		m.mu.Lock()
		m.log = nil
		m.mu.Unlock()
		f(t, m, w)
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

// then adds an alert of the service and waits for most of the time that a commit takes, but not for its end.
func (m *memory) then(t *testing.T, alert string) {
	t.Helper()
	m.add(Record{Events: []tocsin.Event{event(t, time.Now(), alert)}})
	time.Sleep(400 * time.Millisecond)
	synctest.Wait()
}

func unseen(Record) {}

func TestWhileOneBatchIsCommittedTheNextIsAppliedButNothingOfItIsTold(t *testing.T) {
	var applied []int64
	during(t, WorkerOptions{}, func(r Record) { applied = append(applied, r.Offset) }, func(t *testing.T, m *memory, w *Worker) {
		m.then(t, "b fires service=db")
		m.then(t, "c fires service=web")
		if len(applied) != 4 || len(m.said()) != 0 {
			t.Errorf("applied were %d, and the book has taken %q; want all four records applied and none of the last two taken", applied, m.said())
		}
		if _, next := w.Applied(); next != 2 {
			t.Errorf("it is said to be at offset %d, want 2: that is committed", next)
		}
		if alerts, incidents := w.Firing(); alerts != 1 || incidents != 1 {
			t.Errorf("%d alerts are said to fire in %d incidents, want 1 in 1", alerts, incidents)
		}
		time.Sleep(3 * time.Second)
		m.want(t, "committed to 3: joined i1, urgency-rose i1, page-now i1", "committed to 4: opened i2, page-now i2")
		if alerts, incidents := w.Firing(); alerts != 3 || incidents != 2 {
			t.Errorf("%d alerts are said to fire in %d incidents, want 3 in 2", alerts, incidents)
		}
	})
}

func TestAPeekWaitsForTheCommitUnderWay(t *testing.T) {
	during(t, WorkerOptions{}, unseen, func(t *testing.T, m *memory, w *Worker) {
		m.then(t, "b fires service=db")
		var alerts int
		err := w.Peek(t.Context(), func(d *Domain) { alerts = d.firing })
		if err != nil || alerts != 2 || len(m.said()) != 1 {
			t.Errorf("a peek saw %d alerts with %q committed, %v; want 2 and their batch", alerts, m.said(), err)
		}
	})
}

func TestACommandBeforeTheCommitUnderWayUndoesAlsoWhatWasAppliedOnTop(t *testing.T) {
	during(t, WorkerOptions{}, unseen, func(t *testing.T, m *memory, _ *Worker) {
		m.then(t, "b fires service=db warning")
		m.then(t, "c fires service=db critical")
		m.command(tocsin.DoAck, 1, "one")
		time.Sleep(10 * time.Second)
		m.want(t, "behind", "committed to 3: joined i1", "committed to 4: joined i1, urgency-rose i1, page-now i1")
		synctest.Wait()
		if i := m.rows.incidents[1]; i.State != tocsin.Triggered || i.Alerts != 3 {
			t.Errorf("the incident is %s with %d alerts, want triggered again with 3: its urgency rose after the acknowledgement", i.State, i.Alerts)
		}
	})
}

func TestARecordThatFailsOnTopOfACommitUnderWayLeavesThatAlone(t *testing.T) {
	var aside []int64
	o := WorkerOptions{Aside: func(r Record, tries int, _ error) { aside = append(aside, r.Offset, int64(tries)) }}
	fails := func(r Record) {
		if len(r.Events) > 0 && r.Offset == 3 {
			panic("this one")
		}
	}
	during(t, o, fails, func(t *testing.T, m *memory, _ *Worker) {
		m.then(t, "b fires service=db")
		m.then(t, "c fires service=web")
		m.then(t, "d fires service=mail")
		time.Sleep(10 * time.Second)
		m.want(t, "committed to 3: joined i1, urgency-rose i1, page-now i1", "flushed 0 to 4", "committed to 5: opened i2, page-now i2")
		if len(aside) != 2 || aside[0] != 3 || aside[1] != maxTries {
			t.Errorf("set aside were %d, want the record 3 after %d tries", aside, maxTries)
		}
	})
}

func TestNothingOnTopIsWrittenOnceAnotherHasThePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService())})
		lost := false
		book := &slow{memory: m, wait: func() time.Duration { return time.Second }, fail: func() error {
			if lost {
				return ErrLost
			}
			return nil
		}}
		d := NewDomain(0, 1)
		w := NewWorker(d, 0, m, book, WorkerOptions{})
		done := make(chan error)
		go func() { done <- w.Run(t.Context()) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before := dump(d, true)
		lost = true
		m.then(t, "a fires service=db")
		m.then(t, "b fires service=db")
		if err := <-done; !errors.Is(err, ErrLost) {
			t.Errorf("the worker ended with %v, want %v", err, ErrLost)
		}
		m.want(t, "committed to 1: ")
		if after := dump(d, true); after != before {
			t.Errorf("memory has what was not written:\n%s", after)
		}
	})
}

// Whatever commits do, whenever people command, and whoever works on the partition: each batch is on top of all that came before it.
func TestHoweverLongCommitsTakeTheStateIsWhatJournalAndCommandsSay(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for n := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			theirs := rand.New(rand.NewPCG(seed, 1+n)) // of the book, which runs beside
			m := newMemory()
			m.add(Record{Rules: compiled(t, quickRules())})
			book := &slow{memory: m, wait: func() time.Duration { return time.Duration(theirs.IntN(40)) * time.Millisecond }, fail: func() error {
				if theirs.IntN(10) == 0 {
					return errors.New("down")
				}
				return nil
			}}
			w, stop := m.works(t, NewDomain(0, 1), book, r)
			steady := event(t, time.Now(), "steady fires service=web host=h9 region=eu") // while only this repeats, nothing is committed
			for n := range 80 {
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				switch r.IntN(16) {
				case 0, 1, 2, 3:
					m.anyCommand(r)
					if r.IntN(2) == 0 { // else it finds out when it commits
						w.Nudge()
					}
					continue
				case 4:
					stop()
					for range r.IntN(3) {
						m.anyCommand(r)
					}
					w, stop = m.works(t, m.loaded(t, w.d.rules), book, r)
					continue
				case 5:
					m.add(Record{Rules: compiled(t, quickRules())})
					continue
				}
				rec := Record{Events: []tocsin.Event{steady}}
				if n%20 >= 10 {
					m.add(rec)
					continue
				}
				for range 1 + r.IntN(2) {
					word := []string{"fires", "fires", "fires", "fires", "ends"}[r.IntN(5)]
					n := r.IntN(12)
					rec.Events = append(rec.Events, event(t, time.Now(), fmt.Sprintf("a%d %s service=%s host=h%d region=%s", n, word, []string{"db1", "db2", "web", "mail"}[n%4], n%5, []string{"eu", "us"}[n%2])))
				}
				m.add(rec)
			}
			w.Nudge()
			time.Sleep(5 * time.Second)
			stop()
			x := &world{t: t, d: w.d, rows: m.rows, journal: m.journal}
			x.same("live and replayed", dump(w.d, false), dump(x.replay(), false))
			x.same("live and restored", dump(w.d, false), dump(m.loaded(t, w.d.rules), false))
		})
	}
}

// works lets a worker work on d until stop, which waits for its end.
func (m *memory) works(t *testing.T, d *Domain, book Book, r *rand.Rand) (w *Worker, stop func()) {
	m.read = int(d.offset)
	w = NewWorker(d, m.seq, m, book, WorkerOptions{FlushEvents: 1 + r.IntN(30)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	}
}

// loaded is what another worker would begin with now.
func (m *memory) loaded(t *testing.T, rules *Rules) *Domain {
	m.rows.rules = rules
	return (&world{t: t, rows: m.rows, journal: m.journal}).restore()
}

// quickRules let majors rest, and hold, for milliseconds.
func quickRules() RuleSet {
	rs := manyRules()
	for n := range rs.Majors {
		rs.Majors[n].Cooldown = time.Duration(20*(n+1)) * time.Millisecond
	}
	rs.Majors[1].Hold = 30 * time.Millisecond
	return rs
}

// anyCommand commits a command to one of the incidents or majors that there are, if it takes it.
func (m *memory) anyCommand(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if majors := sorted(m.rows.majors); len(majors) > 0 && r.IntN(2) == 0 {
		m.anyDecision(r, m.rows.majors[majors[r.IntN(len(majors))]])
		return
	}
	ids := sorted(m.rows.incidents)
	if len(ids) == 0 {
		return
	}
	i := m.rows.incidents[ids[r.IntN(len(ids))]]
	kind := []string{tocsin.DoAck, tocsin.DoUnack, tocsin.DoResolve, tocsin.DoTake}[r.IntN(4)]
	err := Command(&i, kind, "one", time.Now())
	if err != nil {
		return
	}
	m.rows.incidents[i.ID] = i
	m.seq++
	m.rows.commands = append(m.rows.commands, tocsin.Change{Seq: m.seq, AfterOffset: m.rows.offset, At: time.Now(), Actor: "one", Kind: kind, Incident: i.ID})
}

func (m *memory) anyDecision(r *rand.Rand, x tocsin.Major) {
	var members []*tocsin.Incident
	for _, id := range x.Incidents {
		members = append(members, new(m.rows.incidents[id]))
	}
	kind := []string{tocsin.DoConfirm, tocsin.DoReject, tocsin.DoExpire, tocsin.DoResolveMajor}[r.IntN(4)]
	err := Decide(&x, members, kind, "one", time.Now())
	if err != nil {
		return
	}
	for _, i := range members {
		m.rows.incidents[i.ID] = *i
	}
	m.rows.majors[x.ID] = x
	m.seq++
	m.rows.commands = append(m.rows.commands, tocsin.Change{Seq: m.seq, AfterOffset: m.rows.offset, At: time.Now(), Actor: "one", Kind: kind, Major: x.ID})
}
