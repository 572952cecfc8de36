package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/sendgrid"
	"tocsin/paging/twilio"
)

const (
	account   = "AC00000000000000000000000000000000"
	authToken = "twilio-secret"
)

// fakeSendGrid takes events whose signature is right.
type fakeSendGrid struct{}

func (fakeSendGrid) ParseEvents(r *http.Request) ([]sendgrid.Event, error) {
	if r.Header.Get("Signature") != "right" {
		return nil, fmt.Errorf("%w: wrong", sendgrid.ErrForged)
	}
	return []sendgrid.Event{{ID: "e1", Report: paging.Report{PageID: "p-1", State: tocsin.PageDelivered}}, {ID: "e2", Report: paging.Report{PageID: "p-2", State: tocsin.PageFailed}}}, nil
}

func callbackBench(t *testing.T) *bench {
	t.Helper()
	p, err := twilio.New(twilio.Account{SID: account, Token: authToken, From: "+15005550006"}, twilio.Options{Name: "twilio", PublicURL: "https://p.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return newBench(t, func(o *Options) {
		o.Callbacks = func() map[string]any { return map[string]any{"twilio": p, "mail": fakeSendGrid{}} }
	})
}

// signed posts a form that the provider signed.
func (b *bench) signed(target string, form url.Values) reply {
	b.t.Helper()
	form.Set("AccountSid", account)
	sum := twilio.Signature(authToken, "https://p.example.org"+target, form)
	return b.form(target, form.Encode(), "X-Twilio-Signature", base64.StdEncoding.EncodeToString(sum))
}

func TestASignedMessageIsActedOnAndAnswered(t *testing.T) {
	b := callbackBench(t)
	got := b.signed("/twilio/twilio/sms", url.Values{"MessageSid": {"SM1"}, "From": {"+15005550001"}, "To": {"+15005550006"}, "Body": {"4 17"}})
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/xml") || !strings.Contains(got.body, "<Message>heard 4 17</Message>") {
		t.Errorf("answer %d %s %s", got.status, got.header.Get("Content-Type"), got.body)
	}
	if want := (paging.Reply{ID: "SM1", From: "+15005550001", To: "+15005550006", Text: "4 17"}); len(b.desk.replies) != 1 || b.desk.replies[0] != want {
		t.Errorf("acted on %+v", b.desk.replies)
	}
}

func TestKeysAreAnsweredBySpeech(t *testing.T) {
	b := callbackBench(t)
	for name, tc := range map[string]struct{ target, digits, want string }{
		"one key ends the call":          {"/twilio/twilio/voice?page=p-1", "4", "<Say>pressed 4</Say><Hangup"},
		"6 asks for another":             {"/twilio/twilio/voice?page=p-1", "6", "first=6"},
		"6 twice comes through as twice": {"/twilio/twilio/voice?first=6&page=p-1", "6", "<Say>pressed 66</Say><Hangup"},
	} {
		got := b.signed(tc.target, url.Values{"CallSid": {"CA1"}, "Digits": {tc.digits}})
		if got.status != 200 || !strings.Contains(strings.ReplaceAll(got.body, "\n", ""), tc.want) {
			t.Errorf("%s: %d %s, want %s in it", name, got.status, got.body, tc.want)
		}
	}
}

func TestWhatBecameOfPagesIsTakenIn(t *testing.T) {
	b := callbackBench(t)
	got := b.signed("/twilio/twilio/status?page=p-9", url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}})
	if got.status != 204 || len(b.desk.reports) != 1 || b.desk.reports[0].PageID != "p-9" || b.desk.reports[0].State != tocsin.PageDelivered {
		t.Errorf("status: %d, %+v", got.status, b.desk.reports)
	}
	got = b.send("POST", "/sendgrid/mail/events", "[]", "Signature", "right")
	if got.status != 204 || len(b.desk.reports) != 3 || b.desk.reports[2].PageID != "p-2" {
		t.Errorf("events: %d, %+v", got.status, b.desk.reports)
	}
	b.desk.fail = errors.New("disk full")
	for _, got := range []reply{
		b.send("POST", "/sendgrid/mail/events", "[]", "Signature", "right"),
		b.signed("/twilio/twilio/status?page=p-9", url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}}),
		b.signed("/twilio/twilio/sms", url.Values{"MessageSid": {"SM1"}, "From": {"+1"}, "Body": {"4"}}),
	} {
		if got.status != 503 || strings.Contains(got.body, "disk full") {
			t.Errorf("what was not committed is answered %d %s", got.status, got.body)
		}
	}
}

func TestAForgedCallbackHasNoEffect(t *testing.T) {
	b := callbackBench(t)
	form := url.Values{"MessageSid": {"SM1"}, "From": {"+15005550001"}, "Body": {"4 17"}, "AccountSid": {account}, "CallSid": {"CA1"}, "Digits": {"4"}}
	right := base64.StdEncoding.EncodeToString(twilio.Signature(authToken, "https://p.example.org/twilio/twilio/sms", form))
	other := url.Values{"MessageSid": {"SM1"}, "From": {"+15005550001"}, "Body": {"6 17"}, "AccountSid": {account}}
	wrong := base64.StdEncoding.EncodeToString(twilio.Signature("guess", "https://p.example.org/twilio/twilio/sms", form))
	for name, tc := range map[string]struct {
		target, body, signature string
		want                    int
	}{
		"no signature":                        {"/twilio/twilio/sms", form.Encode(), "", 403},
		"a signature by another token":        {"/twilio/twilio/sms", form.Encode(), wrong, 403},
		"another text under the signature":    {"/twilio/twilio/sms", other.Encode(), right, 403},
		"another address under the signature": {"/twilio/twilio/sms?x=1", form.Encode(), right, 403},
		"a message's signature on a call":     {"/twilio/twilio/voice", form.Encode(), right, 403},
		"a message's signature on a status":   {"/twilio/twilio/status", form.Encode(), right, 403},
		"a body without an end":               {"/twilio/twilio/sms", strings.Repeat("a", maxBody+1), right, 413},
		"a provider that there is not":        {"/twilio/other/sms", form.Encode(), right, 404},
		"a provider of another kind":          {"/twilio/mail/sms", form.Encode(), right, 404},
		"events that are not signed":          {"/sendgrid/mail/events", "[]", "", 403},
		"events for a provider of SMS":        {"/sendgrid/twilio/events", "[]", "", 404},
	} {
		head := []string{}
		if tc.signature != "" {
			head = append(head, "X-Twilio-Signature", tc.signature)
		}
		if got := b.form(tc.target, tc.body, head...); got.status != tc.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tc.want)
		}
	}
	if len(b.desk.replies)+len(b.desk.reports) != 0 {
		t.Errorf("they had effects: %+v %+v", b.desk.replies, b.desk.reports)
	}
	if got := b.send("GET", "/metrics", ""); !strings.Contains(got.body, `tocsin_api_callbacks_total{outcome="forged",provider="twilio"} 6`) {
		t.Errorf("forged callbacks are not counted: %s", got.body)
	}
}

func TestAFloodOfCallbacksWaitsForItsTurn(t *testing.T) {
	b := callbackBench(t)
	for range maxCalls {
		b.calls <- struct{}{}
	}
	got := b.send("POST", "/sendgrid/mail/events", "[]", "Signature", "right")
	if got.status != 503 || got.header.Get("Retry-After") == "" || len(b.desk.reports) != 0 {
		t.Errorf("one callback too many: %d, %d effects", got.status, len(b.desk.reports))
	}
}
