package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"tocsin/internal/store"
)

// How long is waited, at most.
const (
	dialLimit      = 5 * time.Second
	acquireLimit   = 8 * time.Second  // for a connection of the pool, a dial included
	statementLimit = 10 * time.Second // for one statement of an Update
	readLimit      = 30 * time.Second // for one statement of a View
	sleepLimit     = 10 * time.Second // a transaction that says nothing for so long is ended: its node sleeps
	commitLimit    = 10 * time.Second
	silence        = 2 * time.Second // what the network may add to a statement's limit
)

// How long is waited for a row that another transaction holds. Where others wait for the same row, a statement may wait for two locks: its place
// behind them, and the row.
const (
	lockLimit        = 5 * time.Second
	commandLockLimit = 2 * time.Second        // a person waits
	pagingLockLimit  = 300 * time.Millisecond // other partitions' pages wait
)

// How often an Update is begun at most.
const (
	maxTries = 5 // after deadlocks and serialization failures
	maxLost  = 3 // after broken connections
)

// Options tune a DB; the zero value is ready to use.
type Options struct {
	Log      *slog.Logger          // nil means discard
	Registry prometheus.Registerer // nil means no metrics

	// Connections that each kind of work may have; 0 means the number given here.
	Commands    int // 2
	Paging      int // 2
	Correlation int // 4
	Reading     int // 4
}

// DB is the state in one PostgreSQL database. It is a store.DB.
type DB struct {
	log     *slog.Logger
	id      string // tells our hints from other nodes'
	lanes   [store.Correlation + 1]*pool
	reading *pool
	health  *pool // the clock, and hints
	server  server
	rivals  []*pgconn.Config // all servers of the address, where there are several
	bulks   bulks
	tries   *prometheus.CounterVec

	stop    context.CancelFunc // ends what runs behind
	behind  sync.WaitGroup
	hints   chan struct{}
	closing sync.Once
	closed  atomic.Bool

	committed store.Signal
}

var _ store.DB = (*DB)(nil)

// pool is the connections of one kind of work.
type pool struct {
	*pgxpool.Pool
	name string
}

// Open connects to the database that dsn names, as libpq and pgx read it (postgres://user:password@host:5432/database?sslmode=verify-full), and
// creates or migrates its tables. Any number of nodes may do so at the same time. The error says what a person can do about it, and never the password.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	db := &DB{log: o.Log, id: strconv.FormatUint(rand.Uint64(), 36), hints: make(chan struct{}, 1), tries: newTries()}
	config, err := db.parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("open the state database: %w", err)
	}
	err = db.open(ctx, config, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the state database %s: %w", place(config), explain(config, err)), db.Close())
	}
	return db, nil
}

// open looks at the server, brings its schema up to date, and starts.
func (db *DB) open(ctx context.Context, config *pgxpool.Config, o Options) error {
	err := db.prepare(ctx, config)
	if err != nil {
		return err
	}
	return db.start(ctx, config, o)
}

// start makes the pools and what runs behind them.
func (db *DB) start(ctx context.Context, config *pgxpool.Config, o Options) error {
	for _, p := range []struct {
		to       **pool
		name     string
		max, min int
	}{
		{&db.lanes[store.Commands], "commands", cmp.Or(o.Commands, 2), 1},
		{&db.lanes[store.Paging], "paging", cmp.Or(o.Paging, 2), 1},
		{&db.lanes[store.Correlation], "correlation", cmp.Or(o.Correlation, 4), 0},
		{&db.reading, "reading", cmp.Or(o.Reading, 4), 0},
		{&db.health, "health", 2, 1},
	} {
		if p.max < 1 {
			return fmt.Errorf("%d connections for %s are too few", p.max, p.name)
		}
		c := config.Copy()
		c.MaxConns, c.MinConns = int32(p.max), int32(p.min) //nolint:gosec // some connections
		made, err := pgxpool.NewWithConfig(ctx, c)
		if err != nil {
			return fmt.Errorf("make the pool of connections for %s: %w", p.name, err)
		}
		*p.to = &pool{Pool: made, name: p.name}
	}
	err := db.register(o.Registry)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	db.stop = stop
	if !db.server.pooled.Load() {
		db.behind.Go(func() { db.listen(running, config.ConnConfig) })
	}
	db.behind.Go(func() { db.tell(running) })
	return nil
}

// pools returns those that there are.
func (db *DB) pools() []*pool {
	var out []*pool
	for _, p := range append(db.lanes[:], db.reading, db.health) {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

// Close waits for what is under way, and closes all connections. Update and View answer store.ErrClosed from then on.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.closed.Store(true)
		if db.stop != nil {
			db.stop()
		}
		db.behind.Wait()
		for _, p := range db.pools() {
			p.Close()
		}
	})
	return nil
}

// Update runs fn in a transaction; see store.DB. It runs it again where PostgreSQL wants it so.
func (db *DB) Update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	if lane < 0 || int(lane) >= len(db.lanes) {
		return fmt.Errorf("store: there is no lane %d", lane)
	}
	attempt := func() error { return db.attempt(ctx, db.lanes[lane], beginLane[lane], statementLimit, fn) }
	return persist(ctx, attempt, func(f *failure) bool {
		db.tries.WithLabelValues(f.why.String()).Inc()
		return true
	})
}

// View runs fn on a snapshot; see store.DB. fn runs once.
func (db *DB) View(ctx context.Context, fn func(*store.Tx) error) error {
	began := false
	attempt := func() error {
		return db.attempt(ctx, db.reading, beginView, readLimit, func(tx *store.Tx) error {
			began = true
			return fn(tx)
		})
	}
	return persist(ctx, attempt, func(*failure) bool { return !began })
}

// persist runs attempt, and once more, after a pause, as often as its failure asks for that and may allows it.
func persist(ctx context.Context, attempt func() error, may func(*failure) bool) error {
	for try := 1; ; try++ {
		err := attempt()
		f, ok := errors.AsType[*failure](err)
		if !ok || !f.again(try) || !may(f) {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return errors.Join(f, err)
		}
	}
}

// pause waits some milliseconds, more after each try, so that two that met do not meet again.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(rand.N(10*time.Millisecond) << try) //nolint:gosec // no secret
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt runs fn in one transaction of one connection of p.
func (db *DB) attempt(ctx context.Context, p *pool, begin string, limit time.Duration, fn func(*store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pc, err := db.acquire(ctx, p)
	if err != nil {
		return err
	}
	defer pc.Release()
	c := &conn{ctx: ctx, pg: pc.Conn().PgConn(), bulks: &db.bulks, limit: limit}
	err = c.begin(begin)
	if err == nil {
		err = c.lend(fn)
	}
	if err != nil {
		c.rollback()
		db.distrust(p, err)
		return err
	}
	err = c.commit()
	if err == nil && c.changed > 0 {
		db.committed.Tell()
		db.hint()
	}
	return err
}

// distrust closes what is idle in p when err says that a connection broke: the others have likely gone with it.
func (db *DB) distrust(p *pool, err error) {
	if f, ok := errors.AsType[*failure](err); ok && (f.why == lost || f.why == silent) {
		p.Reset()
	}
}

// acquire returns a connection of p, an idle one or a new one.
func (db *DB) acquire(ctx context.Context, p *pool) (*pgxpool.Conn, error) {
	if db.closed.Load() {
		return nil, store.ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, acquireLimit)
	defer cancel()
	pc, err := p.Acquire(limited)
	switch {
	case err == nil:
		return pc, nil
	case db.closed.Load():
		return nil, store.ErrClosed
	case ctx.Err() != nil:
		return nil, fmt.Errorf("wait for a connection to the state database: %w", ctx.Err())
	case limited.Err() != nil:
		return nil, fmt.Errorf("%w: none of the %d connections for %s became free within %s", store.ErrUnavailable, p.Config().MaxConns, p.name, acquireLimit)
	}
	return nil, fail(fmt.Errorf("connect: %w", err))
}

// lend runs fn in the transaction that has begun, and makes an error of its panic, and of a failure that it passed over.
func (c *conn) lend(fn func(*store.Tx) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: the transaction's function panicked: %v\n%s", store.ErrRefused, v, debug.Stack())
		}
		if c.broken != nil && !errors.Is(err, c.broken) {
			err = errors.Join(err, c.broken) // PostgreSQL has given the transaction up
		}
	}()
	return fn(store.NewTx(c))
}

// Now is the database's clock.
func (db *DB) Now(ctx context.Context) (now time.Time, err error) {
	attempt := func() error {
		now, err = db.now(ctx)
		return err
	}
	err = persist(ctx, attempt, func(*failure) bool { return true })
	return now, err
}

func (db *DB) now(ctx context.Context) (time.Time, error) {
	pc, err := db.acquire(ctx, db.health)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	defer pc.Release()
	c := &conn{ctx: ctx, pg: pc.Conn().PgConn(), limit: dialLimit}
	var us int64
	for r, err := range c.Query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint") {
		if err != nil {
			db.distrust(db.health, err)
			return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
		}
		us = r.Int(0)
	}
	return time.UnixMicro(us).UTC(), nil
}

// Committed is closed at the next commit of this node that changes something, and when a hint says that another node's did.
func (db *DB) Committed() <-chan struct{} {
	return db.committed.Next()
}

// commit makes the transaction durable. Once it is sent, only an answer says what became of it.
func (c *conn) commit() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), commitLimit)
	defer cancel()
	if c.pg.IsClosed() {
		return &failure{why: lost, text: "the connection to the database broke", err: pgconn.ErrConnClosed}
	}
	// A statement's limit would end the wait for a standby's word, and the commit would be answered without it.
	results, err := c.pg.Exec(ctx, "SET LOCAL statement_timeout = 0; COMMIT").ReadAll()
	if err == nil && len(results) == 2 && results[1].CommandTag.String() == "COMMIT" {
		return nil
	}
	if err == nil {
		return errors.New("commit: PostgreSQL rolled the transaction back")
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && !fatal(e) {
		return fail(fmt.Errorf("commit: %w", err))
	}
	return fmt.Errorf("%w: %w", store.ErrUnknown, err) // also where the driver calls it safe to retry: it says so after it was sent
}

// rollback undoes the transaction. Where that fails the connection is not used again, and the server undoes it.
func (c *conn) rollback() {
	if c.pg.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), silence)
	defer cancel()
	_, err := c.pg.Exec(ctx, "ROLLBACK").ReadAll()
	if err != nil {
		_ = c.pg.Close(ctx) // it is of no use any more
	}
}
