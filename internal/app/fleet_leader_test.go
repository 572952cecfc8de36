//go:build !race

package app

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin/parts/partstest"
)

// layout is what the brokers say of the topic's partitions.
func (m *manyNodes) layout(t *testing.T) []kafka.Partition {
	t.Helper()
	res, err := m.client().Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{m.topic}})
	if err != nil || len(res.Topics) != 1 {
		return nil // a broker that is away was asked: the next look may find another
	}
	return res.Topics[0].Partitions
}

// moveLeaders makes the next of each partition's copies its leader, and returns who that is.
func (f *fleet) moveLeaders(c *kgo.Client) (leaders map[int]int) {
	f.t.Helper()
	leaders = map[int]int{}
	move, elect := kmsg.NewPtrAlterPartitionAssignmentsRequest(), kmsg.NewPtrElectLeadersRequest()
	move.TimeoutMillis, elect.TimeoutMillis = 10_000, 10_000
	moved, elected := kmsg.NewAlterPartitionAssignmentsRequestTopic(), kmsg.NewElectLeadersRequestTopic()
	moved.Topic, elected.Topic = f.many.topic, f.many.topic
	for _, p := range f.many.layout(f.t) {
		to := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		to.Partition = int32(p.ID)
		for n := range p.Replicas {
			to.Replicas = append(to.Replicas, int32(p.Replicas[(n+1)%len(p.Replicas)].ID))
		}
		leaders[p.ID] = int(to.Replicas[0])
		moved.Partitions = append(moved.Partitions, to)
		elected.Partitions = append(elected.Partitions, int32(p.ID))
	}
	move.Topics = append(move.Topics, moved)
	elect.Topics = append(elect.Topics, elected)
	for _, req := range []kmsg.Request{move, elect} {
		_, err := c.Request(f.t.Context(), req)
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return leaders
}

// K1 and K2: three brokers. Leaders move, and then one broker is killed and comes back.
func TestFleetWhoseLeadersMoveLosesNothingAndDoesNothingTwice(t *testing.T) {
	together(t)
	seed := seedOf(t)
	moves, kills := 2, 0 // a broker of this size takes half a minute to come back
	if full() {
		moves, kills = 20, 3
	}
	k := partstest.StartKafka(t, 3)
	dsn := partstest.Database(t)
	f := newFleet(t, 2, &manyNodes{brokers: k.Brokers, topic: "fleet-" + uuid.NewString(), dsn: dsn, direct: dsn}, killRules)
	f.begin()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.Brokers, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stop := f.load(seed)
	for range moves {
		leaders := f.moveLeaders(c)
		f.until("the leaders have moved", 60*time.Second, func() bool {
			parts := f.many.layout(t)
			for _, p := range parts {
				if p.Leader.ID != leaders[p.ID] {
					return false
				}
			}
			return len(parts) == fleetPartitions
		})
		sleepFor(t, time.Second)
	}
	longest := time.Duration(0)
	for n := range kills {
		k.Kill(n%3 + 1)
		longest = max(longest, f.until("all doors accept without one broker", 60*time.Second, f.accepts))
		k.Start(n%3 + 1)
		f.until("every partition is worked on", 60*time.Second, f.working)
	}
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s leaders of %d partitions moved %d times; one of three brokers killed %d times, all doors accepted at most %s later",
		f.figures(seed, sum), fleetPartitions, moves, kills, longest.Round(10*time.Millisecond))
}
