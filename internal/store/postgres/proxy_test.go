package postgres_test

import (
	"io"
	"sync"
	"testing"

	"tocsin/parts/partstest"
)

// A proxy is a wire that fails as it is set to.
type proxy struct {
	*partstest.Wire

	mu   sync.Mutex
	mode fault
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
	p = new(proxy)
	p.Wire, through = partstest.NewWire(t, dsn, p.pass)
	return p, through
}

func (p *proxy) set(mode fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
}

// pass hands on what was read, and reports whether the connection goes on.
func (p *proxy) pass(to io.Writer, b []byte, up bool) bool {
	p.mu.Lock()
	mode := p.mode
	commit := up && partstest.Commits(b)
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
