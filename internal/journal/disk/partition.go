package disk

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
	"sync"
	"time"

	"tocsin/internal/journal"
)

// retryEvery is how long a sick partition waits between two tries to write again.
const retryEvery = 500 * time.Millisecond

const (
	zerosAhead  = 1 << 20   // how far zeros are written ahead of small commits, but a quarter of a segment at most
	smallCommit = 128 << 10 // what is small
	reserve     = 1 << 20   // a new segment must have room for this, or for what it may hold, before a partition that failed takes entries again
)

// A segment is one file. What lies behind end and size in the file is not there yet, or no more.
type segment struct {
	header
	name  string
	end   int64 // offset behind its last entry; the next segment's base is not less
	size  int64
	at    int64          // newest time in it and before it
	index []mark         // nil: not read yet
	known map[int64]bool // positions of damage that has been counted
}

// A batch is what is written at once.
type batch struct {
	buf     []byte
	frames  []frame
	entries []journal.Entry // made of buf and frames once it is written
	done    chan struct{}   // closed when err says what became of it
	err     error
	refs    int // readers that use it, and one for the recent ones; guarded by partition.mu
}

// A partition is one row of segments, and the goroutine that writes it.
type partition struct {
	j   *Journal
	fs  FS
	dir string
	n   int

	// io is held by whoever changes files. file, zeroed and zeros are its.
	io     sync.Mutex
	file   File
	salt   uint32
	zeroed int64 // position up to which the file has zeros, or data
	ahead  int64 // how far zeros are written ahead of small commits
	zeros  []byte

	work    chan struct{} // has one when there may be something to write
	closing chan struct{}

	mu       sync.Mutex
	segments []*segment // never empty once open; the last is written to
	next     int64      // offset behind the last durable entry
	assign   int64      // offset of the next entry that is appended
	at       int64      // newest time that was appended
	pending  *batch     // gathers
	free     []*batch
	recent   []*batch      // in order, contiguous to next
	room     chan struct{} // closed when pending was taken; nil while nobody waits
	tail     chan struct{} // closed when there is more to read; nil while nobody waits
	sick     error
	closed   bool
	floor    int64
}

func newPartition(j *Journal, n int) *partition {
	return &partition{
		j: j, fs: j.o.FS, dir: partitionDir(j.dir, n), n: n, work: make(chan struct{}, 1), closing: make(chan struct{}),
		at: math.MinInt64, pending: newBatch(), ahead: min(zerosAhead, j.o.SegmentBytes/4),
	}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// append puts entries into the batch that gathers and waits for it.
func (p *partition) append(ctx context.Context, entries []journal.Entry) (int64, error) {
	if len(entries) == 0 {
		return 0, errors.New("journal: nothing to append")
	}
	size := 0
	var few [8]uint32
	sums := few[:0]
	for i := range entries {
		if len(entries[i].Payload) > journal.MaxPayload {
			return 0, journal.ErrTooBig
		}
		size += frameSize + len(entries[i].Payload)
		sums = append(sums, crc32.Checksum(entries[i].Payload, castagnoli()))
	}
	err := ctx.Err()
	if err != nil {
		return 0, fmt.Errorf("journal: append: %w", err)
	}
	b, last, err := p.gather(ctx, entries, sums, size)
	if err != nil {
		return 0, err
	}
	select {
	case p.work <- struct{}{}:
	default:
	}
	select {
	case <-b.done:
		return last, b.err
	case <-ctx.Done():
		return 0, fmt.Errorf("journal: wait for the disk: %w", ctx.Err())
	}
}

// gather copies entries into the batch that gathers, once it has room for size bytes.
func (p *partition) gather(ctx context.Context, entries []journal.Entry, sums []uint32, size int) (*batch, int64, error) {
	p.mu.Lock()
	for {
		if p.closed {
			p.mu.Unlock()
			return nil, 0, journal.ErrClosed
		}
		if p.sick != nil {
			err := p.sick
			p.mu.Unlock()
			return nil, 0, err
		}
		if len(p.pending.buf) == 0 || len(p.pending.buf)+size <= p.j.o.CommitBytes {
			break
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("journal: wait for room: %w", ctx.Err())
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	b := p.pending
	for i := range entries {
		e := &entries[i]
		p.at = max(p.at, e.At.UnixMicro())
		f := frame{length: len(e.Payload), offset: p.assign, at: p.at, place: int64(len(b.frames))}
		b.buf = appendFrame(b.buf, p.salt, f, e.Payload, sums[i])
		b.frames = append(b.frames, f)
		p.assign++
	}
	return b, p.assign - 1, nil
}

// run writes what gathers until the partition is closed.
func (p *partition) run() {
	retry := time.NewTimer(retryEvery)
	defer retry.Stop()
	retry.Stop()
	for {
		select {
		case <-p.work:
		case <-retry.C:
			p.heal()
		case <-p.closing:
			for b := p.take(); b != nil; b = p.take() {
				p.commit(b)
			}
			return
		}
		for b := p.ripen(); b != nil; b = p.ripen() {
			p.commit(b)
		}
		if p.sickness() != nil {
			retry.Reset(retryEvery)
		}
	}
}

func (p *partition) sickness() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sick
}

// gatherTurns bounds how often those who are about to append are let through first.
const gatherTurns = 16

// ripen returns what is to be written, or nil. While a batch still grows, whoever can run does so first: on busy cores one
// sync then answers more requests, and a lone one is not kept waiting.
func (p *partition) ripen() *batch {
	for was, turn := 0, 0; turn < gatherTurns; turn++ {
		p.mu.Lock()
		n := len(p.pending.buf)
		p.mu.Unlock()
		if n == was || n >= smallCommit {
			break
		}
		was = n
		runtime.Gosched()
	}
	return p.take()
}

// take returns what has gathered, or nil.
func (p *partition) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sick != nil || len(p.pending.frames) == 0 {
		return nil
	}
	b := p.pending
	p.pending = p.fresh()
	p.wakeAppenders()
	return b
}

func (p *partition) wakeAppenders() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

func (p *partition) wakeReaders() {
	if p.tail != nil {
		close(p.tail)
		p.tail = nil
	}
}

// fresh returns an empty batch; p.mu is held.
func (p *partition) fresh() *batch {
	n := len(p.free)
	if n == 0 {
		return newBatch()
	}
	b := p.free[n-1]
	p.free = p.free[:n-1]
	*b = batch{buf: b.buf[:0], frames: b.frames[:0], entries: b.entries[:0], done: make(chan struct{})}
	return b
}

// unref gives b back when nobody uses it any more; p.mu is held.
func (p *partition) unref(b *batch) {
	b.refs--
	if b.refs == 0 && len(p.free) < 2 && cap(b.buf) <= 2*p.j.o.CommitBytes {
		// Not b itself: an appender may still be about to read its err.
		p.free = append(p.free, &batch{buf: b.buf, frames: b.frames, entries: b.entries})
	}
}

// commit makes b durable and readable, or everybody sick.
func (p *partition) commit(b *batch) {
	p.io.Lock()
	defer p.io.Unlock()
	rolled, err := p.write(b)
	if err != nil {
		p.fail(b, err)
		return
	}
	p.publish(b)
	close(b.done)
	if rolled {
		err := p.retain(time.Now())
		if err != nil {
			p.j.o.Log.Error("journal segments not removed", "partition", p.n, "error", err)
		}
	}
}

// write is one write and one sync; before them a new segment where the present one is full.
func (p *partition) write(b *batch) (rolled bool, err error) {
	last := p.last()
	size := last.size
	if size > headerSize && size+int64(len(b.buf)) > p.j.o.SegmentBytes {
		err := p.roll(b.frames[0].offset, reasonNone)
		if err != nil {
			return false, err
		}
		size, rolled = headerSize, true
	}
	end := size + int64(len(b.buf))
	if end > p.zeroed {
		err := p.hasRoom(end - p.zeroed + p.ahead)
		if err != nil {
			return rolled, err
		}
	}
	if end > p.zeroed && len(b.buf) < smallCommit {
		if p.zeros == nil {
			p.zeros = make([]byte, p.ahead)
		}
		_, err = p.file.WriteAt(p.zeros, end)
		if err != nil {
			return rolled, fmt.Errorf("write zeros ahead: %w", err)
		}
		p.zeroed = end + p.ahead
	}
	_, err = p.file.WriteAt(b.buf, size)
	if err != nil {
		return rolled, fmt.Errorf("write segment: %w", err)
	}
	p.zeroed = max(p.zeroed, end)
	return rolled, p.file.Sync()
}

// last returns the segment that is written to. It only changes under p.io, which the caller holds; so do its fields.
func (p *partition) last() *segment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.segments[len(p.segments)-1]
}

// publish makes the entries of a durable batch readable.
func (p *partition) publish(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.segments[len(p.segments)-1]
	at := int64(0)
	for _, f := range b.frames {
		s.index = addMark(s.index, mark{offset: f.offset, pos: s.size + at, at: f.at})
		body := b.buf[at+frameSize : at+f.size() : at+f.size()]
		b.entries = append(b.entries, journal.Entry{Offset: f.offset, At: time.UnixMicro(f.at).UTC(), Payload: body})
		at += f.size()
		s.at = f.at
	}
	s.size += at
	s.end = b.frames[len(b.frames)-1].offset + 1
	p.next = s.end
	p.remember(b)
	p.wakeReaders()
	c := &p.j.stats
	c.commits.Add(1)
	c.entries.Add(int64(len(b.frames)))
	c.bytes.Add(at)
}

// remember keeps b for readers at the tail and forgets the oldest that are too many; p.mu is held.
func (p *partition) remember(b *batch) {
	b.refs++
	p.recent = append(p.recent, b)
	total := 0
	for _, r := range p.recent {
		total += cap(r.buf)
	}
	drop := 0
	for ; total > p.j.o.RecentBytes && drop < len(p.recent)-1; drop++ {
		total -= cap(p.recent[drop].buf)
	}
	p.forget(drop)
}

// forget drops the oldest n of the recent batches; p.mu is held.
func (p *partition) forget(n int) {
	for _, b := range p.recent[:n] {
		p.unref(b)
	}
	kept := copy(p.recent, p.recent[n:])
	clear(p.recent[kept:])
	p.recent = p.recent[:kept]
}

// fail answers b, if there is one, and all who wait with ErrSick, and everyone who comes until heal succeeds.
func (p *partition) fail(b *batch, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick = fmt.Errorf("%w: partition %d: %w", journal.ErrSick, p.n, err)
	failed := []*batch{b, p.pending}
	p.pending = newBatch()
	for _, f := range failed {
		if f != nil {
			f.err = p.sick
			close(f.done)
		}
	}
	p.wakeAppenders()
	select {
	case p.work <- struct{}{}: // so that run sets its timer
	default:
	}
	p.j.stats.failures.Add(1)
	p.j.o.Log.Error("journal cannot write", "partition", p.n, "offset", p.next, "error", err)
}

// expect begins a new segment where the state is ahead of the journal.
func (p *partition) expect(next int64) (*journal.GapError, error) {
	p.io.Lock()
	defer p.io.Unlock()
	p.mu.Lock()
	end, assign, sick, closed := p.next, p.assign, p.sick, p.closed
	p.mu.Unlock()
	switch {
	case next <= end:
		return nil, nil
	case closed:
		return nil, journal.ErrClosed
	case sick != nil:
		return nil, sick
	case assign != end:
		return nil, errors.New("journal: entries were appended before the state's offset was told")
	}
	err := p.roll(next, reasonBehind)
	if err != nil {
		p.fail(nil, err) // which of the two segments the manifest names is not known: heal decides it
		return nil, fmt.Errorf("journal: begin partition %d anew at offset %d: %w", p.n, next, err)
	}
	p.j.stats.lost.Add(next - end)
	gap := &journal.GapError{Partition: p.n, From: end, To: next, Cause: reasonBehind.String()}
	p.j.o.Log.Error("journal ends before what the state has read", "partition", p.n, "end", end, "state", next)
	return gap, nil
}

func (p *partition) close() {
	p.mu.Lock()
	p.closed = true
	p.wakeAppenders()
	p.wakeReaders()
	p.mu.Unlock()
	close(p.closing)
}

// finish leaves the files as they are read quickest and safest: without zeros ahead, and the manifest knowing the end.
func (p *partition) finish() error {
	p.io.Lock()
	defer p.io.Unlock()
	p.mu.Lock()
	sick := p.sick
	p.mu.Unlock()
	if sick != nil {
		_ = p.file.Close() // what it says means nothing: the next open finds out what is stored
		return nil
	}
	err := p.cutZeros()
	if err == nil {
		err = p.writeManifest(p.last())
	}
	return errors.Join(err, p.file.Close())
}

// cutZeros makes the file end where its last frame does.
func (p *partition) cutZeros() error {
	size := p.last().size
	if p.zeroed <= size {
		return nil
	}
	err := p.file.Truncate(size)
	if err != nil {
		return fmt.Errorf("cut segment: %w", err)
	}
	p.zeroed = size
	return p.file.Sync()
}
