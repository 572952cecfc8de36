package kafka

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/internal/journal"
)

// A counter is a listener that counts its connections.
type counter struct {
	net.Listener
	open, most, all atomic.Int64
}

func (c *counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.all.Add(1)
	n := c.open.Add(1)
	for most := c.most.Load(); most < n && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return &counted{Conn: conn, c: c}, nil
}

type counted struct {
	net.Conn
	c    *counter
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.c.open.Add(-1) })
	return c.Conn.Close()
}

// K14
func TestANodeHasAtMostFourConnectionsToABroker(t *testing.T) {
	t.Run("named as it calls itself", func(t *testing.T) { fourConnections(t, func(address string) string { return address }) })
	t.Run("named otherwise", func(t *testing.T) {
		fourConnections(t, func(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) })
	})
}

func fourConnections(t *testing.T, name func(address string) string) {
	t.Helper()
	var mu sync.Mutex
	var listeners []*counter
	c := fake(t, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		ln, err := net.Listen(network, address)
		l := &counter{Listener: ln}
		mu.Lock()
		listeners = append(listeners, l)
		mu.Unlock()
		return l, err
	}))
	opts := options(t, c)
	opts.Partitions, opts.Feeds = 12, []string{"tocsin.incidents"}
	for n, b := range opts.Brokers {
		opts.Brokers[n] = name(b)
	}
	j := open(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	var read atomic.Int64
	shared := make(chan error, 1)
	go func() {
		shared <- j.Share(ctx, func(ctx context.Context, c journal.Claim) error {
			r, err := j.Read(c.Partition, 0)
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }()
			for {
				entries, err := r.Next(ctx, 1<<20)
				if err != nil {
					return err
				}
				read.Add(int64(len(entries)))
				c.Passed(entries[len(entries)-1].Offset + 1)
			}
		})
	}()
	const requests, writers = 10_000, 64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < requests; i += writers {
				_, err := j.Append(t.Context(), i%12, journal.Entry{At: time.Now(), Payload: []byte("an alert")})
				if err != nil {
					t.Error(err)
				}
				switch i % 500 {
				case 0:
					_, _, err = j.Bounds(i % 12)
				case 1:
					err = j.Publish(t.Context(), "tocsin.incidents", []Message{{Key: []byte("1"), Value: []byte("{}")}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	waitFor(t, "all to be read", func() bool { return read.Load() == requests })
	cancel()
	if err := <-shared; err != nil {
		t.Error(err)
	}
	for _, l := range listeners {
		t.Logf("%d connections at most, %d in all", l.most.Load(), l.all.Load())
		if most := l.most.Load(); most > 4 {
			t.Errorf("%d connections to one broker at once, want at most 4", most)
		}
	}
	s := j.Stats()
	t.Logf("%d entries in %d flushes and %d produce requests", s.Entries, s.Flushes, s.Requests)
	if s.Requests > requests/5 {
		t.Errorf("%d produce requests for %d entries of %d writers: they are not merged", s.Requests, requests, writers)
	}
}

// K13
func TestABrokerThatAcceptsAndSaysNothingIsTriedOnceASecondAndLeaksNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hole := &counter{Listener: ln}
	var wg sync.WaitGroup
	wg.Go(func() {
		var held []net.Conn
		for {
			conn, err := hole.Accept()
			if err != nil {
				break
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			_ = conn.Close()
		}
	})
	cycle := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		o := options(t, nil)
		o.Brokers = []string{ln.Addr().String()}
		_, err := Open(ctx, o)
		if err == nil || !strings.Contains(err.Error(), "no broker answers") {
			t.Fatalf("err = %v, want one that says that no broker answers", err)
		}
	}
	cycle()
	before := runtime.NumGoroutine()
	tried := hole.all.Load()
	for range 20 {
		cycle()
	}
	waitFor(t, "the goroutines of 20 cycles to end", func() bool { return runtime.NumGoroutine() <= before+2 })
	if n := hole.all.Load() - tried; n > 20 {
		t.Errorf("%d tries in 20 cycles of 0.3 s, want at most one each", n)
	}
	_ = ln.Close()
	wg.Wait()
}

// K13
func TestAnAddressThatFailsIsTriedOnceASecond(t *testing.T) {
	d := newDialer()
	now := time.Date(2026, 3, 23, 9, 0, 0, 0, time.UTC)
	tried := 0
	for range 1000 { // over a hundred seconds
		if d.spend("one:9092", now) == nil {
			d.settle("one:9092", errors.New("refused"))
			tried++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if want := dialBurst + 99; tried < want-1 || tried > want+1 {
		t.Errorf("tried %d times in 100 s, want %d", tried, want)
	}
	for range dialBurst {
		_ = d.spend("one:9092", now)
	}
	if err := d.spend("one:9092", now); err == nil || !strings.Contains(err.Error(), "refused") || !temporary(err) {
		t.Errorf("err = %v, want one that says what was wrong, and that may pass", err)
	}
	if err := d.spend("two:9092", now); err != nil {
		t.Errorf("another address: %v", err)
	}
	d.settle("one:9092", nil) // a connection that was of use is given back
	if err := d.spend("one:9092", now); err != nil {
		t.Errorf("after one of use: %v", err)
	}
}

// K14
func TestTheTransportHasTwoConnectionsToABrokerAndOneForItsOwnQuestionsByWhateverName(t *testing.T) {
	d := newDialer()
	now := time.Now()
	broker := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9092}
	enter := func(name string, question bool) error {
		err := d.spend(name, now)
		if err != nil {
			t.Fatal(err)
		}
		at, err := d.enter(name, question)
		if err == nil {
			d.led(name, at, broker)
		}
		return err
	}
	for i, name := range []string{"one:9092", "10.0.0.1:9092", "one:9092", "10.0.0.1:9092"} {
		if err := enter(name, false); (err != nil) != (i >= 2) {
			t.Errorf("connection %d: %v", i+1, err)
		}
		if err := enter(name, true); (err != nil) != (i >= 1) {
			t.Errorf("connection %d for questions: %v", i+1, err)
		}
	}
	d.leave(seat{broker.String(), false})
	if err := enter("one:9092", true); err == nil {
		t.Error("a connection for questions took the place of another")
	}
	if err := enter("one:9092", false); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

// The Transport takes a connection for what it asks itself that it has no use for, whenever it asks twice in a row. It is open for 30 s, and
// what is written or read must not wait for that.
func TestWhatTheTransportAsksItselfKeepsNobodyFromWriting(t *testing.T) {
	t.Parallel()
	opts := options(t, fake(t))
	j := open(t, opts)
	for range 2 * (dialLanes + dialQuestion) {
		c, err := j.dialer.dial(t.Context(), seedNetwork, opts.Brokers[0])
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	r, err := j.Read(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	appendOne(t, j, 0, "one") // within the 10 s of a flush
	if got, err := r.Next(t.Context(), 1); err != nil || string(got[0].Payload) != "one" {
		t.Errorf("read %v: %v", got, err)
	}
	if _, err := j.Members(t.Context()); err != nil {
		t.Errorf("Members: %v", err)
	}
}
