package storetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// What is the same in the benchmarks of every implementation, so that their figures can be compared.

// Many returns n alerts, the first of them with the id from, with about 800 bytes of text each; 100 share each host.
func Many(from, n int) []tocsin.Alert {
	out := make([]tocsin.Alert, n)
	for i := range out {
		id := from + i
		group := id / 100
		out[i] = tocsin.Alert{
			ID: int64(id), Fingerprint: tocsin.FingerprintOf("prometheus", fmt.Sprint(id)), Source: fmt.Sprintf("prometheus-%d", id%1000),
			Status: tocsin.Firing, Severity: tocsin.Critical, Word: "critical", Summary: "replication lag of the database is 340 s and rises", About: fmt.Sprintf("db-%d", id),
			Labels: tocsin.NewLabels(map[string]string{
				"alertname": fmt.Sprintf("ReplicationLag%d", id%1000), "service": fmt.Sprintf("db-%d", id%1001), "host": fmt.Sprintf("host-%d", group),
				"env": "production", "region": "eu-west", "team": "platform", "job": "postgres", "severity": "critical", "cluster": "main", "instance": fmt.Sprintf("10.0.0.%d:9100", id%256),
			}),
			Annotations: tocsin.NewLabels(map[string]string{"summary": "replication lag of the database is 340 s and rises", "description": strings.Repeat("what to do about it; ", 12)}),
			URL:         "http://127.0.0.1:9090/graph?g0.expr=pg_replication_lag", StartsAt: Night, FirstAt: Night, LastAt: Night, EndsAt: Night.Add(5 * time.Minute), Count: 1,
			Rule: "databases", Group: fmt.Sprintf("db-%d", id%1001), Incident: int64(id/10 + 1), AsOf: int64(id),
			Why: tocsin.Why{Rule: "databases", Matchers: []string{`kind="database"`, `severity!="info"`}, Group: map[string]string{"service": fmt.Sprintf("db-%d", id%1001)}, Joined: "opened"},
		}
	}
	return out
}

// Night is when everything of this file begins.
var Night = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// FillDue puts 100,000 pages into db, half of them SMS and half mail, that fall due from Night on, and the open incidents that they are about.
func FillDue(ctx context.Context, db store.DB) error {
	pages := make([]tocsin.Page, 100_000)
	for i := range pages {
		pages[i] = tocsin.Page{
			ID: fmt.Sprint(i), Kind: tocsin.KindPage, Incident: int64(i/2 + 1), Person: fmt.Sprintf("person-%d", i%500), Channel: []string{"sms", "email"}[i%2],
			State: tocsin.PageDue, Lane: 1 + i%3, DueAt: Night.Add(time.Duration(i) * time.Millisecond),
		}
	}
	incidents := make([]tocsin.Incident, len(pages)/2+1)
	for i := range incidents {
		incidents[i] = tocsin.Incident{ID: int64(i), State: tocsin.Triggered}
	}
	return db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		err := tx.PutIncidents(incidents)
		if err != nil {
			return err
		}
		return tx.InsertPages(pages)
	})
}

// ClaimDue claims 50 of the pages that FillDue has put, and returns how many there were.
func ClaimDue(ctx context.Context, db store.DB) (claimed int, err error) {
	err = db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		got, err := tx.ClaimPages(Night.Add(time.Hour), time.Hour, map[string]int{"sms": 25, "email": 25, "voice": 25}, 1)
		claimed = len(got)
		return err
	})
	return claimed, err
}
