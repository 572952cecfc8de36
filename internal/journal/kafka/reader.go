package kafka

import (
	"context"
	"sync"
	"time"

	"tocsin/internal/journal"
)

// lookBack is how many entries before its first a reader looks at, so that its times do not fall behind theirs.
const lookBack = 64

// A reader is one reader of one partition. What it has not taken yet is kept for it, up to a bound.
type reader struct {
	f      *fetcher
	p      *partition
	ready  chan struct{} // has one when there may be something for Next
	closed chan struct{}
	once   sync.Once
	served uint64 // round in which it last got something; fetcher.mu is held

	mu    sync.Mutex
	queue []journal.Entry
	bytes int
	gaps  []*journal.GapError
	next  int64     // what Next returns next
	pos   int64     // what is fetched next
	floor int64     // newest time so far, in milliseconds
	full  int       // how often it was passed over because it takes nothing
	lost  time.Time // since when pos is beyond the end
	gone  bool      // the brokers said that there is no such partition
	err   error     // for Next, once all before is taken; it reads no further
}

// Read returns a reader that begins at offset from. It fetches ahead, and asks the leader what there is at once.
func (j *Journal) Read(partition int, from int64) (journal.Reader, error) {
	p, err := j.partition(partition)
	if err != nil {
		return nil, err
	}
	first, next, err := j.Bounds(partition)
	for began := time.Now(); err == nil && from > next && time.Since(began) < maxBehind; {
		// A leader that is new may not know yet that all in-sync copies have what was read.
		time.Sleep(maxBehind / 8)
		first, next, err = j.Bounds(partition)
	}
	switch {
	case err != nil:
		return nil, err
	case from < first:
		return nil, &journal.GapError{Partition: partition, From: from, To: first, Cause: "retention removed them"}
	case from > next:
		return nil, &journal.BeyondError{Partition: partition, From: from, End: next}
	}
	r := &reader{f: j.fetch, p: p, ready: make(chan struct{}, 1), closed: make(chan struct{}), next: from, pos: from}
	j.fetch.ends[partition].Store(next)
	if next > first {
		r.begin(max(first, from-lookBack))
	}
	j.fetch.add(r)
	return r, nil
}

// begin takes what is at offset at now. Where that fails the fetcher tries again.
func (r *reader) begin(at int64) {
	ctx, cancel := context.WithTimeout(r.p.j.ctx, requestLimit)
	defer cancel()
	entries, to, err := r.p.j.fetchOnce(ctx, r.p.n, at)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(entries) > 0 && entries[0].Offset < r.pos {
		r.floor = max(r.floor, entries[0].At.UnixMilli())
		entries = entries[1:]
	}
	if to > r.pos {
		r.p.j.stats.read.Add(int64(len(entries)))
		r.take(entries, to)
	}
}

// appetite says where r reads on and whether it has room; if not, how often it was so before, or -1 where it will never again.
func (r *reader) appetite(ahead int) (pos int64, hungry bool, full int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.pos, false, -1
	}
	if r.bytes >= ahead {
		r.full++
		return r.pos, false, r.full - 1
	}
	r.full = 0
	return r.pos, true, 0
}

// deliver gives r the entries that were fetched at offset, and says that the next ones begin at to.
func (r *reader) deliver(entries []journal.Entry, offset, to int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = time.Time{}
	switch {
	case r.pos != offset || r.err != nil:
	case r.gone:
		r.err = journal.ErrVanished
		r.signal()
	default:
		r.take(entries, to)
	}
}

// vanish says that there is no such partition now. One that comes back may have been made anew, and grown past pos before anybody looked.
func (r *reader) vanish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

// take puts entries into the queue; r.mu is held.
func (r *reader) take(entries []journal.Entry, to int64) {
	for _, e := range entries {
		if e.Offset > r.pos {
			r.skip(e.Offset)
		}
		r.floor = max(r.floor, e.At.UnixMilli())
		e.At = time.UnixMilli(r.floor).UTC()
		r.queue = append(r.queue, e)
		r.bytes += len(e.Payload) + 64
		r.pos = e.Offset + 1
	}
	if to > r.pos {
		r.skip(to)
	}
	r.p.saw(r.floor)
	r.signal()
}

func (r *reader) skip(to int64) {
	r.gap(&journal.GapError{
		Partition: r.p.n, From: r.pos, To: to, Skipped: true, Cause: "the topic has no entries there, but marks of a transaction or compacted ones",
	})
}

func (r *reader) gap(g *journal.GapError) {
	r.gaps = append(r.gaps, g)
	r.pos = g.To
	r.p.j.stats.gaps.Add(1)
}

// lose says that retention has removed the entries from offset to first.
func (r *reader) lose(offset, first int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos != offset || r.err != nil {
		return
	}
	r.gap(&journal.GapError{Partition: r.p.n, From: offset, To: first, Cause: "retention removed them"})
	r.p.j.stats.lost.Add(first - offset)
	r.signal()
}

// beyond says that the partition ends at end, before where r reads. It is true once it stays so.
func (r *reader) beyond(end int64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.lost.IsZero():
		r.lost = now
		return false
	case now.Sub(r.lost) < maxBehind:
		return false
	}
	r.err = &journal.BeyondError{Partition: r.p.n, From: r.pos, End: end}
	r.signal()
	return true
}

func (r *reader) signal() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Next returns what has been fetched, and waits where there is nothing. Brokers that do not answer are waited for; they show in
// the log and in Stats.
func (r *reader) Next(ctx context.Context, limit int) ([]journal.Entry, error) {
	for {
		err := ctx.Err()
		if err != nil {
			return nil, err
		}
		if r.isClosed() {
			return nil, journal.ErrClosed
		}
		entries, hungry, err := r.pick(limit)
		if hungry {
			r.f.hurry()
		}
		if entries != nil || err != nil {
			return entries, err
		}
		select {
		case <-r.ready:
		case <-r.closed:
		case <-r.p.j.ctx.Done():
		case <-ctx.Done():
		}
	}
}

func (r *reader) isClosed() bool {
	select {
	case <-r.closed:
		return true
	case <-r.p.j.ctx.Done():
		return true
	default:
		return false
	}
}

// pick returns what comes next, if anything does, and whether r has room now that it had not.
func (r *reader) pick(limit int) (out []journal.Entry, hungry bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.gaps) > 0 && r.gaps[0].From == r.next {
		g := r.gaps[0]
		r.gaps = r.gaps[1:]
		r.next = g.To
		return nil, false, g
	}
	if len(r.queue) == 0 {
		return nil, false, r.err
	}
	end := int64(1<<63 - 1)
	if len(r.gaps) > 0 {
		end = r.gaps[0].From
	}
	n, total := 0, 0
	for n < len(r.queue) && r.queue[n].Offset < end {
		total += len(r.queue[n].Payload)
		if total > limit && n > 0 {
			break
		}
		r.bytes -= len(r.queue[n].Payload) + 64
		n++
	}
	out = r.queue[:n:n]
	r.queue = r.queue[n:]
	r.next = out[n-1].Offset + 1
	hungry = r.full > 0 && r.bytes < r.f.ahead
	if hungry {
		r.full = 0
	}
	return out, hungry, nil
}

// Close ends a Next that waits, and frees what r holds.
func (r *reader) Close() error {
	r.once.Do(func() {
		close(r.closed)
		r.f.remove(r)
	})
	return nil
}
