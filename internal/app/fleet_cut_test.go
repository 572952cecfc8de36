//go:build !race

package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/paging/providertest"
	"tocsin/parts/partstest"
)

// A severance is how a node is cut off.
type severance int

const (
	muted  severance = iota // nothing comes through either way, and all of it when the road is mended
	closed                  // what there is ends, and whoever comes is sent away
	parted                  // only what a member says to its group does not come through: it reads and writes on
	severances
)

// A road leads one node to the broker.
type road struct {
	all, group *link // group has what a member says to its group, all has the rest
	wire       *partstest.Wire
	broker     string
	nobody     string // where no one listens
}

// newRoad stands before the only broker, and returns the address that leads through it. The broker tells everybody who asks where it is:
// on this road it is where the road begins.
func newRoad(t *testing.T, broker string) (r *road, through string) {
	t.Helper()
	r = &road{all: new(link), group: new(link), broker: broker, nobody: fmt.Sprintf("127.0.0.1:%d", partstest.FreePort(t))}
	known := make(chan struct{})
	var there, here []byte
	wire, through := partstest.NewWire(t, "kafka://"+broker, func(to io.Writer, b []byte, up bool) bool {
		if !up {
			<-known
			b = bytes.ReplaceAll(b, there, here)
		}
		if up && ofGroup(b) {
			return r.group.pass(to, b, up)
		}
		return r.all.pass(to, b, up)
	})
	r.wire, through = wire, strings.TrimPrefix(through, "kafka://")
	there, here = onWire(t, broker), onWire(t, through)
	if len(there) != len(here) {
		t.Fatalf("the broker is at %s, which is longer or shorter than the host of %s", broker, through)
	}
	close(known)
	t.Cleanup(r.all.carryOn) // before the wire waits for those who are held
	t.Cleanup(r.group.carryOn)
	return r, through
}

// ofGroup reports whether a request is a member's to its group: to join, to stay, to leave, or how far it is.
func ofGroup(b []byte) bool {
	const offsetCommit, joinGroup, heartbeat, leaveGroup, syncGroup = 8, 11, 12, 13, 14
	if len(b) < 6 {
		return false
	}
	switch binary.BigEndian.Uint16(b[4:]) { // behind its length
	case offsetCommit, joinGroup, heartbeat, leaveGroup, syncGroup:
		return true
	}
	return false
}

// onWire is an address as Kafka's answers have it, whatever their version: the host, and four bytes of its port.
func onWire(t *testing.T, address string) []byte {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.AppendUint32([]byte(host), uint32(port))
}

// cut cuts a node off, until mend.
func (r *road) cut(how severance) {
	switch how {
	case muted:
		r.all.hold()
		r.group.hold()
	case parted:
		r.group.hold()
	case closed:
		r.wire.Lead(r.nobody)
	}
}

func (r *road) mend(how severance) {
	if how == closed {
		r.wire.Lead(r.broker)
	}
	r.all.carryOn()
	r.group.carryOn()
}

// A balancer sends most of what comes to the nodes that are not cut off.
type balancer struct {
	f    *fleet
	mu   sync.Mutex
	r    *rand.Rand
	away map[string]bool // addresses
}

// astray is how many of what comes for a node that is cut off, one is sent there.
const astray = 8

func (b *balancer) at(ctx context.Context) string {
	url := b.f.at(ctx)
	b.mu.Lock()
	elsewhere := b.away[url] && b.r.IntN(astray) > 0
	b.mu.Unlock()
	if elsewhere {
		return b.f.at(ctx) // the next in turn
	}
	return url
}

func (b *balancer) avoid(url string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away[url] = true
}

func (b *balancer) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.away)
}

// owners are the nodes that the partitions are in the hands of, as the rows have it.
func (w *watch) owners() (names [fleetPartitions]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range names {
		names[n] = w.parts[n].Owner
	}
	return names
}

// shared reports whether every partition is worked on, and every node has as many as the others.
func (f *fleet) shared() bool {
	for _, url := range f.urls() {
		if f.metric(url, "tocsin_correlate_partitions") != float64(fleetPartitions/len(f.nodes)) {
			return false
		}
	}
	return f.working()
}

// slow lets the providers take their time for some of what they are sent, and do all of it.
func (p *plant) slow(seed uint64) {
	p.ail(rand.New(rand.NewPCG(seed, 8)), func(r *rand.Rand) providertest.Step {
		if r.IntN(100) < 40 {
			return providertest.Step{Delay: time.Duration(r.IntN(2000)) * time.Millisecond}
		}
		return providertest.Step{}
	})
}

// How long a node is cut off. A group gives its partitions to the others after a session of 6 s.
const (
	cutLeast  = 200 * time.Millisecond
	cutBrief  = 6 * time.Second
	cutBeyond = 7500 * time.Millisecond
	cutMost   = 9 * time.Second
)

// cutFor is how long the nth cut lasts: one of three is longer than a session.
func cutFor(r *rand.Rand, n int) time.Duration {
	if n%3 == 0 {
		return cutBeyond + time.Duration(r.Int64N(int64(cutMost-cutBeyond)))
	}
	brief := cutBrief
	if !full() {
		brief /= 2
	}
	return cutLeast + time.Duration(r.Int64N(int64(brief-cutLeast)))
}

// H1: nodes know of each other by the broker. One of two, or both, are cut off from it, and reach the database and the providers all the
// while: what they have goes to the other, who may have it before they know.
func TestFleetWhoseNodesAreCutOffFromEachOtherSendsNothingTwice(t *testing.T) {
	together(t)
	seed := seedOf(t)
	cuts := 3
	if full() {
		cuts = 100
	}
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.nodes[0].ledger.lateFor = cutMost + 20*time.Second // what stood on the road arrives when it is mended
	roads := map[*plant]*road{}
	for _, p := range []*plant{f.nodes[1], f.nodes[0]} { // the first node's configuration is what the others' is made of
		var through string
		roads[p], through = newRoad(t, f.many.brokers)
		f.apart(p, "brokers: ["+f.many.brokers+"]", "brokers: ["+through+"]")
	}
	f.start()
	f.until("both nodes share the partitions", 60*time.Second, f.shared)
	w := f.watch()
	r := rand.New(rand.NewPCG(seed, 0))
	f.nodes[0].slow(seed)
	b := &balancer{f: f, r: rand.New(rand.NewPCG(seed, 1)), away: map[string]bool{}}
	c := f.crowd()
	c.at, c.patience = b.at, 2*time.Second
	stop := c.start(seed)
	moves, both, longest, hows := 0, 0, time.Duration(0), [severances]int{}
	for n := range cuts {
		node := r.IntN(len(f.nodes))
		off, how := f.nodes[node:node+1], severance(r.IntN(int(severances)))
		switch {
		case n%6 == 0: // a long one, when the partitions have just been shared out: that is when a member believes longest that it has them
			how = parted
		case n%6 == 5: // they are shared out anew afterwards
			how = closed
		case r.IntN(4) == 0:
			off, both = f.nodes, both+1
		}
		if n%6 > 0 {
			sleepFor(t, 500*time.Millisecond)
		}
		hows[how]++
		before := w.owners()
		for _, p := range off {
			if how != parted {
				b.avoid(p.at(t.Context()))
			}
			roads[p].cut(how)
		}
		sleepFor(t, cutFor(r, n))
		during := w.owners()
		for _, p := range off {
			roads[p].mend(how)
		}
		b.forgive()
		longest = max(longest, f.until("both nodes share the partitions again", 60*time.Second, f.shared))
		moves += movedBetween(before, during) + movedBetween(during, w.owners())
	}
	refused := f.sum("tocsin_correlate_fenced_total")
	stop()
	f.nodes[0].calm()
	f.settle()
	f.stop()
	sum := f.audit()
	if sum.extra > 0 {
		t.Errorf("%d pages were sent twice, want none: nothing was killed and no provider failed", sum.extra)
	}
	if moves == 0 || refused == 0 && full() {
		t.Errorf("%d partitions moved and %.0f writes were refused: nobody was cut off, or always knew of it", moves, refused)
	}
	t.Logf("%s cuts %d (held %d, closed %d, parted from the group %d; of both nodes %d) moves of partitions %d refused writes %.0f, shared again at most %s after a cut",
		f.figures(seed, sum), cuts, hows[muted], hows[closed], hows[parted], both, moves, refused, longest.Round(10*time.Millisecond))
}

func movedBetween(before, after [fleetPartitions]string) (n int) {
	for i := range before {
		if before[i] != after[i] {
			n++
		}
	}
	return n
}
