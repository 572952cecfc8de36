package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"tocsin"
	"tocsin/paging/providertest"
)

// cancelled are the calls that we told the provider to drop.
func (r *rig) cancelled() (out []string) {
	for _, q := range r.twilio.Requests() {
		if q.Operation == "UpdateCall" && q.Form.Get("Status") == "canceled" {
			out = append(out, q.Operation)
		}
	}
	return out
}

func TestACallThatTheProcessBeforeMadeIsCancelledByAnAck(t *testing.T) {
	r := newStory(t, "{after: 2m, by: [voice]}", "{after: 1s, by: [voice]}")
	one := r.phone("one")
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.until("a call", func() bool { return len(one.calls()) == 1 })
	id := r.one().ID
	r.until("it is written down", func() bool { return slices.Contains(said(r.detail(id).Pages, tocsin.KindPage), "one voice sent") })
	r.restart()
	one.answers(t, "4 10", "10 db-main is yours. Done? 6 10. Cannot? 5 10.")
	r.until("the call is cancelled", func() bool { return len(r.cancelled()) == 1 })
	r.never("it is cancelled twice", func() bool { return len(r.cancelled()) > 1 })
}

// The process dies while the provider has the SMS and has not answered; until the next one asks, the incident has grown, so that its
// text would be another by then. It is known again by the text that stands in its row, and nobody gets it twice.
func TestAnSMSOfUnknownOutcomeIsKnownAgainAfterARestartThoughItsTextHasChanged(t *testing.T) { // C6
	r := newStory(t)
	one := r.phone("one")
	r.twilio.Script(func(n int, q providertest.Request) providertest.Step {
		if n == 1 && q.Operation == "CreateMessage" {
			return providertest.Step{Drop: true, Taken: true}
		}
		return providertest.Step{}
	})
	r.prometheus(burning("alertname", "Lag", "service", "db-main", "team", "platform", "host", "db-1"))
	page := one.waits("db-main")
	id := r.one().ID
	r.until("its outcome is unknown", func() bool { return slices.Contains(said(r.detail(id).Pages, tocsin.KindPage), "one sms unknown") })
	r.restart()
	r.prometheus(burning("alertname", "Lag", "service", "db-main", "team", "platform", "host", "db-2"))
	r.until("it has grown", func() bool { return r.detail(id).Open == 2 })
	r.until("the SMS is found", func() bool { return slices.Contains(said(r.detail(id).Pages, tocsin.KindPage), "one sms sent") })
	if got := one.texts(); len(got) != 1 || got[0] != page || strings.Contains(page, "(+") {
		t.Errorf("texts %q, want the first one only", got)
	}
	status, body := r.callback(r.twilio.Status(r.taken("CreateMessage").ID, "delivered", 0))
	if status != http.StatusNoContent {
		t.Fatalf("report answered %d %s", status, body)
	}
	if got := said(r.detail(id).Pages, tocsin.KindPage); !slices.Contains(got, "one sms delivered") {
		t.Errorf("pages %q, want the SMS delivered", got)
	}
}
