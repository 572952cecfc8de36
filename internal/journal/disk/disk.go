package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"tocsin/internal/journal"
)

// Options tune a Journal; the zero value is ready to use.
type Options struct {
	Partitions   int           // 0 means 1; it cannot shrink
	SegmentBytes int64         // a segment that has more gets no more; 0 means 64 MiB
	CommitBytes  int           // the most that is written and synced at once; 0 means 1 MiB
	RecentBytes  int           // memory a partition for entries that readers at the tail get without the file; 0 means 4 MiB
	MaxAge       time.Duration // segments whose newest entry is older go; 0 means they stay
	MaxBytes     int64         // the oldest segments of a partition go while it has more; 0 means they stay
	FS           FS            // nil means the operating system's
	Log          *slog.Logger  // nil means discard
}

// A Journal is an open folder.
type Journal struct {
	dir   string
	o     Options
	lock  io.Closer
	parts []*partition
	stats counters

	stop chan struct{}
	wg   sync.WaitGroup
	once sync.Once
	err  error // of Close
}

// Stats count what happened since the journal was opened.
type Stats struct {
	Commits      int64 // writes with their sync
	Entries      int64
	Bytes        int64 // written, with the frames
	TornTails    int64 // tails cut at open
	TornBytes    int64
	DamagedSpots int64 // places in segments and headers that the medium damaged
	Failures     int64 // times a partition became sick
	Skipped      int64 // offsets that are not used because a write failed
	Lost         int64 // offsets whose entries had been durable and are gone
	Dropped      int64 // segments that retention removed
}

type counters struct {
	commits, entries, bytes, tornTails, tornBytes, damaged, failures, skipped, lost, dropped atomic.Int64
}

// Open opens the journal in dir, and makes it where there is none. A folder that another process has open, that cannot be
// written, or in which something is missing (*DamageError) is an error that names it.
func Open(dir string, o Options) (*Journal, error) {
	o.Partitions = cmp.Or(o.Partitions, 1)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 64<<20)
	o.CommitBytes = cmp.Or(o.CommitBytes, 1<<20)
	o.RecentBytes = cmp.Or(o.RecentBytes, 4<<20)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.Partitions < 0 || o.SegmentBytes < 0 || o.CommitBytes < 0 || o.RecentBytes < 0 || o.MaxAge < 0 || o.MaxBytes < 0 {
		return nil, errors.New("open journal: an option is negative")
	}
	j := &Journal{dir: dir, o: o, stop: make(chan struct{})}
	err := j.open()
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", dir, err)
	}
	for _, p := range j.parts {
		j.wg.Go(p.run)
	}
	if o.MaxAge > 0 {
		j.wg.Go(j.age)
	}
	return j, nil
}

func (j *Journal) open() (err error) {
	err = j.o.FS.MkdirAll(j.dir)
	if err != nil {
		return err
	}
	j.lock, err = j.o.FS.Lock(filepath.Join(j.dir, lockName))
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() {
		if err != nil {
			for _, p := range j.parts {
				err = errors.Join(err, p.file.Close())
			}
			err = errors.Join(err, j.lock.Close())
		}
	}()
	more := partitionDir(j.dir, j.o.Partitions)
	_, err = j.o.FS.ReadDir(more)
	if err == nil {
		return fmt.Errorf("there is %s, but the configuration knows only %d partitions", more, j.o.Partitions)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := range j.o.Partitions {
		p := newPartition(j, n)
		err = p.open()
		if err != nil {
			return err
		}
		j.parts = append(j.parts, p)
	}
	return j.o.FS.SyncDir(j.dir)
}

func partitionDir(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("partition-%04d", n))
}

func (j *Journal) partition(n int) (*partition, error) {
	if n < 0 || n >= len(j.parts) {
		return nil, fmt.Errorf("journal: there is no partition %d of %d", n, len(j.parts))
	}
	return j.parts[n], nil
}

// Append writes entries and returns once they are durable. The payloads are copied before it waits. Times are cut to microseconds,
// and one that lies before the entry before it is raised to that one's, so that times never fall within a partition.
// When ctx ends while it waits, the entries may or may not be written.
func (j *Journal) Append(ctx context.Context, partition int, entries ...journal.Entry) (last int64, err error) {
	p, err := j.partition(partition)
	if err != nil {
		return 0, err
	}
	return p.append(ctx, entries)
}

// Read returns a reader that begins at offset from.
func (j *Journal) Read(partition int, from int64) (journal.Reader, error) {
	p, err := j.partition(partition)
	if err != nil {
		return nil, err
	}
	return p.read(from)
}

// Bounds returns the first offset kept and the one behind the last that is durable.
func (j *Journal) Bounds(partition int) (first, next int64, err error) {
	p, err := j.partition(partition)
	if err != nil {
		return 0, 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.segments[0].base, p.next, nil
}

// OffsetAt returns the offset of the first entry received at or after t, or the next one.
func (j *Journal) OffsetAt(partition int, t time.Time) (int64, error) {
	p, err := j.partition(partition)
	if err != nil {
		return 0, err
	}
	return p.offsetAt(t)
}

// Partitions returns how many there are.
func (j *Journal) Partitions() int { return len(j.parts) }

// Expect tells the journal that the state has read the partition up to next; call it after Open, before the first Append.
// Where the journal ends before that, the disk lost what it had reported as durable: the partition then goes on
// at next, so that no offset ever means two entries, and gap says what is gone. A nil gap is the usual case.
func (j *Journal) Expect(partition int, next int64) (gap *journal.GapError, err error) {
	p, err := j.partition(partition)
	if err != nil {
		return nil, err
	}
	return p.expect(next)
}

// SetFloor allows retention to remove entries before offset: those that the state has read. Until it is called nothing is removed.
func (j *Journal) SetFloor(partition int, offset int64) error {
	p, err := j.partition(partition)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.floor = max(p.floor, offset)
	p.mu.Unlock()
	return nil
}

// Retain removes the segments that are too many or, at now, too old. The journal does it by itself after each roll, and each minute
// where there is a MaxAge.
func (j *Journal) Retain(now time.Time) error {
	var errs []error
	for _, p := range j.parts {
		p.io.Lock()
		errs = append(errs, p.retain(now))
		p.io.Unlock()
	}
	return errors.Join(errs...)
}

func (j *Journal) age() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-j.stop:
			return
		case now := <-tick.C:
			err := j.Retain(now)
			if err != nil {
				j.o.Log.Error("journal segments not removed", "error", err)
			}
		}
	}
}

// Health returns nil, or why a partition cannot write now; the error is an ErrSick.
func (j *Journal) Health() error {
	var errs []error
	for _, p := range j.parts {
		p.mu.Lock()
		errs = append(errs, p.sick)
		p.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Stats returns the counts so far.
func (j *Journal) Stats() Stats {
	c := &j.stats
	return Stats{
		Commits: c.commits.Load(), Entries: c.entries.Load(), Bytes: c.bytes.Load(), TornTails: c.tornTails.Load(), TornBytes: c.tornBytes.Load(),
		DamagedSpots: c.damaged.Load(), Failures: c.failures.Load(), Skipped: c.skipped.Load(), Lost: c.lost.Load(), Dropped: c.dropped.Load(),
	}
}

// Close writes what has gathered, answers all who wait, and frees the folder. Later calls return what the first did.
func (j *Journal) Close() error {
	j.once.Do(func() {
		close(j.stop)
		for _, p := range j.parts {
			p.close()
		}
		j.wg.Wait()
		var errs []error
		for _, p := range j.parts {
			errs = append(errs, p.finish())
		}
		j.err = errors.Join(append(errs, j.lock.Close())...)
		if j.err != nil {
			j.err = fmt.Errorf("close journal %s: %w", j.dir, j.err)
		}
	})
	return j.err
}

// A DamageError means that a file of the journal is not what it must be, so that the journal would begin or go on at a wrong offset.
type DamageError struct {
	File    string
	Problem string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: %s; put the file back from a backup, or, to go on without what it held, run the journal's repair", e.File, e.Problem)
}
