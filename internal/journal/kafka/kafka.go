package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/sasl"

	"tocsin/internal/journal"
)

const (
	openLimit   = 12 * time.Second // how long Open tries to reach the cluster
	metadataTTL = 2 * time.Second  // how old may be what we know of the cluster's leaders
	closeGrace  = 3 * time.Second  // how long Close waits for what is under way
)

// Options say where the journal is; Brokers, Topic and Partitions are needed.
type Options struct {
	Brokers    []string // host:port, of some brokers of one cluster
	Topic      string
	Partitions int // N, as the state database has it: entries are never in any other than the first N

	Replication int           // copies of each partition; 0 means 3 where there are three brokers, else 1. An existing topic may have more
	Retention   time.Duration // how long entries are kept at least; 0 means 14 days for a new topic, and as long as it says for an old one
	Group       string        // the consumer group of all processes that share the partitions; "" means Topic
	ClusterID   string        // the cluster that the state knows; "" means any
	Feeds       []string      // other topics that Publish writes to
	TLS         *tls.Config   // nil means none
	SASL        SASL
	Log         *slog.Logger // nil means discard
}

func (o *Options) check() error {
	var errs []error
	if len(o.Brokers) == 0 {
		errs = append(errs, errors.New("no brokers"))
	}
	for _, b := range o.Brokers {
		_, _, err := net.SplitHostPort(b)
		if err != nil {
			errs = append(errs, fmt.Errorf("broker %q: %w", b, err))
		}
	}
	if o.Topic == "" {
		errs = append(errs, errors.New("no topic"))
	}
	if o.Partitions < 1 {
		errs = append(errs, fmt.Errorf("%d partitions", o.Partitions))
	}
	if o.Replication < 0 || o.Retention < 0 {
		errs = append(errs, errors.New("an option is negative"))
	}
	if slices.Contains(o.Feeds, o.Topic) || slices.Contains(o.Feeds, deadTopic(o.Topic)) {
		errs = append(errs, errors.New("a feed goes to the journal's own topic"))
	}
	o.Group = cmp.Or(o.Group, o.Topic)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return errors.Join(errs...)
}

// A Journal is a topic of a Kafka cluster.
type Journal struct {
	o       Options
	cluster string
	needed  int // in-sync copies that a write needs
	byteMax int // the biggest batch that the topic takes
	keep    keep
	foreign atomic.Int32
	unheard atomic.Pointer[error] // why no leader answered when one was last asked

	dialer *dialer
	sasl   sasl.Mechanism
	gate   *gate
	writer *kafka.Writer
	parts  []*partition
	fetch  *fetcher
	feeds  map[string]*feed // all topics but the journal's own, by name
	stats  counters

	flushLimit time.Duration

	ctx      context.Context
	cancel   context.CancelFunc
	flushers sync.WaitGroup
	wg       sync.WaitGroup
	once     sync.Once
	err      error // of Close
}

// Open connects to the cluster, and makes the topics that are missing. Brokers that do not answer within 12 s, refused credentials, a
// certificate that is not trusted, another cluster than the expected one, and a topic whose settings would lose alerts, are errors that say so.
func Open(ctx context.Context, o Options) (*Journal, error) {
	err := o.check()
	if err != nil {
		return nil, fmt.Errorf("open journal on Kafka: %w", err)
	}
	j := &Journal{o: o, dialer: newDialer(), flushLimit: flushLimit}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	err = j.open(ctx)
	if err != nil {
		_ = j.Close()
		return nil, fmt.Errorf("open journal on Kafka %s at %v: %w", o.Topic, o.Brokers, err)
	}
	return j, nil
}

func (j *Journal) open(ctx context.Context) (err error) {
	j.sasl, err = j.o.SASL.mechanism()
	if err != nil {
		return err
	}
	err = j.prepare(ctx)
	if err != nil {
		return err
	}
	j.gate = newGate(j.transport(j.o.Topic, deadTopic(j.o.Topic), j.o.Feeds...), seeds(j.o.Brokers), j.o.Topic, j.o.Partitions)
	for n := range j.o.Partitions {
		j.parts = append(j.parts, newPartition(j, n))
	}
	j.feeds = map[string]*feed{deadTopic(j.o.Topic): newFeed()}
	for _, f := range j.o.Feeds {
		j.feeds[f] = newFeed()
	}
	j.gate.refuse = j.refuse
	j.writer = newWriter(j.gate, j.byteMax)
	j.fetch = newFetcher(j)
	for _, p := range j.parts {
		j.flushers.Go(p.run)
	}
	j.wg.Go(j.watch)
	_, err = j.gate.layout(ctx)
	return err
}

// refuse keeps the Writer from trying for ever what nobody waits for any more.
func (j *Journal) refuse(topic string, partition int) error {
	if topic == j.o.Topic && j.parts[partition].health() != nil {
		return errGivenUp // not its cause, which may be one that the Writer tries again after
	}
	if f := j.feeds[topic]; f != nil && f.givenUp.Load() {
		return errGivenUp
	}
	return nil
}

// newWriter returns the one Writer of the process. Flushes are gathered before it, so it has nothing to wait for itself.
func newWriter(g *gate, byteMax int) *kafka.Writer {
	return &kafka.Writer{
		Addr:         g.addr,
		Transport:    g,
		RequiredAcks: kafka.RequireAll,
		Balancer:     balance(kafka.Murmur2Balancer{}),
		Completion:   completed,
		BatchSize:    writerBatch,
		BatchBytes:   int64(byteMax),
		BatchTimeout: time.Microsecond,
		// A flush ends by its own limit; these only keep the attempts going until then.
		MaxAttempts:     100,
		WriteBackoffMin: 50 * time.Millisecond,
		WriteBackoffMax: 500 * time.Millisecond,
		WriteTimeout:    2*writeLimit + time.Second, // its turn, and the request
		ReadTimeout:     requestLimit,
	}
}

// transport returns a pool of connections that keeps itself up to date on the topics.
func (j *Journal) transport(topic, dead string, feeds ...string) *kafka.Transport {
	return &kafka.Transport{
		Dial:           j.dialer.dial,
		DialTimeout:    requestLimit,
		IdleTimeout:    30 * time.Second,
		MetadataTTL:    metadataTTL,
		MetadataTopics: append([]string{topic, dead}, feeds...),
		ClientID:       "tocsin",
		TLS:            j.o.TLS,
		SASL:           j.sasl,
		Context:        j.ctx,
	}
}

// watch tells of what changes at the topic while it runs, and whether its leaders answer.
func (j *Journal) watch() {
	tick := time.NewTicker(metadataTTL)
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case <-j.ctx.Done():
			return
		case <-tick.C:
			j.look()
			j.ask(round % len(j.parts))
		}
	}
}

func (j *Journal) look() {
	l, err := j.gate.layout(j.ctx)
	if err != nil {
		return // ask says so
	}
	parts, err := partitionsOf(l, j.o.Topic)
	if err == nil {
		j.strangers(len(parts))
	}
}

// ask asks the leader of a partition for its end, so that a cluster that is gone shows in Health before somebody wants to write.
func (j *Journal) ask(partition int) {
	ctx, cancel := context.WithTimeout(j.ctx, probeLimit)
	defer cancel()
	_, err := j.offset(ctx, j.o.Topic, partition, kafka.LastOffset)
	switch {
	case err == nil:
		if j.unheard.Swap(nil) != nil {
			j.o.Log.Info("Kafka answers again")
		}
	case j.ctx.Err() != nil:
	case j.unheard.Swap(new(sick(err))) == nil:
		j.o.Log.Warn("Kafka does not answer", "partition", partition, "error", err)
	}
}

// strangers raises the alarm when the topic has more partitions than are ours.
func (j *Journal) strangers(partitions int) {
	n := int32(max(0, partitions-j.o.Partitions))
	if j.foreign.Swap(n) < n {
		j.o.Log.Warn("topic has partitions that are not used", "topic", j.o.Topic, "used", j.o.Partitions, "unused", n,
			"hint", "what other programs write there is not read; to use more, see tocsin migrate")
	}
}

func (j *Journal) partition(n int) (*partition, error) {
	if n < 0 || n >= len(j.parts) {
		return nil, fmt.Errorf("journal: there is no partition %d of %d", n, len(j.parts))
	}
	return j.parts[n], nil
}

// ClusterID returns the id that the cluster gave itself: what the state remembers and gives to the next Open.
func (j *Journal) ClusterID() string { return j.cluster }

// Foreign returns how many partitions of the topic are not ours: somebody added them.
func (j *Journal) Foreign() int { return int(j.foreign.Load()) }

// Partitions returns N.
func (j *Journal) Partitions() int { return len(j.parts) }

// Health returns nil, or why a partition cannot be written now, or is not heard of; the error is an ErrSick. It asks nobody.
func (j *Journal) Health() error {
	var errs []error
	if err := j.unheard.Load(); err != nil {
		errs = append(errs, *err)
	}
	for _, p := range j.parts {
		errs = append(errs, p.health())
	}
	return errors.Join(errs...)
}

// Bounds asks the leader for the first offset kept and the one behind the last that all in-sync copies have.
func (j *Journal) Bounds(partition int) (first, next int64, err error) {
	_, err = j.partition(partition)
	if err != nil {
		return 0, 0, err
	}
	first, err = j.offset(j.ctx, j.o.Topic, partition, kafka.FirstOffset)
	if err != nil {
		return 0, 0, err
	}
	next, err = j.offset(j.ctx, j.o.Topic, partition, kafka.LastOffset)
	return first, next, err
}

// OffsetAt returns the offset of the first entry received at or after t, in milliseconds, or the next one.
func (j *Journal) OffsetAt(partition int, t time.Time) (int64, error) {
	_, err := j.partition(partition)
	if err != nil {
		return 0, err
	}
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	at, err := j.offset(j.ctx, j.o.Topic, partition, max(ms, 0)) // below 0 the protocol has other meanings
	if err != nil || at >= 0 {
		return at, err
	}
	return j.offset(j.ctx, j.o.Topic, partition, kafka.LastOffset)
}

// offset asks the leader of a partition for the offset of a time in milliseconds, or the first or last; -1 means that there is none.
func (j *Journal) offset(ctx context.Context, topic string, partition int, at int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	fail := func(err error) (int64, error) {
		if j.ctx.Err() != nil {
			return 0, journal.ErrClosed
		}
		return 0, fmt.Errorf("journal: offsets of partition %d of %s: %w", partition, topic, err)
	}
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		v, err := j.listOffset(ctx, topic, partition, at)
		if err == nil {
			return v, nil
		}
		if !temporary(err) {
			return fail(err)
		}
		if !rest(ctx, wait) {
			return fail(err)
		}
	}
}

func (j *Journal) listOffset(ctx context.Context, topic string, partition int, at int64) (int64, error) {
	m, err := j.gate.RoundTrip(ctx, j.gate.addr, &listoffsets.Request{ReplicaID: -1, Topics: []listoffsets.RequestTopic{{
		Topic: topic, Partitions: []listoffsets.RequestPartition{{Partition: int32(partition), CurrentLeaderEpoch: -1, Timestamp: at}},
	}}})
	if err != nil {
		return 0, err
	}
	res := m.(*listoffsets.Response)
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return 0, errors.New("the answer says nothing of it")
	}
	p := res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return 0, kafka.Error(p.ErrorCode)
	}
	return p.Offset, nil
}

// rest waits for d before something is tried again; it is false when ctx has ended instead.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// temporary says whether a request may succeed when it is sent again.
func temporary(err error) bool {
	if errors.Is(err, kafka.BrokerNotAvailable) || errors.Is(err, net.ErrClosed) || errors.Is(err, kafka.Unknown) || isCut(err) {
		return true
	}
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// isCut says whether a connection was ended by the other side: a broker that restarts does it to each.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Close flushes what has gathered, for at most 3 s, ends all readers, and closes all connections. Later calls return what the first did.
func (j *Journal) Close() error {
	j.once.Do(func() {
		grace := time.AfterFunc(closeGrace, j.cancel)
		defer grace.Stop()
		for _, p := range j.parts {
			p.close()
		}
		j.flushers.Wait()
		j.cancel()
		if j.fetch != nil {
			j.fetch.close()
		}
		if j.gate != nil {
			j.gate.cancel()
		}
		if j.writer != nil {
			j.err = j.writer.Close()
		}
		j.wg.Wait()
		if j.gate != nil {
			j.gate.close()
		}
	})
	return j.err
}
