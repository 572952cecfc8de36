package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/config"
)

// markedRules are rules of which every decision shows the mark: in the labels that enrichment sets, and in the rule's name.
func markedRules(mark string) string {
	return strings.ReplaceAll(`
enrich:
  - {matchers: ['alertname=~".+"'], set: {mark: MARK}}
rules:
  - {name: all-MARK, group_by: [service], window: 24h, reopen: 24h, quiet: 1s}
`, "MARK", mark)
}

// writes exchanges the rules of the file for others.
func (p *plant) writes(was, is string) {
	p.t.Helper()
	b, err := os.ReadFile(p.config())
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.Contains(string(b), was) {
		p.t.Fatalf("the file has no rules %s", was)
	}
	err = os.WriteFile(p.config(), []byte(strings.Replace(string(b), was, is, 1)), 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
}

// hashOf is that of the rules in the file.
func (p *plant) hashOf() string {
	p.t.Helper()
	c, problems := config.Load(p.config())
	if c == nil {
		p.t.Fatal(problems)
	}
	hash, _, err := ruleSet(c).Hash()
	if err != nil {
		p.t.Fatal(err)
	}
	return hash
}

// stream sends events, each of a new alert, until stop is called; what is answered goes into the ledger.
func (p *plant) stream() (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	c := &crowd{t: p.t, at: p.at, ledger: p.ledger, client: &http.Client{Timeout: faultPatience}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			url := p.at(ctx)
			if url == "" {
				return
			}
			i := intent{key: fmt.Sprintf("pd-s%d-new%d", busy+n%8, n), service: busy + n%8, says: fires, severity: "critical"}
			status, _, err := c.post(context.WithoutCancel(ctx), url+"/v2/enqueue", "", eventBody(i))
			p.ledger.said([]intent{i}, err == nil && status == http.StatusAccepted)
		}
	})
	return func() {
		cancel()
		wg.Wait()
		c.client.CloseIdleConnections()
	}
}

// acceptsMore waits until so many events more have been accepted.
func (p *plant) acceptsMore(n int) {
	p.t.Helper()
	accepted := func() int {
		p.ledger.mu.Lock()
		defer p.ledger.mu.Unlock()
		return p.ledger.accepted
	}
	from := accepted()
	p.until(fmt.Sprintf("%d more are accepted", n), func() bool { return accepted() >= from+n })
}

// C12
func TestKillWhileAReloadIsHalfDoneLeavesOneOfTheTwoRuleSets(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	kills := 10
	if full() {
		kills = 100
	}
	mine, other := markedRules("a"), markedRules("b")
	p := newPlant(t, mine)
	hashes := map[string]string{p.hashOf(): mine}
	p.writes(mine, other)
	hashes[p.hashOf()] = other
	p.writes(other, mine)
	p.start()
	p.mustFire(busy+9, 0) // so rules are in force
	stop := p.stream()
	inForce := map[string]int{}
	for range kills {
		p.acceptsMore(20)
		p.writes(mine, other)
		mine, other = other, mine
		asked := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(asked)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.at(ctx)+"/-/reload", nil)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+robot)
			resp, err := http.DefaultClient.Do(req) // it is cut by the kill, or not
			if err == nil {
				_ = resp.Body.Close()
			}
		}()
		sleepFor(t, time.Duration(r.Int64N(int64(40*time.Millisecond))))
		p.kill()
		cancel()
		<-asked
		s, err := readState(t.Context(), p.data())
		if err != nil {
			t.Fatal(err)
		}
		if hashes[s.part.Rules] == "" {
			t.Fatalf("rules %s are in force, want those of one of the two files", s.part.Rules)
		}
		inForce[s.part.Rules]++
		p.start()
	}
	stop()
	p.settle()
	p.terminate()
	p.audit()
	s, err := readState(t.Context(), p.data())
	if err != nil {
		t.Fatal(err)
	}
	marks := map[string]int{}
	for _, a := range s.alerts {
		mark := a.Labels.Get("mark")
		marks[mark]++
		if rule := s.incidents[a.Incident].Rule; rule != "all-"+mark || mark == "" {
			t.Fatalf("alert %s was marked %q by enrichment and is in an incident of rule %q: a mix of both sets", a.Labels.Get("key"), mark, rule)
		}
	}
	p.noPanic()
	t.Logf("seed %d kills %d in force %v alerts by mark %v", seed, kills, inForce, marks)
}

// C18
func TestASecondTermWhileItDrainsEndsItAtOnceAndLosesNothing(t *testing.T) {
	runs := 3
	if full() {
		runs = 50
	}
	p := newPlant(t, killRules)
	p.start()
	for n := range runs {
		stop := p.stream()
		p.acceptsMore(50)
		end := p.hold()
		p.term()
		p.until("it drains", func() bool { return strings.Count(string(p.said()), "msg=stopping ") == n+1 })
		p.term()
		select {
		case err := <-p.exited:
			if err == nil {
				t.Error("it ended with 0, want to see that it did not end in order")
			}
		case <-time.After(grace / 2):
			t.Fatal("it goes on draining, want it to end at the second signal")
		}
		p.kills = append(p.kills, time.Now())
		p.down()
		end()
		p.start()
		stop()
	}
	p.settle()
	p.terminate()
	sum := p.audit()
	p.noPanic()
	t.Logf("runs %d accepted %d lost %d doubled %d", runs, sum.accepted, sum.lost, sum.doubled)
}
