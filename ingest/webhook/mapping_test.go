package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// now is when every test takes place.
var now = time.Date(2026, 3, 2, 10, 16, 0, 0, time.UTC)

// scripts is the mapping of the documentation's example.
func scripts() Mapping {
	return Mapping{
		Key:      `body.check + "/" + body.host`,
		Status:   `body.state == "ok" ? "resolved" : "firing"`,
		Severity: `body.level`,
		Summary:  `body.message`,
		Labels:   map[string]string{"host": `body.host`, "service": `body.app`},
	}
}

func source(t testing.TB, m Mapping) ingest.Source {
	t.Helper()
	p, err := Compile(m)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return ingest.Source{Name: "scripts", Identity: "scripts", Kind: ingest.JSON, Tokens: []ingest.Token{ingest.HashToken("scripts-secret")}, Parser: p}
}

// parsed returns what mapping m makes of body at now.
func parsed(t testing.TB, m Mapping, body string) (*ingest.Message, error) {
	t.Helper()
	src := source(t, m)
	msg := ingest.NewMessage(nil, &src, []byte(body), now)
	if err := msg.Scan.Err(); err != nil {
		return msg, err
	}
	return msg, src.Parser.Parse(t.Context(), msg)
}

func TestTheMappingSaysWhereThingsAre(t *testing.T) {
	uptimeKuma := Mapping{
		Key:         `"monitor/" + string(body.monitor.id)`,
		Status:      `body.heartbeat.status == 1 ? "resolved" : "firing"`,
		Summary:     `body.msg`,
		About:       `body.monitor.name`,
		URL:         `body.monitor.url`,
		StartsAt:    `body.heartbeat.time`,
		Labels:      map[string]string{"monitor": `lower(body.monitor.name)`, "env": `first(filter(body.monitor.tags, .name == "env"))?.value`, "none": `body.monitor.hostname`},
		Annotations: map[string]string{"detail": `body.heartbeat.msg`, "codes": `join(body.monitor.accepted_statuscodes, ", ")`},
	}
	for name, tc := range map[string]struct {
		mapping Mapping
		body    string
		want    tocsin.Event
	}{
		"the contract's example": {scripts(), `{"check":"disk","host":"db1","state":"bad","level":"warn","message":"full","app":"shop"}`, tocsin.Event{
			Key: "disk/db1", Status: tocsin.Firing, Severity: tocsin.Warning, Word: "warn", Summary: "full", About: "db1",
			Labels: tocsin.Labels{{Name: "host", Value: "db1"}, {Name: "service", Value: "shop"}},
		}},
		"its all-clear, with less in it": {scripts(), `{"check":"disk","host":"db1","state":"ok"}`, tocsin.Event{
			Key: "disk/db1", Status: tocsin.Resolved, Severity: tocsin.Error, Summary: "disk/db1", About: "db1", Labels: tocsin.Labels{{Name: "host", Value: "db1"}},
		}},
		"only a key": {Mapping{Key: "body.id"}, `{"id":7}`, tocsin.Event{Key: "7", Status: tocsin.Firing, Severity: tocsin.Error, Summary: "7", About: "7"}},
		"a body that is a text": {Mapping{Key: "body", StartsAt: "1772446535"}, `"down"`, tocsin.Event{
			Key: "down", Status: tocsin.Firing, Severity: tocsin.Error, Summary: "down", About: "down",
			StartsAt: time.Unix(1772446535, 0).UTC(),
		}},
		"a monitor that is down": {uptimeKuma, sample(t, "uptime-kuma-down.json"), tocsin.Event{
			Key: "monitor/29", Status: tocsin.Firing, Severity: tocsin.Error, Summary: "[Shop] [🔴 Down] getaddrinfo ENOTFOUND shop.example.com", About: "Shop",
			Labels:      tocsin.Labels{{Name: "env", Value: "prod"}, {Name: "monitor", Value: "shop"}},
			Annotations: tocsin.Labels{{Name: "codes", Value: "200-299"}, {Name: "detail", Value: "getaddrinfo ENOTFOUND shop.example.com"}},
			URL:         "https://shop.example.com/health", StartsAt: time.Date(2026, 3, 2, 10, 15, 35, 527e6, time.UTC),
		}},
		"an incident of a cloud": {
			Mapping{Key: "body.incident.incident_id", Severity: "body.incident.metadata.system_labels.severity", StartsAt: "body.incident.started_at"},
			sample(t, "gcp-incident-5xx.json"),
			tocsin.Event{
				Key: "prod-5xx-123", Status: tocsin.Firing, Severity: tocsin.Critical, Word: "critical", Summary: "prod-5xx-123", About: "prod-5xx-123",
				StartsAt: time.Unix(0, 0).UTC(),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parsed(t, tc.mapping, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Source, tc.want.Fingerprint = "scripts", tocsin.FingerprintOf("scripts", tc.want.Key)
			if len(tc.want.Labels) == 0 {
				tc.want.Labels = nil
			}
			if diff := cmp.Diff([]tocsin.Event{tc.want}, m.Events); diff != "" {
				t.Errorf("events, -want +got:\n%s\nrefused %v", diff, m.Refused.Named)
			}
		})
	}
}

func sample(t testing.TB, file string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestABatchIsTakenAsFarAsItIsGood(t *testing.T) {
	mapping := Mapping{Each: `body.items`, Key: `item.id + "/" + body.site`, Status: `item.state`, Labels: map[string]string{"place": `index`}, StartsAt: `item.at`}
	for name, tc := range map[string]struct{ item, want string }{
		"no key":                      {`{"state":"firing"}`, "item 1: key: invalid operation: <nil> + string (1:9)"},
		"a key that is blank":         {`{"id":"","state":"firing"}`, ""},
		"a status nobody knows":       {`{"id":"b","state":"red"}`, `item 1: status: "red": one of firing, resolved, acknowledged`},
		"no status":                   {`{"id":"b"}`, `item 1: status: "": one of firing, resolved, acknowledged`},
		"a status that is an object":  {`{"id":"b","state":{}}`, "item 1: status: a text is due, not an object"},
		"a time that is none":         {`{"id":"b","state":"firing","at":"soon"}`, `item 1: starts_at: "soon" is no RFC 3339 time`},
		"a time long before":          {`{"id":"b","state":"firing","at":-1}`, "item 1: starts_at: -1 is no time in seconds or milliseconds since 1970"},
		"a time that is a list":       {`{"id":"b","state":"firing","at":[]}`, "item 1: starts_at: a time is due, not a list"},
		"a key too long":              {`{"id":"` + strings.Repeat("k", 5000) + `","state":"firing"}`, "item 1: key: 5003 bytes: at most 4096"},
		"a NUL in the key":            {`{"id":"\u0000","state":"firing"}`, "item 1: key: a NUL character"},
		"an item that is no object":   {`7`, "item 1: key: cannot fetch id from int (1:6)"},
		"status in other letters too": {`{"id":"b","state":"FIRING"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parsed(t, mapping, `{"site":"eu","items":[{"id":"a","state":"firing"},`+tc.item+`,{"id":"c","state":"resolved","at":1772446535527}]}`)
			if err != nil {
				t.Fatal(err)
			}
			refused := ""
			if m.Refused.Count > 0 {
				refused = m.Refused.Named[0].Error()
			}
			want := []string{"a/eu 0", "c/eu 2"}
			if tc.want == "" {
				want = slices.Insert(want, 1, m.Events[1].Key+" 1")
			}
			var got []string
			for _, e := range m.Events {
				got = append(got, e.Key+" "+e.Labels.Get("place"))
			}
			if !slices.Equal(got, want) || refused != tc.want {
				t.Errorf("taken %q, refused %q, want %q and %q", got, refused, want, tc.want)
			}
			if at := m.Events[len(m.Events)-1].StartsAt; !at.Equal(time.UnixMilli(1772446535527)) {
				t.Errorf("starts at %s", at)
			}
		})
	}
}

func TestABodyOfNoUseIsRefusedAsAWhole(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"no JSON":                       {`hello`, "byte 0: invalid character 'h' at start of value"},
		"empty":                         {``, "byte 0: the body is empty"},
		"a byte order mark":             {"\xef\xbb\xbf{}", "byte 0: a byte order mark: send UTF-8 without one"},
		"UTF-16":                        {"{\x00}\x00", "byte 0: UTF-16 or UTF-32: send UTF-8"},
		"cut":                           {`{"items":[`, "byte 10: unexpected EOF"},
		"joined":                        {`{"items":[]}{}`, "more stands behind the end of the JSON"},
		"junk behind":                   {`{"items":[]}x`, "byte 12: invalid character 'x' at start of value"},
		"a doubled name":                {`{"items":[],"items":[]}`, "byte 12: a name stands twice: /items"},
		"a doubled name, once escaped":  {`{"items":[],"i\u0074ems":[]}`, "byte 12: a name stands twice: /items"},
		"names that differ by case":     {`{"items":[],"Items":[]}`, `byte 19: names "items" and "Items" differ only in case`},
		"a hundred and one levels":      {strings.Repeat("[", 102), "byte 101: over 100 levels deep"},
		"a hundred thousand levels":     {strings.Repeat(`{"a":`, 100_000), "byte 504: over 100 levels deep"},
		"a number too large":            {`{"n":1e400}`, "byte 10: number 1e400 is too large"},
		"a whole number too large":      {`{"n":9223372036854775808}`, "byte 24: 9223372036854775808 has more than 64 bits: send it as a text"},
		"a number too long":             {`{"n":0.` + strings.Repeat("1", 100) + `}`, "byte 107: a number of 102 characters: at most 64"},
		"a surrogate alone":             {`{"a":"\ud800"}`, "byte 6: invalid surrogate pair `\\ud800\"}` in string"},
		"not UTF-8":                     {"{\"a\":\"\xff\"}", "byte 6: invalid UTF-8"},
		"no list where one is due":      {`{"items":"x"}`, "each: a list is due, not a text"},
		"nothing where a list is due":   {`{}`, "each: a list is due, not nothing"},
		"a body that has no fields":     {`7`, "each: cannot fetch items from int (1:6)"},
		"a list of over 10,000":         {`{"items":[` + strings.Repeat("1,", 10_000) + `1]}`, "byte 20011: a list of over 10000 elements"},
		"a list of 10,000 bad elements": {`{"items":[` + strings.Repeat("1,", 9_999) + `1]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parsed(t, Mapping{Each: `body.items`, Key: `item.id`}, tc.body)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want || len(m.Events) > 0 {
				t.Errorf("error %q with %d events, want %q", got, len(m.Events), tc.want)
			}
			if tc.want == "" && m.Refused.Count != 10_000 {
				t.Errorf("%d refused of 10000", m.Refused.Count)
			}
		})
	}
}

func TestEveryMistakeInAMappingIsTold(t *testing.T) {
	_, err := Compile(Mapping{
		Key:         " ",
		Status:      `body.state ==`,
		Severity:    `now()`,
		Summary:     `item.x`,
		About:       `filter(body.a, any(body.b, # == 1))`,
		URL:         `repeat("a", 1000000)`,
		StartsAt:    `len(1..100000)`,
		Labels:      map[string]string{"": "1", "a": "", "b": "nothing", "c": "body."},
		Annotations: map[string]string{"env": `env("HOME")`},
	})
	var got []string
	for _, e := range strings.Split(fmt.Sprint(err), "\n") {
		if line, _, ok := strings.Cut(e, ": "); ok && !strings.HasPrefix(e, " ") {
			got = append(got, line)
		}
	}
	want := []string{"key", "status", "severity", "summary", "about", "url", "starts_at", "labels", "labels.a", "labels.b", "labels.c", "annotations.env"}
	if !slices.Equal(got, want) {
		t.Errorf("mistakes in %q\n   want %q\n%v", got, want, err)
	}
	if field, ok := errors.AsType[*FieldError](err); !ok || field.Field != "key" {
		t.Errorf("first mistake %v is not one of key", err)
	}
	tooLong := strings.Repeat("1+", 600) + "1"
	if _, err := Compile(Mapping{Key: tooLong}); err == nil {
		t.Error("an expression of 1,200 nodes was taken")
	}
}

func TestFunctionsThatAreAllowed(t *testing.T) {
	const body = `{"s":" Ab,C ","l":["x",2,true],"n":-2.5,"o":{"k":"v"}}`
	for text, want := range map[string]string{
		`trim(lower(body.s))`:                      "ab,c",
		`upper(body.s)`:                            " AB,C ",
		`len(body.l)`:                              "3",
		`join(body.l, "-")`:                        "x-2-true",
		`join(split(trim(body.s), ","), ";")`:      "Ab;C",
		`abs(body.n)`:                              "2.5",
		`int("42") + 1`:                            "43",
		`float("1.5")`:                             "1.5",
		`string(body.n)`:                           "-2.5",
		`body.s contains "b,"`:                     "true",
		`body.s matches "^ A"`:                     "true",
		`hasPrefix(body.s, " ")`:                   "true",
		`body.missing?.deep ?? "none"`:             "none",
		`get(body.o, "k")`:                         "v",
		`"k" in body.o`:                            "true",
		`count(body.l, # == "x")`:                  "1",
		`last(map(body.l, string(#) + "!"))`:       "true!",
		`body.l[0] + trimSuffix("abc", "c")`:       "xab",
		`any(filter(body.l, # != "x"), # == true)`: "true",
	} {
		m, err := parsed(t, Mapping{Key: text}, body)
		if err != nil || len(m.Events) != 1 || m.Events[0].Key != want {
			t.Errorf("%s = %v, %v, %v, want %q", text, m.Events, err, m.Refused.Named, want)
		}
	}
	wide := `{"l":[` + strings.Repeat(`"aaaaaaaaaa",`, 9999) + `""]}`
	m, err := parsed(t, Mapping{Key: `join(body.l, join(body.l, ""))`}, wide)
	if err != nil || m.Refused.Count != 1 || !strings.Contains(m.Refused.Named[0].Detail, "join: over 32768 bytes") {
		t.Errorf("a join that explodes: %v, %v", err, m.Refused.Named)
	}
}

func TestExpressionsThatTakeTooLongAreStopped(t *testing.T) {
	body := `{"l":[` + strings.Repeat(`1,`, 9_999) + `1]}`
	began := time.Now()
	_, err := parsed(t, Mapping{Each: `body.l`, Key: `string(count(body.l, # == 2)) + string(index)`}, body)
	if err == nil || err.Error() != "each: the expressions took more than 2s" {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopped after %s", took)
	}
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
	return ingest.Receipt{Prefix: "0-12"}, a.err
}

func TestTheDoorSaysWhatBecameOfABatch(t *testing.T) {
	bad := `{"item":1,"field":"key","detail":"cannot fetch id from int (1:6)"}`
	for name, tc := range map[string]struct {
		path, token, body string
		err               error
		status            int
		answer            string
	}{
		"good":              {"/in/scripts", "scripts-secret", `[{"id":"a"},{"id":"b"}]`, nil, 202, `{"accepted":2,"events":["0-12-0","0-12-1"]}`},
		"half bad":          {"/in/scripts", "scripts-secret", `[{"id":"a"},1]`, nil, 202, `{"accepted":1,"events":["0-12-0"],"refused":1,"errors":[` + bad + `]}`},
		"all bad":           {"/in/scripts", "scripts-secret", `[1]`, nil, 400, `{"type":"about:blank","title":"Bad Request","status":400,"detail":"nothing of it can be taken","refused":1,"errors":[` + strings.Replace(bad, "1", "0", 1) + `]}`},
		"none":              {"/in/scripts", "scripts-secret", `[]`, nil, 202, `{"accepted":0,"events":[]}`},
		"not durable":       {"/in/scripts", "scripts-secret", `[{"id":"a"}]`, ingest.ErrUnavailable, 503, `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"alerts cannot be made durable now"}`},
		"a wrong token":     {"/in/scripts", "wrong", `[]`, nil, 401, `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"a source's token is needed, as Bearer, as basic password or as ?token="}`},
		"a wrong name":      {"/in/nobody", "scripts-secret", `[]`, nil, 401, `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"a source's token is needed, as Bearer, as basic password or as ?token="}`},
		"by the wrong door": {"/in/prometheus", "prom-secret", `[]`, nil, 404, `{"type":"about:blank","title":"Not Found","status":404,"detail":"not the door of this source: source prometheus is of kind alertmanager, which posts to /api/v2/alerts"}`},
		"a dry run": {"/in/scripts?dry_run=1", "scripts-secret", `[{"id":"a"}]`, nil, 200, `{"alerts":[{"status":"firing","severity":"error","summary":"a","about":"a","key":"a","fingerprint":"` +
			tocsin.FingerprintOf("scripts", "a").String() + `","labels":{}}],"control":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			sources, err := ingest.NewSources([]ingest.Source{
				source(t, Mapping{Each: "body", Key: "item.id"}),
				{Name: "prometheus", Kind: ingest.Alertmanager, Tokens: []ingest.Token{ingest.HashToken("prom-secret")}},
			})
			if err != nil {
				t.Fatal(err)
			}
			rc, err := ingest.NewReceiver(sources, &acceptor{err: tc.err}, ingest.Options{Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.Handle("POST /in/{source}", rc.Handler(Door()))
			r := httptest.NewRequest(http.MethodPost, tc.path, strings.NewReader(tc.body))
			r.Header.Set("Authorization", "Bearer "+tc.token)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if got := strings.TrimSpace(w.Body.String()); w.Code != tc.status || got != tc.answer {
				t.Errorf("answer = %d %s\nwant %d %s", w.Code, got, tc.status, tc.answer)
			}
		})
	}
}

// FuzzParse: no body makes a mapping panic or an unsound event, and what jsontext does not take is not taken.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		f.Add([]byte(sample(f, filepath.Base(file))))
	}
	f.Add([]byte(`{"check":"disk","host":"db1","state":"bad","level":"warn","message":"full","app":"shop","items":[1,{"id":"x"},null]}`))
	var sources []ingest.Source
	for _, m := range []Mapping{
		scripts(),
		{Each: "body.items ?? []", Key: "item?.id ?? index", StartsAt: "item.at", Annotations: map[string]string{"a": "join(item.l, body.s)"}},
		{Key: "string(body)", Summary: "body.summary ?? body.text", Labels: map[string]string{"a": "body[0]", "b": "body.a.b + 1", "c": "first(body)"}},
	} {
		sources = append(sources, source(f, m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for i := range sources {
			m := ingest.NewMessage(nil, &sources[i], body, now)
			if err := sources[i].Parser.Parse(context.Background(), m); err != nil {
				continue
			}
			if !jsontext.Value(bytes.TrimSpace(body)).IsValid() {
				t.Fatalf("took what jsontext does not: %q", body)
			}
			for _, e := range m.Events {
				if strings.TrimSpace(e.Key) == "" || e.Status == 0 || e.Severity == 0 || e.Summary == "" && strings.TrimSpace(e.Key) != "" {
					t.Fatalf("unsound event %+v of %q", e, body)
				}
				if _, err := json.Marshal(e.Labels); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
