//go:build !race

package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin"
	"tocsin/internal/migrate"
	"tocsin/internal/store"
)

func (m *manyNodes) client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(strings.Split(m.brokers, ",")...), Transport: &kafka.Transport{}}
}

// ends are the offsets behind the last record of each partition.
func (m *manyNodes) ends(t *testing.T) (out []int64) {
	t.Helper()
	j := m.journal(t)
	defer j.Close()
	for n := range fleetPartitions {
		_, next, err := j.Bounds(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, next)
	}
	return out
}

// remove deletes the records before an offset of each partition, as retention does.
func (m *manyNodes) remove(t *testing.T, before []int64) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(m.brokers, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = m.topic
	for n, offset := range before {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = int32(n), offset
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	for _, shard := range c.RequestSharded(t.Context(), req) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, p := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				t.Fatalf("partition %d: %v", p.Partition, kafka.Error(p.ErrorCode))
			}
		}
	}
}

// offsets are how far the state is, by partition.
func (f *fleet) offsets(db store.DB) (out []int64) {
	f.t.Helper()
	err := db.View(f.t.Context(), func(tx *store.Tx) error {
		parts, err := tx.Parts()
		for _, p := range parts {
			out = append(out, p.NextOffset)
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// K3 and K11: the topic is deleted while the nodes run, and made anew. Doors refuse, and then accept by themselves; the records are of
// another life, so none is applied, and it is said, until a person says where to go on.
func TestFleetWhoseTopicIsMadeAnewAppliesNothingOfItUntilItIsToldTo(t *testing.T) {
	together(t)
	seed := seedOf(t)
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.lives(seed, 2*time.Second)
	before := rows(f.dump())
	f.begin()
	client := f.many.client()
	_, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{f.many.topic}})
	if err != nil {
		t.Fatal(err)
	}
	refused := f.until("all doors refuse", 60*time.Second, f.refuses)
	for _, url := range f.urls() {
		ready, _ := get(t.Context(), url+"/readyz", "") // its status is 503
		if bytes.Contains(ready, []byte(`"ok":true`)) {
			t.Errorf("a node without a topic says that it is ready: %s", ready)
		}
	}
	f.until("the topic is made anew", 30*time.Second, func() bool {
		made, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: f.many.topic, NumPartitions: fleetPartitions, ReplicationFactor: 1}}})
		return err == nil && made.Errors[f.many.topic] == nil
	})
	made := time.Now()
	f.until("all doors accept", 60*time.Second, f.accepts)
	accepted := time.Since(made)
	if accepted > 30*time.Second {
		t.Errorf("the doors accepted %s after there was a topic again, want at most 30 s", accepted)
	}
	f.until("a node says that the records are not those it knows", 60*time.Second, func() bool {
		f.knock()
		return f.sum("tocsin_correlate_stops_total") > 0 && slices.ContainsFunc(f.nodes, func(p *plant) bool { return p.logged(errForeign.Error()) })
	})
	said := time.Since(made)
	f.stop()
	after := unknocked(rows(f.dump()), made)
	if !bytes.Equal(after, before) {
		t.Errorf("the state is not as before:\n%s", firstDifferences(before, after))
	}
	err = Rejoin(t.Context(), RejoinOptions{Config: f.nodes[0].config(), Partition: -1, At: "earliest", Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	f.start()
	f.settle()
	f.stop()
	s, err := f.many.state(t)
	if err != nil {
		t.Fatal(err)
	}
	sum := audit{accepted: f.nodes[0].ledger.accepted}
	f.nodes[0].auditAlerts(s, &sum, func(n *int, format string, args ...any) { *n++; t.Errorf(format, args...) })
	t.Logf("seed %d accepted %d lost %d doubled %d; all doors refused after %s; with a topic again they accepted after %s, and it was said after %s that it is another", seed,
		sum.accepted, sum.lost, sum.doubled, refused.Round(10*time.Millisecond), accepted.Round(10*time.Millisecond), said.Round(10*time.Millisecond))
}

// unknocked is a dump without the alerts of those who knocked at the doors for the last time before then: brokers that are told to delete a
// topic may take a while until they do.
func unknocked(dump []byte, then time.Time) []byte {
	var out []byte
	for line := range bytes.Lines(dump) {
		var a struct {
			Key    string
			LastAt time.Time
		}
		_ = json.Unmarshal(line, &a) // what is no alert has neither
		if !strings.HasSuffix(a.Key, "-knock") || !a.LastAt.Before(then) {
			out = append(out, line...)
		}
	}
	return out
}

// rows are what a dump says of alerts and incidents, and not how far the journal was read for it.
func rows(dump []byte) []byte {
	var out []byte
	for line := range bytes.Lines(dump) {
		if !bytes.HasPrefix(line, []byte(`{"Partition":`)) {
			out = append(out, line...)
		}
	}
	return out
}

// K4: retention takes records that nobody has applied. It is said which, and the rest is applied.
func TestFleetWhoseUnappliedRecordsAreRemovedSaysHowManyAndGoesOn(t *testing.T) {
	together(t)
	each := 10
	if full() {
		each = 200
	}
	m, l := linked(t)
	f := newFleet(t, 1, m, killRules)
	f.begin()
	for service := range services {
		f.knockAt(f.urls()[0], service)
	}
	f.settle()
	db := f.database()
	applied := f.offsets(db)
	l.hold() // from here on nothing is applied
	for range each {
		for service := range cells {
			f.knockAt(f.urls()[0], service)
		}
	}
	ends, want := m.ends(t), int64(0)
	upTo := slices.Clone(ends)
	for n := range upTo {
		upTo[n] -= (ends[n] - applied[n]) / 3
		want += upTo[n] - applied[n]
	}
	f.nodes[0].kill()
	l.carryOn()
	applied2 := f.offsets(db)
	if !slices.Equal(applied, applied2) {
		t.Fatalf("applied up to %v, and then to %v without a database", applied, applied2)
	}
	m.remove(t, upTo)
	f.start()
	took := f.until("the records that are lost are counted", 60*time.Second, func() bool { return f.sum("tocsin_journal_lost_records_total") >= float64(want) })
	f.until("the rest is applied", 60*time.Second, func() bool {
		now := f.offsets(db)
		for n := range now {
			if now[n] < ends[n] {
				return false
			}
		}
		return true
	})
	if got := f.sum("tocsin_journal_lost_records_total"); got != float64(want) {
		t.Errorf("%v records are counted as lost, want %d", got, want)
	}
	for n := range fleetPartitions {
		if upTo[n] > applied[n] && !f.nodes[0].logged(fmt.Sprintf("partition=%d from=%d to=%d ", n, applied[n], upTo[n])) {
			t.Errorf("the log does not say that partition %d lost the records %d to %d", n, applied[n], upTo[n]-1)
		}
	}
	if status, _ := f.knockAt(f.urls()[0], quietService); status != http.StatusAccepted {
		t.Errorf("the door answered %d afterwards, want 202", status)
	}
	f.settle()
	f.stop()
	t.Logf("%d records removed before they were applied, counted exactly %s after the start", want, took.Round(10*time.Millisecond))
}

// K12: somebody adds partitions to the topic. They stay unused, and it is said.
func TestFleetWhoseTopicGetsMorePartitionsGoesOnWithItsOwn(t *testing.T) {
	together(t)
	seed := seedOf(t)
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.begin()
	stop := f.load(seed)
	sleepFor(t, time.Second)
	res, err := f.many.client().CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: f.many.topic, Count: fleetPartitions + 2}}})
	if err != nil || res.Errors[f.many.topic] != nil {
		t.Fatal(err, res)
	}
	took := f.until("every node says that there are foreign partitions", 60*time.Second, func() bool { return f.sum("tocsin_kafka_foreign_partitions") == 2*float64(len(f.nodes)) })
	for _, p := range f.nodes {
		if !p.logged("topic has partitions that are not used") {
			t.Errorf("node %s did not say that the topic has partitions that are not used", p.name)
		}
	}
	p := f.nodes[1]
	p.terminate()
	f.start(p) // also one that finds them there
	f.until("every partition is worked on", 60*time.Second, f.working)
	sleepFor(t, time.Second)
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s all nodes knew of 2 foreign partitions after %s", f.figures(seed, sum), took.Round(10*time.Millisecond))
}

// K8: what the broker keeps of a group's offsets, or loses of it, is nobody's business: each partition of the topic, read from its
// beginning again, comes to the same tables.
func TestFleetWhoseTopicIsReadFromItsBeginningAgainComesToTheSameTables(t *testing.T) {
	together(t)
	seed := seedOf(t)
	f := newFleet(t, 2, sharedStorage(t), soakRules)
	f.lives(seed, 3*time.Second)
	s, err := f.many.state(t)
	if err != nil {
		t.Fatal(err)
	}
	source := f.many.journal(t)
	defer source.Close()
	for _, part := range s.parts {
		foldsAlike(t, f.many.open, source, part, seed, f.many.elsewhere(doubled(t), part.Partition), f.nodes[0].config())
	}
}

// A queue is a sender of alerts that belong to one group: each is a new one, and follows when the one before was answered 2xx.
type queue struct {
	service  int
	answered int // so many, in this order
	tries    int // of the next, which was not
	refused  int // times that a door said no, or nobody was there
}

func (q *queue) key(n int) string { return fmt.Sprintf("queue-%d-%d", q.service, n) }

// run sends until ctx ends.
func (q *queue) run(ctx context.Context, f *fleet) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for turn := q.service; ctx.Err() == nil; turn++ {
		urls := f.urls()
		status := 0
		if len(urls) > 0 {
			q.tries++
			status, _ = f.door(urls[turn%len(urls)], intent{key: q.key(q.answered), service: q.service, severity: "critical", says: fires}, 12*time.Second)
		}
		if status == http.StatusAccepted {
			q.answered, q.tries = q.answered+1, 0
		} else {
			q.refused++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// check holds what was applied of the group, in that order, against what was answered.
func (q *queue) check(t *testing.T, applied []tocsin.Alert) {
	t.Helper()
	most := q.answered
	if q.tries > 0 {
		most++ // the last may have arrived, though nobody said so
	}
	if len(applied) < q.answered || len(applied) > most {
		t.Errorf("of group s%d %d alerts were applied, want %d to %d", q.service, len(applied), q.answered, most)
	}
	for n, a := range applied {
		if got := a.Labels.Get("key"); got != q.key(n) {
			t.Errorf("alert %d of group s%d is %s, want %s", n, q.service, got, q.key(n))
			return
		}
	}
}

// K12: the state goes to another number of partitions while senders go on. Nobody is there meanwhile, so they try again; what each was
// answered is applied in that order, also of what waited in the old topic for a node that was killed.
func TestFleetThatMovesToMorePartitionsAppliesEachGroupInTheOrderOfItsAnswers(t *testing.T) {
	together(t)
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.begin()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	var queues []*queue
	for service := range 2 * cells {
		if service%6 == 5 {
			continue // what comes in pairs waits for the second
		}
		q := &queue{service: service}
		queues = append(queues, q)
		sending.Go(func() { q.run(ctx, f) })
	}
	length := 2 * time.Second
	if full() {
		length = 15 * time.Second
	}
	sleepFor(t, length)
	f.nodes[1].kill()
	sleepFor(t, time.Second) // the other one takes what it does not apply, until its partitions are given out anew
	f.nodes[0].terminate()
	const more = 12
	said, took := f.move(more)
	f.start()
	f.until("it works on all partitions", 60*time.Second, func() bool { return f.sum("tocsin_correlate_partitions") == more })
	sleepFor(t, length)
	stop()
	sending.Wait()
	f.until("everything is applied", 60*time.Second, func() bool { return f.sum("tocsin_journal_lag_events") == 0 })
	f.stop()
	s, err := f.many.state(t)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(s.alerts, func(a, b tocsin.Alert) int { return cmp.Compare(a.ID, b.ID) }) // one partition gives out rising ids, before the move and after
	groups, elsewhere := map[string][]tocsin.Alert{}, map[string]bool{}
	was := newShards(fleetPartitions, []string{"cell"})
	for _, a := range s.alerts {
		service := a.Labels.Get("service")
		groups[service] = append(groups[service], a)
		domain, _ := was.domain(nil, a.Labels)
		if was.of(string(domain)) != a.Partition {
			elsewhere[service] = true
		}
	}
	if len(elsewhere) == 0 {
		t.Error("every group stayed in its partition: nothing was seen")
	}
	answered, refused := 0, 0
	for _, q := range queues {
		q.check(t, groups[fmt.Sprint("s", q.service)])
		answered, refused = answered+q.answered, refused+q.refused
	}
	waiting := regexp.MustCompile(`still to be applied: (\d+)`).FindStringSubmatch(said)
	t.Logf("%d alerts of %d groups answered 2xx, %d tries refused; %s records waited in the old topic; moved to %d partitions in %s, %d groups to another one than before; applied in order, 0 lost: %v",
		answered, len(queues), refused, waiting[1:], more, took.Round(10*time.Millisecond), len(elsewhere), !t.Failed())
}

// move carries the state to another topic with so many partitions, once the node that was killed counts as gone, and returns what was
// said and how long it took.
func (f *fleet) move(partitions int) (said string, took time.Duration) {
	f.t.Helper()
	text, err := os.ReadFile(f.nodes[0].config())
	if err != nil {
		f.t.Fatal(err)
	}
	old := fmt.Sprintf("topic: %s, partitions: %d", f.many.topic, fleetPartitions)
	to := filepath.Join(f.nodes[0].dir, "moved.yaml")
	err = os.WriteFile(to, bytes.Replace(text, []byte(old), fmt.Appendf(nil, "topic: %s-moved, partitions: %d", f.many.topic, partitions), 1), 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	var out bytes.Buffer
	f.until("nobody works on the old state", 60*time.Second, func() bool {
		out.Reset()
		began := time.Now()
		err = Migrate(f.t.Context(), MigrateOptions{From: f.nodes[0].config(), To: to, Stdout: &out, Stderr: f.t.Output()})
		took = time.Since(began)
		return !errors.Is(err, migrate.ErrAlive)
	})
	if err != nil {
		f.t.Fatalf("%v\n%s", err, out.String())
	}
	for _, p := range f.nodes {
		p.file = to
	}
	return out.String(), took
}
