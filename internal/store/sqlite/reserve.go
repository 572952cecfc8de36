package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	reserveBytes = 16 << 20 // the log needs 2 MiB of it, then a command some hundred bytes; the embedded journal stops taking events well above this
	reserveLeft  = 4 << 20  // what must be free besides before the reserve is made again
	reserveRetry = time.Second
	nearlyFull   = 1 << 20 // so little room explains a failure that SQLite words otherwise
)

// A reserve is a file that is only there to be deleted: when the disk is full, those who acknowledge and those who are paged
// go on in the room that it had. It is made again once there is room. Without it everything works until the disk is full.
type reserve struct {
	path string
	log  *slog.Logger
	gone chan struct{} // has one when there is something to be made

	mu   sync.Mutex
	held bool
}

// newReserve takes up the reserve of the start before, if there is one. run makes it otherwise.
func newReserve(path string, log *slog.Logger) *reserve {
	r := &reserve{path: path, log: log, gone: make(chan struct{}, 1)}
	info, err := os.Stat(path)
	r.held = err == nil && info.Size() == reserveBytes
	if !r.held {
		r.gone <- struct{}{}
	}
	return r
}

// there reports whether the reserve can still be given back.
func (r *reserve) there() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// run makes the reserve whenever it is gone and there is room, until stopped.
func (r *reserve) run(stopped <-chan struct{}) {
	retry := time.NewTicker(reserveRetry)
	defer retry.Stop()
	retry.Stop()
	said := false
	for {
		select {
		case <-stopped:
			return
		case <-r.gone:
		case <-retry.C:
		}
		err := r.remake()
		switch {
		case err == nil:
			retry.Stop()
			said = false
			continue
		case !said:
			said = true
			r.log.Warn("the state database has no reserve for a full disk, and will make it when there is room", "error", err)
		}
		retry.Reset(reserveRetry)
	}
}

// remake makes the reserve where there is room for it and more.
func (r *reserve) remake() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held {
		return nil
	}
	free, err := freeBytes(filepath.Dir(r.path))
	if err != nil {
		return fmt.Errorf("reserve %s: %w", r.path, err)
	}
	if free < reserveBytes+reserveLeft {
		return fmt.Errorf("reserve %s: %d bytes are free, it needs %d", r.path, free, reserveBytes+reserveLeft)
	}
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = allocate(f, reserveBytes)
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("reserve %s: %w", r.path, err), os.Remove(r.path))
	}
	r.held = true
	return nil
}

// give deletes the reserve when err comes of a full disk, and reports whether there was one: then it is worth another try.
func (r *reserve) give(err error) bool {
	if err == nil || !r.explains(err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false
	}
	gone := os.Remove(r.path)
	if gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		r.log.Error("the disk is full, and the reserve cannot be given back", "error", gone)
		return false
	}
	r.held = false
	select {
	case r.gone <- struct{}{}:
	default:
	}
	r.log.Error("the disk is full: the state goes on in its reserve, free some room soon", "bytes", reserveBytes, "error", err)
	return true
}

// explains reports whether a full disk is behind err.
func (r *reserve) explains(err error) bool {
	switch code(err) {
	case codeFull:
		return true
	case codeIO, codeCantOpen:
		free, err := freeBytes(filepath.Dir(r.path))
		return err == nil && free < nearlyFull
	}
	return false
}

// writeZeros allocates n bytes of f by writing them, where the system has no better way.
func writeZeros(f *os.File, n int64) error {
	block := make([]byte, 1<<20)
	for at := int64(0); at < n; at += int64(len(block)) {
		_, err := f.WriteAt(block, at)
		if err != nil {
			return err
		}
	}
	return f.Sync()
}
