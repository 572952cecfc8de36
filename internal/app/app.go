package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tocsin/config"
	"tocsin/ingest"
	"tocsin/internal/api"
	"tocsin/internal/journal/disk"
	"tocsin/internal/journal/kafka"
	"tocsin/internal/store"
	"tocsin/paging"
)

// An App is one tocsin: its parts, joined.
type App struct {
	log        *slog.Logger
	registry   *prometheus.Registry
	clock      *clock
	db         store.DB
	partitions int // N: how many the state has
	journal    wal
	disk       *disk.Journal  // the same, where it is embedded
	kafka      *kafka.Journal // the same, where it is Kafka
	node       node
	backlog    *backlog // of Kafka
	holds      holdings
	changes    store.DB    // the state, for those who wait for what any node commits
	feed       publication // for other programs; nil: there is none
	setup      atomic.Pointer[setup]
	office     *office
	receipts   *receipts
	intake     *intake
	sources    *ingest.Sources
	pager      *paging.Worker
	api        *api.Server
	listener   net.Listener
	meters
	path   string // of the configuration; "" for the starter's
	reload sync.Mutex
}

// grace is how long requests and sends under way may take to end.
const grace = 20 * time.Second

// open builds an App on what c says. What has been opened is closed again on an error.
func open(ctx context.Context, c *config.Config, path string, log *slog.Logger) (_ *App, err error) {
	a := &App{log: log, path: path, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	a.observe()
	err = a.openStorage(ctx, c)
	if err != nil {
		return nil, err
	}
	a.watchStorage()
	err = a.enlist(ctx, c)
	if err != nil {
		return nil, err
	}
	a.changes = a.seenByAll()
	err = a.openFeed(c)
	if err != nil {
		return nil, err
	}
	a.intake = newIntake(a.journal, a.clock, a.partitions, c.IsolateBy)
	secret, err := a.secret(ctx)
	if err != nil {
		return nil, err
	}
	a.receipts, err = newReceipts()
	if err != nil {
		return nil, err
	}
	a.office = &office{
		db: a.db, clock: a.clock, setup: &a.setup, log: log, secret: secret, receipts: a.receipts, node: a.node.id, alone: a.node.alone, nudge: a.nudge,
	}
	s, err := a.build(c)
	if err != nil {
		return nil, err
	}
	a.setup.Store(s)
	a.pager, err = paging.NewWorker(&pagebook{office: a.office}, s.channels, paging.Options{Registry: a.registry, Log: log, Lease: lease, Grace: grace})
	if err != nil {
		return nil, err
	}
	a.office.pager = a.pager
	a.sources, err = ingest.NewSources(s.sources)
	if err != nil {
		return nil, err
	}
	err = a.serveHTTP(c)
	if err != nil {
		return nil, err
	}
	err = a.publish(ctx, s, false) // before the first alert can come
	if err != nil {
		return nil, err
	}
	a.listener, err = net.Listen("tcp", c.Server.Listen)
	if err != nil {
		return nil, fmt.Errorf("server.listen: %w", err)
	}
	return a, nil
}

// secret returns the installation's key for signing links: made once, kept in the database.
func (a *App) secret(ctx context.Context) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	var kept string
	err := a.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		var err error
		kept, err = tx.MetaOnce(store.MetaSigningKey, hex.EncodeToString(fresh))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return hex.DecodeString(kept)
}

// run serves until ctx ends or a part fails: doors first, so that nothing is missed while the state is loaded. It stops in the
// opposite order: doors, correlator, pager, journal, store.
func (a *App) run(ctx context.Context) error {
	srv := api.NewHTTPServer(a.api.Handler(), a.log)
	g, ctx := errgroup.WithContext(ctx)
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g.Go(func() error {
		err := srv.Serve(a.listener)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve %s: %w", a.listener.Addr(), err)
	})
	g.Go(func() error { return a.share(parts) })
	g.Go(func() error { return a.pager.Run(parts) })
	g.Go(func() error { return a.clock.run(parts, a.db, a.log) })
	g.Go(func() error { return a.housekeep(parts) })
	g.Go(func() error { return a.beat(parts) })
	g.Go(func() error { return a.follow(parts) })
	g.Go(func() error { return a.watchBacklog(parts) })
	g.Go(func() error {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		a.api.EndStreams()
		err := srv.Shutdown(late)
		stop()
		return err
	})
	return errors.Join(g.Wait(), a.close())
}

// close closes what is open, the last opened first.
func (a *App) close() error {
	var errs []error
	if a.journal != nil {
		errs = append(errs, a.journal.Close())
		a.journal = nil
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
		a.db = nil
	}
	if a.receipts != nil {
		a.receipts.close()
	}
	return errors.Join(errs...)
}

// share applies the partitions that are this node's, until ctx ends. While the state does not answer it leaves them to the other
// nodes, which may reach it.
func (a *App) share(ctx context.Context) error {
	for {
		heard, stop := a.whileHeard(ctx)
		err := a.journal.Share(heard, a.own)
		silent := heard.Err() != nil
		stop()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case !silent:
			return err
		}
		a.log.Warn("the state does not answer: partitions are left to other nodes until it does", "silent_for", silentFor, "error", err)
		if !a.untilHeard(ctx) {
			return nil
		}
		a.log.Info("the state answers again: this node takes part again")
	}
}

const (
	journalFor   = 14 * 24 * time.Hour // what has been applied is kept so long, for back-tests
	journalBytes = 16 << 30

	keepFor   = 90 * 24 * time.Hour // closed incidents and their history
	keepEvery = 10 * time.Minute
)

// housekeep forgets what is old, in small steps, and lets the journal go that has been applied.
func (a *App) housekeep(ctx context.Context) error {
	return every(ctx, keepEvery, func() {
		err := a.prune(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("old rows not deleted", "error", err)
		}
	})
}

// every calls do each time that d has passed, until ctx ends.
func every(ctx context.Context, d time.Duration, do func()) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do()
		}
	}
}

func (a *App) prune(ctx context.Context) error {
	err := a.release(ctx)
	if err != nil {
		return err
	}
	for done := false; !done; {
		err = a.db.Update(ctx, store.Correlation, func(tx *store.Tx) error {
			var err error
			_, done, err = tx.Prune(a.clock.Now().Add(-keepFor), 500)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// release lets the embedded journal go that has been applied.
func (a *App) release(ctx context.Context) error {
	if a.disk == nil {
		return nil // a topic forgets by its own retention
	}
	var part store.Part
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		part, err = tx.Part(0)
		return err
	})
	if err == nil {
		err = a.disk.SetFloor(0, part.TouchOffset)
	}
	if err == nil {
		err = a.disk.Retain(a.clock.Now())
	}
	return err
}
