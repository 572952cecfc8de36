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
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tocsin"
	"tocsin/config"
	"tocsin/correlate"
	"tocsin/ingest"
	"tocsin/internal/api"
	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
	"tocsin/paging"
)

// An App is one tocsin: its parts, joined.
type App struct {
	log      *slog.Logger
	registry *prometheus.Registry
	clock    *clock
	journal  *disk.Journal
	db       store.DB
	setup    atomic.Pointer[setup]
	office   *office
	intake   *intake
	sources  *ingest.Sources
	pager    *paging.Worker
	api      *api.Server
	listener net.Listener
	part     store.Part                       // as this process claimed it
	worker   atomic.Pointer[correlate.Worker] // nil while the state is being loaded
	meters
	path   string // of the configuration; "" for the starter's
	reload sync.Mutex
}

// partition is the only one that the embedded journal has.
const partition = 0

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
	if c.Storage.Kafka != nil || c.Storage.Postgres != nil {
		return nil, errors.New("storage: Kafka and PostgreSQL are not in force yet: leave storage.journal and storage.state out to use the embedded storage")
	}
	dir := c.Storage.Dir
	err = os.MkdirAll(dir, 0o750)
	if err != nil {
		return nil, fmt.Errorf("storage.dir: %w", err)
	}
	a.journal, err = disk.Open(filepath.Join(dir, "journal"), disk.Options{MaxAge: journalFor, MaxBytes: journalBytes, Log: log})
	if err != nil {
		return nil, fmt.Errorf("storage.dir %s: %w", dir, err)
	}
	db, err := sqlite.Open(filepath.Join(dir, "tocsin.db"), sqlite.Options{Log: log})
	if err != nil {
		return nil, fmt.Errorf("storage.dir %s: %w", dir, err)
	}
	a.db = db
	now, err := a.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	a.clock = newClock(now)
	a.observe()
	err = a.claim(ctx)
	if err != nil {
		return nil, err
	}
	a.intake = newIntake(a.journal, a.clock)
	secret, err := a.secret(ctx)
	if err != nil {
		return nil, err
	}
	a.office = &office{db: a.db, clock: a.clock, setup: &a.setup, log: log, secret: secret, nudge: a.nudge}
	s, err := a.build(c)
	if err != nil {
		return nil, err
	}
	a.setup.Store(s)
	a.pager, err = paging.NewWorker(&pagebook{a.office}, s.channels, paging.Options{Registry: a.registry, Log: log, Lease: lease, Grace: grace})
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
		kept, err = tx.MetaOnce("signing key", hex.EncodeToString(fresh))
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
	g.Go(func() error { return a.correlate(parts) })
	g.Go(func() error { return a.pager.Run(parts) })
	g.Go(func() error { return a.clock.run(parts, a.db, a.log) })
	g.Go(func() error { return a.housekeep(parts) })
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
	return errors.Join(errs...)
}

// claim makes this process the owner of the partition, and sees to it that no offset is given out again that the state has
// seen: a disk may have lost what it said was durable.
func (a *App) claim(ctx context.Context) error {
	err := a.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		var err error
		a.part, err = tx.Claim(partition, "embedded")
		if err != nil {
			return err
		}
		return a.takeBack(tx)
	})
	if err != nil {
		return fmt.Errorf("claim partition %d: %w", partition, err)
	}
	lost, err := a.journal.Expect(partition, a.part.NextOffset)
	if err != nil {
		return err
	}
	if lost != nil {
		a.gap(lost)
	}
	return a.journal.SetFloor(partition, a.part.TouchOffset)
}

// pagesAfter is how long a page waits that an earlier start had claimed and did not give back: its request may have gone out,
// and the provider's callback says so, or its list shows it by then.
const pagesAfter = 10 * time.Second

// takeBack ends the claims of earlier starts: nobody else works on this database, and a lease is for those that still live.
func (a *App) takeBack(tx *store.Tx) error {
	soon := a.clock.Now().Add(pagesAfter)
	left, err := tx.Pages(store.PageFilter{States: []tocsin.PageState{tocsin.PageClaimed, tocsin.PageUnknown}, Limit: claimsTaken})
	if err != nil {
		return err
	}
	for i := range left {
		if left[i].ClaimedTo.After(soon) {
			left[i].ClaimedTo = soon
		}
	}
	_, err = tx.SavePages(left)
	return err
}

// claimsTaken is more claims than one process can hold.
const claimsTaken = 20_000

// correlate loads the state and applies the journal until ctx ends.
func (a *App) correlate(ctx context.Context) error {
	began := time.Now()
	part := a.part
	d, seq, err := a.load(ctx, part)
	if err != nil {
		return ended(ctx, err)
	}
	reader, err := a.journal.Read(partition, part.NextOffset)
	if gap, is := errors.AsType[*journal.GapError](err); is {
		a.gap(gap)
		reader, err = a.journal.Read(partition, gap.To)
	}
	if err != nil {
		return err
	}
	defer reader.Close()
	w := correlate.NewWorker(d, seq, a.records(reader), &book{a.office, partition, part.Epoch}, correlate.WorkerOptions{Log: a.log})
	a.worker.Store(w)
	w.Nudge() // somebody may have commanded something since the rows were read
	a.log.Info("state loaded", "alerts", d.Firing(), "incidents", d.OpenIncidents(), "took", time.Since(began))
	return w.Run(ctx)
}

// ended hides the errors that come of being told to stop.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *App) nudge(int) {
	if w := a.worker.Load(); w != nil {
		w.Nudge()
	}
}

func (a *App) records(r journal.Reader) *records {
	return &records{reader: r, in: a.intake, rules: a.rulesByHash, gap: a.gap, dead: a.dead}
}

// gap says that records are gone that nobody has applied.
func (a *App) gap(g *journal.GapError) {
	a.lost.Add(float64(g.To - g.From))
	a.log.Error("records of the journal are lost", "from", g.From, "to", g.To, "cause", g.Cause)
}

// dead says that a record cannot be read. It stays in the journal.
func (a *App) dead(offset int64, payload []byte, cause error) {
	a.unreadable.Inc()
	a.log.Error("record of the journal cannot be read", "offset", offset, "bytes", len(payload), "error", cause)
}

const (
	journalFor   = 14 * 24 * time.Hour // what has been applied is kept so long, for back-tests
	journalBytes = 16 << 30

	keepFor   = 90 * 24 * time.Hour // closed incidents and their history
	keepEvery = 10 * time.Minute
)

// housekeep forgets what is old, in small steps, and lets the journal go that has been applied.
func (a *App) housekeep(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := a.prune(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("old rows not deleted", "error", err)
		}
	}
}

func (a *App) prune(ctx context.Context) error {
	var part store.Part
	err := a.db.View(ctx, func(tx *store.Tx) error {
		var err error
		part, err = tx.Part(partition)
		return err
	})
	if err != nil {
		return err
	}
	err = a.journal.SetFloor(partition, part.TouchOffset)
	if err != nil {
		return err
	}
	err = a.journal.Retain(a.clock.Now())
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
