package pagerduty

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/ingest"
)

const (
	key   = "0123456789abcdef0123456789abcdef"
	other = "fedcba9876543210fedcba9876543210"
	gatus = "00000000000000000000000000000000"
)

// now is when every test takes place.
var now = time.Date(2026, 3, 2, 10, 16, 0, 0, time.UTC)

func newSources(t testing.TB) *ingest.Sources {
	t.Helper()
	sources, err := ingest.NewSources([]ingest.Source{
		{
			Name: "legacy", Kind: ingest.PagerDuty, Severity: map[string]tocsin.Severity{"sev-a": tocsin.Critical}, Labels: tocsin.Labels{{Name: "site", Value: "eu"}},
			Keys: []ingest.RoutingKey{
				{Hash: ingest.HashToken(key), Labels: tocsin.Labels{{Name: "service", Value: "checkout"}}},
				{Hash: ingest.HashToken(other)},
			},
		},
		{Name: "gatus", Kind: ingest.PagerDuty, Keys: []ingest.RoutingKey{{Hash: ingest.HashToken(gatus)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func parse(t testing.TB, body string) (*ingest.Message, error) {
	t.Helper()
	m := ingest.NewMessage(newSources(t), nil, []byte(body), now)
	return m, Parse(func() (string, error) { return "fresh", nil })(t.Context(), m)
}

// fingerprint is the identity of dedup under one routing key of a source.
func fingerprint(source, routingKey, dedup string) tocsin.Fingerprint {
	h := ingest.HashToken(routingKey)
	return tocsin.FingerprintOf(source+"/"+fmt.Sprintf("%x", h[:8]), dedup)
}

func sample(t testing.TB, file string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestSamples(t *testing.T) {
	set := tocsin.Labels{{Name: "service", Value: "checkout"}, {Name: "site", Value: "eu"}}
	for file, want := range map[string]tocsin.Event{
		"trigger-full.json": {
			Source: "legacy", Key: "srv01/HTTP", Fingerprint: fingerprint("legacy", key, "srv01/HTTP"), Status: tocsin.Firing, Severity: tocsin.Info, Word: "info",
			Summary: "PING OK - Packet loss = 0%, RTA = 1.41 ms; Host 'acme-andromeda-sv1-c40 :: 179.21.24.50' is DOWN",
			About:   "monitoringtool:cloudvendor:central-region-dc-01:852559987:cluster/api-stats-prod-003",
			Labels: tocsin.Labels{
				{Name: "class", Value: "deploy"},
				{Name: "component", Value: "postgres"},
				{Name: "group", Value: "prod-datapipe"},
				{Name: "load avg", Value: "0.75"},
				{Name: "ping time", Value: "1500ms"},
				set[0], set[1],
			},
			Annotations: tocsin.Labels{
				{Name: "client", Value: "Sample Monitoring Service"},
				{Name: "image_1", Value: "https://example.com/a.png"},
				{Name: "link_1", Value: "graph https://example.com/"},
			},
			URL: "https://monitoring.example.com", StartsAt: time.Date(2026, 3, 2, 8, 42, 58, 315e6, time.UTC),
		},
		"acknowledge.json": {
			Source: "legacy", Key: "srv01/HTTP", Fingerprint: fingerprint("legacy", key, "srv01/HTTP"), Status: tocsin.Acknowledged, Severity: tocsin.Info, Labels: set,
		},
		"gatus-trigger.json": {
			Source: "gatus", Key: "fresh", Fingerprint: fingerprint("gatus", gatus, "fresh"), Status: tocsin.Firing, Severity: tocsin.Critical, Word: "critical",
			Summary: "TRIGGERED: endpoint-name - test", About: "Gatus", Labels: tocsin.Labels{{Name: "host", Value: "Gatus"}},
		},
	} {
		t.Run(file, func(t *testing.T) {
			m, err := parse(t, sample(t, file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]tocsin.Event{want}, m.Events); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
		})
	}
}

// The expectations beside the samples are those of any normalizer.
func TestSamplesMeetTheirExpectations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.expect.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no expectations: %v", err)
	}
	for _, file := range files {
		var want struct {
			Alerts []struct {
				Status          string
				Severity        []string
				Source          []string
				SummaryContains []string `json:"summary_contains"`
			}
		}
		if err := json.Unmarshal([]byte(sample(t, filepath.Base(file))), &want); err != nil {
			t.Fatal(err)
		}
		m, err := parse(t, sample(t, strings.Replace(filepath.Base(file), ".expect", "", 1)))
		if err != nil || len(m.Events) != len(want.Alerts) {
			t.Fatalf("%s: %d events, %v, want %d", file, len(m.Events), err, len(want.Alerts))
		}
		for i, w := range want.Alerts {
			e := m.Events[i]
			if e.Status.String() != w.Status || !contains(w.Severity, e.Severity.String()) || !contains(w.Source, e.About) || !strings.Contains(e.Summary, w.SummaryContains[0]) {
				t.Errorf("%s: %+v, want %+v", file, e, w)
			}
		}
	}
}

func contains(any []string, s string) bool {
	for _, a := range any {
		if a == s {
			return true
		}
	}
	return false
}

func trigger(fields string) string {
	return `{"routing_key":"` + key + `","event_action":"trigger","dedup_key":"d","payload":{"summary":"s","source":"db1","severity":"error"` + fields + `}}`
}

func TestWhatLabelsAnEventHas(t *testing.T) {
	long := strings.Repeat("x", 257)
	for name, tc := range map[string]struct{ fields, labels, annotations string }{
		"only what is needed":            {``, `{host="db1",service="checkout",site="eu"}`, `{}`},
		"details of every kind":          {`,"custom_details":{"a":"b","n":1.50,"t":true,"z":null,"e":"","o":{"x":[1]},"l":[2]}`, `{a="b",host="db1",n="1.50",service="checkout",site="eu",t="true"}`, `{l="[2]",o="{\"x\":[1]}"}`},
		"details that are a text":        {`,"custom_details":"all of it"`, `{host="db1",service="checkout",site="eu"}`, `{custom_details="all of it"}`},
		"details that are a list":        {`,"custom_details":[1, 2]`, `{host="db1",service="checkout",site="eu"}`, `{custom_details="[1, 2]"}`},
		"text of several lines":          {`,"custom_details":{"firing":"one\ntwo"}`, `{host="db1",service="checkout",site="eu"}`, `{firing="one\ntwo"}`},
		"a long text":                    {`,"custom_details":{"text":"` + long + `"}`, `{host="db1",service="checkout",site="eu"}`, `{text="` + long + `"}`},
		"a detail that says the host":    {`,"custom_details":{"hostname":"db2"}`, `{hostname="db2",service="checkout",site="eu"}`, `{}`},
		"a detail may not choose ours":   {`,"custom_details":{"service":"mine","site":"mine"}`, `{host="db1",service="checkout",site="eu"}`, `{}`},
		"a field wins over a detail":     {`,"class":"c","custom_details":{"class":"d","group":"g"}`, `{class="c",group="g",host="db1",service="checkout",site="eu"}`, `{}`},
		"fields that nobody knows":       {`,"more":{"a":[1]}`, `{host="db1",service="checkout",site="eu"}`, `{}`},
		"details whose case differs":     {`,"custom_details":{"App":"a","app":"b"}`, `{App="a",app="b",host="db1",service="checkout",site="eu"}`, `{}`},
		"a number too large for float64": {`,"custom_details":{"id":12345678901234567890123}`, `{host="db1",id="12345678901234567890123",service="checkout",site="eu"}`, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse(t, trigger(tc.fields))
			if err != nil {
				t.Fatal(err)
			}
			if e := m.Events[0]; e.Labels.String() != tc.labels || e.Annotations.String() != tc.annotations {
				t.Errorf("labels %s, annotations %s\nwant %s and %s", e.Labels, e.Annotations, tc.labels, tc.annotations)
			}
		})
	}
}

func TestDetailsTooLargeToKeepAreCutAndItIsSaid(t *testing.T) {
	var fields []string
	for i := range 6 {
		fields = append(fields, fmt.Sprintf(`"d%d":"%s"`, i, strings.Repeat("ä", 20_000)))
	}
	m, err := parse(t, trigger(`,"custom_details":{`+strings.Join(fields, ",")+`}`))
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, a := range m.Events[0].Annotations {
		size += len(a.Value)
		if len(a.Value) > ingest.MaxAnnotation {
			t.Errorf("annotation %s has %d bytes", a.Name, len(a.Value))
		}
	}
	if got := m.Events[0].Annotations.Get("cut"); got != "d0, d1, d2, d3, d4, d5" || size > maxDetails+100 {
		t.Errorf("cut says %q, %d bytes kept", got, size)
	}
}

func TestTwoRoutingKeysNeverShareAnAlert(t *testing.T) {
	first, err := parse(t, trigger(``))
	if err != nil {
		t.Fatal(err)
	}
	second, err := parse(t, strings.Replace(trigger(``), key, other, 1))
	if err != nil {
		t.Fatal(err)
	}
	if first.Events[0].Fingerprint == second.Events[0].Fingerprint {
		t.Error("a dedup_key under two routing keys is one alert")
	}
	resolve, err := parse(t, `{"event_action":"resolve","dedup_key":"d","routing_key":"`+key+`","payload":{"summary":"x","severity":"whatever"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if e := resolve.Events[0]; e.Fingerprint != first.Events[0].Fingerprint || e.Status != tocsin.Resolved {
		t.Errorf("resolve is %s of %s, want resolved of %s", e.Status, e.Fingerprint, first.Events[0].Fingerprint)
	}
}

func TestEverythingThatIsWrongWithAnEventIsTold(t *testing.T) {
	long := strings.Repeat("ä", 1025)
	for name, tc := range map[string]struct{ body, want string }{
		"nothing in it":                   {`{"routing_key":"` + key + `"}`, "event_action: is needed"},
		"no routing key":                  {`{"event_action":"trigger"}`, "payload.summary: is needed; payload.source: is needed; payload.severity: is needed; routing_key: is needed"},
		"a routing key that is a number":  {`{"routing_key":1,"event_action":"resolve","dedup_key":"d"}`, "routing_key: a text is due; routing_key: is needed"},
		"nobody's routing key":            {`{"routing_key":"x","event_action":"resolve","dedup_key":"d"}`, ingest.ErrNoKey.Error()},
		"nobody learns what else is bad":  {`{"routing_key":"x"}`, ingest.ErrNoKey.Error()},
		"a routing key twice":             {`{"routing_key":"` + key + `","event_action":"resolve","dedup_key":"d","routing_key":"` + other + `"}`, "routing_key: stands twice"},
		"a routing key in other letters":  {`{"Routing_Key":"x","routing_key":"` + key + `","event_action":"resolve","dedup_key":"d"}`, "Routing_Key: is called routing_key"},
		"an action nobody knows":          {`{"routing_key":"` + key + `","event_action":"close","dedup_key":"d"}`, `event_action: "close": one of trigger, acknowledge, resolve`},
		"an acknowledge of what":          {`{"routing_key":"` + key + `","event_action":"acknowledge"}`, "dedup_key: is needed"},
		"a resolve of what":               {`{"routing_key":"` + key + `","event_action":"resolve","dedup_key":""}`, "dedup_key: is needed"},
		"a trigger of nothing":            {`{"routing_key":"` + key + `","event_action":"trigger"}`, "payload.summary: is needed; payload.source: is needed; payload.severity: is needed"},
		"a payload that is a list":        {`{"routing_key":"` + key + `","event_action":"resolve","dedup_key":"d","payload":[]}`, "payload: an object is due"},
		"a severity nobody knows":         {strings.Replace(trigger(``), `"error"`, `"purple"`, 1), `payload.severity: "purple": one of critical, error, warning, info`},
		"a summary too long":              {strings.Replace(trigger(``), `"s"`, `"`+long+`"`, 1), "payload.summary: 1025 characters: at most 1024"},
		"a dedup_key too long":            {strings.Replace(trigger(``), `"d"`, `"`+long[:512]+`"`, 1), "dedup_key: 256 characters: at most 255"},
		"a time that is none":             {trigger(`,"timestamp":"soon"`), `payload.timestamp: "soon" is no ISO 8601 time`},
		"a NUL":                           {trigger(`,"class":"\u0000"`), "payload.class: has a NUL character"},
		"a NUL in a detail":               {trigger(`,"custom_details":{"a":"\u0000"}`), "payload.custom_details: has a NUL character"},
		"a detail twice":                  {trigger(`,"custom_details":{"a":1,"a":2}`), `payload.custom_details: "a" stands twice`},
		"a summary twice":                 {trigger(`,"summary":"t"`), "payload.summary: stands twice"},
		"a class too long":                {trigger(`,"class":"` + strings.Repeat("c", 5000) + `"`), "payload.class: 5000 bytes: at most 4096"},
		"10,000 details":                  {trigger(`,"custom_details":{` + many(10_000) + `}`), "payload.custom_details: 10004 labels: at most 64; payload: 10000 details, links and images: at most 256"},
		"links that are none":             {strings.Replace(trigger(``), `{"routing_key"`, `{"links":[1],"images":{},"routing_key"`, 1), "links[0]: an object is due; images: an array is due"},
		"a list of events":                {`[` + trigger(``) + `]`, "byte 0: an object is due"},
		"cut off":                         {trigger(``)[:60], "byte 60: the body ends within a text"},
		"two of them":                     {trigger(``) + trigger(``), fmt.Sprintf("byte %d: more stands behind the end of the JSON", len(trigger(``)))},
		"a detail that is a large number": {trigger(`,"custom_details":{"a":1e400}`), "number 1e400 is too large"},
		"a doubled name deep down":        {trigger(`,"custom_details":{"a":{"b":1,"b":2}}`), "a name stands twice: /b"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse(t, tc.body)
			if err == nil || !strings.HasSuffix(err.Error(), tc.want) || len(m.Events) > 0 {
				t.Errorf("error = %v with %d events, want %s", err, len(m.Events), tc.want)
			}
		})
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"l%05d":"v",`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// An acceptor keeps keys, or says err.
type acceptor struct {
	keys []string
	err  error
}

func (a *acceptor) Accept(_ context.Context, _ string, events []tocsin.Event) (ingest.Receipt, error) {
	for _, e := range events {
		a.keys = append(a.keys, e.Key)
	}
	return ingest.Receipt{}, a.err
}

func TestTheDoorAnswersAsPagerDutyDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		path, body string
		err        error
		status     int
		answer     string
	}{
		"a trigger":                 {"/", trigger(``), nil, 202, `{"status":"success","message":"Event processed","dedup_key":"d"}`},
		"a bad event":               {"/", `{"routing_key":"` + key + `","event_action":"acknowledge"}`, nil, 400, `{"status":"invalid event","message":"Event object is invalid","errors":["dedup_key: is needed"]}`},
		"no JSON":                   {"/", `hello`, nil, 400, `{"status":"invalid event","message":"Event object is invalid","errors":["byte 0: an object is due"]}`},
		"nobody's routing key":      {"/", strings.Replace(trigger(``), key, "x", 1), nil, 400, `{"status":"invalid event","message":"Event object is invalid","errors":["routing_key: the key in the body is not known here"]}`},
		"too fast":                  {"/", trigger(``), ingest.ErrBusy, 429, `{"status":"throttle exceeded","message":"Requests for this service are arriving too quickly.  Please retry later."}`},
		"not durable":               {"/", trigger(``), ingest.ErrUnavailable, 503, `{"status":"error","message":"alerts cannot be made durable now"}`},
		"over 512 KB":               {"/", trigger(`,"x":"` + strings.Repeat("x", 512<<10) + `"`), nil, 413, `{"status":"error","message":"a body may have 524288 bytes, unpacked"}`},
		"a change event":            {"/change", sample(t, "change-event.json"), nil, 501, `{"status":"not in force","message":"Change events are not in force yet: nothing was kept"}`},
		"a change event, dry":       {"/change?dry_run=1", sample(t, "change-event.json"), nil, 200, `{"alerts":[],"control":"ignore"}`},
		"a change event of nobody":  {"/change", strings.Replace(sample(t, "change-event.json"), key, "x", 1), nil, 400, `{"status":"invalid event","message":"Event object is invalid","errors":["routing_key: the key in the body is not known here"]}`},
		"a change event of nothing": {"/change", `{"routing_key":"` + key + `"}`, nil, 400, `{"status":"invalid event","message":"Event object is invalid","errors":["payload.summary: is needed"]}`},
		"a dry run": {"/?dry_run=1", trigger(``), nil, 200, `{"alerts":[{"status":"firing","severity":"error","summary":"s","about":"db1","key":"d","fingerprint":"` + fingerprint("legacy", key, "d").String() +
			`","labels":{"host":"db1","service":"checkout","site":"eu"}}],"control":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			a := &acceptor{err: tc.err}
			rc, err := ingest.NewReceiver(newSources(t), a, ingest.Options{Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.Handle("POST /", rc.Handler(Door()))
			mux.Handle("POST /change", rc.Handler(ChangeDoor()))
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, tc.path, strings.NewReader(tc.body)))
			if got := strings.TrimSpace(w.Body.String()); w.Code != tc.status || got != tc.answer {
				t.Errorf("answer = %d %s\nwant %d %s", w.Code, got, tc.status, tc.answer)
			}
			if retry := w.Header().Get("Retry-After"); (tc.err != nil) != (retry != "") {
				t.Errorf("Retry-After %q with %d", retry, w.Code)
			}
		})
	}
}

func TestAFreshKeyIsReturnedAndDifferentEachTime(t *testing.T) {
	a := &acceptor{}
	rc, err := ingest.NewReceiver(newSources(t), a, ingest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := rc.Handler(Door())
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(sample(t, "gatus-trigger.json"))))
		var answer struct {
			DedupKey string `json:"dedup_key"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.DedupKey == "" || answer.DedupKey != a.keys[len(a.keys)-1] {
			t.Errorf("answer %s, %v, accepted %q", w.Body, err, a.keys)
		}
	}
	if a.keys[0] == a.keys[1] {
		t.Errorf("two fresh keys are both %s", a.keys[0])
	}
}

// FuzzParse: what is taken is one sound event, and sound JSON.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add([]byte(sample(f, filepath.Base(file))))
	}
	f.Add([]byte(trigger(`,"custom_details":{"a":1,"b":"\u0041\n","c":{"d":[null]}},"timestamp":"2026-03-02 10:00:00"`)))
	f.Add([]byte(`{"links":[{"href":"x","text":"y"}],"images":[{"src":"z"}],"client":"c","routing_key":"` + key + `","event_action":"resolve","dedup_key":"d"}`))
	sources := newSources(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, p := range []ingest.ParserFunc{Parse(NewKey), ParseChange} {
			m := ingest.NewMessage(sources, nil, body, now)
			if err := p(context.Background(), m); err != nil {
				continue
			}
			if !jsontext.Value(body).IsValid() {
				t.Fatalf("took what jsontext does not: %q", body)
			}
			if m.Source == nil || len(m.Events) == 0 && m.Control != "ignore" {
				t.Fatalf("took %q and made nothing of it", body)
			}
			for _, e := range m.Events {
				if e.Key == "" || e.Severity == 0 || e.Status == 0 || len(e.Labels) > ingest.MaxLabels+2 {
					t.Fatalf("unsound event %+v", e)
				}
				if _, err := append(tocsin.Labels{}, e.Labels...).Normalize(); err != nil {
					t.Fatalf("labels: %v", err)
				}
			}
		}
	})
}

// BenchmarkPost is a whole request of one event; nothing is kept.
func BenchmarkPost(b *testing.B) {
	rc, err := ingest.NewReceiver(newSources(b), deaf{}, ingest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	h := rc.Handler(Door())
	body := []byte(trigger(`,"component":"checkout","group":"payments-1","class":"crashloop","custom_details":{"cluster":"prod-eu-west-1","container":"checkout","job":"kube-state-metrics","team":"payments","reason":"CrashLoopBackOff","restarts":7,"runbook_url":"https://runbooks.example.com/kubernetes/kubepodcrashlooping"}`))
	in := bytes.NewReader(body)
	r := httptest.NewRequest(http.MethodPost, "/v2/enqueue", nil)
	r.ContentLength = int64(len(body))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(body)
		r.Body = io.NopCloser(in)
		w.Body.Reset()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusAccepted {
			b.Fatal(w.Code, w.Body)
		}
	}
}

// deaf accepts everything and keeps nothing.
type deaf struct{}

func (deaf) Accept(context.Context, string, []tocsin.Event) (ingest.Receipt, error) {
	return ingest.Receipt{}, nil
}
