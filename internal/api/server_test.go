package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/ingest"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
	"tocsin/paging"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// A fakeDesk does with incidents and majors what the state tables say, and remembers what providers brought.
type fakeDesk struct {
	db      store.DB
	mu      sync.Mutex
	reports []paging.Report
	replies []paging.Reply
	fail    error
}

func (d *fakeDesk) Incident(ctx context.Context, id int64, do, by, note string) (i tocsin.Incident, err error) {
	err = d.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		i, err = tx.Incident(id)
		if err == nil && do == tocsin.DoAck && i.State == tocsin.Acked && i.AckedBy == by {
			return nil
		}
		if err == nil {
			err = correlate.Command(&i, do, by, start)
		}
		if err == nil {
			err = tx.PutIncidents([]tocsin.Incident{i})
		}
		if err != nil {
			return err
		}
		return addChange(tx, tocsin.Change{At: start, Actor: by, Kind: do, Incident: id, Data: []byte(`{"note":` + strconv.Quote(note) + `}`)})
	})
	return i, err
}

func (d *fakeDesk) Major(ctx context.Context, id int64, do, by, _ string) (m tocsin.Major, err error) {
	err = d.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		m, err = tx.Major(id)
		if err == nil {
			err = correlate.Decide(&m, nil, do, by, start)
		}
		if err == nil {
			err = tx.PutMajors([]tocsin.Major{m})
		}
		if err != nil {
			return err
		}
		return addChange(tx, tocsin.Change{At: start, Actor: by, Kind: do, Major: id})
	})
	return m, err
}

func (d *fakeDesk) Reply(_ context.Context, _ string, r paging.Reply) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replies = append(d.replies, r)
	return "heard " + r.Text, d.fail
}

func (d *fakeDesk) Key(_ context.Context, _ string, k paging.KeyPress) (string, bool, error) {
	return "pressed " + k.First + k.Digits, k.Digits == "6" && k.First == "", d.fail
}

func (d *fakeDesk) Report(_ context.Context, _ string, r paging.Report) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports = append(d.reports, r)
	return d.fail
}

func (d *fakeDesk) OnCall(t time.Time) []Duty {
	return []Duty{{Schedule: "platform", Team: "platform", People: []string{"one"}, Why: "weekly", Until: t.Add(time.Hour)}}
}

func (d *fakeDesk) Shifts(name string, from, to time.Time) ([]Shift, bool) {
	return []Shift{{From: from, To: to, People: []string{"one"}, Layer: "weekly"}}, name == "platform"
}

func (d *fakeDesk) Person(name string) (tocsin.Person, bool) {
	role, ok := map[string]string{"one": "responder", "two": "responder", "three": "manager", "four": "reporter"}[name]
	return tocsin.Person{Name: name, Role: role}, ok
}

func (d *fakeDesk) People() []tocsin.Person { return nil }

func (d *fakeDesk) Linked(context.Context, string) (Link, error) {
	return Link{}, errors.New("no link")
}

func addChange(tx *store.Tx, changes ...tocsin.Change) error {
	part, err := tx.Lock(0)
	if err == nil {
		err = tx.AddChanges(&part, changes)
	}
	if err != nil {
		return err
	}
	return tx.SavePart(part)
}

// nowhere makes nothing durable.
type nowhere struct{}

func (nowhere) Accept(context.Context, string, []tocsin.Event) (ingest.Receipt, error) {
	return ingest.Receipt{Prefix: "x"}, nil
}

// A bench is a server on a store of its own.
type bench struct {
	t    testing.TB
	db   store.DB
	desk *fakeDesk
	*Server
	now time.Time
	log *bytes.Buffer
}

// newBench builds a server; change may alter what it is made of.
func newBench(t testing.TB, change func(*Options)) *bench {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "tocsin.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &bench{t: t, db: db, desk: &fakeDesk{db: db}, now: start, log: &bytes.Buffer{}}
	sources, err := ingest.NewSources([]ingest.Source{
		{Name: "prometheus", Kind: ingest.Alertmanager, Tokens: []ingest.Token{ingest.HashToken("prom-secret")}},
		{Name: "sender", Kind: ingest.Alertmanager, Tokens: []ingest.Token{ingest.HashToken("send-secret")}, Grants: []ingest.Grant{ingest.Send}},
	})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := ingest.NewReceiver(sources, nowhere{}, ingest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		DB: db, Desk: b.desk, Receiver: receiver, Sources: sources, Now: func() time.Time { return b.now },
		Tokens: func() []Token {
			return []Token{
				{Name: "robot", Role: "admin", Hash: ingest.HashToken("robot-secret")},
				{Name: "viewer", Role: "auditor", Hash: ingest.HashToken("viewer-secret")},
			}
		},
		PublicURL: func() string { return "https://p.example.org" },
		Receivers: func() []string { return []string{"catch-all", "platform"} },
		Console: []Page{
			{Pattern: "GET /{$}", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				name, role, _ := Who(r)
				_, _ = io.WriteString(w, name+" is "+role)
			})},
			{Pattern: "POST /i/{id}/ack", Handler: http.NotFoundHandler()},
		},
		Log: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	b.Server, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.EndStreams)
	b.update(func(tx *store.Tx) error {
		_, err := tx.Claim(0, "test")
		return err
	})
	return b
}

func (b *bench) update(fn func(*store.Tx) error) {
	b.t.Helper()
	err := b.db.Update(context.Background(), store.Commands, fn)
	if err != nil {
		b.t.Fatal(err)
	}
}

// A reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// send sends one request; head is names and values of headers.
func (b *bench) send(method, target, body string, head ...string) reply {
	b.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, in)
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Add(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return reply{w.Code, w.Result().Header, w.Body.String()}
}

// robot sends one request as the robot.
func (b *bench) robot(method, target, body string) reply {
	b.t.Helper()
	return b.send(method, target, body, "Authorization", "Bearer robot-secret")
}

// session logs somebody in and returns the cookie.
func (b *bench) session(who string) string {
	b.t.Helper()
	link, err := b.IssueLoginLink(b.t.Context(), who)
	if err != nil {
		b.t.Fatal(err)
	}
	_, secret, _ := strings.Cut(link, "?token=")
	got := b.form("/login", "link="+secret)
	if got.status != http.StatusSeeOther {
		b.t.Fatalf("login of %s: %d %s", who, got.status, got.body)
	}
	cookie, _, _ := strings.Cut(got.header.Get("Set-Cookie"), ";")
	return cookie
}

func (b *bench) form(target, body string, head ...string) reply {
	b.t.Helper()
	return b.send("POST", target, body, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, head...)...)
}

// wantJSON compares an answer with JSON, value by value.
func wantJSON(t *testing.T, got reply, status int, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	err := json.Unmarshal([]byte(got.body), &g)
	gotText, _ := json.Marshal(g)
	wantText, _ := json.Marshal(w)
	if got.status != status || err != nil || string(gotText) != string(wantText) {
		t.Errorf("answer %d %s\nwant   %d %s", got.status, got.body, status, wantText)
	}
}

// incidentOne is an incident with one alert.
func incidentOne() (tocsin.Incident, tocsin.Alert) {
	ls := tocsin.NewLabels(map[string]string{"alertname": "ReplicationLag", "service": "db-main", "host": "db-1"})
	i := tocsin.Incident{
		ID: 42, State: tocsin.Triggered, Title: "replication lag 340s", Rule: "databases", Key: "db-main", Group: "g", Labels: ls, Service: "db-main",
		Severity: tocsin.Critical, Priority: 3, Urgency: tocsin.UrgencyHigh, Escalation: "platform", Code: 17, OpenedAt: start, NewestAt: start, Open: 1, Alerts: 1,
	}
	a := tocsin.Alert{
		ID: 7, Fingerprint: tocsin.FingerprintOf("prometheus", "k"), Source: "prometheus", Key: "k", Status: tocsin.Firing, Severity: tocsin.Critical, Word: "page",
		Summary: "replication lag 340s", About: "db-1", Labels: ls, Annotations: tocsin.NewLabels(map[string]string{"summary": "lag \"340s\""}),
		URL: "http://prometheus.example.org/graph?a=b", StartsAt: start, FirstAt: start, LastAt: start.Add(time.Minute), EndsAt: start.Add(4 * time.Minute),
		Count: 3, Rule: "databases", Group: "g", Incident: 42, Why: tocsin.Why{Rule: "databases", Group: map[string]string{"service": "db-main"}, Joined: "opened"},
	}
	return i, a
}

// fill puts an incident with its alert, a page, a candidate and their history into the store.
func (b *bench) fill() {
	b.t.Helper()
	i, a := incidentOne()
	m := tocsin.Major{
		ID: 3, State: tocsin.Proposed, Title: "eu-west: 25 hosts", Rule: "wide-outage", Scope: tocsin.NewLabels(map[string]string{"region": "eu-west"}), Priority: 2,
		Escalation: "managers", Code: 18, Measures: tocsin.Measures{Hosts: 25}, Peak: tocsin.Measures{Hosts: 26}, Limits: tocsin.Measures{Hosts: 20},
		Incidents: []int64{42}, ProposedAt: start, DecideBy: start.Add(10 * time.Minute), DecideAfter: 10 * time.Minute,
	}
	p := tocsin.Page{
		ID: "p-1", Kind: tocsin.KindPage, Incident: 42, Person: "one", Channel: "sms", Address: "+15005550001", Provider: "twilio", State: tocsin.PageDelivered,
		Attempts: 1, DueAt: start, SentAt: start.Add(time.Second), EndedAt: start.Add(2 * time.Second),
	}
	b.update(func(tx *store.Tx) error {
		return errors.Join(tx.PutIncidents([]tocsin.Incident{i}), tx.PutAlerts([]tocsin.Alert{a}), tx.PutMajors([]tocsin.Major{m}), tx.InsertPages([]tocsin.Page{p}),
			addChange(tx, tocsin.Change{At: start, Actor: "rule", Kind: tocsin.ChangeOpened, Incident: 42, Data: []byte(`{"alerts":1}`)},
				tocsin.Change{At: start, Actor: "rule", Kind: tocsin.ChangeProposed, Major: 3}))
	})
}
