package api

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// many puts n firing alerts into the store, of incidents incidents; every 1000th service has 100 of 100,000.
func (b *bench) many(n, incidents int) {
	b.t.Helper()
	const batch = 5000
	for from := 0; from < n; from += batch {
		var alerts []tocsin.Alert
		for k := from; k < min(from+batch, n); k++ {
			ls := tocsin.NewLabels(map[string]string{
				"alertname": fmt.Sprintf("Alert%d", k%50), "instance": fmt.Sprintf("host-%d:9100", k/20), "host": fmt.Sprintf("host-%d", k/20),
				"job": "node", "region": "eu-west", "service": fmt.Sprintf("service-%d", k%1000), "severity": "warning", "cluster": "prod-1",
			})
			alerts = append(alerts, tocsin.Alert{
				ID: int64(k + 1), Status: tocsin.Firing, Source: "prometheus", Key: ls.String(), Fingerprint: tocsin.FingerprintOf("prometheus", ls.String()), Labels: ls,
				Annotations: tocsin.NewLabels(map[string]string{
					"summary": fmt.Sprintf("Disk of host-%d will be full in 4 hours", k/20), "description": "The filesystem has only a few percent left and fills up fast.",
					"runbook_url": "https://runbooks.example.org/disk-full",
				}),
				URL: fmt.Sprintf("http://prometheus.example.org/graph?g0.expr=disk%d", k%50), Severity: tocsin.Warning, Word: "warning", Summary: "Disk will be full",
				StartsAt: start.Add(time.Duration(k) * time.Millisecond), FirstAt: start, LastAt: start.Add(time.Minute), EndsAt: start.Add(5 * time.Minute), Count: 1,
				Incident: int64(k%incidents + 1), Rule: "everything", Why: tocsin.Why{Rule: "everything", Joined: "joined"},
			})
		}
		b.update(func(tx *store.Tx) error { return tx.PutAlerts(alerts) })
	}
	for from := 0; from < incidents; from += batch {
		var list []tocsin.Incident
		for k := from; k < min(from+batch, incidents); k++ {
			ls := tocsin.NewLabels(map[string]string{"service": fmt.Sprintf("service-%d", k%1000), "region": "eu-west"})
			list = append(list, tocsin.Incident{
				ID: int64(k + 1), State: tocsin.Triggered, Title: "Disk will be full", Rule: "everything", Labels: ls, Severity: tocsin.Warning,
				Priority: 4, Escalation: "platform", OpenedAt: start, NewestAt: start, Open: 1, Alerts: 1,
			})
		}
		b.update(func(tx *store.Tx) error { return tx.PutIncidents(list) })
	}
}

// A sink counts what is written to it.
type sink struct {
	header http.Header
	bytes  int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(b []byte) (int, error) { s.bytes += len(b); return len(b), nil }

func BenchmarkListing(b *testing.B) {
	for _, incidents := range []int{1000, 100_000} {
		f := newBench(b, nil)
		f.many(100_000, incidents)
		for name, target := range map[string]string{
			"all":        "/api/v2/alerts",
			"by service": "/api/v2/alerts?filter=service%3Dservice-77",
			"by host":    "/api/v2/alerts?filter=host%3Dhost-77",
			"by regex":   "/api/v2/alerts?filter=service%3D~service-7.",
			"groups":     "/api/v2/alerts/groups",
		} {
			b.Run(fmt.Sprintf("%s of 100000 in %d incidents", name, incidents), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, target, http.NoBody)
					r.Header.Set("Authorization", "Bearer prom-secret")
					w := &sink{header: http.Header{}}
					f.Handler().ServeHTTP(w, r)
					b.ReportMetric(float64(w.bytes), "answer-bytes/op")
				}
			})
		}
	}
}
