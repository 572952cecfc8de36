package storetest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

func codes(t *testing.T, open Opener) {
	b := begin(t, open)
	with := func(id int64, code int, state tocsin.IncidentState, resolved time.Time) tocsin.Incident {
		i := incident(id)
		i.Code, i.State, i.ResolvedAt = code, state, resolved
		return i
	}
	day := 24 * time.Hour
	still, recent, old := with(1, 17, tocsin.Acked, time.Time{}), with(2, 18, tocsin.Settled, at.Add(-6*day)), with(3, 19, tocsin.Settled, at.Add(-8*day))
	earlier, elsewhere := with(4, 17, tocsin.Settled, at.Add(-day)), with(5, 20, tocsin.Triggered, time.Time{})
	elsewhere.Partition = 1
	never := with(6, 0, tocsin.Triggered, time.Time{})
	candidate := tocsin.Major{ID: 1, State: tocsin.Proposed, Code: 21, Scope: tocsin.NewLabels(map[string]string{"region": "eu"})}
	rejected := tocsin.Major{ID: 2, State: tocsin.Rejected, Code: 22, DecidedAt: at.Add(-day)}
	past := tocsin.Major{ID: 3, State: tocsin.MajorResolved, Code: 23, DecidedAt: at.Add(-9 * day), ResolvedAt: at.Add(-8 * day)}
	b.update(func(tx *store.Tx) error {
		err := tx.PutMajors([]tocsin.Major{candidate, rejected, past})
		if err != nil {
			return err
		}
		return tx.PutIncidents([]tocsin.Incident{still, recent, old, earlier, elsewhere, never})
	})
	b.view(func(tx *store.Tx) error {
		for code, want := range map[int]*tocsin.Incident{17: &still, 18: &recent, 19: nil, 20: &elsewhere, 0: nil, 99: nil} {
			got, err := tx.IncidentByCode(code, at)
			if gone(t, err) != (want == nil) {
				t.Errorf("code %d: %v", code, err)
			} else if want != nil {
				equal(t, fmt.Sprint("code ", code), got, *want)
			}
		}
		for code, want := range map[int]*tocsin.Major{21: &candidate, 22: &rejected, 23: nil} {
			got, err := tx.MajorByCode(code, at)
			if gone(t, err) != (want == nil) {
				t.Errorf("code %d: %v", code, err)
			} else if want != nil {
				equal(t, fmt.Sprint("code ", code), got, *want)
			}
		}
		used, err := tx.UsedCodes(0, at)
		equal(t, "used codes", used, map[int]int{17: 2, 18: 1, 21: 1, 22: 1})
		counts, _ := tx.IncidentCounts()
		equal(t, "counts", counts, map[tocsin.IncidentState]int{tocsin.Triggered: 2, tocsin.Acked: 1, tocsin.Settled: 3})
		newest, _ := tx.Incidents(store.IncidentFilter{Limit: 2})
		equal(t, "newest incidents", newest, []tocsin.Incident{never, elsewhere})
		next, _ := tx.Incidents(store.IncidentFilter{States: []tocsin.IncidentState{tocsin.Acked, tocsin.Settled}, Before: 4})
		equal(t, "older incidents of two states", next, []tocsin.Incident{old, recent, still})
		majors, _ := tx.Majors(store.MajorFilter{States: []tocsin.MajorState{tocsin.Proposed, tocsin.Confirmed}})
		equal(t, "open majors", majors, []tocsin.Major{candidate})
		since, _ := tx.MajorsSince(0, at.Add(-2*day))
		equal(t, "majors since", since, []tocsin.Major{candidate, rejected})
		return err
	})
	ended := with(7, 25, tocsin.Settled, at.Add(-day))
	ended.Partition = 1
	b.update(func(tx *store.Tx) error { return tx.PutIncidents([]tocsin.Incident{ended}) })
	var open0 time.Time
	for n, classes := range map[int][]map[int]time.Time{
		1: {{17: open0, 18: recent.ResolvedAt, 20: open0, 21: open0, 22: rejected.DecidedAt, 25: open0}},
		3: {{18: recent.ResolvedAt, 21: open0}, {22: open0, 25: ended.ResolvedAt}, {17: open0, 20: open0}}, // 22 is of partition 0
	} {
		b.update(func(tx *store.Tx) error { return tx.SetMeta(store.MetaPartitions, strconv.Itoa(n)) })
		b.view(func(tx *store.Tx) error {
			for p, want := range classes {
				got, err := tx.Codes(p, at)
				if err != nil {
					return err
				}
				equal(t, fmt.Sprintf("codes of partition %d of %d", p, n), got, want)
			}
			return nil
		})
	}
}

func history(t *testing.T, open Opener) {
	b := begin(t, open)
	p := b.claim("one")
	changes := []tocsin.Change{
		{AfterOffset: 0, At: at, Actor: "rule", Kind: tocsin.ChangeOpened, Incident: 1, Data: []byte(`{"a":1}`)},
		{AfterOffset: 3, At: at, Actor: "one", Kind: tocsin.DoAck, Incident: 1},
		{AfterOffset: 3, At: at.Add(time.Second), Actor: "rule", Kind: tocsin.ChangeProposed, Major: 1},
		{AfterOffset: 5, At: at.Add(time.Second), Actor: "two", Kind: tocsin.DoConfirm, Major: 1},
		{AfterOffset: 5, At: at.Add(time.Minute), Actor: "two", Kind: tocsin.DoResolve, Incident: 1},
	}
	b.update(func(tx *store.Tx) error {
		err := tx.AddChanges(&p, changes)
		if err != nil {
			return err
		}
		return tx.SavePart(p)
	})
	c := changes
	b.view(func(tx *store.Tx) error {
		for name, tc := range map[string]struct {
			got  func() ([]tocsin.Change, error)
			want []tocsin.Change
		}{
			"all":                     {func() ([]tocsin.Change, error) { return tx.Changes(0, 0, 10) }, c},
			"some":                    {func() ([]tocsin.Change, error) { return tx.Changes(0, 1, 2) }, c[1:3]},
			"of another partition":    {func() ([]tocsin.Change, error) { return tx.Changes(1, 0, 10) }, nil},
			"of an incident":          {func() ([]tocsin.Change, error) { return tx.ChangesOfIncident(1, 10) }, []tocsin.Change{c[0], c[1], c[4]}},
			"newest of an incident":   {func() ([]tocsin.Change, error) { return tx.ChangesOfIncident(1, 2) }, []tocsin.Change{c[1], c[4]}},
			"of a major":              {func() ([]tocsin.Change, error) { return tx.ChangesOfMajor(1, 10) }, c[2:4]},
			"commands":                {func() ([]tocsin.Change, error) { return tx.Commands(0, 0, 0, 10) }, []tocsin.Change{c[1], c[3], c[4]}},
			"commands from an offset": {func() ([]tocsin.Change, error) { return tx.Commands(0, 4, 0, 10) }, c[3:5]},
			"commands after a seq":    {func() ([]tocsin.Change, error) { return tx.Commands(0, 4, 4, 10) }, c[4:5]},
		} {
			got, err := tc.got()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			equal(t, name, got, tc.want)
		}
		return nil
	})
}

func logins(t *testing.T, open Opener) {
	b := begin(t, open)
	b.update(func(tx *store.Tx) error {
		for hash, expires := range map[string]time.Time{"fresh": at.Add(time.Minute), "old": at} {
			err := tx.AddLoginLink(hash, "one", expires)
			if err != nil {
				return err
			}
			err = tx.AddSession(store.Session{Hash: hash, Person: "one", Since: at, Expires: expires})
			if err != nil {
				return err
			}
		}
		return nil
	})
	b.update(func(tx *store.Tx) error {
		person, err := tx.UseLoginLink("fresh", at)
		equal(t, "whom the link is for", person, "one")
		_, again := tx.UseLoginLink("fresh", at)
		_, expired := tx.UseLoginLink("old", at)
		equal(t, "links refused", []bool{gone(t, again), gone(t, expired)}, []bool{true, true})
		s, _ := tx.Session("fresh", at)
		equal(t, "session", s, store.Session{Hash: "fresh", Person: "one", Since: at, Expires: at.Add(time.Minute)})
		_, expired = tx.Session("old", at)
		equal(t, "an expired session is refused", gone(t, expired), true)
		return err
	})
	b.update(func(tx *store.Tx) error {
		err := tx.EndSession("fresh")
		_, ended := tx.Session("fresh", at)
		equal(t, "an ended session is refused", gone(t, ended), true)
		return err
	})
	b.update(func(tx *store.Tx) error { return tx.DeleteExpired(at, time.Hour) })
	b.view(func(tx *store.Tx) error {
		_, err := tx.Session("old", at.Add(-time.Hour))
		equal(t, "an expired session is deleted", gone(t, err), true)
		return nil
	})
}

func inboundOnce(t *testing.T, open Opener) {
	b := begin(t, open)
	first := func(provider, message string, when time.Time) (is bool) {
		t.Helper()
		b.update(func(tx *store.Tx) (err error) {
			is, err = tx.FirstInbound(provider, message, when)
			return err
		})
		return is
	}
	equal(t, "first", []bool{first("twilio", "SM1", at), first("twilio", "SM1", at), first("other", "SM1", at), first("twilio", "SM2", at)}, []bool{true, false, true, true})
	b.update(func(tx *store.Tx) error { return tx.DeleteExpired(at.Add(2*time.Hour), time.Hour) })
	equal(t, "first after its retention", first("twilio", "SM1", at), true)
}

func sandbox(t *testing.T, open Opener) {
	b := begin(t, open)
	m := store.SandboxMessage{Page: "p", Channel: "sms", To: "+15005550001", Person: "one", Subject: "s", Text: "t", Link: "l", At: at}
	b.update(func(tx *store.Tx) error {
		for i := range 10_002 {
			id, err := tx.AddSandbox(m)
			if err != nil {
				return err
			}
			if id != int64(i+1) {
				return fmt.Errorf("id = %d, want %d", id, i+1)
			}
		}
		return tx.AnswerSandbox(10_002, at.Add(time.Second))
	})
	b.view(func(tx *store.Tx) error {
		newest, err := tx.Sandbox(0, 2)
		last, before := m, m
		last.ID, last.Answered, before.ID = 10_002, at.Add(time.Second), 10_001
		equal(t, "newest", newest, []store.SandboxMessage{last, before})
		oldest, _ := tx.Sandbox(5, 10)
		equal(t, "oldest kept", len(oldest), 2)
		one, _ := tx.SandboxMessage(10_001)
		equal(t, "one", one, before)
		_, dropped := tx.SandboxMessage(2)
		equal(t, "the oldest are dropped", gone(t, dropped), true)
		return err
	})
}

func prunes(t *testing.T, open Opener) {
	b := begin(t, open)
	p := b.claim("one")
	old, young := incident(2), incident(3)
	old.State, old.ResolvedAt = tocsin.Settled, at.Add(-time.Hour)
	young.State, young.ResolvedAt = tocsin.Settled, at.Add(time.Hour)
	rejected := tocsin.Major{ID: 1, State: tocsin.Rejected, DecidedAt: at.Add(-time.Hour)}
	proposed := tocsin.Major{ID: 2, State: tocsin.Proposed}
	var alerts []tocsin.Alert
	var pages []tocsin.Page
	var changes []tocsin.Change
	for id := range int64(20) {
		a, pg := alert(id+1), page(tocsin.AlertID(id))
		a.Incident, a.Status = id%4, tocsin.Resolved
		a.LastAt = at.Add(-time.Minute)
		pg.Incident = id % 4
		alerts, pages = append(alerts, a), append(pages, pg)
		changes = append(changes, tocsin.Change{At: at.Add(-time.Minute), Kind: tocsin.ChangeJoined, Incident: id % 4})
	}
	b.update(func(tx *store.Tx) error {
		for _, err := range []error{
			tx.PutIncidents([]tocsin.Incident{incident(1), old, young}), tx.PutMajors([]tocsin.Major{rejected, proposed}), tx.PutAlerts(alerts),
			tx.InsertPages(pages), tx.AddChanges(&p, changes), tx.SavePart(p),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	deleted, rounds := 0, 0
	for done := false; !done; rounds++ {
		b.update(func(tx *store.Tx) (err error) {
			var n int
			n, done, err = tx.Prune(at, 7)
			if n > 7 {
				t.Errorf("%d rows deleted at once, want 7 at most", n)
			}
			deleted += n
			return err
		})
		if rounds > 20 {
			t.Fatal("pruning does not end")
		}
	}
	equal(t, "rows deleted", deleted, 1+5+5+5+1+5+5) // the incident with alerts, pages, changes; the major; alerts and changes of nothing
	b.view(func(tx *store.Tx) error {
		_, gone2 := tx.Incident(2)
		_, gone1 := tx.Major(1)
		equal(t, "gone", []bool{gone(t, gone2), gone(t, gone1)}, []bool{true, true})
		left, err := tx.Incidents(store.IncidentFilter{})
		equal(t, "incidents left", left, []tocsin.Incident{young, incident(1)})
		equal(t, "alerts left", len(collect(t, tx.Alerts(store.AlertFilter{}))), 10)
		kept, _ := tx.Changes(0, 0, 100)
		equal(t, "changes left", len(kept), 10)
		return err
	})
}
