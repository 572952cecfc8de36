package sendgrid_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/providertest"
	"tocsin/paging/sendgrid"
)

func double(t testing.TB) *providertest.SendGrid {
	t.Helper()
	d, err := providertest.NewSendGrid("SG.secret")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func provider(t testing.TB, d *providertest.SendGrid) *sendgrid.Provider {
	t.Helper()
	p, err := sendgrid.New("SG.secret", "tocsin@example.org", sendgrid.Options{
		PublicKey: d.PublicKey(), BaseURL: "http://127.0.0.1:9401", Transport: providertest.Transport(d),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mail() paging.Message {
	return paging.Message{
		ID: "p-1", Channel: paging.Email, To: "one@example.org", Person: tocsin.Person{Full: "Person One"}, Subject: "CRIT db-main\r\nBcc: all@example.org",
		Text: "replication lag <b>340s</b>\nhost db-1", Link: "https://tocsin.example.org/p/x?y=1&z=2", CanAnswer: true,
	}
}

func TestEveryMailIsAsTheAPIDescribesIt(t *testing.T) { // P18
	synctest.Test(t, func(t *testing.T) {
		d := double(t)
		p := provider(t, d)
		r, err := p.Send(t.Context(), mail())
		if err != nil {
			t.Fatalf("send: %v %v", err, d.Problems())
		}
		if _, err = p.Send(t.Context(), paging.Message{ID: "p-2", Channel: paging.Email, To: "one@example.org", Text: "x\x00\xff", Link: "javascript:alert(1)"}); err != nil {
			t.Errorf("send: %v", err)
		}
		if problems := d.Problems(); len(problems) > 0 {
			t.Errorf("not as described: %v", problems)
		}
		taken := d.Taken()
		if taken[0].ID != r.ID || taken[0].Page != "p-1" || taken[0].JSON["subject"] != "CRIT db-main Bcc: all@example.org" {
			t.Errorf("mail = %+v, receipt %q", taken[0], r.ID)
		}
		tracking := taken[0].JSON["tracking_settings"].(map[string]any)["click_tracking"]
		if diff := gocmp.Diff(map[string]any{"enable": false, "enable_text": false}, tracking); diff != "" {
			t.Errorf("click tracking (-want +got):\n%s", diff)
		}
		html := taken[0].JSON["content"].([]any)[1].(map[string]any)["value"].(string)
		if strings.Contains(html, "<b>340s") || !strings.Contains(html, `href="https://tocsin.example.org/p/x?y=1&amp;z=2"`) {
			t.Errorf("html = %s", html)
		}
		second := taken[1].JSON["content"].([]any)[1].(map[string]any)["value"].(string)
		if strings.Contains(second, "javascript") {
			t.Errorf("html = %s", second)
		}
	})
}

func TestEventsSayWhatBecameOfAPage(t *testing.T) { // P12
	d := double(t)
	p := provider(t, d)
	r, err := p.Send(t.Context(), mail())
	if err != nil {
		t.Fatal(err)
	}
	var events []providertest.Event
	for _, kind := range []string{"processed", "deferred", "delivered", "open", "click", "bounce", "dropped"} {
		e, err := d.Event(r.ID, kind)
		if err != nil {
			t.Fatal(err)
		}
		e["reason"] = "550 no such user"
		events = append(events, e)
	}
	blocked, err := d.Event(r.ID, "bounce")
	if err != nil {
		t.Fatal(err)
	}
	blocked["type"] = "blocked"
	events = append(events, blocked)
	req, err := d.Signed("https://tocsin.example.org/sendgrid/sendgrid/events", time.Now(), events...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.ParseEvents(req)
	want := func(id string, s tocsin.PageState, reason string, contact bool) sendgrid.Event {
		return sendgrid.Event{ID: id, Report: paging.Report{PageID: "p-1", ProviderID: r.ID, State: s, Reason: reason, Contact: contact}}
	}
	if diff := gocmp.Diff([]sendgrid.Event{
		want(events[0]["sg_event_id"].(string), tocsin.PageSent, "", false),
		want(events[1]["sg_event_id"].(string), tocsin.PageSent, "", false),
		want(events[2]["sg_event_id"].(string), tocsin.PageDelivered, "", false),
		want(events[5]["sg_event_id"].(string), tocsin.PageFailed, "bounce: 550 no such user", true),
		want(events[6]["sg_event_id"].(string), tocsin.PageFailed, "dropped: 550 no such user", true),
		want(events[7]["sg_event_id"].(string), tocsin.PageFailed, "bounce:", false),
	}, got); diff != "" || err != nil {
		t.Errorf("events (-want +got):\n%s%v", diff, err)
	}
}

func TestForgedEventsAreRefused(t *testing.T) { // X10
	d, other := double(t), double(t)
	p := provider(t, d)
	const address = "https://tocsin.example.org/sendgrid/sendgrid/events"
	fresh := func(by *providertest.SendGrid, at time.Time) *http.Request {
		req, err := by.Signed(address, at, providertest.Event{"event": "delivered", "page": "p-1"})
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	if _, err := p.ParseEvents(fresh(d, time.Now())); err != nil {
		t.Errorf("true events are refused: %v", err)
	}
	for name, spoil := range map[string]func() *http.Request{
		"signed by another key":  func() *http.Request { return fresh(other, time.Now()) },
		"signed six minutes ago": func() *http.Request { return fresh(d, time.Now().Add(-6*time.Minute)) },
		"signed in six minutes":  func() *http.Request { return fresh(d, time.Now().Add(6*time.Minute)) },
		"a body that was changed": func() *http.Request {
			r := fresh(d, time.Now())
			r.Body = io.NopCloser(strings.NewReader(`[{"event":"delivered","page":"p-2"}]`))
			return r
		},
		"a time that was changed": func() *http.Request {
			r := fresh(d, time.Now().Add(-time.Hour))
			r.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", fresh(other, time.Now()).Header.Get("X-Twilio-Email-Event-Webhook-Timestamp"))
			return r
		},
		"no signature": func() *http.Request {
			r := fresh(d, time.Now())
			r.Header.Del("X-Twilio-Email-Event-Webhook-Signature")
			return r
		},
		"no time": func() *http.Request {
			r := fresh(d, time.Now())
			r.Header.Del("X-Twilio-Email-Event-Webhook-Timestamp")
			return r
		},
		"a signature that is none": func() *http.Request {
			r := fresh(d, time.Now())
			r.Header.Set("X-Twilio-Email-Event-Webhook-Signature", "MAYCAQACAQA=")
			return r
		},
		"another alphabet": func() *http.Request {
			r := fresh(d, time.Now())
			r.Header.Set("X-Twilio-Email-Event-Webhook-Signature", "%%%")
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := p.ParseEvents(spoil()); !errors.Is(err, sendgrid.ErrForged) || got != nil {
				t.Errorf("ParseEvents = %v, %v", got, err)
			}
		})
	}
	none, err := sendgrid.New("SG.secret", "tocsin@example.org", sendgrid.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = none.ParseEvents(fresh(d, time.Now())); !errors.Is(err, sendgrid.ErrForged) {
		t.Errorf("without a key = %v", err)
	}
}

func TestAProviderThatCannotWorkIsRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key, from string
		o         sendgrid.Options
	}{
		"no key":                       {"", "tocsin@example.org", sendgrid.Options{}},
		"a sender that is none":        {"SG", "tocsin", sendgrid.Options{}},
		"a public key of another kind": {"SG", "tocsin@example.org", sendgrid.Options{PublicKey: base64.StdEncoding.EncodeToString(der)}},
		"a public key that is none":    {"SG", "tocsin@example.org", sendgrid.Options{PublicKey: "AAAA"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := sendgrid.New(tc.key, tc.from, tc.o); err == nil {
				t.Error("New = nil, want an error")
			}
		})
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(`[{"event":"bounce","page":"p-1","sg_message_id":"a.b","type":"blocked","reason":"x"}]`), "MAYCAQACAQA=")
	f.Add([]byte(`[]`), "")
	p := provider(f, double(f))
	f.Fuzz(func(t *testing.T, body []byte, sig string) {
		req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["X-Twilio-Email-Event-Webhook-Signature"] = []string{sig}
		req.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", "1")
		if _, err = p.ParseEvents(req); err == nil {
			t.Error("took events that nobody signed")
		}
		_, _ = sendgrid.Parse(body) // whatever it says: no panic
	})
}
