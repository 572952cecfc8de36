package console_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// A bad night: 1,000 incidents that nobody has, behind them 20,000 that are over.
func BenchmarkListOf1000(b *testing.B) {
	s := open(b, as{"one", "manager"})
	var all []tocsin.Incident
	for n := range 21_000 {
		i := tocsin.Incident{
			ID: int64(n + 1), State: tocsin.Settled, Title: "replication lag 340s", Service: "db-main", Priority: 3, Severity: tocsin.Critical, OpenedAt: ago(time.Hour), ResolvedAt: ago(time.Minute),
			Alerts: 3,
		}
		if n >= 20_000 {
			i.State, i.ResolvedAt, i.Open = tocsin.Triggered, time.Time{}, 3
		}
		all = append(all, i)
	}
	s.update(b, func(tx *store.Tx) error { return tx.PutIncidents(all) })
	size := int64(0)
	for b.Loop() {
		r, err := http.Get(s.URL + "/")
		if err != nil {
			b.Fatal(err)
		}
		size, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	b.ReportMetric(float64(size), "bytes/page")
}
