package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// What Large holds: three months of a busy company. An event that says again what is known adds to its alert's count and is no row, so 10,000,000
// events are the counts of all alerts together.
const (
	LargeIncidents  = 100_000
	LargePerGroup   = 10 // alerts of one incident
	LargePerAlert   = 10 // events folded into each alert
	largeOpen       = 2000
	largeServices   = 1001 // as Many has them
	largeAtOnce     = 2000 // alerts of one transaction
	largeHour       = 50   // incidents that open in one hour
	largeDue        = 5000 // pages that one refill makes due
	largeClaimed    = 50   // pages of one claim
	largeAskedLimit = 100  // rows of one list
	largeDomain     = 0    // the partition of all
)

// A Large is a database with a history behind it, and the questions that are asked of it all the time.
type Large struct {
	db    store.DB
	lines int64 // of the history
	due   int   // pages made due so far
}

// FillLarge puts into db, which is empty, 100,000 incidents of ten alerts and ten events for each alert, with their pages, timers and lines of
// history, by the statements that the product itself writes with. The newest 2,000 are open. say is told how far it is.
func FillLarge(ctx context.Context, db store.DB, say func(format string, args ...any)) (*Large, error) {
	l := &Large{db: db}
	began := time.Now()
	err := db.Update(ctx, store.Commands, func(tx *store.Tx) error { _, err := tx.Claim(largeDomain, "one"); return err })
	for from := 1; err == nil && from <= LargeIncidents; from += largeAtOnce / LargePerGroup {
		err = l.fill(ctx, from, largeAtOnce/LargePerGroup)
		if from%10_000 == 1 {
			say("%d incidents after %s", from-1, time.Since(began).Round(time.Second))
		}
	}
	if err == nil {
		err = l.touch(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	say("%d incidents, %d alerts, %d events, %d lines of history, %d pages after %s", LargeIncidents, LargeIncidents*LargePerGroup,
		LargeIncidents*LargePerGroup*LargePerAlert, l.lines, LargeIncidents*len(largeChannels), time.Since(began).Round(time.Second))
	return l, nil
}

func openedAt(incident int) time.Time {
	return Night.Add(-time.Duration(LargeIncidents-incident) * time.Hour / largeHour)
}

func largeIsOpen(incident int) bool { return incident > LargeIncidents-largeOpen }

// largeRows are what some incidents come to.
type largeRows struct {
	alerts    []tocsin.Alert
	incidents []tocsin.Incident
	pages     []tocsin.Page
	timers    []store.Timer
	changes   []tocsin.Change
}

// fill writes n incidents from the id from on, with all that belongs to them.
func (l *Large) fill(ctx context.Context, from, n int) error {
	r := largeRows{alerts: largeAlerts(from, n)}
	for id := from; id < from+n; id++ {
		r.incident(id)
		r.told(id)
	}
	l.lines += int64(len(r.changes))
	return l.db.Update(ctx, store.Correlation, func(tx *store.Tx) error {
		p, err := tx.Lock(largeDomain)
		for _, write := range []func() error{
			func() error { return tx.AddAlerts(r.alerts) },
			func() error { return tx.PutIncidents(r.incidents) },
			func() error { return tx.InsertPages(r.pages) },
			func() error { return tx.AddTimers(r.timers) },
			func() error { return tx.AddChanges(&p, r.changes) },
			func() error { return tx.SavePart(p) },
		} {
			if err == nil {
				err = write()
			}
		}
		return err
	})
}

// largeAlerts are those of n incidents.
func largeAlerts(from, n int) []tocsin.Alert {
	alerts := Many(from*LargePerGroup, n*LargePerGroup)
	for i := range alerts {
		a := &alerts[i]
		incident := from + i/LargePerGroup
		at := openedAt(incident)
		a.Incident, a.Count, a.StartsAt, a.FirstAt, a.LastAt, a.EndsAt = int64(incident), LargePerAlert, at, at, at.Add(time.Hour), at.Add(2*time.Hour)
		if !largeIsOpen(incident) {
			a.Status, a.EndsAt = tocsin.Resolved, at.Add(time.Hour)
		}
	}
	return alerts
}

// incident adds one, and where it is open the timer of its next step; every second of these is somebody's.
func (r *largeRows) incident(id int) {
	at := openedAt(id)
	service := fmt.Sprintf("db-%d", id%largeServices)
	in := tocsin.Incident{
		ID: int64(id), State: tocsin.Settled, OpenedAt: at, NewestAt: at.Add(time.Hour), ResolvedAt: at.Add(time.Hour), ResolvedBy: tocsin.ByItself, Alerts: LargePerGroup,
		Severity: tocsin.Critical, Urgency: tocsin.UrgencyHigh, Title: "replication lag of the database is 340 s and rises", Rule: "databases", Key: "service=" + service,
		Group: service, Service: service, Team: "platform", Escalation: "platform", Labels: tocsin.NewLabels(map[string]string{"service": service}),
	}
	if largeIsOpen(id) {
		in.State, in.ResolvedAt, in.ResolvedBy, in.Open, in.Code = tocsin.Triggered, time.Time{}, "", LargePerGroup, id%90+10
		if id%2 == 0 {
			in.State, in.AckedBy, in.AckedAt = tocsin.Acked, "one", at.Add(time.Minute)
		}
		r.timers = append(r.timers, store.Timer{Kind: store.TimerStep, Incident: in.ID, DueAt: Night.Add(time.Duration(id) * time.Second), Step: 1, Data: "{}"})
	}
	r.incidents = append(r.incidents, in)
}

// told adds what people were sent of an incident, and its history.
func (r *largeRows) told(id int) {
	at := openedAt(id)
	for k, channel := range largeChannels {
		r.pages = append(r.pages, tocsin.Page{
			ID: fmt.Sprintf("sent-%d-%d", id, k), Kind: tocsin.KindPage, Incident: int64(id), Person: fmt.Sprintf("person-%d", id%500), Channel: channel,
			State: tocsin.PageDelivered, Lane: 1, DueAt: at.Add(time.Duration(k) * time.Minute), EndedAt: at.Add(time.Duration(k+1) * time.Minute), Text: "replication lag",
		})
	}
	for k, kind := range largeLines {
		r.changes = append(r.changes, tocsin.Change{
			AfterOffset: int64(id), At: at.Add(time.Duration(k) * time.Minute), Actor: "rule", Kind: kind, Incident: int64(id),
			Data: []byte(`{"alert":"A-123456","why":"rule databases: service is the same","summary":"replication lag of the database is 340 s and rises"}`),
		})
	}
}

// largeChannels are those by which each incident was told of.
var largeChannels = []string{"sms", "email", "voice"}

// largeLines are what the history says of each incident.
var largeLines = []string{
	tocsin.ChangeOpened, tocsin.ChangeJoined, tocsin.ChangeJoined, tocsin.ChangeJoined, tocsin.ChangeJoined, tocsin.ChangePaged, tocsin.ChangeJoined,
	tocsin.ChangePaged, tocsin.DoAck, tocsin.ChangeJoined, tocsin.ChangeJoined, tocsin.ChangeJoined, tocsin.ChangeJoined, tocsin.DoResolve,
}

// touch writes what repeats have said of the alerts that fire.
func (l *Large) touch(ctx context.Context) error {
	chunks := map[int64][]store.Touch{}
	for id := int64((LargeIncidents - largeOpen + 1) * LargePerGroup); id < (LargeIncidents+1)*LargePerGroup; id++ {
		chunks[id>>10] = append(chunks[id>>10], store.Touch{Alert: id, LastAt: Night, EndsAt: Night.Add(time.Hour), Count: LargePerAlert, AsOf: 2 * id})
	}
	return l.db.Update(ctx, store.Correlation, func(tx *store.Tx) error {
		for chunk, touches := range chunks {
			err := tx.PutTouches(largeDomain, chunk, touches)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// MakeDue makes pages about the incidents that nobody has acknowledged due, enough for 100 claims.
func (l *Large) MakeDue(ctx context.Context) error {
	var pages []tocsin.Page
	for range largeDue {
		l.due++
		pages = append(pages, tocsin.Page{
			ID: fmt.Sprintf("due-%d", l.due), Kind: tocsin.KindPage, Incident: int64(LargeIncidents - (2*l.due+1)%largeOpen), Person: fmt.Sprintf("person-%d", l.due%500),
			Channel: []string{"sms", "email"}[l.due%2], State: tocsin.PageDue, Lane: 1 + l.due%3, DueAt: Night.Add(time.Duration(l.due) * time.Millisecond), Text: "replication lag",
		})
	}
	return l.db.Update(ctx, store.Paging, func(tx *store.Tx) error { return tx.InsertPages(pages) })
}

// A Question is asked of the state all the time, by pagers, consoles and feeds.
type Question struct {
	Name   string
	Claims bool                                                   // pages, which must be due
	Ask    func(ctx context.Context, n int) (rows int, err error) // the n-th time
}

// Questions are those of D8 in the catalogue of faults.
func (l *Large) Questions() []Question {
	view := func(ask func(tx *store.Tx, n int) (int, error)) func(context.Context, int) (int, error) {
		return func(ctx context.Context, n int) (rows int, err error) {
			err = l.db.View(ctx, func(tx *store.Tx) error { rows, err = ask(tx, n); return err })
			return rows, err
		}
	}
	incident := func(n int) int64 { return int64(1 + n*7919%LargeIncidents) }
	return []Question{
		{"claim of 50 due pages", true, func(ctx context.Context, n int) (rows int, err error) {
			err = l.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
				got, err := tx.ClaimPages(Night.Add(24*time.Hour), 48*time.Hour, map[string]int{"sms": largeClaimed / 2, "email": largeClaimed / 2}, int64(n+1))
				rows = len(got)
				return err
			})
			return rows, err
		}},
		{"one row of one table, for comparison", false, view(func(tx *store.Tx, _ int) (int, error) { _, err := tx.Part(largeDomain); return 1, err })},
		{"when the next page is due", false, view(func(tx *store.Tx, _ int) (int, error) { _, err := tx.NextPageDue(); return 1, err })},
		{"timers that are due", false, view(func(tx *store.Tx, _ int) (int, error) {
			got, err := tx.DueTimers(Night.Add(LargeIncidents*time.Second), largeAskedLimit)
			return len(got), err
		})},
		{"newest incidents", false, view(func(tx *store.Tx, _ int) (int, error) {
			got, err := tx.Incidents(store.IncidentFilter{})
			return len(got), err
		})},
		{"incidents further down", false, view(func(tx *store.Tx, n int) (int, error) {
			got, err := tx.Incidents(store.IncidentFilter{Before: incident(n) + largeAskedLimit})
			return len(got), err
		})},
		{"incidents of a state", false, view(func(tx *store.Tx, _ int) (int, error) {
			got, err := tx.Incidents(store.IncidentFilter{States: []tocsin.IncidentState{tocsin.Triggered}})
			return len(got), err
		})},
		{"incidents of a service", false, view(func(tx *store.Tx, n int) (int, error) {
			got, err := tx.Incidents(store.IncidentFilter{Service: fmt.Sprintf("db-%d", n%largeServices)})
			return len(got), err
		})},
		{"all open incidents", false, view(func(tx *store.Tx, _ int) (int, error) {
			got, err := tx.OpenIncidents(largeDomain)
			return len(got), err
		})},
		{"firing alerts of a service", false, view(func(tx *store.Tx, n int) (int, error) {
			return countAlerts(tx, store.AlertFilter{Status: tocsin.Firing, Service: fmt.Sprintf("db-%d", n%largeServices)})
		})},
		{"a page of what fires", false, view(func(tx *store.Tx, n int) (int, error) {
			return countAlerts(tx, store.AlertFilter{Status: tocsin.Firing, Limit: largeAskedLimit, After: int64((LargeIncidents - largeOpen + n%1000) * LargePerGroup)})
		})},
		{"alerts of an incident", false, view(func(tx *store.Tx, n int) (int, error) {
			return countAlerts(tx, store.AlertFilter{Incident: incident(n)})
		})},
		{"pages of an incident", false, view(func(tx *store.Tx, n int) (int, error) {
			got, err := tx.Pages(store.PageFilter{Incident: incident(n)})
			return len(got), err
		})},
		{"newest pages", false, view(func(tx *store.Tx, _ int) (int, error) { got, err := tx.Pages(store.PageFilter{}); return len(got), err })},
		{"history of an incident", false, view(func(tx *store.Tx, n int) (int, error) {
			got, err := tx.ChangesOfIncident(incident(n), largeAskedLimit)
			return len(got), err
		})},
		{"feed of changes", false, view(func(tx *store.Tx, n int) (int, error) {
			got, err := tx.Changes(largeDomain, int64(n)*99_991%(l.lines-1000), 1000)
			return len(got), err
		})},
	}
}

// BenchLarge fills db, lets settle do what an engine does in the background after so much was written, and asks each question: its p50 and
// p99 are reported. Ask each at least 300 times, by -benchtime 300x: a p99 of fewer says nothing.
func BenchLarge(b *testing.B, db store.DB, settle func() error) {
	l, err := FillLarge(b.Context(), db, b.Logf)
	if err == nil {
		err = settle()
	}
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range l.Questions() {
		b.Run(q.Name, func(b *testing.B) {
			var took []time.Duration
			rows := 0
			for n := 0; b.Loop(); n++ {
				if q.Claims && n%100 == 0 {
					b.StopTimer()
					err := l.MakeDue(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				began := time.Now()
				got, err := q.Ask(b.Context(), n)
				took = append(took, time.Since(began))
				if err != nil || q.Claims && got != largeClaimed {
					b.Fatalf("%d rows, error %v", got, err)
				}
				rows += got
			}
			slices.Sort(took)
			at := func(percent int) float64 { return float64(took[(len(took)-1)*percent/100].Microseconds()) / 1000 }
			b.ReportMetric(at(50), "p50-ms")
			b.ReportMetric(at(99), "p99-ms")
			b.ReportMetric(float64(rows)/float64(len(took)), "rows")
		})
	}
}

// countAlerts reads the alerts that f chooses, as the API does.
func countAlerts(tx *store.Tx, f store.AlertFilter) (rows int, err error) {
	for _, err := range tx.RawAlerts(f) {
		if err != nil {
			return rows, err
		}
		rows++
	}
	return rows, nil
}
