//go:build !race

package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"tocsin/internal/store"
	"tocsin/parts/partstest"
)

// together lets two of these tests run at once: most of their time is waiting. Not where figures are wanted.
func together(t *testing.T) {
	t.Helper()
	if !full() {
		t.Parallel()
	}
}

// sharedStorage returns storage of this test's own on the servers of parts/all.sh.
func sharedStorage(t *testing.T) *manyNodes {
	t.Helper()
	m := &manyNodes{brokers: partstest.Address(t, "KAFKA_BROKERS"), topic: "fleet-" + uuid.NewString()}
	m.dsn = partstest.Database(t)
	m.direct = m.dsn
	return m
}

// A fleet is several processes that share their storage, their configuration and the world around them.
type fleet struct {
	t     *testing.T
	nodes []*plant
	many  *manyNodes
	turn  atomic.Uint64
	mu    sync.Mutex
	names map[*plant]string // as the rows have them, of those that run
}

// newFleet makes a fleet that does not run yet.
func newFleet(t *testing.T, size int, m *manyNodes, rules string) *fleet {
	t.Helper()
	f := &fleet{t: t, many: m, names: map[*plant]string{}}
	first := newPlant(t, strings.ReplaceAll(rules, "scope: [region]", "scope: [cell, region]"))
	first.many = m
	first.ledger.lateFor = 15 * time.Second
	text, err := os.ReadFile(first.config())
	if err != nil {
		t.Fatal(err)
	}
	embedded := fmt.Sprintf("storage: {dir: %q}", first.data())
	if !bytes.Contains(text, []byte(embedded)) {
		t.Fatalf("the configuration has no line %s", embedded)
	}
	text = bytes.Replace(text, []byte(embedded), fmt.Appendf(nil, "storage: {journal: {kafka: {brokers: [%s], topic: %s, partitions: %d}}, state: {postgres: {dsn: %q}}}\nisolate_by: [cell]",
		strings.ReplaceAll(m.brokers, ",", ", "), m.topic, fleetPartitions, m.dsn), 1)
	err = os.WriteFile(first.config(), text, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.nodes = []*plant{first}
	for len(f.nodes) < size {
		f.add()
	}
	first.name = "-0"
	return f
}

// add makes another node, which does not run yet.
func (f *fleet) add() *plant {
	first := f.nodes[0]
	p := &plant{
		t: f.t, dir: first.dir, twilio: first.twilio, sendgrid: first.sendgrid, ledger: first.ledger, many: f.many,
		name: fmt.Sprintf("-%d", len(f.nodes)), comes: make(chan struct{}),
	}
	f.t.Cleanup(func() {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill() // it has ended, or must
		}
		if f.t.Failed() {
			f.t.Logf("the end of node %s's log:\n%s", p.name, tail(p.log(), 4000))
		}
	})
	f.nodes = append(f.nodes, p)
	return p
}

// start starts some nodes, one after the other; none named means all.
func (f *fleet) start(nodes ...*plant) {
	f.t.Helper()
	if len(nodes) == 0 {
		nodes = f.nodes
	}
	for _, p := range nodes {
		p.start()
		name := f.nameOf(p)
		f.mu.Lock()
		f.names[p] = name
		f.mu.Unlock()
	}
}

// begin starts all nodes, and waits until every partition is worked on.
func (f *fleet) begin() {
	f.t.Helper()
	f.start()
	f.until("every partition is worked on", 60*time.Second, f.working)
}

// database is the state of all nodes, to look at.
func (f *fleet) database() store.DB {
	f.t.Helper()
	db, err := f.many.open()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = db.Close() }) // it was only read
	return db
}

// nameOf asks a node what it is called in the rows.
func (f *fleet) nameOf(p *plant) string {
	f.t.Helper()
	var out struct {
		Nodes []struct {
			ID   string
			Self bool
		}
	}
	err := getJSON(f.t.Context(), p.at(f.t.Context())+"/api/v1/nodes", &out)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, n := range out.Nodes {
		if n.Self {
			return n.ID
		}
	}
	f.t.Fatalf("node %s does not list itself: %+v", p.name, out)
	return ""
}

// urls are the addresses of the nodes that run.
func (f *fleet) urls() (out []string) {
	for _, p := range f.nodes {
		p.mu.Lock()
		if p.url != "" {
			out = append(out, p.url)
		}
		p.mu.Unlock()
	}
	return out
}

// at returns the address of one of the nodes that run, each in turn, as a balancer before them would; "" when ctx has ended.
func (f *fleet) at(ctx context.Context) string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if urls := f.urls(); len(urls) > 0 {
			return urls[f.turn.Add(1)%uint64(len(urls))]
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return ""
}

// load lets everybody loose on the fleet.
func (f *fleet) load(seed uint64) (stop func()) {
	return f.crowd().start(seed)
}

func (f *fleet) crowd() *crowd {
	p := f.nodes[0]
	return &crowd{t: f.t, at: f.at, twilio: p.twilio, sendgrid: p.sendgrid, ledger: p.ledger, patience: 12 * time.Second, client: http.DefaultClient}
}

// lives has the fleet work under load for a while, and end when everything is applied and sent, and all that repeats said is written.
func (f *fleet) lives(seed uint64, length time.Duration) {
	f.t.Helper()
	f.begin()
	stop := f.load(seed)
	sleepFor(f.t, length)
	stop()
	f.settle()
	f.stop()
}

// until waits for something; it looks often, and fails after the limit.
func (f *fleet) until(what string, limit time.Duration, is func() bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			f.stacks()
			f.t.Fatalf("after %s still not: %s", limit, what)
		}
	}
	return time.Since(began)
}

// stacks has the processes write their stacks into their logs, and end.
func (f *fleet) stacks() {
	for _, p := range f.nodes {
		if p.cmd != nil {
			_ = p.cmd.Process.Signal(quit) // it may have ended
		}
	}
}

// metric is the sum of a metric's values at one address; -1 where it is not to be had.
func (f *fleet) metric(url, name string) float64 {
	text, err := get(f.t.Context(), url+"/metrics", "")
	if err != nil {
		return -1
	}
	return sumOf(text, name)
}

func sumOf(text []byte, name string) (sum float64) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if n, _, _ := strings.Cut(series, "{"); n == name {
			v, _ := strconv.ParseFloat(value, 64)
			sum += v
		}
	}
	return sum
}

// sum is the sum of a metric over all nodes that run; -1 where one does not answer.
func (f *fleet) sum(name string) (sum float64) {
	for _, url := range f.urls() {
		v := f.metric(url, name)
		if v < 0 {
			return -1
		}
		sum += v
	}
	return sum
}

// working reports whether every partition has exactly one node that has loaded it.
func (f *fleet) working() bool {
	if f.sum("tocsin_correlate_partitions") != fleetPartitions {
		return false
	}
	for _, url := range f.urls() {
		ready, err := get(f.t.Context(), url+"/readyz", "")
		if err != nil || bytes.Contains(ready, []byte("loading")) {
			return false
		}
	}
	return true
}

// settle waits until all that was accepted is applied and nothing that is due is unsent, and stays so for two seconds.
func (f *fleet) settle() {
	f.t.Helper()
	quiet := 0
	const lease = 90 * time.Second // a page whose claim was committed without a word to its node waits for the end of that
	took := f.until("everything is applied and sent", lease+90*time.Second, func() bool {
		quiet++
		if quiet%2 == 0 {
			return false
		}
		if !f.working() {
			quiet = 0
			return false
		}
		for _, url := range f.urls() {
			left, err := f.nodes[0].unsettled(url)
			if err != nil || left != "" {
				quiet = 0
			}
		}
		return quiet > 40
	})
	f.t.Logf("settled in %s", took.Round(100*time.Millisecond))
}

// stop ends all nodes as an operator does, and returns the longest that one took.
func (f *fleet) stop() (longest time.Duration) {
	f.t.Helper()
	for _, p := range f.nodes {
		p.mu.Lock()
		runs := p.url != ""
		p.mu.Unlock()
		if runs {
			longest = max(longest, p.terminate())
		}
	}
	return longest
}

// audit holds what the database says against what everybody outside knows. No node runs.
func (f *fleet) audit() audit {
	f.t.Helper()
	p := f.nodes[0]
	all := slices.Clone(p.kills)
	for _, other := range f.nodes[1:] {
		all = append(all, other.kills...)
	}
	kills, born := p.kills, p.born
	p.kills, p.born = all, nil
	defer func() { p.kills, p.born = kills, born }()
	return p.audit()
}

// killed counts the kills of all nodes.
func (f *fleet) killed() (n int) {
	for _, p := range f.nodes {
		n += len(p.kills)
	}
	return n
}

// A watch looks at who works on each partition, and measures how long one is not worked on after its node is gone.
type watch struct {
	f    *fleet
	db   store.DB
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	parts map[int]store.Part
	waits []*wait
	took  []time.Duration
}

// A wait is for a partition whose node is gone.
type wait struct {
	store.Part
	since time.Time
	next  int64 // where its new owner found it; -1 before
}

// watch begins to look.
func (f *fleet) watch() *watch {
	f.t.Helper()
	db, err := f.many.open()
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	w := &watch{f: f, db: db, stop: cancel, parts: map[int]store.Part{}}
	w.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			w.look(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	f.t.Cleanup(w.end)
	return w
}

func (w *watch) end() {
	w.stop()
	w.done.Wait()
	_ = w.db.Close() // it was only read
}

func (w *watch) look(ctx context.Context) {
	var parts []store.Part
	err := w.db.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		return err
	})
	if err != nil {
		return // it is away: the next look may see it
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range parts {
		w.parts[p.Partition] = p
	}
	w.waits = slices.DeleteFunc(w.waits, func(x *wait) bool {
		p := w.parts[x.Partition]
		if p.Owner == x.Owner || p.Epoch == x.Epoch {
			return false
		}
		if x.next < 0 {
			x.next = p.NextOffset
		}
		if p.NextOffset == x.next {
			return false
		}
		w.took = append(w.took, now.Sub(x.since))
		return true
	})
}

// gone says that a node works no more since then, and returns how many partitions it had.
func (w *watch) gone(p *plant, since time.Time) (had int) {
	w.f.mu.Lock()
	name := w.f.names[p]
	w.f.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range w.parts {
		if part.Owner == name {
			had++
			w.waits = append(w.waits, &wait{part, since, -1})
		}
	}
	return had
}

// left is how many partitions are not worked on yet whose node is gone.
func (w *watch) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waits)
}

// figures are those of the kills so far.
func (w *watch) figures() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.took) == 0 {
		return "takeovers 0"
	}
	slices.Sort(w.took)
	at := func(q int) time.Duration { return w.took[(len(w.took)-1)*q/100].Round(10 * time.Millisecond) }
	return fmt.Sprintf("takeovers %d p50 %s p99 %s max %s", len(w.took), at(50), at(99), w.took[len(w.took)-1].Round(10*time.Millisecond))
}

// figures are what every case logs.
func (f *fleet) figures(seed uint64, sum audit) string {
	return fmt.Sprintf("seed %d kills %d accepted %d lost %d doubled %d pages %d extra %d (sms %d, unknown outcomes %d) acks %d state=fold %v",
		seed, f.killed(), sum.accepted, sum.lost, sum.doubled, sum.taken, sum.extra, sum.extraSMS, sum.unknown, sum.acks, sum.fold)
}

// door posts one alert to a node's door and returns the status and how long a sender is told to wait; 0 where nobody answered.
func (f *fleet) door(url string, i intent, patience time.Duration) (status int, retryAfter string) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v2/enqueue", bytes.NewReader(eventBody(i)))
	if err != nil {
		return 0, ""
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// logged reports whether a node's log has text.
func (p *plant) logged(text string) bool {
	b, err := os.ReadFile(filepath.Clean(p.log()))
	return err == nil && bytes.Contains(b, []byte(text))
}
