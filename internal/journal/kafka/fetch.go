package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"tocsin/internal/journal"
)

const (
	pollWait   = 100 * time.Millisecond // how long a broker keeps a fetch request that it has nothing for
	hurryWait  = 5 * time.Millisecond   // the same while a reader waits that the request does not serve
	hurrySteps = 5                      // doublings of it while a reader takes nothing, so that one that hangs costs little
	aheadMost  = 1 << 20                // bytes that are fetched ahead of a reader
	aheadAll   = 64 << 20               // of all readers of a process that has one a partition
	fetchBytes = 8 << 20                // in one answer
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
	maxBehind  = 2 * time.Second // how long an offset beyond the end is given to turn out to be there
)

// A fetcher reads for all readers of the process: one request at a time to each broker, for all partitions that it leads.
type fetcher struct {
	j     *Journal
	ahead int
	ends  []atomic.Int64 // offset behind the last entry of a partition when it was last fetched; -1 before

	mu      sync.Mutex
	parts   map[int]*source
	loops   map[int32]bool // brokers that are polled
	leaders map[int]int32
	wake    chan struct{} // closed when there may be more to do
	running bool          // lead runs
	closed  bool
	rounds  uint64
}

// A source is a partition that somebody reads.
type source struct {
	n       int
	readers []*reader
	wait    time.Duration // before the next try; 0 while all is well
	until   time.Time     // no try before
}

func newFetcher(j *Journal) *fetcher {
	f := &fetcher{j: j, parts: map[int]*source{}, loops: map[int32]bool{}, leaders: map[int]int32{}, wake: make(chan struct{})}
	f.ahead = max(leastBytes, min(aheadMost, aheadAll/j.o.Partitions))
	f.ends = make([]atomic.Int64, j.o.Partitions)
	for i := range f.ends {
		f.ends[i].Store(-1)
	}
	return f
}

// add makes r part of the next request.
func (f *fetcher) add(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.parts[r.p.n]
	if s == nil {
		s = &source{n: r.p.n}
		f.parts[r.p.n] = s
	}
	s.readers = append(s.readers, r)
	if !f.running && !f.closed {
		f.running = true
		f.j.wg.Go(f.lead)
	}
	f.stir()
}

func (f *fetcher) remove(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.parts[r.p.n]
	if s == nil {
		return
	}
	if i := slices.Index(s.readers, r); i >= 0 {
		s.readers = slices.Delete(s.readers, i, i+1)
	}
	if len(s.readers) == 0 {
		delete(f.parts, r.p.n)
	}
	f.stir()
}

// close keeps anything new from being read. What is read ends with the journal's context.
func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
}

// stir wakes whoever waits for something to do; f.mu is held.
func (f *fetcher) stir() {
	close(f.wake)
	f.wake = make(chan struct{})
}

func (f *fetcher) hurry() {
	f.mu.Lock()
	f.stir()
	f.mu.Unlock()
}

// lead finds out who leads what is read, and has each of those brokers polled, until nobody reads.
func (f *fetcher) lead() {
	for {
		l, err := f.j.gate.layout(f.j.ctx)
		f.mu.Lock()
		if len(f.parts) == 0 || f.j.ctx.Err() != nil {
			f.running = false
			f.mu.Unlock()
			return
		}
		clear(f.leaders)
		if err == nil {
			f.follow(l)
		}
		wake := f.wake
		missing := len(f.leaders) < len(f.parts)
		f.mu.Unlock()
		wait := metadataTTL / 2
		if missing {
			wait /= 5
		}
		f.pause(wait, wake)
	}
}

// follow has each broker polled that leads, as l says, what is read; f.mu is held.
func (f *fetcher) follow(l *metadata.Response) {
	for n := range f.parts {
		broker, err := leader(l, f.j.o.Topic, int32(n))
		if err != nil {
			continue // it has none now; the next look may find one
		}
		f.leaders[n] = broker
		if !f.loops[broker] && !f.closed {
			f.loops[broker] = true
			f.j.wg.Go(func() { f.poll(broker) })
		}
	}
}

// pause waits until there may be something to do.
func (f *fetcher) pause(d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-f.j.ctx.Done():
	}
}

// A plan is what the next request to a broker asks for.
type plan struct {
	asks []ask
	wait time.Duration // that the broker may keep it
	gone bool          // nobody reads anything there
	next time.Duration // without asks: when to look again
}

type ask struct {
	s      *source
	r      *reader
	offset int64
}

// plan decides what to ask broker for; f.mu is held.
func (f *fetcher) plan(broker int32, alone bool, now time.Time) plan {
	p := plan{wait: pollWait, gone: true, next: retryMost}
	f.rounds++
	numbers := slices.Sorted(maps.Keys(f.parts))
	turn := 0
	if len(numbers) > 0 {
		turn = int(f.rounds % uint64(len(numbers)))
	}
	for i := range numbers {
		n := numbers[(i+turn)%len(numbers)] // what comes first is served first when the answer is full
		if id, ok := f.leaders[n]; !ok || id != broker {
			continue
		}
		p.gone = false
		s := f.parts[n]
		if left := s.until.Sub(now); left > 0 {
			p.next = min(p.next, left)
			p.wait = min(p.wait, max(left, hurryWait))
			continue
		}
		if alone && len(p.asks) > 0 {
			continue
		}
		if a, ok := s.ask(f.ahead, &p); ok {
			p.asks = append(p.asks, a)
		}
	}
	return p
}

// ask chooses which reader of s is served: the one that has waited longest. A reader that is left out makes the request a short one.
func (s *source) ask(ahead int, p *plan) (ask, bool) {
	var best *reader
	var at int64
	for _, r := range s.readers {
		pos, hungry, full := r.appetite(ahead)
		switch {
		case !hungry:
			if full >= 0 {
				p.wait = min(p.wait, hurryWait<<min(full, hurrySteps))
			}
		case best == nil:
			best, at = r, pos
		default:
			if pos != at {
				p.wait = min(p.wait, hurryWait)
			}
			if r.served < best.served {
				best, at = r, pos
			}
		}
	}
	return ask{s: s, r: best, offset: at}, best != nil
}

// poll asks broker for what is read there until nothing is.
func (f *fetcher) poll(broker int32) {
	failures := 0
	for {
		f.mu.Lock()
		p := f.plan(broker, failures >= 3, time.Now())
		if p.gone || f.j.ctx.Err() != nil {
			delete(f.loops, broker)
			f.mu.Unlock()
			return
		}
		wake := f.wake
		f.mu.Unlock()
		if len(p.asks) == 0 {
			f.pause(p.next, wake)
			continue
		}
		err := f.request(p)
		switch {
		case err == nil && failures > 0:
			f.j.o.Log.Info("broker read again", "broker", broker)
			failures = 0
		case err != nil:
			failures++
			f.j.stats.fetchErrors.Add(1)
			if failures == 1 && f.j.ctx.Err() == nil {
				f.j.o.Log.Warn("broker cannot be read", "broker", broker, "error", err)
			}
			f.mu.Lock()
			for _, a := range p.asks {
				a.s.later()
			}
			f.stir() // perhaps another broker leads by now
			f.mu.Unlock()
		}
	}
}

// later puts off the next try of s; the fetcher's mu is held.
func (s *source) later() {
	s.wait = min(max(2*s.wait, retryFirst), retryMost)
	s.until = time.Now().Add(s.wait)
}

// request sends one request and hands out what the answer has.
func (f *fetcher) request(p plan) error {
	req := &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(p.wait / time.Millisecond), MinBytes: 1, SessionID: 0, SessionEpoch: -1,
		MaxBytes: int32(min(fetchBytes, len(p.asks)*f.ahead)), Topics: []fetch.RequestTopic{{Topic: f.j.o.Topic}},
	}
	for _, a := range p.asks {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, f.j.partRequest(a.s.n, a.offset, f.ahead))
	}
	f.j.stats.fetches.Add(1)
	m, err := f.j.gate.RoundTrip(f.j.ctx, f.j.gate.addr, req)
	if err != nil {
		return err
	}
	res := m.(*fetch.Response)
	if res.ErrorCode != 0 {
		return kafka.Error(res.ErrorCode)
	}
	for t := range res.Topics {
		for i := range res.Topics[t].Partitions {
			part := &res.Topics[t].Partitions[i]
			k := slices.IndexFunc(p.asks, func(a ask) bool { return a.s.n == int(part.Partition) })
			if k < 0 {
				continue
			}
			err = f.answer(p.asks[k], part)
			if err != nil {
				f.trouble(p.asks[k].s, err)
			}
		}
	}
	return nil
}

// trouble puts off the next try of one partition, and says why when it begins.
func (f *fetcher) trouble(s *source, err error) {
	f.mu.Lock()
	first := s.wait == 0
	s.later()
	f.stir() // perhaps another broker leads by now
	f.mu.Unlock()
	f.j.stats.fetchErrors.Add(1)
	if first && f.j.ctx.Err() == nil {
		f.j.o.Log.Warn("partition cannot be read", "partition", s.n, "error", err)
	}
}

func (j *Journal) partRequest(n int, offset int64, limit int) fetch.RequestPartition {
	return fetch.RequestPartition{Partition: int32(n), CurrentLeaderEpoch: -1, FetchOffset: offset, LogStartOffset: -1, PartitionMaxBytes: int32(limit)}
}

// answer hands out what a broker said of one partition.
func (f *fetcher) answer(a ask, part *fetch.ResponsePartition) error {
	switch code := kafka.Error(part.ErrorCode); code {
	case 0:
	case kafka.OffsetOutOfRange:
		return f.outOfRange(a)
	case kafka.UnknownTopicOrPartition:
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, r := range a.s.readers {
			r.vanish()
		}
		return code
	default:
		return code
	}
	f.ends[a.s.n].Store(part.HighWatermark)
	entries, to, err := decode(part.RecordSet.Records, a.offset)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	a.s.wait, a.s.until = 0, time.Time{}
	if to == a.offset {
		return nil
	}
	f.j.stats.read.Add(int64(len(entries)))
	for _, r := range a.s.readers {
		if pos, hungry, _ := r.appetite(f.ahead); r == a.r || hungry && pos == a.offset {
			r.served = f.rounds
			r.deliver(entries, a.offset, to)
		}
	}
	return nil
}

// outOfRange finds out which end of the partition a reader fell off.
func (f *fetcher) outOfRange(a ask) error {
	first, next, err := f.j.Bounds(a.s.n)
	if err != nil {
		return err
	}
	f.ends[a.s.n].Store(next)
	switch {
	case a.offset < first:
		a.r.lose(a.offset, first)
		return nil
	case a.offset > next:
		if a.r.beyond(next, time.Now()) {
			return nil
		}
	}
	return fmt.Errorf("offset %d of %d to %d: %w", a.offset, first, next, kafka.OffsetOutOfRange)
}

// decode reads the entries from offset on, and says where the next ones begin: further than the last entry where the log goes
// on with something that is none.
func decode(records protocol.RecordReader, offset int64) (entries []journal.Entry, to int64, err error) {
	to = offset
	var a arena
	read := func(r protocol.RecordReader, control bool) error {
		for {
			rec, err := r.ReadRecord()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			payload, err := a.take(rec)
			if err != nil {
				return err
			}
			if rec.Offset < to {
				continue // batches are sent whole
			}
			to = rec.Offset + 1
			if !control {
				entries = append(entries, journal.Entry{Offset: rec.Offset, At: time.UnixMilli(rec.Time.UnixMilli()).UTC(), Payload: payload})
			}
		}
	}
	stream, ok := records.(*protocol.RecordStream)
	if !ok {
		if records == nil {
			return nil, to, nil
		}
		err = read(records, false) // not in the return: it sets the others
		return entries, to, err
	}
	for _, r := range stream.Records {
		c, control := r.(*protocol.ControlBatch)
		if control {
			r = c.Records
		}
		err = read(r, control)
		if err != nil {
			return nil, offset, err
		}
	}
	return entries, to, nil
}

// An arena takes payloads out of kafka-go's pages, many to one piece of memory.
type arena struct{ free []byte }

const arenaPiece = 64 << 10

// take returns the value of rec and gives the pages back.
func (a *arena) take(rec *protocol.Record) ([]byte, error) {
	if rec.Key != nil {
		_ = rec.Key.Close() // it is memory
	}
	if rec.Value == nil {
		return nil, nil
	}
	defer rec.Value.Close()
	n := rec.Value.Len()
	if n > len(a.free) {
		a.free = make([]byte, max(n, arenaPiece))
	}
	b := a.free[:n:n]
	a.free = a.free[n:]
	_, err := io.ReadFull(rec.Value, b)
	return b, err
}

// Lag returns how many entries there are from next on, as of the last fetch; ok is false where the partition is not read here. It asks nobody.
func (j *Journal) Lag(partition int, next int64) (entries int64, ok bool) {
	if partition < 0 || partition >= len(j.parts) {
		return 0, false
	}
	end := j.fetch.ends[partition].Load()
	return max(0, end-next), end >= 0
}

// fetchOnce reads what is at offset of a partition of the journal now, without waiting.
func (j *Journal) fetchOnce(ctx context.Context, n int, offset int64) ([]journal.Entry, int64, error) {
	records, err := j.fetchNow(ctx, j.o.Topic, n, offset, j.fetch.ahead)
	if err != nil {
		return nil, offset, err
	}
	return decode(records, offset)
}

func (j *Journal) fetchNow(ctx context.Context, topic string, n int, offset int64, limit int) (protocol.RecordReader, error) {
	m, err := j.gate.RoundTrip(ctx, j.gate.addr, &fetch.Request{
		ReplicaID: -1, MinBytes: 0, SessionEpoch: -1, MaxBytes: int32(limit),
		Topics: []fetch.RequestTopic{{Topic: topic, Partitions: []fetch.RequestPartition{j.partRequest(n, offset, limit)}}},
	})
	if err != nil {
		return nil, err
	}
	res := m.(*fetch.Response)
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return nil, errors.New("the answer says nothing of it")
	}
	part := &res.Topics[0].Partitions[0]
	if code := cmp.Or(res.ErrorCode, part.ErrorCode); code != 0 {
		return nil, kafka.Error(code)
	}
	return part.RecordSet.Records, nil
}

// A record is one of a topic that is not the journal's own.
type record struct {
	offset     int64
	key, value []byte
}

// records reads what is at offset of the one partition of topic now, and says where the next ones begin.
func (j *Journal) records(ctx context.Context, topic string, offset int64, limit int) (out []record, to int64, err error) {
	for {
		r, err := j.fetchNow(ctx, topic, 0, offset, limit)
		if err == nil {
			return copies(r, offset)
		}
		if !temporary(err) {
			return nil, offset, err
		}
		if !rest(ctx, retryFirst) {
			return nil, offset, err
		}
	}
}

func copies(r protocol.RecordReader, offset int64) (out []record, to int64, err error) {
	to = offset
	for r != nil {
		rec, err := r.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, offset, err
		}
		key, err := protocol.ReadAll(rec.Key)
		if err != nil {
			return nil, offset, err
		}
		value, err := protocol.ReadAll(rec.Value)
		if err != nil {
			return nil, offset, err
		}
		if rec.Offset >= to {
			out = append(out, record{offset: rec.Offset, key: key, value: value})
			to = rec.Offset + 1
		}
	}
	return out, to, nil
}
