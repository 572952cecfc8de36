package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"tocsin/config"
	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/journal/kafka"
	"tocsin/internal/migrate"
	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/internal/store/sqlite"
)

// A wal is a journal that shares its partitions out and knows how it is.
type wal interface {
	journal.Journal
	journal.Sharer
	Health() error // nil: it can make records durable
}

// openStorage opens the state, and then the journal that belongs to it.
func (a *App) openStorage(ctx context.Context, c *config.Config) error {
	err := a.openState(ctx, c)
	if err == nil {
		err = migrate.Settled(ctx, a.db)
	}
	if err != nil {
		return err
	}
	return a.openJournal(ctx, c)
}

// openJournal opens the journal that belongs to the state, which is open.
func (a *App) openJournal(ctx context.Context, c *config.Config) error {
	now, err := a.db.Now(ctx)
	if err != nil {
		return err
	}
	a.clock = newClock(now)
	a.partitions, err = a.layout(ctx, c)
	if err != nil {
		return err
	}
	if c.Storage.Kafka != nil {
		return a.openKafka(ctx, c)
	}
	return a.openDisk(ctx, c)
}

func (a *App) openState(ctx context.Context, c *config.Config) error {
	if p := c.Storage.Postgres; p != nil {
		db, err := postgres.Open(ctx, p.DSN, postgres.Options{Log: a.log, Registry: a.registry})
		if err != nil {
			return fmt.Errorf("storage.state.postgres: %w", err)
		}
		a.db = db
		return nil
	}
	dir := c.Storage.Dir
	err := os.MkdirAll(dir, 0o750)
	if err != nil {
		return fmt.Errorf("storage.dir: %w", err)
	}
	db, err := sqlite.Open(filepath.Join(dir, "tocsin.db"), sqlite.Options{Log: a.log})
	if err != nil {
		if errors.Is(err, sqlite.ErrInUse) {
			err = fmt.Errorf("%w: one process at a time can work on embedded storage; for more, set storage.journal.kafka and storage.state.postgres", err)
		}
		return fmt.Errorf("storage.dir %s: %w", dir, err)
	}
	a.db = db
	return nil
}

// layout returns N, how many partitions the state has. It stands in the state since the first start, as do the labels that share
// alerts out to them and the journal that its offsets are of: with another of them the state would be of something else.
func (a *App) layout(ctx context.Context, c *config.Config) (n int, err error) {
	want := partitionsOf(c)
	list, err := isolation(c)
	if err != nil {
		return 0, err
	}
	var isolated string
	err = a.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		_, err := tx.MetaOnce(store.MetaPartitions, strconv.Itoa(want))
		if err != nil {
			return err
		}
		n, err = tx.Partitions()
		if err != nil {
			return err
		}
		if n == 1 { // every domain is in the one partition: nothing has to move
			isolated = list
			err = tx.SetMeta(store.MetaIsolateBy, isolated)
		} else {
			isolated, err = tx.MetaOnce(store.MetaIsolateBy, list)
		}
		if err != nil {
			return err
		}
		return tx.Found(n)
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("layout of the state: %w", err)
	case n != want:
		return 0, fmt.Errorf("the state has %d partitions and the configuration asks for %d: move it with tocsin migrate, or set storage.journal.kafka.partitions to %d", n, want, n)
	case isolated != list:
		return 0, fmt.Errorf("the state was made with isolate_by %s and the configuration says %s: move it with tocsin migrate, or set it back", isolated, list)
	}
	return n, nil
}

// belong makes the state that of this journal, or finds that it is another's.
func (a *App) belong(ctx context.Context, journal string) error {
	var owner string
	err := a.db.Update(ctx, store.Commands, func(tx *store.Tx) (err error) {
		owner, err = tx.MetaOnce(store.MetaJournal, journal)
		return err
	})
	if err != nil {
		return fmt.Errorf("journal of the state: %w", err)
	}
	if owner != journal {
		return fmt.Errorf("the state's offsets are of %s, and the configuration names %s: move it with tocsin migrate, or set storage.journal back", owner, journal)
	}
	return nil
}

// embedded is what the state calls the journal beside it.
const embedded = "the embedded journal"

// openDisk opens the embedded journal, and sees to it that no offset is given out again that the state has seen: a disk may have
// lost what it said was durable.
func (a *App) openDisk(ctx context.Context, c *config.Config) error {
	name, err := a.reachDisk(c)
	if err != nil {
		return err
	}
	err = a.belong(ctx, name)
	if err != nil {
		return err
	}
	var part store.Part
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		part, err = tx.Part(0)
		return err
	})
	if err != nil {
		return err
	}
	lost, err := a.disk.Expect(0, part.NextOffset)
	if err != nil {
		return err
	}
	if lost != nil {
		a.gap(lost)
	}
	return a.disk.SetFloor(0, part.TouchOffset)
}

// reachDisk opens an embedded journal, and returns what a state calls it.
func (a *App) reachDisk(c *config.Config) (name string, err error) {
	dir := c.Storage.Dir
	err = os.MkdirAll(dir, 0o750)
	if err != nil {
		return "", fmt.Errorf("storage.dir: %w", err)
	}
	j, err := disk.Open(filepath.Join(dir, "journal"), disk.Options{MaxAge: journalFor, MaxBytes: journalBytes, Log: a.log})
	if err != nil {
		return "", fmt.Errorf("storage.dir %s: %w", dir, err)
	}
	a.journal, a.disk = j, j
	return embedded, nil
}

// openTime bounds how long brokers may take to answer at start.
const openTime = 30 * time.Second

func (a *App) openKafka(ctx context.Context, c *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	name, err := a.reachKafka(ctx, c)
	if err != nil {
		return err
	}
	err = a.belong(ctx, name)
	if err != nil || c.Storage.Postgres != nil {
		return err
	}
	return a.only(ctx)
}

// reachKafka opens a journal on Kafka, and returns what a state calls it.
func (a *App) reachKafka(ctx context.Context, c *config.Config) (name string, err error) {
	k := c.Storage.Kafka
	o, err := kafkaOptions(k)
	if err != nil {
		return "", fmt.Errorf("storage.journal.kafka: %w", err)
	}
	o.Partitions, o.Log = a.partitions, a.log
	j, err := kafka.Open(ctx, o)
	if err != nil {
		return "", fmt.Errorf("storage.journal.kafka: %w", err)
	}
	a.journal, a.kafka = j, j
	a.holds.spare = true // there may be more nodes than partitions
	return fmt.Sprintf("topic %s of Kafka cluster %s", k.Topic, j.ClusterID()), nil
}

// only sees to it that nobody else reads the topic where the state is this process's alone: each would know half of the alerts. One
// that died is still listed until its session has ended, so this waits for that.
func (a *App) only(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*groupIdle)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for deadline := time.Now().Add(groupIdle); ; {
		n, err := a.kafka.Members(ctx)
		switch {
		case err == nil && n == 0:
			return nil
		case err == nil && time.Now().After(deadline):
			return fmt.Errorf("%d other processes read this topic, and SQLite's state is of one process alone: set storage.state.postgres to run more than one", n)
		case err != nil && time.Now().After(deadline):
			return fmt.Errorf("storage.journal.kafka: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// kafkaOptions are what the configuration says of the cluster.
func kafkaOptions(k *config.Kafka) (kafka.Options, error) {
	o := kafka.Options{Brokers: k.Brokers, Topic: k.Topic, Replication: k.Replication, Retention: time.Duration(k.Retention)}
	if k.Feed != "" {
		o.Feeds = []string{k.Feed}
	}
	if s := k.SASL; s != nil {
		o.SASL = kafka.SASL{Mechanism: s.Mechanism, Username: s.Username, Password: s.Password}
	}
	if k.TLS == nil {
		return o, nil
	}
	var err error
	o.TLS, err = kafka.TLS(k.TLS.CA, k.TLS.Cert, k.TLS.Key, k.TLS.ServerName)
	return o, err
}
