package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// canaries are secrets that are planted, by where they were.
type canaries map[string]string

// at plants one.
func (c canaries) at(where string) string {
	c[where] = fmt.Sprintf("c4n4ry%02dsing%x", len(c), len(c)*7919)
	return c[where]
}

// leaks fails the test for each that is in what somebody is shown.
func (c canaries) leaks(t *testing.T, shown string, what []byte) {
	t.Helper()
	for where, secret := range c {
		for how, s := range map[string]string{"as it is": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret))} {
			if at := bytes.Index(what, []byte(s)); at >= 0 {
				t.Errorf("the secret of %s is shown, %s, by %s: ...%s...", where, how, shown, what[max(at-120, 0):min(at+len(s)+20, len(what))])
			}
		}
	}
}

// O7
func TestSecretsAreInNoLogMetricErrorOrAnswer(t *testing.T) {
	c := canaries{}
	p := newPlant(t, killRules)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":20003,"message":"Authenticate","status":401,"errors":[{"message":"no such key"}]}`)
	}))
	t.Cleanup(refusing.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	inFile := filepath.Join(p.dir, "token")
	err := os.WriteFile(inFile, []byte(c.at("a token's file")+"\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TOCSIN_TEST_TOKEN", c.at("a token's variable"))
	p.writes("access: {tokens: [", fmt.Sprintf("access: {tokens: [{name: a, role: auditor, token: %s}, {name: b, role: admin, token_file: %q}, {name: c, role: responder, token_env: TOCSIN_TEST_TOKEN}, ",
		c.at("a token of the API"), inFile))
	p.writes("sources:\n", fmt.Sprintf(`sources:
  more: {kind: alertmanager, token: %s}
  keys: {kind: pagerduty, keys: [{key: %s}, {key: %s, labels: {a: b}}]}
  any: {kind: json, token: %s, map: {key: 'body.k', status: '"firing"', severity: '"critical"', summary: 'body.k'}}
`, c.at("an Alertmanager's token"), c.at("a routing key"), c.at("another routing key"), c.at("a script's token")))
	p.writes("providers:\n", fmt.Sprintf(`channels: {sms: [first, second, twilio], voice: [twilio], email: [mail, relay, sendgrid]}
providers:
  first: {kind: twilio, account_sid: %s, auth_token: %s, from: "+15005550006", base_url: %s}
  second: {kind: twilio, account_sid: %s, auth_token: %s, from: "+15005550006", base_url: %s}
  mail: {kind: sendgrid, api_key: %s, from: tocsin@example.org, base_url: %s}
  relay: {kind: smtp, address: %q, from: tocsin@example.org, tls: none, username: relay, password: %s}
`, accountID, c.at("a provider that refuses"), refusing.URL, accountID, c.at("a provider that is down"), closed.URL,
		c.at("a mail provider that refuses"), refusing.URL, strings.TrimPrefix(closed.URL, "http://"), c.at("a relay's password")))
	if problems, _, err := Check(p.config()); len(problems) > 0 || err != nil {
		t.Fatal(problems, err)
	}
	p.start()

	// Senders and people get it wrong, with secrets that are no secrets here but are somewhere else.
	show := func(what string, req *http.Request) {
		t.Helper()
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range resp.Header {
			b = append(b, (k + ": " + strings.Join(v, " ") + "\n")...)
		}
		c.leaks(t, what, b)
	}
	ask := func(what, method, path, body string, header ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), faultPatience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, p.at(ctx)+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		show(what, req)
	}
	ask("a wrong Bearer", "GET", "/api/v1/incidents", "", "Authorization", "Bearer "+c.at("a wrong Bearer"))
	ask("a wrong password", "POST", "/api/v2/alerts", "[]", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("u:"+c.at("a wrong password"))))
	ask("a wrong routing key", "POST", "/v2/enqueue", `{"event_action":"trigger","routing_key":"`+c.at("a wrong routing key")+`"}`)
	ask("a routing key in a body that is none", "POST", "/v2/enqueue", `{"routing_key":"`+c["a routing key"]+`","event_action":"trigger","payload":{"summary":`)
	ask("a token in a query", "GET", "/api/v1/incidents?token="+c.at("a token in a query")+"&limit=x", "", "Authorization", "Bearer "+robot)
	ask("a wrong login link", "GET", "/login?link="+c.at("a wrong login link"), "")
	ask("a wrong login", "POST", "/login", "token="+c.at("a wrong login"), "Content-Type", "application/x-www-form-urlencoded")
	ask("a wrong session", "GET", "/", "", "Cookie", "tocsin_session="+c.at("a wrong session")+"; __Host-tocsin="+c["a wrong session"])
	ask("a wrong mail link", "GET", "/ack/"+c.at("a wrong mail link"), "")
	ask("a wrong signature", "POST", "/twilio/first/sms", "From=%2B1", "Content-Type", "application/x-www-form-urlencoded", "X-Twilio-Signature", c.at("a wrong signature"))
	for _, where := range []string{"an Alertmanager's token", "a script's token", "a token of the API"} {
		ask("the right token on a wrong path", "POST", "/in/any?x=1", "{", "Authorization", "Bearer "+c[where])
	}
	incident := p.mustFire(40, 0) // is paged by providers that refuse, are down, and then work
	p.until("it is paged", func() bool { return p.paged(40) })
	p.until("it is mailed", func() bool { return len(p.sendgrid.Taken()) > 0 })
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/api/v1/openapi.yaml", "/login", "/"} {
		ask(path, "GET", path, "")
	}
	for _, path := range []string{
		"/api/v1/incidents", fmt.Sprintf("/api/v1/incidents/%d", incident), "/api/v1/alerts", "/api/v1/pages", "/api/v1/majors", "/api/v1/oncall", "/api/v1/nodes",
		"/api/v1/dead-letters", "/api/v2/status", "/api/v2/alerts", "/api/v2/receivers", "/debug/pprof/", "/debug/vars",
	} {
		ask(path, "GET", path, "", "Authorization", "Bearer "+robot)
	}

	// Mistakes in the file, beside secrets and in their place.
	good, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string][2]string{
		"a key that is none":         {"auth_token: " + c["a provider that refuses"], "auth_tokn: " + c["a provider that refuses"]},
		"a secret that is a list":    {"token: " + c["an Alertmanager's token"], "token: [" + c["an Alertmanager's token"] + "]"},
		"a secret twice":             {"token: " + c["a script's token"], "token: " + c["an Alertmanager's token"]},
		"a file that does not parse": {"api_key: " + c["a mail provider that refuses"], "api_key: \"" + c["a mail provider that refuses"]},
		"a secret for a file's name": {"token: " + c["an Alertmanager's token"], "token_file: /nowhere/x"},
		"another state, by a DSN":    {"storage: {", "storage: {state: {postgres: {dsn: \"postgres://u:" + c.at("a DSN") + "@127.0.0.1:1/db?sslmode=disable&connect_timeout=1\"}}, "},
		"a DSN that is none":         {"storage: {", "storage: {state: {postgres: {dsn: \"postgres://u:" + c.at("a DSN that is none") + "@127.0.0.1:port/%zz\"}}, "},
	} {
		err = os.WriteFile(p.config(), bytes.Replace(good, []byte(edit[0]), []byte(edit[1]), 1), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		problems, _, err := Check(p.config())
		said := fmt.Sprint(problems, err)
		if strings.Contains(what, "DSN") {
			said += p.refusesToStart()
			if !strings.Contains(said, "storage.state") {
				t.Errorf("with %s the start is refused for something else: %s", what, said)
			}
		} else {
			ask("a reload with "+what, "POST", "/-/reload", "", "Authorization", "Bearer "+robot)
		}
		c.leaks(t, "what is said of "+what, []byte(said))
	}
	err = os.WriteFile(p.config(), good, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.terminate()
	link := p.sendgrid.Taken()[0].Text
	if _, rest, ok := strings.Cut(link, "/ack/"); ok {
		c["a mail's link"] = strings.Fields(rest)[0]
	}
	for where, secret := range map[string]string{"the API": robot, "a provider": "twilio-secret", "the PagerDuty door": pdKey, "the Alertmanager door": promToken} {
		c["the one that works of "+where] = secret
	}
	c.leaks(t, "the log", p.said())
	p.noPanic()
	if len(c) < 20 {
		t.Errorf("%d secrets were planted, want at least 20: %v", len(c), slices.Sorted(keys(c)))
	}
}
