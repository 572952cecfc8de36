package app

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"tocsin/paging/providertest"
)

// edit changes the configuration file by pairs of old and new text.
func (r *rig) edit(pairs ...string) {
	r.t.Helper()
	b, err := os.ReadFile(r.config())
	if err != nil {
		r.t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			r.t.Fatalf("the file has no %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	err = os.WriteFile(r.config(), []byte(text), 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
}

// reload asks for the file to be read again, and returns the answer.
func (r *rig) reload() (int, string) {
	r.t.Helper()
	return r.post("/-/reload", robot, "")
}

func TestAReloadPutsOtherRulesProvidersAndTokensInForce(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	a := r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("db-main")

	// A broken file is refused with the place of the mistake, and all stays as it was.
	r.edit("group_by: [service, alertname]", "group_by: [service, alertname")
	status, body := r.reload()
	if status < 400 || !strings.Contains(body, "tocsin.yaml:") {
		t.Errorf("a broken file is answered %d %s, want it refused with file and line", status, body)
	}
	if err := r.a.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "tocsin.yaml:") {
		t.Errorf("a hang-up says %v, want the file and line", err)
	}
	r.edit("group_by: [service, alertname", "group_by: [service, alertname]", "escalation: platform}\n\nescalations", "escalation: nowhere}\n\nescalations")
	status, body = r.reload()
	if status < 400 || !strings.Contains(body, "tocsin.yaml:") || !strings.Contains(body, "nowhere") {
		t.Errorf("a name that is not defined is answered %d %s, want file, line and name", status, body)
	}
	r.lag("b", "critical", "db-two", "still paged by the old rules")
	one.waits("db-two")

	// Another rule, another provider, another token: in force for what comes next.
	other := providertestTwilio(t)
	base := other.base
	r.edit("escalation: nowhere}\n\nescalations", "escalation: platform}\n\nescalations", "group_by: [service]  ", "group_by: [kind]  ",
		"auth_token: twilio-secret", "auth_token: other-secret", "token: prom-secret", "token: prom-new")
	r.edit(r.baseOf("twilio"), base)
	status, body = r.reload()
	if status != http.StatusOK {
		t.Fatalf("reload: %d %s", status, body)
	}
	if status, _ = r.post("/api/v2/alerts", "prom-secret", "[]"); status != http.StatusUnauthorized {
		t.Errorf("the old token is answered %d, want 401", status)
	}
	for _, x := range []am{burning("alertname", "Lag", "service", "db-3", "host", "h3"), burning("alertname", "Lag", "service", "db-4", "host", "h4")} {
		status, body = r.post("/api/v2/alerts", "prom-new", amJSON(t, x))
		if status != http.StatusOK {
			t.Fatalf("the new token is answered %d %s", status, body)
		}
	}
	r.until("a page by the new provider", func() bool { return len(other.Taken()) > 0 })
	if n := len(one.texts()); n != 2 {
		t.Errorf("%d SMS by the old provider, want the two from before", n)
	}
	var grouped bool
	r.until("db-3 and db-4 are one incident by the new rule", func() bool {
		grouped = slices.ContainsFunc(r.incidents(), func(i incidentJSON) bool { return i.Key == "kind=database" && r.detail(i.ID).Open == 2 })
		return grouped
	})
	// What was open stays what it was, and ends as ever.
	ended := a.ends()
	status, body = r.post("/api/v2/alerts", "prom-new", amJSON(t, ended))
	if status != http.StatusOK {
		t.Fatalf("the end: %d %s", status, body)
	}
	r.is("i1", "resolved")
	// The old account's signatures are no longer ours.
	req, err := r.twilio.SMS(public+"/twilio/twilio/sms", one.number, ourNumber, "4all")
	if status, _ := r.callback(req, err); status != http.StatusForbidden {
		t.Errorf("a message signed by the old token is answered %d, want 403", status)
	}
}

// providertestTwilio is another account's double, which a reload may change to.
func providertestTwilio(t *testing.T) (d struct {
	*providertest.Twilio
	base string
},
) {
	t.Helper()
	tw, err := providertest.NewTwilio(accountID, "other-secret")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(tw)
	t.Cleanup(srv.Close)
	d.Twilio, d.base = tw, srv.URL
	return d
}

// baseOf is where the file says that a provider is.
func (r *rig) baseOf(provider string) string {
	r.t.Helper()
	return r.a.setup.Load().file.Providers[provider].BaseURL
}

func TestAReloadMovesNobodyBeforeTheNextHandOver(t *testing.T) {
	r := newStory(t, "{name: weekly, rotation: [one, two]", "{name: weekly, rotation: [one, two]") // who has this week depends on the date
	type answer struct {
		OnCall []struct {
			Schedule string
			People   []string
			Until    string
		}
	}
	onCall := func(query string) (person, until string) {
		t.Helper()
		var out answer
		r.get("/api/v1/oncall"+query, &out)
		if len(out.OnCall) != 1 || len(out.OnCall[0].People) != 1 {
			t.Fatalf("on call are %+v, want one person", out.OnCall)
		}
		return out.OnCall[0].People[0], out.OnCall[0].Until
	}
	has, _ := onCall("")
	r.edit("rotation: [one, two]", "rotation: [three]")
	err := r.a.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	still, until := onCall("")
	if still != has {
		t.Fatalf("%s is on call after the reload, want %s until the hand-over", still, has)
	}
	if next, _ := onCall("?at=" + until); next != "three" {
		t.Errorf("from the hand-over on %s is on call, want three", next)
	}
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.phone(has).waits("db-main")
	r.never("three was moved, or told so", func() bool { return len(r.phone("three").texts()) > 0 })

	// Somebody who is gone cannot be kept: who takes over is told.
	b, err := os.ReadFile(r.config())
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(string(b), "\n"), func(l string) bool { return strings.HasPrefix(l, "  "+has+":") })
	err = os.WriteFile(r.config(), []byte(strings.Join(lines, "")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r.edit("members: [one, two, three]", "members: [three]")
	status, body := r.reload()
	if status != http.StatusOK {
		t.Fatalf("reload: %d %s", status, body)
	}
	if got := r.phone("three").waits("on call"); got != "You are on call for platform from now on: the configuration was changed." {
		t.Errorf("three is told %q", got)
	}
	r.lag("b", "critical", "db-two", "replication lag 340s")
	r.phone("three").waits("db-two")
}
