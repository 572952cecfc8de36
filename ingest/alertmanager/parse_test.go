package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/ingest"
)

// prometheus is the source of the tests.
func prometheus() ingest.Source {
	return ingest.Source{
		Name: "prometheus", Identity: "prometheus", Kind: ingest.Alertmanager, Tokens: []ingest.Token{ingest.HashToken("prom-secret")},
		Severity: map[string]tocsin.Severity{"meh": tocsin.Info},
	}
}

// parse returns what Parse makes of body at now.
func parse(t testing.TB, src ingest.Source, body string) *ingest.Message {
	t.Helper()
	m := ingest.NewMessage(nil, &src, []byte(body), now)
	if err := Parse(0)(t.Context(), m); err != nil {
		t.Fatalf("parse %.200s: %v", body, err)
	}
	return m
}

func TestSamples(t *testing.T) {
	minutes := func(n int) time.Time { return time.Date(2026, 3, 2, 10, n, 0, 0, time.UTC) }
	for file, want := range map[string]tocsin.Event{
		"prometheus-firing.json": {
			Source: "prometheus", Key: `{alertname="HighErrorRate",instance="10.1.2.3:8080",service="checkout",severity="page"}`,
			Status: tocsin.Firing, Severity: tocsin.Critical, Word: "page", Summary: "5% of requests fail", About: "10.1.2.3:8080",
			Labels: tocsin.Labels{
				{Name: "alertname", Value: "HighErrorRate"},
				{Name: "instance", Value: "10.1.2.3:8080"},
				{Name: "service", Value: "checkout"},
				{Name: "severity", Value: "page"},
			},
			Annotations: tocsin.Labels{{Name: "summary", Value: "5% of requests fail"}},
			URL:         "http://prom:9090/graph?g0.expr=x", StartsAt: minutes(15).Add(123e6), EndsAt: minutes(19).Add(123e6),
		},
		"vmalert-firing.json": {
			Source: "prometheus", Key: `{alertgroup="node",alertname="DiskRunsOutOfSpace",instance="db3:9100",severity="critical"}`,
			Status: tocsin.Firing, Severity: tocsin.Critical, Word: "critical", Summary: "Disk of db3 full in 4h", About: "db3:9100",
			Labels: tocsin.Labels{
				{Name: "alertgroup", Value: "node"},
				{Name: "alertname", Value: "DiskRunsOutOfSpace"},
				{Name: "instance", Value: "db3:9100"},
				{Name: "severity", Value: "critical"},
			},
			Annotations: tocsin.Labels{{Name: "summary", Value: "Disk of db3 full in 4h"}},
			URL:         "http://vmalert:8880/vmalert/alert?group_id=1&alert_id=2", StartsAt: minutes(15), EndsAt: minutes(19),
		},
		"loki-ruler-firing.json": {
			Source: "prometheus", Key: `{alertname="ManyPanics",app="billing",severity="warning"}`,
			Status: tocsin.Firing, Severity: tocsin.Warning, Word: "warning", Summary: "billing panics", About: "billing",
			Labels:      tocsin.Labels{{Name: "alertname", Value: "ManyPanics"}, {Name: "app", Value: "billing"}, {Name: "severity", Value: "warning"}},
			Annotations: tocsin.Labels{{Name: "summary", Value: "billing panics"}},
			URL:         "http://loki:3100/explore", StartsAt: minutes(15), EndsAt: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		},
	} {
		t.Run(file, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			want.Fingerprint = tocsin.FingerprintOf("prometheus", want.Key)
			if diff := cmp.Diff([]tocsin.Event{want}, parse(t, prometheus(), string(body)).Events); diff != "" {
				t.Errorf("events, -want +got:\n%s", diff)
			}
		})
	}
}

func TestWhatWasNotSaidIsFilledIn(t *testing.T) {
	const past, future = "2026-03-02T10:00:00Z", "2026-03-02T10:30:00Z"
	at := func(s string) time.Time { t, _ := ingest.Time(s); return t }
	for name, tc := range map[string]struct {
		item       string
		status     tocsin.Status
		start, end time.Time
	}{
		"neither start nor end":     {`{"labels":{"a":"b"}}`, tocsin.Firing, now, now.Add(5 * time.Minute)},
		"null is not said":          {`{"labels":{"a":"b"},"startsAt":null,"endsAt":null,"annotations":null,"generatorURL":null}`, tocsin.Firing, now, now.Add(5 * time.Minute)},
		"an empty time is not said": {`{"labels":{"a":"b"},"startsAt":"","endsAt":""}`, tocsin.Firing, now, now.Add(5 * time.Minute)},
		"the year 1 is not said":    {`{"labels":{"a":"b"},"startsAt":"` + past + `","endsAt":"0001-01-01T00:00:00Z"}`, tocsin.Firing, at(past), now.Add(5 * time.Minute)},
		"only an end, passed":       {`{"labels":{"a":"b"},"endsAt":"` + past + `"}`, tocsin.Resolved, at(past), at(past)},
		"only an end, to come":      {`{"labels":{"a":"b"},"endsAt":"` + future + `"}`, tocsin.Firing, at(future), at(future)},
		"an end that is just now":   {`{"labels":{"a":"b"},"startsAt":"` + past + `","endsAt":"2026-03-02T10:16:00Z"}`, tocsin.Resolved, at(past), now},
		"a start elsewhere":         {`{"labels":{"a":"b"},"startsAt":"2026-03-02T12:00:00.5+02:00"}`, tocsin.Firing, at(past).Add(5e8), now.Add(5 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			m := parse(t, prometheus(), "["+tc.item+"]")
			if len(m.Events) != 1 {
				t.Fatalf("%d events, refused %v", len(m.Events), m.Refused.Named)
			}
			e := m.Events[0]
			if e.Status != tc.status || e.StartsAt != tc.start || e.EndsAt != tc.end {
				t.Errorf("%s from %s to %s, want %s from %s to %s", e.Status, e.StartsAt, e.EndsAt, tc.status, tc.start, tc.end)
			}
		})
	}
}

func TestReplicasThatSendTheSameSetMakeOneAlert(t *testing.T) {
	src := prometheus()
	src.Labels = tocsin.Labels{{Name: "cluster", Value: "ours"}, {Name: "service", Value: "ours"}}
	first := parse(t, src, `[{"labels":{"alertname":"x","service":"a","empty":""},"startsAt":"2026-03-02T10:00:00Z"}]`).Events[0]
	second := parse(t, prometheus(), `[{"annotations":{"summary":"other"},"labels":{"service":"a","alertname":"\u0078"}}]`).Events[0]
	if first.Key != second.Key || first.Fingerprint != second.Fingerprint || first.Key != `{alertname="x",service="a"}` {
		t.Errorf("keys %s and %s, want one", first.Key, second.Key)
	}
	if got, want := first.Labels.String(), `{alertname="x",cluster="ours",service="ours"}`; got != want {
		t.Errorf("labels %s, want %s", got, want)
	}
	other := parse(t, prometheus(), `[{"labels":{"Service":"a","alertname":"x"}}]`).Events[0]
	if other.Key == first.Key {
		t.Error("labels that differ by case make one alert")
	}
}

func TestWhatAPersonReads(t *testing.T) {
	for name, tc := range map[string]struct{ item, word, severity, summary, about string }{
		"its own severity word":          {`{"labels":{"alertname":"x","severity":"meh"}}`, "meh", "info", "x", "x"},
		"a word nobody knows":            {`{"labels":{"alertname":"x","severity":"purple"}}`, "purple", "error", "x", "x"},
		"no severity":                    {`{"labels":{"alertname":"x"}}`, "", "error", "x", "x"},
		"no name":                        {`{"labels":{"job":"node"}}`, "", "error", "node", "node"},
		"neither name nor telling label": {`{"labels":{"color":"red"}}`, "", "error", "an alert without a name", ""},
		"summary before description":     {`{"labels":{"alertname":"x"},"annotations":{"description":"d","summary":"s"}}`, "", "error", "s", "x"},
		"description's first line":       {`{"labels":{"alertname":"x"},"annotations":{"description":"\n one\ntwo","message":"m"}}`, "", "error", "one", "x"},
		"message":                        {`{"labels":{"alertname":"x"},"annotations":{"message":"m"}}`, "", "error", "m", "x"},
		"name and what it is about":      {`{"labels":{"alertname":"x","service":"checkout"}}`, "", "error", "x: checkout", "checkout"},
		"a host before an instance":      {`{"labels":{"alertname":"x","instance":"exporter:9100","host":"db1"}}`, "", "error", "x: db1", "db1"},
		"a pod before an instance":       {`{"labels":{"alertname":"x","instance":"exporter:9100","pod":"p-1"}}`, "", "error", "x: p-1", "p-1"},
	} {
		t.Run(name, func(t *testing.T) {
			e := parse(t, prometheus(), "["+tc.item+"]").Events[0]
			if e.Word != tc.word || e.Severity.String() != tc.severity || e.Summary != tc.summary || e.About != tc.about {
				t.Errorf("%q %s, %q about %q, want %q %s, %q about %q", e.Word, e.Severity, e.Summary, e.About, tc.word, tc.severity, tc.summary, tc.about)
			}
		})
	}
}

func TestABadAlertIsRefusedByNameAndTheOthersAreStored(t *testing.T) {
	long := func(n int) string { return strings.Repeat("v", n) }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"l%05d":"v",`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	for name, tc := range map[string]struct{ item, want string }{
		"no object":                    {`"x"`, "item 1: an object is due"},
		"null":                         {`null`, "item 1: an object is due"},
		"a list":                       {`[[]]`, "item 1: an object is due"},
		"no labels":                    {`{}`, "item 1: labels: at least one label with a value is needed"},
		"labels null":                  {`{"labels":null}`, "item 1: labels: at least one label with a value is needed"},
		"labels that are all empty":    {`{"labels":{"a":"","b":""}}`, "item 1: labels: at least one label with a value is needed"},
		"labels in a list":             {`{"labels":["a"]}`, "item 1: labels: an object is due"},
		"a number as a value":          {`{"labels":{"a":1}}`, `item 1: labels: value of "a": a text is due`},
		"a tree as a value":            {`{"labels":{"a":{"b":{"c":["d"]}}}}`, `item 1: labels: value of "a": a text is due`},
		"null as a value":              {`{"labels":{"a":null,"b":"c"}}`, `item 1: labels: value of "a": a text is due`},
		"a label twice":                {`{"labels":{"a":"b","c":"","a":"b"}}`, `item 1: labels: "a" stands twice`},
		"a label twice, once empty":    {`{"labels":{"a":"b","a":""}}`, `item 1: labels: "a" stands twice`},
		"a label twice, once escaped":  {`{"labels":{"a":"b","\u0061":"c"}}`, `item 1: labels: "a" stands twice`},
		"labels twice":                 {`{"labels":{"a":"b"},"labels":{"c":"d"}}`, "item 1: labels: the field stands twice"},
		"an unknown field twice":       {`{"labels":{"a":"b"},"x":1,"x":1}`, "item 1: x: the field stands twice"},
		"labels in other letters":      {`{"labels":{"a":"b"},"Labels":{"c":"d"}}`, "item 1: Labels: the field is called labels"},
		"endsAt in other letters":      {`{"labels":{"a":"b"},"endsat":"2026-03-02T10:00:00Z"}`, "item 1: endsat: the field is called endsAt"},
		"a name without letters":       {`{"labels":{"":"b"}}`, "item 1: labels: a name is empty"},
		"a NUL in a name":              {`{"labels":{"a\u0000":"b"}}`, `item 1: labels: name "a\x00" has a NUL character`},
		"a NUL in a value":             {`{"labels":{"a":"\u0000"}}`, `item 1: labels: value of "a": a NUL character`},
		"a NUL in an annotation":       {`{"labels":{"a":"b"},"annotations":{"x":"y\u0000"}}`, `item 1: annotations: value of "x": a NUL character`},
		"a name too long":              {`{"labels":{"` + long(129) + `":"b"}}`, `item 1: labels: name "` + long(32) + `"... has 129 bytes: at most 128`},
		"a value of 64 KiB":            {`{"labels":{"a":"` + long(64<<10) + `"}}`, `item 1: labels: value of "a": 65536 bytes: at most 4096`},
		"an annotation of 64 KiB":      {`{"labels":{"a":"b"},"annotations":{"x":"` + long(64<<10) + `"}}`, `item 1: annotations: value of "x": 65536 bytes: at most 32768`},
		"an address too long":          {`{"labels":{"a":"b"},"generatorURL":"` + long(17<<10) + `"}`, `item 1: generatorURL: 17408 bytes: at most 16384`},
		"an address that is a number":  {`{"labels":{"a":"b"},"generatorURL":1}`, "item 1: generatorURL: a text is due"},
		"10,000 labels":                {`{"labels":{` + many(10_000) + `}}`, "item 1: labels: 10000 of them: at most 64"},
		"65 annotations":               {`{"labels":{"a":"b"},"annotations":{` + many(65) + `}}`, "item 1: annotations: 65 of them: at most 64"},
		"an alert too big as a whole":  {`{"labels":{"a":"b"},"x":"` + long(64<<10) + `"}`, "item 1: 65563 bytes: at most 65536"},
		"a time that is none":          {`{"labels":{"a":"b"},"startsAt":"yesterday"}`, `item 1: startsAt: "yesterday" is no RFC 3339 time`},
		"a time that is a number":      {`{"labels":{"a":"b"},"endsAt":1772440978}`, "item 1: endsAt: a text is due"},
		"an end before the start":      {`{"labels":{"a":"b"},"startsAt":"2026-03-02T10:00:00Z","endsAt":"2026-03-02T09:00:00Z"}`, "item 1: endsAt: the end is before the start"},
		"a start after the time-out":   {`{"labels":{"a":"b"},"startsAt":"2026-03-02T11:00:00Z"}`, "item 1: endsAt: the end is before the start"},
		"only the first mistake named": {`{"labels":{"a":1},"startsAt":"x"}`, `item 1: labels: value of "a": a text is due`},
	} {
		t.Run(name, func(t *testing.T) {
			m := parse(t, prometheus(), `[{"labels":{"n":"0"}},`+tc.item+`,{"labels":{"n":"2"}}]`)
			var keys []string
			for _, e := range m.Events {
				keys = append(keys, e.Key)
			}
			if want := []string{`{n="0"}`, `{n="2"}`}; !slices.Equal(keys, want) {
				t.Errorf("stored %q, want %q", keys, want)
			}
			if m.Refused.Count != 1 || m.Refused.Named[0].Error() != tc.want {
				t.Errorf("refused %v, want %s", m.Refused.Named, tc.want)
			}
		})
	}
}

func TestTheDoorAnswersAsAlertmanagerDoes(t *testing.T) {
	const good = `{"labels":{"a":"b"}}`
	for name, tc := range map[string]struct {
		path, token, body string
		status            int
		answer            string
		stored            int
	}{
		"good":                {"/", "prom-secret", `[` + good + `]`, 200, "", 1},
		"none":                {"/", "prom-secret", `[]`, 200, "", 0},
		"fields nobody knows": {"/", "prom-secret", `[{"labels":{"a":"b"},"fingerprint":"x","status":{"state":"active"},"receivers":[{"name":"r"}]}]`, 200, "", 1},
		"half bad":            {"/", "prom-secret", `[{},` + good + `]`, 400, "\"1 of 2 alerts are refused, the others are stored; item 0: labels: at least one label with a value is needed\"\n", 1},
		"all bad":             {"/", "prom-secret", `[{}]`, 400, "\"nothing of it can be taken; item 0: labels: at least one label with a value is needed\"\n", 0},
		"an object":           {"/", "prom-secret", good, 400, "\"byte 0: an array of alerts is due\"\n", 0},
		"cut":                 {"/", "prom-secret", `[` + good, 400, "\"byte 21: the body ends where a comma or the end of the list is due\"\n", 0},
		"joined":              {"/", "prom-secret", `[` + good + `][]`, 400, "\"byte 22: more stands behind the end of the JSON\"\n", 0},
		"a number too large":  {"/", "prom-secret", `[{"labels":{"a":1e400}}]`, 400, "\"byte 21: number 1e400 is too large\"\n", 0},
		"a stranger":          {"/", "wrong", `[` + good + `]`, 401, "\"a source's token is needed, as Bearer, as basic password or as ?token=\"\n", 0},
		"a dry run": {"/?dry_run=1", "prom-secret", `[` + good + `]`, 200, `{"alerts":[{"status":"firing","severity":"error","summary":"an alert without a name","about":"","key":"{a=\"b\"}",` +
			`"fingerprint":"` + tocsin.FingerprintOf("prometheus", `{a="b"}`).String() + `","labels":{"a":"b"}}],"control":null}` + "\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			stored := 0
			h := newHandler(t, acceptorFunc(func(events []tocsin.Event) error { stored += len(events); return nil }), prometheus())
			r := httptest.NewRequest(http.MethodPost, tc.path, strings.NewReader(tc.body))
			r.SetBasicAuth("prometheus", tc.token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.status || w.Body.String() != tc.answer || stored != tc.stored {
				t.Errorf("answer = %d %s, %d stored, want %d %s, %d stored", w.Code, w.Body, stored, tc.status, tc.answer, tc.stored)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
}

// FuzzParse: what is taken is sound, nothing of a batch is lost in silence, and what jsontext does not take is not taken.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add(manyAlerts(2))
	f.Add([]byte(`[{"labels":{"b":"\"","a":"\\","c":""},"labels":1},{"Labels":2},[],{"labels":{"a":"1","a":"2"},"x":{"y":1,"y":2}}]`))
	src := prometheus()
	f.Fuzz(func(t *testing.T, body []byte) {
		m := ingest.NewMessage(nil, &src, body, now)
		if err := Parse(0)(context.Background(), m); err != nil {
			if looseIsValid(body) {
				t.Fatalf("%v of sound JSON %q", err, body)
			}
			return
		}
		var items []json.RawMessage
		if err := json.Unmarshal(body, &items); err != nil {
			t.Fatalf("took what is no JSON: %v of %q", err, body)
		}
		if len(m.Events)+m.Refused.Count != len(items) {
			t.Fatalf("%d taken, %d refused of %d in %q", len(m.Events), m.Refused.Count, len(items), body)
		}
		if m.Refused.Count == 0 && !jsontext.Value(body).IsValid() {
			t.Fatalf("took all of what jsontext does not: %q", body)
		}
		for _, e := range m.Events {
			soundEvent(t, e)
		}
	})
}

// looseIsValid reports whether body is an array that nothing but doubled names or large numbers could be said against.
func looseIsValid(body []byte) bool {
	return jsontext.Value(body).Kind() == '[' && jsontext.Value(body).IsValid() && !strings.ContainsAny(string(body), "0123456789")
}

func soundEvent(t *testing.T, e tocsin.Event) {
	t.Helper()
	if len(e.Labels) == 0 || e.StartsAt.IsZero() || e.EndsAt.Before(e.StartsAt) || e.Severity < tocsin.Critical || e.Severity > tocsin.Info ||
		e.Fingerprint != tocsin.FingerprintOf("prometheus", e.Key) || strings.ContainsAny(e.Summary, "\r\n") {
		t.Fatalf("unsound event %+v", e)
	}
	for _, ls := range []tocsin.Labels{e.Labels, e.Annotations} {
		normal, err := slices.Clone(ls).Normalize()
		if err != nil || !slices.Equal(normal, ls) {
			t.Fatalf("labels %v are not in order: %v", ls, err)
		}
	}
}
