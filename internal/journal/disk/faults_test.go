package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/journal/journaltest"
)

// times is how often a fault is tried: a tenth of the catalogue's count, all of it with TOCSIN_FULL=1.
func times(full int) int {
	if os.Getenv("TOCSIN_FULL") != "" {
		return full
	}
	return full / 10
}

// tiny makes everything happen often: rolls, retention, commits of few entries.
func tiny(fs disk.FS) disk.Options {
	return disk.Options{FS: fs, SegmentBytes: 6000, RecentBytes: 3000, CommitBytes: 3000}
}

// A ledger knows what was handed to a journal, and what of it was acknowledged.
type ledger struct {
	mu    sync.Mutex
	given map[string]bool  // payloads
	acked map[int64]string // by offset
}

func newLedger() *ledger { return &ledger{given: map[string]bool{}, acked: map[int64]string{}} }

// acks returns what is acknowledged now.
func (l *ledger) acks() map[int64]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(map[int64]string, len(l.acked))
	for k, v := range l.acked {
		c[k] = v
	}
	return c
}

// append hands entries to j and books what becomes of them.
func (l *ledger) append(j journal.Journal, payloads ...string) error {
	entries := make([]journal.Entry, len(payloads))
	l.mu.Lock()
	for i, p := range payloads {
		entries[i] = journal.Entry{At: time.UnixMicro(int64(len(l.given))), Payload: []byte(p)}
		l.given[p] = true
	}
	l.mu.Unlock()
	last, err := j.Append(context.Background(), 0, entries...)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range payloads {
		l.acked[last-int64(len(payloads)-1-i)] = p
	}
	return nil
}

// check says what is wrong with what a journal has: an acknowledged entry that is gone or another, one that nobody gave, a gap
// over something acknowledged.
func (l *ledger) check(acked map[int64]string, h history, first int64) error {
	got := map[int64]string{}
	at := first
	for _, e := range h.entries {
		if e.Offset < at {
			return fmt.Errorf("offset %d came after %d", e.Offset, at-1)
		}
		at = e.Offset + 1
		got[e.Offset] = string(e.Payload)
		l.mu.Lock()
		given := l.given[string(e.Payload)]
		l.mu.Unlock()
		if !given {
			return fmt.Errorf("offset %d has what nobody appended: %.40q", e.Offset, e.Payload)
		}
	}
	for offset, want := range acked {
		if offset >= first && got[offset] != want {
			return fmt.Errorf("offset %d was acknowledged with %.40q, and has %.40q", offset, want, got[offset])
		}
	}
	return nil
}

// workload appends n requests from three appenders while a floor follows, and returns when all are answered.
func workload(j *disk.Journal, l *ledger, rng *rand.Rand, n int) {
	var wg sync.WaitGroup
	for a := range 3 {
		seed := rng.Uint64()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for i := range n / 3 {
				var payloads []string
				for k := range 1 + rng.IntN(3) {
					payloads = append(payloads, fmt.Sprintf("%d %d %d %x", a, i, k, bytes.Repeat([]byte{byte(i)}, rng.IntN(600))))
				}
				if l.append(j, payloads...) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// crashes runs workloads on a file double and opens what a power cut at random moments leaves. The result is the first that is wrong.
func crashes(t *testing.T, n int, prepare func(*journaltest.Files)) error {
	rng := journaltest.Seed(t)
	var failure error
	for done := 0; done < n && failure == nil; {
		files, l := journaltest.NewFiles(), newLedger()
		prepare(files)
		type crash struct {
			files *journaltest.Files
			acked map[int64]string
			what  string
		}
		var mu sync.Mutex
		var left []crash
		picks := rand.New(rand.NewPCG(rng.Uint64(), 0))
		files.Before(func(op int, what string) {
			mu.Lock()
			defer mu.Unlock()
			if len(left) < 60 && picks.IntN(8) == 0 {
				acked := l.acks() // before the clone: what is acknowledged now must be in it
				left = append(left, crash{files.Crash(picks), acked, fmt.Sprintf("operation %d, %s", op, what)})
			}
		})
		o := tiny(files)
		o.MaxBytes = []int64{0, 20_000}[rng.IntN(2)]
		j, err := disk.Open("data", o)
		if err != nil {
			return err
		}
		_ = j.SetFloor(0, 100) // everything acknowledged below may go, where MaxBytes says so
		workload(j, l, rng, 120)
		files.Before(nil)
		_ = j.Close()
		for _, c := range left {
			done++
			err := afterCrash(l, c.acked, c.files, o, rng)
			if err != nil {
				failure = fmt.Errorf("crash %d at %s: %w", done, c.what, err)
				break
			}
		}
	}
	return failure
}

// afterCrash opens what a crash left, sometimes crashing again on the way, and checks it, appends to it, and checks again.
func afterCrash(l *ledger, acked map[int64]string, files *journaltest.Files, o disk.Options, rng *rand.Rand) error {
	if rng.IntN(4) == 0 {
		again, at := files, 1+rng.IntN(10)
		picks := rand.New(rand.NewPCG(rng.Uint64(), 0))
		files.Before(func(op int, _ string) {
			if op == at {
				again = files.Crash(picks)
			}
		})
		o.FS = files
		j, err := disk.Open("data", o)
		if err != nil {
			return err
		}
		files.Before(nil)
		_ = j.Close()
		files = again
	}
	o.FS = files
	for round := range 2 {
		j, err := disk.Open("data", o)
		if err != nil {
			return fmt.Errorf("open, round %d: %w", round, err)
		}
		first, next, err := j.Bounds(0)
		if err != nil {
			return err
		}
		h, err := readTo(j, first)
		if err == nil {
			err = l.check(acked, h, first)
		}
		if err == nil && first > 100 {
			err = fmt.Errorf("it begins at %d, above the floor", first)
		}
		if err == nil && (len(h.gaps) > 0 || int64(len(h.entries)) != next-first) {
			err = fmt.Errorf("%d entries from %d to %d, gaps %v", len(h.entries), first, next, h.gaps)
		}
		if err != nil {
			return errors.Join(err, j.Close())
		}
		err = l.append(j, fmt.Sprintf("after the crash %d %d", round, next))
		if err != nil {
			return errors.Join(err, j.Close())
		}
		acked[next] = fmt.Sprintf("after the crash %d %d", round, next)
		err = j.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// F1, F2
func TestNothingAcknowledgedIsLostInAPowerCut(t *testing.T) {
	err := crashes(t, times(10_000), func(*journaltest.Files) {})
	if err != nil {
		t.Error(err)
	}
}

// The bite: the same test must see a journal that does not sync.
func TestWithoutFsyncThePowerCutTestGoesRed(t *testing.T) {
	err := crashes(t, 1000, func(f *journaltest.Files) { f.Lie(true) })
	if err == nil {
		t.Error("1,000 crashes without fsync lost nothing: the test sees nothing")
	}
	t.Log(err)
}

// F2
func TestATailCutAtAnyByteOpensAtTheLastGoodRecord(t *testing.T) {
	rng := journaltest.Seed(t)
	dir := t.TempDir()
	j := mustOpen(t, dir, disk.Options{})
	l := newLedger()
	var ends []int64 // file sizes after each commit
	seg := filepath.Join(dir, "partition-0000", "00000000000000000000.log")
	for i := range 40 {
		if err := l.append(j, fmt.Sprintf("%d %x", i, bytes.Repeat([]byte{byte(i)}, rng.IntN(200)))); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, 128+j.Stats().Bytes)
	}
	whole, err := os.ReadFile(seg) // before Close tells the manifest the end: as after a crash
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "partition-0000", "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range times(10_000) {
		cut := 128 + rng.Int64N(ends[len(ends)-1]-127)
		clone := filepath.Join(t.TempDir(), "data")
		part := filepath.Join(clone, "partition-0000")
		tail := slices.Clone(whole[:cut])
		if n%2 == 0 { // garbage or zeros behind the cut, as a file system may leave
			junk := make([]byte, rng.IntN(300))
			if n%4 == 0 {
				for i := range junk {
					junk[i] = byte(rng.Uint32())
				}
			}
			tail = append(tail, junk...)
		}
		files := journaltest.NewFiles()
		_ = files.MkdirAll(part)
		files.Put(filepath.Join(part, "MANIFEST"), manifest)
		files.Put(filepath.Join(part, "00000000000000000000.log"), tail)
		j, err := disk.Open(clone, disk.Options{FS: files})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want, _ := slices.BinarySearch(ends, cut+1) // commits that end at or before cut
		h := readAll(t, j, 0)
		if len(h.entries) != want || len(h.gaps) > 0 {
			t.Fatalf("cut at %d: %d entries, %v, want %d entries", cut, len(h.entries), h.gaps, want)
		}
		if err := l.check(nil, h, 0); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		torn := cut > 128 && (want == 0 || ends[want-1] != cut)
		if torn && j.Stats().TornTails != 1 {
			t.Fatalf("cut at %d: not counted as torn", cut)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// F3
func TestAfterAFailedFsyncNothingIsAcknowledgedUntilItIsReopened(t *testing.T) {
	rng := journaltest.Seed(t)
	for range times(200) {
		synctest.Test(t, func(t *testing.T) {
			files, l := journaltest.NewFiles(), newLedger()
			j := mustOpen(t, "data", tiny(files))
			workload(j, l, rng, 9*(1+rng.IntN(8)))
			_, before, _ := j.Bounds(0)
			files.FailSyncs(1)
			start := time.Now()
			err := l.append(j, "fails")
			if !errors.Is(err, journal.ErrSick) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("err = %v, want ErrSick and EIO", err)
			}
			if err := l.append(j, "comes later"); !errors.Is(err, journal.ErrSick) {
				t.Fatalf("err = %v, want ErrSick", err)
			}
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("senders were told after %v", took)
			}
			if err := j.Health(); !errors.Is(err, journal.ErrSick) {
				t.Errorf("health = %v, want ErrSick", err)
			}
			time.Sleep(2 * time.Second)
			if err := j.Health(); err != nil {
				t.Fatalf("not healed: %v", err)
			}
			if err := l.append(j, "works again"); err != nil {
				t.Fatal(err)
			}
			h := readAll(t, j, 0)
			if err := l.check(l.acks(), h, 0); err != nil {
				t.Fatal(err)
			}
			if len(h.gaps) != 1 || h.gaps[0].From != before || h.gaps[0].To != before+1 || !h.gaps[0].Skipped {
				t.Errorf("gaps %v, want the one offset %d, skipped", h.gaps, before)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			// Whatever the disk kept of the failed one, power cut or not.
			for _, left := range []*journaltest.Files{files.Kill(), files.Crash(rng)} {
				again := mustOpen(t, "data", tiny(left))
				h := readAll(t, again, 0)
				if err := l.check(l.acks(), h, 0); err != nil {
					t.Fatalf("reopened: %v", err)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// F3, where the failure comes with a roll, the manifest, or anything else.
func TestWhateverSyncFailsNothingAcknowledgedIsLost(t *testing.T) {
	rng := journaltest.Seed(t)
	for range times(1000) {
		synctest.Test(t, func(t *testing.T) {
			files, l := journaltest.NewFiles(), newLedger()
			j := mustOpen(t, "data", tiny(files))
			at := rng.IntN(150)
			var count atomic.Int64
			files.Before(func(int, string) {
				if int(count.Add(1)) == at {
					files.FailSyncs(1 + at%3)
				}
			})
			for range 4 {
				workload(j, l, rng, 30)
				time.Sleep(3 * time.Second)
			}
			if err := j.Health(); err != nil {
				t.Fatal(err)
			}
			files.Before(nil)
			crashed := files.Crash(rng)
			if err := l.check(l.acks(), readAll(t, j, 0), 0); err != nil {
				t.Fatal(err)
			}
			again := mustOpen(t, "data", tiny(crashed))
			if err := l.check(l.acks(), readAll(t, again, 0), 0); err != nil {
				t.Fatalf("after a crash: %v", err)
			}
			_ = again.Close()
			_ = j.Close()
		})
	}
}

// F4
func TestADiskThatLiesIsFoundAndItsOffsetsAreNotUsedAgain(t *testing.T) {
	rng := journaltest.Seed(t)
	behind, refused := 0, 0
	for range times(500) {
		files, l := journaltest.NewFiles(), newLedger()
		j := mustOpen(t, "data", tiny(files))
		workload(j, l, rng, 30)
		files.Lie(true)
		workload(j, l, rng, 3+rng.IntN(60))
		_, state, _ := j.Bounds(0) // the state has read all of it
		left := files.Crash(rng)
		_ = j.Close()
		again, err := disk.Open("data", tiny(left))
		if err != nil { // found already at open, as a file that the manifest names is not there
			if _, ok := errors.AsType[*disk.DamageError](err); !ok {
				t.Fatal(err)
			}
			refused++
			if _, err := disk.Repair("data", tiny(left)); err != nil {
				t.Fatal(err)
			}
			again = mustOpen(t, "data", tiny(left))
		}
		_, next, _ := again.Bounds(0)
		gap, err := again.Expect(0, state)
		if err != nil {
			t.Fatal(err)
		}
		if (gap != nil) != (next < state) || gap != nil && (gap.From != next || gap.To != state) {
			t.Fatalf("the journal ends at %d and the state is at %d, but the gap is %v", next, state, gap)
		}
		if gap != nil {
			behind++
		}
		if err := l.append(again, "new"); err != nil {
			t.Fatal(err)
		}
		for offset, payload := range l.acks() {
			if payload == "new" && offset < state {
				t.Fatalf("offset %d was used again; the state has read up to %d", offset, state)
			}
		}
		if err := l.check(nil, readAll(t, again, 0), 0); err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		third := mustOpen(t, "data", tiny(left))
		if gap, err := third.Expect(0, state); gap != nil || err != nil {
			t.Fatalf("told twice: %v, %v", gap, err)
		}
		_ = third.Close()
	}
	t.Logf("found behind the state %d times, refused at open %d times", behind, refused)
	if behind == 0 {
		t.Error("never found a loss")
	}
}

// F5, F6
func TestAFullOrReadOnlyDiskIsSurvivedWithoutARestart(t *testing.T) {
	rng := journaltest.Seed(t)
	for name, fault := range map[string]struct {
		set, free func(*journaltest.Files)
		cause     error
	}{
		"full": {
			func(f *journaltest.Files) { f.Space(rng.Int64N(1500)) }, func(f *journaltest.Files) { f.Space(-1) }, syscall.ENOSPC,
		},
		"read-only": {
			func(f *journaltest.Files) { f.ReadOnly(true) }, func(f *journaltest.Files) { f.ReadOnly(false) }, syscall.EROFS,
		},
		"failing": {
			func(f *journaltest.Files) { f.FailWrites(syscall.EIO) }, func(f *journaltest.Files) { f.FailWrites(nil) }, syscall.EIO,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range times(200) {
				synctest.Test(t, func(t *testing.T) {
					files, l := journaltest.NewFiles(), newLedger()
					j := mustOpen(t, "data", tiny(files))
					workload(j, l, rng, 30)
					fault.set(files)
					var err error
					for i := 0; err == nil; i++ {
						err = l.append(j, fmt.Sprintf("while %s %d %s", name, i, strings.Repeat("x", rng.IntN(900))))
					}
					if !errors.Is(err, journal.ErrSick) || !errors.Is(err, fault.cause) {
						t.Fatalf("err = %v, want ErrSick and %v", err, fault.cause)
					}
					time.Sleep(time.Minute)
					if err := j.Health(); !errors.Is(err, journal.ErrSick) {
						t.Fatalf("health = %v while the disk is %s", err, name)
					}
					if err := l.check(l.acks(), readAll(t, j, 0), 0); err != nil {
						t.Fatalf("read while %s: %v", name, err)
					}
					fault.free(files)
					time.Sleep(5 * time.Second)
					if err := l.append(j, "after "+name); err != nil {
						t.Fatalf("5 s later: %v", err)
					}
					workload(j, l, rng, 30)
					if err := l.check(l.acks(), readAll(t, j, 0), 0); err != nil {
						t.Fatal(err)
					}
					again := mustOpen(t, "data", tiny(files.Crash(rng)))
					if err := l.check(l.acks(), readAll(t, again, 0), 0); err != nil {
						t.Fatalf("reopened: %v", err)
					}
					_ = again.Close()
					_ = j.Close()
				})
			}
		})
	}
}

// F6
func TestAFolderThatCannotBeWrittenIsRefusedByName(t *testing.T) {
	files := journaltest.NewFiles()
	j := mustOpen(t, "some/data", tiny(files))
	_ = j.Close()
	files.ReadOnly(true)
	_, err := disk.Open("some/data", tiny(files))
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "some/data") {
		t.Errorf("err = %v, want EROFS and the path", err)
	}
	if os.Getuid() == 0 {
		t.Log("root may write everywhere: the real folder is not tried")
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err = disk.Open(filepath.Join(dir, "journal"), disk.Options{})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("err = %v, want a permission error and the path", err)
	}
}

// F7
func TestABitFlipInAnOldSegmentIsFoundAndTheRestIsReadable(t *testing.T) {
	rng := journaltest.Seed(t)
	files, l := journaltest.NewFiles(), newLedger()
	o := tiny(files)
	o.SegmentBytes, o.CommitBytes = 50_000, 20_000
	j := mustOpen(t, "data", o)
	workload(j, l, rng, 600)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, segments := parts(files)
	for n := range times(1000) {
		broken := files.Kill()
		old := segments[rng.IntN(len(segments)-1)]
		size := int64(len(files.Content(old)))
		bit := rng.Int64N(8 * size)
		if n%10 == 0 {
			bit = rng.Int64N(8 * 128) // the header
		}
		broken.Flip(old, bit)
		o.FS = broken
		j, err := disk.Open("data", o)
		if err != nil {
			t.Fatalf("bit %d of %s: %v", bit, old, err)
		}
		h := readAll(t, j, 0)
		if err := l.check(nil, h, 0); err != nil {
			t.Fatalf("bit %d of %s: %v", bit, old, err)
		}
		lost := 0
		for offset, payload := range l.acks() {
			if !slices.ContainsFunc(h.gaps, func(g journal.GapError) bool { return offset >= g.From && offset < g.To }) {
				continue
			}
			lost += len(payload) + 32
		}
		if len(h.entries) != len(l.acks())-int(j.Stats().Lost) || lost > 64<<10 {
			t.Fatalf("bit %d of %s: %d of %d entries, %d bytes lost", bit, old, len(h.entries), len(l.acks()), lost)
		}
		if header := bit < 8*128; j.Stats().DamagedSpots != 1 || header != (len(h.gaps) == 0) {
			t.Fatalf("bit %d of %s: %d spots found, gaps %v", bit, old, j.Stats().DamagedSpots, h.gaps)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// F7, in the segment that is written to, after a stop and after a kill.
func TestABitFlipInTheNewestSegmentLosesOneCommitAtMost(t *testing.T) {
	rng := journaltest.Seed(t)
	for n := range times(1000) {
		files, l := journaltest.NewFiles(), newLedger()
		o := disk.Options{FS: files}
		j := mustOpen(t, "data", o)
		for i := range 30 {
			if err := l.append(j, fmt.Sprintf("%d %s", i, strings.Repeat("y", rng.IntN(500)))); err != nil {
				t.Fatal(err)
			}
		}
		size := 128 + j.Stats().Bytes
		stopped := n%2 == 0
		if stopped {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		broken := files.Kill()
		_, segments := parts(broken)
		broken.Flip(segments[0], 8*128+rng.Int64N(8*(size-128)))
		o.FS = broken
		again := mustOpen(t, "data", o)
		h := readAll(t, again, 0)
		if err := l.check(nil, h, 0); err != nil {
			t.Fatal(err)
		}
		if len(h.entries) != 29 {
			t.Fatalf("%d of 30 entries are left, gaps %v", len(h.entries), h.gaps)
		}
		s := again.Stats()
		if found := s.DamagedSpots == 1 || !stopped && s.TornTails == 1; !found {
			t.Fatalf("not found: %+v", s)
		}
		_, next, _ := again.Bounds(0)
		if stopped && next != 30 {
			t.Fatalf("it goes on at %d: offsets are used again", next)
		}
		_ = again.Close()
		_ = j.Close()
	}
}

// parts returns the manifest and the segments of a double, in order.
func parts(files *journaltest.Files) (manifest string, segments []string) {
	for _, name := range files.Names() {
		switch {
		case strings.HasSuffix(name, ".log"):
			segments = append(segments, name)
		case strings.HasSuffix(name, "MANIFEST"):
			manifest = name
		}
	}
	return manifest, segments
}

// F8
func TestSegmentsThatAreNotWhatTheyWereAreRefusedByName(t *testing.T) {
	rng := journaltest.Seed(t)
	whole, l := journaltest.NewFiles(), newLedger()
	o := tiny(whole)
	j := mustOpen(t, "data", o)
	workload(j, l, rng, 120)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	manifest, segs := parts(whole)
	first, middle, last := segs[0], segs[len(segs)/2], segs[len(segs)-1]
	name := func(base int) string { return filepath.Join(filepath.Dir(first), fmt.Sprintf("%020d.log", base)) }
	cut := func(file string, n int) func(*journaltest.Files) {
		return func(f *journaltest.Files) { f.Put(file, f.Content(file)[:n]) }
	}
	missing := func(file string) func(*journaltest.Files) { return func(f *journaltest.Files) { f.Put(file, nil) } }
	copied := func(from, to string) func(*journaltest.Files) {
		return func(f *journaltest.Files) { f.Put(to, whole.Content(from)) }
	}
	foreign := journaltest.NewFiles()
	other := mustOpen(t, "data", tiny(foreign))
	workload(other, newLedger(), rng, 30)
	_ = other.Close()
	for what, tc := range map[string]struct {
		do   func(*journaltest.Files)
		file string
	}{
		"the first segment is missing":            {missing(first), first},
		"a middle segment is missing":             {missing(middle), middle},
		"the last segment is missing":             {missing(last), last},
		"all segments are missing":                {func(f *journaltest.Files) { missing(first)(f); missing(middle)(f); missing(last)(f) }, first},
		"the first segment is empty":              {cut(first, 0), first},
		"a middle segment is empty":               {cut(middle, 0), middle},
		"the last segment is empty":               {cut(last, 0), last},
		"the first segment is cut in its header":  {cut(first, 100), first},
		"a middle segment is cut in its header":   {cut(middle, 1), middle},
		"the last segment is cut in its header":   {cut(last, 127), last},
		"the first segment is cut in its frames":  {cut(first, 300), first},
		"a middle segment is cut by one byte":     {cut(middle, len(whole.Content(middle))-1), middle},
		"the last segment is cut by one byte":     {cut(last, len(whole.Content(last))-1), last},
		"a segment stands in another's place":     {copied(first, middle), middle},
		"a segment stands twice, in between":      {copied(middle, name(1)), name(1)},
		"a segment stands twice, behind the last": {copied(middle, name(1_000_000)), name(1_000_000)},
		"two segments are exchanged":              {func(f *journaltest.Files) { copied(first, middle)(f); copied(middle, first)(f) }, first},
		"a segment is of another journal":         {func(f *journaltest.Files) { f.Put(first, foreign.Content(first)) }, first},
		"a header is gone":                        {func(f *journaltest.Files) { f.Put(middle, append(make([]byte, 128), f.Content(middle)[128:]...)) }, middle},
		"the manifest is missing":                 {missing(manifest), manifest},
		"the manifest is empty":                   {cut(manifest, 0), manifest},
		"the manifest is of another journal":      {func(f *journaltest.Files) { f.Put(manifest, foreign.Content(manifest)) }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			broken := whole.Kill()
			tc.do(broken)
			_, err := disk.Open("data", tiny(broken))
			damage, ok := errors.AsType[*disk.DamageError](err)
			if !ok {
				t.Fatalf("err = %v, want a DamageError", err)
			}
			if tc.file != "" && damage.File != tc.file {
				t.Errorf("it names %s, want %s: %v", damage.File, tc.file, err)
			}
			if !strings.Contains(err.Error(), "repair") {
				t.Errorf("it does not say what to do: %v", err)
			}
			_, next, _ := readBounds(t, whole)
			repaired(t, l, broken, next, strings.Contains(what, "last") && !strings.Contains(what, "behind"))
		})
	}
}

func readBounds(t *testing.T, files *journaltest.Files) (first, next int64, err error) {
	t.Helper()
	j := mustOpen(t, "data", tiny(files.Kill()))
	defer j.Close()
	return j.Bounds(0)
}

// repaired repairs what was broken and checks that it opens, has nothing wrong in it, and goes on at next.
func repaired(t *testing.T, l *ledger, broken *journaltest.Files, next int64, last bool) {
	t.Helper()
	before := broken.Kill()
	did, err := disk.Repair("data", tiny(broken))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.Join(did, "; "))
	j, err := disk.Open("data", tiny(broken))
	if err != nil {
		t.Fatalf("after the repair: %v", err)
	}
	defer j.Close()
	first, got, _ := j.Bounds(0)
	if got != next {
		t.Errorf("after the repair it goes on at %d, want %d", got, next)
	}
	h := readAll(t, j, first)
	if err := l.check(nil, h, first); err != nil {
		t.Error(err)
	}
	kept := 0
	for _, name := range before.Names() {
		if slices.Contains(broken.Names(), name) || slices.Contains(broken.Names(), name+".bad") || strings.Contains(name, "MANIFEST") {
			kept++
		}
	}
	if kept != len(before.Names()) {
		t.Error("the repair deleted a file")
	}
	want := len(l.acks()) * 3 / 4 // a segment of many, or the manifest
	if len(h.entries) < want && first == 0 && !last {
		t.Errorf("%d of %d entries are left", len(h.entries), len(l.acks()))
	}
	if err := l.append(j, "after the repair "+t.Name()); err != nil {
		t.Error(err)
	}
}

// F10
func TestASlowDiskSlowsNobodyMoreThanItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := journaltest.NewFiles()
		j := mustOpen(t, "data", disk.Options{FS: files})
		files.Slow(500 * time.Millisecond)
		var mu sync.Mutex
		var took []time.Duration
		var wg sync.WaitGroup
		for range 200 * 20 {
			wg.Go(func() {
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := j.Append(ctx, 0, journal.Entry{At: start, Payload: make([]byte, 500)})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(start))
			})
			time.Sleep(5 * time.Millisecond)
		}
		wg.Wait()
		slices.Sort(took)
		if p99 := took[len(took)*99/100]; p99 > 2*time.Second {
			t.Errorf("p99 %v", p99)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnAppenderStopsWaitingForAStuckDiskWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := journaltest.NewFiles()
		j := mustOpen(t, "data", disk.Options{FS: files, CommitBytes: 1000})
		files.Slow(time.Hour)
		var wg sync.WaitGroup
		for range 5 { // one is written, one gathers, three find no room
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				_, err := j.Append(ctx, 0, journal.Entry{At: start, Payload: make([]byte, 900)})
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
					t.Errorf("err = %v after %v", err, time.Since(start))
				}
			})
		}
		wg.Wait()
		files.Slow(0)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
