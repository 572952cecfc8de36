package app

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tocsin/paging/providertest"
	"tocsin/parts/partstest"
)

// A real Prometheus scrapes lag, alerts on it through the Alertmanager door, and sends the end of it.
func TestARealPrometheusPagesBySMSIsAnsweredAndResolves(t *testing.T) {
	r := newStory(t, "    window: 15m  ", "    quiet: 1s\n    window: 15m  ")
	var lag atomic.Int64
	lag.Store(340)
	db := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "story_replication_lag_seconds %d\n", lag.Load())
	}))
	t.Cleanup(db.Close)
	rules := filepath.Join(t.TempDir(), "rules.yml")
	err := os.WriteFile(rules, []byte(`groups:
- name: story
  rules:
  - alert: ReplicationLag
    expr: story_replication_lag_seconds > 60
    labels: {severity: critical, service: db-main, team: platform}
    annotations: {summary: "replication lag {{ $value }}s"}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	partstest.Start(t, "prometheus", "prometheus", fmt.Sprintf("PROM_PORT=%d", partstest.FreePort(t)), "PROM_ALERTS_TO="+strings.TrimPrefix(r.url, "http://"),
		"PROM_RULES="+rules, "PROM_TARGETS="+strings.TrimPrefix(db.URL, "http://"), "PROM_TOKEN=prom-secret", "PROM_RESEND=1s")

	one := r.phone("one")
	page := one.waits("db-main")
	if want := "CRIT db-main: replication lag 340s. Reply 4 10 ack, 5 10 escalate, 6 10 resolve. " + public + "/i/1"; page != want {
		t.Errorf("paged %q\nwant  %q", page, want)
	}
	if got, want := one.says("4 "+r.codeIn(page)), "10 db-main is yours. Done? 6 10. Cannot? 5 10."; got != want {
		t.Errorf("answered %q, want %q", got, want)
	}
	i := r.one()
	if i.State != "acknowledged" || i.AckedBy != "one" || len(owed(i.Pages)) > 0 {
		t.Errorf("incident %s is %s by %q with %+v, want it acknowledged by one and nothing more to be sent", i.ID, i.State, i.AckedBy, owed(i.Pages))
	}
	lag.Store(0)
	r.is(i.ID, "resolved")
	if got := one.waits("recovered by itself"); !strings.HasPrefix(got, "10 db-main recovered by itself ") || !strings.HasSuffix(got, ". Nothing to do.") {
		t.Errorf("the all-clear is %q", got)
	}
	if n := len(one.texts()); n != 2 {
		t.Errorf("%d SMS, want the page and the all-clear: %q", n, one.texts())
	}
}

func TestACallIsAnsweredByAKeyAndByNothingElse(t *testing.T) {
	r := newStory(t, "{after: 2m, by: [voice]}", "{after: 1s, by: [voice]}")
	one := r.phone("one")
	r.lag("lag", "critical", "db-main", "replication lag 340s")
	r.until("a call", func() bool { return len(one.calls()) == 1 })
	call := r.taken("CreateCall")
	const spoken = "Critical alert. db main: replication lag 340 seconds. Press 4 to acknowledge, 5 to escalate, 6 twice to resolve, 9 or star to repeat."
	if !strings.Contains(call.Text, ">"+spoken+"<") {
		t.Errorf("the call says %s\nwant %s", call.Text, spoken)
	}
	id := r.one().ID
	press := func(document, digits string) string {
		t.Helper()
		req, err := r.twilio.PressIn(document, call.ID, digits)
		status, body := r.callback(req, err)
		if status != http.StatusOK {
			t.Fatalf("key %q answered %d %s", digits, status, body)
		}
		return body
	}
	status := func(word string) {
		t.Helper()
		if code, body := r.callback(r.twilio.Status(call.ID, word, 0)); code != http.StatusNoContent {
			t.Fatalf("status %s answered %d %s", word, code, body)
		}
	}
	for _, what := range []struct{ name, digits, says string }{
		{"no key", "", "No key was pressed"},
		{"a key that means nothing", "1", "Press 4 to acknowledge"},
		{"several keys at once", "45", "Press 4 to acknowledge"},
		{"the key to repeat", "9", "replication lag 340 seconds"},
		{"a candidate's key", "7", "Press 4 to acknowledge"},
		{"the first of two sixes", "6", "Press 6 once more"},
	} {
		if got := press(call.Text, what.digits); !strings.Contains(got, what.says) {
			t.Errorf("%s is answered %s, want %q in it", what.name, got, what.says)
		}
		if d := r.detail(id); d.State != "triggered" {
			t.Fatalf("%s made the incident %s, want triggered", what.name, d.State)
		}
	}
	status("in-progress")
	status("completed") // a mailbox picks up too
	if d := r.detail(id); d.State != "triggered" {
		t.Fatalf("a call that was picked up made the incident %s, want triggered", d.State)
	}
	answer := press(call.Text, "4")
	if !strings.Contains(answer, ">db main is yours.<") || !strings.Contains(answer, "<Hangup") {
		t.Errorf("the key is answered %s, want that it is theirs, without codes, and the end", answer)
	}
	d := r.detail(id)
	if d.State != "acknowledged" || d.AckedBy != "one" || len(owed(d.Pages)) > 0 {
		t.Errorf("the incident is %s by %q and owes %+v, want it to be one's and nothing to be owed", d.State, d.AckedBy, owed(d.Pages))
	}
	if got := press(call.Text, "4"); !strings.Contains(got, "is yours") {
		t.Errorf("a repeat of the key is answered %s", got)
	}
	again := press(call.Text, "6") // a late key, on a call that is long over
	if got := press(again, "6"); !strings.Contains(got, "alert still fires") {
		t.Errorf("6 twice is answered %s, want that it is closed and what still fires", got)
	}
	if d := r.detail(id); d.State != "resolved" {
		t.Errorf("6 twice left the incident %s", d.State)
	}
}

// A mail is read back as what a mail client shows of it.
func mailOf(t *testing.T, q providertest.Request) (subject, plain, html string) {
	t.Helper()
	var m struct {
		Subject string
		Content []struct{ Type, Value string }
	}
	b, err := json.Marshal(q.JSON)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil || len(m.Content) != 2 {
		t.Fatalf("mail %s: %v, want a plain and an HTML part", b, err)
	}
	return m.Subject, m.Content[0].Value, m.Content[1].Value
}

// linkIn returns the signed link that a mail carries, as where this tocsin listens.
func (r *rig) linkIn(text string) string {
	r.t.Helper()
	_, rest, ok := strings.Cut(text, public+"/ack/")
	if !ok {
		r.t.Fatalf("no signed link in %q", text)
	}
	token, _, _ := strings.Cut(rest, "\n")
	return r.url + "/ack/" + strings.TrimSpace(token)
}

// browse opens a page as a browser does that nobody is logged in with, or posts a form where there is one.
func (r *rig) browse(address string, form url.Values) (int, string) {
	r.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var resp *http.Response
	var err error
	if form == nil {
		resp, err = client.Get(address)
	} else {
		resp, err = client.PostForm(address, form)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheMailsLinkShowsFirstAndActsOnAButton(t *testing.T) {
	r := newStory(t)
	r.lag("lag", "critical", "db-main", "replication lag 340s")
	r.until("a mail", func() bool { return len(r.sendgrid.Taken()) == 1 })
	subject, plain, html := mailOf(t, r.sendgrid.Taken()[0])
	if want := "CRIT db-main: replication lag 340s [#1]"; subject != want {
		t.Errorf("subject %q, want %q", subject, want)
	}
	if strings.Contains(plain, "Reply with") {
		t.Errorf("the mail asks for an answer that nobody reads:\n%s", plain)
	}
	link := r.linkIn(plain)
	if !strings.Contains(html, strings.Replace(link, r.url, public, 1)) {
		t.Errorf("the HTML part has no link: %s", html)
	}
	id := r.one().ID
	for range 2 {
		status, page := r.browse(link, nil)
		if status != http.StatusOK || !strings.Contains(page, "replication lag 340s") || !strings.Contains(page, "<button") {
			t.Fatalf("the link shows %d %s, want the incident and a button", status, page)
		}
	}
	if d := r.detail(id); d.State != "triggered" {
		t.Fatalf("to open the link made it %s: a mail scanner would have acknowledged it", d.State)
	}
	forged := link[:len(link)-6] + "AAAAAA"
	for _, bad := range []string{forged, r.url + "/ack/x", r.url + "/ack/" + strings.Repeat("A", 300)} {
		got, page := r.browse(bad, nil)
		did, _ := r.browse(bad, url.Values{"do": {"ack"}})
		if got < 400 || did < 400 || got >= 500 || did >= 500 {
			t.Errorf("a forged link is answered %d and %d, want it refused: %s", got, did, page)
		}
	}
	if d := r.detail(id); d.State != "triggered" {
		t.Fatalf("a forged link made it %s", d.State)
	}
	status, body := r.browse(link, url.Values{"do": {"ack"}})
	if status != http.StatusSeeOther && status != http.StatusOK {
		t.Fatalf("the button is answered %d %s", status, body)
	}
	d := r.detail(id)
	if d.State != "acknowledged" || d.AckedBy != "one" || len(owed(d.Pages)) > 0 {
		t.Errorf("the incident is %s by %q and owes %+v, want it to be one's and nothing to be owed", d.State, d.AckedBy, owed(d.Pages))
	}
	if status, page := r.browse(link, nil); status != http.StatusOK || !strings.Contains(page, "It is yours") {
		t.Errorf("the link then shows %d %s, want that it is theirs", status, page)
	}
}

func TestAMailThatSendGridRefusesGoesByTheRelay(t *testing.T) {
	port := partstest.FreePort(t)
	sink := partstest.Start(t, "sinks", "python3", fmt.Sprintf("SINK_HTTP_PORT=%d", partstest.FreePort(t)), fmt.Sprintf("SINK_SMTP_PORT=%d", port))
	r := newStory(t, "127.0.0.1:2525", fmt.Sprintf("127.0.0.1:%d", port))
	r.sendgrid.Script(func(int, providertest.Request) providertest.Step {
		return providertest.Step{Status: http.StatusUnauthorized}
	})
	r.lag("lag", "critical", "db-main", "replication lag 340s")
	type mail struct {
		To      []string
		Headers map[string]string
		Parts   map[string]string
	}
	var mails []mail
	r.until("a mail at the relay", func() bool {
		b, err := os.ReadFile(sink["SINK_SMTP_FILE"])
		if err != nil {
			return false
		}
		mails = nil
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			var m mail
			if json.Unmarshal(lines.Bytes(), &m) == nil {
				mails = append(mails, m)
			}
		}
		return len(mails) > 0
	})
	if m := mails[0]; len(mails) != 1 || !slices.Equal(m.To, []string{"one@example.org"}) || m.Headers["Subject"] != "CRIT db-main: replication lag 340s [#1]" {
		t.Fatalf("the relay got %+v, want the one mail", mails)
	}
	if got := len(r.sendgrid.Requests()); got != 1 {
		t.Errorf("%d requests to SendGrid, want one: it said no", got)
	}
	id := r.one().ID
	r.until("the page is the relay's", func() bool {
		return slices.ContainsFunc(r.detail(id).Pages, func(p pageJSON) bool {
			return p.Channel == "email" && p.Provider == "relay" && p.State == "sent"
		})
	})
	link := r.linkIn(mails[0].Parts["text/plain"])
	if status, body := r.browse(link, url.Values{"do": {"ack"}}); status >= 400 {
		t.Fatalf("the relay's link is answered %d %s", status, body)
	}
	if d := r.detail(id); d.State != "acknowledged" {
		t.Errorf("the relay's link left it %s", d.State)
	}
}
