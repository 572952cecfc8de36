package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"golang.org/x/time/rate"
)

// SASL mechanisms.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// SASL is how a broker is told who we are.
type SASL struct {
	Mechanism string // plain, scram-sha-256 or scram-sha-512; "" means that no broker asks
	Username  string
	Password  string
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil
	case Plain:
		return plain.Mechanism{Username: s.Username, Password: s.Password}, nil
	case ScramSHA256:
		return scram.Mechanism(scram.SHA256, s.Username, s.Password)
	case ScramSHA512:
		return scram.Mechanism(scram.SHA512, s.Username, s.Password)
	}
	return nil, fmt.Errorf("SASL mechanism %q is not known", s.Mechanism)
}

const (
	dialBurst = 8                // connections to one address that may be opened at once
	dialEvery = time.Second      // and then one each
	dialLimit = 3 * time.Second  // how long a broker may take to accept one
	silence   = 10 * time.Second // how long a broker may say nothing where kafka-go sets no limit of its own
)

// A dialer opens all connections to the brokers. However often it is asked, it tries an address at most once a second on average,
// and no connection waits for ever.
type dialer struct {
	every rate.Limit

	mu     sync.Mutex
	limits map[string]*rate.Limiter // by address; a cluster has few
}

func newDialer() *dialer {
	return &dialer{every: rate.Every(dialEvery), limits: map[string]*rate.Limiter{}}
}

func (d *dialer) limit(address string) *rate.Limiter {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.limits[address]
	if l == nil {
		l = rate.NewLimiter(d.every, dialBurst)
		d.limits[address] = l
	}
	return l
}

// dial opens a connection, once it is address's turn.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	err := d.limit(address).Wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: tried too often, not again yet: %w", address, err)
	}
	nd := net.Dialer{Timeout: dialLimit, KeepAlive: 15 * time.Second}
	c, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: c}, nil
}

// A boundedConn always has a deadline: where kafka-go clears it, the SASL exchange would follow without any.
type boundedConn struct{ net.Conn }

func bounded(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now().Add(silence)
	}
	return t
}

func (c *boundedConn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(bounded(t)) }
func (c *boundedConn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(bounded(t)) }
func (c *boundedConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(bounded(t)) }

// A groupDialer is the dialer of the consumer group, which speaks to its coordinator by a connection of its own. It keeps one
// connection at a time: the group dials only when it has no more use for the one before.
type groupDialer struct {
	d    *dialer
	over chan struct{} // closed when no more is to be opened

	mu     sync.Mutex
	last   net.Conn
	closed bool
}

var errGroupClosed = errors.New("the group is closed")

func newGroupDialer(d *dialer) *groupDialer { return &groupDialer{d: d, over: make(chan struct{})} }

func (g *groupDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.drop(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-g.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	c, err := g.d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		_ = c.Close()
		return nil, errGroupClosed
	}
	g.last = c
	return c, nil
}

// drop closes the connection there is; for good, no other is opened.
func (g *groupDialer) drop(forGood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if forGood && !g.closed {
		g.closed = true
		close(g.over)
	}
	if g.last != nil {
		_ = g.last.Close() // kafka-go closes it once more
		g.last = nil
	}
}
