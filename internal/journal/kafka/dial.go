package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
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
	dialBurst    = 12                      // connections to one address that may be opened at once
	dialEvery    = time.Second             // and then one each
	dialLanes    = 2                       // connections of the Transport to one broker, for produce requests and for fetches
	dialQuestion = 1                       // and for what it asks itself; the group has one more
	dialLimit    = 3 * time.Second         // how long a broker may take to accept one
	dialWorth    = 1500 * time.Millisecond // a connection that was used so long does not count
	dialFarewell = 50 * time.Millisecond
	dialPatience = 2 * dialEvery    // how long the group waits until it may open one to a broker that is there
	silence      = 10 * time.Second // how long a broker may say nothing where kafka-go sets no limit of its own
)

// A dialer opens all connections to the brokers. However often it is asked, connections to one address that fail, or are soon closed
// again, are opened at most once a second on average; between them it says at once what was wrong.
type dialer struct {
	mu       sync.Mutex
	accounts map[string]*account // by address; a cluster has few
	real     map[string]string   // by address: where its last connection led. Two names may be one broker's
	open     map[seat]int        // connections of the Transport

	live sync.WaitGroup // connections that are open
}

// A seat is where a connection of the Transport leads, and which of its own it is: none of one kind takes the place of the other,
// for the Transport keeps them apart, too, and what it has no use for stays open for half a minute.
type seat struct {
	place    string // host:port
	question bool   // for what the Transport asks itself
}

// most is how many connections there may be at once.
func (s seat) most() int {
	if s.question {
		return dialQuestion
	}
	return dialLanes
}

// seedNetwork is the network of the addresses that the Transport is given. To the brokers that it learns of by them it says tcp.
const seedNetwork = "seed"

// seeds are the addresses of brokers as the Transport is given them: by the network the dialer knows what it opens a connection for.
type seeds []string

// Network returns seed, as often as there are addresses.
func (s seeds) Network() string {
	return strings.TrimSuffix(strings.Repeat(seedNetwork+",", len(s)), ",")
}

// String returns the addresses, each with its port.
func (s seeds) String() string { return kafka.TCP(s...).String() }

// An account says how many connections to an address may be opened now.
type account struct {
	left float64
	at   time.Time // when left was true
	err  error     // of the last that failed
	up   bool      // the last one did not
}

// errFull means that the Transport wants a connection more than it may have: between two requests it may take the one that was just
// used for one that is still in use.
var errFull = errors.New("no connection more")

// why returns what a connection last failed of, where err says only that time has passed.
func (d *dialer) why(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for address, a := range d.accounts {
		if a.err != nil && errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: %w", address, a.err)
		}
	}
	return err
}

// enter takes one of the Transport's places at the broker behind address, and says which.
func (d *dialer) enter(address string, question bool) (at seat, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at = seat{cmp.Or(d.real[address], address), question}
	if d.open[at] >= at.most() {
		d.accounts[address].left++
		return seat{}, errFull
	}
	d.open[at]++
	return at, nil
}

// led notes where the connection of a place has led, and returns its place by that.
func (d *dialer) led(address string, at seat, to net.Addr) seat {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.real[address] = to.String()
	d.out(at)
	at.place = to.String()
	d.open[at]++
	return at
}

func (d *dialer) leave(at seat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out(at)
}

func (d *dialer) out(at seat) {
	d.open[at]--
	if d.open[at] == 0 {
		delete(d.open, at)
	}
}

func newDialer() *dialer {
	return &dialer{accounts: map[string]*account{}, real: map[string]string{}, open: map[seat]int{}}
}

// spend takes one from the account of address, or returns why there is none.
func (d *dialer) spend(address string, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.accounts[address]
	if a == nil {
		a = &account{left: dialBurst, at: now}
		d.accounts[address] = a
	}
	a.left = min(dialBurst, a.left+float64(now.Sub(a.at))/float64(dialEvery))
	a.at = now
	if a.left < 1 {
		err := errors.New("not again within a second")
		if a.err != nil {
			err = fmt.Errorf("%w: %w", err, a.err)
		}
		return &retryError{fmt.Errorf("dial %s: %w", address, err)}
	}
	a.left--
	return nil
}

// settle gives one back if err is nil, and otherwise remembers why it is spent.
func (d *dialer) settle(address string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.accounts[address]
	if err == nil {
		a.left++
	} else {
		a.err, a.up = err, false
	}
}

// opened remembers that a connection could be.
func (d *dialer) opened(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accounts[address].up = true
}

func (d *dialer) isUp(address string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accounts[address].up
}

// dial opens a connection of the Transport: one for produce requests, one for fetches, and one to one of the brokers for what it asks itself.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	err := d.spend(address, time.Now())
	if err != nil {
		return nil, err
	}
	at, err := d.enter(address, network == seedNetwork)
	if err != nil {
		return nil, err
	}
	c, err := d.connect(ctx, "tcp", address)
	if err != nil {
		d.leave(at)
		return nil, err
	}
	at = d.led(address, at, c.RemoteAddr())
	c.closed = func() { d.leave(at) }
	return c, nil
}

// connect opens a connection that is paid for.
func (d *dialer) connect(ctx context.Context, network, address string) (*boundedConn, error) {
	nd := net.Dialer{Timeout: dialLimit, KeepAlive: 15 * time.Second}
	c, err := nd.DialContext(ctx, network, address)
	if err != nil {
		d.settle(address, err)
		return nil, err
	}
	d.opened(address)
	d.live.Add(1)
	return &boundedConn{Conn: c, d: d, address: address, since: time.Now(), closed: func() {}}, nil
}

// A boundedConn always has a deadline: where kafka-go clears it, the SASL exchange would follow without any.
type boundedConn struct {
	net.Conn
	d       *dialer
	address string
	since   time.Time
	closed  func()      // called when it is
	read    atomic.Bool // something was
	once    sync.Once
}

func (c *boundedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.read.Load() {
		c.read.Store(true)
	}
	return n, err
}

func (c *boundedConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		switch {
		case !c.read.Load():
			c.d.settle(c.address, errors.New("the broker said nothing"))
		case time.Since(c.since) >= dialWorth:
			c.d.settle(c.address, nil)
		}
		c.farewell()
		err = c.Conn.Close()
		c.closed()
		c.d.live.Done()
	})
	return err
}

// farewell waits a moment until the broker has ended its side, so that it does not see this connection beside the one that is opened next.
func (c *boundedConn) farewell() {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || !c.read.Load() || tcp.CloseWrite() != nil || tcp.SetReadDeadline(time.Now().Add(dialFarewell)) != nil {
		return
	}
	var rest [512]byte
	for {
		_, err := tcp.Read(rest[:])
		if err != nil {
			return
		}
	}
}

func bounded(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now().Add(silence)
	}
	return t
}

func (c *boundedConn) SetDeadline(t time.Time) error     { return c.Conn.SetDeadline(bounded(t)) }
func (c *boundedConn) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(bounded(t)) }

func (c *boundedConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(bounded(t)) }

// A groupDialer is the dialer of the consumer group, which speaks to its coordinator by a connection of its own. It keeps one
// connection at a time: the group dials only when it has no more use for the one before.
type groupDialer struct {
	d       *dialer
	leaving <-chan struct{} // closed when the group is to be left: then nothing is waited for

	mu     sync.Mutex
	last   net.Conn
	closed bool
}

var errGroupClosed = errors.New("the group is closed")

func (g *groupDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.drop(false)
	err := g.spend(ctx, address)
	if err != nil {
		return nil, err
	}
	c, err := g.d.connect(ctx, network, address)
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

// spend takes one from the account of address, and waits for it where the broker is there: to join takes two connections, one after
// the other. Would the second fail at once for want of what the first took, then each try would end so, for ever.
func (g *groupDialer) spend(ctx context.Context, address string) error {
	limit := time.NewTimer(dialPatience)
	defer limit.Stop()
	tick := time.NewTicker(dialEvery / 10)
	defer tick.Stop()
	for {
		err := g.d.spend(address, time.Now())
		if err == nil || !g.d.isUp(address) {
			return err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return err
		case <-g.leaving:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// drop closes the connection there is; for good, no other is opened.
func (g *groupDialer) drop(forGood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = g.closed || forGood
	if g.last != nil {
		_ = g.last.Close() // kafka-go closes it once more
		g.last = nil
	}
}
