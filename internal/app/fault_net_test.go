package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dial opens a connection to the process that runs.
func (p *plant) dial() net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.at(p.t.Context()), "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	err = c.SetDeadline(time.Now().Add(2 * faultPatience)) // so that a failure is no hang
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// slowly opens n connections whose requests never end, in the head or in the body.
func (p *plant) slowly(n int, body bool) (conns []net.Conn) {
	p.t.Helper()
	for i := range n {
		c := p.dial()
		begin := "POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nX-"
		if body {
			begin = "POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + promToken + "\r\nContent-Length: 100000\r\n\r\n[{"
		}
		_, err := io.WriteString(c, begin)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) { // it may have been let go
			p.t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
	}
	return conns
}

// memory is the process's resident memory in bytes; 0 where the system does not say.
func (p *plant) memory() int64 {
	p.t.Helper()
	return p.inMemory("VmRSS:")
}

// peak is the most that its resident memory ever was.
func (p *plant) peak() int64 {
	p.t.Helper()
	return p.inMemory("VmHWM:")
}

func (p *plant) inMemory(field string) int64 {
	p.t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kb << 10
		}
	}
	return 0
}

// N4
func TestAThousandSlowClientsAreInNobodysWayAndAreLetGo(t *testing.T) {
	p := newPlant(t, killRules)
	p.start()
	p.mustFire(40, 0)
	before := p.memory()
	slow := append(p.slowly(500, false), p.slowly(500, true)...)
	var took []time.Duration
	for n := range 200 {
		began := time.Now()
		status, _ := p.fires(42, n%perEvents)
		took = append(took, time.Since(began))
		if status != http.StatusAccepted {
			t.Fatalf("beside the slow ones an event is answered %d, want 202", status)
		}
	}
	grown := p.memory() - before
	if most := int64(64 << 20); grown > most && !raced {
		t.Errorf("with them it takes %d MiB more, want at most %d", grown>>20, most>>20)
	}
	for n, c := range slow {
		_, err := io.Copy(io.Discard, c) // until the server closes it
		if timeout, is := errors.AsType[net.Error](err); is && timeout.Timeout() {
			t.Fatalf("slow client %d is still connected", n)
		}
	}
	p.settle()
	p.terminate()
	p.audit()
	p.noPanic()
	slices.Sort(took)
	t.Logf("memory +%d MiB; beside them an event took p50 %s p99 %s", grown>>20, took[len(took)/2], took[len(took)*99/100])
}

// F11
func TestWithoutFilesToOpenClientsAreLetGoAndPagingGoesOn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: this system has no limit of open files")
	}
	p := newPlant(t, killRules)
	p.files = 64
	p.start()
	first := p.mustFire(40, 0)
	var slow []net.Conn
	for n := range 5 { // those who say nothing at all are in nobody's way
		slow = append(slow, p.slowly(40, false)...)
		p.commands(p.mustFire(42+2*n, 0), "note", "p40")
	}
	p.commands(first, "ack", "p40")
	status, _ := p.fires(52, 0)
	if status != http.StatusAccepted {
		t.Fatalf("an event is answered %d, want 202", status)
	}
	slow = append(slow, p.slowly(100, true)...) // those who have begun keep newcomers out, but not what is under way
	p.until("all are paged", func() bool {
		return p.paged(40) && p.paged(42) && p.paged(44) && p.paged(46) && p.paged(48) && p.paged(50) && p.paged(52)
	})
	for _, c := range slow {
		_ = c.Close()
	}
	p.until("an event is accepted when they have gone", func() bool {
		i := intent{key: "pd-s60-0", service: 60, says: fires, severity: "critical"}
		ctx, cancel := context.WithTimeout(t.Context(), faultPatience)
		defer cancel()
		c := crowd{t: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
		status, _, err := c.post(ctx, p.at(ctx)+"/v2/enqueue", "", eventBody(i))
		p.ledger.said([]intent{i}, err == nil && status == http.StatusAccepted)
		return err == nil && status == http.StatusAccepted
	})
	p.settle()
	p.terminate()
	p.audit()
	p.noPanic()
	if said := p.said(); !bytes.Contains(said, []byte("too many clients are connected")) {
		t.Error("nothing is said of too many clients")
	}
}

// N7: what can be wrong with HTTP itself. Nothing of it is an event, and the next sender is served.
func TestOddRequestsAreRefusedAndNothingOfThemIsAnEvent(t *testing.T) {
	r := newStory(t)
	odd := fmt.Sprintf(`{"routing_key":%q,"event_action":"trigger","dedup_key":"odd","payload":{"summary":"odd","source":"db-1","severity":"critical"}}`, pdKey)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(odd))
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(odd), odd)
	const head = "POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	const chunked = "Transfer-Encoding: chunked\r\n"
	for name, tc := range map[string]struct{ sends, want string }{
		"a megabyte of one header":             {head + "X: " + strings.Repeat("x", 1<<20) + "\r\n" + length + "\r\n" + odd, "431"},
		"a megabyte of short headers":          {head + strings.Repeat("X: y\r\n", 1<<20/6) + length + "\r\n" + odd, "431"},
		"a request line of a megabyte":         {"POST /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + odd, "431"},
		"two lengths that differ":              {head + length + "Content-Length: 3\r\n\r\n" + odd, "400"},
		"a negative length":                    {head + "Content-Length: -1\r\n\r\n" + odd, "400"},
		"a length that is no number":           {head + "Content-Length: 1e3\r\n\r\n" + odd, "400"},
		"a length with a sign":                 {head + "Content-Length: +" + strconv.Itoa(len(odd)) + "\r\n\r\n" + odd, "400"},
		"a coding of the transfer nobody has":  {head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk, "501"},
		"chunked twice":                        {head + chunked + chunked + "\r\n" + chunk, "501"},
		"a chunk whose length is no number":    {head + chunked + "\r\nxyz\r\n" + odd + "\r\n0\r\n\r\n", "400"},
		"a chunk longer than any":              {head + chunked + "\r\nfffffffffffffffff\r\n" + odd, "400"},
		"a space before the colon":             {head + "Content-Length : 3\r\n\r\n" + odd, "400"},
		"a header without a name":              {head + ": x\r\n" + length + "\r\n" + odd, "400"},
		"a header that goes on in a next line": {head + "X: a\r\n b\r\n\tc\x00\r\n" + length + "\r\n" + odd, "400"},
		"no host":                              {"POST /v2/enqueue HTTP/1.1\r\n" + length + "\r\n" + odd, "400"},
		"two hosts":                            {head + "Host: y\r\n" + length + "\r\n" + odd, "400"},
		"no version":                           {"POST /v2/enqueue\r\n" + length + "\r\n" + odd, "400"},
		"a version that is none":               {"POST /v2/enqueue HTTP/1.2.3\r\nHost: x\r\n" + length + "\r\n" + odd, "400"},
		"HTTP/2 without TLS":                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "505"},
		"a method that is none":                {"P(ST /v2/enqueue HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + odd, "400"},
		"a method of another case":             {"post /v2/enqueue HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + odd, "405"},
		"TLS":                                  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"nothing that is HTTP":                 {strings.Repeat("\x00\xff", 5000) + "\r\n\r\n", "400"},
		"a body that ends too soon":            {head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(odd)+1) + odd, "400"},
		"chunks that end too soon":             {head + chunked + "\r\n" + strings.TrimSuffix(chunk, "0\r\n\r\n"), "400"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := r.sends(t, tc.sends); got != tc.want {
				t.Errorf("it is answered %s, want %s", got, tc.want)
			}
		})
	}
	t.Run("a length and chunks: the chunks count, and the connection ends, so that nothing hides behind them", func(t *testing.T) {
		hidden := head + "Content-Length: 3\r\n" + chunked + "\r\n0\r\n\r\n" + head + length + "\r\n" + odd
		got, rest := r.sends(t, hidden)
		if got != "400" || strings.Contains(rest, "HTTP/1.1") {
			t.Errorf("it is answered %s and then %q, want 400 for the empty body and no second answer", got, rest)
		}
	})
	if is := r.incidents(); len(is) != 0 {
		t.Errorf("of odd requests there are incidents: %+v", is)
	}
	r.lag("good", "critical", "db-main", "replication lag 340s")
	r.phone("one").waits("db-main")
}

// sends sends raw bytes, ends its own side, and returns the status of the first answer and all that came behind its first line.
func (r *rig) sends(t *testing.T, raw string) (status, rest string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.SetDeadline(time.Now().Add(faultPatience))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(c, raw)     // the server may have closed it, with reason
		_ = c.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it is one
	}()
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) < 2 {
		t.Fatalf("it is answered %q, %v", line, err)
	}
	b, _ := io.ReadAll(in) // a reset ends it, too
	return words[1], string(b)
}
