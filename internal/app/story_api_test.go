package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// has fails unless an object has at least these fields; absent ones are null, not left out.
func has(t *testing.T, what string, object map[string]any, fields string) {
	t.Helper()
	for f := range strings.FieldsSeq(fields) {
		if _, ok := object[f]; !ok {
			t.Errorf("%s has no field %s: %v", what, f, object)
		}
	}
}

func TestTheAPIAnswersWhatTheContractLists(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	r.prometheus(hosts("eu-west", 0, 20)...)
	page := one.waits("CRIT")
	r.phone("three").waits("MAJOR?")
	r.until("the page is noted as sent", func() bool {
		for _, i := range r.incidents() {
			if !slices.Contains(said(r.detail(i.ID).Pages, "page"), "one sms sent") {
				return false
			}
		}
		return true
	})
	one.says("4 " + r.codeIn(page) + " on it")
	list := func(path, name string) []map[string]any {
		t.Helper()
		var out map[string]any
		r.get(path, &out)
		items, _ := out[name].([]any)
		if len(items) == 0 {
			t.Fatalf("GET %s answers no %s: %v", path, name, out)
		}
		var objects []map[string]any
		for _, i := range items {
			object, ok := i.(map[string]any)
			if !ok {
				t.Fatalf("GET %s: %v is no object", path, i)
			}
			objects = append(objects, object)
		}
		return objects
	}
	const incident = "id number title state priority severity urgency rule key service opened_at acked_at acked_by resolved_at alerts major"
	const major = "id number title state phase priority rule scope measures incidents proposed_at confirmed_at"
	const aPage = "id incident person channel provider state attempts due_at sent_at delivered_at error"
	const alert = "id fingerprint status severity summary source labels annotations starts_at ends_at count incident"
	has(t, "an incident of the list", list("/api/v1/incidents?state=triggered,acknowledged&limit=10", "incidents")[0], incident)
	has(t, "a major of the list", list("/api/v1/majors", "majors")[0], major)
	has(t, "a page of the list", list("/api/v1/pages", "pages")[0], aPage)
	has(t, "an alert of the list", list("/api/v1/alerts?state=firing&limit=5", "alerts")[0], alert)

	var out map[string]any
	r.get("/api/v1/incidents?limit=2", &out)
	next, _ := out["next"].(string)
	if next == "" {
		t.Errorf("a list that goes on says next %v", out["next"])
	}
	rest := list("/api/v1/incidents?limit=2&next="+next, "incidents")
	if len(rest) != 1 {
		t.Errorf("%d incidents behind the first two, want one", len(rest))
	}
	if got := list(`/api/v1/alerts?state=firing&filter=host%3D%22eu-west-07%22`, "alerts"); len(got) != 1 {
		t.Errorf("a filter for one host finds %d alerts", len(got))
	}
	id := list("/api/v1/incidents?state=acknowledged", "incidents")[0]["id"].(string)
	has(t, "an incident", r.object("/api/v1/incidents/"+id), incident+" timeline pages")
	alerts := list("/api/v1/incidents/"+id, "alerts")
	has(t, "an alert of an incident", alerts[0], alert+" why")
	why, _ := alerts[0]["why"].(map[string]any)
	has(t, "why an alert is where it is", why, "rule group joined")
	has(t, "a page of an incident", list("/api/v1/incidents/"+id, "pages")[0], aPage)
	for _, line := range list("/api/v1/incidents/"+id, "timeline") {
		has(t, "a line of the timeline", line, "seq at actor kind")
	}
	if got := list("/api/v1/pages?incident="+id+"&person=one&state=answered", "pages"); len(got) == 0 {
		t.Error("no page says that one answered it")
	}
	has(t, "a major", r.object("/api/v1/majors/m1"), major+" timeline pages")
	has(t, "who is on call", list("/api/v1/oncall", "oncall")[0], "schedule people until")

	// Nothing of it is for who has no token, and what is not there says so.
	for _, path := range []string{"/api/v1/incidents", "/api/v1/incidents/" + id, "/api/v1/majors", "/api/v1/pages", "/api/v1/alerts", "/api/v1/oncall"} {
		if status, _ := r.browse(r.url+path, nil); status != http.StatusUnauthorized {
			t.Errorf("GET %s without a token is answered %d, want 401", path, status)
		}
	}
	for path, want := range map[string]int{
		"/api/v1/incidents/i999": 404, "/api/v1/incidents/x": 400, "/api/v1/majors/m999": 404, "/api/v1/incidents?state=bad": 400, "/api/v1/incidents?limit=0": 400,
		"/api/v1/nothing": 404, "/api/v1/alerts?filter=%7B": 400,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+robot)
		if status, body := r.do(req); status != want || !strings.Contains(body, `"detail"`) {
			t.Errorf("GET %s is answered %d %s, want %d with a detail", path, status, body, want)
		}
	}
	// Commands of robots: in somebody's name, once, and refused with the present state.
	command := func(path, body string, want int) string {
		t.Helper()
		status, answer := r.post(path, robot, body)
		if status != want {
			t.Errorf("POST %s %s is answered %d %s, want %d", path, body, status, answer, want)
		}
		return answer
	}
	command("/api/v1/incidents/"+id+"/ack", `{"by":"two"}`, http.StatusConflict)
	command("/api/v1/incidents/"+id+"/ack", `{"by":"nobody"}`, http.StatusBadRequest)
	command("/api/v1/incidents/"+id+"/resolve", `{"by":"two"}`, http.StatusOK)
	command("/api/v1/incidents/"+id+"/resolve", `{"by":"two"}`, http.StatusOK)
	if got := command("/api/v1/incidents/"+id+"/ack", `{"by":"one"}`, http.StatusConflict); !strings.Contains(got, `"state":"resolved"`) || !strings.Contains(got, `"by":"two"`) {
		t.Errorf("the refusal %s does not say where it is and by whom", got)
	}
	lines := list("/api/v1/incidents/"+id, "timeline")
	n := slices.IndexFunc(lines, func(l map[string]any) bool { return l["kind"] == "resolve" })
	if n < 0 || slices.ContainsFunc(lines[n+1:], func(l map[string]any) bool { return l["kind"] == "resolve" }) {
		t.Errorf("the history has not one resolve: %v", lines)
	}
}

func (r *rig) object(path string) (out map[string]any) {
	r.t.Helper()
	r.get(path, &out)
	return out
}
