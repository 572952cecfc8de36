package app

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/paging/providertest"
)

// oneAlways are edits by which person one is on call at every hour of every day, so that a story does not depend on the date.
var oneAlways = []string{
	"rotation: [one, two]", "rotation: [one]",
	`      - {name: new-york-hours, rotation: [three], time_zone: America/New_York, only: ["mon-fri 14:00-17:00"]}` + "\n", "",
}

// newStory starts a whole tocsin for one story: with the contract's file and person one on call, unless edits say otherwise.
// Stories run beside each other; each has ended before its folder goes.
func newStory(t *testing.T, edits ...string) *rig {
	t.Helper()
	t.Parallel()
	r := newRig(t, append(slices.Clone(oneAlways), edits...)...)
	r.stop = sync.OnceValue(r.stop)
	t.Cleanup(func() {
		err := r.stop()
		if err != nil {
			t.Errorf("stop: %v", err)
		}
		for _, p := range append(r.twilio.Problems(), r.sendgrid.Problems()...) {
			t.Errorf("a request breaks the provider's description: %s", p)
		}
	})
	return r
}

// restart stops this tocsin as an operator does, and starts it on what its file says now.
func (r *rig) restart() {
	r.t.Helper()
	err := r.stop()
	if err != nil {
		r.t.Fatalf("stop: %v", err)
	}
	r.start()
	r.stop = sync.OnceValue(r.stop)
}

// A phone is one person's, as they see it.
type phone struct {
	r      *rig
	number string
}

func (r *rig) phone(person string) phone {
	return phone{r, map[string]string{"one": "+15005550001", "two": "+15005550002", "three": "+15005550003"}[person]}
}

// texts are the SMS that came, in order.
func (p phone) texts() []string { return p.got("CreateMessage") }

// calls are what the calls that came would say, as TwiML, in order.
func (p phone) calls() []string { return p.got("CreateCall") }

func (p phone) got(operation string) []string {
	var out []string
	for _, q := range p.r.twilio.Taken() {
		if q.Operation == operation && q.To == p.number {
			out = append(out, q.Text)
		}
	}
	return out
}

// waits returns the first text that has part in it, once it has come.
func (p phone) waits(part string) (text string) {
	p.r.t.Helper()
	p.r.until(fmt.Sprintf("an SMS to %s with %q", p.number, part), func() bool {
		i := slices.IndexFunc(p.texts(), func(s string) bool { return strings.Contains(s, part) })
		if i >= 0 {
			text = p.texts()[i]
		}
		return i >= 0
	})
	return text
}

// ourNumber is what pages come from in the contract's file.
const ourNumber = "+15005550006"

// says sends an SMS to us, as signed by the provider, and returns the text that comes back; "" for none.
func (p phone) says(text string) string {
	p.r.t.Helper()
	return p.r.answered(p.r.twilio.SMS(public+"/twilio/twilio/sms", p.number, ourNumber, text))
}

// answered delivers an inbound message and returns the text that comes back.
func (r *rig) answered(req *http.Request, err error) string {
	r.t.Helper()
	status, body := r.callback(req, err)
	if status != http.StatusOK {
		r.t.Fatalf("an SMS was answered %d %s", status, body)
	}
	var doc struct{ Message string }
	err = xml.Unmarshal([]byte(body), &doc)
	if err != nil {
		r.t.Fatalf("answer %s: %v", body, err)
	}
	return doc.Message
}

var replyCode = regexp.MustCompile(`Reply [47] (\d+)`)

// codeIn returns the code that a text asks to answer with.
func (r *rig) codeIn(text string) string {
	r.t.Helper()
	m := replyCode.FindStringSubmatch(text)
	if m == nil {
		r.t.Fatalf("no code in %q", text)
	}
	return m[1]
}

// lasts is how long a story watches that something does not happen. What would go wrong does so at once: in the same
// transaction, or by a page that is claimed within milliseconds.
const lasts = 300 * time.Millisecond

// never fails if is comes true within a short while.
func (r *rig) never(what string, is func() bool) {
	r.t.Helper()
	end := time.After(lasts)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if is() {
			r.t.Fatalf("%s", what)
		}
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// An am is an alert as Prometheus sends it to Alertmanager's API.
type am struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    *time.Time        `json:"startsAt,omitempty"`
	EndsAt      *time.Time        `json:"endsAt,omitempty"`
}

// burning is an alert by pairs of label names and values; its summary is "NAME of HOST".
func burning(pairs ...string) am {
	a := am{Labels: map[string]string{"severity": "critical"}}
	for i := 0; i < len(pairs); i += 2 {
		a.Labels[pairs[i]] = pairs[i+1]
	}
	a.Annotations = map[string]string{"summary": a.Labels["alertname"] + " of " + a.Labels["host"]}
	return a
}

// ends is the same alert, resolved now.
func (a am) ends() am {
	a.EndsAt = new(time.Now().UTC())
	return a
}

// prometheus posts alerts through the Alertmanager door.
func (r *rig) prometheus(alerts ...am) {
	r.t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		r.t.Fatal(err)
	}
	status, answer := r.post("/api/v2/alerts", "prom-secret", string(body))
	if status != http.StatusOK {
		r.t.Fatalf("POST /api/v2/alerts: %d %s", status, answer)
	}
}

// lag sends an alert about a service by the Alertmanager door; key tells alerts of one service apart.
func (r *rig) lag(key, severity, service, summary string) am {
	r.t.Helper()
	a := am{
		Labels:      map[string]string{"alertname": "Lag", "instance": key, "service": service, "severity": severity},
		Annotations: map[string]string{"summary": summary},
	}
	r.prometheus(a)
	return a
}

// A detail is one incident with all that belongs to it, as the API answers.
type detail struct {
	incidentJSON
	Number   int64
	Urgency  string
	Severity string
	Rule     string
	Service  string
	Code     int
	Open     int `json:"open_alerts"`
	Reopened int
	Timeline []struct {
		Actor, Kind string
		Data        lineData
	}
	Pages []pageJSON `json:"pages"`
}

type pageJSON struct {
	ID, Kind, Person, Channel, Provider, State, Error string
	Incident, Major                                   string
	Attempts                                          int
	DueAt                                             time.Time `json:"due_at"`
	SentAt                                            time.Time `json:"sent_at"`
}

func (r *rig) detail(id string) (d detail) {
	r.t.Helper()
	r.get("/api/v1/incidents/"+id, &d)
	return d
}

// one returns the only incident there is, once there is one.
func (r *rig) one() detail {
	r.t.Helper()
	r.until("an incident", func() bool { return len(r.incidents()) > 0 })
	all := r.incidents()
	if len(all) != 1 {
		r.t.Fatalf("%d incidents, want one: %+v", len(all), all)
	}
	return r.detail(all[0].ID)
}

// is waits until an incident is in a state.
func (r *rig) is(id, state string) {
	r.t.Helper()
	r.until("incident "+id+" is "+state, func() bool { return r.detail(id).State == state })
}

// number reads an id such as i1 or m1.
func (r *rig) number(id string) int64 {
	r.t.Helper()
	n, err := strconv.ParseInt(id[1:], 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// timers are what time will bring about an incident or a major.
func (r *rig) timers(incident, major int64) (out []store.Timer) {
	r.t.Helper()
	err := r.a.db.View(r.t.Context(), func(tx *store.Tx) error {
		var err error
		out, err = tx.Timers(incident, major)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// owed are the pages that still want to be sent, or may be: due, claimed, or of unknown fate.
func owed(pages []pageJSON) (out []pageJSON) {
	for _, p := range pages {
		if p.Kind != tocsin.KindNotice && (p.State == "due" || p.State == "claimed" || p.State == "unknown") {
			out = append(out, p)
		}
	}
	return out
}

// said collects what was paged where, as person/channel, of an incident's pages.
func said(pages []pageJSON, kind string) (out []string) {
	for _, p := range pages {
		if p.Kind == kind {
			out = append(out, p.Person+" "+p.Channel+" "+p.State)
		}
	}
	slices.Sort(out)
	return out
}

// taken is the request that was taken last for an operation.
func (r *rig) taken(operation string) (last providertest.Request) {
	for _, q := range r.twilio.Taken() {
		if q.Operation == operation {
			last = q
		}
	}
	return last
}

func amJSON(t *testing.T, alerts ...am) string {
	t.Helper()
	b, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
