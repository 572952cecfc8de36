package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestNoRouteAnswersWhoIsNotLoggedInButThePublicOnes(t *testing.T) {
	b := newBench(t, nil)
	open := []string{
		"POST /api/v1/alerts", "GET /-/healthy", "GET /-/ready", "GET /api/v1/openapi.yaml", "GET /healthz", "GET /readyz", "GET /metrics",
		"GET /login", "POST /login", "POST /logout",
	}
	for _, row := range b.routes() {
		method, path, _ := strings.Cut(row.pattern, " ")
		path = strings.NewReplacer("{$}", "", "{id}", "42", "{name}", "platform", "{source}", "prometheus", "{provider}", "twilio").Replace(path)
		got := b.send(method, path, "")
		want := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}
		switch {
		case slices.Contains(open, row.pattern):
			want = []int{http.StatusOK, http.StatusGone, http.StatusSeeOther}
			if row.pattern == "POST /login" {
				want = []int{http.StatusUnauthorized}
			}
		case strings.HasPrefix(path, "/v2/"):
			want = []int{http.StatusBadRequest} // its senders know 400 for a key that is not known
		case row.page && method == "GET":
			want = []int{http.StatusSeeOther} // to the login
		}
		if !slices.Contains(want, got.status) {
			t.Errorf("%s without a credential = %d %s, want one of %v", row.pattern, got.status, got.body, want)
		}
		if strings.Contains(got.header.Get("Location"), "://") {
			t.Errorf("%s leads to %s", row.pattern, got.header.Get("Location"))
		}
		for _, wrong := range []string{"Bearer wrong", "Bearer ", "Basic !", "Bearer send-secret"} {
			if row.who != sender && row.who != public && row.who != guest {
				if got := b.send(method, path, "", "Authorization", wrong); got.status != http.StatusUnauthorized && got.status != http.StatusSeeOther {
					t.Errorf("%s with %q = %d, want 401", row.pattern, wrong, got.status)
				}
			}
		}
	}
}

func TestARoleMayOnlyDoWhatItIsFor(t *testing.T) {
	b := newBench(t, nil)
	b.fill()
	one, three, four := b.session("one"), b.session("three"), b.session("four")
	for name, tc := range map[string]struct {
		method, path, cookie string
		want                 int
	}{
		"a responder reads":                           {"GET", "/api/v1/incidents", one, 200},
		"a reporter does not read":                    {"GET", "/api/v1/incidents", four, 403},
		"a reporter does not act":                     {"POST", "/api/v1/incidents/42/ack", four, 403},
		"a responder acts":                            {"POST", "/api/v1/incidents/42/ack", one, 200},
		"a responder does not confirm a major":        {"POST", "/api/v1/majors/3/confirm", one, 403},
		"a responder says that somebody is looking":   {"POST", "/api/v1/majors/3/looking", one, 200},
		"a manager confirms a major":                  {"POST", "/api/v1/majors/3/confirm", three, 200},
		"a manager does not reload the configuration": {"POST", "/-/reload", three, 403},
		"a responder reads as Alertmanager's clients": {"GET", "/api/v2/status", one, 200},
		"a reporter sees no page":                     {"GET", "/", four, 403},
	} {
		if tc.want == 200 && strings.HasSuffix(tc.path, "confirm") {
			continue // changes what the others see: below
		}
		if got := b.send(tc.method, tc.path, "", "Cookie", tc.cookie); got.status != tc.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tc.want)
		}
	}
	if got := b.send("POST", "/api/v1/majors/3/confirm", "", "Cookie", three); got.status != 200 {
		t.Errorf("a manager confirms a major: %d %s", got.status, got.body)
	}
	for who, want := range map[string]int{"viewer-secret": 403, "prom-secret": 401, "robot-secret": 200} {
		if got := b.send("POST", "/api/v1/incidents/42/note", `{"note":"x"}`, "Authorization", "Bearer "+who); got.status != want {
			t.Errorf("a note by %s: %d, want %d", who, got.status, want)
		}
	}
}

func TestARouteWithoutARuleIsNotServed(t *testing.T) {
	b := newBench(t, nil)
	for name, table := range map[string][]route{
		"a route without a rule":      {{pattern: "GET /x", handle: http.NotFoundHandler()}},
		"a route without a handler":   {{pattern: "GET /x", who: reader}},
		"a pattern that is none":      {{"GET x y", reader, http.NotFoundHandler(), false}},
		"two routes of the same kind": {{"GET /x", reader, http.NotFoundHandler(), false}, {"GET /x", reader, http.NotFoundHandler(), false}},
	} {
		if _, err := b.build(table); err == nil {
			t.Errorf("%s is served", name)
		}
	}
}

func TestTheDescriptionNamesEveryRouteAndNoOther(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Console = nil })
	var described struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(openAPI, &described); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, row := range b.routes() {
		want = append(want, row.pattern)
	}
	for path, item := range described.Paths {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if item[method] != nil {
				got = append(got, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("described\n%s\nserved\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatNoRouteMatchesIsAnsweredAsAProblem(t *testing.T) {
	b := newBench(t, nil)
	wantJSON(t, b.robot("GET", "/api/v1/nothing", ""), 404, `{"type":"about:blank","title":"Not Found","status":404,"detail":"there is nothing at this address"}`)
	got := b.robot("DELETE", "/api/v1/incidents", "")
	wantJSON(t, got, 405, `{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"DELETE is not for this address: GET, HEAD"}`)
	if got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow %q", got.header.Get("Allow"))
	}
}
