package sendgrid_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin/paging"
	"tocsin/paging/providertest"
	"tocsin/paging/sendgrid"
)

// An outcome is all that a send came to.
type outcome struct {
	Receipt string
	Refused paging.RefusedError
	Wait    time.Duration // a limit: nothing was sent, and it may be after this
	Unknown bool
	Later   bool // nothing was sent, and it may be tried again
}

func outcomeOf(r paging.Receipt, err error) outcome {
	o := outcome{Receipt: r.ID}
	refused, isRefused := errors.AsType[*paging.RefusedError](err)
	limited, isLimited := errors.AsType[*paging.RateError](err)
	switch {
	case err == nil:
	case isRefused:
		o.Refused = *refused
	case isLimited:
		o.Wait = limited.Wait
	case errors.Is(err, paging.ErrUnknown):
		o.Unknown = true
	default:
		o.Later = strings.HasPrefix(err.Error(), "nothing was sent: ")
	}
	return o
}

// P1, P2, P5, P13
func TestWhatAnAnswerMeansIsAllThatBecomesOfAMail(t *testing.T) {
	unknown := outcome{Unknown: true}
	wait := func(d time.Duration) outcome { return outcome{Wait: d} }
	refused := func(code, reason string) outcome {
		return outcome{Refused: paging.RefusedError{Code: code, Reason: reason}}
	}
	huge := bytes.Repeat([]byte("x"), 2<<20)
	fault := func(field string) []byte { return []byte(`{"errors":[{"message":"no","field":"` + field + `"}]}`) }
	for name, tc := range map[string]struct {
		step providertest.Step
		want outcome
	}{
		"taken":                              {providertest.Step{}, outcome{Receipt: "MSG0000000000000000001"}},
		"taken, with words nobody reads":     {providertest.Step{Status: 202, Body: []byte("<html>")}, outcome{}},
		"a limit with a time":                {providertest.Step{Status: 429, RetryAfter: "9"}, wait(9 * time.Second)},
		"a limit with a date":                {providertest.Step{Status: 429, RetryAfter: "Sat, 01 Jan 2000 00:00:30 GMT"}, wait(30 * time.Second)}, // a bubble's clock begins with that year
		"a limit without a time":             {providertest.Step{Status: 429}, wait(time.Second)},
		"a limit with a time that is none":   {providertest.Step{Status: 429, RetryAfter: "soon"}, wait(time.Second)},
		"a limit of a year":                  {providertest.Step{Status: 429, RetryAfter: "31536000"}, wait(time.Hour)},
		"a limit in a huge answer":           {providertest.Step{Status: 429, RetryAfter: "9", Body: huge}, wait(9 * time.Second)},
		"a limit that is cut":                {providertest.Step{Status: 429, RetryAfter: "9", Body: huge[:1000], Cut: true}, wait(9 * time.Second)},
		"500":                                {providertest.Step{Status: 500}, unknown},
		"502 in HTML":                        {providertest.Step{Status: 502, Body: []byte("<html>bad gateway</html>")}, unknown},
		"503 with a time":                    {providertest.Step{Status: 503, RetryAfter: "9"}, unknown},
		"504":                                {providertest.Step{Status: 504}, unknown},
		"it took too long, they say":         {providertest.Step{Status: 408}, unknown},
		"500 without an end":                 {providertest.Step{Status: 500, Body: huge}, unknown},
		"taken, in an answer without an end": {providertest.Step{Status: 202, Body: huge}, unknown},
		"taken, in an answer that is cut":    {providertest.Step{Status: 202, Body: huge[:1000], Cut: true}, unknown},
		"a page that greets":                 {providertest.Step{Status: 200, Body: []byte("<html>welcome, please log in</html>")}, unknown},
		"nothing to say":                     {providertest.Step{Status: 204, Body: []byte{}}, unknown},
		"a redirect":                         {providertest.Step{Status: 302, Body: []byte("elsewhere")}, refused("http-302", "Found")},
		"a wrong key":                        {providertest.Step{Status: 401}, refused("http-401", "Unauthorized")},
		"a key that may not":                 {providertest.Step{Status: 403, Body: fault("from")}, refused("http-403", "no")},
		"no such door":                       {providertest.Step{Status: 404, Body: []byte{}}, refused("http-404", "Not Found")},
		"too much":                           {providertest.Step{Status: 413, Body: []byte("<html>")}, refused("http-413", "Request Entity Too Large")},
		"a mistake of ours":                  {providertest.Step{Status: 400, Body: fault("from.email")}, refused("http-400", "no")},
		"a wrong address": {
			providertest.Step{Status: 400, Body: fault("personalizations.0.to.0.email")},
			outcome{Refused: paging.RefusedError{Code: "http-400", Reason: "no", Contact: true}},
		},
		"a refusal in garbage":         {providertest.Step{Status: 400, Body: []byte(`{"errors":"\xff`)}, refused("http-400", "Bad Request")},
		"a refusal without an end":     {providertest.Step{Status: 400, Body: huge}, refused("http-400", "Bad Request")},
		"a refusal with a long reason": {providertest.Step{Status: 400, Body: []byte(`{"errors":[{"message":"` + strings.Repeat("ä", 5000) + `"}]}`)}, refused("http-400", strings.Repeat("ä", 200))},
		"no answer":                    {providertest.Step{Stall: true}, unknown},
		"an answer when nobody waits":  {providertest.Step{Delay: time.Minute}, unknown},
		"a connection that is cut":     {providertest.Step{Drop: true}, unknown},
		"a cut after it was taken":     {providertest.Step{Drop: true, Taken: true}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := double(t)
				d.Script(func(int, providertest.Request) providertest.Step { return tc.step })
				began := time.Now()
				if diff := gocmp.Diff(tc.want, outcomeOf(provider(t, d).Send(t.Context(), mail()))); diff != "" {
					t.Errorf("outcome (-want +got):\n%s", diff)
				}
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// P2, P13: what a real connection does.
func TestOverARealConnectionAMailWhoseAnswerIsLostIsUnknown(t *testing.T) {
	over := make(chan struct{})
	for name, handle := range map[string]func(w http.ResponseWriter, c net.Conn){
		"reset": func(_ http.ResponseWriter, c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0) // then closing is a reset
		},
		"closed":     func(http.ResponseWriter, net.Conn) {},
		"garbage":    func(_ http.ResponseWriter, c net.Conn) { _, _ = io.WriteString(c, "\x00\xff\x00\xff\r\n\r\n") },
		"a head cut": func(_ http.ResponseWriter, c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 202 Acc") },
		"a body cut": func(_ http.ResponseWriter, c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n{")
		},
		"a head for ever": func(_ http.ResponseWriter, c net.Conn) {
			forEver(c, "HTTP/1.1 202 Accepted\r\n", "X: "+strings.Repeat("x", 1<<10)+"\r\n", 0, over)
		},
		"a body for ever": func(_ http.ResponseWriter, c net.Conn) {
			forEver(c, "HTTP/1.1 202 Accepted\r\n\r\n", strings.Repeat("x", 1<<10), 0, over)
		},
		"a head that drips": func(_ http.ResponseWriter, c net.Conn) {
			forEver(c, "HTTP/1.1 202 Accepted\r\n", "X: x\r\n", 5*time.Millisecond, over)
		},
		"a body that drips": func(_ http.ResponseWriter, c net.Conn) {
			forEver(c, "HTTP/1.1 202 Accepted\r\n\r\n", "x", 5*time.Millisecond, over)
		},
		"silence": func(http.ResponseWriter, net.Conn) { <-over },
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				_, _ = io.Copy(io.Discard, r.Body) // all of the mail came
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				handle(w, c)
			}))
			defer srv.Close()
			p, err := sendgrid.New("SG.secret", "tocsin@example.org", sendgrid.Options{BaseURL: srv.URL, Timeout: 500 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(outcome{Unknown: true}, outcomeOf(p.Send(t.Context(), mail()))); diff != "" || asked.Load() != 1 {
				t.Errorf("after %d requests, want one, the outcome is (-want +got):\n%s", asked.Load(), diff)
			}
		})
	}
	close(over)
}

// forEver says more again and again, until the client or the test has gone.
func forEver(c net.Conn, first, more string, every time.Duration, over <-chan struct{}) {
	_, err := io.WriteString(c, first)
	for err == nil {
		_, err = io.WriteString(c, more)
		select {
		case <-over:
			return
		case <-time.After(every):
		}
	}
}

// A row has room for what a provider calls a mail, and none for what it could call it.
func TestAnIDWithoutAnEndIsCut(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Message-Id", strings.Repeat("x", 100_000))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	p, err := sendgrid.New("SG.secret", "tocsin@example.org", sendgrid.Options{BaseURL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(outcome{Receipt: strings.Repeat("x", 200)}, outcomeOf(p.Send(t.Context(), mail()))); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
}

// P3, N1, N2
func TestWhatNeverReachedTheProviderIsKnownToBeUnsent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came through") }))
	defer plain.Close()
	unknown := httptest.NewUnstartedServer(plain.Config.Handler)
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS()
	defer unknown.Close()
	for name, tc := range map[string]struct {
		base      string
		transport http.RoundTripper
	}{
		"nobody listens":                         {"http://" + free, nil},
		"the name is not there":                  {"http://api.sendgrid.test", dialling(&net.DNSError{Err: "no such host", Name: "api.sendgrid.test", IsNotFound: true})},
		"the name server fails":                  {"http://api.sendgrid.test", dialling(&net.DNSError{Err: "server misbehaving", Name: "api.sendgrid.test", IsTemporary: true})},
		"a certificate of nobody we trust":       {unknown.URL, nil},
		"TLS to a server that does not speak it": {strings.Replace(plain.URL, "http://", "https://", 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := sendgrid.New("SG.secret", "tocsin@example.org", sendgrid.Options{BaseURL: tc.base, Transport: tc.transport, Timeout: 3 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(outcome{Later: true}, outcomeOf(p.Send(t.Context(), mail()))); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// dialling is a transport whose connections end before they begin.
func dialling(err error) http.RoundTripper {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}}
}
