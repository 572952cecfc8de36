//go:build unix && !race

package app

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// freeze lets a process do nothing, as a paused virtual machine does, and the balancer send it nothing more. What it was at is of
// unknown outcome, as after a kill.
func (f *fleet) freeze(p *plant) (url string) {
	f.t.Helper()
	err := p.cmd.Process.Signal(syscall.SIGSTOP)
	if err != nil {
		f.t.Fatal(err)
	}
	p.kills = append(p.kills, time.Now())
	url = p.at(f.t.Context())
	p.down()
	return url
}

// thaw lets it go on.
func (f *fleet) thaw(p *plant, url string) {
	f.t.Helper()
	err := p.cmd.Process.Signal(syscall.SIGCONT)
	if err != nil {
		f.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url = url
	close(p.comes)
}

// worker is a node that works on at least one partition.
func (f *fleet) worker(r *rand.Rand) *plant {
	f.t.Helper()
	for _, n := range r.Perm(len(f.nodes)) {
		p := f.nodes[n]
		if f.metric(p.at(f.t.Context()), "tocsin_correlate_partitions") > 0 {
			return p
		}
	}
	f.t.Fatal("no node works on anything")
	return nil
}

// C16 and K7: a node sleeps for longer than its session lasts. What it does when it wakes is refused, and counted.
func TestFleetWhoseNodeSleptWritesAndSendsNothingFromItsOldClaim(t *testing.T) {
	together(t)
	seed := seedOf(t)
	sleeps, longer := 1, time.Duration(0)
	if full() {
		sleeps, longer = 3, 60*time.Second
	}
	f := newFleet(t, 3, sharedStorage(t), killRules)
	f.nodes[0].ledger.lateFor = 90 * time.Second // what stands in its sockets arrives when it wakes
	f.begin()
	w := f.watch()
	r := rand.New(rand.NewPCG(seed, 0))
	stop := f.load(seed)
	refused := 0.0
	for range sleeps {
		sleepFor(t, 2*time.Second)
		p := f.worker(r)
		before := f.metric(p.at(t.Context()), "tocsin_correlate_fenced_total")
		url := f.freeze(p)
		w.gone(p, p.kills[len(p.kills)-1])
		f.until("what the sleeper had is worked on", 60*time.Second, func() bool { return w.left() == 0 })
		sleepFor(t, longer)
		f.thaw(p, url)
		f.until("the sleeper's write was refused, or it gave up its claims before it wrote", 30*time.Second, func() bool {
			return f.metric(url, "tocsin_correlate_fenced_total") > before || p.logged("partitions are left to other nodes")
		})
		refused += f.metric(url, "tocsin_correlate_fenced_total") - before
		f.until("every partition is worked on", 60*time.Second, f.working)
	}
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	if refused == 0 && longer < silentFor {
		t.Error("no write was refused: the sleeper was away for less than it takes to give up")
	}
	t.Logf("%s %s refused writes %.0f", f.figures(seed, sum), w.figures(), refused)
}

// H4: one node after the other is ended and started again, as for an upgrade.
func TestFleetThatIsRestartedNodeByNodeSendsNothingTwice(t *testing.T) {
	together(t)
	seed := seedOf(t)
	rounds := 1
	if full() {
		rounds = 5
	}
	f := newFleet(t, 3, sharedStorage(t), killRules)
	f.begin()
	stop := f.load(seed)
	longest := time.Duration(0)
	for range rounds {
		for _, p := range f.nodes {
			sleepFor(t, time.Second)
			longest = max(longest, p.terminate())
			f.start(p)
			f.until("every partition is worked on", 60*time.Second, f.working)
		}
	}
	stop()
	f.settle()
	longest = max(longest, f.stop())
	sum := f.audit()
	if sum.extra > 0 {
		t.Errorf("%d pages were sent twice, want none: nothing was killed and no provider failed", sum.extra)
	}
	t.Logf("%s longest clean stop %s", f.figures(seed, sum), longest.Round(time.Millisecond))
}
