package app

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tocsin/paging/providertest"
)

// serveEnv names the configuration that a copy of this test program serves, as the real program would.
const serveEnv = "TOCSIN_TEST_SERVE"

func TestMain(m *testing.M) {
	path := os.Getenv(serveEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the test does, however that comes
		os.Exit(3)
	}()
	err := Serve(context.Background(), ServeOptions{
		Config: path, Stdout: io.Discard, Stderr: os.Stderr, Ready: func(addr string) { fmt.Println("ready", addr) },
		opened: func(a *App) { a.pager.Pace(2, 3*time.Second, 200*time.Millisecond) },
	}) // a minute here is so long
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// full reports whether the release's counts are asked for.
func full() bool { return os.Getenv("TOCSIN_FULL") != "" }

// seedOf is the seed of a run: that of TOCSIN_SEED, else a new one.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	var seed uint64
	_, err := fmt.Sscan(os.Getenv("TOCSIN_SEED"), &seed)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: run again with TOCSIN_SEED=%d", seed, seed)
	return seed
}

// A plant is a tocsin in a process of its own, that is killed and started again on the same data, and the world around it:
// its providers' doubles, and what its senders and people know.
type plant struct {
	t        *testing.T
	dir      string
	twilio   *providertest.Twilio
	sendgrid *providertest.SendGrid
	ledger   *ledger

	file   string     // its configuration, where it is not the one in dir
	name   string     // tells the nodes of a fleet apart; "" where there is only one
	many   *manyNodes // the storage that it shares with others; nil: it is embedded
	exe    string     // what is run; "": this test program
	files  int        // it may have open at once; 0: as this process
	as     *syscall.SysProcAttr
	cmd    *exec.Cmd
	exited chan error
	ready  []time.Duration // from the start of each process until its doors accepted
	kills  []time.Time
	born   []time.Time // when each process was started; nil: others work beside it

	mu    sync.Mutex
	url   string        // of the process that runs now; "" while none does
	comes chan struct{} // closed when the next one is ready
}

// newPlant writes the configuration; rules are those of the file.
func newPlant(t *testing.T, rules string) *plant {
	t.Helper()
	p := &plant{t: t, dir: t.TempDir(), ledger: newLedger(), comes: make(chan struct{})}
	var err error
	p.twilio, err = providertest.NewTwilio(accountID, "twilio-secret")
	if err != nil {
		t.Fatal(err)
	}
	p.sendgrid, err = providertest.NewSendGrid("SG.secret")
	if err != nil {
		t.Fatal(err)
	}
	tw, sg := httptest.NewServer(p.twilio), httptest.NewServer(p.sendgrid)
	t.Cleanup(tw.Close)
	t.Cleanup(sg.Close)
	writeWorld(t, p.config(), filepath.Join(p.dir, "data"), tw.URL, sg.URL, p.sendgrid.PublicKey(), rules)
	t.Cleanup(func() {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill() // it has ended, or must
		}
		if t.Failed() {
			t.Logf("the end of the processes' log:\n%s", tail(p.log(), 4000))
		}
	})
	return p
}

func (p *plant) config() string { return cmp.Or(p.file, filepath.Join(p.dir, "tocsin.yaml")) }
func (p *plant) data() string   { return filepath.Join(p.dir, "data") }
func (p *plant) log() string    { return filepath.Join(p.dir, "log"+p.name) }

// start starts a process and waits until its doors accept.
func (p *plant) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := p.command()
	p.born = append(p.born, time.Now())
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = cmd.StdinPipe() // it ends with us
	if err != nil {
		p.t.Fatal(err)
	}
	began := time.Now()
	err = cmd.Start()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.exited = cmd, make(chan error, 1)
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		p.t.Fatalf("the process did not become ready: %v, it said %q; it ended with %v\n%s", err, line, cmd.Wait(), tail(p.log(), 4000))
	}
	p.ready = append(p.ready, time.Since(began))
	go func() { p.exited <- cmd.Wait() }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url = "http://" + addr
	close(p.comes)
}

// command is a process that will serve.
func (p *plant) command() *exec.Cmd {
	exe := cmp.Or(p.exe, os.Args[0])
	cmd := exec.Command(exe)
	if p.files > 0 {
		cmd = exec.Command("/bin/sh", "-c", `ulimit -n "$0" && exec "$1"`, strconv.Itoa(p.files), exe)
	}
	cmd.Env = append(os.Environ(), serveEnv+"="+p.config())
	cmd.SysProcAttr = p.as
	return cmd
}

func (p *plant) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url, p.comes = "", make(chan struct{})
}

// kill ends the process as a power cut of this process alone would.
func (p *plant) kill() {
	p.t.Helper()
	select {
	case err := <-p.exited:
		p.t.Fatalf("the process ended by itself: %v", err)
	default:
	}
	err := p.cmd.Process.Kill()
	if err != nil {
		p.t.Fatal(err)
	}
	p.kills = append(p.kills, time.Now())
	p.down()
	<-p.exited
}

// terminate asks the process to end, and returns how long that took.
func (p *plant) terminate() time.Duration {
	p.t.Helper()
	began := time.Now()
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil {
		p.t.Fatal(err)
	}
	select {
	case err = <-p.exited:
	case <-time.After(40 * time.Second):
		p.t.Fatal("the process did not end within 40 s of SIGTERM")
	}
	p.down()
	if err != nil {
		p.t.Errorf("the process ended with %v after SIGTERM, want 0", err)
	}
	return time.Since(began)
}

// at returns the address of the process that runs, and waits for one; "" when ctx has ended.
func (p *plant) at(ctx context.Context) string {
	for {
		p.mu.Lock()
		url, comes := p.url, p.comes
		p.mu.Unlock()
		if ctx.Err() != nil {
			return ""
		}
		if url != "" {
			return url
		}
		select {
		case <-comes:
		case <-ctx.Done():
			return ""
		}
	}
}

// tail is the end of a file.
func tail(path string, most int) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	b = b[max(len(b)-most, 0):]
	return b[bytes.IndexByte(b, '\n')+1:]
}

// killRules keep every group in one incident for the whole run: then a second one is a doubled one.
const killRules = `
rules:
  - {name: pairs, matchers: ['class="pair"'], group_by: [service], window: 24h, reopen: 24h, quiet: 1s, group_wait: 1s, open_when: {alerts: 2}}
  - {name: all, group_by: [service], window: 24h, reopen: 24h, quiet: 1s}
majors:
  - {name: region, scope: [region], window: 24h, any: {incidents: 4}, priority: 2, decide_within: 2h, cooldown: 1s, escalation: managers}
`

// The kill loop: C1 to C10 and C14 of the fault catalogue by the real process, under load.
func TestKilledAtAnyMomentNothingIsLostAndNothingIsDoneTwice(t *testing.T) {
	seed := seedOf(t)
	kills, every, longest := 10, 10, 1200*time.Millisecond
	if full() {
		kills, every, longest = 200, 25, 2*time.Second
	}
	p := newPlant(t, killRules)
	r := rand.New(rand.NewPCG(seed, 0))
	p.start()
	var sum audit
	for len(p.kills) < kills && !t.Failed() {
		p.trouble(seed + uint64(len(p.kills)))
		stop := p.load(seed + uint64(len(p.kills)))
		for range every {
			sleepFor(t, 100*time.Millisecond+time.Duration(r.Int64N(int64(longest-100*time.Millisecond))))
			p.kill()
			p.start()
		}
		stop()
		p.calm()
		p.settle()
		p.terminate()
		sum = p.audit()
		if len(p.kills) < kills {
			p.start()
		}
	}
	slices.Sort(p.ready)
	t.Logf("seed %d kills %d accepted %d lost %d doubled %d pages %d extra %d (sms %d, unknown outcomes %d) acks %d ready p50 %s p99 %s state=fold %v", seed, len(p.kills),
		sum.accepted, sum.lost, sum.doubled, sum.taken, sum.extra, sum.extraSMS, sum.unknown, sum.acks,
		p.ready[len(p.ready)/2].Round(time.Millisecond), p.ready[len(p.ready)*99/100].Round(time.Millisecond), sum.fold)
}

// SIGTERM under load (C17): everything under way is finished, and what was not started waits for the next start.
func TestKillByTermUnderLoadFinishesWhatIsUnderWay(t *testing.T) {
	seed := seedOf(t)
	runs := 5
	if full() {
		runs = 50
	}
	p := newPlant(t, killRules)
	r := rand.New(rand.NewPCG(seed, 0))
	p.start()
	stop := p.load(seed)
	var longest time.Duration
	for range runs {
		sleepFor(t, 100*time.Millisecond+time.Duration(r.Int64N(int64(900*time.Millisecond))))
		took := p.terminate()
		longest = max(longest, took)
		if took > 25*time.Second {
			t.Errorf("it took %s to end, want at most 25 s", took)
		}
		p.start()
	}
	stop()
	p.settle()
	p.terminate()
	sum := p.audit()
	if sum.extra > 0 {
		t.Errorf("%d pages were sent twice, want none: nothing was killed and no provider failed", sum.extra)
	}
	t.Logf("seed %d runs %d accepted %d lost %d extra %d longest end %s", seed, runs, sum.accepted, sum.lost, sum.extra, longest.Round(time.Millisecond))
}

// sleepFor lets the load go on for a while.
func sleepFor(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// trouble lets the providers be slow, cut connections after and before they took a message, or not answer at all.
func (p *plant) trouble(seed uint64) {
	p.ail(rand.New(rand.NewPCG(seed, 7)), func(r *rand.Rand) providertest.Step {
		switch n := r.IntN(100); {
		case n < 30:
			return providertest.Step{Delay: time.Duration(r.IntN(300)) * time.Millisecond}
		case n < 33:
			return providertest.Step{Drop: true, Taken: true}
		case n < 36:
			return providertest.Step{Drop: true}
		case n < 39:
			return providertest.Step{Stall: true}
		}
		return providertest.Step{}
	})
}

// ail lets both providers do with each request what step draws.
func (p *plant) ail(r *rand.Rand, step func(*rand.Rand) providertest.Step) {
	var mu sync.Mutex
	script := func(int, providertest.Request) providertest.Step {
		mu.Lock()
		defer mu.Unlock()
		return step(r)
	}
	p.twilio.Script(script)
	p.sendgrid.Script(script)
}

func (p *plant) calm() {
	p.twilio.Script(nil)
	p.sendgrid.Script(nil)
}

// settle waits until all that was accepted is applied and nothing that is due is unsent.
func (p *plant) settle() {
	p.t.Helper()
	url := p.at(p.t.Context())
	began := time.Now()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	quiet := 0
	for quiet < 20 { // two seconds: what was short-lived has ended, and what that led to is due
		quiet++
		left, err := p.unsettled(url)
		if err != nil || left != "" {
			quiet = 0
		}
		select {
		case <-tick.C:
		case err = <-p.exited:
			p.t.Fatalf("the process ended by itself: %v", err)
		case <-deadline:
			_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its stacks go to the log
			<-p.exited
			p.t.Fatalf("a minute after the last event there is still %s, %v", left, err)
		}
	}
	p.t.Logf("settled in %s", time.Since(began).Round(100*time.Millisecond))
}

// whole waits until the state is loaded.
func (p *plant) whole() {
	p.t.Helper()
	url := p.at(p.t.Context())
	p.within(time.Minute, "the state is loaded", func() bool {
		ready, err := get(p.t.Context(), url+"/readyz", "")
		return err == nil && isWhole(ready)
	})
}

// isWhole reports whether an answer of /readyz says that nothing is being loaded.
func isWhole(ready []byte) bool {
	return bytes.Contains(ready, []byte("ok")) && !bytes.Contains(ready, []byte("loading"))
}

// unsettled says what is still to be done.
func (p *plant) unsettled(url string) (string, error) {
	metrics, err := get(p.t.Context(), url+"/metrics", "")
	if err != nil {
		return "", err
	}
	if !bytes.Contains(metrics, []byte("\ntocsin_journal_lag_events 0\n")) {
		return "lag", nil
	}
	ready, err := get(p.t.Context(), url+"/readyz", "")
	if err != nil || !isWhole(ready) {
		return "a load under way", err
	}
	var pages struct {
		Pages []struct{ ID, State, Channel string }
	}
	for _, state := range []string{"due", "claimed", "unknown"} {
		err = getJSON(p.t.Context(), url+"/api/v1/pages?state="+state, &pages)
		if err != nil || len(pages.Pages) > 0 {
			return fmt.Sprintf("%d pages %s", len(pages.Pages), state), err
		}
	}
	return "", nil
}
