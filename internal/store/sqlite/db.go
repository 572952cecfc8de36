package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"

	"tocsin/internal/store"
	"tocsin/internal/store/migrations"
)

// readers is how many Views run at the same time.
const readers = 4

// ErrInUse means that another process has the file open, or that this one has it open already.
var ErrInUse = errors.New("another tocsin has it open")

// Options tune a DB; the zero value is ready to use.
type Options struct {
	Log *slog.Logger // nil means discard
}

// DB is the state in one SQLite file. It is a store.DB.
type DB struct {
	path    string
	log     *slog.Logger
	lock    *os.File
	writer  *writer
	reserve *reserve
	readers chan *conn // nil: to be opened by whoever takes it
	stopped chan struct{}
	closing sync.Once
	closed  error
	checks  sync.WaitGroup // the goroutines that move the log into the file, and keep a reserve

	committed store.Signal
}

var _ store.DB = (*DB)(nil)

// Open opens the state in the file at path, and creates or migrates it. Nobody else may have it open: a second process, or a
// second Open in this one, is refused by a lock on the file path-lock.
func Open(path string, o Options) (*DB, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	lock, err := lockFile(path + "-lock")
	if err != nil {
		return nil, fmt.Errorf("open state database %s: %w", path, err)
	}
	db := &DB{path: path, log: o.Log, lock: lock, stopped: make(chan struct{}), readers: make(chan *conn, readers)}
	db.reserve = newReserve(path+"-reserve", o.Log)
	err = writable(path, path+"-wal", path+"-shm")
	if err == nil {
		err = db.start()
	}
	if db.reserve.give(err) {
		err = db.start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open state database %s: %w", path, explain(path, err)), lock.Close())
	}
	return db, nil
}

func (db *DB) start() error {
	err := db.migrate()
	if err != nil {
		return err
	}
	c, err := db.openWriter()
	if err != nil {
		return err
	}
	for range readers {
		db.readers <- nil
	}
	db.writer = newWriter(db, c, db.log)
	db.checks.Go(func() { newCheckpointer(db).run(db.stopped) })
	db.checks.Go(func() { db.reserve.run(db.stopped) })
	go db.writer.run()
	return nil
}

// writable returns an error that names the first of the files that is there and that we may not write. SQLite would open it, and leave
// others beside it that nobody can write.
func writable(files ...string) error {
	for _, path := range files {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("%w (it must be writable by this user)", err)
		}
		err = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// explain says of an error that SQLite words for programmers what a person can do about it.
func explain(path string, err error) error {
	switch code(err) {
	case codeReadonly, codeCantOpen:
		return fmt.Errorf("%w (the folder %s must exist, and it and the files in it must be writable by this user)", err, filepath.Dir(path))
	case codeNotADB, codeCorrupt:
		return fmt.Errorf("%w (the file is damaged or no database of ours: restore a backup, or move it away)", err)
	}
	return err
}

// migrate brings the file to the schema that this binary knows, by the standard library's connections, which goose wants.
func (db *DB) migrate() (err error) {
	std, err := sql.Open("sqlite", "file:"+escape(db.path)+"?_error_rc=1&_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, std.Close()) }()
	std.SetMaxOpenConns(1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	return migrations.Up(ctx, goose.DialectSQLite3, std, db.log)
}

// openWriter opens the connection that writes. The log is moved into the file by the checkpointer, so it must not do it.
func (db *DB) openWriter() (*conn, error) {
	return connect(db.path, "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(0)", "cache_size(-8192)",
		fmt.Sprintf("journal_size_limit(%d)", walSoft), "temp_store(MEMORY)")
}

// Update runs fn in a transaction; see store.DB. It runs once, or once more when another call's failure took the commit they shared,
// or when the disk was full and its reserve was given back.
func (db *DB) Update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	return db.writer.update(ctx, lane, fn)
}

// View runs fn on a snapshot; see store.DB.
func (db *DB) View(ctx context.Context, fn func(*store.Tx) error) error {
	var c *conn
	select {
	case c = <-db.readers:
	case <-db.stopped:
		return store.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection that reads the state: %w", ctx.Err())
	}
	defer func() { db.readers <- c }()
	if c == nil {
		var err error
		c, err = connect(db.path, "query_only(1)", "cache_size(-4096)", "temp_store(MEMORY)")
		if err != nil {
			return fail(fmt.Errorf("open a connection that reads the state: %w", err))
		}
	}
	err := c.run("BEGIN DEFERRED")
	if err != nil {
		err = fail(err)
	} else {
		err = c.lend(ctx, fn)
		undo := c.run("ROLLBACK")
		if undo != nil && code(undo) != codeError {
			err = errors.Join(err, fail(undo))
		}
	}
	if distrust(err) {
		err = errors.Join(err, c.close())
		c = nil
	}
	return err
}

// Now is this machine's clock: the database has no other.
func (db *DB) Now(context.Context) (time.Time, error) {
	return time.Now().UTC().Truncate(time.Microsecond), nil
}

// Committed is closed at the next commit that changes something.
func (db *DB) Committed() <-chan struct{} {
	return db.committed.Next()
}

// Close finishes what is queued, waits for Views under way, and closes the file. Update and View answer store.ErrClosed from then on.
func (db *DB) Close() error {
	db.closing.Do(func() {
		close(db.writer.quit)
		<-db.stopped
		db.checks.Wait()
		var errs []error
		for range readers {
			if c := <-db.readers; c != nil {
				errs = append(errs, c.close())
			}
		}
		// The last connection of a clean end moves the log into the file and deletes it.
		last, err := db.openWriter()
		if err == nil {
			err = errors.Join(last.run("PRAGMA wal_checkpoint(TRUNCATE)"), last.close())
		}
		db.closed = errors.Join(append(errs, err, db.lock.Close())...)
	})
	return db.closed
}
