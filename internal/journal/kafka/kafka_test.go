package kafka

import (
	"log/slog"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/internal/journal"
	"tocsin/internal/journal/journaltest"
)

var (
	_ journal.Journal   = (*Journal)(nil)
	_ journal.Sharer    = (*Journal)(nil)
	_ journal.Graveyard = (*Journal)(nil)
)

// fake starts a cluster in this process.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// clientOf returns a client of c that is not the journal's.
func clientOf(c *kfake.Cluster) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: &kafka.Transport{}}
}

// createTopic makes a topic as somebody else does.
func createTopic(t testing.TB, c *kfake.Cluster, topic kafka.TopicConfig) {
	t.Helper()
	_, err := clientOf(c).CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err != nil {
		t.Fatal(err)
	}
}

// options are those of a journal of two partitions on c.
func options(t testing.TB, c *kfake.Cluster) Options {
	t.Helper()
	o := Options{
		Topic: "tocsin.alerts", Partitions: 2,
		Log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if c != nil {
		o.Brokers = c.ListenAddrs()
	}
	return o
}

// testLog shows the log of a test that fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(string(b[:len(b)-1]))
	}
	return len(b), nil
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	j, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestJournal(t *testing.T) {
	asAnyJournal(t, func(t *testing.T) Options { return options(t, fake(t)) })
}

// asAnyJournal runs what every journal must do, each case with Options of its own.
func asAnyJournal(t *testing.T, o func(t *testing.T) Options) {
	journaltest.Run(t, func(t *testing.T) journal.Journal { return open(t, o(t)) }, journaltest.Options{
		Resolution: time.Millisecond, Partitions: 2,
		Reopen: func(t *testing.T, j journal.Journal) journal.Journal {
			err := j.Close()
			if err != nil {
				t.Fatal(err)
			}
			return open(t, j.(*Journal).o)
		},
	})
}
