package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/config"
	"tocsin/paging"
	"tocsin/paging/providertest"
	"tocsin/paging/sendgrid"
	"tocsin/paging/twilio"
)

// A bubble is a whole tocsin (journal, correlation, state, pager, clock) whose time is synctest's: hours pass at once, and exactly.
// Nothing of it listens on a socket, which would stop the bubble's clock: providers are asked in memory.
type bubble struct {
	t        *testing.T
	a        *App
	twilio   *providertest.Twilio
	sendgrid *providertest.SendGrid
	door     *twilio.Provider
	began    time.Time

	mu    sync.Mutex
	rings []string // when, by what, to whom
}

// A wire asks a handler in memory.
type wire struct{ http.Handler }

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, req)
	return rec.Result(), nil
}

// newBubble starts it at a time, on the contract's file with edits. Call it inside of a bubble.
func newBubble(t *testing.T, at time.Time, edits ...string) *bubble {
	t.Helper()
	time.Sleep(time.Until(at))
	b := &bubble{t: t}
	var err error
	b.twilio, err = providertest.NewTwilio(accountID, "twilio-secret")
	if err != nil {
		t.Fatal(err)
	}
	b.sendgrid, err = providertest.NewSendGrid("SG.secret")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../config/testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	edits = append([]string{
		"listen: 127.0.0.1:8080", "listen: 127.0.0.1:0", "public_url: http://127.0.0.1:8080 ", "public_url: " + public + " ", "dir: ./data", "dir: " + filepath.Join(dir, "data"),
	}, edits...)
	path := filepath.Join(dir, "tocsin.yaml")
	err = os.WriteFile(path, []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load(path)
	if c == nil {
		t.Fatal(problems)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.a, err = open(ctx, c, path, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	b.inMemory()
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{
		b.a.share, b.a.pager.Run, b.a.housekeep, func(ctx context.Context) error { return b.a.clock.run(ctx, b.a.db, b.a.log) },
	} {
		parts.Go(func() {
			if err := part(ctx); err != nil {
				t.Errorf("a part ended: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		parts.Wait()
		if err := b.a.listener.Close(); err != nil {
			t.Error(err)
		}
		if err := b.a.close(); err != nil {
			t.Error(err)
		}
	})
	b.until("the state is loaded", func() bool { return b.a.holds.whole() && len(b.a.holds.all()) > 0 })
	return b
}

// inMemory puts providers in force that talk to the doubles without a network, and notes what people get.
func (b *bubble) inMemory() {
	b.t.Helper()
	var err error
	b.door, err = twilio.New(twilio.Account{SID: accountID, Token: "twilio-secret", From: ourNumber},
		twilio.Options{PublicURL: public, Transport: wire{b.twilio}})
	if err != nil {
		b.t.Fatal(err)
	}
	mail, err := sendgrid.New("SG.secret", "tocsin@example.org", sendgrid.Options{Transport: wire{b.sendgrid}})
	if err != nil {
		b.t.Fatal(err)
	}
	note := func(q providertest.Request) {
		channel := map[string]string{"CreateMessage": "sms", "CreateCall": "voice", "SendMail": "email"}[q.Operation]
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.a.office.People() {
			if p.Phone == q.To || p.Email == q.To {
				b.rings = append(b.rings, fmt.Sprintf("%s %s %s", q.At.Sub(b.began).Round(time.Second), channel, p.Name))
			}
		}
	}
	b.twilio.Script(func(_ int, q providertest.Request) providertest.Step { note(q); return providertest.Step{} })
	b.sendgrid.Script(func(_ int, q providertest.Request) providertest.Step { note(q); return providertest.Step{} })
	err = b.a.pager.Replace(map[string][]paging.Provider{
		paging.SMS: {{Name: "twilio", Sender: b.door}}, paging.Voice: {{Name: "twilio", Sender: b.door}}, paging.Email: {{Name: "sendgrid", Sender: mail}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bubble) until(what string, is func() bool) {
	b.t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	b.t.Fatalf("still not: %s", what)
}

// deliver lets phones confirm what they get: an SMS was delivered, a call rang out and went to a mailbox.
func (b *bubble) deliver() {
	b.t.Helper()
	for _, q := range b.twilio.Taken() {
		word := map[string]string{"CreateMessage": "delivered", "CreateCall": "completed"}[q.Operation]
		req, err := b.twilio.Status(q.ID, word, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		report, err := b.door.ParseStatus(req)
		if err != nil {
			b.t.Fatal(err)
		}
		if err = b.a.office.Report(b.t.Context(), "twilio", report); err != nil {
			b.t.Fatal(err)
		}
	}
}

// fires sends the event of an alert.
func (b *bubble) fires(key string) {
	b.t.Helper()
	b.event(key, tocsin.Firing)
}

func (b *bubble) event(key string, status tocsin.Status) {
	b.t.Helper()
	_, err := b.a.intake.Accept(b.t.Context(), "legacy", []tocsin.Event{{
		Source: "legacy", Key: key, Fingerprint: tocsin.FingerprintOf("legacy", key), Status: status, Severity: tocsin.Critical, Summary: "replication lag 340s",
		Labels: tocsin.NewLabels(map[string]string{"service": key, "team": "platform"}),
	}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// lives lets time pass, in which people get their messages and say nothing.
func (b *bubble) lives(d time.Duration) {
	b.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(10 * time.Second)
		b.deliver()
	}
}

func (b *bubble) want(want []string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	got := slices.Clone(b.rings)
	inOrder(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		b.t.Errorf("rings (-want +got):\n%s", diff)
	}
}

// inOrder sorts what came at the same time by its words: nobody says which of two requests of one moment is first.
func inOrder(rings []string) {
	slices.SortStableFunc(rings, func(a, b string) int {
		x, restX, _ := strings.Cut(a, " ")
		y, restY, _ := strings.Cut(b, " ")
		dx, _ := time.ParseDuration(x) // the test wrote them
		dy, _ := time.ParseDuration(y)
		if dx != dy {
			return int(dx - dy)
		}
		return strings.Compare(restX, restY)
	})
}

// tuesday is a night at which person one carries the contract's pager, and nothing changes hands before the morning.
var tuesday = time.Date(2026, 11, 24, 1, 0, 0, 0, time.UTC)

// The contract's comments: SMS and mail at once, a call after 2 m, the next step after 5 m, three rounds in all, then catch-all; after
// that everybody's last resort, every quarter of an hour for a day.
func TestNobodyAnswersAndEverybodyIsPagedToTheSecondAsTheFileSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, tuesday)
		carries, _ := b.a.setup.Load().rotas.At("platform", tuesday)
		b.began = time.Now()
		b.fires("db-main")
		b.lives(80 * time.Minute)
		var want []string
		step := func(at time.Duration, person string) {
			want = append(want, fmt.Sprintf("%s email %s", at, person), fmt.Sprintf("%s sms %s", at, person), fmt.Sprintf("%s voice %s", at+2*time.Minute, person))
		}
		for round := range time.Duration(3) {
			step(round*15*time.Minute, carries[0])
			step(round*15*time.Minute+5*time.Minute, "three")
		}
		step(45*time.Minute, "three") // catch-all
		step(60*time.Minute, "three") // unanswered
		step(75*time.Minute, "three")
		b.want(want)
	})
}

func TestAnSMSThatNobodyConfirmsIsFollowedByTheCallAtOnce(t *testing.T) { // P6
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, tuesday)
		carries, _ := b.a.setup.Load().rotas.At("platform", tuesday)
		b.began = time.Now()
		b.fires("db-main")
		time.Sleep(4 * time.Minute)
		b.want([]string{"0s email " + carries[0], "0s sms " + carries[0], "1m0s voice " + carries[0]})
	})
}

// An acknowledgement that runs out while everything seems to have recovered is not forgotten when it comes back.
func TestAnAckThatRunsOutDuringARecoveryPagesWhenItComesBack(t *testing.T) { // A5
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, tuesday)
		carries, _ := b.a.setup.Load().rotas.At("platform", tuesday)
		b.began = time.Now()
		b.fires("db-main")
		b.lives(time.Minute)
		_, err := b.a.office.Incident(t.Context(), 1, tocsin.DoAck, carries[0], "")
		if err != nil {
			t.Fatal(err)
		}
		b.lives(3*time.Hour + 54*time.Minute) // until the nudge has gone
		b.lives(5*time.Minute + 40*time.Second)
		b.event("db-main", tocsin.Resolved)
		b.lives(40 * time.Second) // the acknowledgement ends at 4h1m
		b.want([]string{"0s email " + carries[0], "0s sms " + carries[0], "3h56m0s sms " + carries[0]})
		b.fires("db-main")
		b.lives(30 * time.Second)
		who := carries[0]
		b.want([]string{
			"0s email " + who, "0s sms " + who,
			"3h56m0s sms " + who, // the nudge
			"4h1m25s email " + who, "4h1m25s sms " + who,
		})
	})
}
