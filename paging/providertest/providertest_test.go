package providertest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const (
	account = "AC00000000000000000000000000000000"
	token   = "twilio-secret"
)

func post(t *testing.T, h http.Handler, path string, form url.Values) (int, []byte) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(account, token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code, w.Body.Bytes()
}

func TestTwilioRefusesWhatItsDescriptionDoesNotAllow(t *testing.T) {
	const messages, calls = "/2010-04-01/Accounts/" + account + "/Messages.json", "/2010-04-01/Accounts/" + account + "/Calls.json"
	good := url.Values{"To": {"+491"}, "From": {"+492"}, "Body": {"x"}}
	with := func(name, value string) url.Values {
		f := url.Values{name: {value}}
		for k, v := range good {
			if k != name {
				f[k] = v
			}
		}
		return f
	}
	for name, tc := range map[string]struct {
		path string
		form url.Values
		want int
	}{
		"a message as described":         {messages, good, 201},
		"a field that is not there":      {messages, with("Sender", "x"), 400},
		"a field that stands twice":      {messages, url.Values{"To": {"+491", "+492"}, "From": {"+492"}, "Body": {"x"}}, 400},
		"no recipient":                   {messages, url.Values{"From": {"+492"}, "Body": {"x"}}, 400},
		"no sender":                      {messages, url.Values{"To": {"+492"}, "Body": {"x"}}, 400},
		"text for a number":              {messages, with("ValidityPeriod", "soon"), 400},
		"a service that is none":         {messages, with("MessagingServiceSid", "MG1"), 400},
		"a word that is not in the enum": {messages, with("RiskCheck", "maybe"), 400},
		"another account":                {"/2010-04-01/Accounts/AC11111111111111111111111111111111/Messages.json", good, 401},
		"a path that is not there":       {"/2010-04-01/Accounts/" + account + "/Letters.json", good, 404},
		"a call as described":            {calls, url.Values{"To": {"+491"}, "From": {"+492"}, "Twiml": {"<Response/>"}}, 201},
		"a call with nothing to say":     {calls, url.Values{"To": {"+491"}, "From": {"+492"}}, 400},
		"a call with broken TwiML":       {calls, url.Values{"To": {"+491"}, "From": {"+492"}, "Twiml": {"<Response>"}}, 400},
		"a call with an odd method":      {calls, url.Values{"To": {"+491"}, "From": {"+492"}, "Twiml": {"<Response/>"}, "StatusCallbackMethod": {"SEND"}}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := NewTwilio(account, token)
			if err != nil {
				t.Fatal(err)
			}
			got, body := post(t, h, tc.path, tc.form)
			if got != tc.want {
				t.Errorf("status = %d, want %d: %s %v", got, tc.want, body, h.Problems())
			}
		})
	}
}

func TestWhatTwilioAnswersIsAsDescribed(t *testing.T) {
	h, err := NewTwilio(account, token)
	if err != nil {
		t.Fatal(err)
	}
	base := "/2010-04-01/Accounts/" + account
	post(t, h, base+"/Messages.json", url.Values{"To": {"+491"}, "From": {"+492"}, "Body": {"x"}})
	post(t, h, base+"/Calls.json", url.Values{"To": {"+491"}, "From": {"+492"}, "Twiml": {"<Response/>"}})
	ids := h.Taken()
	for _, path := range []string{"/Messages.json", "/Calls.json?To=%2B491", "/Messages/" + ids[0].ID + ".json", "/Calls/" + ids[1].ID + ".json"} {
		req := httptest.NewRequest(http.MethodGet, base+path, nil)
		req.SetBasicAuth(account, token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		op, _ := h.desc.find(http.MethodGet, req.URL.Path)
		response := h.desc.resolve(at(op.spec, "responses")["200"])
		media := at(at(response, "content"), "application/json")
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if problems := h.desc.check(op.id, v, h.desc.resolve(media["schema"])); len(problems) > 0 {
			t.Errorf("%s: %v", path, problems)
		}
	}
}

func TestSendGridRefusesWhatItsDescriptionDoesNotAllow(t *testing.T) {
	const good = `{"personalizations":[{"to":[{"email":"one@example.org"}]}],"from":{"email":"tocsin@example.org"},"subject":"s","content":[{"type":"text/plain","value":"v"}]}`
	for name, tc := range map[string]struct {
		body string
		want int
	}{
		"a mail as described":      {good, 202},
		"no sender":                {strings.Replace(good, `"from":{"email":"tocsin@example.org"},`, "", 1), 400},
		"a property that is none":  {strings.Replace(good, `"subject"`, `"betreff":"x","subject"`, 1), 400},
		"an address that is none":  {strings.Replace(good, "one@example.org", "one", 1), 400},
		"an empty text":            {strings.Replace(good, `"value":"v"`, `"value":""`, 1), 400},
		"a number for the subject": {strings.Replace(good, `"subject":"s"`, `"subject":1`, 1), 400},
		"no JSON":                  {"{", 400},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := NewSendGrid("SG.secret")
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequest(http.MethodPost, "/v3/mail/send", strings.NewReader(tc.body))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer SG.secret")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if w.Code != tc.want {
				t.Errorf("status = %d, want %d: %v", w.Code, tc.want, h.Problems())
			}
		})
	}
}

func TestAScriptedStepIsPlayed(t *testing.T) {
	h, err := NewTwilio(account, token)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	send := func(s Step) (int, []byte, error) {
		h.Script(func(int, Request) Step { return s })
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/2010-04-01/Accounts/"+account+"/Messages.json",
			strings.NewReader(url.Values{"To": {"+491"}, "From": {"+492"}, "Body": {"x"}}.Encode()))
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(account, token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res.StatusCode, body, err
	}
	if status, _, err := send(Step{Status: 429, Code: 20429, RetryAfter: "3"}); status != 429 || err != nil {
		t.Errorf("limit: %d %v", status, err)
	}
	if _, _, err := send(Step{Drop: true, Taken: true}); err == nil {
		t.Error("drop: an answer came")
	}
	if _, _, err := send(Step{Cut: true}); err == nil {
		t.Error("cut: the whole answer came")
	}
	if _, body, _ := send(Step{Body: []byte("<html>")}); !bytes.Equal(body, []byte("<html>")) {
		t.Errorf("garbage: %s", body)
	}
	if n := len(h.Taken()); n != 3 {
		t.Errorf("taken %d, want what was dropped, cut and garbled", n)
	}
}
