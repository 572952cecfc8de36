package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowdOf serves handler on loopback to at most most clients.
func crowdOf(t *testing.T, handler http.Handler, most int) (dial func() net.Conn, logged func() string) {
	t.Helper()
	var mu sync.Mutex
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return b.Write(p) }), nil))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(handler, log, most)
	ended := make(chan struct{})
	ready := counted{ln, make(chan struct{}, 1000)}
	go func() { defer close(ended); _ = srv.Serve(ready) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	<-ready.asks
	dial = func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		<-ready.asks                                          // the server knows this one: it waits for the next
		err = c.SetDeadline(time.Now().Add(30 * time.Second)) // so that a failure is no hang
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return dial, func() string { mu.Lock(); defer mu.Unlock(); return b.String() }
}

// counted tells of each time that a server waits for one more client.
type counted struct {
	net.Listener
	asks chan struct{}
}

func (c counted) Accept() (net.Conn, error) {
	c.asks <- struct{}{}
	return c.Listener.Accept()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// ask sends a request and returns the answer's first line.
func ask(t *testing.T, c net.Conn) string {
	t.Helper()
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil {
		return err.Error()
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// N4: the connections are bounded, and those who say nothing are in nobody's way.
func TestOneClientTooManyTakesThePlaceOfTheOneThatHasBeenSilentLongest(t *testing.T) {
	dial, logged := crowdOf(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), 8)
	var silent []net.Conn
	for range 8 {
		silent = append(silent, dial())
	}
	if got := ask(t, silent[0]); got != "HTTP/1.1 200 OK" { // so it is not the one that has been silent longest
		t.Fatalf("a client is answered %q", got)
	}
	for _, out := range silent[1:] {
		if got := ask(t, dial()); got != "HTTP/1.1 200 OK" {
			t.Fatalf("one more client is answered %q", got)
		}
		_, err := out.Read(make([]byte, 1))
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the one that has been silent longest reads %v, want it let go", err)
		}
	}
	if got := ask(t, silent[0]); got != "HTTP/1.1 200 OK" {
		t.Errorf("one that was not silent is answered %q", got)
	}
	if n := strings.Count(logged(), "too many clients are connected"); n != 1 {
		t.Errorf("it is said %d times, want once a minute", n)
	}
}

func TestAClientWithARequestUnderWayIsNotLetGo(t *testing.T) {
	begun, release := make(chan struct{}, 8), make(chan struct{})
	dial, _ := crowdOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-release
		_, _ = io.Copy(w, r.Body)
	}), 4)
	answers := make(chan string)
	for range 4 {
		c := dial()
		go func() { answers <- ask(t, c) }()
		<-begun
	}
	late := dial()
	_, err := late.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more reads %v, want it let go at once", err)
	}
	close(release)
	for range 4 {
		if got := <-answers; got != "HTTP/1.1 200 OK" {
			t.Errorf("a client with a request under way is answered %q", got)
		}
	}
	if got := ask(t, dial()); got != "HTTP/1.1 200 OK" {
		t.Errorf("after them another one is answered %q", got)
	}
}

func TestFilesAreKeptForWhatIsNoClient(t *testing.T) {
	got := map[int]int{}
	for _, files := range []int{64, 256, 1024, 4096, 1 << 20} {
		got[files] = connsFor(files)
	}
	if want := map[int]int{64: 16, 256: 64, 1024: 768, 4096: 3840, 1 << 20: mostConns}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("clients by files: %v, want %v", got, want)
	}
}
