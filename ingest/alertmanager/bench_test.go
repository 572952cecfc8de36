package alertmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tocsin"
	"tocsin/ingest"
)

// manyAlerts returns the body of a POST with n alerts as kube-prometheus sends them: 11 labels, 3 annotations.
func manyAlerts(n int) []byte {
	b := []byte{'['}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"labels":{"alertname":"KubePodCrashLooping","cluster":"prod-eu-west-1","namespace":"payments-`...)
		b = strconv.AppendInt(b, int64(i%10), 10)
		b = append(b, `","pod":"checkout-7d9c5b6f4-`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `-x","container":"checkout","instance":"node-`...)
		b = strconv.AppendInt(b, int64(i%1000), 10)
		b = append(b, `.example.com:8080","job":"kube-state-metrics","severity":"critical","team":"payments","prometheus":"monitoring/k8s","run":"one"},`...)
		b = append(b, `"annotations":{"summary":"Pod is crash looping.","description":"Pod payments/checkout-7d9c5b6f4 (checkout) is in waiting state (reason: \"CrashLoopBackOff\") on cluster prod-eu-west-1, restarted 7 times in the last 10 minutes.","runbook_url":"https://runbooks.example.com/kubernetes/kubepodcrashlooping"},`...)
		b = append(b, `"startsAt":"2026-03-02T10:15:00.123456789Z","endsAt":"2026-03-02T10:19:00.123456789Z","generatorURL":"http://prometheus.example.com/graph?g0.expr=max_over_time%28kube_pod_container_status_waiting_reason%7Breason%3D%22CrashLoopBackOff%22%7D%5B5m%5D%29+%3E%3D+1&g0.tab=1"}`...)
	}
	return append(b, ']')
}

// BenchmarkPost is a whole request of 64 alerts: authentication, body, parsing, fingerprints, answer; nothing is kept.
func BenchmarkPost(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := manyAlerts(n)
			sink := acceptorFunc(func([]tocsin.Event) error { return nil })
			h := newHandler(b, sink, ingest.Source{Name: "prometheus", Kind: ingest.Alertmanager, Tokens: []ingest.Token{ingest.HashToken("prom-secret")}})
			in := bytes.NewReader(body)
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "/api/v2/alerts", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer prom-secret")
			r.ContentLength = int64(len(body))
			w := &deafWriter{header: http.Header{}}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			defer perAlert(b, n)()
			for b.Loop() {
				in.Reset(body)
				r.Body = io.NopCloser(in)
				h.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// BenchmarkTokensAlone is what jsontext needs for the same batch without making anything of it.
func BenchmarkTokensAlone(b *testing.B) {
	body := manyAlerts(64)
	buf := bytes.NewBuffer(body)
	dec := jsontext.NewDecoder(buf)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	defer perAlert(b, 64)()
	for b.Loop() {
		*buf = *bytes.NewBuffer(body)
		dec.Reset(buf)
		for {
			_, err := dec.ReadToken()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkScannerAlone is what ingest's Scanner needs for the same.
func BenchmarkScannerAlone(b *testing.B) {
	body := manyAlerts(64)
	var s ingest.Scanner
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	defer perAlert(b, 64)()
	for b.Loop() {
		s.Reset(body)
		walk(&s)
		s.End()
		if s.Err() != nil {
			b.Fatal(s.Err())
		}
	}
}

func walk(s *ingest.Scanner) {
	switch {
	case s.Array():
		for s.Element() {
			walk(s)
		}
	case s.Object():
		for {
			_, ok := s.Field()
			if !ok {
				return
			}
			walk(s)
		}
	default:
		if _, _, ok := s.Text(); !ok {
			s.Skip()
		}
	}
}

// perAlert reports the rate by the clock and by the processor time of the whole process, collector included: the machine may be busy.
func perAlert(b *testing.B, n int) func() {
	before := processorTime(b)
	return func() {
		b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "alerts/s")
		b.ReportMetric(float64(b.N*n)/(processorTime(b)-before).Seconds(), "alerts/cpu-s")
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// A deafWriter takes an answer and keeps its status.
type deafWriter struct {
	header http.Header
	status int
}

func (w *deafWriter) Header() http.Header         { return w.header }
func (w *deafWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *deafWriter) WriteHeader(status int)      { w.status = status }

type acceptorFunc func([]tocsin.Event) error

func (f acceptorFunc) Accept(_ context.Context, _ string, events []tocsin.Event) (ingest.Receipt, error) {
	return ingest.Receipt{Prefix: "0-1"}, f(events)
}

// now is when every test takes place.
var now = time.Date(2026, 3, 2, 10, 16, 0, 0, time.UTC)

func newHandler(t testing.TB, a ingest.Acceptor, sources ...ingest.Source) http.Handler {
	t.Helper()
	known, err := ingest.NewSources(sources)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := ingest.NewReceiver(known, a, ingest.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return rc.Handler(Door(Options{}))
}
