package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/internal/journal"
)

// Options say what an implementation can do.
type Options struct {
	// Reopen closes j and opens what it has kept; nil where a test cannot do that.
	Reopen func(t *testing.T, j journal.Journal) journal.Journal
	// Resolution is what times are cut to; 0 means a microsecond.
	Resolution time.Duration
	// Patience is how long something may take that ought to be quick; 0 means 10 s.
	Patience time.Duration
	// Partitions is how many the journals have that open makes; 0 means 1.
	Partitions int
}

// suite is one run of the tests.
type suite struct {
	Options
	open func(t *testing.T) journal.Journal
}

// Run tests what every journal must do. open makes an empty one with at least one partition; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) journal.Journal, o Options) {
	if o.Resolution == 0 {
		o.Resolution = time.Microsecond
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	o.Partitions = max(o.Partitions, 1)
	s := suite{Options: o, open: open}
	for _, tc := range s.cases() {
		t.Run(tc.name, func(t *testing.T) {
			j := open(t)
			t.Cleanup(func() { _ = j.Close() })
			tc.test(t, j)
		})
	}
}

// A testCase is one thing that a journal must do.
type testCase struct {
	name string
	test func(t *testing.T, j journal.Journal)
}

// cases are those that the implementation can be asked for.
func (s suite) cases() []testCase {
	all := []testCase{
		{"an empty journal has nothing to read and begins where it ends", s.empty},
		{"what is appended is read in order, whole, with contiguous offsets", s.order},
		{"a reader begins at any offset that there is", s.anyOffset},
		{"a reader waits at the tail and wakes for the next entry", s.tail},
		{"many readers each read everything", s.manyReaders},
		{"next returns at most max bytes, but always an entry", s.limit},
		{"concurrent appenders keep the order within each request", s.concurrent},
		{"entries may be kept until the next call", s.kept},
		{"a payload over the limit is refused, one at the limit is not", s.tooBig},
		{"an append whose context has ended is not begun", s.contextEnded},
		{"a reader stops waiting when its context ends", s.contextEndsWait},
		{"a reader that is closed stops waiting", s.closeEndsWait},
		{"offsets beyond the end are refused", s.beyond},
		{"a partition that is not there is refused", s.noPartition},
		{"an offset is found by the time of its entry", s.offsetAt},
		{"closing ends readers and appenders", s.closing},
	}
	if s.Partitions > 1 {
		all = append(all, testCase{"partitions do not see each other", s.partitions})
	}
	if s.Reopen != nil {
		all = append(all, testCase{"what was acknowledged is there after reopening, and offsets go on", s.reopened})
	}
	return all
}

// Seed returns a source of random numbers whose seed is printed when t fails, and taken from TOCSIN_SEED where that is set.
func Seed(t testing.TB) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("TOCSIN_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Payload returns the payload of entry i: of any length up to most, telling i, and checkable.
func Payload(i, most int) []byte {
	rng := rand.New(rand.NewPCG(uint64(i), 1))
	head := fmt.Appendf(nil, "entry %d ", i)
	b := make([]byte, max(len(head), rng.IntN(most+1)))
	for k := range b {
		b[k] = byte(rng.Uint32())
	}
	copy(b, head)
	return b
}

func (s suite) ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), s.Patience)
	t.Cleanup(cancel)
	return ctx
}

func (s suite) at(i int) time.Time {
	return time.Date(2026, 3, 23, 9, 0, i, 0, time.UTC)
}

// fill appends n entries, one a call, and returns them with their offsets.
func (s suite) fill(t *testing.T, j journal.Journal, partition, n int) []journal.Entry {
	t.Helper()
	var all []journal.Entry
	for i := range n {
		e := journal.Entry{At: s.at(i), Payload: Payload(i, 3000)}
		last, err := j.Append(s.ctx(t), partition, e)
		if err != nil {
			t.Fatal(err)
		}
		e.Offset = last
		all = append(all, e)
	}
	return all
}

// take reads n entries and returns copies of them.
func (s suite) take(t *testing.T, r journal.Reader, n int) []journal.Entry {
	t.Helper()
	var all []journal.Entry
	for len(all) < n {
		entries, err := r.Next(s.ctx(t), 64<<10)
		if err != nil {
			t.Fatalf("after %d of %d entries: %v", len(all), n, err)
		}
		if len(entries) == 0 {
			t.Fatal("Next returned neither an entry nor an error")
		}
		for _, e := range entries {
			e.Payload = bytes.Clone(e.Payload)
			all = append(all, e)
		}
	}
	return all
}

func (s suite) reader(t *testing.T, j journal.Journal, partition int, from int64) journal.Reader {
	t.Helper()
	r, err := j.Read(partition, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func (s suite) same(t *testing.T, got, want []journal.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("read %d entries, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Offset != want[i].Offset || !got[i].At.Equal(want[i].At.Truncate(s.Resolution)) || !bytes.Equal(got[i].Payload, want[i].Payload) {
			t.Fatalf("entry %d: got offset %d, %v, %.20q..., want offset %d, %v, %.20q...", i,
				got[i].Offset, got[i].At, got[i].Payload, want[i].Offset, want[i].At, want[i].Payload)
		}
	}
}

func (s suite) bounds(t *testing.T, j journal.Journal, partition int) (first, next int64) {
	t.Helper()
	first, next, err := j.Bounds(partition)
	if err != nil {
		t.Fatal(err)
	}
	return first, next
}

func (s suite) empty(t *testing.T, j journal.Journal) {
	first, next := s.bounds(t, j, 0)
	if first != next {
		t.Errorf("bounds %d, %d of an empty journal", first, next)
	}
	at, err := j.OffsetAt(0, s.at(0))
	if err != nil || at != next {
		t.Errorf("OffsetAt = %d, %v, want %d", at, err, next)
	}
}

func (s suite) order(t *testing.T, j journal.Journal) {
	first, _ := s.bounds(t, j, 0)
	want := s.fill(t, j, 0, 50)
	more := []journal.Entry{{At: s.at(60), Payload: []byte("a")}, {At: s.at(60), Payload: nil}, {At: s.at(61), Payload: []byte("c")}}
	last, err := j.Append(s.ctx(t), 0, more...)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, more...)
	for i := range want {
		if i < 50 && want[i].Offset != first+int64(i) {
			t.Fatalf("entry %d has offset %d, want %d", i, want[i].Offset, first+int64(i))
		}
		want[i].Offset = first + int64(i)
	}
	if last != first+52 {
		t.Errorf("the last of the request has offset %d, want %d", last, first+52)
	}
	if f, n := s.bounds(t, j, 0); f != first || n != last+1 {
		t.Errorf("bounds %d, %d, want %d, %d", f, n, first, last+1)
	}
	s.same(t, s.take(t, s.reader(t, j, 0, first), len(want)), want)
}

func (s suite) anyOffset(t *testing.T, j journal.Journal) {
	want := s.fill(t, j, 0, 40)
	for i := range want {
		s.same(t, s.take(t, s.reader(t, j, 0, want[i].Offset), len(want)-i), want[i:])
	}
}

func (s suite) tail(t *testing.T, j journal.Journal) {
	_, next := s.bounds(t, j, 0)
	r := s.reader(t, j, 0, next)
	for i := range 20 {
		got := make(chan []journal.Entry, 1)
		go func() {
			entries, _ := r.Next(s.ctx(t), 1<<20)
			got <- entries
		}()
		e := journal.Entry{At: s.at(i), Payload: Payload(i, 100)}
		last, err := j.Append(s.ctx(t), 0, e)
		if err != nil {
			t.Fatal(err)
		}
		e.Offset = last
		s.same(t, <-got, []journal.Entry{e})
	}
}

func (s suite) manyReaders(t *testing.T, j journal.Journal) {
	first, _ := s.bounds(t, j, 0)
	var wg sync.WaitGroup
	got := make([][]journal.Entry, 5)
	for i := range got {
		r := s.reader(t, j, 0, first)
		wg.Go(func() {
			for len(got[i]) < 100 {
				entries, err := r.Next(s.ctx(t), 5000)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range entries {
					e.Payload = bytes.Clone(e.Payload)
					got[i] = append(got[i], e)
				}
			}
		})
	}
	want := s.fill(t, j, 0, 100)
	wg.Wait()
	for i := range got {
		s.same(t, got[i], want)
	}
}

func (s suite) limit(t *testing.T, j journal.Journal) {
	first, _ := s.bounds(t, j, 0)
	for range 20 {
		_, err := j.Append(s.ctx(t), 0, journal.Entry{At: s.at(0), Payload: make([]byte, 1000)})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := s.reader(t, j, 0, first)
	for _, limit := range []int{0, 1, 1000, 2999} {
		entries, err := r.Next(s.ctx(t), limit)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(entries); n < 1 || n > max(1, limit/1000) {
			t.Errorf("%d entries of 1000 bytes with a limit of %d", n, limit)
		}
	}
}

func (s suite) concurrent(t *testing.T, j journal.Journal) {
	const appenders, requests, parts = 8, 25, 3
	first, _ := s.bounds(t, j, 0)
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			for q := range requests {
				var entries []journal.Entry
				for p := range parts {
					entries = append(entries, journal.Entry{At: s.at(q), Payload: fmt.Appendf(nil, "%d %d %d", a, q, p)})
				}
				_, err := j.Append(s.ctx(t), 0, entries...)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := s.take(t, s.reader(t, j, 0, first), appenders*requests*parts)
	seen := map[int]int{}
	for i, e := range got {
		if e.Offset != first+int64(i) {
			t.Fatalf("offset %d at place %d", e.Offset, i)
		}
		var a, q, p int
		_, err := fmt.Sscanf(string(e.Payload), "%d %d %d", &a, &q, &p)
		if err != nil {
			t.Fatal(err)
		}
		if seen[a] != q*parts+p {
			t.Fatalf("appender %d: part %d of request %d came where %d was due", a, p, q, seen[a])
		}
		seen[a]++
	}
}

func (s suite) kept(t *testing.T, j journal.Journal) {
	first, _ := s.bounds(t, j, 0)
	r := s.reader(t, j, 0, first)
	for i := range 30 {
		e := journal.Entry{At: s.at(i), Payload: Payload(i, 20_000)}
		last, err := j.Append(s.ctx(t), 0, e)
		if err != nil {
			t.Fatal(err)
		}
		clearLater := e.Payload
		e.Offset, e.Payload = last, bytes.Clone(e.Payload)
		clear(clearLater) // the payload is the caller's again once Append has returned
		got, err := r.Next(s.ctx(t), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 10 { // that must not be written over what got has
			_, err = j.Append(s.ctx(t), 0, journal.Entry{At: s.at(i), Payload: Payload(k, 20_000)})
			if err != nil {
				t.Fatal(err)
			}
		}
		s.same(t, got, []journal.Entry{e})
		s.take(t, r, 10)
	}
}

func (s suite) tooBig(t *testing.T, j journal.Journal) {
	_, next := s.bounds(t, j, 0)
	_, err := j.Append(s.ctx(t), 0, journal.Entry{At: s.at(0), Payload: make([]byte, journal.MaxPayload+1)})
	if !errors.Is(err, journal.ErrTooBig) {
		t.Errorf("err = %v, want ErrTooBig", err)
	}
	e := journal.Entry{At: s.at(0), Payload: bytes.Repeat([]byte{7}, journal.MaxPayload)}
	e.Offset, err = j.Append(s.ctx(t), 0, e)
	if err != nil {
		t.Fatal(err)
	}
	s.same(t, s.take(t, s.reader(t, j, 0, next), 1), []journal.Entry{e})
}

func (s suite) contextEnded(t *testing.T, j journal.Journal) {
	_, next := s.bounds(t, j, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := j.Append(ctx, 0, journal.Entry{At: s.at(0), Payload: []byte("late")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	if _, after := s.bounds(t, j, 0); after != next {
		t.Errorf("the journal went on from %d to %d", next, after)
	}
}

func (s suite) contextEndsWait(t *testing.T, j journal.Journal) {
	_, next := s.bounds(t, j, 0)
	r := s.reader(t, j, 0, next)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx, 100)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	want := s.fill(t, j, 0, 1)
	s.same(t, s.take(t, r, 1), want)
}

func (s suite) closeEndsWait(t *testing.T, j journal.Journal) {
	_, next := s.bounds(t, j, 0)
	r := s.reader(t, j, 0, next)
	done := make(chan error, 1)
	go func() {
		_, err := r.Next(s.ctx(t), 100)
		done <- err
	}()
	_ = r.Close()
	if err := <-done; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("err = %v, want ErrClosed", err)
	}
}

func (s suite) beyond(t *testing.T, j journal.Journal) {
	s.fill(t, j, 0, 3)
	_, next := s.bounds(t, j, 0)
	r, err := j.Read(0, next+1)
	if err == nil {
		_ = r.Close()
		t.Errorf("a reader at %d of a journal that ends at %d", next+1, next)
	}
	first, _ := s.bounds(t, j, 0)
	if first > 0 {
		_, err = j.Read(0, first-1)
		if _, ok := errors.AsType[*journal.GapError](err); !ok {
			t.Errorf("err = %v, want a GapError", err)
		}
	}
}

func (s suite) noPartition(t *testing.T, j journal.Journal) {
	if got := j.Partitions(); got != s.Partitions {
		t.Errorf("it has %d partitions, want %d, as the test's Options say", got, s.Partitions)
	}
	for _, n := range []int{-1, j.Partitions()} {
		_, err := j.Append(s.ctx(t), n, journal.Entry{At: s.at(0), Payload: []byte("a")})
		if err == nil {
			t.Errorf("Append to partition %d of %d succeeded", n, j.Partitions())
		}
		_, err = j.Read(n, 0)
		if err == nil {
			t.Errorf("Read of partition %d succeeded", n)
		}
		_, _, err = j.Bounds(n)
		if err == nil {
			t.Errorf("Bounds of partition %d succeeded", n)
		}
	}
}

func (s suite) offsetAt(t *testing.T, j journal.Journal) {
	entries := s.fill(t, j, 0, 30) // a second apart
	_, next := s.bounds(t, j, 0)
	for i, e := range entries {
		for _, tc := range []struct {
			at   time.Time
			want int64
		}{{e.At, e.Offset}, {e.At.Add(-time.Millisecond), e.Offset}, {e.At.Add(time.Millisecond), e.Offset + 1}} {
			got, err := j.OffsetAt(0, tc.at)
			if err != nil || got != tc.want {
				t.Fatalf("OffsetAt(%v) = %d, %v, want %d (entry %d)", tc.at, got, err, tc.want, i)
			}
		}
	}
	got, err := j.OffsetAt(0, s.at(1000))
	if err != nil || got != next {
		t.Errorf("OffsetAt the future = %d, %v, want %d", got, err, next)
	}
}

func (s suite) partitions(t *testing.T, j journal.Journal) {
	first, _ := s.bounds(t, j, 1)
	s.fill(t, j, 0, 5)
	if f, n := s.bounds(t, j, 1); f != first || n != first {
		t.Errorf("bounds of the other partition %d, %d, want %d", f, n, first)
	}
	want := s.fill(t, j, 1, 7)
	s.same(t, s.take(t, s.reader(t, j, 1, first), 7), want)
}

func (s suite) closing(t *testing.T, j journal.Journal) {
	_, next := s.bounds(t, j, 0)
	r := s.reader(t, j, 0, next)
	done := make(chan error, 1)
	go func() {
		_, err := r.Next(s.ctx(t), 100)
		done <- err
	}()
	err := j.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Next: err = %v, want ErrClosed", err)
	}
	_, err = j.Append(s.ctx(t), 0, journal.Entry{At: s.at(0), Payload: []byte("late")})
	if !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Append: err = %v, want ErrClosed", err)
	}
}

func (s suite) reopened(t *testing.T, j journal.Journal) {
	first, _ := s.bounds(t, j, 0)
	var want []journal.Entry
	for round := range 4 {
		for i := range 20 {
			e := journal.Entry{At: s.at(round*100 + i), Payload: []byte(strings.Repeat(fmt.Sprint(round, i), 200))}
			last, err := j.Append(s.ctx(t), 0, e)
			if err != nil {
				t.Fatal(err)
			}
			e.Offset = last
			want = append(want, e)
		}
		j = s.Reopen(t, j)
		t.Cleanup(func() { _ = j.Close() })
		if f, n := s.bounds(t, j, 0); f != first || n != first+int64(len(want)) {
			t.Fatalf("bounds %d, %d after reopening, want %d, %d", f, n, first, first+int64(len(want)))
		}
		s.same(t, s.take(t, s.reader(t, j, 0, first), len(want)), want)
	}
}
