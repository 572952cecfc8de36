package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"
	"pgregory.net/rapid"

	"tocsin"
)

func hexOf(ls tocsin.Labels) string { return string(appendHex(nil, fingerprint(ls))) }

func TestFingerprintsAreAlertmanagersOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.String(), rapid.StringN(1, -1, -1)).Draw(t, "labels")
		set := model.LabelSet{}
		for n, v := range m {
			set[model.LabelName(n)] = model.LabelValue(v)
		}
		if got, want := hexOf(tocsin.NewLabels(m)), set.Fingerprint().String(); got != want {
			t.Fatalf("fingerprint of %v = %s, want %s", m, got, want)
		}
	})
}

func FuzzScanLabels(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"b"}`, `{"a":"b","c":"d\n"}`, `{"b":"x","a":"y"}`, `{"a":""}`, `{"a":"b","a":"c"}`, `{"a":1}`, `{`, ``, `{"ü":"é"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want tocsin.Labels
		if json.Unmarshal([]byte(text), &want) != nil {
			scanLabels(nil, text) // what the store never holds must not break anything
			return
		}
		got, print := scanLabels(nil, text)
		written, _ := want.MarshalJSON()
		if string(written) != text { // the store writes names in order, without blanks
			return
		}
		if tocsin.Labels(got).String() != want.String() || print != fingerprint(want) {
			t.Errorf("labels of %s: %v, want %v", text, got, want)
		}
	})
}

func FuzzParseOrder(f *testing.F) {
	for _, s := range []string{"", "{}", "null", `{"by":"one","note":"on it"}`, `{"by":null}`, `{"By":"one"}`, `{"by":1e400}`, `{"note":"\u0000"}`, `{"by":"a","by":"b"}`, `[`, "{\"note\":\"\xff\"}", `{"by":true} {}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseOrder(body)
		var loose struct{ By, Note string }
		if err == nil && len(bytes.TrimSpace(body)) > 0 && (json.Unmarshal(body, &loose) != nil || loose.By != o.By || loose.Note != o.Note) {
			t.Errorf("%q is read as %+v, by others as %+v", body, o, loose)
		}
		if err == nil && (len(o.Note) > maxNote || !utf8.ValidString(o.By+o.Note)) {
			t.Errorf("%q is read as %+v", body, o)
		}
	})
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{`a="b"`, `{a=~"b.*",c!="d"}`, `service=x`, `"é"="ü"`, `a=~"("`, `{`, `a!~b`, ``, `source=x,host="y"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseFilter([]string{text})
		if err != nil {
			return
		}
		if len(q.matchers) == 0 && q.index.Service+q.index.Host+q.index.Alertname+q.index.Source != "" {
			t.Errorf("filter %q has no matcher and uses an index", text)
		}
		q.matches("s", func(string) string { return "v" })
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"limit=5&next=i4", "limit=-1", "state=triggered,acknowledged", "a=%zz", "from=2026-03-02T08:00:00Z", "active=1;b=2", "limit=1&limit=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := &http.Request{URL: &url.URL{RawQuery: raw}}
		q := parseQuery(r, "limit", "next", "state", "from", "active", "filter*")
		limit, id, at := q.limit(), q.id("next", 'i'), q.time("from", start)
		states := words[tocsin.IncidentState](q, "state")
		q.flag("active", true)
		if limit < 1 || limit > maxLimit || id < 0 || at.Year() < 1970 || at.Year() > 2200 {
			t.Errorf("query %q: limit %d, id %d, time %s, states %v", raw, limit, id, at, states)
		}
		if err := q.err(); err == nil && strings.Contains(raw, "%zz") {
			t.Errorf("query %q is taken", raw)
		}
	})
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "12", "0.12,1.7", "1.7", "x", "-1", "0.1,0.2", "5000.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := parseCursor(text)
		if !ok {
			return
		}
		again, ok := parseCursor(c.String())
		if !ok || again.String() != c.String() {
			t.Errorf("cursor %q is written as %q, which is read as %v", text, c, again)
		}
	})
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/", "/i/42?x=1", "//evil.example.org", "/\\evil.example.org", "https://evil.example.org", "/%2f/evil", "/..//evil", "javascript:x", "/\tx"} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "https", Host: "p.example.org", Path: "/login"}
	f.Fuzz(func(t *testing.T, text string) {
		p := localPath(text)
		if p == "" {
			return
		}
		to, err := base.Parse(p)
		if err != nil || to.Host != base.Host || to.Scheme != base.Scheme {
			t.Errorf("path %q leads to %v, %v", p, to, err)
		}
		w := httptest.NewRecorder()
		http.Redirect(w, httptest.NewRequest("POST", "/login", nil), p, http.StatusSeeOther)
		if got := w.Header().Get("Location"); !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, `/\`) {
			t.Errorf("path %q is sent as %q", text, got)
		}
	})
}

func TestTheConfigurationForAlertmanagersToolsCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[ -~ü]{1,12}`), 1, 4).Draw(t, "names")
		var c struct {
			Route     struct{ Receiver string }
			Receivers []struct{ Name string }
		}
		text := amConfig(names)
		if err := yaml.Unmarshal([]byte(text), &c); err != nil || c.Route.Receiver != names[0] || len(c.Receivers) != len(names) {
			t.Fatalf("config %s: %v %v", text, c, err)
		}
	})
}

func TestTimesAreWrittenAsAlertmanagerDoes(t *testing.T) {
	var c clockText
	for _, at := range []time.Time{start, start.Add(time.Millisecond), start.Add(999 * time.Millisecond), start.Add(time.Hour), time.Unix(0, 0), time.UnixMilli(-1)} {
		if got, want := string(c.append(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Errorf("time %s, want %s", got, want)
		}
	}
}
