package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/paging/providertest"
)

// off are the contacts that are turned off, as channel, address and why.
func (r *rig) off() (out []string) {
	r.t.Helper()
	err := r.a.db.View(r.t.Context(), func(tx *store.Tx) error {
		rows, err := tx.ContactsOff()
		for _, c := range rows {
			out = append(out, c.Channel+" "+c.Address+": "+c.Why)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// mails are the plain texts of the mails to one person, in order.
func (r *rig) mails(person string) (out []string) {
	for _, q := range r.sendgrid.Taken() {
		if q.To == person+"@example.org" {
			out = append(out, q.Text)
		}
	}
	return out
}

// history is what an incident's timeline says of paging.
func (r *rig) history(id string) (out []string) {
	for _, c := range r.detail(id).Timeline {
		out = append(out, c.Data.Paging...)
	}
	return out
}

func mentions(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

func TestSTOPTurnsANumberOffForGoodAndSaysSoAndSTARTTurnsItOnAgain(t *testing.T) { // P10
	r := newStory(t)
	one, two := r.phone("one"), r.phone("two")
	for _, word := range []string{"STOP", "stop all", " Stop \n", "unsubscribe"} {
		one.answers(t, word, map[bool]string{true: "No page is open for you. Nothing to do."}[word == "stop all"])
	}
	want := []string{"sms +15005550001: the number answered STOP"}
	if diff := gocmp.Diff(want, r.off()); diff != "" {
		t.Errorf("off (-want +got):\n%s", diff)
	}
	r.until("one is told by mail", func() bool {
		return mentions(r.mails("one"), "No more SMS to +15005550001: the number answered STOP. You are still paged by call and mail. To turn it on again: send START from that phone.")
	})
	two.waits("one gets no SMS any more: the number answered STOP. They are still paged by call and mail.")
	if n := len(slices.DeleteFunc(two.texts(), func(s string) bool { return !strings.Contains(s, "no SMS") })); n != 1 {
		t.Errorf("two is told %d times, want once", n)
	}

	r.restart()
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.until("one is called at once, instead of after two minutes, and mailed", func() bool { return len(one.calls()) == 0 && mentions(r.mails("one"), "replication lag") })
	id := r.one().ID
	r.until("it is said", func() bool { return mentions(r.history(id), "sms is off: the number answered STOP") })
	r.never("an SMS to a number that is off", func() bool { return len(one.texts()) > 0 })
	var duties struct {
		OnCall []struct {
			Schedule string
			Off      []struct{ Person, Channel, Why string }
		} `json:"oncall"`
	}
	r.get("/api/v1/oncall", &duties)
	if len(duties.OnCall) == 0 || len(duties.OnCall[0].Off) != 1 || duties.OnCall[0].Off[0].Person != "one" || duties.OnCall[0].Off[0].Why != "the number answered STOP" {
		t.Errorf("on call is %+v, want that one's SMS is off", duties)
	}

	one.answers(t, "Start", "You get pages by SMS again. ? lists what is open.")
	if got := r.off(); len(got) != 0 {
		t.Errorf("after START these are off: %q", got)
	}
	r.lag("b", "critical", "checkout", "no orders")
	one.waits("checkout")
}

func TestSTOPWhileAPageWaitsTakesTheNextWayAtOnce(t *testing.T) {
	r := newStory(t, "{after: 0s, by: [sms, email]}, {after: 2m, by: [voice]}", "{after: 0s, by: [email]}, {after: 1h, by: [sms]}, {after: 2h, by: [voice]}")
	one := r.phone("one")
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.until("the mail", func() bool { return mentions(r.mails("one"), "replication lag") })
	one.answers(t, "STOP", "")
	r.until("the call that had two hours to wait", func() bool { return len(one.calls()) == 1 })
	id := r.one().ID
	want := []string{"one email sent", "one sms failed", "one voice sent"}
	r.until("all is written down", func() bool { return slices.Equal(said(r.detail(id).Pages, tocsin.KindPage), want) })
	if !mentions(r.history(id), "sms to one failed: SMS to this number is off: voice at once") {
		t.Errorf("history %q", r.history(id))
	}
}

func TestAProviderThatKnowsOfASTOPTurnsTheNumberOffToo(t *testing.T) { // 21610
	for name, refuse := range map[string]func(r *rig){
		"as it is asked to send": func(r *rig) {
			r.twilio.Script(func(_ int, q providertest.Request) providertest.Step {
				if q.To == "+15005550001" && q.Operation == "CreateMessage" {
					return providertest.Step{Status: 400, Code: 21610}
				}
				return providertest.Step{}
			})
		},
		"later, in its report": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newStory(t)
			one, two := r.phone("one"), r.phone("two")
			if refuse != nil {
				refuse(r)
			}
			r.lag("a", "critical", "db-main", "replication lag 340s")
			if refuse == nil {
				one.waits("db-main")
				status, body := r.callback(r.twilio.Status(r.taken("CreateMessage").ID, "undelivered", 21610))
				if status != 204 {
					t.Fatalf("report answered %d %s", status, body)
				}
			}
			r.until("the call comes at once", func() bool { return len(one.calls()) == 1 })
			want := []string{"sms +15005550001: the carrier says that the number answered STOP"}
			if diff := gocmp.Diff(want, r.off()); diff != "" {
				t.Errorf("off (-want +got):\n%s", diff)
			}
			two.waits("one gets no SMS any more")
			id := r.one().ID
			if !mentions(r.history(id), "sms to one failed: ") || !mentions(r.history(id), ": voice at once") {
				t.Errorf("history %q, want that the call comes at once", r.history(id))
			}
		})
	}
}

func TestWhatCannotBeDeliveredGoesByTheNextWayAtOnceAndThenToTheNextPerson(t *testing.T) { // P5, P6
	r := newStory(t, "{after: 0s, by: [sms, email]}", "{after: 0s, by: [sms]}")
	one, three := r.phone("one"), r.phone("three")
	r.twilio.Script(func(_ int, q providertest.Request) providertest.Step {
		if q.To == one.number {
			return providertest.Step{Status: 400, Code: 21614}
		}
		return providertest.Step{}
	})
	began := time.Now()
	r.lag("a", "critical", "db-main", "replication lag 340s")
	three.waits("db-main")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the next person was paged after %s, want at once: neither SMS nor call can reach the first", took)
	}
	id := r.one().ID
	want := []string{"one voice failed", "one sms failed", "three sms sent"}
	for _, w := range want { // the provider has a page some moments before its row says so
		r.until("there is a page "+w, func() bool { return slices.Contains(said(r.detail(id).Pages, tocsin.KindPage), w) })
	}
	if got := r.off(); len(got) > 0 {
		t.Errorf("a landline has opted out of nothing: %q", got)
	}
	if !mentions(r.history(id), "nobody else was reached: the next step at once") {
		t.Errorf("history %q", r.history(id))
	}
	if len(r.timers(r.number(id), 0)) != 1 {
		t.Errorf("timers %+v, want the one after that step", r.timers(r.number(id), 0))
	}
}

func TestFortyReplies(t *testing.T) { // P10
	r := newStory(t, bothPaged...)
	one, two, three := r.phone("one"), r.phone("two"), r.phone("three")
	stranger := phone{r, "+15005559999"}
	r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("db-main")
	two.waits("db-main")
	id := r.one().ID
	r.until("it is known that both were told", func() bool {
		told := said(r.detail(id).Pages, "page")
		return slices.Contains(told, "one sms sent") && slices.Contains(told, "two sms sent")
	})
	const (
		yours   = "10 db-main is yours, the others know. Done? 6 10. Cannot? 5 10."
		open    = "1 page open: 10 db-main replication lag 340s. Reply 4 10."
		unknown = "Nothing of yours is open under %s. " + open
	)
	rows := []struct {
		from           phone
		text, want, by string // by: whose it is afterwards; "" nobody's
	}{
		{one, "4 10", yours, "one"},
		{two, "4 10", yours, "two"},
		{one, "4  10", yours, "one"},
		{one, " 4 10 ", yours, "one"},
		{one, "4\n10", yours, "one"},
		{one, "4 10.", yours, "one"},
		{one, "4, 10", yours, "one"},
		{one, "ACK 10", yours, "one"},
		{one, "Ack 10!", yours, "one"},
		{one, "aCk10", yours, "one"},
		{one, "4 10 👍", yours, "one"},
		{one, "👍 4 10", yours, "one"},
		{one, "\U0001F4DF4 10", yours, "one"},
		{one, "４ １０", yours, "one"},
		{one, "٤ ١٠", yours, "one"},
		{one, "4\u00a010", yours, "one"},
		{one, "\u200b4 10", yours, "one"},
		{one, "ok", yours, "one"},
		{one, "OK.", yours, "one"},
		{one, "4", yours, "one"},
		{one, "4all", yours, "one"},
		{one, "4 10 driving, 10 min", yours, "one"},
		{two, "take 10", yours, "two"},
		{three, "take 10", yours, "three"},
		{three, "4 10", "10 db-main was not paged to you, nothing has changed. To take it: take 10", ""},
		{three, "4", "No page is open for you. Nothing to do.", ""},
		{stranger, "4 10", "", ""},
		{stranger, "STOP", "", ""},
		{one, "4 11", fmt.Sprintf(unknown, "11"), ""},
		{one, "4 9", fmt.Sprintf(unknown, "9"), ""},
		{one, "4 010x", open, ""},
		{one, "410", open, ""},
		{one, "10", open, ""},
		{one, "4 10 11", open, ""},
		{one, "yes please", open, ""},
		{one, "👍", open, ""},
		{one, "?", open, ""},
		{one, "Stop it", open, ""},
		{one, "STOP", "", ""},
		{one, "UNSTOP", "You get pages by SMS again. ? lists what is open.", ""},
	}
	if len(rows) != 40 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		got := row.from.says(row.text)
		if got != row.want {
			t.Errorf("%q of %s is answered %q\nwant %q", row.text, row.from.number, got, row.want)
		}
		if d := r.detail(id); d.AckedBy != row.by {
			t.Errorf("after %q of %s it is %q's, want %q's", row.text, row.from.number, d.AckedBy, row.by)
		}
		if row.by != "" {
			status, body := r.post("/api/v1/incidents/"+id+"/unack", robot, `{"by":"one"}`)
			if status != 200 {
				t.Fatalf("unack: %d %s", status, body)
			}
			n := len(one.texts())
			r.until("it is paged again", func() bool { return len(owed(r.detail(id).Pages)) <= 2 && len(one.texts()) >= min(n, 1) })
		}
	}
	if got := r.off(); len(got) != 0 {
		t.Errorf("off: %q; a stranger's STOP is nobody's, and one has said UNSTOP", got)
	}
}
