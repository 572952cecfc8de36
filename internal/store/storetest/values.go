package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin"
	"tocsin/internal/store"
)

// Generators of whole values, each field of its own.
var (
	text    = rapid.StringMatching(`[ -~äöü€😀\t\n"\\<>&]{0,12}`)
	name    = rapid.StringMatching(`[a-z_]{1,8}`)
	big     = rapid.Int64Range(1, 1<<40)
	count   = rapid.IntRange(0, 1000)
	instant = rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.UnixMicro(rapid.Int64Range(1, 4_000_000_000_000_000).Draw(t, "µs")).UTC()
	})
	labels = rapid.Custom(func(t *rapid.T) tocsin.Labels {
		ls := tocsin.NewLabels(rapid.MapOfN(rapid.OneOf(name, text.Filter(func(s string) bool { return s != "" })), text, 0, 6).Draw(t, "labels"))
		if len(ls) == 0 {
			return nil
		}
		return ls
	})
	fingerprint = rapid.Custom(func(t *rapid.T) (f tocsin.Fingerprint) {
		copy(f[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "fingerprint"))
		return f
	})
	texts   = rapid.Custom(func(t *rapid.T) []string { return none(rapid.SliceOfN(text, 0, 3).Draw(t, "texts")) })
	numbers = rapid.Custom(func(t *rapid.T) []int64 { return none(rapid.SliceOfN(big, 0, 5).Draw(t, "numbers")) })
)

// none is nil for an empty slice: the store does not tell them apart.
func none[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

var anyAlert = rapid.Custom(func(t *rapid.T) tocsin.Alert {
	group := rapid.MapOfN(name, text, 0, 2).Draw(t, "group values")
	if len(group) == 0 {
		group = nil
	}
	return tocsin.Alert{
		ID: big.Draw(t, "id"), Partition: rapid.IntRange(0, 12).Draw(t, "partition"), Fingerprint: fingerprint.Draw(t, "fingerprint"),
		Source: text.Draw(t, "source"), Key: text.Draw(t, "key"), Status: tocsin.Status(rapid.IntRange(1, 2).Draw(t, "status")),
		Severity: tocsin.Severity(rapid.IntRange(1, 4).Draw(t, "severity")), Word: text.Draw(t, "word"), Summary: text.Draw(t, "summary"),
		About: text.Draw(t, "about"), Labels: labels.Draw(t, "labels"), Annotations: labels.Draw(t, "annotations"), URL: text.Draw(t, "url"),
		StartsAt: instant.Draw(t, "starts"), FirstAt: instant.Draw(t, "first"), LastAt: instant.Draw(t, "last"), EndsAt: instant.Draw(t, "ends"),
		Count: big.Draw(t, "count"), Rule: text.Draw(t, "rule"), Group: text.Draw(t, "group"), Incident: big.Draw(t, "incident"),
		Why:  tocsin.Why{Rule: text.Draw(t, "why rule"), Matchers: texts.Draw(t, "matchers"), Group: group, Joined: text.Draw(t, "joined")},
		AsOf: big.Draw(t, "as of"), Content: rapid.Uint64().Draw(t, "content"),
	}
})

var anyIncident = rapid.Custom(func(t *rapid.T) tocsin.Incident {
	return tocsin.Incident{
		ID: big.Draw(t, "id"), Partition: rapid.IntRange(0, 12).Draw(t, "partition"), State: tocsin.IncidentState(rapid.IntRange(1, 4).Draw(t, "state")),
		Title: text.Draw(t, "title"), Rule: text.Draw(t, "rule"), Key: text.Draw(t, "key"), Group: text.Draw(t, "group"), Labels: labels.Draw(t, "labels"),
		Service: text.Draw(t, "service"), Severity: tocsin.Severity(rapid.IntRange(1, 4).Draw(t, "severity")), Priority: rapid.IntRange(1, 5).Draw(t, "priority"),
		Urgency: tocsin.Urgency(rapid.IntRange(0, 2).Draw(t, "urgency")), Escalation: text.Draw(t, "escalation"), Team: text.Draw(t, "team"),
		Code: count.Draw(t, "code"), OpenedAt: instant.Draw(t, "opened"), NewestAt: instant.Draw(t, "newest"), PageAt: instant.Draw(t, "page"),
		Paged: rapid.Bool().Draw(t, "paged"), AckedAt: instant.Draw(t, "acked"), AckedBy: text.Draw(t, "acked by"),
		ResolvedAt: instant.Draw(t, "resolved"), ResolvedBy: text.Draw(t, "resolved by"), Open: count.Draw(t, "open"), Alerts: count.Draw(t, "alerts"),
		Reopened: count.Draw(t, "reopened"), Major: big.Draw(t, "major"),
	}
})

var anyMeasures = rapid.Custom(func(t *rapid.T) tocsin.Measures {
	return tocsin.Measures{
		Hosts: count.Draw(t, "hosts"), Services: count.Draw(t, "services"), Incidents: count.Draw(t, "incidents"), Users: count.Draw(t, "users"),
		Since: instant.Draw(t, "since"),
	}
})

var anyMajor = rapid.Custom(func(t *rapid.T) tocsin.Major {
	return tocsin.Major{
		ID: big.Draw(t, "id"), Partition: rapid.IntRange(0, 12).Draw(t, "partition"), State: tocsin.MajorState(rapid.IntRange(1, 6).Draw(t, "state")),
		Phase: text.Draw(t, "phase"), Title: text.Draw(t, "title"), Rule: text.Draw(t, "rule"), Scope: labels.Draw(t, "scope"),
		Priority: rapid.IntRange(1, 5).Draw(t, "priority"), Escalation: text.Draw(t, "escalation"), Action: text.Draw(t, "action"),
		OnTimeout: text.Draw(t, "on timeout"), DecideAfter: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "decide after")) * time.Microsecond,
		Code: count.Draw(t, "code"), Measures: anyMeasures.Draw(t, "measures"), Peak: anyMeasures.Draw(t, "peak"), Limits: anyMeasures.Draw(t, "limits"),
		Incidents: numbers.Draw(t, "incidents"), ProposedAt: instant.Draw(t, "proposed"), DecideBy: instant.Draw(t, "decide by"),
		Escalated: count.Draw(t, "escalated"), DecidedAt: instant.Draw(t, "decided"), DecidedBy: text.Draw(t, "decided by"), LedBy: text.Draw(t, "led by"), ResolvedAt: instant.Draw(t, "resolved"),
	}
})

var anyPage = rapid.Custom(func(t *rapid.T) tocsin.Page {
	return tocsin.Page{
		ID: name.Draw(t, "id"), Partition: rapid.IntRange(0, 12).Draw(t, "partition"), Kind: text.Draw(t, "kind"), Incident: big.Draw(t, "incident"),
		Major: big.Draw(t, "major"), Person: text.Draw(t, "person"), Channel: text.Draw(t, "channel"), Address: text.Draw(t, "address"),
		Provider: text.Draw(t, "provider"), ProviderID: text.Draw(t, "provider id"), State: tocsin.PageState(rapid.IntRange(1, 8).Draw(t, "state")),
		Lane: rapid.IntRange(0, 3).Draw(t, "lane"), Round: count.Draw(t, "round"), Step: count.Draw(t, "step"), Text: text.Draw(t, "text"),
		DueAt: instant.Draw(t, "due"), Expires: instant.Draw(t, "expires"), ClaimedTo: instant.Draw(t, "claimed to"), Token: big.Draw(t, "token"),
		Attempts: count.Draw(t, "attempts"), Tried: texts.Draw(t, "tried"), SentAt: instant.Draw(t, "sent"), EndedAt: instant.Draw(t, "ended"), Error: text.Draw(t, "error"),
	}
})

// distinct returns values of which none has another's key, in the order of keys.
func distinct[T any, K ~int64 | ~string](g *rapid.Generator[T], key func(T) K) *rapid.Generator[[]T] {
	return rapid.Custom(func(t *rapid.T) []T {
		out := rapid.SliceOfNDistinct(g, 1, 4, key).Draw(t, "values")
		slices.SortFunc(out, func(a, b T) int {
			if key(a) < key(b) {
				return -1
			}
			return 1
		})
		return out
	})
}

// eachReads reads each of want again and checks it.
func eachReads[T any](check func(what string, got, want any), want []T, read func(T) (T, error)) error {
	for _, w := range want {
		got, err := read(w)
		if err != nil {
			return err
		}
		check(fmt.Sprintf("%T", w), got, w)
	}
	return nil
}

// roundTrips puts whole values, some over others, and reads them back.
func roundTrips(t *testing.T, open Opener) {
	b := begin(t, open)
	b.claim("one")
	rapid.Check(t, func(rt *rapid.T) {
		var differ []string // said after the view: a check that stops the test must not stop the engine
		check := func(what string, got, want any) {
			if !reflect.DeepEqual(got, want) {
				differ = append(differ, fmt.Sprintf("%s:\n got %+v\nwant %+v", what, got, want))
			}
		}
		alerts := distinct(anyAlert, func(a tocsin.Alert) int64 { return a.ID }).Draw(rt, "alerts")
		incidents := distinct(anyIncident, func(i tocsin.Incident) int64 { return i.ID }).Draw(rt, "incidents")
		majors := distinct(anyMajor, func(m tocsin.Major) int64 { return m.ID }).Draw(rt, "majors")
		pages := distinct(anyPage, func(p tocsin.Page) string { return p.ID }).Draw(rt, "pages")
		data := json.RawMessage(`{"note":"` + name.Draw(rt, "note") + `"}`)
		part := store.Part{
			Epoch: 1, Owner: "one", NextOffset: big.Draw(rt, "next"), TouchOffset: big.Draw(rt, "touch"), SeenAt: instant.Draw(rt, "seen"),
			NextAlert: big.Draw(rt, "next alert"), NextIncident: big.Draw(rt, "next incident"), NextMajor: big.Draw(rt, "next major"),
			Rules: text.Draw(rt, "rules"), Fold: none(rapid.SliceOf(rapid.Byte()).Draw(rt, "fold")),
		}
		changes := []tocsin.Change{{AfterOffset: 4, At: at, Actor: text.Draw(rt, "actor"), Kind: tocsin.DoNote, Incident: big.Draw(rt, "incident"), Data: data}}
		b.update(func(tx *store.Tx) error {
			locked, err := tx.Lock(0)
			if err != nil {
				return err
			}
			part.Seq = locked.Seq
			pages = slices.DeleteFunc(pages, func(p tocsin.Page) bool { // a page that is there stays as it is
				_, err := tx.Page(p.ID)
				return err == nil
			})
			for _, err := range []error{
				tx.PutAlerts(alerts), tx.PutAlerts(alerts[:1]), tx.PutIncidents(incidents), tx.PutIncidents(incidents[:1]), tx.PutMajors(majors),
				tx.PutMajors(majors[:1]), tx.InsertPages(pages), tx.AddChanges(&part, changes), tx.SavePart(part),
			} {
				if err != nil {
					return err
				}
			}
			return nil
		})
		b.view(func(tx *store.Tx) error {
			p, err := tx.Part(0)
			check("part", p, part)
			err = errors.Join(err,
				eachReads(check, alerts, func(a tocsin.Alert) (tocsin.Alert, error) { return tx.Alert(a.ID) }),
				eachReads(check, incidents, func(i tocsin.Incident) (tocsin.Incident, error) { return tx.Incident(i.ID) }),
				eachReads(check, majors, func(m tocsin.Major) (tocsin.Major, error) { return tx.Major(m.ID) }),
				eachReads(check, pages, func(p tocsin.Page) (tocsin.Page, error) { return tx.Page(p.ID) }))
			got, _ := tx.Changes(0, part.Seq-1, 10)
			check("changes", got, changes)
			return err
		})
		if len(differ) > 0 {
			rt.Fatal(strings.Join(differ, "\n"))
		}
	})
}
