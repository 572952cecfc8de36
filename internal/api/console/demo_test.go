package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/api/console"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
	"tocsin/paging"
)

// now is when the tests' pages are drawn: a Monday, four minutes past three at night in Berlin.
var now = time.Date(2026, 11, 23, 2, 4, 30, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// people of the tests; nobody else is known.
var people = map[string]tocsin.Person{
	"one":   {Name: "one", Full: "Person One", Email: "one@example.org", Phone: "+15005550001", TimeZone: "Europe/Berlin", Role: "responder"},
	"two":   {Name: "two", Full: "Person Two", Email: "two@example.org", Phone: "+15005550002", TimeZone: "Europe/Berlin", Role: "responder"},
	"three": {Name: "three", Full: "Person Three", Email: "three@example.org", Phone: "+15005550003", TimeZone: "America/New_York", Role: "manager"},
}

// A desk carries commands out on the store by the real state tables, and pages nobody.
type desk struct {
	db store.DB
	mu sync.Mutex
	// what was asked of it, in order
	log []string
}

func (d *desk) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, fmt.Sprintf(format, args...))
}

func (d *desk) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// change writes a line of history in the transaction that decides.
func change(tx *store.Tx, c tocsin.Change) error {
	part, err := tx.Lock(0)
	if err == nil {
		err = tx.AddChanges(&part, []tocsin.Change{c})
	}
	if err == nil {
		err = tx.SavePart(part)
	}
	return err
}

func (d *desk) Incident(ctx context.Context, id int64, do, by, note string) (i tocsin.Incident, err error) {
	d.note("%s i%d by %s %q", do, id, by, note)
	err = d.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		i, err = tx.Incident(id)
		if err == nil {
			err = correlate.Command(&i, do, by, now)
		}
		if err == nil {
			err = tx.PutIncidents([]tocsin.Incident{i})
		}
		if err != nil {
			return err
		}
		data, err := json.Marshal(map[string]string{"note": note})
		return errors.Join(err, change(tx, tocsin.Change{At: now, Actor: by, Kind: do, Incident: id, Data: data}))
	})
	return i, err
}

func (d *desk) Major(ctx context.Context, id int64, do, by, note string) (m tocsin.Major, err error) {
	d.note("%s m%d by %s %q", do, id, by, note)
	err = d.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		m, err = tx.Major(id)
		if err == nil {
			err = correlate.Decide(&m, nil, do, by, now)
		}
		if err == nil {
			err = tx.PutMajors([]tocsin.Major{m})
		}
		if err != nil {
			return err
		}
		return change(tx, tocsin.Change{At: now, Actor: by, Kind: do, Major: id})
	})
	return m, err
}

func (d *desk) Reply(_ context.Context, provider string, r paging.Reply) (string, error) {
	d.note("reply %s %s %q", provider, r.From, r.Text)
	return "17 db-main is yours, the others know. Done? 6 17. Cannot? 5 17.", nil
}

func (d *desk) Key(_ context.Context, provider string, k paging.KeyPress) (string, bool, error) {
	d.note("key %s %s %s", provider, k.PageID, k.Digits)
	return "It is yours. Goodbye.", false, nil
}

func (d *desk) OnCall(t time.Time) []console.Duty {
	return []console.Duty{
		{Schedule: "database", Team: "database", People: []string{"three"}, Why: "fallback", Until: t.Add(6 * time.Hour)},
		{Schedule: "platform", Team: "platform", People: []string{"one"}, Why: "layer weekly", Until: now.Add(6*time.Hour - 4*time.Minute - 30*time.Second)},
	}
}

func (d *desk) Shifts(schedule string, from, to time.Time) (out []console.Shift, ok bool) {
	hour := now.Truncate(time.Hour)
	switch schedule {
	case "platform":
		at, names := from, []string{"one", "two"}
		for n, end := range []time.Time{hour.Add(6 * time.Hour), hour.Add(174 * time.Hour), to} {
			out = append(out, console.Shift{From: at, To: end, People: names[n%2 : n%2+1], Layer: "weekly"})
			at = end
		}
		return out, true
	case "database":
		for day := range 14 {
			at := hour.Add(time.Duration(day) * 24 * time.Hour)
			out = append(out,
				console.Shift{From: later(at, from), To: at.Add(6 * time.Hour)},
				console.Shift{From: at.Add(6 * time.Hour), To: at.Add(15 * time.Hour), People: []string{"two"}, Layer: "office"},
				console.Shift{From: at.Add(15 * time.Hour), To: at.Add(24 * time.Hour), People: []string{"three"}, Layer: "new-york"})
		}
		return out, true
	}
	return nil, false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (d *desk) Person(name string) (tocsin.Person, bool) {
	p, ok := people[name]
	return p, ok
}

// Linked takes tokens such as i-17-one and m-7-three.
func (d *desk) Linked(_ context.Context, token string) (l console.Link, err error) {
	kind, rest, _ := strings.Cut(token, "-")
	id, person, ok := strings.Cut(rest, "-")
	n, good := tocsin.ParseID('i', id)
	if !ok || !good || kind != "i" && kind != "m" {
		return l, errors.New("not valid")
	}
	l = console.Link{Page: "p", Person: person, Incident: n}
	if kind == "m" {
		l.Incident, l.Major = 0, n
	}
	return l, nil
}

// A site is a console over a store of its own, with a feed of changes as the API has it.
type site struct {
	*httptest.Server
	db   store.DB
	desk *desk
	mu   sync.Mutex
	feed map[chan string]bool
	lost bool // the feed is refused
}

type as struct{ name, role string }

// open starts a site that everybody enters as who.
func open(t testing.TB, who as) *site {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "state.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &site{db: db, desk: &desk{db: db}, feed: map[chan string]bool{}}
	s.update(t, func(tx *store.Tx) error {
		_, err := tx.Claim(0, "test")
		return err
	})
	c, err := console.New(db, s.desk, console.Options{
		Who: func(*http.Request) (string, string, bool) { return who.name, who.role, who.name != "" },
		May: func(role string) (bool, bool) {
			return role != "auditor" && role != "", role == "manager" || role == "admin"
		},
		Sandbox: func() bool { return true },
		Now:     func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, p := range c.Pages() {
		mux.Handle(p.Pattern, p.Handler)
	}
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		c.Login(w, console.LoginData{Link: r.URL.Query().Get("token"), Failed: r.URL.Query().Get("failed")})
	})
	mux.HandleFunc("GET /api/v1/events", s.events)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *site) update(t testing.TB, fn func(tx *store.Tx) error) {
	t.Helper()
	err := s.db.Update(context.Background(), store.Commands, fn)
	if err != nil {
		t.Fatal(err)
	}
}

// events is the live feed.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	ch := make(chan string, 16)
	s.mu.Lock()
	lost := s.lost
	s.feed[ch] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.feed, ch)
		s.mu.Unlock()
	}()
	if lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 200\n\n")
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case data := <-ch:
			fmt.Fprintf(w, "event: change\ndata: %s\n\n", data)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// say sends a change to everybody who listens.
func (s *site) say(data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.feed {
		ch <- data
	}
}

func lines(steps ...[3]string) json.RawMessage {
	type step struct {
		Kind    string `json:"kind"`
		Summary string `json:"summary,omitempty"`
		Why     string `json:"why,omitempty"`
	}
	var out struct {
		Steps  []step   `json:"steps"`
		Paging []string `json:"paging,omitempty"`
	}
	for _, s := range steps {
		if s[0] == "paging" {
			out.Paging = append(out.Paging, s[1])
			continue
		}
		out.Steps = append(out.Steps, step{s[0], s[1], s[2]})
	}
	b, _ := json.Marshal(out)
	return b
}

// night fills s with a night as it may be: a candidate, incidents of all kinds, pages of all fates.
func (s *site) night(t testing.TB) {
	t.Helper()
	in := func(id int64, state tocsin.IncidentState, priority int, title, service string, opened time.Duration, alerts int) tocsin.Incident {
		sev := tocsin.Critical
		if priority > 3 {
			sev = tocsin.Warning
		}
		return tocsin.Incident{
			ID: id, State: state, Title: title, Service: service, Priority: priority, Severity: sev, Urgency: tocsin.UrgencyHigh, Rule: "everything", Key: "service=" + service,
			OpenedAt: ago(opened), NewestAt: ago(opened), Open: alerts, Alerts: alerts, Escalation: "platform", Team: "platform", Code: int(id % 100), Paged: true,
		}
	}
	lag := in(1042, tocsin.Triggered, 3, "replication lag 340s", "db-main", 4*time.Minute, 3)
	lag.Rule, lag.Open, lag.Alerts = "databases", 3, 4
	slow := in(1040, tocsin.Triggered, 4, "p95 latency above 2s for 10m", "checkout", 17*time.Minute, 1)
	slow.Urgency = tocsin.UrgencyLow
	pay := in(1038, tocsin.Acked, 3, "payment errors 4.1% (threshold 1%)", "payments", 41*time.Minute, 6)
	pay.AckedAt, pay.AckedBy = ago(38*time.Minute), "two"
	disk := in(1031, tocsin.Acked, 4, "disk 91% full on build-3", "ci", 5*time.Hour+20*time.Minute, 1)
	disk.AckedAt, disk.AckedBy = ago(5*time.Hour), "one"
	var all []tocsin.Incident
	for n, host := range []string{"web-07", "web-11", "web-12", "queue-2", "cache-1"} {
		i := in(1043+int64(n), tocsin.Triggered, 3, host+" is down", []string{"web", "web", "web", "queue", "cache"}[n], 6*time.Minute-time.Duration(n)*20*time.Second, 5)
		all = append(all, i)
	}
	gone := in(1029, tocsin.Settled, 3, "certificate of api.example.org ends in 2 days", "edge", 9*time.Hour, 1)
	gone.ResolvedAt, gone.ResolvedBy, gone.Open = ago(7*time.Hour), "one", 0
	blip := in(1036, tocsin.Settled, 4, "queue depth 12,000", "queue", 90*time.Minute, 2)
	blip.ResolvedAt, blip.ResolvedBy, blip.Open = ago(80*time.Minute), tocsin.ByItself, 0
	all = append(all, lag, slow, pay, disk, gone, blip)

	major := tocsin.Major{
		ID: 7, State: tocsin.Proposed, Title: "eu-west", Rule: "wide-outage", Scope: tocsin.NewLabels(map[string]string{"region": "eu-west"}), Priority: 2, Escalation: "managers",
		Action: "propose", OnTimeout: "escalate", DecideAfter: 10 * time.Minute, Code: 18, Incidents: []int64{1043, 1044, 1045, 1046, 1047},
		Measures: tocsin.Measures{Hosts: 25, Services: 3, Incidents: 5, Users: 12000, Since: ago(6 * time.Minute)}, Peak: tocsin.Measures{Hosts: 25, Services: 3, Incidents: 5, Users: 12000},
		Limits: tocsin.Measures{Hosts: 20, Services: 5, Users: 10000}, ProposedAt: ago(2 * time.Minute), DecideBy: now.Add(8 * time.Minute),
	}
	alert := func(id int64, sev tocsin.Severity, status tocsin.Status, summary, host, joined string) tocsin.Alert {
		a := tocsin.Alert{
			ID: id, Incident: 1042, Status: status, Severity: sev, Word: sev.String(), Summary: summary, About: host, Source: "prometheus", Key: host, StartsAt: ago(5 * time.Minute), FirstAt: ago(4 * time.Minute),
			LastAt: ago(12 * time.Second), Count: 14, Rule: "databases", Fingerprint: tocsin.Fingerprint{byte(id), 1},
			Labels:      tocsin.NewLabels(map[string]string{"alertname": "ReplicationLag", "host": host, "service": "db-main", "kind": "database", "region": "eu-west"}),
			Annotations: tocsin.NewLabels(map[string]string{"runbook_url": "https://runbooks.example.org/replication-lag"}), URL: "https://prometheus.example.org/graph?g0.expr=lag",
			Why: tocsin.Why{Rule: "databases", Matchers: []string{`kind="database"`, `severity!="info"`}, Group: map[string]string{"service": "db-main"}, Joined: joined, Set: map[string]string{"kind": "database"}},
		}
		if status == tocsin.Resolved {
			a.EndsAt = ago(time.Minute)
		}
		return a
	}
	alerts := []tocsin.Alert{
		alert(1, tocsin.Critical, tocsin.Firing, "replication lag 340s", "db-main-2", "opened: the first alert of its group"),
		alert(2, tocsin.Warning, tocsin.Firing, "replication lag 95s", "db-main-3", "joined: the incident's newest alert was 40s old, the window is 15m"),
		alert(3, tocsin.Warning, tocsin.Firing, "slow queries above 200/s", "db-main-1", "joined: the incident's newest alert was 10s old, the window is 15m"),
		alert(4, tocsin.Warning, tocsin.Resolved, "connections 480 of 500", "db-main-1", "joined: the incident's newest alert was 5s old, the window is 15m"),
	}
	page := func(id, person, channel string, state tocsin.PageState, due time.Duration) tocsin.Page {
		p := tocsin.Page{
			ID: id, Kind: tocsin.KindPage, Incident: 1042, Person: person, Channel: channel, Address: people[person].Phone, Provider: "sandbox", State: state, DueAt: ago(due),
			Attempts: 1, Expires: now.Add(time.Hour),
		}
		if state >= tocsin.PageSent {
			p.SentAt = ago(due - time.Second)
		}
		if state >= tocsin.PageDelivered {
			p.EndedAt = ago(due - 3*time.Second)
		}
		return p
	}
	failed := page("p3", "one", paging.Voice, tocsin.PageFailed, 2*time.Minute)
	failed.Error, failed.Attempts, failed.Provider = "21211: the number is not in service", 2, "twilio"
	pages := []tocsin.Page{
		page("p1", "one", paging.SMS, tocsin.PageDelivered, 4*time.Minute), page("p2", "one", paging.Email, tocsin.PageSent, 4*time.Minute), failed,
		page("p4", "two", paging.SMS, tocsin.PageDue, -time.Minute),
	}
	history := []tocsin.Change{
		{At: ago(4 * time.Minute), Actor: "rule", Kind: "opened", Incident: 1042, Data: lines(
			[3]string{"opened", "replication lag 340s", "the first alert of its group: service=db-main"}, [3]string{"page-now", "", "group_wait 0s is over"},
			[3]string{"paging", "rule databases: escalation platform"}, [3]string{"paging", "one is paged by sms and email at once, voice after 2m (schedule/platform)"})},
		{At: ago(3 * time.Minute), Actor: "rule", Kind: "joined", Incident: 1042, Data: lines([3]string{"joined", "replication lag 95s", "joined: the incident's newest alert was 40s old, the window is 15m"})},
		{At: ago(2 * time.Minute), Actor: "two", Kind: tocsin.DoNote, Incident: 1042, Data: json.RawMessage(`{"note":"I see it on the replica too. The backup job started at 02:55."}`)},
		{At: ago(time.Minute), Actor: "rule", Kind: "eased", Incident: 1042, Data: lines([3]string{"eased", "", "its sender says that it ended"})},
		{At: ago(2 * time.Minute), Actor: "rule", Kind: "proposed", Major: 7, Data: lines([3]string{"proposed", "eu-west", "25 hosts, 3 services, 5 incidents, 12000 users over 20 hosts, 5 services, 10000 users in 15m"},
			[3]string{"paging", "rule wide-outage: escalation managers"}, [3]string{"paging", "three is paged by sms and email at once, voice after 2m (person/three)"})},
	}
	messages := []store.SandboxMessage{
		{
			Page: "p2", Channel: paging.Email, To: "one@example.org", Person: "one", Subject: "CRIT db-main: replication lag 340s (+3) [#1042]", At: ago(4 * time.Minute), Link: "http://127.0.0.1:8080/ack/i-1042-one",
			Text: "CRIT db-main: replication lag 340s (+3)\n\nIncident 1042, SEV3, since Mon 23 Nov 03:00, 4 alerts.\n\nFiring:\n  replication lag 340s (db-main-2)\n  replication lag 95s (db-main-3)\n\nWhy: rule databases grouped it by service=db-main.\n",
		},
		{Page: "p1", Channel: paging.SMS, To: "+15005550001", Person: "one", At: ago(4 * time.Minute), Text: "CRIT db-main: replication lag 340s (+3). Reply 4 42 ack, 5 42 escalate, 6 42 resolve. http://127.0.0.1:8080/i/1042"},
		{Page: "p3", Channel: paging.Voice, To: "+15005550001", Person: "one", At: ago(2 * time.Minute), Text: "Critical alert. db main: replication lag 340 seconds, and 3 more alerts. Press 4 to acknowledge, 5 to escalate, 6 twice to resolve, 9 or star to repeat."},
		{Page: "p9", Channel: paging.SMS, To: "+15005550003", Person: "three", At: ago(2 * time.Minute), Text: "MAJOR? eu-west: 25 hosts, 3 services, 12000 users, since 21:58. Reply 7 18 confirm, 8 18 reject, 4 18 looking. Undecided 22:12: next manager. http://127.0.0.1:8080/m/7"},
	}
	s.update(t, func(tx *store.Tx) error {
		err := errors.Join(tx.PutIncidents(all), tx.PutMajors([]tocsin.Major{major}), tx.PutAlerts(alerts), tx.InsertPages(pages),
			tx.AddTimers([]store.Timer{{Kind: store.TimerStep, Incident: 1042, DueAt: now.Add(time.Minute)}}))
		for _, c := range history {
			err = errors.Join(err, change(tx, c))
		}
		for _, m := range messages {
			_, bad := tx.AddSandbox(m)
			err = errors.Join(err, bad)
		}
		return err
	})
}
