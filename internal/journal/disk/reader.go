package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"tocsin/internal/journal"
)

// read returns a reader at from, or what is gone.
func (p *partition) read(from int64) (journal.Reader, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.segments[0].base
	switch {
	case p.closed:
		return nil, journal.ErrClosed
	case from < first:
		return nil, &journal.GapError{Partition: p.n, From: from, To: first, Cause: "retention removed them"}
	case from > p.next:
		return nil, fmt.Errorf("journal: offset %d of partition %d is behind its end at %d", from, p.n, p.next)
	}
	return &reader{p: p, next: from, closed: make(chan struct{})}, nil
}

// A reader is for one goroutine; only Close may be called by another.
type reader struct {
	p    *partition
	next int64
	held *batch // what Next returned is a part of it
	out  []journal.Entry

	seg  *segment // that file belongs to
	file File
	scan scanner // at next, in seg

	scanned int64 // offset that scan expects

	using  sync.Mutex // held by Next
	closed chan struct{}
	once   sync.Once
}

// Next returns entries from memory where they are recent, else from the file.
func (r *reader) Next(ctx context.Context, limit int) ([]journal.Entry, error) {
	r.using.Lock()
	defer r.using.Unlock()
	p := r.p
	for {
		err := ctx.Err()
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		if r.held != nil {
			p.unref(r.held)
			r.held = nil
		}
		if p.closed || r.isClosed() {
			p.mu.Unlock()
			return nil, journal.ErrClosed
		}
		if r.next >= p.next {
			tail := p.wait()
			p.mu.Unlock()
			select {
			case <-tail:
			case <-r.closed:
			case <-ctx.Done():
			}
			continue
		}
		if entries := r.recent(limit); entries != nil {
			p.mu.Unlock()
			return entries, r.leave() // a file that retention removed must not stay open
		}
		seg, gap := r.place()
		var end, size int64
		if seg != nil {
			end, size = seg.end, seg.size
		}
		p.mu.Unlock()
		if gap != nil {
			return nil, gap
		}
		entries, err := r.stored(seg, end, size, limit)
		if errors.Is(err, fs.ErrNotExist) && r.passed() {
			continue // retention was quicker: place says so
		}
		return entries, err
	}
}

// wait returns the channel that is closed when there is more; p.mu is held.
func (p *partition) wait() <-chan struct{} {
	if p.tail == nil {
		p.tail = make(chan struct{})
	}
	return p.tail
}

func (r *reader) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

func (r *reader) passed() bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.next < r.p.segments[0].base
}

// recent returns what follows r.next from memory, or nil; p.mu is held.
func (r *reader) recent(limit int) []journal.Entry {
	p := r.p
	if len(p.recent) == 0 || r.next < p.recent[0].entries[0].Offset {
		return nil
	}
	i, found := slices.BinarySearchFunc(p.recent, r.next, func(b *batch, o int64) int { return int(min(max(b.entries[0].Offset-o, -1), 1)) })
	if !found {
		i--
	}
	b := p.recent[i]
	from := r.next - b.entries[0].Offset
	if from >= int64(len(b.entries)) {
		return nil
	}
	entries := b.entries[from:]
	n := fit(entries, limit)
	b.refs++
	r.held = b
	r.next += int64(n)
	return entries[:n:n]
}

// fit returns how many entries have at most limit bytes of payload, and at least one.
func fit(entries []journal.Entry, limit int) int {
	total := 0
	for i := range entries {
		total += len(entries[i].Payload)
		if total > limit && i > 0 {
			return i
		}
	}
	return len(entries)
}

// place returns the segment that has r.next, or the gap that it lies in, which r then is behind; p.mu is held.
func (r *reader) place() (*segment, *journal.GapError) {
	p := r.p
	s, i := p.segmentOf(r.next)
	gap := &journal.GapError{Partition: p.n, From: r.next}
	switch {
	case s == nil:
		gap.To, gap.Cause = p.segments[0].base, "retention removed them"
	case r.next >= s.end: // and before p.next, so that there is one more
		after := p.segments[i+1]
		gap.To, gap.Cause, gap.Skipped = after.base, after.reason.String(), after.reason == reasonFailed
	default:
		return s, nil
	}
	r.next = gap.To
	return nil, gap
}

// stored returns what follows r.next from the file of s, which ends at offset end and position size.
func (r *reader) stored(s *segment, end, size int64, limit int) ([]journal.Entry, error) {
	err := r.enter(s)
	if err != nil {
		return nil, err
	}
	r.scan.limit = size
	r.out = r.out[:0]
	total := 0
	for r.next < end && (len(r.out) == 0 || r.scan.buffered()) {
		pos := r.scan.pos
		f, payload, ok, err := r.scan.next()
		if err != nil {
			return nil, fmt.Errorf("journal: read %s: %w", s.name, err)
		}
		if ok && f.offset < r.next {
			continue // on the way from a mark
		}
		if !ok || f.offset > r.next {
			r.scan.pos = pos
			if len(r.out) > 0 {
				break
			}
			return nil, r.damage(s, pos, end)
		}
		total += len(payload)
		if total > limit && len(r.out) > 0 {
			r.scan.pos = pos
			break
		}
		r.out = append(r.out, journal.Entry{Offset: f.offset, At: time.UnixMicro(f.at).UTC(), Payload: payload})
		r.next++
	}
	r.scanned = r.next
	return r.out, nil
}

// damage moves r behind the damage at pos and returns what is gone, as a *journal.GapError.
func (r *reader) damage(s *segment, pos, end int64) error {
	r.scan.pos = pos - 1 // seek looks behind its position, and what stands at pos may be whole, only not what was due
	found, err := r.scan.seek(r.next, end)
	if err != nil {
		return fmt.Errorf("journal: read %s: %w", s.name, err)
	}
	to := end
	if found {
		f, _ := parseHead(mustPeek(&r.scan), r.scan.salt)
		to = f.offset
	} else {
		r.scan.pos = r.scan.limit
	}
	gap := &journal.GapError{Partition: r.p.n, From: r.next, To: to, Cause: fmt.Sprintf("%s is damaged at byte %d", s.name, pos)}
	r.p.mu.Lock()
	r.p.hole(s, hole{from: r.next, to: to, pos: pos})
	r.p.mu.Unlock()
	r.next, r.scanned = to, to
	return gap
}

// enter opens s and goes to r.next in it, unless r is there.
func (r *reader) enter(s *segment) error {
	if r.seg == s && r.next == r.scanned {
		return nil
	}
	err := r.leave()
	if err != nil {
		return err
	}
	pos := int64(headerSize)
	if r.next > s.base {
		pos, err = r.position(s)
		if err != nil {
			return err
		}
	}
	r.file, err = r.p.fs.Open(s.name, false)
	if err != nil {
		return err
	}
	r.seg = s
	r.scan = scanner{f: r.file, salt: r.p.salt, pos: pos, buf: r.scan.buf[:0]}
	return nil
}

// position returns where in s a frame at or before r.next stands.
func (r *reader) position(s *segment) (int64, error) {
	err := r.p.ensureIndex(s)
	if err != nil {
		return 0, err
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	i, found := slices.BinarySearchFunc(s.index, r.next, func(m mark, o int64) int { return int(min(max(m.offset-o, -1), 1)) })
	switch {
	case found:
		return s.index[i].pos, nil
	case i > 0:
		return s.index[i-1].pos, nil
	}
	return headerSize, nil
}

func (r *reader) leave() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.seg = nil, nil
	return err
}

// Close ends a Next that waits, and frees what r holds.
func (r *reader) Close() error {
	var err error
	r.once.Do(func() {
		close(r.closed)
		r.using.Lock()
		defer r.using.Unlock()
		err = r.leave()
		r.p.mu.Lock()
		defer r.p.mu.Unlock()
		if r.held != nil {
			r.p.unref(r.held)
			r.held = nil
		}
	})
	return err
}
