package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// probes are the machine's own limits, beside which the rows above are to be read.
func probes(ctx context.Context, b *bench) ([]row, error) {
	var syncs, decoded, answered spread
	syncTimes := latency{}
	for range b.rounds {
		b.awaitQuiet(ctx)
		s, times, err := probeDisk(ctx, filepath.Join(b.dir, "probe"), time.Second)
		if err != nil {
			return nil, err
		}
		syncs, syncTimes = append(syncs, s), times
		d, err := probeJSON(ctx, time.Second)
		if err != nil {
			return nil, err
		}
		decoded = append(decoded, d)
		a, err := probeHTTP(ctx, time.Second)
		if err != nil {
			return nil, err
		}
		answered = append(answered, a)
	}
	return []row{
		{
			id: "9a", what: "this machine: 4 KiB appended and made durable (fdatasync), one after the other", peer: "0.2 to 0.4 ms each (earlier)",
			measured: fmt.Sprintf("%s/s, p50 %s ms, p99 %s ms", number(syncs.median()), number(syncTimes.p50), number(syncTimes.p99)), spread: syncs.ends(),
		},
		{
			id: "9b", what: "this machine: encoding/json, alerts/s of 64-alert bodies, one core", peer: "102,000 (earlier)",
			measured: number(decoded.median()), spread: decoded.ends(),
		},
		{
			id: "9c", what: "this machine: net/http, an empty handler, requests/s per CPU second of server and client, 16 connections", peer: "44,000 for the server alone (earlier)",
			measured: number(answered.median()), spread: answered.ends(),
		},
	}, nil
}

// probeDisk appends 4 KiB and makes it durable, again and again; it returns how often a second.
func probeDisk(ctx context.Context, name string, long time.Duration) (perSecond float64, times latency, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, times, fmt.Errorf("disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	block := make([]byte, 4096)
	var took []time.Duration
	began := time.Now()
	for time.Since(began) < long && ctx.Err() == nil {
		at := time.Now()
		_, err = f.Write(block)
		if err == nil {
			err = datasync(f)
		}
		if err != nil {
			return 0, times, fmt.Errorf("disk: %w", err)
		}
		took = append(took, time.Since(at))
	}
	return float64(len(took)) / time.Since(began).Seconds(), quantiles(took), nil
}

// probeJSON decodes the body of row 1 into maps and times, as a door would that is written without care.
func probeJSON(ctx context.Context, long time.Duration) (perSecond float64, err error) {
	ns := make([]int64, 64)
	for i := range ns {
		ns[i] = int64(i)
	}
	body := prometheus("probe", 1000).body(nil, time.Now(), ns)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	count := 0
	began := time.Now()
	for time.Since(began) < long && ctx.Err() == nil {
		var alerts []struct {
			Labels, Annotations map[string]string
			StartsAt, EndsAt    time.Time
			GeneratorURL        string
		}
		err = json.Unmarshal(body, &alerts)
		if err != nil {
			return 0, fmt.Errorf("json: %w", err)
		}
		count += len(alerts)
	}
	return float64(count) / time.Since(began).Seconds(), nil
}

// probeHTTP asks an empty handler of this process, on 16 connections.
func probeHTTP(ctx context.Context, long time.Duration) (perCPU float64, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("http: %w", err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // always that it was closed
	}()
	defer func() {
		err = errors.Join(err, srv.Close())
		<-done
	}()
	s := &server{url: "http://" + l.Addr().String()}
	before := cpuOf(os.Getpid(), false)
	n, err := s.ask(ctx, 16, long)
	if err != nil {
		return 0, err
	}
	return float64(n) / max(cpuOf(os.Getpid(), false)-before, 0.01), nil
}

// ask sends empty requests on so many connections and returns how many were answered.
func (s *server) ask(ctx context.Context, conns int, long time.Duration) (answered int, err error) {
	type result struct {
		n   int
		err error
	}
	results := make(chan result, conns)
	for range conns {
		go func() {
			c, err := newClient("GET", s.url+"/")
			if err != nil {
				results <- result{0, err}
				return
			}
			defer c.close()
			n := 0
			for began := time.Now(); time.Since(began) < long && ctx.Err() == nil && err == nil; n++ {
				_, err = c.do(nil, time.Second)
			}
			results <- result{n, err}
		}()
	}
	var errs []error
	for range conns {
		r := <-results
		answered += r.n
		errs = append(errs, r.err)
	}
	return answered, errors.Join(errs...)
}
