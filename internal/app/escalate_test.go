package app

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/providertest"
)

// A minute of the contract's waits lasts so long in these tests.
const minuteHere = 100 * time.Millisecond

// hurry lets every wait of the plan in force be shorter: nothing has been paged yet.
func (r *rig) hurry() {
	p := r.a.setup.Load().plan
	short := func(d time.Duration) time.Duration { return d / (time.Minute / minuteHere) }
	for _, steps := range p.Notify {
		for i := range steps {
			steps[i].After = short(steps[i].After)
		}
	}
	for _, e := range p.Escalations {
		for i := range e.Steps {
			e.Steps[i].EscalateAfter = short(e.Steps[i].EscalateAfter)
		}
	}
}

// A ring is one message to one person; a call is a message too.
type ring struct {
	channel, person string
	at              time.Time // of an expected one: the earliest
}

// rings is what both doubles were asked to send, in order.
func (r *rig) rings() []ring {
	var all []providertest.Request
	for _, q := range append(r.twilio.Requests(), r.sendgrid.Requests()...) {
		if q.ID != "" {
			all = append(all, q)
		}
	}
	slices.SortFunc(all, func(a, b providertest.Request) int { return a.At.Compare(b.At) })
	who := map[string]string{}
	for _, p := range r.a.office.People() {
		who[p.Phone], who[p.Email] = p.Name, p.Name
	}
	out := make([]ring, len(all))
	for i, q := range all {
		channel := map[string]string{"CreateMessage": "sms", "CreateCall": "voice", "SendMail": "email"}[q.Operation]
		out[i] = ring{channel, who[q.To], q.At}
	}
	return out
}

// The contract's comments: SMS and mail at once, a call after 2 m, the next step after 5 m, three rounds in all, then catch-all.
func TestWhenNobodyAnswersEverybodyIsPagedInTheOrderThatTheFileSays(t *testing.T) {
	r := newRig(t)
	r.hurry()
	carries, _ := r.a.setup.Load().rotas.At("platform", r.a.clock.Now())
	if len(carries) != 1 {
		t.Fatalf("on call for platform are %v, want one person", carries)
	}
	r.event("trigger", "lag", "critical", "db-main")
	r.until("it is an incident", func() bool { return len(r.incidents()) == 1 })
	opened := r.incidents()[0].Opened // and its first step taken
	var want []ring
	step := func(after time.Duration, person string) {
		at := opened.Add(after)
		want = append(want, ring{"email", person, at}, ring{"sms", person, at}, ring{"voice", person, at.Add(2 * minuteHere)})
	}
	for round := range 3 {
		step(time.Duration(15*round)*minuteHere, carries[0])
		step(time.Duration(15*round+5)*minuteHere, "three")
	}
	step(45*minuteHere, "three") // catch-all
	r.until("everybody was paged", func() bool { return len(r.rings()) >= len(want) })
	got := r.rings()
	for i := 1; i < len(got); i++ { // a message and a mail that are due at the same moment have no order
		if got[i-1].channel == "sms" && got[i].channel == "email" && got[i-1].person == got[i].person {
			got[i-1], got[i] = got[i], got[i-1]
		}
	}
	for i, w := range want {
		g := got[i]
		if g.channel != w.channel || g.person != w.person {
			t.Errorf("ring %d is by %s to %s, want %s to %s; all: %v", i, g.channel, g.person, w.channel, w.person, got)
			break
		}
		if early := w.at.Sub(g.at); early > minuteHere/2 {
			t.Errorf("%s to %s rang %s early", w.channel, w.person, early)
		}
	}
	err := r.stop()
	if err != nil {
		t.Error(err)
	}
	if len(got) > len(want) {
		t.Errorf("%d rings, want %d", len(got), len(want))
	}
}

// An alert that ends before its page went out, and is back before that counts as a recovery, is paged all the same.
func TestWhatFlapsFasterThanItsPageIsPagedOnce(t *testing.T) {
	r := newRig(t)
	r.until("the state is loaded", func() bool { return r.a.holds.whole() })
	e := tocsin.Event{Source: "legacy", Key: "lag", Fingerprint: tocsin.FingerprintOf("legacy", "lag"), Status: tocsin.Firing, Severity: tocsin.Critical, Summary: "replication lag"}
	end := e
	end.Status = tocsin.Resolved
	for range 2 {
		_, err := r.a.intake.Accept(t.Context(), "legacy", []tocsin.Event{e, end})
		if err != nil {
			t.Fatal(err)
		}
		r.until("nothing is sent for what has ended", func() bool {
			var pages struct{ Pages []struct{ State string } }
			r.get("/api/v1/pages", &pages)
			return len(pages.Pages) > 0 && !slices.ContainsFunc(pages.Pages, func(p struct{ State string }) bool { return p.State == "claimed" })
		})
	}
	if n := len(r.rings()); n > 0 {
		t.Errorf("%d messages were sent about what had ended, want none", n)
	}
	_, err := r.a.intake.Accept(t.Context(), "legacy", []tocsin.Event{e})
	if err != nil {
		t.Fatal(err)
	}
	r.until("an SMS and a mail went out", func() bool { return len(r.rings()) >= 2 })
	err = r.stop()
	if err != nil {
		t.Error(err)
	}
	if got := r.rings(); len(got) != 2 || got[0].channel == got[1].channel {
		t.Errorf("rings %v, want one SMS and one mail", got)
	}
}

// Steps that fall due while the process is dead, or dies (C10): each is taken once, late by no more than the time it was dead.
func TestKillAroundTheTimeAStepIsDueTakesItOnce(t *testing.T) {
	seed := seedOf(t)
	runs := 1
	if full() {
		runs = 20
	}
	for n := range runs {
		stepsOnce(t, seed+uint64(n))
	}
}

// paysAttention is how many incidents one run has; more would be held up by the limit of the person behind them all.
const paysAttention = 7

const (
	stepWait = 2 * time.Second
	lateness = 2 * time.Second
)

func stepsOnce(t *testing.T, seed uint64) {
	t.Helper()
	p := newPlant(t, killRules)
	text, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(p.config(), bytes.ReplaceAll(text, []byte("escalate_after: 4h"), []byte("escalate_after: 2s")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 9))
	c := &crowd{t: t, client: &http.Client{Timeout: 10 * time.Second}}
	p.start()
	for n, service := 0, busy+1; n < paysAttention; n, service = n+1, service+1 {
		if service%6 == 5 {
			service++ // one whose alerts come in pairs
		}
		status, answer, err := c.post(t.Context(), p.at(t.Context())+"/v2/enqueue", "", eventBody(intent{key: fmt.Sprintf("step-%d", n), service: service, severity: "critical", says: fires}))
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("%d %s %v", status, answer, err)
		}
		sleepFor(t, time.Duration(r.IntN(300))*time.Millisecond)
	}
	var dead time.Duration
	for range 3 {
		sleepFor(t, time.Duration(r.IntN(1500))*time.Millisecond)
		began := time.Now()
		p.kill()
		sleepFor(t, time.Duration(r.IntN(1000))*time.Millisecond)
		p.start()
		dead += time.Since(began)
	}
	p.settle()
	for done := false; !done; { // two steps, then everybody's last resort
		sleepFor(t, 200*time.Millisecond)
		var pages struct{ Pages []struct{ ID string } }
		err := getJSON(t.Context(), p.at(t.Context())+"/api/v1/pages?limit=1000", &pages)
		done = err == nil && len(pages.Pages) >= paysAttention*3*2
	}
	p.settle()
	p.terminate()
	s, err := readState(t.Context(), p.data())
	if err != nil {
		t.Fatal(err)
	}
	byIncident := map[int64][]tocsin.Page{}
	for _, row := range s.pages {
		if row.Step == paging.NagStep {
			continue // all steps have been taken, and nobody has answered still
		}
		byIncident[row.Incident] = append(byIncident[row.Incident], row)
	}
	for id, rows := range byIncident {
		slices.SortFunc(rows, func(a, b tocsin.Page) int {
			if n := a.DueAt.Compare(b.DueAt); n != 0 {
				return n
			}
			return strings.Compare(a.Channel, b.Channel)
		})
		n := 0
		_, _ = fmt.Sscanf(s.incidents[id].Service, "s%d", &n) // the test made them all
		var got []string
		for _, row := range rows {
			got = append(got, row.Channel+" to "+row.Person)
		}
		first, second := fmt.Sprintf("p%d", n), fmt.Sprintf("p%d", (n+1)%services)
		want := []string{"email to " + first, "sms to " + first, "email to " + second, "sms to " + second, "email to p0", "sms to p0"}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("seed %d: incident %d was paged as %v, want each step once: %v", seed, id, got, want)
			continue
		}
		var steps []time.Time // when each was taken: ids of pages are made some time later, on a busy machine
		for _, c := range s.changes {
			if c.Incident == id && bytes.Contains(c.Data, []byte(`"paging":`)) {
				steps = append(steps, c.At)
			}
		}
		if len(steps) < len(want)/2 {
			t.Errorf("seed %d: the history of incident %d says of %d steps that they were taken, want %d", seed, id, len(steps), len(want)/2)
			continue
		}
		for k := 1; k < len(want)/2; k++ {
			if gap := steps[k].Sub(steps[k-1]); gap < stepWait-lateness/100 || gap > stepWait+dead+lateness {
				t.Errorf("seed %d: step %d of incident %d came %s after the one before, want %s and at most %s more", seed, k, id, gap, stepWait, dead+lateness)
			}
		}
	}
	if len(byIncident) != paysAttention {
		t.Errorf("%d incidents were paged, want %d", len(byIncident), paysAttention)
	}
	out := audit{}
	p.auditPages(s, &out, func(n *int, format string, args ...any) { *n++; t.Errorf(format, args...) })
}
