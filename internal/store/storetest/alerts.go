package storetest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// collect reads a sequence to its end.
func collect[T any](t testing.TB, seq iter.Seq2[T, error]) (out []T) {
	t.Helper()
	for v, err := range seq {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, v)
	}
	return out
}

// newAlerts are written in one go, however many there are, and read back as they were.
func newAlerts(t *testing.T, open Opener) {
	b := begin(t, open)
	var many []tocsin.Alert
	for i := range 1500 {
		a := alert(int64(i + 1))
		a.Labels = a.Labels.With("odd", "tab\tnew line\nback\\slash \\. \"quoted\" Ünïcödé")
		many = append(many, a)
	}
	b.update(func(tx *store.Tx) error { return tx.AddAlerts(many) })
	b.update(func(tx *store.Tx) error { return tx.AddAlerts(nil) })
	b.view(func(tx *store.Tx) error {
		equal(t, "new alerts", collect(t, tx.Alerts(store.AlertFilter{})), many)
		return nil
	})
	err := b.db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error { return tx.AddAlerts([]tocsin.Alert{alert(2000), alert(7)}) })
	if !errors.Is(err, store.ErrRefused) || !errors.Is(err, store.ErrExists) {
		t.Errorf("an alert that is there already is added: %v, want ErrRefused and ErrExists", err)
	}
	b.view(func(tx *store.Tx) error {
		_, err := tx.Alert(2000)
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what came with it is there: %v", err)
		}
		return nil
	})
}

func touchesMerge(t *testing.T, open Opener) {
	b := begin(t, open)
	far := alert(5000) // of another chunk
	touch := store.Touch{Alert: 2, LastAt: at.Add(time.Minute), EndsAt: at.Add(2 * time.Hour), Count: 9, AsOf: 6}
	stale := store.Touch{Alert: 3, LastAt: at.Add(-time.Minute), Count: 1, AsOf: 5}
	other := store.Touch{Alert: 5000, LastAt: at.Add(time.Second), Count: 2, AsOf: 7}
	b.update(func(tx *store.Tx) error {
		err := tx.PutAlerts([]tocsin.Alert{alert(1), alert(2), alert(3), far})
		if err != nil {
			return err
		}
		err = tx.PutTouches(0, store.ChunkOf(2), []store.Touch{stale, touch})
		if err != nil {
			return err
		}
		return tx.PutTouches(0, store.ChunkOf(5000), []store.Touch{other})
	})
	merged, mergedFar := alert(2), far
	merged.LastAt, merged.EndsAt, merged.Count, merged.AsOf = touch.LastAt, touch.EndsAt, touch.Count, touch.AsOf
	mergedFar.LastAt, mergedFar.EndsAt, mergedFar.Count, mergedFar.AsOf = other.LastAt, time.Time{}, other.Count, other.AsOf
	b.view(func(tx *store.Tx) error {
		equal(t, "alerts", collect(t, tx.Alerts(store.AlertFilter{})), []tocsin.Alert{alert(1), merged, alert(3), mergedFar})
		one, err := tx.Alert(2)
		equal(t, "alert", one, merged)
		equal(t, "touches", collect(t, tx.LoadTouches(0)), []store.Touch{touch, stale, other})
		for _, raw := range collect(t, tx.RawAlerts(store.AlertFilter{})) {
			if raw.ID == 2 {
				equal(t, "raw alert", []time.Time{raw.LastAt, raw.EndsAt}, []time.Time{touch.LastAt, touch.EndsAt})
			}
		}
		return err
	})
	move := store.AlertMove{ID: 2, Status: tocsin.Resolved, Incident: 1, Severity: tocsin.Error, LastAt: at.Add(time.Hour), EndsAt: at.Add(time.Hour), Count: 10, AsOf: 8}
	want := merged
	want.Status, want.Severity, want.LastAt, want.EndsAt, want.Count, want.AsOf = tocsin.Resolved, tocsin.Error, move.LastAt, move.EndsAt, 10, 8
	b.update(func(tx *store.Tx) error {
		err := tx.MoveAlerts([]store.AlertMove{move})
		if err != nil {
			return err
		}
		moved, err := tx.Alert(2)
		if err != nil {
			return err
		}
		equal(t, "alert after its row was written", moved, want)
		move.Joined, want.Why.Joined = "returned", "returned"
		err = tx.MoveAlerts([]store.AlertMove{move})
		if err != nil {
			return err
		}
		moved, err = tx.Alert(2)
		equal(t, "alert that says why", moved, want)
		return err
	})
	err := b.db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error { return tx.MoveAlerts([]store.AlertMove{{ID: 99, Status: tocsin.Firing}}) })
	if !gone(t, err) {
		t.Error("moving an alert that is not there is no error")
	}
	b.update(func(tx *store.Tx) error {
		err := tx.PutTouches(0, store.ChunkOf(2), nil)
		equal(t, "touches left", collect(t, tx.LoadTouches(0)), []store.Touch{other})
		return err
	})
}

func alertFilters(t *testing.T, open Opener) {
	b := begin(t, open)
	var alerts []tocsin.Alert
	const n = 2500 // more than one read of a listing
	for i := range n {
		a := alert(int64(i + 1))
		a.Labels = a.Labels.With("service", "s"+string(rune('a'+i%5))).With("alertname", "n"+string(rune('a'+i%7))).With("host", "h"+string(rune('a'+i%11)))
		a.Source = "src" + string(rune('a'+i%13))
		a.Incident = int64(1 + i%3)
		if i%2 == 1 {
			a.Status = tocsin.Resolved
		}
		alerts = append(alerts, a)
	}
	done := incident(2)
	done.State = tocsin.Settled
	b.update(func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{incident(1), done})
		if err != nil {
			return err
		}
		return tx.PutAlerts(alerts)
	})
	for name, tc := range map[string]struct {
		filter store.AlertFilter
		keep   func(tocsin.Alert) bool
	}{
		"all":                    {store.AlertFilter{}, func(tocsin.Alert) bool { return true }},
		"firing":                 {store.AlertFilter{Status: tocsin.Firing}, func(a tocsin.Alert) bool { return a.Status == tocsin.Firing }},
		"resolved":               {store.AlertFilter{Status: tocsin.Resolved}, func(a tocsin.Alert) bool { return a.Status == tocsin.Resolved }},
		"of a service":           {store.AlertFilter{Service: "sb"}, func(a tocsin.Alert) bool { return a.Labels.Get("service") == "sb" }},
		"of a host":              {store.AlertFilter{Host: "hb"}, func(a tocsin.Alert) bool { return a.Labels.Get("host") == "hb" }},
		"of a name":              {store.AlertFilter{Alertname: "nb"}, func(a tocsin.Alert) bool { return a.Labels.Get("alertname") == "nb" }},
		"of a source":            {store.AlertFilter{Source: "srcb"}, func(a tocsin.Alert) bool { return a.Source == "srcb" }},
		"of an incident":         {store.AlertFilter{Incident: 2}, func(a tocsin.Alert) bool { return a.Incident == 2 }},
		"firing of a service":    {store.AlertFilter{Status: tocsin.Firing, Service: "sb"}, func(a tocsin.Alert) bool { return a.Status == tocsin.Firing && a.Labels.Get("service") == "sb" }},
		"after an id":            {store.AlertFilter{After: 2400}, func(a tocsin.Alert) bool { return a.ID > 2400 }},
		"the first 5":            {store.AlertFilter{Limit: 5}, func(a tocsin.Alert) bool { return a.ID <= 5 }},
		"the first 1500":         {store.AlertFilter{Limit: 1500}, func(a tocsin.Alert) bool { return a.ID <= 1500 }},
		"a service that is none": {store.AlertFilter{Service: "no"}, func(tocsin.Alert) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want []tocsin.Alert
			for _, a := range alerts {
				if tc.keep(a) {
					want = append(want, a)
				}
			}
			b.view(func(tx *store.Tx) error {
				got := collect(t, tx.Alerts(tc.filter))
				equal(t, "alerts", got, want)
				raw := collect(t, tx.RawAlerts(tc.filter))
				equal(t, "raw alerts", len(raw), len(want))
				for i, r := range raw {
					a := want[i]
					equal(t, "raw alert", []any{r.ID, r.Status, r.Incident, r.Fingerprint, r.Source, r.URL, r.StartsAt, r.LastAt, r.EndsAt},
						[]any{a.ID, a.Status, a.Incident, a.Fingerprint, a.Source, a.URL, a.StartsAt, a.LastAt, a.EndsAt})
					equal(t, "its incident's state", r.IncidentState, map[int64]tocsin.IncidentState{1: tocsin.Triggered, 2: tocsin.Settled}[a.Incident])
				}
				return nil
			})
		})
	}
	b.view(func(tx *store.Tx) error {
		raw := collect(t, tx.RawAlerts(store.AlertFilter{Limit: 1}))
		equal(t, "labels as JSON", raw[0].Labels, `{"alertname":"na","host":"ha","service":"sa"}`)
		equal(t, "annotations as JSON", raw[0].Annotations, `{"summary":"lag <b>\"340\"</b>\u000a"}`)
		return nil
	})
}

func loadAlerts(t *testing.T, open Opener) {
	b := begin(t, open)
	b.claim("one")
	quiet, longAgo, elsewhere := incident(2), incident(3), incident(4)
	quiet.State, quiet.ResolvedAt = tocsin.Settled, at
	longAgo.State, longAgo.ResolvedAt = tocsin.Settled, at.Add(-time.Hour)
	elsewhere.Partition = 1
	of := func(id, incident int64, s tocsin.Status) tocsin.Alert {
		a := alert(id)
		a.Incident, a.Status = incident, s
		return a
	}
	other := of(8, 4, tocsin.Firing)
	other.Partition = 1
	b.update(func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{incident(1), quiet, longAgo, elsewhere})
		if err != nil {
			return err
		}
		return tx.PutAlerts([]tocsin.Alert{
			of(1, 1, tocsin.Firing), of(2, 1, tocsin.Resolved), of(3, 2, tocsin.Resolved), of(4, 3, tocsin.Resolved),
			of(5, 3, tocsin.Firing), of(6, 0, tocsin.Firing), of(7, 0, tocsin.Resolved), other,
		})
	})
	forgotten := of(9, 0, tocsin.Resolved)
	forgotten.LastAt = at.Add(-time.Hour)
	b.update(func(tx *store.Tx) error { return tx.PutAlerts([]tocsin.Alert{forgotten}) })
	var want []tocsin.Alert
	for _, a := range []tocsin.Alert{
		of(1, 1, tocsin.Firing), of(5, 3, tocsin.Firing), of(6, 0, tocsin.Firing), of(2, 1, tocsin.Resolved), of(3, 2, tocsin.Resolved), of(7, 0, tocsin.Resolved),
	} {
		a.Key, a.Word, a.Summary, a.About, a.URL, a.Annotations, a.Why = "", "", "", "", "", nil, tocsin.Why{}
		want = append(want, a)
	}
	b.view(func(tx *store.Tx) error {
		equal(t, "alerts", collect(t, tx.LoadAlerts(0, at.Add(-time.Minute))), want)
		open, err := tx.OpenIncidents(0)
		equal(t, "open incidents", open, []tocsin.Incident{incident(1)})
		resolved, _ := tx.ResolvedSince(0, at.Add(-time.Minute))
		equal(t, "resolved incidents", resolved, []tocsin.Incident{quiet})
		return err
	})
	byID := map[int64]tocsin.Alert{}
	err := store.LoadAlerts(context.Background(), b.db, 0, at.Add(-time.Minute), func() { clear(byID) }, func(batch []tocsin.Alert) error {
		for _, a := range batch {
			byID[a.ID] = a
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "alerts by several connections", len(byID), len(want))
	for _, a := range want {
		equal(t, "alert by several connections", byID[a.ID], a)
	}
}

func digests(t *testing.T, open Opener) {
	digest := func(fill func(bench)) (string, string) {
		b := begin(t, open)
		fill(b)
		var dump strings.Builder
		err := store.Dump(t.Context(), b.db, 0, &dump)
		if err != nil {
			t.Fatal(err)
		}
		d, err := store.Digest(t.Context(), b.db, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = b.db.Close()
		if err != nil {
			t.Fatal(err)
		}
		return d, dump.String()
	}
	repeated := alert(1)
	repeated.Count, repeated.LastAt, repeated.AsOf = 4, at.Add(time.Minute), 9
	byTouch, dump := digest(func(b bench) {
		b.claim("one")
		b.claim("two")
		b.update(func(tx *store.Tx) error {
			err := tx.PutIncidents([]tocsin.Incident{incident(1)})
			if err != nil {
				return err
			}
			err = tx.PutAlerts([]tocsin.Alert{alert(1)})
			if err != nil {
				return err
			}
			return tx.PutTouches(0, 0, []store.Touch{{Alert: 1, LastAt: repeated.LastAt, EndsAt: repeated.EndsAt, Count: 4, AsOf: 8}})
		})
	})
	byRow, _ := digest(func(b bench) {
		b.update(func(tx *store.Tx) error { return tx.PutAlerts([]tocsin.Alert{repeated}) })
	})
	equal(t, "digests", byRow, byTouch)
	if strings.Count(dump, "\n") != 3 {
		t.Errorf("dump has not one line each for the part, the alert and the incident:\n%s", dump)
	}
	other, _ := digest(func(b bench) {
		changed := repeated
		changed.Count++
		b.update(func(tx *store.Tx) error { return tx.PutAlerts([]tocsin.Alert{changed}) })
	})
	if other == byRow {
		t.Error("another count has the same digest")
	}
}
