package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"tocsin/config"
	"tocsin/internal/journal/kafka"
	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
)

// manyNodes is storage that many nodes work on: a topic of a real Kafka, and a database of a real PostgreSQL.
type manyNodes struct {
	brokers string // by commas
	topic   string
	dsn     string // as the nodes have it
	direct  string // as the test has it: past whatever it has put between
}

// fleetPartitions is N of all fleets.
const fleetPartitions = 4

func (m *manyNodes) open() (store.DB, error) {
	return postgres.Open(context.Background(), m.direct, postgres.Options{})
}

func (m *manyNodes) state(t *testing.T) (s state, err error) {
	t.Helper()
	db, err := m.open()
	if err != nil {
		return s, err
	}
	defer db.Close()
	return stateOf(t.Context(), db)
}

// journal reads the topic.
func (m *manyNodes) journal(t *testing.T) *kafka.Journal {
	t.Helper()
	j, err := kafka.Open(t.Context(), kafka.Options{Brokers: strings.Split(m.brokers, ","), Topic: m.topic, Partitions: fleetPartitions})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// isFold reports whether each partition's rows are the fold of its records and commands. The fold is made on other storage: a SQLite
// file of its own, and Kafka's double, which gets nothing but rules.
func (m *manyNodes) isFold(t *testing.T, path string, live state) bool {
	t.Helper()
	source := m.journal(t)
	defer source.Close()
	double := doubled(t)
	same := true
	for _, part := range live.parts {
		same = foldsTo(t, m.open, source, live, part, true, m.elsewhere(double, part.Partition), path) && same
	}
	return same
}

// elsewhere edits the configuration for a fold of one partition: Kafka's double at an address, and no PostgreSQL.
func (m *manyNodes) elsewhere(double string, partition int) func(*config.Config) {
	return func(c *config.Config) {
		k := *c.Storage.Kafka
		k.Brokers, k.Topic = []string{double}, fmt.Sprintf("fold-%d-%s", partition, uuid.NewString())
		c.Storage.Kafka, c.Storage.Postgres = &k, nil
	}
}
