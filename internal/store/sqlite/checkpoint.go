package sqlite

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin/internal/store"
)

// The write-ahead log holds every commit until it is moved into the file.
const (
	pageSize  = 4096
	walSoft   = 16 << 20  // bytes: from here on it is moved, by the checkpointer, while the writer goes on
	walShort  = 2 << 20   // bytes: in place of walSoft while the disk is full
	walHard   = 64 << 20  // bytes: from here on the writer moves it between two commits, so that it can begin again
	walWarn   = 256 << 20 // bytes: somebody reads one snapshot for so long that it cannot begin again
	walNudge  = 256       // rows written until the checkpointer looks again
	walRepeat = time.Minute
)

// walLimits are the bytes from which the checkpointer, and the writer, move the log: fewer while the disk is full, so that the
// room of the reserve lasts.
func (db *DB) walLimits() (soft, hard int64) {
	if db.reserve.there() {
		return walSoft, walHard
	}
	return walShort, 2 * walShort
}

// walSize is what the writer knows of the log.
type walSize struct {
	rows  int64         // written since the checkpointer was asked to look
	nudge chan struct{} // room for one
	bytes *atomic.Int64 // as the checkpointer saw it last
	tried int64         // bytes at which the writer last tried
	spoke time.Time     // when it last warned
}

// wrote counts what a commit changed and wakes the checkpointer now and then.
func (w *walSize) wrote(rows int64) {
	w.rows += rows
	if w.rows < walNudge {
		return
	}
	w.rows = 0
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// relieve moves the log into the file while nothing is being written, when the checkpointer cannot keep up.
func (w *writer) relieve() {
	size := w.wal.bytes.Load()
	soft, hard := w.db.walLimits()
	if size < hard {
		w.wal.tried = 0
		return
	}
	if w.conn == nil || size < w.wal.tried+soft {
		return
	}
	w.wal.tried = size
	state, err := checkpoint(w.conn, "PASSIVE")
	if err != nil {
		w.log.Error("moving the log of the state database into its file failed", "error", err)
		w.trust(err)
		return
	}
	if state.left() == 0 {
		w.wal.bytes.Store(0)
		w.wal.tried = 0
		return
	}
	if size > walWarn && time.Since(w.wal.spoke) > walRepeat {
		w.wal.spoke = time.Now()
		w.log.Warn("log of the state database grows: something has been reading for long", "bytes", size)
	}
}

// walState is the log in pages.
type walState struct{ pages, moved int64 }

func (s walState) left() int64 { return s.pages - s.moved }

// checkpoint moves what it can without waiting for anybody; NOOP only looks.
func checkpoint(c *conn, mode string) (walState, error) {
	var s walState
	err := c.query("PRAGMA wal_checkpoint("+mode+")", nil, func(r store.Row) bool {
		s = walState{pages: max(r.Int(1), 0), moved: max(r.Int(2), 0)}
		return true
	})
	c.broken = nil
	if err != nil {
		return s, fmt.Errorf("checkpoint: %w", err)
	}
	return s, nil
}

// checkpointer moves the log into the file on a connection of its own.
type checkpointer struct {
	db    *DB
	log   *slog.Logger
	conn  *conn // nil: must be opened
	nudge chan struct{}
	bytes *atomic.Int64
}

func newCheckpointer(db *DB) *checkpointer {
	return &checkpointer{db: db, log: db.log, nudge: db.writer.wal.nudge, bytes: db.writer.wal.bytes}
}

// run works until stopped.
func (p *checkpointer) run(stopped <-chan struct{}) {
	defer p.close()
	for {
		select {
		case <-stopped:
			return
		case <-p.nudge:
		}
		err := p.move()
		if err != nil {
			p.log.Error("moving the log of the state database into its file failed", "error", err)
			p.close()
		}
	}
}

// move moves the log when it is long enough, twice where the writer has added to it meanwhile: only a log that is all
// moved begins again.
func (p *checkpointer) move() error {
	if p.conn == nil {
		c, err := p.db.openWriter()
		if err != nil {
			return err
		}
		p.conn = c
	}
	s, err := checkpoint(p.conn, "NOOP")
	if err != nil {
		return err
	}
	p.bytes.Store(s.pages * pageSize)
	soft, _ := p.db.walLimits()
	for range 2 {
		if s.pages*pageSize < soft || s.left() == 0 {
			return nil
		}
		s, err = checkpoint(p.conn, "PASSIVE")
		if err != nil {
			return err
		}
		p.bytes.Store(s.pages * pageSize)
	}
	return nil
}

func (p *checkpointer) close() {
	if p.conn == nil {
		return
	}
	err := p.conn.close()
	if err != nil {
		p.log.Warn("closing a connection of the state database failed", "error", err)
	}
	p.conn = nil
}
