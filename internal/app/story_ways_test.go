package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/paging/providertest"
)

// paging waits for an incident's first page, and returns who is paged or why nobody, as its history says.
func (r *rig) paging() []string {
	r.t.Helper()
	var said []string
	r.until("something is said of paging", func() bool {
		said = nil
		for _, c := range r.one().Timeline {
			said = append(said, c.Data.Paging...)
		}
		return len(said) > 1
	})
	return said
}

func TestWithNobodyOnCallTheFallbackIsPagedAtOnce(t *testing.T) {
	r := newStory(t, `start: "2026-01-05 09:00"`, `start: "2026-01-05 09:00", only: ["mon 00:00-00:01"]`)
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.phone("three").waits("db-main")
	if said := r.paging(); !slices.ContainsFunc(said, func(s string) bool {
		return strings.HasPrefix(s, "three is paged by sms and email at once") && strings.Contains(s, "fallback")
	}) {
		t.Errorf("the history says %q, want that the fallback is paged", said)
	}
}

func TestAStepThatReachesNobodyIsPassedAtOnceAndSaid(t *testing.T) {
	r := newStory(t, "    fallback: person/three               # when nobody is on call\n", "",
		`start: "2026-01-05 09:00"`, `start: "2026-01-05 09:00", only: ["mon 00:00-00:01"]`)
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.phone("three").waits("db-main")
	said := r.paging()
	if !slices.Contains(said, "nobody can be paged by step 1 of escalation platform: the next step at once") {
		t.Errorf("the history says %q, want that the step was empty", said)
	}
}

func TestAPersonWithoutAPhoneIsPagedByTheirOtherWays(t *testing.T) {
	r := newStory(t, `email: one@example.org,   phone: "+15005550001"`, `email: one@example.org`)
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.until("a mail", func() bool { return len(r.sendgrid.Taken()) == 1 })
	if said := r.paging(); !slices.Contains(said, "one is paged by email at once (on call in schedule platform, layer weekly); no phone number") {
		t.Errorf("the history says %q", said)
	}
	if n := len(r.twilio.Requests()); n > 0 {
		t.Errorf("%d requests by SMS and voice, want none", n)
	}
}

// downFirst are edits by which SMS and voice have two providers, and nobody listens where the first one should be.
var downFirst = []string{
	"channels:  ", "channels:\n  sms: [twilio, second]\n  voice: [twilio, second] ",
	"  twilio:   {kind: twilio, account_sid: " + accountID + `, auth_token: twilio-secret, from: "+15005550006",`,
	"  twilio:   {kind: twilio, account_sid: " + accountID + `, auth_token: twilio-secret, from: "+15005550006", base_url: http://127.0.0.1:1}` + "\n" +
		"  second:   {kind: twilio, account_sid: " + accountID + `, auth_token: twilio-secret, from: "+15005550007",`,
}

func TestAProviderThatIsDownLeavesTheNextOneToPage(t *testing.T) {
	r := newStory(t, downFirst...)
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.phone("one").waits("db-main")
	sms := r.sent("CreateMessage")[0]
	if from := sms.Form.Get("From"); from != "+15005550007" {
		t.Errorf("the SMS came from %s, want the second provider", from)
	}
	id := r.one().ID
	r.until("the page is the second provider's", func() bool {
		return slices.ContainsFunc(r.detail(id).Pages, func(p pageJSON) bool {
			return p.Channel == "sms" && p.Provider == "second" && p.State == "sent"
		})
	})
}

func TestAProviderThatAsksToWaitGetsThePageOnceAndLater(t *testing.T) {
	r := newStory(t)
	r.twilio.Script(func(n int, _ providertest.Request) providertest.Step {
		if n == 1 {
			return providertest.Step{Status: http.StatusTooManyRequests, Code: 20429, RetryAfter: "1"}
		}
		return providertest.Step{}
	})
	began := time.Now()
	r.lag("a", "critical", "db-main", "replication lag 340s")
	one := r.phone("one")
	one.waits("db-main")
	if took := time.Since(began); took < time.Second {
		t.Errorf("it was sent again after %s, want the second that was asked for", took)
	}
	r.never("it was sent twice", func() bool { return len(one.texts()) > 1 })
}

func TestANumberThatIsRefusedIsNotTriedAgainAndTheRestGoesOn(t *testing.T) {
	r := newStory(t)
	r.twilio.Script(func(_ int, q providertest.Request) providertest.Step {
		if q.To == r.phone("one").number {
			return providertest.Step{Status: http.StatusBadRequest, Code: 21211}
		}
		return providertest.Step{}
	})
	r.lag("a", "critical", "db-main", "replication lag 340s")
	id := r.one().ID
	r.until("the SMS has failed and the mail is sent", func() bool {
		got := said(r.detail(id).Pages, tocsin.KindPage)
		return slices.Contains(got, "one sms failed") && slices.Contains(got, "one email sent")
	})
	r.never("the number was tried again", func() bool { return len(r.sent("CreateMessage")) > 1 })
	i := slices.IndexFunc(r.detail(id).Pages, func(p pageJSON) bool { return p.Channel == "sms" })
	if p := r.detail(id).Pages[i]; p.Attempts != 1 || !strings.Contains(p.Error, "not a valid number") {
		t.Errorf("the page says %+v, want one attempt and why", p)
	}
}

func TestASendWhoseOutcomeIsUnknownIsLookedUpAndNotDoubled(t *testing.T) {
	r := newStory(t)
	r.twilio.Script(func(n int, _ providertest.Request) providertest.Step {
		if n == 1 {
			return providertest.Step{Taken: true, Drop: true} // it went out, and the connection was cut
		}
		return providertest.Step{}
	})
	r.lag("a", "critical", "db-main", "replication lag 340s")
	one := r.phone("one")
	one.waits("db-main")
	id := r.one().ID
	r.until("the page's outcome is open", func() bool { return slices.Contains(said(r.detail(id).Pages, tocsin.KindPage), "one sms unknown") })
	r.until("the page was found at the provider", func() bool { return slices.Contains(said(r.detail(id).Pages, tocsin.KindPage), "one sms sent") })
	if n := len(one.texts()); n != 1 {
		t.Errorf("%d SMS, want the one that went out", n)
	}
	one.answers(t, "4", "10 db-main is yours. Done? 6 10. Cannot? 5 10.")
}

func TestWhatProvidersReportStandsOnThePage(t *testing.T) {
	r := newStory(t)
	r.lag("a", "critical", "db-main", "replication lag 340s")
	one := r.phone("one")
	one.waits("db-main")
	id := r.one().ID
	sms := r.taken("CreateMessage")
	for range 3 { // doubled, and a late one that says less
		for _, word := range []string{"sent", "delivered", "sent"} {
			if status, body := r.callback(r.twilio.Status(sms.ID, word, 0)); status >= 300 {
				t.Fatalf("status %s: %d %s", word, status, body)
			}
		}
	}
	if got := said(r.detail(id).Pages, tocsin.KindPage); !slices.Contains(got, "one sms delivered") {
		t.Errorf("pages are %q, want the SMS delivered", got)
	}
	one.says("4")
	if got := said(r.detail(id).Pages, tocsin.KindPage); !slices.Contains(got, "one sms answered") || !slices.Contains(got, "one voice cancelled") {
		t.Errorf("pages are %q, want the SMS answered and the call cancelled", got)
	}
}
