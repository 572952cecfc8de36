package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/paging/providertest"
)

// The world that is served in these tests: services, each with its own alerts, team and person, so that no person's limit
// holds anything up.
const (
	services  = 72
	busy      = 36 // of these fail and recover all the time, and people act on them; each of the others fails once, and nobody answers
	perGroup  = 8  // alerts of one service that an Alertmanager sends
	perEvents = 2  // and that come as events
	regions   = 4
	cells     = 8 // that a fleet's alerts are isolated by; each region is within one
	promToken = "prom-secret"
)

// writeWorld writes the configuration of that world; rules are its rules and majors.
func writeWorld(t *testing.T, path, dir, twilio, sendgrid, publicKey, rules string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "server: {listen: 127.0.0.1:0, public_url: %s}\nstorage: {dir: %q}\n", public, dir)
	fmt.Fprintf(&b, "access: {tokens: [{name: robot, role: admin, token: %s}]}\n", robot)
	fmt.Fprintf(&b, "sources:\n  prometheus: {kind: alertmanager, token: %s}\n  legacy: {kind: pagerduty, keys: [{key: %s}]}\n", promToken, pdKey)
	fmt.Fprintf(&b, "providers:\n  twilio: {kind: twilio, account_sid: %s, auth_token: twilio-secret, from: \"+15005550006\", base_url: %s}\n", accountID, twilio)
	fmt.Fprintf(&b, "  sendgrid: {kind: sendgrid, api_key: SG.secret, from: tocsin@example.org, base_url: %s, public_key: %q}\n", sendgrid, publicKey)
	b.WriteString("notify: {high: [{after: 0s, by: [sms, email]}], low: [{after: 0s, by: [email]}]}\ndefaults: {escalation: managers}\n")
	b.WriteString("people:\n")
	for n := range services {
		fmt.Fprintf(&b, "  p%d: {name: Person %d, email: p%d@example.org, phone: %q, role: responder}\n", n, n, n, phoneOf(n))
	}
	b.WriteString("teams:\n")
	for n := range services {
		fmt.Fprintf(&b, "  t%d: {members: [p%d], escalation: e%d}\n", n, n, n)
	}
	b.WriteString("services:\n")
	for n := range services {
		fmt.Fprintf(&b, "  s%d: {owner: t%d, users: 10}\n", n, n)
	}
	b.WriteString("escalations:\n  managers: {steps: [{page: [person/p0], escalate_after: 4h}]}\n")
	for n := range services {
		fmt.Fprintf(&b, "  e%d: {steps: [{page: [person/p%d], escalate_after: 4h}, {page: [person/p%d], escalate_after: 4h}]}\n", n, n, (n+1)%services)
	}
	b.WriteString(rules)
	err := os.WriteFile(path, []byte(b.String()), 0o600)
	if err != nil {
		t.Fatal(err)
	}
}

func phoneOf(n int) string { return fmt.Sprintf("+1500555%04d", 1000+n) }

// An intent is one event that a sender is about to send about one of its alerts.
type intent struct {
	key      string
	service  int
	says     says
	severity string
	odd      bool      // a label more than usual: the alert changes while it fires
	starts   time.Time // of a firing one
	ends     time.Time
}

// An owner is one sender: nobody else says anything about its alerts, and it waits for each answer before it says more.
type owner struct {
	*crowd
	r      *rand.Rand
	from   int // services from, from+step, ...
	step   int
	events bool // PagerDuty events, one a request; else batches of an Alertmanager
	fires  map[string]time.Time
}

// A crowd is everybody who uses a tocsin: senders, people who answer, and providers that report.
type crowd struct {
	t        *testing.T
	at       func(context.Context) string // address; waits for one; "" at the end
	twilio   *providertest.Twilio
	sendgrid *providertest.SendGrid
	ledger   *ledger
	client   *http.Client
	calm     bool          // waits are longer: for tests in the same process
	patience time.Duration // for one answer; 0: 30 s
}

// load lets everybody loose on the plant; stop waits until they have ended.
func (p *plant) load(seed uint64) (stop func()) {
	c := &crowd{t: p.t, at: p.at, twilio: p.twilio, sendgrid: p.sendgrid, ledger: p.ledger}
	return c.start(seed)
}

func (c *crowd) start(seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	c.client = &http.Client{Timeout: cmp.Or(c.patience, 30*time.Second), Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	var wg sync.WaitGroup
	part := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 100+n)) }
	for n := range 3 {
		o := &owner{crowd: c, r: part(uint64(n)), from: n, step: 3, fires: c.ledger.fires(n)}
		wg.Go(func() { o.run(ctx) })
	}
	for n := range 2 {
		o := &owner{crowd: c, r: part(10 + uint64(n)), from: n, step: 2, events: true, fires: c.ledger.fires(10 + n)}
		wg.Go(func() { o.run(ctx) })
	}
	wg.Go(func() { c.people(ctx, part(20)) })
	wg.Go(func() { c.reports(ctx, part(21)) })
	return func() {
		cancel()
		wg.Wait()
		c.client.CloseIdleConnections()
	}
}

// pause waits up to most, or until ctx ends.
func (c *crowd) pause(ctx context.Context, r *rand.Rand, most time.Duration) {
	if c.calm {
		most *= 4
	}
	select {
	case <-time.After(time.Duration(r.Int64N(int64(most)))):
	case <-ctx.Done():
	}
}

func (o *owner) run(ctx context.Context) {
	for {
		url := o.at(ctx)
		if url == "" {
			return
		}
		batch := o.choose()
		var body []byte
		path, token, good := "/api/v2/alerts", promToken, http.StatusOK
		if o.events {
			batch = batch[:1]
			path, token, good = "/v2/enqueue", "", http.StatusAccepted
			body = eventBody(batch[0])
		} else {
			body = alertsBody(batch)
		}
		o.remember(batch)
		// What has been begun is finished also when the test ends: its outcome counts.
		status, answer, err := o.post(context.WithoutCancel(ctx), url+path, token, body)
		o.ledger.answered(status)
		switch {
		case err == nil && status == good:
			o.ledger.said(batch, true)
		case err != nil || status >= 500 || status == http.StatusTooManyRequests:
			o.ledger.said(batch, false)
			o.pause(ctx, o.r, 20*time.Millisecond)
		default:
			o.t.Errorf("%s answered %d %s to %.300s", path, status, answer, body)
			return
		}
		o.pause(ctx, o.r, 30*time.Millisecond)
	}
}

// choose makes the next batch: alerts of some services, each at most once.
func (o *owner) choose() []intent {
	var out []intent
	most := 1 + o.r.IntN(64)
	close := o.r.IntN(4) == 0 // a recovery of whole services
	per := perGroup
	if o.events {
		per = perEvents
	}
	first := o.r.IntN(services)
	for n := 0; n < services && len(out) < most; n++ {
		service := (first + n) % services
		if service%o.step != o.from {
			continue
		}
		for a := range per {
			if i, ok := o.intent(service, a, close); ok && len(out) < most {
				out = append(out, i)
			}
		}
	}
	if len(out) == 0 {
		i, _ := o.intent(o.from, 0, false)
		i.says = fires
		out = append(out, i)
	}
	return out
}

func (o *owner) intent(service, a int, close bool) (intent, bool) {
	now := time.Now()
	kind := "am"
	if o.events {
		kind = "pd"
	}
	i := intent{key: fmt.Sprintf("%s-s%d-%d", kind, service, a), service: service, severity: "critical", says: fires, odd: service%8 == 3}
	_, firing := o.fires[i.key]
	switch n := o.r.IntN(100); {
	case service >= busy && !firing && (o.events || n >= 2):
		return i, false
	case service >= busy: // it goes on
	case firing && close, firing && n < 8:
		i.says = resolves
	case close:
		return i, false
	case firing && o.events && n < 12:
		i.says = acks
	case !firing && n < 60:
		return i, false
	case !o.events && n >= 97:
		i.says = firesShortly
	}
	if service%8 == 7 || o.events && o.r.IntN(40) == 0 { // an Alertmanager's alert with another label is another alert
		i.severity = "warning"
	}
	i.odd = i.odd != (o.events && o.r.IntN(30) == 0)
	i.starts, i.ends = now, now.Add(24*time.Hour)
	if at := o.fires[i.key]; !at.IsZero() {
		i.starts = at
	}
	switch i.says {
	case resolves:
		i.ends = now
	case firesShortly:
		i.ends = now.Add(time.Duration(100+o.r.IntN(900)) * time.Millisecond)
	}
	return i, true
}

// remember notes what the sender holds true from now on, whether or not anybody hears of it.
func (o *owner) remember(batch []intent) {
	for _, i := range batch {
		switch i.says {
		case fires:
			o.fires[i.key] = i.starts
		case resolves, firesShortly:
			delete(o.fires, i.key)
		}
	}
}

func (i intent) labels() map[string]string {
	ls := map[string]string{
		"alertname": "a", "key": i.key, "service": fmt.Sprintf("s%d", i.service), "host": fmt.Sprintf("h%d", i.service%17),
		"cell": fmt.Sprintf("c%d", i.service%cells),
	}
	if i.service%6 == 5 {
		ls["class"] = "pair"
	}
	if i.service%2 == 0 && i.service < busy {
		ls["region"] = fmt.Sprintf("r%d", i.service/2%regions)
	}
	if i.odd {
		ls["odd"] = "yes"
	}
	return ls
}

func alertsBody(batch []intent) []byte {
	type alert struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
		EndsAt      time.Time         `json:"endsAt"`
	}
	var out []alert
	for _, i := range batch {
		ls := i.labels()
		ls["severity"] = i.severity
		out = append(out, alert{ls, map[string]string{"summary": i.key + " is not well"}, i.starts, i.ends})
	}
	b, _ := json.Marshal(out) // strings and times
	return b
}

func eventBody(i intent) []byte {
	action := map[says]string{fires: "trigger", firesShortly: "trigger", resolves: "resolve", acks: "acknowledge"}[i.says]
	b, _ := json.Marshal(map[string]any{ // strings
		"routing_key": pdKey, "event_action": action, "dedup_key": i.key,
		"payload": map[string]any{"summary": i.key + " is not well", "source": fmt.Sprintf("h%d", i.service%17), "severity": i.severity, "custom_details": i.labels()},
	})
	return b
}

func (c *crowd) post(ctx context.Context, url, token string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.do(req)
}

func (c *crowd) do(req *http.Request) (status int, answer []byte, err error) {
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// get reads an address of ours.
func get(ctx context.Context, url, token string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", url, resp.StatusCode, b)
	}
	return b, err
}

func getJSON(ctx context.Context, url string, into any) error {
	b, err := get(ctx, url, robot)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// people acknowledge, resolve and decide, by the API and by SMS.
func (c *crowd) people(ctx context.Context, r *rand.Rand) {
	for {
		url := c.at(ctx)
		if url == "" {
			return
		}
		var open struct {
			Incidents []struct {
				Number         int64
				State, Service string
				Code           int
			}
		}
		err := getJSON(ctx, url+"/api/v1/incidents?limit=100", &open)
		if err == nil && len(open.Incidents) > 0 {
			i := open.Incidents[r.IntN(len(open.Incidents))]
			service := 0
			_, _ = fmt.Sscanf(i.Service, "s%d", &service) // an incident of no service is nobody's: p0's then
			switch n := r.IntN(100); {
			case service >= busy:
			case n < 45:
				c.command(ctx, url, i.Number, "ack", fmt.Sprintf("p%d", service))
			case n < 70 && i.Code != 0:
				c.answer(ctx, url, i.Number, i.Code, service)
			default:
				word := []string{"resolve", "resolve", "unack", "take", "escalate", "reopen", "note"}[r.IntN(7)]
				c.command(ctx, url, i.Number, word, fmt.Sprintf("p%d", service))
			}
		}
		if r.IntN(4) == 0 {
			c.decide(ctx, url, r)
		}
		c.pause(ctx, r, 60*time.Millisecond)
	}
}

// command carries out one command by the API; it may be refused.
func (c *crowd) command(ctx context.Context, url string, incident int64, word, by string) {
	status, answer, err := c.says(ctx, url, incident, word, by)
	if err == nil && status >= 400 && status != http.StatusConflict && status < 500 {
		c.t.Errorf("%s of incident %d answered %d %s", word, incident, status, answer)
	}
}

// says is command with its answer; an acknowledgement that was confirmed goes into the ledger.
func (c *crowd) says(ctx context.Context, url string, incident int64, word, by string) (status int, answer []byte, err error) {
	body, asked := fmt.Appendf(nil, `{"by":%q,"note":"said in a test"}`, by), time.Now()
	status, answer, err = c.post(context.WithoutCancel(ctx), fmt.Sprintf("%s/api/v1/incidents/%d/%s", url, incident, word), robot, body)
	if err == nil && status == http.StatusOK && (word == "ack" || word == "take") {
		c.ledger.acked(incident, by, asked)
	}
	return status, answer, err
}

// answer acknowledges by a reply to an SMS.
func (c *crowd) answer(ctx context.Context, url string, incident int64, code, service int) {
	req, err := c.twilio.SMS(public+"/twilio/twilio/sms", phoneOf(service), "+15005550006", fmt.Sprintf("4 %d", code))
	if err != nil {
		c.t.Error(err)
		return
	}
	asked := time.Now()
	status, text, err := c.callback(ctx, url, req)
	if err == nil && status == http.StatusOK && bytes.Contains(text, []byte(" is yours")) && !bytes.Contains(text, []byte("already")) {
		c.ledger.acked(incident, fmt.Sprintf("p%d", service), asked)
	}
}

// callback delivers what a provider posts to where this tocsin listens.
func (c *crowd) callback(ctx context.Context, url string, req *http.Request) (status int, answer []byte, err error) {
	here := req.Clone(context.WithoutCancel(ctx))
	u := *req.URL
	u.Scheme, u.Host = "http", strings.TrimPrefix(url, "http://")
	here.URL, here.RequestURI, here.Host = &u, "", ""
	return c.do(here)
}

// decide says something about a candidate or a major.
func (c *crowd) decide(ctx context.Context, url string, r *rand.Rand) {
	var all struct {
		Majors []struct {
			Number int64
			State  string
		}
	}
	err := getJSON(ctx, url+"/api/v1/majors?limit=20", &all)
	if err != nil || len(all.Majors) == 0 {
		return
	}
	m := all.Majors[r.IntN(len(all.Majors))]
	words := map[string][]string{"proposed": {"confirm", "confirm", "reject", "looking", "escalate"}, "confirmed": {"lead", "resolve", "resolve"}}[m.State]
	if len(words) == 0 {
		return
	}
	word := words[r.IntN(len(words))]
	status, answer, err := c.post(context.WithoutCancel(ctx), fmt.Sprintf("%s/api/v1/majors/%d/%s", url, m.Number, word), robot, []byte(`{"by":"p0"}`))
	if err == nil && status >= 400 && status != http.StatusConflict && status < 500 {
		c.t.Errorf("%s of major %d answered %d %s", word, m.Number, status, answer)
	}
}

// reports are the providers' callbacks about what they took.
func (c *crowd) reports(ctx context.Context, r *rand.Rand) {
	for {
		url := c.at(ctx)
		if url == "" {
			return
		}
		for _, q := range c.ledger.unreported(c.twilio.Taken()) {
			if r.IntN(10) < 3 {
				continue // not every carrier reports
			}
			req, err := c.twilio.Status(q.ID, "delivered", 0)
			if err != nil {
				c.t.Error(err)
				return
			}
			status, _, err := c.callback(ctx, url, req)
			if again := c.at(ctx); err != nil && again != "" { // as the provider does: once more
				status, _, err = c.callback(ctx, again, req)
			}
			if err == nil && status/100 == 2 {
				c.ledger.confirmed(q.Page)
			}
		}
		c.pause(ctx, r, 100*time.Millisecond)
	}
}
