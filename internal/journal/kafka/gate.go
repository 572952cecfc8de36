package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
)

const (
	writeLimit   = 5 * time.Second                   // how long a broker may take for one produce request
	replicaLimit = writeLimit - 500*time.Millisecond // how long it may wait for its followers
	requestLimit = 5 * time.Second                   // and for any other request
	mostMerged   = 64                                // batches in one produce request
)

// A gate is the RoundTripper that everything but the consumer group speaks through. kafka-go's Transport opens a connection for each
// request that is under way at once; the gate lets one produce request and one fetch through to each broker at once, and so
// keeps it at two connections a broker. What waits for the produce request to return goes together in the next one. Questions
// that are answered at once take whichever of the two is free first.
type gate struct {
	t     *kafka.Transport
	addr  net.Addr
	topic string
	n     int // partitions of topic
	// refuse says why what goes to a partition is to be given up. May be nil.
	refuse func(topic string, partition int) error

	ctx    context.Context // of the requests that batches are merged into
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	lanes map[int32]*lane // by broker

	requests, failures atomic.Int64          // produce requests; batches that were not written by one
	last               atomic.Pointer[error] // why the last of them was not
}

// A lane leads to one broker.
type lane struct {
	read  chan struct{} // holds one while a fetch is under way
	write chan struct{} // holds one while a produce request is

	mu      sync.Mutex
	busy    bool // a goroutine sends what waits
	waiting []*parcel
}

// A parcel is one batch that waits for its produce request.
type parcel struct {
	req  *produce.Request
	res  *produce.Response
	err  error
	done chan struct{}
}

func newGate(t *kafka.Transport, addr net.Addr, topic string, n int) *gate {
	g := &gate{t: t, addr: addr, topic: topic, n: n, lanes: map[int32]*lane{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// close ends what is under way, and all connections.
func (g *gate) close() {
	g.cancel()
	g.wg.Wait()
	g.t.CloseIdleConnections()
}

// A retryError is one that kafka-go's Writer tries again after, as it does after errors that call themselves temporary.
type retryError struct{ err error }

func (e *retryError) Error() string   { return e.err.Error() }
func (e *retryError) Unwrap() error   { return e.err }
func (e *retryError) Temporary() bool { return true }

// RoundTrip sends req to the broker that it is for.
func (g *gate) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	switch m := req.(type) {
	case *produce.Request:
		return g.produce(ctx, m)
	case *fetch.Request:
		return g.reading(ctx, m, m.Topics[0].Topic, m.Topics[0].Partitions[0].Partition, m.MaxWaitTime == 0)
	case *listoffsets.Request:
		return g.reading(ctx, m, m.Topics[0].Topic, m.Topics[0].Partitions[0].Partition, true)
	case *metadata.Request:
		// Nothing but the partition count is asked by the Writer, and that is ours to know: it stays the same whatever the
		// topic has, and no metadata that are late or lost fail a write before it is tried.
		if len(m.TopicNames) == 1 && m.TopicNames[0] == g.topic {
			return g.fixed(), nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	return g.roundTrip(ctx, req)
}

// roundTrip sends a request for which a connection is free, or about to be: the Transport answers a request before it takes its connection
// back, and would open another for the one that follows at once.
func (g *gate) roundTrip(ctx context.Context, req kafka.Request) (kafka.Response, error) {
	for {
		res, err := g.t.RoundTrip(ctx, g.addr, req)
		if !errors.Is(err, errFull) {
			return res, err
		}
		if !rest(ctx, time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

func (g *gate) fixed() *metadata.Response {
	parts := make([]metadata.ResponsePartition, g.n)
	for i := range parts {
		parts[i].PartitionIndex = int32(i)
	}
	return &metadata.Response{Topics: []metadata.ResponseTopic{{Name: g.topic, Partitions: parts}}}
}

// layout returns what the cluster looked like a second or two ago; nobody may change it.
func (g *gate) layout(ctx context.Context) (*metadata.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	m, err := g.t.RoundTrip(ctx, g.addr, &metadata.Request{})
	if err != nil {
		return nil, err
	}
	return m.(*metadata.Response), nil
}

// partitionsOf returns the partitions of a topic, in order, or nil and why.
func partitionsOf(l *metadata.Response, topic string) ([]metadata.ResponsePartition, error) {
	i, found := slices.BinarySearchFunc(l.Topics, topic, func(t metadata.ResponseTopic, name string) int { return strings.Compare(t.Name, name) })
	switch {
	case !found:
		return nil, fmt.Errorf("topic %s: %w", topic, kafka.UnknownTopicOrPartition)
	case l.Topics[i].ErrorCode != 0:
		return nil, fmt.Errorf("topic %s: %w", topic, kafka.Error(l.Topics[i].ErrorCode))
	}
	return l.Topics[i].Partitions, nil
}

// leader returns the broker that leads a partition.
func leader(l *metadata.Response, topic string, partition int32) (int32, error) {
	parts, err := partitionsOf(l, topic)
	if err != nil {
		return 0, err
	}
	i, found := slices.BinarySearchFunc(parts, partition, func(p metadata.ResponsePartition, n int32) int { return int(p.PartitionIndex - n) })
	if !found {
		return 0, fmt.Errorf("partition %d of topic %s: %w", partition, topic, kafka.UnknownTopicOrPartition)
	}
	id := parts[i].LeaderID
	if !slices.ContainsFunc(l.Brokers, func(b metadata.ResponseBroker) bool { return b.NodeID == id }) {
		return 0, fmt.Errorf("partition %d of topic %s: %w", partition, topic, kafka.LeaderNotAvailable)
	}
	return id, nil
}

func (g *gate) lane(ctx context.Context, topic string, partition int32) (*lane, error) {
	l, err := g.layout(ctx)
	if err != nil {
		return nil, err
	}
	broker, err := leader(l, topic, partition)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	la := g.lanes[broker]
	if la == nil {
		la = &lane{read: make(chan struct{}, 1), write: make(chan struct{}, 1)}
		g.lanes[broker] = la
	}
	return la, nil
}

// reading sends a request when no fetch is under way to the same broker or, if it is a brief one, no produce request.
func (g *gate) reading(ctx context.Context, req kafka.Request, topic string, partition int32, brief bool) (kafka.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	la, err := g.lane(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	slot, other := la.read, la.write
	if !brief {
		other = nil
	}
	select {
	case slot <- struct{}{}:
	case other <- struct{}{}:
		slot = other
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-slot }()
	return g.roundTrip(ctx, req)
}

// produce sends one batch, together with others that wait for the same broker.
func (g *gate) produce(ctx context.Context, req *produce.Request) (kafka.Response, error) {
	topic, partition := req.Topics[0].Topic, req.Topics[0].Partitions[0].Partition
	if g.refuse != nil {
		err := g.refuse(topic, int(partition))
		if err != nil {
			return nil, err // not temporary: the Writer gives the batch up
		}
	}
	la, err := g.lane(ctx, topic, partition)
	if err != nil {
		g.failed(err)
		return nil, &retryError{err} // a leaderless partition, too, is worth another try
	}
	p := &parcel{req: req, done: make(chan struct{})}
	la.mu.Lock()
	la.waiting = append(la.waiting, p)
	if !la.busy {
		la.busy = true
		g.wg.Go(func() { g.send(la) })
	}
	la.mu.Unlock()
	select {
	case <-p.done:
	case <-ctx.Done():
		if la.withdraw(p) {
			return nil, &retryError{ctx.Err()}
		}
		<-p.done // it is on its way, which takes no longer than writeLimit
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.res, nil
}

func (g *gate) failed(err error) {
	g.failures.Add(1)
	g.last.Store(&err)
}

// lastError returns why a batch was last not written, or err where none was.
func (g *gate) lastError(err error) error {
	if last := g.last.Load(); last != nil {
		return *last
	}
	return err
}

// withdraw takes p back, unless it is on its way.
func (l *lane) withdraw(p *parcel) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, p)
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return true
}

// send sends what waits in l until nothing does.
func (g *gate) send(l *lane) {
	for {
		l.write <- struct{}{} // a brief question takes no longer than requestLimit
		l.mu.Lock()
		n := min(len(l.waiting), mostMerged)
		if n == 0 {
			l.busy = false
			l.mu.Unlock()
			<-l.write
			return
		}
		parcels := slices.Clone(l.waiting[:n])
		l.waiting = slices.Delete(l.waiting, 0, n)
		l.mu.Unlock()

		g.requests.Add(1)
		res, err := g.together(parcels)
		<-l.write
		for _, p := range parcels {
			p.res, p.err = p.part(res, err)
			if p.err != nil {
				g.failed(p.err)
			} else if code := p.res.Topics[0].Partitions[0].ErrorCode; code != 0 {
				g.failed(kafka.Error(code))
			}
			close(p.done)
		}
	}
}

// together sends all parcels in one request.
func (g *gate) together(parcels []*parcel) (*produce.Response, error) {
	req := &produce.Request{Acks: parcels[0].req.Acks, Timeout: int32(replicaLimit / time.Millisecond)}
	for _, p := range parcels {
		t := &p.req.Topics[0]
		i := slices.IndexFunc(req.Topics, func(r produce.RequestTopic) bool { return r.Topic == t.Topic })
		if i < 0 {
			i = len(req.Topics)
			req.Topics = append(req.Topics, produce.RequestTopic{Topic: t.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, t.Partitions...)
	}
	ctx, cancel := context.WithTimeout(g.ctx, writeLimit)
	defer cancel()
	m, err := g.roundTrip(ctx, req)
	if err != nil {
		return nil, err
	}
	return m.(*produce.Response), nil
}

// part returns what of res, or err, is for p.
func (p *parcel) part(res *produce.Response, err error) (*produce.Response, error) {
	var routing *produce.Error // the layout changed between our look at it and Transport's
	switch {
	case errors.As(err, &routing), errors.Is(err, kafka.BrokerNotAvailable), errors.Is(err, net.ErrClosed):
		return nil, &retryError{err}
	case err != nil:
		return nil, err
	}
	topic, partition := p.req.Topics[0].Topic, p.req.Topics[0].Partitions[0].Partition
	for i := range res.Topics {
		if res.Topics[i].Topic != topic {
			continue
		}
		for k := range res.Topics[i].Partitions {
			if res.Topics[i].Partitions[k].Partition == partition {
				return &produce.Response{ThrottleTimeMs: res.ThrottleTimeMs, Topics: []produce.ResponseTopic{{
					Topic: topic, Partitions: res.Topics[i].Partitions[k : k+1],
				}}}, nil
			}
		}
	}
	return nil, &retryError{fmt.Errorf("the answer to a write says nothing of partition %d of %s", partition, topic)}
}
