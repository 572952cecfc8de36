package correlate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
)

// memory is a Log and a Book in memory, as a journal and a database would be.
type memory struct {
	mu       sync.Mutex
	journal  []Record
	read     int
	arrived  chan struct{}
	rows     *rows
	seq      int64
	fail     []error // what the next commits answer; nil: they are done
	tickFail error
	ticks    int
	log      []string // what was asked, in order
}

func newMemory() *memory { return &memory{arrived: make(chan struct{}, 1), rows: newRows()} }

// add appends a record that has come in now.
func (m *memory) add(r Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Offset, r.At = int64(len(m.journal)), time.Now()
	m.journal = append(m.journal, r)
	select {
	case m.arrived <- struct{}{}:
	default:
	}
}

func (m *memory) Next(ctx context.Context) ([]Record, error) {
	for {
		m.mu.Lock()
		rs := m.journal[m.read:]
		m.read = len(m.journal)
		m.mu.Unlock()
		if len(rs) > 0 {
			return rs, nil
		}
		select {
		case <-m.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (m *memory) Tick(context.Context) error {
	m.mu.Lock()
	m.ticks++
	err := m.tickFail
	m.mu.Unlock()
	if err == nil {
		m.add(Record{})
	}
	return err
}

func (m *memory) Commit(_ context.Context, b Batch) (int64, []tocsin.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.fail) > 0 {
		err := m.fail[0]
		m.fail = m.fail[1:]
		if err != nil {
			m.log = append(m.log, "failed")
			return 0, nil, err
		}
	}
	var since []tocsin.Change
	for _, c := range m.rows.commands {
		if c.Seq > b.Seq {
			since = append(since, c)
		}
	}
	if len(since) > 0 {
		m.log = append(m.log, "behind")
		return 0, since, nil
	}
	if b.Flush {
		m.log = append(m.log, fmt.Sprintf("flushed %d to %d", len(b.Touches), b.Next))
		for k, ts := range b.Touches {
			m.rows.touches[k] = ts
		}
		m.rows.touchOff, m.rows.offset, m.rows.seenAt = b.Next, b.Next, b.Writes.SeenAt
	} else {
		m.log = append(m.log, fmt.Sprintf("committed to %d: %s", b.Next, told(b.Effects)))
		m.rows.put(fatal{}, b.Writes, b.Next, nil)
	}
	m.seq++
	return m.seq, nil, nil
}

func (m *memory) Commands(_ context.Context, seq int64) (int64, []tocsin.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var since []tocsin.Change
	for _, c := range m.rows.commands {
		if c.Seq > seq {
			since = append(since, c)
		}
	}
	return m.seq, since, nil
}

// command commits a command as its own transaction does.
func (m *memory) command(kind string, incident int64, by string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.rows.incidents[incident]
	err := Command(&i, kind, by, time.Now())
	if err != nil {
		panic(err)
	}
	m.rows.incidents[incident] = i
	m.seq++
	m.rows.commands = append(m.rows.commands, tocsin.Change{Seq: m.seq, At: time.Now(), Actor: by, Kind: kind, Incident: incident})
}

func (m *memory) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// fatal is for rows outside of a test's goroutine.
type fatal struct{}

func (fatal) Helper()                           {}
func (fatal) Logf(string, ...any)               {}
func (fatal) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// working runs f in a bubble beside a worker over m, and then stops it.
func working(t *testing.T, o WorkerOptions, f func(t *testing.T, m *memory, w *Worker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService(func(r *Rule) { r.AutoResolve = new(time.Hour) }))})
		w := NewWorker(NewDomain(0, 1), 0, m, m, o)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		f(t, m, w)
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

func (m *memory) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, m.said()); diff != "" {
		t.Errorf("asked of the book (-want +got):\n%s", diff)
	}
}

func TestAWorkerCommitsWhatIsDecidedAndNoRepeats(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, w *Worker) {
		a := event(t, time.Now(), "a fires service=db")
		m.add(Record{Events: []tocsin.Event{a}})
		synctest.Wait()
		m.add(Record{Events: []tocsin.Event{a, a}})
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1")
		if events, next := w.Applied(); events != 3 || next != 3 {
			t.Errorf("applied %d events, next offset %d; want 3 and 3", events, next)
		}
		if alerts, incidents := w.Firing(); alerts != 1 || incidents != 1 {
			t.Errorf("%d alerts fire in %d incidents, want 1 in 1", alerts, incidents)
		}
	})
}

// So those who are paged first do not wait for all.
func TestWhatChangesManyIncidentsIsCommittedInSeveralBatches(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, w *Worker) {
		const all = maxChanged + 500
		m.mu.Lock()
		for n := range all {
			m.journal = append(m.journal, Record{Offset: int64(1 + n), At: time.Now(), Events: []tocsin.Event{event(t, time.Now(), fmt.Sprintf("a%d fires service=db%d", n, n))}})
		}
		m.mu.Unlock()
		m.arrived <- struct{}{}
		synctest.Wait()
		var next []string
		for _, said := range m.said() {
			upTo, _, _ := strings.Cut(said, ": ")
			next = append(next, upTo)
		}
		want := []string{"committed to 1", fmt.Sprintf("committed to %d", 1+maxChanged), fmt.Sprintf("committed to %d", 1+all)}
		if diff := cmp.Diff(want, next); diff != "" {
			t.Errorf("asked of the book (-want +got):\n%s", diff)
		}
		if alerts, incidents := w.Firing(); alerts != all || incidents != all {
			t.Errorf("%d alerts fire in %d incidents, want %d in as many", alerts, incidents, all)
		}
	})
}

func TestAWorkerWritesTouchesEveryQuarterOfAMinuteAndAtItsEnd(t *testing.T) {
	var m *memory
	working(t, WorkerOptions{}, func(t *testing.T, mem *memory, w *Worker) {
		m = mem
		a := event(t, time.Now(), "a fires service=db")
		m.add(Record{Events: []tocsin.Event{a}})
		synctest.Wait()
		time.Sleep(10 * time.Second)
		m.add(Record{Events: []tocsin.Event{a}})
		time.Sleep(4 * time.Second)
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1")
		time.Sleep(2 * time.Second)
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "flushed 1 to 3")
		time.Sleep(time.Minute)
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "flushed 1 to 3")
		m.add(Record{Events: []tocsin.Event{a}})
		synctest.Wait()
	})
	want := []string{"committed to 1: ", "committed to 2: opened i1, page-now i1", "flushed 1 to 3", "flushed 1 to 4"}
	if diff := cmp.Diff(want, m.said()); diff != "" {
		t.Errorf("asked of the book (-want +got):\n%s", diff)
	}
}

func TestAWorkerWritesTouchesAfterManyEvents(t *testing.T) {
	working(t, WorkerOptions{FlushEvents: 3}, func(t *testing.T, m *memory, _ *Worker) {
		a := event(t, time.Now(), "a fires service=db")
		m.add(Record{Events: []tocsin.Event{a}})
		synctest.Wait()
		m.add(Record{Events: []tocsin.Event{a, a}})
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "flushed 1 to 3")
	})
}

func TestAWorkerThatIsBehindGoesBackAndAbsorbsCommandsFirst(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, w *Worker) {
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db warning")}})
		synctest.Wait()
		time.Sleep(time.Second)
		m.command(tocsin.DoAck, 1, "one")
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "b fires service=db critical")}})
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "behind", "committed to 3: joined i1, urgency-rose i1, page-now i1")
		m.mu.Lock()
		i := m.rows.incidents[1]
		m.mu.Unlock()
		if i.State != tocsin.Triggered || i.Alerts != 2 {
			t.Errorf("the incident is %s with %d alerts, want triggered with 2", i.State, i.Alerts)
		}
		m.command(tocsin.DoAck, 1, "two")
		w.Nudge()
		w.Nudge()
		synctest.Wait()
		var state tocsin.IncidentState
		err := w.Peek(t.Context(), func(d *Domain) { state = d.incidents[1].State })
		if err != nil || state != tocsin.Acked {
			t.Errorf("after a nudge memory says %s, %v; want acknowledged", state, err)
		}
	})
}

func TestAWorkerTriesAgainWhileTheDatabaseIsDown(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, _ *Worker) {
		down := errors.New("down")
		m.fail = []error{down, down, down}
		before := time.Now()
		m.add(Record{Events: []tocsin.Event{event(t, before, "a fires service=db")}})
		time.Sleep(time.Second)
		m.want(t, "committed to 1: ", "failed", "failed", "failed", "committed to 2: opened i1, page-now i1")
	})
}

func TestAWorkerEndsWhenItsPartitionIsAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = []error{fmt.Errorf("fenced: %w", ErrLost)}
		m.add(Record{Rules: compiled(t, byService())})
		d := NewDomain(0, 1)
		before := dump(d, true)
		err := NewWorker(d, 0, m, m, WorkerOptions{}).Run(t.Context())
		if !errors.Is(err, ErrLost) {
			t.Errorf("the worker ended with %v, want %v", err, ErrLost)
		}
		if after := dump(d, true); after != before {
			t.Errorf("the batch was not rolled back:\n%s", cmp.Diff(before, after))
		}
	})
}

func TestAWorkerStoppedInTheMiddleOfACommitWritesNoOlderOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add(Record{Rules: compiled(t, byService())})
		w := NewWorker(NewDomain(0, 1), 0, m, m, WorkerOptions{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		a := event(t, time.Now(), "a fires service=db")
		m.add(Record{Events: []tocsin.Event{a}})
		synctest.Wait()
		m.add(Record{Events: []tocsin.Event{a}})
		synctest.Wait()
		m.mu.Lock()
		m.fail = []error{errors.New("the answer was lost")}
		m.mu.Unlock()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "b fires service=db")}})
		synctest.Wait()
		stop()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "failed")
	})
}

func (m *memory) wantTicks(t *testing.T, want int, when string) {
	t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ticks != want {
		t.Errorf("%d ticks %s, want %d", m.ticks, when, want)
	}
}

func TestAWorkerTicksOnceForWhatIsDueWhenItIsIdle(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, _ *Worker) {
		now := time.Now()
		m.add(Record{Events: []tocsin.Event{event(t, now, "a fires service=db until=1m"), event(t, now, "b fires service=web until=1m")}})
		time.Sleep(59 * time.Second)
		m.wantTicks(t, 0, "before anything is due")
		time.Sleep(2 * time.Second)
		m.wantTicks(t, 1, "for two alerts that end at once")
		time.Sleep(time.Hour)
		m.wantTicks(t, 3, "for the ends, the lasting recoveries, and what is forgotten")
	})
}

// What is due while the journal takes nothing is due at the latest a second after it takes something again: and no sooner, for a state
// that no record explains could not be found again.
func TestAWorkerWhoseTickIsRefusedWaitsASecondAndSaysSoOnce(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey || a.Key == slog.MessageKey || a.Key == "stood" {
			return a
		}
		return slog.Attr{}
	}}))
	defer func() {
		want := "level=WARN msg=\"time stands still: the journal takes no tick, so waits do not end until it does\"\n" +
			"level=INFO msg=\"time goes on: the journal takes ticks again\" stood=4s\n"
		if diff := cmp.Diff(want, said.String()); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
	}()
	working(t, WorkerOptions{Log: log}, func(t *testing.T, m *memory, _ *Worker) {
		m.mu.Lock()
		m.tickFail = errors.New("the disk is full")
		m.mu.Unlock()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db until=1m")}})
		time.Sleep(time.Minute + 3*time.Second + time.Millisecond)
		synctest.Wait()
		m.mu.Lock()
		ticks := m.ticks
		m.tickFail = nil
		m.mu.Unlock()
		if ticks != 4 {
			t.Errorf("%d ticks were tried in three seconds, want 4", ticks)
		}
		time.Sleep(time.Second)
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "committed to 3: recovered i1")
	})
}

func TestAWorkerWritesTouchesBeforeTheRulesChange(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, _ *Worker) {
		a := event(t, time.Now(), "a fires service=db")
		m.add(Record{Events: []tocsin.Event{a}})
		m.add(Record{Events: []tocsin.Event{a}})
		m.add(Record{Rules: compiled(t, byService())})
		m.want(t, "committed to 1: ", "committed to 3: opened i1, page-now i1", "flushed 1 to 3", "committed to 4: ")
	})
}

func TestAWorkerPassesOverRecordsThatItsStateHas(t *testing.T) {
	working(t, WorkerOptions{}, func(t *testing.T, m *memory, w *Worker) {
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db")}})
		synctest.Wait()
		m.mu.Lock()
		m.read = 0 // an offset commit was lost
		m.mu.Unlock()
		m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "b fires service=db")}})
		m.want(t, "committed to 1: ", "committed to 2: opened i1, page-now i1", "committed to 3: joined i1")
	})
}

func TestAWorkerStartedAnewGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		rules := compiled(t, byService())
		m.add(Record{Rules: rules})
		d := NewDomain(0, 1)
		run := func(d *Domain, f func()) {
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			w := NewWorker(d, m.seq, m, m, WorkerOptions{})
			go func() { done <- w.Run(ctx) }()
			synctest.Wait()
			f()
			synctest.Wait()
			stop()
			<-done
		}
		run(d, func() {
			for range 3 {
				m.add(Record{Events: []tocsin.Event{event(t, time.Now(), "a fires service=db until=4m")}})
				time.Sleep(time.Minute)
			}
		})
		m.rows.rules = rules
		again := (&world{t: t, rows: m.rows, journal: m.journal}).restore()
		if diff := cmp.Diff(dump(d, false), dump(again, false)); diff != "" {
			t.Fatalf("after the start (-want +got):\n%s", diff)
		}
		run(again, func() { time.Sleep(10 * time.Minute) })
		said := m.said()
		if last := said[len(said)-1]; last != "committed to 6: recovery-lasted i1" {
			t.Errorf("asked of the book: %q", said)
		}
	})
}
