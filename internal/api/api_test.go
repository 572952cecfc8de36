package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

const incidentJSON = `"id":"i42","number":42,"title":"replication lag 340s","priority":3,"severity":"critical","urgency":"high","rule":"databases","key":"db-main",
	"service":"db-main","labels":{"alertname":"ReplicationLag","host":"db-1","service":"db-main"},"opened_at":"2026-03-02T08:00:00Z",
	"alert_count":1,"open_alerts":1,"reopened":0,"code":17,"major":null,"escalation":"platform"`

const fresh = `"state":"triggered","acked_at":null,"acked_by":null,"resolved_at":null,"resolved_by":null`

const pageJSON = `{"id":"p-1","kind":"page","incident":"i42","major":null,"person":"one","channel":"sms","provider":"twilio","state":"delivered","attempts":1,
	"due_at":"2026-03-02T08:00:00Z","sent_at":"2026-03-02T08:00:01Z","delivered_at":"2026-03-02T08:00:02Z","ended_at":"2026-03-02T08:00:02Z","error":null}`

const majorJSON = `"id":"m3","number":3,"title":"eu-west: 25 hosts","priority":2,"rule":"wide-outage","scope":{"region":"eu-west"},"measures":{"hosts":25},"peak":{"hosts":26},
	"limits":{"hosts":20},"incidents":["i42"],"code":18,"proposed_at":"2026-03-02T08:00:00Z","led_by":null,"resolved_at":null`

const candidate = `"state":"proposed","phase":null,"decide_by":"2026-03-02T08:10:00Z","confirmed_at":null,"decided_at":null,"decided_by":null`

func alertJSON(t *testing.T) string {
	t.Helper()
	_, a := incidentOne()
	return `{"id":"a7","fingerprint":"` + a.Fingerprint.String() + `","status":"firing","severity":"critical","severity_word":"page","summary":"replication lag 340s",
		"about":"db-1","source":"prometheus","url":"http://prometheus.example.org/graph?a=b","labels":{"alertname":"ReplicationLag","host":"db-1","service":"db-main"},
		"annotations":{"summary":"lag \"340s\""},"starts_at":"2026-03-02T08:00:00Z","ends_at":"2026-03-02T08:04:00Z","last_at":"2026-03-02T08:01:00Z","count":3,
		"incident":"i42","why":{"rule":"databases","group":{"service":"db-main"},"joined":"opened"}}`
}

func TestTheAPIShowsWhatTheStoreHas(t *testing.T) {
	b := newBench(t, nil)
	b.fill()
	alert := alertJSON(t)
	for target, want := range map[string]string{
		"/api/v1/incidents":                                                 `{"incidents":[{` + incidentJSON + `,` + fresh + `,"alerts":1}],"next":null}`,
		"/api/v1/incidents?state=acknowledged":                              `{"incidents":[],"next":null}`,
		"/api/v1/incidents?state=triggered,acknowledged&service=db-main":    `{"incidents":[{` + incidentJSON + `,` + fresh + `,"alerts":1}],"next":null}`,
		"/api/v1/incidents/42":                                              `{` + incidentJSON + `,` + fresh + `,"alerts":[` + alert + `],"timeline":[{"seq":1,"at":"2026-03-02T08:00:00Z","actor":"rule","kind":"opened","incident":"i42","major":null,"data":{"alerts":1}}],"pages":[` + pageJSON + `]}`,
		"/api/v1/majors?state=proposed":                                     `{"majors":[{` + majorJSON + `,` + candidate + `}],"next":null}`,
		"/api/v1/majors/m3":                                                 `{` + majorJSON + `,` + candidate + `,"timeline":[{"seq":2,"at":"2026-03-02T08:00:00Z","actor":"rule","kind":"proposed","incident":null,"major":"m3"}],"pages":[]}`,
		"/api/v1/pages?incident=i42&person=one&state=sent,delivered":        `{"pages":[` + pageJSON + `],"next":null}`,
		"/api/v1/pages?state=due":                                           `{"pages":[],"next":null}`,
		"/api/v1/alerts?state=firing&filter=host%3D~%22db-.%22&incident=42": `{"alerts":[` + alert + `],"next":null}`,
		"/api/v1/alerts?filter=severity%3D%22critical%22":                   `{"alerts":[],"next":null}`,
		"/api/v1/alerts?filter=source%3Dprometheus&filter=team%3D%22%22":    `{"alerts":[` + alert + `],"next":null}`,
		"/api/v1/alerts?state=resolved":                                     `{"alerts":[],"next":null}`,
		"/api/v1/oncall":                                                    `{"at":"2026-03-02T08:00:00Z","oncall":[{"schedule":"platform","team":"platform","people":["one"],"why":"weekly","until":"2026-03-02T09:00:00Z"}]}`,
		"/api/v1/oncall?at=2026-03-02T11:00:00%2B01:00":                     `{"at":"2026-03-02T10:00:00Z","oncall":[{"schedule":"platform","team":"platform","people":["one"],"why":"weekly","until":"2026-03-02T11:00:00Z"}]}`,
		"/api/v1/schedules/platform?to=2026-03-03T08:00:00Z":                `{"schedule":"platform","from":"2026-03-02T08:00:00Z","to":"2026-03-03T08:00:00Z","shifts":[{"from":"2026-03-02T08:00:00Z","to":"2026-03-03T08:00:00Z","people":["one"],"layer":"weekly"}]}`,
	} {
		t.Run(target, func(t *testing.T) { wantJSON(t, b.robot("GET", target, ""), 200, want) })
	}
}

func TestWhatCannotBeReadIsSaidByItsField(t *testing.T) {
	b := newBench(t, nil)
	b.fill()
	for target, want := range map[string]string{
		"/api/v1/incidents?colour=red&limit=0":               "colour: no such parameter: one of state, service, major, limit, next|limit: \"0\" is no number from 1 to 1000",
		"/api/v1/incidents?limit=1001":                       "limit: \"1001\" is no number from 1 to 1000",
		"/api/v1/incidents?limit=1&limit=2":                  "limit: stands more than once",
		"/api/v1/incidents?state=broken":                     `state: state "broken": one of triggered, acknowledged, resolved, closed`,
		"/api/v1/incidents?next=m1":                          `next: "m1" is no id such as i42`,
		"/api/v1/incidents?a=%zz":                            `: cannot be read: invalid URL escape "%zz"`,
		"/api/v1/incidents/m42":                              `id: "m42" is no id such as i42`,
		"/api/v1/incidents/-1":                               `id: "-1" is no id such as i42`,
		"/api/v1/majors?state=triggered":                     `state: state "triggered": one of proposed, confirmed, rejected, expired, demoted, resolved`,
		"/api/v1/alerts?state=open":                          "state: open is none of firing, resolved",
		"/api/v1/alerts?filter=%7B":                          "filter: matcher \"{\"",
		"/api/v1/alerts?filter=a%3D~%22(%22":                 "filter: matcher",
		"/api/v1/alerts?filter=":                             `filter: matcher "" is empty`,
		"/api/v1/oncall?at=yesterday":                        `at: "yesterday" is no time such as 2026-03-02T08:00:00Z`,
		"/api/v1/schedules/platform?to=2025-01-01T00:00:00Z": "to: must be after from, by at most 366 days",
		"/api/v1/pages?state=lost":                           "state: ",
		"/api/v1/pages?next=i42":                             "next: ",
		"/api/v1/pages?next=zz.":                             "next: ",
		"/api/v1/pages?next=-1.p":                            "next: ",
	} {
		t.Run(target, func(t *testing.T) {
			got := b.robot("GET", target, "")
			var p problem
			err := json.Unmarshal([]byte(got.body), &p)
			if err != nil || got.status != 400 || got.header.Get("Content-Type") != "application/problem+json" || p.Title != "Bad Request" {
				t.Fatalf("answer %d %s", got.status, got.body)
			}
			var said []string
			for _, f := range p.Errors {
				said = append(said, f.Field+": "+f.Detail)
			}
			if all := strings.Join(said, "|"); !strings.HasPrefix(all, strings.Split(want, "|")[0]) || len(said) != len(strings.Split(want, "|")) {
				t.Errorf("faults %q, want %q", all, want)
			}
		})
	}
	if got := b.robot("GET", "/api/v1/incidents/43", ""); got.status != 404 {
		t.Errorf("an incident that is not there: %d", got.status)
	}
	if got := b.robot("GET", "/api/v1/schedules/none", ""); got.status != 404 {
		t.Errorf("a schedule that is not there: %d", got.status)
	}
}

func TestCommands(t *testing.T) {
	b := newBench(t, nil)
	b.fill()
	one := b.session("one")
	acked := `{` + incidentJSON + `,"state":"acknowledged","acked_at":"2026-03-02T08:00:00Z","acked_by":"two","resolved_at":null,"resolved_by":null,"alerts":1}`
	closed := `{` + incidentJSON + `,"state":"resolved","acked_at":"2026-03-02T08:00:00Z","acked_by":"two","resolved_at":"2026-03-02T08:00:00Z","resolved_by":"one","alerts":1}`
	const conflict = `{"type":"about:blank","title":"Conflict","status":409,"detail":"it is acknowledged, by two since 08:00:00","state":"acknowledged","by":"two"}`
	wrong := func(status int, detail, field, what string) string {
		return fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"detail":%q,"errors":[{"item":"body","field":%q,"detail":%q}]}`, http.StatusText(status), status, detail, field, what)
	}
	const mistake = "the body has a mistake"
	const noJSON = `it is no JSON such as {"by":"one","note":"..."}: `
	for _, step := range []struct {
		what, do, body, cookie string
		status                 int
		want                   string
	}{
		{"a person nobody knows is refused", "ack", `{"by":"nobody"}`, "", 400, wrong(400, mistake, "by", `nobody is called "nobody" in the configuration`)},
		{"a person is itself", "ack", `{"by":"two"}`, one, 403, wrong(403, "you are one", "by", "only a robot may act in another's name")},
		{"a field nobody knows is refused", "ack", `{"who":"one"}`, "", 400, wrong(400, mistake, "who", "no such field: by, note")},
		{"a field of another type is refused", "ack", `{"by":7}`, "", 400, wrong(400, mistake, "by", "must be string, not number")},
		{"two bodies are refused", "ack", `{} {}`, "", 400, wrong(400, mistake, "", noJSON+"byte 3: more stands behind the end of the JSON")},
		{"a list is refused", "ack", `["by"]`, "", 400, wrong(400, mistake, "", noJSON+"byte 0: an object is due")},
		{"a name twice is refused", "ack", `{"by":"one","b\u0079":"two"}`, "", 400, wrong(400, mistake, "by", "it stands twice")},
		{"a name in other letters is refused", "ack", `{"By":"one"}`, "", 400, wrong(400, mistake, "By", "no such field: by, note")},
		{"text that is not UTF-8 is refused", "note", "{\"note\":\"\xff\"}", "", 400, wrong(400, mistake, "", noJSON+"byte 9: text that is not UTF-8")},
		{"half a character is refused", "note", `{"note":"\ud800"}`, "", 400, wrong(400, mistake, "", noJSON+"byte 9: text: invalid surrogate pair `\\ud800\"` in string")},
		{"a hundred thousand levels are refused", "ack", `{"by":` + strings.Repeat("[", 60_000), "", 400, wrong(400, mistake, "", noJSON+"byte 10006: exceeded max depth")},
		{"an empty note is refused", "note", `{"by":"one"}`, "", 400, wrong(400, mistake, "note", "is empty")},
		{"a robot acknowledges for a person", "ack", `{"by":"two"}`, "", 200, acked},
		{"the same again is answered the same", "ack", `{"by":"two"}`, "", 200, acked},
		{"another person is told who has it", "ack", ``, one, 409, conflict},
		{"a note changes nothing", "note", `{"note":"on it"}`, one, 200, acked},
		{"a person resolves", "resolve", ``, one, 200, closed},
		{"resolved by the same person again", "resolve", `{"by":"one"}`, "", 200, closed},
		{
			"resolved by another person again", "resolve", `{"by":"two"}`, "", 409,
			`{"type":"about:blank","title":"Conflict","status":409,"detail":"it is resolved, by one since 08:00:00","state":"resolved","by":"one"}`,
		},
	} {
		head := []string{"Authorization", "Bearer robot-secret"}
		if step.cookie != "" {
			head = []string{"Cookie", step.cookie}
		}
		t.Run(step.what, func(t *testing.T) {
			wantJSON(t, b.send("POST", "/api/v1/incidents/i42/"+step.do, step.body, head...), step.status, step.want)
		})
	}
	for what, tc := range map[string]struct {
		target, body string
		want         int
	}{
		"an incident that is not there":  {"/api/v1/incidents/43/ack", "", 404},
		"a body that is too big":         {"/api/v1/incidents/42/note", `{"note":"` + strings.Repeat("x", 70_000) + `"}`, 413},
		"a note that is too long":        {"/api/v1/incidents/42/note", `{"note":"` + strings.Repeat("x", 10_001) + `"}`, 400},
		"a query that a command has not": {"/api/v1/incidents/42/ack?by=one", "", 400},
		"a command that there is not":    {"/api/v1/incidents/42/delete", "", 404},
		"a major that is not there":      {"/api/v1/majors/9/confirm", "", 404},
		"a candidate confirmed":          {"/api/v1/majors/m3/confirm", `{"by":"three"}`, 200},
		"a major rejected too late":      {"/api/v1/majors/m3/note", `{"note":""}`, 400},
	} {
		if got := b.robot("POST", tc.target, tc.body); got.status != tc.want {
			t.Errorf("%s: %d %s, want %d", what, got.status, got.body, tc.want)
		}
	}
	confirmed := `{` + majorJSON + `,"state":"confirmed","phase":"identify","decide_by":null,"confirmed_at":"2026-03-02T08:00:00Z","decided_at":"2026-03-02T08:00:00Z","decided_by":"three"}`
	wantJSON(t, b.robot("POST", "/api/v1/majors/m3/confirm", `{"by":"three"}`), 200, confirmed)
	if got := b.robot("POST", "/api/v1/majors/m3/confirm", `{"by":"one"}`); got.status != 409 {
		t.Errorf("confirmed by another person again: %d %s", got.status, got.body)
	}
}

func TestListsGoOnWhereTheyEnded(t *testing.T) {
	b := newBench(t, nil)
	b.many(25, 25)
	for list, kind := range map[string]string{"incidents": "i", "alerts": "a"} {
		var seen []string
		next := ""
		for page := 0; page < 10; page++ {
			got := b.robot("GET", "/api/v1/"+list+"?limit=10"+next, "")
			var body map[string]json.RawMessage
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatal(err)
			}
			var rows []struct{ ID string }
			var more *string
			_ = json.Unmarshal(body[list], &rows)
			_ = json.Unmarshal(body["next"], &more)
			for _, r := range rows {
				seen = append(seen, r.ID)
			}
			if more == nil {
				break
			}
			next = "&next=" + *more
		}
		want := make([]string, 25)
		for n := range want {
			want[n] = fmt.Sprintf("%s%d", kind, n+1)
			if list == "incidents" {
				want[n] = fmt.Sprintf("%s%d", kind, 25-n)
			}
		}
		if strings.Join(seen, " ") != strings.Join(want, " ") {
			t.Errorf("%s %v, want %v", list, seen, want)
		}
	}
}

// gettable is an alert as Alertmanager's clients read it.
type gettable struct {
	Annotations  map[string]string   `json:"annotations"`
	EndsAt       time.Time           `json:"endsAt"`
	Fingerprint  string              `json:"fingerprint"`
	Receivers    []map[string]string `json:"receivers"`
	StartsAt     time.Time           `json:"startsAt"`
	Status       map[string]any      `json:"status"`
	UpdatedAt    time.Time           `json:"updatedAt"`
	GeneratorURL string              `json:"generatorURL"`
	Labels       map[string]string   `json:"labels"`
}

func TestAlertmanagersClientsSeeWhatFires(t *testing.T) {
	b := newBench(t, nil)
	b.fill()
	_, odd := incidentOne()
	odd.ID, odd.Incident, odd.URL, odd.EndsAt, odd.Source = 8, 0, "", time.Time{}, "other"
	odd.Labels = tocsin.NewLabels(map[string]string{"alertname": "Käse \"x\"\n", "zone": "ü\\"})
	resolved := odd
	resolved.ID, resolved.Status = 9, tocsin.Resolved
	b.update(func(tx *store.Tx) error { return tx.PutAlerts([]tocsin.Alert{odd, resolved}) })

	const status = `{"inhibitedBy":[],"mutedBy":[],"silencedBy":[],"state":"active"}`
	first := `{"annotations":{"summary":"lag \"340s\""},"endsAt":"2026-03-02T08:04:00.000Z","fingerprint":"` + hexOf(odd7()) + `","receivers":[{"name":"platform"}],
		"startsAt":"2026-03-02T08:00:00.000Z","status":` + status + `,"updatedAt":"2026-03-02T08:01:00.000Z","generatorURL":"http://prometheus.example.org/graph?a=b",
		"labels":{"alertname":"ReplicationLag","host":"db-1","service":"db-main"}}`
	second := `{"annotations":{"summary":"lag \"340s\""},"endsAt":"2026-03-02T08:05:00.000Z","fingerprint":"` + hexOf(odd.Labels) + `","receivers":[{"name":"default"}],
		"startsAt":"2026-03-02T08:00:00.000Z","status":` + status + `,"updatedAt":"2026-03-02T08:01:00.000Z","labels":{"alertname":"Käse \"x\"\n","zone":"ü\\"}}`
	filter := func(said ...string) string { return "/api/v2/alerts?" + url.Values{"filter": said}.Encode() }
	for target, want := range map[string]string{
		"/api/v2/alerts":                           `[` + first + `,` + second + `]`,
		"/api/v2/alerts?active=false":              `[]`,
		"/api/v2/alerts?silenced=false&page=2":     `[` + first + `,` + second + `]`,
		"/api/v2/alerts?receiver=plat.*":           `[` + first + `]`,
		"/api/v2/alerts?receiver=plat":             `[]`,
		filter(`service="db-main"`):                `[` + first + `]`,
		filter(`service=db-main`, `host!="db-1"`):  `[]`,
		filter(`alertname=~"Rep.+"`, `host=db-1`):  `[` + first + `]`,
		filter(`zone="ü\\"`):                       `[` + second + `]`,
		filter(`source=other`):                     `[` + second + `]`,
		filter(`service=""`):                       `[` + second + `]`,
		"/api/v2/silences":                         `[]`,
		"/api/v2/receivers":                        `[{"name":"catch-all"},{"name":"platform"}]`,
		"/api/v2/alerts/groups":                    `[{"labels":{"alertname":"ReplicationLag","host":"db-1","service":"db-main"},"routeLabels":{},"receiver":{"name":"platform"},"alerts":[` + first + `]}]`,
		"/api/v2/alerts/groups?receiver=x":         `[]`,
		"/api/v2/alerts/groups?filter=host%3Ddb-2": `[]`,
	} {
		t.Run(target, func(t *testing.T) {
			wantJSON(t, b.send("GET", target, "", "Authorization", "Bearer prom-secret"), 200, want)
		})
	}
	for _, target := range []string{"/api/v2/alerts?filter=%7B", "/api/v2/alerts?receiver=(", "/api/v2/alerts?active=perhaps"} {
		got := b.send("GET", target, "", "Authorization", "Bearer prom-secret")
		var said string
		if err := json.Unmarshal([]byte(got.body), &said); err != nil || got.status != 400 || said == "" {
			t.Errorf("%s: %d %s", target, got.status, got.body)
		}
	}
}

func odd7() tocsin.Labels {
	_, a := incidentOne()
	return a.Labels
}

func TestManyAlertsAreListedOnceEachAndInGroups(t *testing.T) {
	b := newBench(t, nil)
	b.many(5000, 70)
	for target, want := range map[string]int{
		"/api/v2/alerts": 5000, "/api/v2/alerts?filter=service%3Dservice-77": 5, "/api/v2/alerts?filter=service%3D~service-7.": 50, "/api/v2/alerts?filter=host%3Dhost-77": 20,
	} {
		var got []gettable
		if err := json.Unmarshal([]byte(b.robot("GET", target, "").body), &got); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, a := range got {
			seen[a.Labels["instance"]+a.Labels["service"]] = true
		}
		if len(got) != want || len(seen) != want {
			t.Errorf("%s lists %d alerts, %d different ones, want %d", target, len(got), len(seen), want)
		}
	}
	var groups []struct{ Alerts []gettable }
	if err := json.Unmarshal([]byte(b.robot("GET", "/api/v2/alerts/groups", "").body), &groups); err != nil {
		t.Fatal(err)
	}
	all := 0
	for _, g := range groups {
		all += len(g.Alerts)
	}
	if len(groups) != 70 || all != 5000 {
		t.Errorf("%d groups of %d alerts, want 70 of 5000", len(groups), all)
	}
}

// live knows that every alert was seen an hour after it began.
type live struct{}

func (live) Touched(ids []int64, seen func(int, time.Time, time.Time)) {
	for n := range ids {
		seen(n, start.Add(time.Hour), start.Add(2*time.Hour))
	}
}

func TestWhatOnlyTheCorrelatorKnowsIsShown(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Live = live{} })
	b.fill()
	var got []gettable
	if err := json.Unmarshal([]byte(b.robot("GET", "/api/v2/alerts", "").body), &got); err != nil || len(got) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	if got[0].UpdatedAt != start.Add(time.Hour) || got[0].EndsAt != start.Add(2*time.Hour) {
		t.Errorf("updated %s, ends %s", got[0].UpdatedAt, got[0].EndsAt)
	}
}

func TestOperations(t *testing.T) {
	ready := Readiness{Doors: "ok", Correlate: "loading", Paging: "ok"}
	var failed error
	b := newBench(t, func(o *Options) {
		o.Ready = func() Readiness { return ready }
		o.Reload = func() error { return failed }
	})
	wantJSON(t, b.send("GET", "/readyz", ""), 200, `{"doors":"ok","correlate":"loading","paging":"ok"}`)
	if got := b.send("GET", "/-/ready", ""); got.status != 200 || got.body != "OK" {
		t.Errorf("/-/ready %d %s", got.status, got.body)
	}
	ready.Doors = "sick"
	wantJSON(t, b.send("GET", "/readyz", ""), 503, `{"doors":"sick","correlate":"loading","paging":"ok"}`)
	if got := b.send("GET", "/-/ready", ""); got.status != 503 {
		t.Errorf("/-/ready of a sick journal %d", got.status)
	}
	wantJSON(t, b.send("GET", "/healthz", ""), 200, `{"status":"ok","version":"dev"}`)
	if got := b.robot("POST", "/-/reload", ""); got.status != 200 {
		t.Errorf("reload %d %s", got.status, got.body)
	}
	failed = fmt.Errorf("tocsin.yaml:2: a mistake")
	if got := b.robot("POST", "/-/reload", ""); got.status != 500 || !strings.Contains(got.body, "tocsin.yaml:2") {
		t.Errorf("reload of a broken file %d %s", got.status, got.body)
	}
	if got := b.send("GET", "/metrics", ""); got.status != 200 || !strings.Contains(got.body, `tocsin_api_requests_total{code="503",route="GET /readyz"} 1`) {
		t.Errorf("metrics %d %.3000s", got.status, got.body)
	}
	if got := b.send("POST", "/api/v1/alerts", "[]"); got.status != 410 || !strings.Contains(got.body, `"status":"deprecated"`) {
		t.Errorf("Alertmanager's first API %d %s", got.status, got.body)
	}
}
