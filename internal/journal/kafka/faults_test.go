package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin/internal/journal"
)

// answerProduce makes c answer the next times produce requests with code, or always where times is negative. It returns a count of them.
func answerProduce(c *kfake.Cluster, code kafka.Error, times int) *atomic.Int64 {
	var count atomic.Int64
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if n := count.Load(); times >= 0 && n >= int64(times) {
			return nil, nil, false
		}
		count.Add(1)
		req := r.(*kmsg.ProduceRequest)
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			rt := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
			for _, p := range topic.Partitions {
				rt.Partitions = append(rt.Partitions, kmsg.ProduceResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	return &count
}

// contentsOf reads n entries of a partition from its beginning.
func contentsOf(t testing.TB, j *Journal, partition, n int) []string {
	t.Helper()
	r, err := j.Read(partition, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []string
	for len(all) < n {
		entries, err := r.Next(ctx, 1<<20)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		for _, e := range entries {
			all = append(all, string(e.Payload))
		}
	}
	return all
}

// Pitfall 1: without a word kafka-go asks for no acknowledgement at all.
func TestAWriteAsksForAllInSyncCopies(t *testing.T) {
	c := fake(t)
	acks := make(chan int16, 10)
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		acks <- r.(*kmsg.ProduceRequest).Acks
		return nil, nil, false
	})
	o := options(t, c)
	o.Feeds = []string{"feed"}
	j := open(t, o)
	appendOne(t, j, 0, "an alert")
	err := errors.Join(j.Publish(t.Context(), "feed", []Message{{Value: []byte("a change")}}), j.Bury(t.Context(), journal.DeadLetter{Reason: "why"}))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := <-acks; got != -1 {
			t.Errorf("acks = %d, want -1: all", got)
		}
	}
}

// Pitfall 2: by itself kafka-go waits a second for a batch to fill.
func TestTheWriterWaitsForNoFullerBatch(t *testing.T) {
	j := open(t, options(t, fake(t)))
	if w := j.writer.BatchTimeout; w <= 0 || w > 5*time.Millisecond {
		t.Errorf("the Writer waits %v for a batch to fill", w)
	}
	if n := j.writer.BatchSize; n > 1000 {
		t.Errorf("the Writer makes room for %d messages each time", n)
	}
}

// A muted is a connection whose next answer is lost once it is armed.
type muted struct {
	net.Conn
	lose *atomic.Bool
}

func (m *muted) Write(b []byte) (int, error) {
	if m.lose.CompareAndSwap(true, false) {
		_ = m.Close()
		return 0, net.ErrClosed
	}
	return m.Conn.Write(b)
}

type muting struct {
	net.Listener
	lose *atomic.Bool
}

func (m *muting) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	return &muted{Conn: conn, lose: m.lose}, err
}

// Pitfall 3: there is no idempotent producer.
func TestAWriteWhoseAnswerIsLostIsInTheLogTwiceAndFolds(t *testing.T) {
	var lose atomic.Bool
	c := fake(t, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		ln, err := net.Listen(network, address)
		return &muting{Listener: ln, lose: &lose}, err
	}))
	j := open(t, options(t, c))
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.DropControl()
		lose.Store(true) // of the answer to this request, which is done
		return nil, nil, false
	})
	record := journal.Record{Kind: journal.Tick, Writer: 1, Seq: 1}
	_, err := j.Append(t.Context(), 0, journal.Entry{At: time.Now(), Payload: record.Append(nil)})
	if err != nil {
		t.Fatal(err)
	}
	var fold journal.Fold
	var seen []bool
	for _, payload := range contentsOf(t, j, 0, 2) {
		var d journal.Decoder
		var r journal.Record
		err := d.Decode([]byte(payload), &r)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fold.Seen(r.Writer, r.Seq))
	}
	if diff := cmp.Diff([]bool{false, true}, seen); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Pitfall 4: the Writer does not try a leaderless partition again, and tries others for 100 s.
func TestAPartitionWithoutALeaderIsWaitedFor(t *testing.T) {
	c := fake(t)
	o := options(t, c)
	j := open(t, o)
	host, port := "127.0.0.1", 0
	_, err := fmt.Sscanf(strings.TrimPrefix(c.ListenAddrs()[0], host+":"), "%d", &port)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	c.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if asked.Add(1) < 3 {
			c.KeepControl()
		} else {
			c.DropControl()
			return nil, nil, false
		}
		res := r.(*kmsg.MetadataRequest).ResponseKind().(*kmsg.MetadataResponse)
		res.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(port)}}
		res.ClusterID = new(j.ClusterID())
		res.Topics = []kmsg.MetadataResponseTopic{{Topic: &o.Topic, Partitions: []kmsg.MetadataResponseTopicPartition{
			{Partition: 0, ErrorCode: int16(kafka.LeaderNotAvailable), Leader: -1}, {Partition: 1, ErrorCode: int16(kafka.LeaderNotAvailable), Leader: -1},
		}}}
		return res, nil, true
	})
	waitFor(t, "the leader to be gone", func() bool { return asked.Load() > 0 })
	appendOne(t, j, 0, "an alert")
	if diff := cmp.Diff([]string{"an alert"}, contentsOf(t, j, 0, 1)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAWriteThatLacksFollowersOrItsConnectionIsTriedAgain(t *testing.T) {
	c := fake(t)
	j := open(t, options(t, c))
	lacking := answerProduce(c, kafka.NotEnoughReplicas, 2)
	cut := false
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if cut || lacking.Load() < 2 {
			return nil, nil, false
		}
		cut = true
		return nil, errors.New("cut"), true
	})
	appendOne(t, j, 0, "an alert")
	if !cut || lacking.Load() != 2 {
		t.Errorf("%d refusals, and the connection was cut: %t", lacking.Load(), cut)
	}
	if diff := cmp.Diff([]string{"an alert"}, contentsOf(t, j, 0, 1)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := j.Stats(); got.RequestErrors != 3 || got.Failures != 0 || got.Entries != 1 {
		t.Errorf("counted %+v", got)
	}
}

// Pitfall 4, and H5: what cannot be made durable is refused in time, and then at once, until it can be.
func TestAJournalThatCannotWriteSaysSoAndHealsItself(t *testing.T) {
	c := fake(t)
	j := open(t, options(t, c))
	j.flushLimit = 200 * time.Millisecond
	var well atomic.Bool
	var asked atomic.Int64
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if well.Load() {
			return nil, nil, false
		}
		asked.Add(1)
		return nil, errors.New("cut"), true
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := j.Append(t.Context(), 0, journal.Entry{At: time.Now(), Payload: []byte("lost")})
			if !errors.Is(err, journal.ErrSick) {
				t.Errorf("err = %v, want ErrSick", err)
			}
		})
	}
	wg.Wait()
	if err := j.Health(); !errors.Is(err, journal.ErrSick) {
		t.Errorf("health = %v, want ErrSick", err)
	}
	before := asked.Load()
	_, err := j.Append(t.Context(), 0, journal.Entry{At: time.Now(), Payload: []byte("refused at once")})
	if !errors.Is(err, journal.ErrSick) || asked.Load() > before+1 {
		t.Errorf("err = %v after %d more tries, want ErrSick at once", err, asked.Load()-before)
	}
	well.Store(true)
	waitFor(t, "a probe to find it well", func() bool { return j.Health() == nil })
	appendOne(t, j, 0, "an alert")
	if diff := cmp.Diff([]string{"an alert"}, contentsOf(t, j, 0, 1)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestOneSickPartitionLeavesTheOthersAlone(t *testing.T) {
	c := fake(t)
	j := open(t, options(t, c))
	j.flushLimit = 200 * time.Millisecond
	var well atomic.Bool
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if well.Load() || req.Topics[0].Partitions[0].Partition != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		res.Topics = []kmsg.ProduceResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{{Partition: 0, ErrorCode: int16(kafka.NotEnoughReplicas)}}}}
		return res, nil, true
	})
	_, err := j.Append(t.Context(), 0, journal.Entry{At: time.Now(), Payload: []byte("refused")})
	if !errors.Is(err, journal.ErrSick) || !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Errorf("err = %v, want ErrSick with its cause", err)
	}
	appendOne(t, j, 1, "taken")
	well.Store(true)
	waitFor(t, "a probe to find it well", func() bool { return j.Health() == nil })
	appendOne(t, j, 0, "taken again")
	if diff := cmp.Diff([]string{"taken again"}, contentsOf(t, j, 0, 1)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Pitfall 7: a reader beyond the end would wait for ever, and one before the beginning would be moved in silence.
func TestWhatRetentionRemovedBeforeItWasReadIsAGapToTheEntry(t *testing.T) {
	c := fake(t)
	o := options(t, c)
	j := open(t, o)
	old := time.Now().Add(-time.Hour)
	for i := range 10 {
		_, err := j.Append(t.Context(), 0, journal.Entry{At: old, Payload: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := j.Read(0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var deaf atomic.Bool
	deaf.Store(true)
	c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if deaf.Load() {
			return nil, errors.New("cut"), true
		}
		return nil, nil, false
	})
	for i := range 5 {
		_, err := j.Append(t.Context(), 0, journal.Entry{At: old, Payload: fmt.Append(nil, 10+i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = clientOf(c).IncrementalAlterConfigs(t.Context(), &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: o.Topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "1", ConfigOperation: kafka.ConfigOperationSet}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	c.ApplyRetention()
	first, next, err := j.Bounds(0)
	if err != nil || first <= 10 || next != 15 {
		t.Fatalf("bounds %d, %d, %v: retention removed nothing", first, next, err)
	}
	deaf.Store(false)
	_, err = r.Next(t.Context(), 1<<20)
	gap, _ := errors.AsType[*journal.GapError](err)
	want := &journal.GapError{Partition: 0, From: 10, To: first, Cause: "retention removed them"}
	if diff := cmp.Diff(want, gap); diff != "" {
		t.Errorf("of the reader that was there: %v\n-want +got\n%s", err, diff)
	}
	_, err = j.Read(0, 2)
	gap, _ = errors.AsType[*journal.GapError](err)
	want.From = 2
	if diff := cmp.Diff(want, gap); diff != "" {
		t.Errorf("of a reader that comes: %v\n-want +got\n%s", err, diff)
	}
	if got := j.Stats(); got.Gaps != 1 || got.Lost != first-10 {
		t.Errorf("counted %d gaps of %d entries, want 1 of %d", got.Gaps, got.Lost, first-10)
	}
}

// readerOfTheDeleted returns a cluster on which the journal's topic was deleted, and a reader behind the five entries that it had.
func readerOfTheDeleted(t *testing.T) (*kfake.Cluster, *Journal, journal.Reader) {
	t.Helper()
	c := fake(t)
	j := open(t, options(t, c))
	for i := range 5 {
		appendOne(t, j, 0, fmt.Sprint(i))
	}
	r, err := j.Read(0, 5)
	if err != nil {
		t.Fatal(err)
	}
	_, err = clientOf(c).DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{j.o.Topic}})
	if err != nil {
		t.Fatal(err)
	}
	return c, j, r
}

// K3, and K11: a topic that was made anew begins again at 0.
func TestAnEndBeforeWhatWasReadIsFoundAndNothingWrongIsRead(t *testing.T) {
	c, j, r := readerOfTheDeleted(t)
	createTopic(t, c, kafka.TopicConfig{Topic: j.o.Topic, NumPartitions: 2, ReplicationFactor: 1})
	appendOne(t, j, 0, "another's")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 2 { // and it stays so
		_, err := r.Next(ctx, 1<<20)
		beyond, _ := errors.AsType[*journal.BeyondError](err)
		if diff := cmp.Diff(&journal.BeyondError{Partition: 0, From: 5, End: 1}, beyond); diff != "" {
			t.Errorf("%v\n-want +got\n%s", err, diff)
		}
	}
}

// K3: the new topic may have grown past what was read before anybody looks.
func TestATopicMadeAnewIsNotReadOnWhereTheOldOneWasLeft(t *testing.T) {
	c, j, r := readerOfTheDeleted(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	waitFor(t, "somebody to notice that the topic is gone", func() bool { return j.Stats().FetchErrors > 0 })
	createTopic(t, c, kafka.TopicConfig{Topic: j.o.Topic, NumPartitions: 2, ReplicationFactor: 1})
	for i := range 10 {
		appendOne(t, j, 0, fmt.Sprint("another's ", i))
	}
	for range 2 { // and it stays so
		entries, err := r.Next(ctx, 1<<20)
		if _, beyond := errors.AsType[*journal.BeyondError](err); !beyond && !errors.Is(err, journal.ErrVanished) {
			t.Fatalf("%d entries and error %v, want none of them, and that the partition is another or ends too early", len(entries), err)
		}
	}
}

func TestMarksOfATransactionAreSkippedNotLost(t *testing.T) {
	c := fake(t)
	o := options(t, c)
	j := open(t, o)
	r, err := j.Read(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.TransactionalID("a stranger"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	err = errors.Join(foreign.BeginTransaction(),
		foreign.ProduceSync(t.Context(), &kgo.Record{Topic: o.Topic, Partition: 0, Value: []byte("foreign")}).FirstErr(),
		foreign.EndTransaction(t.Context(), kgo.TryCommit))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	entries, err := r.Next(ctx, 1<<20)
	if err != nil || len(entries) != 1 || entries[0].Offset != 0 {
		t.Fatalf("read %v, %v", entries, err)
	}
	_, err = r.Next(ctx, 1<<20)
	gap, _ := errors.AsType[*journal.GapError](err)
	if gap == nil || gap.From != 1 || gap.To != 2 || !gap.Skipped {
		t.Errorf("err = %v, want one that skips offset 1", err)
	}
	at := appendOne(t, j, 0, "ours")
	entries, err = r.Next(ctx, 1<<20)
	if err != nil || len(entries) != 1 || entries[0].Offset != at || string(entries[0].Payload) != "ours" {
		t.Errorf("read %v, %v, want ours at %d", entries, err, at)
	}
}

func TestTimesOfAPartitionNeverFallWhoeverWroteThem(t *testing.T) {
	c := fake(t)
	one, two := open(t, options(t, c)), open(t, options(t, c))
	at := func(s int) time.Time { return time.Date(2026, 3, 23, 9, 0, s, 0, time.UTC) }
	for i, w := range []struct {
		j *Journal
		s int
	}{{one, 10}, {two, 5}, {one, 3}, {two, 12}, {one, 11}} {
		_, err := w.j.Append(t.Context(), 0, journal.Entry{At: at(w.s), Payload: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []time.Time{at(10), at(10), at(10), at(12), at(12)}
	for from := range want { // the same wherever one begins
		r, err := one.Read(0, int64(from))
		if err != nil {
			t.Fatal(err)
		}
		var got []time.Time
		for len(got) < len(want)-from {
			entries, err := r.Next(t.Context(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got = append(got, e.At)
			}
		}
		if diff := cmp.Diff(want[from:], got); diff != "" {
			t.Errorf("from %d: -want +got\n%s", from, diff)
		}
		_ = r.Close()
	}
}

// Pitfall 12: kafka-go's figures begin anew each time that they are read.
func TestFiguresThatAreReadTwiceAreTheSame(t *testing.T) {
	j := open(t, options(t, fake(t)))
	appendOne(t, j, 0, "an alert")
	contentsOf(t, j, 0, 1)
	first, second := j.Stats(), j.Stats()
	if first.Entries != 1 || first.Bytes != 8 || first.Read != 1 || first.Requests != 1 {
		t.Errorf("counted %+v", first)
	}
	if second.Entries != first.Entries || second.Requests != first.Requests {
		t.Errorf("-first +second\n%s", cmp.Diff(first, second))
	}
	if n, ok := j.Lag(0, 0); n != 1 || !ok {
		t.Errorf("lag %d, %t, want 1", n, ok)
	}
	if _, ok := j.Lag(1, 0); ok {
		t.Error("a partition that nobody reads here has a lag")
	}
}

func TestAJournalThatIsClosedLeavesNothingBehind(t *testing.T) {
	c := fake(t)
	o := options(t, c)
	cycle := func() {
		j, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		shared := make(chan error, 1)
		owned := make(chan struct{}, 2)
		go func() {
			shared <- j.Share(ctx, func(ctx context.Context, _ journal.Claim) error {
				owned <- struct{}{}
				<-ctx.Done()
				return nil
			})
		}()
		r, err := j.Read(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		appendOne(t, j, 0, "an alert")
		_, err = r.Next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		<-owned
		cancel()
		err = errors.Join(<-shared, j.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := runtime.NumGoroutine()
	for range 20 {
		cycle()
	}
	waitFor(t, "their goroutines to end", func() bool { return runtime.NumGoroutine() <= before+3 })
}

func TestAnOffsetIsFoundByATimeBetweenMilliseconds(t *testing.T) {
	j := open(t, options(t, fake(t)))
	at := time.Date(2026, 3, 23, 9, 0, 0, 0, time.UTC)
	for i := range 3 {
		_, err := j.Append(t.Context(), 0, journal.Entry{At: at.Add(time.Duration(i) * time.Millisecond), Payload: []byte("an alert")})
		if err != nil {
			t.Fatal(err)
		}
	}
	for after, want := range map[time.Duration]int64{-time.Hour: 0, 0: 0, time.Microsecond: 1, time.Millisecond: 1, 1001 * time.Microsecond: 2, time.Hour: 3} {
		got, err := j.OffsetAt(0, at.Add(after))
		if err != nil || got != want {
			t.Errorf("%v after the first: offset %d, %v, want %d", after, got, err, want)
		}
	}
	if got, err := j.OffsetAt(0, time.Time{}); err != nil || got != 0 {
		t.Errorf("the first offset since ever: %d, %v", got, err)
	}
}

// K2
func TestLeadersThatMoveLoseNothingAndKeepTheOrder(t *testing.T) {
	t.Parallel()
	c := fake(t, kfake.NumBrokers(3))
	o := options(t, c)
	o.Partitions = 4
	j := open(t, o)
	const each = 300
	var readers, writers sync.WaitGroup
	for n := range o.Partitions {
		r, err := j.Read(n, 0)
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			var at int64
			var fold journal.Fold
			for next := uint64(1); next <= each; {
				entries, err := r.Next(t.Context(), 1<<20)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range entries {
					if e.Offset != at {
						t.Errorf("partition %d: offset %d where %d was due", n, e.Offset, at)
					}
					at++
					var seq uint64
					_, err := fmt.Sscan(string(e.Payload), &seq)
					if err != nil {
						t.Error(err)
						return
					}
					if fold.Seen(1, seq) {
						continue
					}
					if seq != next {
						t.Errorf("partition %d: entry %d where %d was due", n, seq, next)
					}
					next++
				}
			}
		})
		writers.Go(func() {
			for i := range each {
				appendOne(t, j, n, fmt.Sprint(i+1))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	for moved := 0; ; moved++ {
		select {
		case <-done:
			if moved == 0 {
				t.Error("no leader moved")
			}
			readers.Wait()
			return
		default:
			c.ShufflePartitionLeaders()
			time.Sleep(500 * time.Millisecond) // for leaders to lead
		}
	}
}

// K13, and H5: a broker that falls silent while all is well.
func TestABrokerThatFallsSilentShowsBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	c := fake(t)
	j := open(t, options(t, c))
	appendOne(t, j, 0, "an alert")
	if err := j.Health(); err != nil {
		t.Errorf("health = %v", err)
	}
	var silent atomic.Bool
	silent.Store(true)
	c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, nil, silent.Load() // handled, and no answer
	})
	waitFor(t, "health to turn", func() bool { return errors.Is(j.Health(), journal.ErrSick) })
	silent.Store(false)
	waitFor(t, "health to return", func() bool { return j.Health() == nil })
	appendOne(t, j, 0, "another")
	if diff := cmp.Diff([]string{"an alert", "another"}, contentsOf(t, j, 0, 2)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAnEntryOfAClockThatIsFarAheadTakesNoOtherWithIt(t *testing.T) {
	c := fake(t)
	j := open(t, options(t, c))
	refused := answerProduce(c, kafka.InvalidTimestamp, 1)
	at := time.Date(2026, 3, 23, 9, 0, 0, 0, time.UTC)
	_, err := j.Append(t.Context(), 0, journal.Entry{At: at.AddDate(10, 0, 0), Payload: []byte("from the future")})
	if !errors.Is(err, journal.ErrSick) || refused.Load() != 1 {
		t.Fatalf("err = %v, want ErrSick", err)
	}
	waitFor(t, "a probe to find it well", func() bool { return j.Health() == nil })
	_, err = j.Append(t.Context(), 0, journal.Entry{At: at, Payload: []byte("from now")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.Read(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := r.Next(t.Context(), 1)
	if err != nil || !entries[0].At.Equal(at) {
		t.Errorf("read %v, %v, want one of %v", entries, err, at)
	}
}

func TestAJournalThatIsClosedWhileKafkaIsSilentEndsAllWhoWait(t *testing.T) {
	t.Parallel()
	c := fake(t)
	j := open(t, options(t, c))
	r, err := j.Read(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked <- struct{}{}
		return nil, nil, true // no answer
	})
	appended, read, shared := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := j.Append(t.Context(), 0, journal.Entry{At: time.Now(), Payload: []byte("an alert")})
		appended <- err
	}()
	go func() {
		_, err := r.Next(t.Context(), 1)
		read <- err
	}()
	go func() {
		shared <- j.Share(t.Context(), func(ctx context.Context, _ journal.Claim) error {
			<-ctx.Done()
			return nil
		})
	}()
	<-asked
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	for what, ch := range map[string]chan error{"Append": appended, "Next": read} {
		if err := <-ch; !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	if err := <-shared; err != nil {
		t.Errorf("Share: %v", err)
	}
	if _, err := j.Read(0, 0); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Read: %v, want ErrClosed", err)
	}
}
