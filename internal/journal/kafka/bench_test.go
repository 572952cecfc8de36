package kafka

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tocsin/internal/journal"
)

// benchmarked opens a journal on the real Kafka of KAFKA_BROKERS, or on the fake.
func benchmarked(b *testing.B, partitions int) *Journal {
	b.Helper()
	o := Options{Topic: "tocsin-bench-" + uuid.NewString(), Partitions: partitions, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		o.Brokers = strings.Split(brokers, ",")
	} else {
		o.Brokers = fake(b).ListenAddrs()
	}
	return open(b, o)
}

// BenchmarkLatency is one alert at a time, from the call of Append to its return and to the reader.
func BenchmarkLatency(b *testing.B) {
	j := benchmarked(b, 1)
	r, err := j.Read(0, 0)
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 400)
	var appended, read []time.Duration
	for b.Loop() {
		began := time.Now()
		done := make(chan time.Duration, 1)
		go func() {
			_, err := r.Next(context.WithoutCancel(b.Context()), 1)
			if err != nil {
				b.Error(err)
			}
			done <- time.Since(began)
		}()
		_, err := j.Append(b.Context(), 0, journal.Entry{At: began, Payload: payload})
		if err != nil {
			b.Fatal(err)
		}
		appended = append(appended, time.Since(began))
		read = append(read, <-done)
	}
	for name, ds := range map[string][]time.Duration{"append": appended, "read": read} {
		slices.Sort(ds)
		b.ReportMetric(float64(ds[len(ds)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(ds[len(ds)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
}

// BenchmarkAppend is requests of 64 alerts by many callers at once, to one partition and to twelve.
func BenchmarkAppend(b *testing.B) {
	payload := make([]byte, 64*150)
	for _, partitions := range []int{1, 12} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("partitions=%d/callers=%d", partitions, callers), func(b *testing.B) {
				j := benchmarked(b, partitions)
				b.ResetTimer()
				var wg sync.WaitGroup
				for c := range callers {
					wg.Go(func() {
						for i := c; i < b.N; i += callers {
							_, err := j.Append(b.Context(), i%partitions, journal.Entry{At: time.Now(), Payload: payload})
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "alerts/s")
			})
		}
	}
}

// BenchmarkCatchUp reads what is there already.
func BenchmarkCatchUp(b *testing.B) {
	j := benchmarked(b, 1)
	payload := make([]byte, 64*150)
	entries := make([]journal.Entry, 64)
	for i := range entries {
		entries[i] = journal.Entry{At: time.Now(), Payload: payload}
	}
	n := 0
	for ; n < max(b.N, 1000); n += len(entries) {
		_, err := j.Append(b.Context(), 0, entries...)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for read := 0; read < b.N; {
		r, err := j.Read(0, 0)
		if err != nil {
			b.Fatal(err)
		}
		for at := 0; at < n && read < b.N; {
			got, err := r.Next(b.Context(), 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			at += len(got)
			read += len(got)
		}
		_ = r.Close()
	}
	b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "alerts/s")
}
