package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin/internal/store"
)

// What one commit holds at most: when either is reached the rest waits for the next one.
const (
	batchRows = 1024
	batchTime = 8 * time.Millisecond
)

// laneRoom is how many updates wait in a lane before Update waits outside.
const laneRoom = 1024

// lanes is how many there are.
const lanes = int(store.Correlation) + 1

// patience is how many commits may pass a waiting lane by before it comes first once.
const patience = 4

// The states of a call: the writer takes it, or its caller gives it up.
const (
	waiting int32 = iota
	taken
	givenUp
)

// call is one Update.
type call struct {
	ctx   context.Context // of the caller: it waits in a queue, so it carries it
	fn    func(*store.Tx) error
	state atomic.Int32
	done  chan error // room for one
}

// writer is the one that writes. Its fields belong to its goroutine, but for queue and quit.
type writer struct {
	db     *DB
	log    *slog.Logger
	queue  [lanes]chan *call
	passed [lanes]int // commits that passed a waiting lane by
	quit   chan struct{}
	conn   *conn // nil: must be opened
	wal    walSize
}

func newWriter(db *DB, c *conn, log *slog.Logger) *writer {
	w := &writer{db: db, log: log, conn: c, quit: make(chan struct{}), wal: walSize{nudge: make(chan struct{}, 1), bytes: new(atomic.Int64)}}
	for i := range w.queue {
		w.queue[i] = make(chan *call, laneRoom)
	}
	return w
}

// update queues fn and waits for its commit.
func (w *writer) update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	if lane < 0 || int(lane) >= lanes {
		return fmt.Errorf("store: there is no lane %d", lane)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case <-w.quit:
		return store.ErrClosed
	default:
	}
	select {
	case w.queue[lane] <- c:
	case <-ctx.Done():
		return fmt.Errorf("wait for room in the queue of the database: %w", ctx.Err())
	case <-w.quit:
		return store.ErrClosed
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	case <-w.db.stopped:
	}
	if c.state.CompareAndSwap(waiting, givenUp) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for the writer of the database: %w", err)
		}
		return store.ErrClosed
	}
	// It runs, and stops at its next statement where ctx has ended.
	select {
	case err := <-c.done:
		return err
	case <-w.db.stopped:
	}
	select {
	case err := <-c.done:
		return err
	default:
		return store.ErrUnknown // the writer's goroutine has ended in the middle, by runtime.Goexit
	}
}

// run writes until quit, then what was queued before.
func (w *writer) run() {
	defer close(w.db.stopped)
	for {
		c := w.next()
		if c == nil {
			select {
			case c = <-w.queue[store.Commands]:
			case c = <-w.queue[store.Paging]:
			case c = <-w.queue[store.Correlation]:
			case <-w.quit:
				c = w.next()
				if c == nil {
					w.close()
					return
				}
			}
		}
		w.batch(c)
		w.relieve()
	}
}

// next returns the most urgent call that waits; nil where none does.
func (w *writer) next() *call {
	for i := lanes - 1; i > 0; i-- {
		if w.passed[i] >= patience {
			w.passed[i] = 0
			select {
			case c := <-w.queue[i]:
				return c
			default:
			}
		}
	}
	for i := range w.queue {
		select {
		case c := <-w.queue[i]:
			w.passed[i] = 0
			return c
		default:
		}
	}
	return nil
}

// batch runs first, and what waits, in one transaction, and answers all of them.
func (w *writer) batch(first *call) {
	start := time.Now()
	var ran []*call
	for c := first; c != nil; c = w.next() {
		if !c.state.CompareAndSwap(waiting, taken) {
			if len(ran) > 0 && w.full(start) {
				break
			}
			continue
		}
		if len(ran) == 0 {
			err := w.begin()
			if err != nil {
				c.done <- err
				return
			}
		}
		err := w.one(c, len(ran) > 0)
		switch {
		case err == nil:
			ran = append(ran, c)
		case len(ran) == 0:
			err = errors.Join(err, w.rollback(err))
			if w.db.reserve.give(err) {
				w.again([]*call{c}, err)
				return
			}
			c.done <- err
			return
		case w.db.reserve.give(err):
			w.again(append(ran, c), errors.Join(err, w.rollback(err)))
			return
		default:
			undo := errors.Join(w.conn.run("ROLLBACK TO call"), w.conn.run("RELEASE call"))
			c.done <- err
			if undo != nil { // SQLite has given up the whole transaction
				w.again(ran, errors.Join(err, w.rollback(err)))
				return
			}
		}
		if w.full(start) {
			break
		}
	}
	if len(ran) > 0 {
		w.commit(ran)
	}
	for i := range w.queue {
		if len(w.queue[i]) == 0 {
			w.passed[i] = 0
		} else {
			w.passed[i]++
		}
	}
}

// full reports whether the transaction that began at start has enough.
func (w *writer) full(start time.Time) bool {
	return w.conn.changed >= batchRows || time.Since(start) >= batchTime
}

// begin starts a transaction, on a new connection where the old one was given up.
func (w *writer) begin() error {
	if w.conn == nil {
		c, err := w.db.openWriter()
		if err != nil {
			return fail(fmt.Errorf("open the state database again: %w", err))
		}
		w.conn = c
		w.log.Info("state database opened again")
	}
	w.conn.changed = 0
	err := w.conn.run("BEGIN IMMEDIATE")
	if w.db.reserve.give(err) {
		err = w.conn.run("BEGIN IMMEDIATE")
	}
	if err != nil {
		w.trust(err)
		return fmt.Errorf("begin a transaction: %w", fail(err))
	}
	return nil
}

// one runs the call's function, in a savepoint where there is something else in the transaction that must stay.
func (w *writer) one(c *call, guard bool) error {
	if guard {
		err := w.conn.run("SAVEPOINT call")
		if err != nil {
			return fmt.Errorf("set a savepoint: %w", fail(err))
		}
	}
	err := c.ctx.Err()
	if err == nil {
		err = w.conn.lend(c.ctx, c.fn)
	}
	if err == nil && guard {
		err = fail(w.conn.run("RELEASE call"))
	}
	return err
}

// commit makes durable what ran, and answers.
func (w *writer) commit(ran []*call) {
	changed := w.conn.changed
	err := w.conn.run("COMMIT")
	if err != nil {
		err = fmt.Errorf("commit: %w", fail(err))
		err = errors.Join(err, w.rollback(err))
		if w.db.reserve.give(err) {
			w.again(ran, err)
			return
		}
		w.log.Error("commit failed", "updates", len(ran), "error", err)
	}
	for _, c := range ran {
		c.done <- err
	}
	if err == nil && changed > 0 {
		w.db.committed.Tell()
		w.wal.wrote(changed)
	}
}

// rollback ends a transaction of which nothing may stay. SQLite may have ended it itself, because of cause.
func (w *writer) rollback(cause error) error {
	err := w.conn.run("ROLLBACK")
	if err != nil && code(err) == codeError {
		err = nil // there is no transaction any more
	}
	if err != nil {
		w.trust(err)
	}
	if w.conn != nil {
		w.trust(cause)
	}
	return err
}

// again runs calls once more, each in a transaction of its own, after another one's failure took the transaction they had in common,
// or the disk was full and there is room now.
func (w *writer) again(calls []*call, cause error) {
	for _, c := range calls {
		err := w.begin()
		if err != nil {
			c.done <- errors.Join(cause, err)
			continue
		}
		err = w.one(c, false)
		if err != nil {
			c.done <- errors.Join(err, w.rollback(err))
			continue
		}
		w.commit([]*call{c})
	}
}

// trust gives the connection up when err says that its view of the file may be wrong.
func (w *writer) trust(err error) {
	if !distrust(err) {
		return
	}
	w.log.Error("state database failed, its connection is opened anew", "error", err)
	w.close()
}

func (w *writer) close() {
	if w.conn == nil {
		return
	}
	err := w.conn.close()
	if err != nil {
		w.log.Warn("closing the state database failed", "error", err)
	}
	w.conn = nil
}
