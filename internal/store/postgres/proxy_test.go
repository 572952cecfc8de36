package postgres_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A proxy stands between a test and its server, and does to the connections what networks do.
type proxy struct {
	t  testing.TB
	ln net.Listener

	mu     sync.Mutex
	target string
	mode   fault
	conns  []net.Conn
	all    sync.WaitGroup
}

type fault int

const (
	healthy    fault = iota
	swallowing       // nothing comes through, and nobody is told
	cutBefore        // the next COMMIT does not arrive
	cutAfter         // the next COMMIT arrives, its answer does not
)

// newProxy stands before the server of dsn, and returns the address that leads through it.
func newProxy(t testing.TB, dsn string) (p *proxy, through string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{t: t, ln: ln, target: u.Host}
	u.Host = ln.Addr().String()
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close() // accept ends with it
		p.cut()
		p.all.Wait()
	})
	return p, u.String()
}

func (p *proxy) set(mode fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
}

// lead leads new connections to another server, and cuts those that there are.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close() // the one that reads it notices
	}
	p.conns = nil
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close() // as if nobody listened
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.all.Go(func() { p.carry(client, server, true) })
		p.all.Go(func() { p.carry(server, client, false) })
	}
}

// carry brings bytes from one side to the other until one of them ends.
func (p *proxy) carry(from, to net.Conn, up bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.pass(to, buf[:n], up) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass hands on what was read, and reports whether the connection goes on.
func (p *proxy) pass(to io.Writer, b []byte, up bool) bool {
	p.mu.Lock()
	mode := p.mode
	commit := up && bytes.Contains(b, []byte("; COMMIT\x00"))
	if commit && (mode == cutBefore || mode == cutAfter) {
		p.mode = healthy
	}
	p.mu.Unlock()
	switch {
	case mode == swallowing:
		return true
	case commit && mode == cutBefore:
		return false
	case commit && mode == cutAfter:
		_, _ = to.Write(b) // the server ends the transaction, and then finds nobody to tell
		return false
	}
	_, err := to.Write(b)
	return err == nil
}
