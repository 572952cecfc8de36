package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// FS is all that the journal asks of a file system. OS is the real one; journaltest has a double that loses, tears, flips
// and lies. Names are paths; what was created, renamed or removed is durable only after SyncDir of its folder.
type FS interface {
	MkdirAll(dir string) error
	ReadDir(dir string) (names []string, err error) // sorted
	Create(name string) (File, error)               // to read and write; empty, whatever was there
	Open(name string, write bool) (File, error)     // what exists
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
	Lock(name string) (io.Closer, error) // errLocked where another holds it
}

// A File is written by one and read by many. What was written is durable only after Sync, which also covers the size.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// ErrLocked is what FS.Lock returns where another process, or another journal of this one, has the lock.
var ErrLocked = errors.New("it is in use by another process")

// OS is the operating system's file system.
type OS struct{}

// MkdirAll makes dir and its parents; only their owner may look into them.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// ReadDir lists dir.
func (OS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Create makes an empty file.
func (OS) Create(name string) (File, error) {
	return wrap(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
}

// Open opens a file that exists.
func (OS) Open(name string, write bool) (File, error) {
	if write {
		return wrap(os.OpenFile(name, os.O_RDWR, 0))
	}
	return wrap(os.Open(name))
}

// Rename replaces what was at to.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove deletes a file.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir makes the names in dir durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock takes the advisory lock on a file until the Closer is closed or the process ends.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = lock(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

type osFile struct{ *os.File }

func wrap(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error {
	err := syncData(f.File)
	if err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return nil
}
