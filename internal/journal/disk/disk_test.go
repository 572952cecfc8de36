package disk_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/journal/journaltest"
)

func mustOpen(t testing.TB, dir string, o disk.Options) *disk.Journal {
	t.Helper()
	if testing.Verbose() && os.Getenv("TOCSIN_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	j, err := disk.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestJournal(t *testing.T) {
	for name, o := range map[string]disk.Options{
		"with the usual segments":                                  {Partitions: 2},
		"with tiny segments that roll all the time, and no memory": {SegmentBytes: 4096, RecentBytes: 1},
		"with commits of one entry":                                {CommitBytes: 1, SegmentBytes: 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := map[journal.Journal]string{}
			journaltest.Run(t, func(t *testing.T) journal.Journal {
				dir := t.TempDir()
				j := mustOpen(t, dir, o)
				dirs[j] = dir
				return j
			}, journaltest.Options{Partitions: o.Partitions, Reopen: func(t *testing.T, j journal.Journal) journal.Journal {
				err := j.Close()
				if err != nil {
					t.Fatal(err)
				}
				again := mustOpen(t, dirs[j], o)
				dirs[again] = dirs[j]
				return again
			}})
		})
	}
}

func TestJournalOnTheDouble(t *testing.T) {
	files := map[journal.Journal]*journaltest.Files{}
	o := disk.Options{SegmentBytes: 10_000, Partitions: 2}
	journaltest.Run(t, func(t *testing.T) journal.Journal {
		o.FS = journaltest.NewFiles()
		j := mustOpen(t, "data", o)
		files[j] = o.FS.(*journaltest.Files)
		return j
	}, journaltest.Options{Partitions: o.Partitions, Reopen: func(t *testing.T, j journal.Journal) journal.Journal {
		o.FS = files[j].Kill() // without Close: a process that is killed
		again := mustOpen(t, "data", o)
		files[again] = o.FS.(*journaltest.Files)
		return again
	}})
}

// F12
func TestASecondJournalOnOneFolderIsRefusedAtOnceAndTheFirstGoesOn(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir, disk.Options{})
	start := time.Now()
	_, err := disk.Open(dir, disk.Options{})
	if !errors.Is(err, disk.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("err = %v, want ErrLocked naming %s", err, dir)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	_, err = first.Append(t.Context(), 0, journal.Entry{At: start, Payload: []byte("a")})
	if err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, disk.Options{})
}

func TestFewerPartitionsThanThereAreAreRefused(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, disk.Options{Partitions: 3})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := disk.Open(dir, disk.Options{Partitions: 2})
	if err == nil || !strings.Contains(err.Error(), "partition-0002") {
		t.Errorf("err = %v, want the third partition named", err)
	}
}

func TestTimesNeverFallWithinAPartition(t *testing.T) {
	j := mustOpen(t, t.TempDir(), disk.Options{})
	noon := time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC)
	for _, at := range []time.Time{noon, noon.Add(-time.Hour), noon.Add(time.Second)} {
		appendOne(t, j, at, "x")
	}
	var got []time.Time
	for _, e := range readAll(t, j, 0).entries {
		got = append(got, e.At)
	}
	want := []time.Time{noon, noon, noon.Add(time.Second)}
	for i := range want {
		if !got[i].Equal(want[i]) {
			t.Fatalf("times %v, want %v", got, want)
		}
	}
}

func TestRetentionRemovesWholeSegmentsUpToTheFloorOnly(t *testing.T) {
	now := time.Now()
	for name, o := range map[string]disk.Options{
		"by size": {SegmentBytes: 10_000, MaxBytes: 30_000},
		"by age":  {SegmentBytes: 10_000, MaxAge: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := mustOpen(t, dir, o)
			for i := range 100 {
				appendOne(t, j, now.Add(time.Duration(i-200)*time.Minute), strings.Repeat("x", 1000))
			}
			first := func() int64 {
				if err := j.Retain(now); err != nil {
					t.Fatal(err)
				}
				first, _, err := j.Bounds(0)
				if err != nil {
					t.Fatal(err)
				}
				return first
			}
			if f := first(); f != 0 {
				t.Fatalf("first %d before a floor was set", f)
			}
			if err := j.SetFloor(0, 50); err != nil {
				t.Fatal(err)
			}
			f := first()
			if f == 0 || f > 50 || f < 40 {
				t.Fatalf("first %d with a floor of 50", f)
			}
			if _, err := j.Read(0, f-1); err == nil {
				t.Error("what is gone can be read")
			} else if gap, ok := errors.AsType[*journal.GapError](err); !ok || gap.To != f || gap.From != f-1 {
				t.Errorf("err = %v, want a gap up to %d", err, f)
			}
			got := readAll(t, j, f)
			if len(got.entries) != 100-int(f) {
				t.Errorf("%d entries are left", len(got.entries))
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = mustOpen(t, dir, o)
			if again, next, _ := j.Bounds(0); again != f || next != 100 {
				t.Errorf("bounds %d, %d after reopening, want %d, 100", again, next, f)
			}
		})
	}
}

func TestAReaderThatRetentionPassesIsToldWhatItMissed(t *testing.T) {
	j := mustOpen(t, t.TempDir(), disk.Options{SegmentBytes: 5000, MaxBytes: 10_000, RecentBytes: 1})
	r, err := j.Read(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 50 {
		appendOne(t, j, time.Now(), strings.Repeat("x", 1000))
	}
	if err := j.SetFloor(0, 50); err != nil {
		t.Fatal(err)
	}
	if err := j.Retain(time.Now()); err != nil {
		t.Fatal(err)
	}
	first, _, _ := j.Bounds(0)
	_, err = r.Next(t.Context(), 1)
	gap, ok := errors.AsType[*journal.GapError](err)
	if !ok || gap.From != 0 || gap.To != first {
		t.Fatalf("err = %v, want the gap 0 to %d", err, first)
	}
	entries, err := r.Next(t.Context(), 1)
	if err != nil || entries[0].Offset != first {
		t.Errorf("then %v, %v", entries, err)
	}
}

func TestFilesThatAreNotTheJournalsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, disk.Options{})
	appendOne(t, j, time.Now(), "a")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(dir, "partition-0000", "notes.txt")
	if err := os.WriteFile(note, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, disk.Options{})
	if b, err := os.ReadFile(note); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

func appendOne(t testing.TB, j journal.Journal, at time.Time, payload string) int64 {
	t.Helper()
	last, err := j.Append(t.Context(), 0, journal.Entry{At: at, Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// history is what a reader was told.
type history struct {
	entries []journal.Entry
	gaps    []journal.GapError
}

// readAll reads from an offset to the end that there is now.
func readAll(t testing.TB, j journal.Journal, from int64) history {
	t.Helper()
	h, err := readTo(j, from)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func readTo(j journal.Journal, from int64) (h history, err error) {
	_, next, err := j.Bounds(0)
	if err != nil {
		return h, err
	}
	r, err := j.Read(0, from)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for at := from; at < next; {
		entries, err := r.Next(context.Background(), 20_000)
		if gap, ok := errors.AsType[*journal.GapError](err); ok {
			h.gaps = append(h.gaps, *gap)
			at = gap.To
			continue
		}
		if err != nil {
			return h, err
		}
		for _, e := range entries {
			e.Payload = append([]byte(nil), e.Payload...)
			h.entries = append(h.entries, e)
			at = e.Offset + 1
		}
	}
	return h, nil
}
