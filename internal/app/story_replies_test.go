package app

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// bothPaged are edits by which the first step pages one and two at once.
var bothPaged = []string{"{page: [schedule/platform], escalate_after: 5m}", "{page: [person/one, person/two], escalate_after: 5m}"}

// clockTime is a time of day in a text, which tests do not know.
var clockTime = regexp.MustCompile(`\b\d\d:\d\d\b`)

// timeless is a text with its times of day as 00:00.
func timeless(text string) string { return clockTime.ReplaceAllString(text, "00:00") }

func (p phone) answers(t *testing.T, text, want string) {
	t.Helper()
	if got := timeless(p.says(text)); got != want {
		t.Errorf("%q is answered %q\nwant %q", text, got, want)
	}
}

func TestRepliesBySMSActForTheRightPersonAndIncident(t *testing.T) {
	r := newStory(t, bothPaged...)
	one, two, three := r.phone("one"), r.phone("two"), r.phone("three")
	one.answers(t, "?", "No page is open for you. Nothing to do.")
	one.answers(t, "4", "No page is open for you. Nothing to do.")
	one.answers(t, "4 10", "Nothing of yours is open under 10. No page is open for you. Nothing to do.")

	r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("db-main")
	two.waits("db-main")
	lag := r.one().ID
	is := func(id, state, by string) {
		t.Helper()
		if d := r.detail(id); d.State != state || d.AckedBy != by {
			t.Errorf("incident %s is %s by %q, want %s by %q", id, d.State, d.AckedBy, state, by)
		}
	}
	// What is no command, and what belongs to the carrier.
	for _, text := range []string{"hello", "410", "4 10 11", "10", "no", "👍", "6 all", "6all", "4 10min", "7 10"} {
		if got := one.says(text); got == "" || strings.Contains(got, "is yours") {
			t.Errorf("%q is answered %q, want help", text, got)
		}
		is(lag, "triggered", "")
	}
	for _, text := range []string{"STOP", "Cancel", "END", "quit", "UNSUBSCRIBE"} {
		one.answers(t, text, "")
		is(lag, "triggered", "")
		one.answers(t, "START", "You get pages by SMS again. ? lists what is open.")
	}
	one.answers(t, "HELP", "4 CODE ack, 5 CODE escalate, 6 CODE resolve, take CODE, ? lists what is open. Majors: 7 CODE confirm, 8 CODE reject.")
	one.answers(t, "7 10", "10 db-main is an incident. Reply 4 10 ack, 5 10 escalate, 6 10 resolve.")
	one.answers(t, "4 99", "Nothing of yours is open under 99. 1 page open: 10 db-main replication lag 340s. Reply 4 10.")
	one.answers(t, "6", "1 page open: 10 db-main replication lag 340s. Reply 6 10.")
	three.answers(t, "4 10", "10 db-main was not paged to you, nothing has changed. To take it: take 10")
	is(lag, "triggered", "")
	stranger := phone{r, "+15005559999"}
	stranger.answers(t, "4 10", "")
	is(lag, "triggered", "")

	// A bare 4 acts while exactly one is open.
	one.answers(t, "ok 👍", "10 db-main is yours, the others know. Done? 6 10. Cannot? 5 10.")
	is(lag, "acknowledged", "one")
	if got := timeless(two.waits("has 10")); got != "one has 10 since 00:00. Go back to sleep. To take it: take 10" {
		t.Errorf("two is told %q", got)
	}
	two.answers(t, "4 10", "one has 10 since 00:00. Go back to sleep. To take it: take 10")
	is(lag, "acknowledged", "one")
	one.answers(t, "?", "Yours: 10 db-main replication lag 340s. Done? 6 10. Cannot? 5 10.")
	one.answers(t, "4 10", "10 db-main is yours already, since 00:00. Done? 6 10. Cannot? 5 10.")

	// Taken over: the one who had it is told.
	two.answers(t, "take 10", "10 db-main is yours, the others know. Done? 6 10. Cannot? 5 10.")
	is(lag, "acknowledged", "two")
	if got := timeless(one.waits("took 10")); got != "two took 10 db-main over 00:00. Nothing to do." {
		t.Errorf("one is told %q", got)
	}
	// With two open, a bare 4 says which there are.
	r.lag("b", "error", "payments", "5xx at 12%")
	r.lag("c", "critical", "checkout", "no orders for 5m")
	one.waits("payments")
	one.waits("checkout")
	codes := map[string]string{}
	for _, i := range r.incidents() {
		d := r.detail(i.ID)
		codes[d.Service] = d.ID
	}
	if got := one.says("4"); !strings.HasPrefix(got, "2 pages open: 11 ") || !strings.HasSuffix(got, " Reply 4 11, 4 12 or 4all.") {
		t.Errorf("a bare 4 with two open is answered %q", got)
	}
	is(codes["payments"], "triggered", "")
	if got := one.says("4all"); got != "11 and 12 are yours, the others know. Done? 6 CODE. Cannot? 5 CODE." {
		t.Errorf("4all is answered %q", got)
	}
	is(codes["payments"], "acknowledged", "one")
	is(codes["checkout"], "acknowledged", "one")
	is(lag, "acknowledged", "two")

	// Closed while it still fires, and said so; a note goes along.
	two.answers(t, "6 10 failed over by hand", "10 closed, but 1 alert still fires. Still firing 00:00: it re-opens and pages.")
	is(lag, "resolved", "two")
	two.answers(t, "6 10", "10 db-main was resolved by two 00:00. Nothing to do.")
	one.answers(t, "take 10", "10 db-main was resolved by two 00:00. Nothing to do.")
	r.never("a page after the resolve", func() bool { return len(owed(r.detail(lag).Pages)) > 0 })
	notes := func(id string) (out []string) {
		for _, c := range r.detail(id).Timeline {
			if c.Data.Note != "" {
				out = append(out, c.Actor+" "+c.Kind+": "+c.Data.Note)
			}
		}
		return out
	}
	if got, want := notes(lag), []string{"two resolve: failed over by hand"}; !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	// Passed on: the next step is paged, and nobody of the first one any more.
	id := codes["checkout"]
	code := r.codeIn(one.waits("checkout"))
	one.answers(t, "5 "+code+" I am on a train", code+" checkout goes on: three is paged now. Nothing more to do.")
	is(id, "triggered", "")
	three.waits("checkout")
	if got, want := notes(id), []string{"one escalate: I am on a train"}; !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	three.answers(t, "4 "+code, code+" checkout is yours, the others know. Done? 6 "+code+". Cannot? 5 "+code+".")
	is(id, "acknowledged", "three")
	for _, text := range slices.Concat(one.texts(), two.texts(), three.texts()) {
		if len(text) > 160 {
			t.Errorf("%q is longer than one message", text)
		}
	}
}

func TestAnOwnersSecondAckRenewsItsTimeOutAndKeepsTheNote(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("db-main")
	one.says("4 10")
	id := r.one().ID
	due := func() (out []time.Time) {
		for _, m := range r.timers(r.number(id), 0) {
			out = append(out, m.DueAt)
		}
		return out
	}
	before := due()
	if len(before) != 2 {
		t.Fatalf("timers %v, want the nudge and the time-out", before)
	}
	one.answers(t, "4 10", "10 db-main is yours already, since 00:00. Done? 6 10. Cannot? 5 10.")
	if got := due(); !slices.Equal(got, before) {
		t.Errorf("a mere repeat moved the timers from %v to %v", before, got)
	}
	one.answers(t, "4 10 still on it, 10 min", "10 db-main is yours already, since 00:00. Done? 6 10. Cannot? 5 10.")
	after := due()
	if len(after) != 2 || !after[0].After(before[0]) || !after[1].After(before[1]) {
		t.Errorf("a sign of life left the timers at %v, which were at %v", after, before)
	}
	d := r.detail(id)
	if last := d.Timeline[len(d.Timeline)-1]; last.Actor != "one" || last.Data.Note != "still on it, 10 min" {
		t.Errorf("the last line of the history is %+v, want the note", last)
	}
}

func TestAMessageThatComesAgainOrIsForgedDoesNothing(t *testing.T) {
	r := newStory(t, bothPaged...)
	one, two := r.phone("one"), r.phone("two")
	r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("db-main")
	two.waits("db-main")
	id := r.one().ID
	// post sends form to the SMS door as it stands, with this signature.
	post := func(req *http.Request, change func(*http.Request)) int {
		t.Helper()
		change(req)
		status, _ := r.callback(req, nil)
		return status
	}
	sms := func(text string) *http.Request {
		t.Helper()
		req, err := r.twilio.SMS(public+"/twilio/twilio/sms", one.number, ourNumber, text)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	for name, change := range map[string]func(*http.Request){
		"no signature":               func(q *http.Request) { q.Header.Del("X-Twilio-Signature") },
		"another signature":          func(q *http.Request) { q.Header.Set("X-Twilio-Signature", "Zm9yZ2Vk") },
		"two signatures":             func(q *http.Request) { q.Header.Add("X-Twilio-Signature", "Zm9yZ2Vk") },
		"signed for another address": func(q *http.Request) { q.URL.RawQuery = "x=1" },
		"another body":               func(q *http.Request) { other := sms("4 10"); q.Body, q.ContentLength = other.Body, other.ContentLength },
		"another door":               func(q *http.Request) { q.URL.Path = "/twilio/twilio/voice" },
	} {
		if status := post(sms("4 10"), change); status != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", name, status)
		}
	}
	if status := post(sms("4 10"), func(q *http.Request) { q.URL.Path = "/twilio/nobody/sms" }); status != http.StatusNotFound {
		t.Errorf("a provider that there is not: %d, want 404", status)
	}
	if d := r.detail(id); d.State != "triggered" {
		t.Fatalf("a forged message made it %s", d.State)
	}
	// The same message twice, as a provider sends it that got no answer.
	again := func() *http.Request {
		t.Helper()
		req, err := r.twilio.Signed(public+"/twilio/twilio/sms", map[string][]string{
			"AccountSid": {accountID}, "MessageSid": {"SM00000000000000000000000000000001"}, "From": {one.number}, "To": {ourNumber}, "Body": {"4 10"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	if got := r.answered(again(), nil); !strings.HasPrefix(got, "10 db-main is yours") {
		t.Errorf("the first time it is answered %q", got)
	}
	lines := len(r.detail(id).Timeline)
	if got := r.answered(again(), nil); !strings.HasPrefix(got, "10 db-main is yours") || len(r.detail(id).Timeline) != lines {
		t.Errorf("the second time it is answered %q, and the history has %d lines more", got, len(r.detail(id).Timeline)-lines)
	}
	two.says("take 10")
	if got := timeless(r.answered(again(), nil)); got != "two has 10 since 00:00. Go back to sleep. To take it: take 10" {
		t.Errorf("the third time, when two has it, it is answered %q", got)
	}
	if d := r.detail(id); d.AckedBy != "two" {
		t.Errorf("a replay gave it to %s, want it to stay two's", d.AckedBy)
	}
}
