//go:build !race

package app

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A link stands between nodes and their database. While it is held it takes everything and brings nothing, as a network does that
// drops what it should carry; afterwards all of it arrives.
type link struct {
	ln     net.Listener
	target string

	mu     sync.Mutex
	held   chan struct{} // closed when it carries again; nil while it does
	conns  []net.Conn
	commit func() cut // what becomes of each COMMIT; nil: nothing
	all    sync.WaitGroup
}

type cut int

const (
	whole     cut = iota
	cutBefore     // the COMMIT does not arrive
	cutAfter      // it arrives, its answer does not
)

// newLink stands before the server of dsn, and returns the address that leads through it.
func newLink(t *testing.T, dsn string) (l *link, through string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l = &link{target: u.Host}
	l.ln, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.ln.Addr().String()
	l.all.Go(l.accept)
	t.Cleanup(func() {
		_ = l.ln.Close() // accept ends with it
		l.carryOn()
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close() // who reads it notices
		}
		l.mu.Unlock()
		l.all.Wait()
	})
	return l, u.String()
}

// hold lets nothing through until carryOn.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(chan struct{})
	}
}

func (l *link) carryOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		close(l.held)
		l.held = nil
	}
}

// atCommit sets what becomes of each COMMIT from now on.
func (l *link) atCommit(what func() cut) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commit = what
}

func (l *link) accept() {
	for {
		client, err := l.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = client.Close() // as if nobody listened
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, client, server)
		l.mu.Unlock()
		l.all.Go(func() { l.carry(client, server, true) })
		l.all.Go(func() { l.carry(server, client, false) })
	}
}

// carry brings bytes from one side to the other until one of them ends.
func (l *link) carry(from, to net.Conn, up bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.pass(to, buf[:n], up) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass hands on what was read, and reports whether the connection goes on.
func (l *link) pass(to io.Writer, b []byte, up bool) bool {
	l.mu.Lock()
	held, what := l.held, whole
	if l.commit != nil && up && bytes.Contains(b, []byte("; COMMIT\x00")) {
		what = l.commit()
	}
	l.mu.Unlock()
	if held != nil {
		<-held
	}
	if what == cutBefore {
		return false
	}
	_, err := to.Write(b)
	return err == nil && what != cutAfter
}
