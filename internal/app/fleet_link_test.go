//go:build !race

package app

import (
	"io"
	"sync"
	"testing"

	"tocsin/parts/partstest"
)

// A link stands between nodes and their database. While it is held it takes everything and brings nothing, as a network does that
// drops what it should carry; afterwards all of it arrives.
type link struct {
	mu     sync.Mutex
	held   chan struct{} // closed when it carries again; nil while it does
	commit func() cut    // what becomes of each COMMIT; nil: nothing
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
	l = new(link)
	_, through = partstest.NewWire(t, dsn, l.pass)
	t.Cleanup(l.carryOn) // before the wire waits for those who are held
	return l, through
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

// pass hands on what was read, and reports whether the connection goes on.
func (l *link) pass(to io.Writer, b []byte, up bool) bool {
	l.mu.Lock()
	held, what := l.held, whole
	if l.commit != nil && up && partstest.Commits(b) {
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
