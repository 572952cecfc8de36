//go:build unix && !race

package app

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// K5: a member joins or leaves every two seconds, by a stop or a kill.
func TestFleetWhoseMembersComeAndGoCatchesUpAndDoesNothingTwice(t *testing.T) {
	together(t)
	seed := seedOf(t)
	length := 8 * time.Second
	if full() {
		length = 5 * time.Minute
	}
	f := newFleet(t, 3, sharedStorage(t), killRules)
	guest := f.nodes[2]
	f.start(f.nodes[0], f.nodes[1])
	f.until("every partition is worked on", 60*time.Second, f.working)
	r := rand.New(rand.NewPCG(seed, 0))
	stop := f.load(seed)
	moves := 0
	for began := time.Now(); time.Since(began) < length; moves++ {
		switch {
		case moves%2 == 0:
			f.start(guest)
		case r.IntN(2) == 0:
			guest.kill()
		default:
			guest.terminate()
		}
		sleepFor(t, 2*time.Second)
	}
	if moves%2 == 1 {
		guest.terminate()
	}
	ended := time.Now()
	f.until("all is caught up with", 60*time.Second, func() bool { return f.working() && f.sum("tocsin_journal_lag_events") == 0 })
	caught := time.Since(ended)
	if caught > 30*time.Second {
		t.Errorf("the lag was 0 %s after the last move, want at most 30 s", caught)
	}
	rebalances := f.sum("tocsin_kafka_rebalances_total")
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s moves %d, rebalances of two nodes %.0f, lag 0 under load %s after the last", f.figures(seed, sum), moves, rebalances, caught.Round(10*time.Millisecond))
}

// sends are when requests came to a provider's door of one node's own.
type sends struct {
	mu   sync.Mutex
	last time.Time
	n    int
}

func (s *sends) door(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			s.mu.Lock()
			s.last, s.n = time.Now(), s.n+1
			s.mu.Unlock()
		}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// apart gives a node a configuration of its own: that of the others, with edits (old and new in turn).
func (f *fleet) apart(p *plant, edits ...string) {
	f.t.Helper()
	text, err := os.ReadFile(f.nodes[0].config())
	if err != nil {
		f.t.Fatal(err)
	}
	p.file = filepath.Join(p.dir, "tocsin"+p.name+".yaml")
	for n := 0; n < len(edits); n += 2 {
		if !strings.Contains(string(text), edits[n]) {
			f.t.Fatalf("the configuration has no %q", edits[n])
		}
	}
	err = os.WriteFile(p.file, []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
}

// setting is what a line of the configuration says after key.
func (f *fleet) setting(after, key string) string {
	f.t.Helper()
	text, err := os.ReadFile(f.nodes[0].config())
	if err != nil {
		f.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), after)
	_, rest, ok := strings.Cut(rest, key+": ")
	if !ok {
		f.t.Fatalf("the configuration has no %s after %s", key, after)
	}
	return rest[:strings.IndexAny(rest, ",}")]
}

// H2: one node loses the database, and no other does. It sends nothing that others may have taken over, and they take over what it had.
func TestFleetWhoseNodeLosesTheDatabaseSendsNothingThereOnceItsClaimsEnded(t *testing.T) {
	together(t)
	seed := seedOf(t)
	rounds, away := 1, 16*time.Second
	if full() {
		rounds, away = 5, 40*time.Second
	}
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.nodes[0].ledger.lateFor = away + 30*time.Second
	l, through := newLink(t, f.many.dsn)
	p, out := f.nodes[1], new(sends)
	f.apart(p, f.many.dsn, through, f.setting("kind: twilio", "base_url"), out.door(t, p.twilio), f.setting("kind: sendgrid", "base_url"), out.door(t, p.sendgrid))
	f.begin()
	stop := f.load(seed)
	w := f.watch()
	latest := time.Duration(0)
	for range rounds {
		sleepFor(t, 3*time.Second)
		l.hold()
		cut := time.Now()
		w.gone(p, cut)
		for at := time.Duration(0); at <= goneAfter; at += underWay() / 2 {
			p.kills = append(p.kills, cut.Add(at)) // the outcome of what is sent by then may be known to nobody
		}
		f.until("what it had is worked on", 60*time.Second, func() bool { return w.left() == 0 })
		sleepFor(t, time.Until(cut.Add(away)))
		out.mu.Lock()
		latest = max(latest, out.last.Sub(cut))
		out.mu.Unlock()
		if latest > goneAfter {
			t.Errorf("it still sent something %s after it had lost the database; others take over after %s", latest, goneAfter)
		}
		l.carryOn()
		f.until("every partition is worked on", 60*time.Second, f.working)
	}
	if out.n == 0 {
		t.Error("it never sent anything")
	}
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s %s sends of that node %d, the last %s after it lost the database (%d times, %s each)", f.figures(seed, sum), w.figures(), out.n,
		latest.Round(10*time.Millisecond), rounds, away)
}

const quit = syscall.SIGQUIT
