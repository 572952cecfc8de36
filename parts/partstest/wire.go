package partstest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A Wire stands between a test and its server, and does to the connections what networks do.
type Wire struct {
	ln   net.Listener
	pass func(to io.Writer, b []byte, up bool) bool

	mu     sync.Mutex
	target string
	conns  []net.Conn
	ended  bool
	all    sync.WaitGroup
}

// NewWire stands before the server of a URL until the test ends, and returns the URL that leads through it. pass hands on what was read of a
// connection, to the server where it goes up, and reports whether the connection goes on; it is called by several goroutines.
func NewWire(t testing.TB, address string, pass func(to io.Writer, b []byte, up bool) bool) (w *Wire, through string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &Wire{ln: ln, pass: pass, target: u.Host}
	u.Host = ln.Addr().String()
	w.all.Go(func() { w.accept(context.WithoutCancel(t.Context())) }) // what ends last may still connect
	t.Cleanup(func() {
		_ = ln.Close() // accept ends with it
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		w.Cut()
		w.all.Wait()
	})
	return w, u.String()
}

// Lead leads new connections to another server, host:port, and cuts those that there are.
func (w *Wire) Lead(target string) {
	w.mu.Lock()
	w.target = target
	w.mu.Unlock()
	w.Cut()
}

// Cut ends all connections.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close() // the one that reads it notices
	}
	w.conns = nil
}

func (w *Wire) accept(ctx context.Context) {
	var d net.Dialer
	for {
		client, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		target := w.target
		w.mu.Unlock()
		server, err := d.DialContext(ctx, "tcp", target)
		if err != nil {
			_ = client.Close() // as if nobody listened
			continue
		}
		w.join(client, server)
	}
}

// join carries between two sides, unless the test has ended meanwhile.
func (w *Wire) join(client, server net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		_, _ = client.Close(), server.Close()
		return
	}
	w.conns = append(w.conns, client, server)
	w.all.Go(func() { w.carry(client, server, true) })
	w.all.Go(func() { w.carry(server, client, false) })
}

// carry brings bytes from one side to the other until one of them ends.
func (w *Wire) carry(from, to net.Conn, up bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !w.pass(to, buf[:n], up) {
			return
		}
		if err != nil {
			return
		}
	}
}

// Commits reports whether b, which a client sends to PostgreSQL, ends a transaction of ours.
func Commits(b []byte) bool { return bytes.Contains(b, []byte("; COMMIT\x00")) }
