package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/config"
	"tocsin/paging/providertest"
)

// A rig is a whole tocsin on loopback, with the contract's configuration and both providers' doubles.
type rig struct {
	t        *testing.T
	dir      string
	url      string
	twilio   *providertest.Twilio
	sendgrid *providertest.SendGrid
	a        *App
	stop     func() error
	paced    bool // people get their messages as slowly as in life
}

const (
	public    = "http://tocsin.example.org"
	accountID = "AC00000000000000000000000000000000"
	robot     = "robot-secret"
	pdKey     = "0123456789abcdef0123456789abcdef"
)

// newRig starts a tocsin whose configuration is the contract's, with edits: pairs of old and new text.
func newRig(t *testing.T, edits ...string) *rig {
	t.Helper()
	return newRigOn(t, ground{}, edits...)
}

// newRigOn starts one on other storage than the embedded.
func newRigOn(t *testing.T, g ground, edits ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	var err error
	r.twilio, err = providertest.NewTwilio(accountID, "twilio-secret")
	if err != nil {
		t.Fatal(err)
	}
	r.sendgrid, err = providertest.NewSendGrid("SG.secret")
	if err != nil {
		t.Fatal(err)
	}
	tw, sg := httptest.NewServer(r.twilio), httptest.NewServer(r.sendgrid)
	t.Cleanup(tw.Close)
	t.Cleanup(sg.Close)
	text, err := os.ReadFile("../../config/testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	edits = append([]string{
		"listen: 127.0.0.1:8080", "listen: 127.0.0.1:0", "public_url: http://127.0.0.1:8080 ", "public_url: " + public + " ", "dir: ./data", "dir: " + filepath.Join(r.dir, "data"),
		"base_url: http://127.0.0.1:9400", "base_url: " + tw.URL, "base_url: http://127.0.0.1:9401", "base_url: " + sg.URL,
	}, append(edits, g.edits(t)...)...)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(text), edits[i]) {
			t.Fatalf("the contract's file has no %q", edits[i])
		}
	}
	err = os.WriteFile(r.config(), []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *rig) config() string { return filepath.Join(r.dir, "tocsin.yaml") }

func (r *rig) start() {
	r.t.Helper()
	c, problems := config.Load(r.config())
	if c == nil {
		r.t.Fatal(problems)
	}
	log := slog.New(slog.NewTextHandler(r.t.Output(), nil))
	ctx, cancel := context.WithCancel(context.Background())
	a, err := open(ctx, c, r.config(), log)
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	if !r.paced {
		a.pager.Pace(0, -1, 0) // most stories are quicker than a person would be paged
	}
	go func() { done <- a.run(ctx) }()
	r.a, r.url = a, "http://"+a.listener.Addr().String()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	r.stop = stop
	r.t.Cleanup(func() { _ = stop() }) // the folder goes only after its last file is closed
}

// join starts another node on the same configuration and storage.
func (r *rig) join() *rig {
	r.t.Helper()
	other := *r
	other.start()
	return &other
}

// event posts a PagerDuty event and fails unless it is accepted.
func (r *rig) event(action, key, severity, component string) {
	r.t.Helper()
	body := fmt.Sprintf(`{"routing_key":%q,"event_action":%q,"dedup_key":%q,"payload":{"summary":"replication lag 340s","source":"db-1","severity":%q,"component":%q}}`,
		pdKey, action, key, severity, component)
	status, answer := r.post("/v2/enqueue", "", body)
	if status != http.StatusAccepted {
		r.t.Fatalf("event %s: %d %s", action, status, answer)
	}
}

func (r *rig) post(path, token, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) (int, string) {
	r.t.Helper()
	resp, err := http.DefaultClient.Do(req)
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

// callback delivers a provider's callback, that was signed for the public address, to where this tocsin listens.
func (r *rig) callback(req *http.Request, err error) (int, string) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	here := req.Clone(r.t.Context())
	u := *req.URL
	u.Scheme, u.Host = "http", strings.TrimPrefix(r.url, "http://")
	here.URL, here.RequestURI, here.Host = &u, "", ""
	return r.do(here)
}

func (r *rig) get(path string, into any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+robot)
	status, body := r.do(req)
	if status != http.StatusOK {
		r.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	err = json.Unmarshal([]byte(body), into)
	if err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

// metric returns the sum of all values of a metric.
func (r *rig) metric(name string) (sum float64) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	_, body := r.do(req)
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, _, _ := strings.Cut(series, "{"); n != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			r.t.Fatalf("metric %s: %v", name, err)
		}
		sum += v
	}
	return sum
}

type incidentJSON struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Key     string    `json:"key"`
	AckedBy string    `json:"acked_by"`
	Major   string    `json:"major"`
	Opened  time.Time `json:"opened_at"`
	Pages   []struct {
		Channel, State, Person string
	} `json:"pages"`
}

func (r *rig) incidents() []incidentJSON {
	r.t.Helper()
	var out struct{ Incidents []incidentJSON }
	r.get("/api/v1/incidents", &out)
	return out.Incidents
}

// until waits for something that another goroutine brings about; it looks often, and gives up after half a minute.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

func (r *rig) sent(operation string) []providertest.Request {
	var out []providertest.Request
	for _, q := range r.twilio.Requests() {
		if q.Operation == operation {
			out = append(out, q)
		}
	}
	return out
}

func TestAnAlertPagesBySMSIsAcknowledgedByReplyAndResolves(t *testing.T) {
	r := newRig(t)
	r.event("trigger", "lag", "critical", "db-main")
	r.until("an SMS was asked for", func() bool { return len(r.sent("CreateMessage")) == 1 })
	r.until("a mail was asked for", func() bool { return len(r.sendgrid.Requests()) == 1 })
	sms := r.sent("CreateMessage")[0]
	if len(sms.Problems) > 0 {
		t.Errorf("the request breaks the provider's description: %v", sms.Problems)
	}
	i := r.incidents()[0]
	if i.State != "triggered" {
		t.Fatalf("incident %+v, want it triggered", i)
	}
	status, answer := r.callback(r.twilio.SMS(public+"/twilio/twilio/sms", sms.Form.Get("To"), sms.Form.Get("From"), "4 10"))
	if status != http.StatusOK || !strings.Contains(answer, "is yours") {
		t.Fatalf("reply answered %d %s, want the incident to be theirs", status, answer)
	}
	if i = r.incidents()[0]; i.State != "acknowledged" || i.AckedBy == "" {
		t.Errorf("incident %+v, want it acknowledged by somebody", i)
	}
	r.event("resolve", "lag", "critical", "db-main")
	r.until("the incident is resolved", func() bool { return r.incidents()[0].State == "resolved" })
	if n := len(r.sent("CreateMessage")); n != 1 {
		t.Errorf("%d SMS, want the one page", n)
	}
}

func TestAForgedCallbackHasNoEffect(t *testing.T) {
	r := newRig(t)
	r.event("trigger", "lag", "critical", "db-main")
	r.until("an SMS was asked for", func() bool { return len(r.sent("CreateMessage")) == 1 })
	sms := r.sent("CreateMessage")[0]
	req, err := r.twilio.SMS(public+"/twilio/twilio/sms", sms.Form.Get("To"), sms.Form.Get("From"), "4 10")
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Twilio-Signature", "Zm9yZ2Vk")
	status, _ := r.callback(req, nil)
	if status != http.StatusForbidden || r.incidents()[0].State != "triggered" {
		t.Errorf("answered %d and left the incident %s, want 403 and triggered", status, r.incidents()[0].State)
	}
}
