package disk_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
)

// BenchmarkAppend is the way of a request: appenders that each wait for the disk before they go on.
func BenchmarkAppend(b *testing.B) {
	for _, tc := range []struct{ size, appenders int }{{56 << 10, 8}, {20 << 10, 8}, {1 << 10, 64}, {1 << 10, 1}} {
		b.Run(fmt.Sprintf("%dB by %d", tc.size, tc.appenders), func(b *testing.B) {
			j := mustOpen(b, b.TempDir(), disk.Options{MaxBytes: 1 << 30})
			_ = j.SetFloor(0, 1<<60)
			payload := bytes.Repeat([]byte("0123456789abcdef"), tc.size/16)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.SetBytes(int64(tc.size))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range tc.appenders {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						_, err := j.Append(b.Context(), 0, journal.Entry{At: time.Now(), Payload: payload})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(j.Stats().Commits)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkOpen opens a journal of a million events, 64 to an entry of 20 KiB: 305 MiB.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	j := mustOpen(b, dir, disk.Options{})
	payload := bytes.Repeat([]byte("0123456789abcdef"), (20<<10)/16)
	var batch []journal.Entry
	for range 32 {
		batch = append(batch, journal.Entry{At: time.Now(), Payload: payload})
	}
	for range 1_000_000 / 64 / 32 {
		_, err := j.Append(b.Context(), 0, batch...)
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		err := j.Close()
		if err != nil {
			b.Fatal(err)
		}
		j = mustOpen(b, dir, disk.Options{})
	}
}

// BenchmarkRead reads 305 MiB from the files.
func BenchmarkRead(b *testing.B) {
	j := mustOpen(b, b.TempDir(), disk.Options{RecentBytes: 1})
	payload := bytes.Repeat([]byte("0123456789abcdef"), (20<<10)/16)
	for range 488 {
		batch := make([]journal.Entry, 32)
		for i := range batch {
			batch[i] = journal.Entry{At: time.Now(), Payload: payload}
		}
		_, err := j.Append(b.Context(), 0, batch...)
		if err != nil {
			b.Fatal(err)
		}
	}
	_, next, _ := j.Bounds(0)
	b.SetBytes(next * int64(len(payload)))
	for b.Loop() {
		r, err := j.Read(0, 0)
		if err != nil {
			b.Fatal(err)
		}
		for n := int64(0); n < next; {
			entries, err := r.Next(b.Context(), 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			n += int64(len(entries))
		}
		_ = r.Close()
	}
}
