//go:build !race

package app

import (
	"math/rand/v2"
	"testing"
	"time"
)

// H3: three nodes under load, and one after the other is killed and comes back. Whoever lives takes what the dead one had.
func TestFleetWhoseNodesAreKilledLosesNothingAndDoesNothingTwice(t *testing.T) {
	together(t)
	seed := seedOf(t)
	kills, every := 4, 2*time.Second
	if full() {
		kills, every = 30, 10*time.Second
	}
	f := newFleet(t, 3, sharedStorage(t), killRules)
	f.begin()
	w := f.watch()
	r := rand.New(rand.NewPCG(seed, 0))
	f.nodes[0].trouble(seed)
	stop := f.load(seed)
	for range kills {
		sleepFor(t, every)
		p := f.nodes[r.IntN(len(f.nodes))]
		p.kill()
		w.gone(p, p.kills[len(p.kills)-1])
		f.start(p)
	}
	f.until("what the dead nodes had is worked on", 40*time.Second, func() bool { return w.left() == 0 })
	stop()
	f.nodes[0].calm()
	f.settle()
	longest := f.stop()
	sum := f.audit()
	t.Logf("%s %s longest clean stop %s", f.figures(seed, sum), w.figures(), longest.Round(time.Millisecond))
}
