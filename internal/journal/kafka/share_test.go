package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin/internal/journal"
)

// patience is how long a test waits for what ought to come soon.
const patience = time.Minute

// An office watches who owns what. It fails the test when a partition has two owners.
type office struct {
	t  *testing.T
	mu sync.Mutex

	owners      map[int]string
	generations map[int]int64
	claims      int
	changed     chan struct{}
}

func newOffice(t *testing.T) *office {
	return &office{t: t, owners: map[int]string{}, generations: map[int]int64{}, changed: make(chan struct{})}
}

// own holds a partition until its context ends.
func (o *office) own(member string) func(ctx context.Context, c journal.Claim) error {
	return func(ctx context.Context, c journal.Claim) error {
		o.take(member, c)
		<-ctx.Done()
		o.give(c)
		return ctx.Err()
	}
}

func (o *office) take(member string, c journal.Claim) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if other := o.owners[c.Partition]; other != "" {
		o.t.Errorf("partition %d falls to %s while %s has it", c.Partition, member, other)
	}
	if c.Generation < o.generations[c.Partition] {
		o.t.Errorf("partition %d in generation %d after %d", c.Partition, c.Generation, o.generations[c.Partition])
	}
	o.owners[c.Partition], o.generations[c.Partition] = member, c.Generation
	o.claims++
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *office) give(c journal.Claim) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.owners, c.Partition)
	close(o.changed)
	o.changed = make(chan struct{})
}

// until waits until the owners are as ok wants them.
func (o *office) until(what string, ok func(count map[string]int) bool) {
	o.t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		count := map[string]int{}
		for _, m := range o.owners {
			count[m]++
		}
		changed := o.changed
		o.mu.Unlock()
		if ok(count) {
			return
		}
		select {
		case <-changed:
		case <-late:
			o.t.Fatalf("waited for %s, but have %v", what, count)
		}
	}
}

// member shares in c's partitions until stop is called.
func member(t *testing.T, o Options, own func(ctx context.Context, c journal.Claim) error) (stop func()) {
	t.Helper()
	j := open(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Share(ctx, own) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Share: %v", err)
		}
		_ = j.Close()
	})
	t.Cleanup(stop)
	return stop
}

func TestEachPartitionHasOneOwnerWhileMembersComeAndGo(t *testing.T) {
	t.Parallel()
	c := fake(t)
	opts := options(t, c)
	opts.Partitions = 6
	o := newOffice(t)
	one := member(t, opts, o.own("one"))
	o.until("one to have all", func(n map[string]int) bool { return n["one"] == 6 })
	two := member(t, opts, o.own("two"))
	o.until("two to have half", func(n map[string]int) bool { return n["one"] == 3 && n["two"] == 3 })
	three := member(t, opts, o.own("three"))
	o.until("three to have a third", func(n map[string]int) bool { return n["one"] == 2 && n["two"] == 2 && n["three"] == 2 })
	one()
	o.until("two to share with three", func(n map[string]int) bool { return n["two"] == 3 && n["three"] == 3 })
	three()
	o.until("two to have all", func(n map[string]int) bool { return n["two"] == 6 })
	two()
	o.until("nobody to have any", func(n map[string]int) bool { return len(n) == 0 })
}

func TestAnOwnThatFailsIsCalledAgainAndDisturbsNoOtherPartition(t *testing.T) {
	t.Parallel()
	opts := options(t, fake(t))
	calls := make(chan journal.Claim, 100)
	steady := make(chan journal.Claim, 100)
	stop := member(t, opts, func(ctx context.Context, c journal.Claim) error {
		if c.Partition == 0 {
			calls <- c
			return errors.New("the database is away")
		}
		steady <- c
		<-ctx.Done()
		return nil
	})
	first := <-calls
	for range 3 {
		if again := <-calls; again.Generation != first.Generation {
			t.Errorf("called again in generation %d, want %d: the member's generation ended", again.Generation, first.Generation)
		}
	}
	stop()
	if n := len(steady); n != 1 {
		t.Errorf("the other partition was owned %d times, want once", n)
	}
}

func TestTheContextOfAnOwnIsCanceledLikeAnyOther(t *testing.T) {
	t.Parallel()
	opts := options(t, fake(t))
	ended := make(chan error, 10)
	started := make(chan struct{}, 10)
	own := func(ctx context.Context, _ journal.Claim) error {
		started <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	}
	member(t, opts, own)
	<-started
	<-started
	o := newOffice(t)
	member(t, opts, o.own("two")) // a rebalance ends the generation
	if err := <-ended; !errors.Is(err, context.Canceled) || errors.Is(err, kafka.ErrGenerationEnded) {
		t.Errorf("the context ended with %v, want context.Canceled", err)
	}
}

func TestAMemberJoinsAgainOnlyWhenItsOwnHasReturned(t *testing.T) {
	t.Parallel()
	opts := options(t, fake(t))
	o := newOffice(t)
	release := make(chan struct{})
	var mu sync.Mutex
	held := map[int]bool{}
	member(t, opts, func(ctx context.Context, c journal.Claim) error {
		o.take("slow", c)
		<-ctx.Done()
		mu.Lock()
		slow := !held[c.Partition]
		held[c.Partition] = true
		mu.Unlock()
		if slow {
			<-release
		}
		o.give(c)
		return nil
	})
	o.until("the slow one to have all", func(n map[string]int) bool { return n["slow"] == 2 })
	member(t, opts, o.own("two"))
	for waiting := true; waiting; { // for the rebalance to reach the slow one
		mu.Lock()
		waiting = len(held) < 2
		changed := o.changed
		mu.Unlock()
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	o.until("the slow one to keep them", func(n map[string]int) bool { return n["slow"] == 2 && n["two"] == 0 })
	close(release)
	o.until("both to have one", func(n map[string]int) bool { return n["slow"] == 1 && n["two"] == 1 })
}

func TestAPartitionThatWasAddedIsNobodysAndAnAlarm(t *testing.T) {
	t.Parallel()
	c := fake(t)
	opts := options(t, c)
	o := newOffice(t)
	member(t, opts, o.own("one"))
	o.until("all two", func(n map[string]int) bool { return n["one"] == 2 })
	watcher := open(t, opts)
	client := clientOf(c)
	_, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: opts.Topic, Count: 5}}})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the alarm", func() bool { return watcher.Foreign() == 3 })
	two := member(t, opts, o.own("two"))
	o.until("the two to be shared", func(n map[string]int) bool { return n["one"] == 1 && n["two"] == 1 })
	two()
	if got := watcher.Partitions(); got != 2 {
		t.Errorf("the journal has %d partitions, want 2 as before", got)
	}
	for n := range 2 {
		appendOne(t, watcher, n, fmt.Sprint("to ", n))
	}
	for n := range 5 {
		_, next := offsets(t, client, opts.Topic, n)
		if want := int64(1); n < 2 && next != want || n >= 2 && next != 0 {
			t.Errorf("partition %d has %d entries", n, next)
		}
	}
}

func TestWhatIsPassedIsCommittedForToolsThatWatchTheLag(t *testing.T) {
	t.Parallel()
	c := fake(t)
	opts := options(t, c)
	commits := make(chan map[int32]int64, 10)
	c.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		got := map[int32]int64{}
		for _, topic := range r.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range topic.Partitions {
				got[p.Partition] = p.Offset
			}
		}
		commits <- got
		return nil, nil, false
	})
	member(t, opts, func(ctx context.Context, c journal.Claim) error {
		c.Passed(int64(7 + c.Partition))
		c.Passed(3) // never back
		<-ctx.Done()
		return nil
	})
	got := map[int32]int64{}
	for len(got) < 2 {
		select {
		case news := <-commits:
			for n, at := range news {
				got[n] = at
			}
		case <-time.After(patience):
			t.Fatalf("committed %v", got)
		}
	}
	if diff := cmp.Diff(map[int32]int64{0: 7, 1: 8}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestACommitThatFailsEndsNoGeneration(t *testing.T) {
	t.Parallel()
	c := fake(t)
	refused := make(chan struct{}, 10)
	c.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.OffsetCommitRequest)
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range req.Topics {
			rt := kmsg.OffsetCommitResponseTopic{Topic: topic.Topic}
			for _, p := range topic.Partitions {
				rt.Partitions = append(rt.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(kafka.OffsetMetadataTooLarge)})
			}
			res.Topics = append(res.Topics, rt)
		}
		refused <- struct{}{}
		return res, nil, true
	})
	claims := make(chan journal.Claim, 10)
	member(t, options(t, c), func(ctx context.Context, c journal.Claim) error {
		claims <- c
		c.Passed(1)
		<-ctx.Done()
		return nil
	})
	<-refused
	<-refused
	if n := len(claims); n != 2 {
		t.Errorf("%d claims, want one for each of the two partitions", n)
	}
}

func TestAClusterThatNeverHadAGroupIsJoinedAsSoonAsItHasACoordinator(t *testing.T) {
	t.Parallel()
	c := fake(t)
	left := 2
	c.ControlKey(int16(kmsg.FindCoordinator), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if left--; left < 0 {
			return nil, nil, false
		}
		res := r.(*kmsg.FindCoordinatorRequest).ResponseKind().(*kmsg.FindCoordinatorResponse)
		res.ErrorCode = int16(kafka.GroupCoordinatorNotAvailable)
		return res, nil, true
	})
	o := newOffice(t)
	began := time.Now()
	member(t, options(t, c), o.own("one"))
	o.until("all to be owned", func(n map[string]int) bool { return n["one"] == 2 })
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("joined after %v: kafka-go's own backoff of 5 s was waited for", took)
	}
}

func TestSharingMovesNoMoreThanItMust(t *testing.T) {
	m := func(id string, had ...int) kafka.GroupMember {
		b := balancer{}
		b.keep(had)
		data, _ := b.UserData()
		return kafka.GroupMember{ID: id, UserData: data}
	}
	numbers := []int{0, 1, 2, 3, 4, 5, 6}
	for name, tc := range map[string]struct {
		members []kafka.GroupMember
		want    map[string][]int
	}{
		"nobody":                         {nil, map[string][]int{}},
		"one has all":                    {[]kafka.GroupMember{m("a")}, map[string][]int{"a": numbers}},
		"two new ones share":             {[]kafka.GroupMember{m("a"), m("b")}, map[string][]int{"a": {0, 1, 2, 6}, "b": {3, 4, 5}}},
		"a new one gets what is over":    {[]kafka.GroupMember{m("a", numbers...), m("b")}, map[string][]int{"a": {0, 1, 2, 3}, "b": {4, 5, 6}}},
		"who had them keeps them":        {[]kafka.GroupMember{m("a"), m("b", numbers...)}, map[string][]int{"a": {4, 5, 6}, "b": {0, 1, 2, 3}}},
		"what two claim falls to one":    {[]kafka.GroupMember{m("a", 0, 1), m("b", 0, 1, 2)}, map[string][]int{"a": {0, 1, 4, 5}, "b": {2, 3, 6}}},
		"what is not there is not given": {[]kafka.GroupMember{m("a", 9), m("b", 3)}, map[string][]int{"a": {0, 1, 2, 6}, "b": {3, 4, 5}}},
		"more members than partitions": {
			[]kafka.GroupMember{m("a"), m("b"), m("c"), m("d"), m("e"), m("f"), m("g"), m("h", 2)},
			map[string][]int{"a": {0}, "b": {1}, "c": {3}, "d": {4}, "e": {5}, "f": {6}, "h": {2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := share(slices.Clone(numbers), tc.members)
			if name == "what two claim falls to one" { // who gets the odd one out does not matter
				if !slices.Contains(got["a"], 0) || !slices.Contains(got["a"], 1) || !slices.Contains(got["b"], 2) || len(got["a"])+len(got["b"]) != 7 {
					t.Errorf("got %v", got)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func FuzzHadBy(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		members := []kafka.GroupMember{{ID: "a", UserData: data}, {ID: "b", UserData: data}, {ID: "c"}}
		var all []int
		for _, mine := range share([]int{0, 1, 2, 3, 4}, members) {
			all = append(all, mine...)
		}
		slices.Sort(all)
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, all); diff != "" {
			t.Fatalf("each partition falls to one member: -want +got\n%s", diff)
		}
	})
}

// waitFor waits until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
		time.Sleep(5 * time.Millisecond) // polls what tells nobody
	}
}

func appendOne(t testing.TB, j *Journal, partition int, payload string) int64 {
	t.Helper()
	at, err := j.Append(t.Context(), partition, journal.Entry{At: time.Now(), Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// offsets returns what the cluster says of a partition.
func offsets(t testing.TB, c *kafka.Client, topic string, partition int) (first, next int64) {
	t.Helper()
	res, err := c.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}}})
	if err != nil {
		t.Fatal(err)
	}
	p := res.Topics[topic][0]
	return p.FirstOffset, p.LastOffset
}

func TestAMemberThatStopsLeavesAndJoinsNoMore(t *testing.T) {
	t.Parallel()
	c := fake(t)
	var joins, leaves atomic.Int64
	count := func(key kmsg.Key, n *atomic.Int64) {
		c.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			n.Add(1)
			return nil, nil, false
		})
	}
	count(kmsg.JoinGroup, &joins)
	count(kmsg.LeaveGroup, &leaves)
	for n := range int64(20) {
		o := newOffice(t)
		stop := member(t, options(t, c), o.own("one"))
		o.until("one to have all", func(n map[string]int) bool { return n["one"] == 2 })
		stop()
		if joins.Load() != n+1 || leaves.Load() != n+1 {
			t.Fatalf("%d members have joined %d times and left %d times, want once each", n+1, joins.Load(), leaves.Load())
		}
	}
}

// K1: while a broker was away all who wanted it have used up what may be dialed. To join takes two connections, one after the other.
func TestAGroupIsJoinedThoughItsConnectionsAreUsedUp(t *testing.T) {
	t.Parallel()
	opts := options(t, fake(t))
	j := open(t, opts)
	j.dialer.mu.Lock()
	for _, a := range j.dialer.accounts {
		a.left, a.at = 0, time.Now()
	}
	j.dialer.mu.Unlock()
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Share(ctx, o.own("one")) }()
	o.until("one to have all", func(n map[string]int) bool { return n["one"] == opts.Partitions })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Share: %v", err)
	}
}
