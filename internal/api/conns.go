package api

import (
	"container/list"
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

	mu      sync.Mutex
	open    int
	waiting *list.List // of net.Conn: those without a request under way, longest first
	place   map[net.Conn]*list.Element
	gone    map[net.Conn]bool // let go, and not closed yet by whoever serves it
	letGo   int               // since the last warning
	warned  time.Time
}

func newConns(most int, log *slog.Logger) *conns {
	return &conns{most: most, log: log, waiting: list.New(), place: map[net.Conn]*list.Element{}, gone: map[net.Conn]bool{}}
}

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
	over := s == http.StateClosed || s == http.StateHijacked
	if c.gone[conn] {
		if over {
			delete(c.gone, conn)
		}
		return nil
	}
	if e := c.place[conn]; e != nil {
		c.waiting.Remove(e)
		delete(c.place, conn)
	}
	switch {
	case over:
		c.open--
	case s == http.StateNew:
		c.open++
		c.place[conn] = c.waiting.PushBack(conn)
	case s == http.StateIdle:
		c.place[conn] = c.waiting.PushBack(conn)
	}
	if s != http.StateNew || c.open <= c.most {
		return nil
	}
	first := c.waiting.Front()
	out = first.Value.(net.Conn) //nolint:forcetypeassert // nothing else is put in
	c.waiting.Remove(first)
	delete(c.place, out)
	c.gone[out] = true
	c.open--
	c.letGo++
	if now := time.Now(); now.Sub(c.warned) >= letGoAfter {
		c.log.Warn("too many clients are connected: those that say nothing are let go", "open", c.open, "most", c.most, "let_go", c.letGo)
		c.warned, c.letGo = now, 0
	}
	return out
}
