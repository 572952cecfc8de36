package twilio_test

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/providertest"
	"tocsin/paging/twilio"
)

const (
	sid    = "AC00000000000000000000000000000000"
	secret = "twilio-secret"
	public = "https://tocsin.example.org"
)

func double(t testing.TB) *providertest.Twilio {
	t.Helper()
	d, err := providertest.NewTwilio(sid, secret)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func provider(t testing.TB, rt http.RoundTripper) *twilio.Provider {
	t.Helper()
	p, err := twilio.New(twilio.Account{SID: sid, Token: secret, From: "+15005550006"},
		twilio.Options{PublicURL: public, BaseURL: "http://127.0.0.1:9400", Transport: rt})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func message(channel string) paging.Message {
	return paging.Message{ID: "p-1", Kind: tocsin.KindPage, Channel: channel, To: "+4915100000001", Text: `CRIT db-main: lag < 340s & "rising". Reply 4 17 ack`, Link: "https://tocsin.example.org/i/1042", CanAnswer: true}
}

func TestEveryRequestIsAsTheAPIDescribesIt(t *testing.T) { // P18
	synctest.Test(t, func(t *testing.T) {
		d := double(t)
		p := provider(t, providertest.Transport(d))
		for _, m := range []paging.Message{
			message(paging.SMS), message(paging.Voice),
			{ID: "p 2/ü&x", Channel: paging.SMS, To: "+491", Text: strings.Repeat("ä\x00\xff", 2000), Expires: time.Now().Add(time.Hour)},
			{ID: "p3", Channel: paging.Voice, To: "+491", Text: strings.Repeat(`"<&>`, 3000) + "\x01\uFFFE", CanAnswer: true, Expires: time.Now()},
			{ID: "p4", Channel: paging.Voice, To: "+491", Text: "notice"},
		} {
			r, err := p.Send(t.Context(), m)
			if err != nil {
				t.Errorf("send %s: %v", m.ID, err)
				continue
			}
			if _, found, err := p.Find(t.Context(), m, time.Now()); err != nil || !found {
				t.Errorf("find %s: %t %v", m.ID, found, err)
			}
			if _, err = p.Check(t.Context(), r.ID); err != nil {
				t.Errorf("check %s: %v", m.ID, err)
			}
			if err = p.Cancel(t.Context(), r.ID); err != nil {
				t.Errorf("cancel %s: %v", m.ID, err)
			}
		}
		if problems := d.Problems(); len(problems) > 0 {
			t.Errorf("not as described: %v", problems)
		}
		for _, r := range d.Taken() {
			if v := r.Form.Get("ValidityPeriod"); r.Operation == "CreateMessage" && v != "600" {
				t.Errorf("validity %s, want at most 600", v)
			}
			if twiml := r.Form.Get("Twiml"); len([]rune(twiml)) > 4000 {
				t.Errorf("TwiML of %d characters", len([]rune(twiml)))
			}
		}
	})
}

func TestWhatAnAnswerMeans(t *testing.T) { // P1, P2, P3, P5, P13
	refused := func(code string, contact bool) string {
		if contact {
			return "contact " + code
		}
		return "setup " + code
	}
	for name, tc := range map[string]struct {
		step providertest.Step
		want string
	}{
		"taken":                                     {providertest.Step{}, "sent"},
		"a limit with a time":                       {providertest.Step{Status: 429, Code: 20429, RetryAfter: "7"}, "wait 7s"},
		"a limit without a time":                    {providertest.Step{Status: 429, Body: []byte("slow down")}, "wait 1s"},
		"the sender's queue is full":                {providertest.Step{Status: 400, Code: 21611}, "wait 1s"},
		"not a number":                              {providertest.Step{Status: 400, Code: 21211}, refused("21211", true)},
		"a landline":                                {providertest.Step{Status: 400, Code: 21614}, refused("21614", true)},
		"opted out":                                 {providertest.Step{Status: 400, Code: 21610}, refused("21610", true)},
		"a region that is not allowed":              {providertest.Step{Status: 400, Code: 21408}, refused("21408", true)},
		"our own number":                            {providertest.Step{Status: 400, Code: 21266}, refused("21266", true)},
		"a wrong token":                             {providertest.Step{Status: 401, Code: 20003}, refused("20003", false)},
		"a sender that is not ours":                 {providertest.Step{Status: 400, Code: 21606}, refused("21606", false)},
		"a code nobody knows":                       {providertest.Step{Status: 400, Code: 99999}, refused("99999", false)},
		"a refusal without a body":                  {providertest.Step{Status: 404, Body: []byte{}}, refused("http-404", false)},
		"a refusal in HTML":                         {providertest.Step{Status: 403, Body: []byte("<html>")}, refused("http-403", false)},
		"a redirect":                                {providertest.Step{Status: 302, Body: []byte("elsewhere")}, refused("http-302", false)},
		"a failure after the request":               {providertest.Step{Status: 500, Code: 20500}, "unknown"},
		"a bad gateway in HTML":                     {providertest.Step{Status: 502, Body: []byte("<html>")}, "unknown"},
		"an answer without a sid":                   {providertest.Step{Body: []byte(`{"status":"queued"}`)}, "unknown"},
		"an answer with a sid that is none":         {providertest.Step{Body: []byte(`{"sid":"<b>"}`)}, "unknown"},
		"an answer in HTML":                         {providertest.Step{Body: []byte("<html>welcome</html>")}, "unknown"},
		"an empty answer":                           {providertest.Step{Body: []byte{}}, "unknown"},
		"an answer that ends in the middle":         {providertest.Step{Cut: true}, "unknown"},
		"an answer without an end":                  {providertest.Step{Body: []byte(`{"sid":"` + strings.Repeat("x", 2<<20))}, "unknown"},
		"a connection that is cut":                  {providertest.Step{Drop: true}, "unknown"},
		"an answer that never comes":                {providertest.Step{Stall: true}, "unknown"},
		"an answer that comes after the time is up": {providertest.Step{Delay: time.Minute}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := double(t)
				d.Script(func(int, providertest.Request) providertest.Step { return tc.step })
				p := provider(t, providertest.Transport(d))
				for _, channel := range []string{paging.SMS, paging.Voice} {
					began := time.Now()
					_, err := p.Send(t.Context(), message(channel))
					if got := words(err); got != tc.want {
						t.Errorf("%s: %s (%v), want %s", channel, got, err, tc.want)
					}
					if took := time.Since(began); took > 15*time.Second {
						t.Errorf("took %s", took)
					}
				}
			})
		})
	}
}

func words(err error) string {
	if refused, ok := errors.AsType[*paging.RefusedError](err); ok {
		if refused.Contact {
			return "contact " + refused.Code
		}
		return "setup " + refused.Code
	}
	if limited, ok := errors.AsType[*paging.RateError](err); ok {
		return "wait " + limited.Wait.String()
	}
	switch {
	case err == nil:
		return "sent"
	case errors.Is(err, paging.ErrUnknown):
		return "unknown"
	}
	return "nothing sent"
}

func TestWhatWasNeverWrittenIsKnownToBeUnsent(t *testing.T) { // P3
	_, err := provider(t, providertest.Refused()).Send(t.Context(), message(paging.SMS))
	if got := words(err); got != "nothing sent" {
		t.Errorf("refused in memory: %s (%v)", got, err)
	}
	for name, base := range map[string]string{
		"a port where nobody listens": "http://127.0.0.1:1",
		"a name that is not there":    "http://tocsin.invalid",
		"TLS to a plain server":       strings.Replace(plain(t), "http://", "https://", 1),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := twilio.New(twilio.Account{SID: sid, Token: secret, From: "+1"}, twilio.Options{BaseURL: base, Timeout: 3 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Send(t.Context(), message(paging.SMS))
			if got := words(err); got != "nothing sent" {
				t.Errorf("%s (%v)", got, err)
			}
		})
	}
}

func plain(t *testing.T) string {
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestOverARealConnectionAStallIsUnknownAndFound(t *testing.T) { // C6
	d := double(t)
	srv := httptest.NewServer(d)
	defer srv.Close()
	p, err := twilio.New(twilio.Account{SID: sid, Token: secret, From: "+1"}, twilio.Options{PublicURL: public, BaseURL: srv.URL, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, step := range []providertest.Step{{Stall: true}, {Taken: true, Drop: true}} {
		d.Script(func(int, providertest.Request) providertest.Step { return step })
		m := message(paging.SMS)
		m.ID, m.Text, m.Link = m.ID+m.Text, m.Text+time.Now().String(), ""
		if _, err = p.Send(t.Context(), m); !errors.Is(err, paging.ErrUnknown) {
			t.Errorf("send = %v, want unknown", err)
		}
		got, found, err := p.Find(t.Context(), m, began)
		taken := d.Taken()
		if err != nil || !found || got.ID != taken[len(taken)-1].ID {
			t.Errorf("find = %v %t %v", got, found, err)
		}
	}
	m := message(paging.SMS)
	m.To = "+4915100000009"
	if _, found, err := p.Find(t.Context(), m, began); err != nil || found {
		t.Errorf("find of what was never sent = %t %v", found, err)
	}
}

// C6: a send whose answer was lost is known by the exact text that was handed over, by its number, and by being no older than its request.
func TestALookUpKnowsAMessageByItsWholeTextNumberAndTime(t *testing.T) {
	const mine = "CRIT db-main: replication lag 340s (+11). Reply 4 17 ack, 5 17 escalate, 6 17 resolve. https://tocsin.example.org/i/1042"
	long := strings.Repeat("ä", 2000)
	type sms struct{ page, to, text string }
	const one, two = "+4915100000001", "+4915100000002"
	for name, tc := range map[string]struct {
		lost  []sms         // what the provider has taken, and nobody was told
		later time.Duration // that the request of the page looked for began after them
		looks []sms         // one after the other
		want  []int         // which of lost each finds, the oldest is 0; -1: none
	}{
		"the one that was sent":                      {lost: []sms{{"p-1", one, mine}}, looks: []sms{{"p-1", one, mine}}, want: []int{0}},
		"nothing was sent":                           {looks: []sms{{"p-1", one, mine}}, want: []int{-1}},
		"one that the provider took while we waited": {lost: []sms{{"p-1", one, mine}}, later: 4 * time.Second, looks: []sms{{"p-1", one, mine}}, want: []int{0}},
		"one that is older than the request":         {lost: []sms{{"p-1", one, mine}}, later: 7 * time.Second, looks: []sms{{"p-2", one, mine}}, want: []int{-1}},
		"to another number":                          {lost: []sms{{"p-1", two, mine}}, looks: []sms{{"p-1", one, mine}}, want: []int{-1}},
		"a text with another (+n)":                   {lost: []sms{{"p-1", one, strings.Replace(mine, "(+11)", "(+1)", 1)}}, looks: []sms{{"p-2", one, mine}}, want: []int{-1}},
		"a text without its (+n)":                    {lost: []sms{{"p-1", one, strings.Replace(mine, " (+11)", "", 1)}}, looks: []sms{{"p-2", one, mine}}, want: []int{-1}},
		"a text that goes on":                        {lost: []sms{{"p-1", one, mine + " "}}, looks: []sms{{"p-2", one, mine}}, want: []int{-1}},
		"the same link in another text":              {lost: []sms{{"p-1", one, "Still on 17? https://tocsin.example.org/i/1042"}}, looks: []sms{{"p-2", one, mine}}, want: []int{-1}},
		"among others, older and newer": {
			lost:  []sms{{"p-0", one, "one"}, {"p-1", two, mine}, {"p-2", one, mine}, {"p-3", one, "two"}},
			looks: []sms{{"p-2", one, mine}}, want: []int{2},
		},
		"the same text twice, for two pages and a third": {
			lost:  []sms{{"p-1", one, mine}, {"p-2", one, mine}},
			looks: []sms{{"p-2", one, mine}, {"p-1", one, mine}, {"p-3", one, mine}, {"p-2", one, mine}}, want: []int{1, 0, -1, 1},
		},
		"a text that was cut to what fits": {lost: []sms{{"p-1", one, long}}, looks: []sms{{"p-1", one, long}}, want: []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := double(t)
				d.Script(func(int, providertest.Request) providertest.Step { return providertest.Step{Taken: true, Drop: true} })
				as := func(s sms) paging.Message {
					return paging.Message{ID: s.page, Channel: paging.SMS, To: s.to, Text: s.text}
				}
				sender := provider(t, providertest.Transport(d))
				for _, s := range tc.lost {
					if _, err := sender.Send(t.Context(), as(s)); !errors.Is(err, paging.ErrUnknown) {
						t.Fatalf("send = %v, want unknown", err)
					}
				}
				time.Sleep(tc.later)
				began := time.Now()
				finder := provider(t, providertest.Transport(d)) // another process: it knows nothing of those
				var got []int
				for _, s := range tc.looks {
					r, found, err := finder.Find(t.Context(), as(s), began)
					if err != nil {
						t.Fatal(err)
					}
					which := -1
					for i, taken := range d.Taken() {
						if found && taken.ID == r.ID {
							which = i
						}
					}
					got = append(got, which)
				}
				if diff := gocmp.Diff(tc.want, got); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
				if problems := d.Problems(); len(problems) > 0 {
					t.Errorf("not as described: %v", problems)
				}
			})
		})
	}
}

func TestTwoPagesOfOnePersonAreNotTakenForOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := double(t)
		p := provider(t, providertest.Transport(d))
		if _, err := p.Send(t.Context(), message(paging.Voice)); err != nil {
			t.Fatal(err)
		}
		lost := message(paging.Voice)
		lost.ID = "p-2"
		if _, found, err := p.Find(t.Context(), lost, time.Now()); err != nil || found {
			t.Errorf("find = %t %v: that call is another page's", found, err)
		}
	})
}

func TestCallbacksSayWhatBecameOfAPage(t *testing.T) {
	d := double(t)
	p := provider(t, providertest.Transport(d))
	sms, call := sent(t, p, paging.SMS), sent(t, p, paging.Voice)
	for name, tc := range map[string]struct {
		id, status string
		code       int
		want       paging.Report
	}{
		"an SMS on its way":         {sms, "sent", 0, paging.Report{State: tocsin.PageSent}},
		"an SMS that arrived":       {sms, "delivered", 0, paging.Report{State: tocsin.PageDelivered}},
		"an SMS to a landline":      {sms, "undelivered", 30006, paging.Report{State: tocsin.PageFailed, Contact: true, Reason: "undelivered (30006): a landline, or a number that cannot be reached"}},
		"an SMS that was filtered":  {sms, "undelivered", 30007, paging.Report{State: tocsin.PageFailed, Reason: "undelivered (30007): filtered by the carrier"}},
		"a code nobody knows":       {sms, "failed", 39999, paging.Report{State: tocsin.PageFailed, Reason: "failed (39999)"}},
		"a word nobody knows":       {sms, "pondering", 0, paging.Report{State: tocsin.PageSent}},
		"a call that rings":         {call, "ringing", 0, paging.Report{State: tocsin.PageSent}},
		"a call that was taken":     {call, "completed", 0, paging.Report{State: tocsin.PageDelivered}},
		"a call nobody took":        {call, "no-answer", 0, paging.Report{State: tocsin.PageFailed, Reason: "no-answer"}},
		"a call that was cancelled": {call, "canceled", 0, paging.Report{State: tocsin.PageFailed, Reason: "canceled"}},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := d.Status(tc.id, tc.status, tc.code)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.PageID, tc.want.ProviderID = "p-1", tc.id
			got, err := p.ParseStatus(req)
			if diff := gocmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("report (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func sent(t *testing.T, p *twilio.Provider, channel string) string {
	t.Helper()
	r, err := p.Send(context.WithoutCancel(t.Context()), message(channel))
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func TestKeysAndMessagesComeBackWithTheirPage(t *testing.T) {
	d := double(t)
	p := provider(t, providertest.Transport(d))
	call := sent(t, p, paging.Voice)
	req, err := d.Press(call, "6")
	if err != nil {
		t.Fatal(err)
	}
	key, err := p.ParseVoice(req)
	if diff := gocmp.Diff(paging.KeyPress{PageID: "p-1", CallID: call, Digits: "6"}, key); diff != "" || err != nil {
		t.Errorf("first key (-want +got):\n%s%v", diff, err)
	}
	again, err := p.Ask("p-1", "Press 6 again to resolve.", "6")
	if err != nil {
		t.Fatal(err)
	}
	if req, err = d.PressIn(again, call, "6"); err != nil {
		t.Fatal(err)
	}
	key, err = p.ParseVoice(req)
	if diff := gocmp.Diff(paging.KeyPress{PageID: "p-1", CallID: call, Digits: "6", First: "6"}, key); diff != "" || err != nil {
		t.Errorf("second key (-want +got):\n%s%v", diff, err)
	}
	if req, err = d.SMS(public+"/twilio/twilio/sms", "+4915100000001", "+15005550006", "4 17 <ok> & ünter 🚑"); err != nil {
		t.Fatal(err)
	}
	reply, err := p.ParseSMS(req)
	want := paging.Reply{ID: reply.ID, From: "+4915100000001", To: "+15005550006", Text: "4 17 <ok> & ünter 🚑"}
	if diff := gocmp.Diff(want, reply); diff != "" || err != nil || reply.ID == "" {
		t.Errorf("reply (-want +got):\n%s%v", diff, err)
	}
}

func TestAnswersAreTwiMLWithTheTextInert(t *testing.T) { // I7
	p := provider(t, providertest.Transport(double(t)))
	const text = `</Say><Dial>+1900</Dial> "17" & 'x'` + "\x00\x1b"
	for name, build := range map[string]func() (string, error){
		"SMS":     func() (string, error) { return p.ReplySMS(text) },
		"ask":     func() (string, error) { return p.Ask("p", text, "") },
		"goodbye": func() (string, error) { return p.Goodbye(text) },
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := build()
			if err != nil {
				t.Fatal(err)
			}
			if err = xml.Unmarshal([]byte(doc), new(struct{ XMLName xml.Name })); err != nil || strings.Contains(doc, "<Dial>") {
				t.Errorf("%v: %s", err, doc)
			}
		})
	}
	if doc, err := p.ReplySMS(""); err != nil || !strings.Contains(doc, "<Response/>") {
		t.Errorf("an empty answer = %s %v", doc, err)
	}
}

func TestBothTokensAreGoodWhileOneIsReplaced(t *testing.T) { // M9
	d := double(t)
	req, err := d.SMS(public+"/twilio/twilio/sms", "+1", "+2", "4 17")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		now, old string
		good     bool
	}{
		"the token that is in force":       {secret, "", true},
		"the one before, in the overlap":   {"new", secret, true},
		"the one before, after it":         {"new", "", false},
		"no old one is no empty signature": {"new", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := twilio.New(twilio.Account{SID: sid, Token: tc.now, OldToken: tc.old, From: "+1"}, twilio.Options{PublicURL: public})
			if err != nil {
				t.Fatal(err)
			}
			in := req.Clone(t.Context())
			in.Body, err = req.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			if _, err = p.ParseSMS(in); (err == nil) != tc.good {
				t.Errorf("ParseSMS = %v", err)
			}
		})
	}
}

func TestForgedCallbacksAreRefused(t *testing.T) { // P8, X10
	const address = public + "/twilio/twilio/sms"
	form := url.Values{"AccountSid": {sid}, "MessageSid": {"SM1"}, "From": {"+1"}, "To": {"+2"}, "Body": {"4 17"}}
	good := base64.StdEncoding.EncodeToString(twilio.Signature(secret, address, form))
	sign := func(token, address string, form url.Values) string {
		return base64.StdEncoding.EncodeToString(twilio.Signature(token, address, form))
	}
	with := func(name string, values ...string) url.Values {
		f := url.Values{}
		for k, v := range form {
			f[k] = v
		}
		f[name] = values
		return f
	}
	other := with("AccountSid", "AC11111111111111111111111111111111")
	type shape struct {
		method, target, sig, host, kind string
		more                            []string // further signatures
		body                            string
	}
	shapes := map[string]shape{
		"no signature":                        {sig: "-"},
		"an empty one":                        {sig: ""},
		"one that is too short":               {sig: good[:20]},
		"one that is too long":                {sig: good + "AAAA"},
		"another alphabet":                    {sig: strings.NewReplacer("+", "-", "/", "_").Replace(strings.Repeat("-", 27) + "=")},
		"spaces around it":                    {sig: " " + good + " x"},
		"no padding":                          {sig: strings.TrimRight(good, "=")},
		"all zero":                            {sig: base64.StdEncoding.EncodeToString(make([]byte, 20))},
		"hexadecimal":                         {sig: strings.Repeat("ab", 20)},
		"two signatures":                      {sig: good, more: []string{good}},
		"a good one after a bad one":          {sig: "AAAA", more: []string{good}},
		"signed with an empty token":          {sig: sign("", address, form)},
		"signed with the account's id":        {sig: sign(sid, address, form)},
		"signed with another token":           {sig: sign("guess", address, form)},
		"signed for another host":             {sig: sign(secret, "https://evil.example.org/twilio/twilio/sms", form)},
		"signed for the Host header":          {sig: sign(secret, "http://evil.example.org/twilio/twilio/sms", form), host: "evil.example.org"},
		"signed for plain http":               {sig: sign(secret, strings.Replace(address, "https", "http", 1), form)},
		"signed for another port":             {sig: sign(secret, strings.Replace(address, ".org", ".org:8443", 1), form)},
		"signed for another door":             {sig: sign(secret, public+"/twilio/twilio/status", form)},
		"signed for another provider":         {sig: sign(secret, public+"/twilio/second/sms", form)},
		"a page put into the address":         {target: "/twilio/twilio/sms?page=p-2", sig: good},
		"a slash put after the address":       {target: "/twilio/twilio/sms/", sig: good},
		"a text that was changed":             {sig: good, body: with("Body", "4all").Encode()},
		"a sender that was changed":           {sig: good, body: with("From", "+9").Encode()},
		"a field that was added":              {sig: good, body: with("Extra", "x").Encode()},
		"a second value for a field":          {sig: good, body: with("Body", "4 17", "6 17").Encode()},
		"a second value, signed":              {sig: sign(secret, address, with("Body", "4 17", "6 17")), body: with("Body", "4 17", "6 17").Encode()},
		"a field that was left out":           {sig: good, body: "AccountSid=" + sid + "&MessageSid=SM1&From=%2B1&To=%2B2"},
		"name and value shifted":              {sig: good, body: strings.Replace(form.Encode(), "Body=4+17", "Body4=+17", 1)},
		"another account, well signed":        {sig: sign(secret, address, other), body: other.Encode()},
		"no account, well signed":             {sig: sign(secret, address, with("AccountSid")), body: with("AccountSid").Encode()},
		"JSON":                                {sig: good, kind: "application/json"},
		"a multipart form":                    {sig: good, kind: "multipart/form-data; boundary=x"},
		"GET":                                 {method: http.MethodGet, sig: good},
		"a form that cannot be read":          {sig: good, body: "Body=%zz"},
		"a form with semicolons":              {sig: good, body: strings.ReplaceAll(form.Encode(), "&", ";")},
		"more than a callback can hold":       {sig: good, body: form.Encode() + "&X=" + strings.Repeat("x", 1<<20)},
		"the signature of the empty callback": {sig: sign(secret, address, nil)},
	}
	if len(shapes) < 30 {
		t.Fatalf("only %d shapes", len(shapes))
	}
	p := provider(t, providertest.Transport(double(t)))
	request := func(s shape) *http.Request {
		if s.method == "" {
			s.method = http.MethodPost
		}
		if s.target == "" {
			s.target = "/twilio/twilio/sms"
		}
		if s.body == "" {
			s.body = form.Encode()
		}
		if s.kind == "" {
			s.kind = "application/x-www-form-urlencoded"
		}
		req := httptest.NewRequest(s.method, s.target, strings.NewReader(s.body))
		if s.host != "" {
			req.Host = s.host
		}
		req.Header.Set("Content-Type", s.kind)
		if s.sig != "-" {
			req.Header["X-Twilio-Signature"] = append([]string{s.sig}, s.more...)
		}
		return req
	}
	if _, err := p.ParseSMS(request(shape{sig: good, host: "10.0.0.1"})); err != nil {
		t.Errorf("the true callback behind a proxy is refused: %v", err)
	}
	if _, err := p.ParseSMS(request(shape{sig: sign(secret, strings.Replace(address, ".org", ".org:443", 1), form)})); err != nil {
		t.Errorf("the true callback signed with the scheme's own port is refused: %v", err)
	}
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			if got, err := p.ParseSMS(request(s)); !errors.Is(err, twilio.ErrForged) || got != (paging.Reply{}) {
				t.Errorf("ParseSMS = %+v, %v", got, err)
			}
			if _, err := p.ParseStatus(request(s)); !errors.Is(err, twilio.ErrForged) {
				t.Errorf("ParseStatus = %v", err)
			}
			if _, err := p.ParseVoice(request(s)); !errors.Is(err, twilio.ErrForged) {
				t.Errorf("ParseVoice = %v", err)
			}
		})
	}
}

func TestOneChangedByteSpoilsACallback(t *testing.T) {
	p := provider(t, providertest.Transport(double(t)))
	d := double(t)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.String().Draw(rt, "text")
		req, err := d.SMS(public+"/twilio/twilio/sms", "+1", "+2", text)
		if err != nil {
			rt.Fatal(err)
		}
		sig := []byte(req.Header.Get("X-Twilio-Signature"))
		i := rapid.IntRange(0, 25).Draw(rt, "at")
		was := sig[i]
		sig[i] = rapid.SampledFrom([]byte("ABab01+/")).Filter(func(c byte) bool { return c != was }).Draw(rt, "byte")
		in := req.Clone(context.Background())
		in.Header.Set("X-Twilio-Signature", string(sig))
		if _, err = p.ParseSMS(in); !errors.Is(err, twilio.ErrForged) {
			rt.Fatalf("taken with a changed signature: %v", err)
		}
	})
}

func FuzzCallback(f *testing.F) {
	f.Add("AccountSid="+sid+"&MessageSid=SM1&From=%2B1&Body=4+17", "page=p-1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("CallSid=CA1&Digits=4", "", "")
	p := provider(f, providertest.Transport(double(f)))
	f.Fuzz(func(t *testing.T, body, query, sig string) {
		req := httptest.NewRequest(http.MethodPost, "/twilio/twilio/voice", strings.NewReader(body))
		req.URL.RawQuery = query
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header["X-Twilio-Signature"] = []string{sig}
		if _, err := p.ParseVoice(req); err == nil {
			t.Error("took a callback that nobody signed")
		}
		if form, err := url.ParseQuery(body); err == nil { // well signed: no panic, whatever it says
			req = httptest.NewRequest(http.MethodPost, "/twilio/twilio/status", strings.NewReader(form.Encode()))
			req.URL.RawQuery = query
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(twilio.Signature(secret, public+req.URL.RequestURI(), form)))
			_, _ = p.ParseStatus(req)
		}
	})
}

func TestAProviderThatCannotWorkIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		a twilio.Account
		o twilio.Options
	}{
		"an account id that is none": {twilio.Account{SID: "AC1", Token: "x", From: "+1"}, twilio.Options{}},
		"no token":                   {twilio.Account{SID: sid, From: "+1"}, twilio.Options{}},
		"no sender":                  {twilio.Account{SID: sid, Token: "x"}, twilio.Options{}},
		"a base_url that is none":    {twilio.Account{SID: sid, Token: "x", From: "+1"}, twilio.Options{BaseURL: "api.twilio.com"}},
		"a public_url that is none":  {twilio.Account{SID: sid, Token: "x", From: "+1"}, twilio.Options{PublicURL: "/tocsin"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := twilio.New(tc.a, tc.o); err == nil {
				t.Error("New = nil, want an error")
			}
		})
	}
}
