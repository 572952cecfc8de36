package storetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// An Opener opens an engine on what the test has: the first call on something empty, a later one on what the call before left. It
// need not close what it returns: Run does.
type Opener func(t *testing.T) store.DB

// Run checks an engine. fresh returns, for each subtest, an Opener on a place of its own.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for name, test := range map[string]func(*testing.T, Opener){
		"an old owner commits nothing once another has claimed":                             twoOwners,
		"changes have no gaps however many write":                                           gaplessSeq,
		"an update that fails leaves nothing":                                               allOrNothing,
		"an update that panics leaves nothing and is an error":                              panics,
		"one that fails takes no other with it":                                             failsAlone,
		"what can never be done is told apart, and takes no other with it":                  refusals,
		"a view sees one state to its end":                                                  viewIsOneState,
		"a page is claimed once by many claimers":                                           claimOnce,
		"a page is claimed only while somebody needs it":                                    claimNeeds,
		"a page is kept back, not lost, while its incident has recovered and may come back": claimKeptBack,
		"a lapsed claim comes back as unknown":                                              claimLapses,
		"pages go by lane, then by the time they are due":                                   claimOrder,
		"a page that ended stays so unless it is answered":                                  savePages,
		"an acknowledgement cancels what is not sent and names calls":                       cancelPages,
		"a timer fires once":                                                                timersOnce,
		"what was answered is there after opening again":                                    reopens,
		"an update whose caller has gone is not begun":                                      callerGone,
		"whole values come back as they were put":                                           roundTrips,
		"new alerts are written in one go, or none of them":                                 newAlerts,
		"a repeat's touch counts until the row is written again":                            touchesMerge,
		"alerts are found by each of their filters":                                         alertFilters,
		"a loader gets what is firing and what may come back":                               loadAlerts,
		"codes are found, and rest seven days":                                              codes,
		"history comes back in order":                                                       history,
		"links work once, sessions until they end":                                          logins,
		"an inbound message acts once":                                                      inboundOnce,
		"the sandbox keeps the newest":                                                      sandbox,
		"pruning leaves what is open or young":                                              prunes,
		"equal states have equal digests":                                                   digests,
		"a commit is announced":                                                             announces,
		"meta is created once":                                                              metaOnce,
		"a contact is off until it is turned on":                                            contactsOff,
		"pages that share a message are found by it":                                        sharedMessage,
		"a text is noted before it is sent and never after":                                 noteText,
		"pages without a receipt are found by their provider":                               unconfirmed,
		"more pages of one person are claimed for one message":                              claimMore,
		"pages are listed one part after the other":                                         pageParts,
		"what could not be applied is kept until it is settled":                             deadLetters,
		"of what could not be applied the newest thousand are kept":                         deadLettersBounded,
		"pages in hand are counted by node":                                                 pagesInHand,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

// at is the time that tests start from.
var at = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// bench is one engine under test.
type bench struct {
	*testing.T
	db store.DB
}

func begin(t *testing.T, open Opener) bench {
	t.Helper()
	db := open(t)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return bench{t, db}
}

// update runs fn and fails the test when it does.
func (b bench) update(fn func(*store.Tx) error) {
	b.Helper()
	err := b.db.Update(context.Background(), store.Correlation, fn)
	if err != nil {
		b.Fatalf("update: %v", err)
	}
}

// view runs fn and fails the test when it does.
func (b bench) view(fn func(*store.Tx) error) {
	b.Helper()
	err := b.db.View(context.Background(), fn)
	if err != nil {
		b.Fatalf("view: %v", err)
	}
}

// claim claims partition 0.
func (b bench) claim(owner string) (p store.Part) {
	b.Helper()
	b.update(func(t *store.Tx) (err error) {
		p, err = t.Claim(0, owner)
		return err
	})
	return p
}

// equal compares whole values.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// gone reports whether err says that a row is not there, and fails the test on any other error.
func gone(t testing.TB, err error) bool {
	t.Helper()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error = %v, want none or ErrNotFound", err)
	}
	return err != nil
}

// incident returns an open incident.
func incident(id int64) tocsin.Incident {
	return tocsin.Incident{
		ID: id, State: tocsin.Triggered, Title: "db-main: replication lag", Rule: "databases", Key: "db-main", Group: "db-main\x1f", Service: "db-main",
		Labels: tocsin.NewLabels(map[string]string{"service": "db-main"}), Severity: tocsin.Critical, Priority: 3, Urgency: tocsin.UrgencyHigh,
		OpenedAt: at, NewestAt: at,
	}
}

// alert returns a firing alert of incident 1.
func alert(id int64) tocsin.Alert {
	return tocsin.Alert{
		ID: id, Fingerprint: tocsin.FingerprintOf("prometheus", tocsin.AlertID(id)), Source: "prometheus", Key: `{alertname="Lag"}`,
		Status: tocsin.Firing, Severity: tocsin.Critical, Word: "page", Summary: "lag", About: "db-main", URL: "http://127.0.0.1/",
		Labels:      tocsin.NewLabels(map[string]string{"service": "db-main", "alertname": "Lag", "host": "db-1"}),
		Annotations: tocsin.NewLabels(map[string]string{"summary": "lag <b>\"340\"</b>\n"}),
		StartsAt:    at, FirstAt: at, LastAt: at, EndsAt: at.Add(time.Hour), Count: 1, Rule: "databases", Group: "db-main\x1f", Incident: 1,
		Why: tocsin.Why{Rule: "databases", Matchers: []string{`kind="database"`}, Group: map[string]string{"service": "db-main"}, Joined: "opened"}, AsOf: 5,
	}
}

// page returns a page of incident 1 that is due.
func page(id string) tocsin.Page {
	return tocsin.Page{ID: id, Kind: tocsin.KindPage, Incident: 1, Person: "one", Channel: "sms", Address: "+15005550001", State: tocsin.PageDue, Lane: 1, DueAt: at}
}
