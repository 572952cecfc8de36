package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin"
	"tocsin/config"
	"tocsin/internal/migrate"
	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
)

// MigrateOptions say what to move where.
type MigrateOptions struct {
	From    string      // path of the configuration that was served
	To      string      // path of the one that is to be served
	DryRun  bool        // only say what would be done; the new storage is not touched
	Confirm func() bool // is asked once the plan has been printed; nil: go on
	Stdout  io.Writer
	Stderr  io.Writer // where mistakes of the configurations and warnings go

	chunk int // rows of one transaction; 0: the usual
}

// ErrUnconfirmed means that nobody said yes; nothing was moved.
var ErrUnconfirmed = errors.New("not confirmed: nothing was moved")

// Migrate moves the state of one configuration's storage to another's, and to its journal, number of partitions and isolate_by. No server
// may run. It may be killed at any moment and run again.
func Migrate(ctx context.Context, o MigrateOptions) error {
	from, err := readConfig(o.From, o.Stderr)
	if err != nil {
		return err
	}
	to, err := readConfig(o.To, o.Stderr)
	if err != nil {
		return err
	}
	m := &migration{MigrateOptions: o, log: warnings(o.Stderr), from: from, to: to}
	err = m.run(ctx)
	return errors.Join(err, m.close())
}

// readConfig reads a configuration, and prints what is wrong with it.
func readConfig(path string, stderr io.Writer) (*config.Config, error) {
	c, problems := config.Load(path)
	for _, p := range problems {
		fmt.Fprintln(stderr, p)
	}
	if c == nil {
		return nil, ErrConfig
	}
	return c, nil
}

// warnings is a log of what is not as it should be.
func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// unserved returns an App that has nothing open, for those who work on storage while nobody serves it.
func unserved(log *slog.Logger) *App {
	a := &App{log: log, registry: prometheus.NewRegistry()}
	a.observe()
	return a
}

// A migration is one under way between two configurations.
type migration struct {
	MigrateOptions
	log      *slog.Logger
	from, to *config.Config
	old, new *App // parts of them; new has no state where it is the old one's
	job      migrate.Job
}

func (m *migration) say(format string, args ...any) { fmt.Fprintf(m.Stdout, format+"\n", args...) }

// inPlace reports whether both configurations name one state.
func (m *migration) inPlace() bool {
	a, b := m.from.Storage, m.to.Storage
	if a.Postgres != nil && b.Postgres != nil {
		return a.Postgres.DSN == b.Postgres.DSN
	}
	return a.Postgres == nil && b.Postgres == nil && sameFolder(a.Dir, b.Dir)
}

// sameJournal reports whether both configurations name one journal.
func (m *migration) sameJournal() bool {
	a, b := m.from.Storage, m.to.Storage
	if a.Kafka != nil && b.Kafka != nil {
		return a.Kafka.Topic == b.Kafka.Topic && slices.Equal(a.Kafka.Brokers, b.Kafka.Brokers)
	}
	return a.Kafka == nil && b.Kafka == nil && sameFolder(a.Dir, b.Dir)
}

func sameFolder(a, b string) bool {
	x, err := os.Stat(a)
	if err == nil {
		y, err := os.Stat(b)
		return err == nil && os.SameFile(x, y)
	}
	return filepath.Clean(a) == filepath.Clean(b)
}

func (m *migration) run(ctx context.Context) error {
	err := m.plan()
	if err != nil {
		return err
	}
	m.old, m.new = unserved(m.log), unserved(m.log)
	pending, err := m.open(ctx)
	if err != nil {
		return err
	}
	if pending.CanDrain() {
		err = migrate.Settled(ctx, m.old.db)
		if err == nil {
			err = m.old.openJournal(ctx, m.from)
		}
		if err != nil {
			return fmt.Errorf("the old storage: %w", err)
		}
	}
	err = m.preview(ctx, pending)
	if err != nil || m.DryRun {
		return err
	}
	if m.Confirm != nil && !m.Confirm() {
		return ErrUnconfirmed
	}
	if pending.CanDrain() {
		m.say("step: apply what the old journal still holds")
		err = m.old.drain(ctx, m.from)
		if err != nil {
			return fmt.Errorf("the old journal was not applied to its end, nothing was moved: %w", err)
		}
	}
	err = m.reach(ctx)
	if err != nil {
		return fmt.Errorf("the new journal: %w", err)
	}
	report, err := m.job.Run(ctx)
	if err != nil {
		return fmt.Errorf("%w (the same command may be run again)", err)
	}
	m.done(report)
	return nil
}

// plan says in words what goes where.
func (m *migration) plan() error {
	m.job = migrate.Job{Partitions: partitionsOf(m.to), Chunk: m.chunk, Say: m.say}
	list, err := isolation(m.to)
	if err != nil {
		return err
	}
	was, err := isolation(m.from)
	if err != nil {
		return err
	}
	if m.inPlace() && m.sameJournal() && partitionsOf(m.from) == m.job.Partitions && (was == list || m.job.Partitions == 1) {
		return fmt.Errorf("%s and %s name the same storage with as many partitions and the same isolate_by: there is nothing to move", m.From, m.To)
	}
	m.job.IsolateBy = list
	s := newShards(m.job.Partitions, m.to.IsolateBy)
	m.job.Home = func(ls tocsin.Labels) (int, bool) {
		name, _ := s.domain(nil, ls)
		whole := !slices.ContainsFunc(s.isolateBy, func(label string) bool { return ls.Get(label) == "" })
		return s.of(string(name)), whole
	}
	m.job.Source, err = inWords(m.from)
	if err != nil {
		return err
	}
	m.job.Target, err = inWords(m.to)
	if err != nil {
		return err
	}
	m.say("from: %s, %s isolated by %s", m.job.Source, inPartitions(partitionsOf(m.from)), was)
	m.say("to:   %s, %s isolated by %s", m.job.Target, inPartitions(m.job.Partitions), list)
	return nil
}

func inPartitions(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return strconv.Itoa(n) + " partitions"
}

// partitionsOf returns how many partitions a configuration asks for.
func partitionsOf(c *config.Config) int {
	if c.Storage.Kafka != nil {
		return c.Storage.Kafka.Partitions
	}
	return 1
}

// isolation returns the labels that isolate as a state keeps them.
func isolation(c *config.Config) (string, error) {
	list, err := json.Marshal(append([]string{}, slices.Sorted(slices.Values(c.IsolateBy))...))
	return string(list), err
}

// inWords says what storage a configuration names, without secrets.
func inWords(c *config.Config) (string, error) {
	words := "SQLite in " + c.Storage.Dir
	if c.Storage.Postgres != nil {
		place, err := postgres.Place(c.Storage.Postgres.DSN)
		if err != nil {
			return "", fmt.Errorf("storage.state.postgres: %w", err)
		}
		words = "PostgreSQL database " + place
	}
	if k := c.Storage.Kafka; k != nil {
		return fmt.Sprintf("%s with topic %s of Kafka at %s", words, k.Topic, strings.Join(k.Brokers, ", ")), nil
	}
	return words + " with the embedded journal in " + c.Storage.Dir, nil
}

// open opens both states, and returns the job that is under way in the new one; nil: none is. A dry run leaves a new state alone that is
// not the old one.
func (m *migration) open(ctx context.Context) (*migrate.Mark, error) {
	err := m.old.openKept(ctx, m.from)
	if err != nil {
		return nil, fmt.Errorf("the old storage: %w", err)
	}
	m.job.From, m.job.To = m.old.db, m.old.db
	if !m.inPlace() {
		m.job.To = nil
		if m.DryRun {
			return nil, nil //nolint:nilnil // nobody looks
		}
		err = m.new.openState(ctx, m.to)
		if err != nil {
			return nil, fmt.Errorf("the new storage: %w", err)
		}
		m.job.To = m.new.db
		err = migrate.Nobody(ctx, m.new.db)
		if err != nil {
			return nil, fmt.Errorf("the new storage: %w", err)
		}
	}
	return migrate.Pending(ctx, m.job.To)
}

// openKept opens a state that must be there already, and that nobody works on.
func (a *App) openKept(ctx context.Context, c *config.Config) error {
	if c.Storage.Postgres == nil {
		path := filepath.Join(c.Storage.Dir, "tocsin.db")
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no state at %s: start in the folder from which the server is started, for storage.dir is relative to it", path)
		}
	}
	err := a.openState(ctx, c)
	if err != nil {
		return err
	}
	err = a.db.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Meta(store.MetaPartitions)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		pending, err := migrate.Pending(ctx, a.db)
		if err != nil || pending != nil {
			return err // half of a state
		}
		return errors.New("it is empty: no server has ever worked on it")
	}
	if err != nil {
		return err
	}
	return migrate.Nobody(ctx, a.db)
}

// preview prints what is there to be moved.
func (m *migration) preview(ctx context.Context, pending *migrate.Mark) error {
	p, err := m.job.Look(ctx)
	if err != nil {
		return err
	}
	for _, b := range store.Tables() {
		if n := p.Rows[b.Name]; n > 0 {
			m.say("  %-13s %d rows", b.Name, n)
		}
	}
	if m.old.journal != nil {
		left, err := m.old.left(ctx)
		if err != nil {
			return err
		}
		m.say("records still to be applied: %d of the old journal; nobody is paged meanwhile", left)
	}
	if len(p.Torn) > 0 {
		ids := make([]string, 0, len(p.Torn))
		for _, id := range p.Torn[:min(len(p.Torn), 20)] {
			ids = append(ids, tocsin.IncidentID(id))
		}
		m.say("open incidents whose alerts would belong to several partitions, %d: %s; each stays whole, where most of its firing alerts belong", len(p.Torn), strings.Join(ids, ", "))
	}
	if pending != nil {
		m.say("a migration to this storage was begun at %s: it goes on where it stopped", pending.Begun.Format("2006-01-02 15:04 MST"))
	}
	if m.DryRun {
		m.say("dry run: nothing was moved, and the new storage was not looked at")
	}
	return nil
}

// reach opens the new journal, and finds where it ends: there the new state begins to apply it.
func (m *migration) reach(ctx context.Context) (err error) {
	if m.old.journal != nil {
		err = m.old.journal.Close()
		m.old.journal, m.old.disk, m.old.kafka = nil, nil, nil
		if err != nil {
			return err
		}
	}
	m.new.partitions = m.job.Partitions
	m.job.Journal, err = m.new.reachJournal(ctx, m.to)
	if err != nil {
		return err
	}
	for partition := range m.job.Partitions {
		_, next, err := m.new.journal.Bounds(partition)
		if err != nil {
			return err
		}
		m.job.Ends = append(m.job.Ends, next)
	}
	return nil
}

// reachJournal opens the journal that a configuration names, whatever the state says, and returns what a state calls it.
func (a *App) reachJournal(ctx context.Context, c *config.Config) (name string, err error) {
	if c.Storage.Kafka == nil {
		return a.reachDisk(c)
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return a.reachKafka(ctx, c)
}

// done prints what was compared, and what to do next.
func (m *migration) done(r *migrate.Report) {
	if r != nil { // else it was compared when this was run before
		m.say("both sides are the same:")
		for _, b := range store.Tables() {
			s := r.Target[b.Name]
			m.say("  %-13s %10d rows  %.16s", b.Name, s.Rows, s.Hash)
		}
	}
	m.say("done: serve %s from now on", m.To)
	if !m.inPlace() {
		m.say("the old storage still has its rows, and refuses to be served: tocsin migrate --take-back --config %s makes it the one in use again, as it stood", m.From)
	}
}

func (m *migration) close() error {
	var errs []error
	for _, a := range []*App{m.new, m.old} {
		if a != nil {
			errs = append(errs, a.close())
		}
	}
	return errors.Join(errs...)
}

// TakeBack makes a state that was moved elsewhere the one in use again, as it stood then, and returns where it was moved to.
func TakeBack(ctx context.Context, path string, stderr io.Writer) (to string, err error) {
	moved, err := onState(ctx, path, stderr, migrate.TakeBack)
	if err != nil {
		return "", err
	}
	return moved.To, nil
}

// Abandon gives up a migration to the storage of a configuration that is not finished, and returns where from it was.
func Abandon(ctx context.Context, path string, stderr io.Writer) (from string, err error) {
	mark, err := onState(ctx, path, stderr, migrate.Abandon)
	if err != nil {
		return "", err
	}
	return mark.From, nil
}

// onState calls do with the state that a configuration names, while nobody works on it.
func onState[T any](ctx context.Context, path string, stderr io.Writer, do func(ctx context.Context, db store.DB) (T, error)) (out T, err error) {
	c, err := readConfig(path, stderr)
	if err != nil {
		return out, err
	}
	a := unserved(warnings(stderr))
	err = a.openKept(ctx, c)
	if err == nil {
		out, err = do(ctx, a.db)
	}
	return out, errors.Join(err, a.close())
}
