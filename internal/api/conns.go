package api

import (
	"container/ring"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	mostConns  = 8192        // clients that are connected at once; each takes some 20 KiB
	keptFiles  = 256         // files that are not for clients: of the journal, of the state, and the connections to providers
	letGoAfter = time.Minute // a warning is not repeated sooner
)

// connsFor is how many clients may be connected where a process may have so many files open.
func connsFor(files int) int { return min(max(files/4, files-keptFiles), mostConns) }

// conns bounds how many clients are connected. Where one more comes, the one goes that has been connected longest without a request under
// way: whoever sends what it has to say is not kept out by many who say nothing. When all have requests under way the new one goes.
type conns struct {
	most int
	log  *slog.Logger

	mu     sync.Mutex
	open   int // without those that were let go
	known  map[net.Conn]*client
	first  *ring.Ring // before those without a request under way, longest first
	letGo  int        // since the last warning
	warned time.Time
}

// A client is one connection. It stands in the ring while it has no request under way.
type client struct {
	conn  net.Conn
	place *ring.Ring // alone while it does not wait
	gone  bool       // let go, and not closed yet by whoever serves it
}

func newConns(most int, log *slog.Logger) *conns {
	return &conns{most: most, log: log, known: map[net.Conn]*client{}, first: ring.New(1)}
}

// wait puts x behind those that wait.
func (c *conns) wait(x *client) { c.first.Prev().Link(x.place) }

// leave takes x out of those that wait, if it is there.
func (x *client) leave() { x.place.Prev().Unlink(1) }

// state is for http.Server: it is told of each connection what becomes of it.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	if out := c.note(conn, s); out != nil {
		_ = out.Close() // its own goroutine sees that, and reports it
	}
}

// note returns the connection that has to go now; nil: none.
func (c *conns) note(conn net.Conn, s http.ConnState) (out net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.known[conn]
	if x == nil {
		x = &client{conn: conn, place: ring.New(1)}
		x.place.Value = x
		c.known[conn] = x
		c.open++
	}
	x.leave()
	switch {
	case s == http.StateClosed || s == http.StateHijacked:
		delete(c.known, conn)
		if !x.gone {
			c.open--
		}
	case x.gone: // its end is to come
	case s == http.StateNew:
		c.wait(x)
		if c.open > c.most {
			return c.dismiss()
		}
	case s == http.StateIdle:
		c.wait(x)
	}
	return nil
}

// dismiss lets the first of those go that wait; there is one.
func (c *conns) dismiss() net.Conn {
	x := c.first.Next().Value.(*client) //nolint:forcetypeassert // nothing else is put in
	x.leave()
	x.gone = true
	c.open--
	c.letGo++
	if now := time.Now(); now.Sub(c.warned) >= letGoAfter {
		c.log.Warn("too many clients are connected: those that say nothing are let go", "open", c.open, "most", c.most, "let_go", c.letGo)
		c.warned, c.letGo = now, 0
	}
	return x.conn
}
