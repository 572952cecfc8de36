package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/internal/journal"
)

func TestATopicWhoseSettingsWouldLoseAlertsIsRefused(t *testing.T) {
	good := settings{copies: 3, minInSync: 2, maxBytes: topicBytes, retention: defaultRetention}
	for name, tc := range map[string]struct {
		change    func(*settings)
		copies    int
		retention time.Duration
		problem   string // in the error; "" none
		doubt     string
	}{
		"three copies, two in sync":                      {func(*settings) {}, 3, defaultRetention, "", ""},
		"more copies than are configured":                {func(*settings) {}, 2, 0, "", ""},
		"kept for ever":                                  {func(s *settings) { s.retention = -1 }, 0, defaultRetention, "", ""},
		"fewer copies than are configured":               {func(s *settings) { s.copies = 2 }, 3, 0, "replication factor of 2", "one broker that stops"},
		"one in sync of three":                           {func(s *settings) { s.minInSync = 1 }, 0, 0, "min.insync.replicas is 1", ""},
		"one in sync of two":                             {func(s *settings) { s.copies, s.minInSync = 2, 1 }, 0, 0, "min.insync.replicas is 1", ""},
		"two in sync of two":                             {func(s *settings) { s.copies = 2 }, 0, 0, "", "one broker that stops"},
		"one copy":                                       {func(s *settings) { s.copies, s.minInSync = 1, 1 }, 0, 0, "", "one copy"},
		"an unclean leader":                              {func(s *settings) { s.unclean = true }, 0, 0, "unclean.leader.election", ""},
		"an unclean leader of one copy":                  {func(s *settings) { s.copies, s.minInSync, s.unclean = 1, 1, true }, 0, 0, "", "one copy"},
		"compacted":                                      {func(s *settings) { s.compact = true }, 0, 0, "cleanup.policy", ""},
		"a retention that is shorter than configured":    {func(s *settings) { s.retention = time.Hour }, 0, 2 * time.Hour, "retention.ms keeps 1h0m0s", ""},
		"a retention where none is configured":           {func(s *settings) { s.retention = time.Hour }, 0, 0, "", ""},
		"a retention by size":                            {func(s *settings) { s.retentionBytes = 1 << 20 }, 0, 0, "", "retention.bytes"},
		"records that are smaller than ours":             {func(s *settings) { s.maxBytes = journal.MaxPayload }, 0, 0, "max.message.bytes", ""},
		"the broker's time in the place of the sender's": {func(s *settings) { s.brokerTime = true }, 0, 0, "", "LogAppendTime"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			tc.change(&s)
			problems, doubts := s.judge(tc.copies, tc.retention)
			if got := fmt.Sprint(errors.Join(problems...)); len(problems) > 1 || (tc.problem == "") != (len(problems) == 0) || !strings.Contains(got, tc.problem) {
				t.Errorf("problems %v, want one of %q", problems, tc.problem)
			}
			if len(doubts) > 1 || (tc.doubt == "") != (len(doubts) == 0) || !strings.Contains(strings.Join(doubts, ""), tc.doubt) {
				t.Errorf("doubts %q, want one of %q", doubts, tc.doubt)
			}
		})
	}
}

func TestAJournalThatWouldBeWrongIsNotOpened(t *testing.T) {
	for name, tc := range map[string]struct {
		topic  *kafka.TopicConfig // that is there already
		change func(*Options)
		want   string
	}{
		"on another cluster": {nil, func(o *Options) { o.ClusterID = "the one before" }, "but the state was built from the one before"},
		"with fewer partitions than the state knows": {
			&kafka.TopicConfig{NumPartitions: 1, ReplicationFactor: 1}, func(*Options) {}, "the topic has 1 partitions, but the state knows 2",
		},
		"on a compacted topic": {
			&kafka.TopicConfig{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}},
			func(*Options) {}, "cleanup.policy has compact",
		},
		"on a topic for small records": { // K10
			&kafka.TopicConfig{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "100000"}}},
			func(*Options) {}, "max.message.bytes is 100000",
		},
		"on a topic that keeps less than it shall": {
			&kafka.TopicConfig{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "60000"}}},
			func(o *Options) { o.Retention = time.Hour }, "retention.ms keeps 1m0s, but 1h0m0s is configured",
		},
		"with a mechanism that is not known": {nil, func(o *Options) { o.SASL.Mechanism = "gssapi" }, `"gssapi" is not known`},
		"with a broker that is no address":   {nil, func(o *Options) { o.Brokers = []string{"kafka"} }, "missing port"},
		"without a topic":                    {nil, func(o *Options) { o.Topic = "" }, "no topic"},
		"where nobody listens":               {nil, func(o *Options) { o.Brokers = []string{"127.0.0.1:1"} }, "no broker answers"},
		"with TLS where there is none":       {nil, func(o *Options) { o.TLS, _ = TLS("", "", "", "") }, "no broker answers"},
		"with a feed that is the journal":    {nil, func(o *Options) { o.Feeds = []string{o.Topic} }, "a feed goes to the journal's own topic"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake(t)
			o := options(t, c)
			if tc.topic != nil {
				tc.topic.Topic = o.Topic
				createTopic(t, c, *tc.topic)
			}
			tc.change(&o)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			j, err := Open(ctx, o)
			if err == nil {
				_ = j.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one that says %q", err, tc.want)
			}
		})
	}
}

// Pitfall 11: TLS and SASL are set twice, for the writer and readers, and for the group.
func TestAllConnectionsSpeakTLSAndSASL(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "tocsin", "secret"))
	o := options(t, c)
	o.SASL = SASL{Mechanism: ScramSHA512, Username: "tocsin", Password: "secret"}
	j := open(t, o)
	appendOne(t, j, 0, "an alert")
	if diff := cmp.Diff([]string{"an alert"}, contentsOf(t, j, 0, 1)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	of := newOffice(t)
	stop := member(t, o, of.own("one"))
	of.until("all to be owned", func(n map[string]int) bool { return n["one"] == 2 })
	stop()

	o.SASL.Password = "wrong"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := Open(ctx, o); err == nil {
		t.Error("a wrong password was taken")
	}
}

func TestATopicThatIsMissingIsMadeToKeepWhatItAcknowledges(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3))
	o := options(t, c)
	o.Feeds = []string{"tocsin.incidents"}
	j := open(t, o)
	for topic, partitions := range map[string]int{o.Topic: 2, "tocsin.alerts.dead": 1, "tocsin.incidents": 2} {
		info := c.TopicInfo(topic)
		if info == nil {
			t.Fatalf("there is no topic %s", topic)
		}
		res, err := clientOf(c).DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}}})
		if err != nil {
			t.Fatal(err)
		}
		got := settings{copies: 3}
		err = got.read(res.Resources[0].ConfigEntries)
		if err != nil {
			t.Fatal(err)
		}
		problems, doubts := got.judge(3, defaultRetention)
		if topic == "tocsin.alerts.dead" {
			doubts = nil // it is bounded by size
		}
		if len(problems)+len(doubts) > 0 || got.maxBytes < 1<<20 || got.minInSync != 2 {
			t.Errorf("topic %s is made as %+v: %v %v", topic, got, problems, doubts)
		}
		if n := len(c.PartitionInfos(topic)); n != partitions {
			t.Errorf("topic %s has %d partitions, want %d", topic, n, partitions)
		}
	}
	if j.ClusterID() == "" {
		t.Error("the cluster has no id")
	}
	o.ClusterID = j.ClusterID()
	open(t, o)
}

func TestDeadLettersAreListedUntilTheyAreSettled(t *testing.T) {
	c := fake(t)
	j := open(t, options(t, c))
	at := time.Date(2026, 3, 23, 9, 0, 0, 5e6, time.UTC)
	letter := func(partition int, offset int64) journal.DeadLetter {
		return journal.DeadLetter{
			Partition: partition, Offset: offset, At: at.Add(time.Duration(offset) * time.Second), Reason: "it is malformed",
			Payload: fmt.Append(nil, "payload ", offset), Tries: 3,
		}
	}
	listed := func(limit int, want ...journal.DeadLetter) {
		t.Helper()
		got, err := j.DeadLetters(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	bury := func(d journal.DeadLetter) {
		t.Helper()
		if err := j.Bury(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	listed(10)
	a, b, d := letter(0, 1), letter(1, 1), letter(0, 2)
	bury(a)
	bury(b)
	bury(d)
	listed(10, a, b, d)
	listed(2, b, d)
	listed(0)
	again := b
	again.Reason, again.Tries = "still", 6
	bury(again) // a worker that was killed after it had buried it
	listed(10, a, d, again)
	if err := j.Settle(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	listed(10, d, again)
	listed(1, again)
	bury(a)
	listed(10, d, again, a)
	other := open(t, options(t, c)) // another node sees the same
	got, err := other.DeadLetters(t.Context(), 1)
	if diff := cmp.Diff([]journal.DeadLetter{a}, got); err != nil || diff != "" {
		t.Errorf("%v -want +got\n%s", err, diff)
	}
}

func TestALetterMayBeAsBigAsAnEntry(t *testing.T) {
	j := open(t, options(t, fake(t)))
	d := journal.DeadLetter{Payload: bytes.Repeat([]byte{7}, journal.MaxPayload), Reason: "r" + strings.Repeat("é", 50_000)}
	err := j.Bury(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := j.DeadLetters(t.Context(), 10)
	if err != nil || len(got) != 1 || !bytes.Equal(got[0].Payload, d.Payload) {
		t.Fatalf("%d letters, %v", len(got), err)
	}
	if want := "r" + strings.Repeat("é", (mostReason-1)/2); got[0].Reason != want {
		t.Errorf("the reason has %d bytes, want %d, of whole characters", len(got[0].Reason), len(want))
	}
}

func FuzzReadLetter(f *testing.F) {
	f.Add([]byte(`{"partition":1,"offset":2}`), []byte(`{"version":1,"at":"2026-03-23T09:00:00Z","reason":"why","tries":3,"payload":"AAE="}`))
	f.Add([]byte(`{}`), []byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		d, err := readLetter(record{key: key, value: value})
		if err != nil && !cmp.Equal(d, journal.DeadLetter{}) {
			t.Errorf("an error, and %+v", d)
		}
	})
}

func TestAFeedKeepsTheOrderOfEachKeyWhereOtherClientsLookForIt(t *testing.T) {
	c := fake(t)
	o := options(t, c)
	o.Partitions, o.Feeds = 3, []string{"tocsin.incidents"}
	j := open(t, o)
	var messages []Message
	for i := range 30 {
		messages = append(messages, Message{Key: fmt.Append(nil, "incident ", i%5), Value: fmt.Append(nil, i), At: time.UnixMilli(int64(1_700_000_000_000 + i))})
	}
	err := errors.Join(j.Publish(t.Context(), "tocsin.incidents", messages[:10]), j.Publish(t.Context(), "tocsin.incidents", messages[10:]), j.Publish(t.Context(), "tocsin.incidents", nil))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		var want []string
		for _, m := range messages {
			if (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: m.Key}, 0, 1, 2) == n {
				want = append(want, string(m.Key)+"="+string(m.Value))
			}
		}
		r, err := j.fetchNow(t.Context(), "tocsin.incidents", n, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		records, _, err := copies(r, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range records {
			got = append(got, string(r.key)+"="+string(r.value))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("partition %d: -want +got\n%s", n, diff)
		}
	}
	if err := j.Publish(t.Context(), o.Topic, messages); err == nil {
		t.Error("a feed was written into the journal")
	}
}

// The values are those of Java's client, so that a feed's keys are where other programs expect them.
func TestKeysAreHashedAsJavasClientDoes(t *testing.T) {
	for key, want := range map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536} {
		got := (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: []byte(key)}, sequence(1000)...)
		if want := int(want&0x7fffffff) % 1000; got != want {
			t.Errorf("key %q goes to %d of 1000, want %d", key, got, want)
		}
	}
}

func sequence(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
