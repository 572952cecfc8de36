package journaltest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"tocsin/internal/journal/disk"
)

// sector is the piece of a write that is kept or lost as one.
const sector = 512

// Files is a file system in memory that remembers which of its bytes and names have been synced. Crash makes of it what a
// power cut could have left. Its faults are set at any time, by any goroutine.
type Files struct {
	mu    sync.Mutex
	dirs  map[string]*folder
	locks map[string]bool
	ops   int
	hook  func(op int, what string)

	lie       bool
	delay     time.Duration
	space     int64 // bytes that may still be written; negative: no limit
	readOnly  bool
	syncFails int
	writeFail error
}

type folder struct {
	now    map[string]*inode
	synced map[string]*inode
	ops    []nameOp // since the last sync
}

// A nameOp is a change of names: to gets node, from loses it. Either may be "".
type nameOp struct {
	from, to string
	node     *inode
}

type inode struct {
	data   []byte
	synced []byte
	ops    []dataOp // since the last sync
}

// A dataOp is a write at off, or a truncation to off where data is nil.
type dataOp struct {
	off  int64
	data []byte
}

// NewFiles returns an empty file system without faults.
func NewFiles() *Files {
	return &Files{dirs: map[string]*folder{}, locks: map[string]bool{}, space: -1}
}

// Before makes f call fn before each operation that changes something, with its number from 1 and its name. fn may use f.
func (f *Files) Before(fn func(op int, what string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = fn
}

// Lie makes Sync and SyncDir report success and do nothing.
func (f *Files) Lie(on bool) { f.set(func() { f.lie = on }) }

// Slow makes each Sync take d.
func (f *Files) Slow(d time.Duration) { f.set(func() { f.delay = d }) }

// FailSyncs makes the next n calls of Sync or SyncDir fail with EIO, and Sync forget, as a kernel does, that the data was not written.
func (f *Files) FailSyncs(n int) { f.set(func() { f.syncFails = n }) }

// FailWrites makes each write fail with err after a part of it, until err is nil.
func (f *Files) FailWrites(err error) { f.set(func() { f.writeFail = err }) }

// Space makes writes fail with ENOSPC once they have made files n bytes longer; negative: no limit.
func (f *Files) Space(n int64) { f.set(func() { f.space = n }) }

// ReadOnly makes everything that changes something fail with EROFS.
func (f *Files) ReadOnly(on bool) { f.set(func() { f.readOnly = on }) }

func (f *Files) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// Crash returns what a power cut at this moment could leave: all that was synced, and of the rest whatever rng says: writes
// kept, lost, or torn at any sector and in any order, names kept or lost one by one. The new file system has no faults and no locks.
func (f *Files) Crash(rng *rand.Rand) *Files {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := NewFiles()
	copies := map[*inode]*inode{}
	// Sometimes nearly all is kept, sometimes nearly nothing: the corners are where the mistakes are.
	keep := []float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)]
	for _, dir := range sortedKeys(f.dirs) {
		d := f.dirs[dir]
		names := clone(d.synced)
		for _, op := range d.ops {
			if rng.Float64() < keep {
				op.apply(names)
			}
		}
		for _, name := range sortedKeys(names) {
			n := names[name]
			if copies[n] == nil {
				data := n.crash(rng, keep)
				copies[n] = &inode{data: data, synced: slices.Clone(data)}
			}
			names[name] = copies[n]
		}
		after.dirs[dir] = &folder{now: names, synced: clone(names)}
	}
	return after
}

// Kill returns what a killed process leaves: all that was written, synced or not.
func (f *Files) Kill() *Files {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := NewFiles()
	for dir, d := range f.dirs {
		names := map[string]*inode{}
		for name, n := range d.now {
			names[name] = &inode{data: slices.Clone(n.data), synced: slices.Clone(n.data)}
		}
		after.dirs[dir] = &folder{now: names, synced: clone(names)}
	}
	return after
}

// Names returns the paths of all files, sorted.
func (f *Files) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for dir, d := range f.dirs {
		for name := range d.now {
			names = append(names, filepath.Join(dir, name))
		}
	}
	slices.Sort(names)
	return names
}

// Content returns a copy of a file, nil where there is none.
func (f *Files) Content(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(name)
	if n == nil {
		return nil
	}
	return slices.Clone(n.data)
}

// Put makes name a file with data, as an operator or a broken disk would; nil removes it.
func (f *Files) Put(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[filepath.Dir(name)]
	base := filepath.Base(name)
	if data == nil {
		delete(d.now, base)
		delete(d.synced, base)
		return
	}
	n := &inode{data: slices.Clone(data), synced: slices.Clone(data)}
	d.now[base], d.synced[base] = n, n
}

// Flip turns one bit of a file.
func (f *Files) Flip(name string, bit int64) {
	data := f.Content(name)
	data[bit/8] ^= 1 << (bit % 8)
	f.Put(name, data)
}

func (op nameOp) apply(names map[string]*inode) {
	if op.from != "" {
		delete(names, op.from)
	}
	if op.to != "" {
		names[op.to] = op.node
	}
}

// crash returns the synced bytes with a part of what was written since.
func (n *inode) crash(rng *rand.Rand, keep float64) []byte {
	data := slices.Clone(n.synced)
	for _, op := range n.ops {
		if op.data == nil {
			if rng.Float64() < keep {
				data = resize(data, op.off)
			}
			continue
		}
		if rng.IntN(3) > 0 { // in one piece, or not at all
			if rng.Float64() < keep {
				data = overwrite(data, op.data, op.off)
			}
			continue
		}
		if rng.IntN(2) == 0 { // cut at any byte
			data = overwrite(data, op.data[:rng.IntN(len(op.data)+1)], op.off)
			continue
		}
		for at := int64(0); at < int64(len(op.data)); {
			end := min(int64(len(op.data)), at+sector-(op.off+at)%sector)
			if rng.Float64() < keep {
				data = overwrite(data, op.data[at:end], op.off+at)
			}
			at = end
		}
	}
	return data
}

func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func overwrite(b, data []byte, off int64) []byte {
	if end := off + int64(len(data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], data)
	return b
}

func clone(m map[string]*inode) map[string]*inode {
	c := make(map[string]*inode, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// change announces an operation that changes something, and refuses it on a read-only file system.
func (f *Files) change(what, name string) error {
	f.mu.Lock()
	f.ops++
	hook, op, readOnly := f.hook, f.ops, f.readOnly
	f.mu.Unlock()
	if hook != nil {
		hook(op, what+" "+filepath.Base(name))
	}
	if readOnly {
		return &fs.PathError{Op: what, Path: name, Err: syscall.EROFS}
	}
	return nil
}

// node finds a file; f.mu is held.
func (f *Files) node(name string) *inode {
	d := f.dirs[filepath.Dir(name)]
	if d == nil {
		return nil
	}
	return d.now[filepath.Base(name)]
}

// MkdirAll makes a folder; folders are durable at once.
func (f *Files) MkdirAll(dir string) error {
	f.mu.Lock()
	exists := f.dirs[dir] != nil
	f.mu.Unlock()
	if exists {
		return nil
	}
	err := f.change("mkdir", dir)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirs[dir] = &folder{now: map[string]*inode{}, synced: map[string]*inode{}}
	return nil
}

// ReadDir lists the files of a folder.
func (f *Files) ReadDir(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[dir]
	if d == nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	return sortedKeys(d.now), nil
}

// Create makes an empty file.
func (f *Files) Create(name string) (disk.File, error) {
	err := f.change("create", name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[filepath.Dir(name)]
	if d == nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	base := filepath.Base(name)
	n := d.now[base]
	if n == nil {
		n = &inode{}
		d.now[base] = n
		d.ops = append(d.ops, nameOp{to: base, node: n})
	} else {
		n.truncate(0)
	}
	return &file{fs: f, name: name, n: n, write: true}, nil
}

// Open opens a file that exists.
func (f *Files) Open(name string, write bool) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(name)
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if write && f.readOnly {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	return &file{fs: f, name: name, n: n, write: write}, nil
}

// Rename moves a file within its folder.
func (f *Files) Rename(from, to string) error {
	err := f.change("rename", from)
	if err != nil {
		return err
	}
	return f.nameOp(filepath.Dir(from), nameOp{from: filepath.Base(from), to: filepath.Base(to)})
}

// Remove deletes a file; who has it open still reads it.
func (f *Files) Remove(name string) error {
	err := f.change("remove", name)
	if err != nil {
		return err
	}
	return f.nameOp(filepath.Dir(name), nameOp{from: filepath.Base(name)})
}

func (f *Files) nameOp(dir string, op nameOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[dir]
	if d == nil || d.now[op.from] == nil {
		return &fs.PathError{Op: "rename or remove", Path: filepath.Join(dir, op.from), Err: fs.ErrNotExist}
	}
	op.node = d.now[op.from]
	op.apply(d.now)
	d.ops = append(d.ops, op)
	return nil
}

// SyncDir makes the names of a folder durable.
func (f *Files) SyncDir(dir string) error {
	err := f.change("syncdir", dir)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[dir]
	if d == nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: fs.ErrNotExist}
	}
	if f.syncFails > 0 {
		f.syncFails--
		return &fs.PathError{Op: "sync", Path: dir, Err: syscall.EIO}
	}
	if f.lie {
		return nil
	}
	d.synced, d.ops = clone(d.now), nil
	return nil
}

// Lock is held until its Closer is closed.
func (f *Files) Lock(name string) (io.Closer, error) {
	err := f.change("lock", name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[name] {
		return nil, disk.ErrLocked
	}
	f.locks[name] = true
	return unlock(func() { f.set(func() { delete(f.locks, name) }) }), nil
}

type unlock func()

func (u unlock) Close() error { u(); return nil }

type file struct {
	fs     *Files
	name   string
	n      *inode
	write  bool
	closed bool
}

func (h *file) ReadAt(b []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(b []byte, off int64) (int, error) {
	err := h.fs.change("write", h.name)
	if err != nil {
		return 0, err
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed || !h.write {
		return 0, fs.ErrClosed
	}
	n := len(b)
	if err = h.fs.writeFail; err != nil {
		n = len(b) / 2
	}
	grow := max(0, off+int64(n)-int64(len(h.n.data)))
	if h.fs.space >= 0 && grow > h.fs.space {
		n = int(max(0, int64(n)-(grow-h.fs.space)))
		grow, err = h.fs.space, syscall.ENOSPC
	}
	if h.fs.space >= 0 {
		h.fs.space -= grow
	}
	if n > 0 {
		h.n.data = overwrite(h.n.data, b[:n], off)
		h.n.ops = append(h.n.ops, dataOp{off: off, data: slices.Clone(b[:n])})
	}
	if err != nil {
		return n, &fs.PathError{Op: "write", Path: h.name, Err: err}
	}
	return n, nil
}

func (h *file) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(len(h.n.data)), nil
}

func (h *file) Truncate(size int64) error {
	err := h.fs.change("truncate", h.name)
	if err != nil {
		return err
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed || !h.write {
		return fs.ErrClosed
	}
	if h.fs.space >= 0 {
		h.fs.space += max(0, int64(len(h.n.data))-size)
	}
	h.n.truncate(size)
	return nil
}

func (n *inode) truncate(size int64) {
	n.data = slices.Clone(resize(n.data, size))
	n.ops = append(n.ops, dataOp{off: size})
}

func (h *file) Sync() error {
	err := h.fs.change("sync", h.name)
	if err != nil {
		return err
	}
	h.fs.mu.Lock()
	delay := h.fs.delay
	h.fs.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	switch {
	case h.closed:
		return fs.ErrClosed
	case h.fs.syncFails > 0:
		h.fs.syncFails--
		h.n.forgotten()
		return &fs.PathError{Op: "sync", Path: h.name, Err: syscall.EIO}
	case h.fs.lie:
		return nil
	}
	for _, op := range h.n.ops {
		if op.data == nil {
			h.n.synced = resize(h.n.synced, op.off)
		} else {
			h.n.synced = overwrite(h.n.synced, op.data, op.off)
		}
	}
	h.n.ops = nil
	return nil
}

// forgotten makes what is not synced stay readable but never be written, whatever is synced later: what the page cache
// does after a failed write-back. Only writes made after it are synced again.
func (n *inode) forgotten() {
	n.ops = nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return errors.Join(fs.ErrClosed, fmt.Errorf("close %s twice", h.name))
	}
	h.closed = true
	return nil
}
