package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"tocsin/internal/journal"
)

// open reads what there is, mends what a crash leaves, and refuses what a crash does not.
func (p *partition) open() error {
	err := p.fs.MkdirAll(p.dir)
	if err != nil {
		return err
	}
	err = p.fs.SyncDir(p.j.dir)
	if err != nil {
		return err
	}
	bases, err := p.list()
	if err != nil {
		return err
	}
	m, err := p.readManifest()
	if errors.Is(err, fs.ErrNotExist) {
		return p.create(bases)
	}
	if err != nil {
		return err
	}
	p.salt = m.salt
	bases, err = p.sweep(bases, &m)
	if err != nil {
		return err
	}
	err = p.chain(bases, m)
	if err != nil {
		return err
	}
	err = p.tryFolder()
	if err != nil {
		return err
	}
	return p.openLast(m)
}

// tryFolder finds out at the start whether the next segment could be made: a folder in which that fails would be noticed hours later.
func (p *partition) tryFolder() error {
	temp := filepath.Join(p.dir, manifestTemp)
	f, err := p.fs.Create(temp)
	if err != nil {
		return fmt.Errorf("nothing can be written into the folder: %w", err)
	}
	return errors.Join(f.Close(), p.fs.Remove(temp))
}

// list returns the bases of all segments in order.
func (p *partition) list() ([]int64, error) {
	names, err := p.fs.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, name := range names {
		base, ok := baseOf(name)
		switch {
		case ok:
			bases = append(bases, base)
		case name != manifestName && name != manifestTemp:
			p.j.o.Log.Warn("file in the journal's folder is not the journal's", "file", filepath.Join(p.dir, name))
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func (p *partition) readManifest() (manifest, error) {
	name := filepath.Join(p.dir, manifestName)
	f, err := p.fs.Open(name, false)
	if err != nil {
		return manifest{}, err
	}
	b, err := readHeader(f)
	err = errors.Join(err, f.Close())
	if err != nil {
		return manifest{}, err
	}
	m, whole, err := decodeManifest(b)
	if err == nil && m.partition != uint32(p.n) {
		err = fmt.Errorf("it is of partition %d", m.partition)
	}
	if err != nil {
		return manifest{}, &DamageError{File: name, Problem: err.Error()}
	}
	if !whole {
		p.damaged(name, 0, "one copy of the manifest")
	}
	return m, nil
}

// damaged counts and logs a place that the medium damaged.
func (p *partition) damaged(file string, pos int64, what string) {
	p.j.stats.damaged.Add(1)
	p.j.o.Log.Error("journal is damaged", "file", file, "position", pos, "what", what)
}

// create begins a partition that never was. A segment without a manifest is left by a crash before the first entry, if it is empty.
func (p *partition) create(bases []int64) error {
	for _, base := range bases {
		frames, err := p.frames(base)
		if err != nil {
			return err
		}
		if base != 0 || len(bases) > 1 || frames {
			return &DamageError{File: filepath.Join(p.dir, manifestName), Problem: "it is missing, but there are segments"}
		}
	}
	var salt [4]byte
	_, err := rand.Read(salt[:])
	if err != nil {
		return fmt.Errorf("draw salt: %w", err)
	}
	p.salt = binary.LittleEndian.Uint32(salt[:]) | 1 // never a row of zeros
	h := header{partition: uint32(p.n), salt: p.salt, prevBase: -1, prevAt: p.at}
	return p.begin(h, false)
}

// frames reports whether a segment's file has any bytes behind its header that are not zeros.
func (p *partition) frames(base int64) (bool, error) {
	f, err := p.fs.Open(segmentName(p.dir, base), false)
	if err != nil {
		return false, err
	}
	size, err := f.Size()
	blank := true
	if err == nil {
		s := scanner{f: f, pos: headerSize, limit: size}
		blank, err = s.blank()
	}
	return !blank, errors.Join(err, f.Close())
}

// sweep removes what a crash in a roll or in retention leaves: segments before the manifest's first, and empty ones behind its
// last. One with frames behind the last was lost by the manifest, not the other way round: it stays.
func (p *partition) sweep(bases []int64, m *manifest) ([]int64, error) {
	var kept []int64
	for _, base := range bases {
		frames := false
		if base > m.last {
			var err error
			frames, err = p.frames(base)
			if err != nil {
				return nil, err
			}
		}
		if base >= m.first && base <= m.last || frames {
			kept = append(kept, base)
			continue
		}
		name := segmentName(p.dir, base)
		p.j.o.Log.Info("journal segment left over by a crash removed", "file", name)
		err := p.fs.Remove(name)
		if err != nil {
			return nil, err
		}
	}
	for _, want := range []int64{m.first, m.last} {
		if !slices.Contains(kept, want) {
			return nil, &DamageError{File: segmentName(p.dir, want), Problem: "the segment is missing"}
		}
	}
	if newest := kept[len(kept)-1]; newest > m.last {
		m.last, m.end, m.size = newest, newest, headerSize
	}
	return kept, p.fs.SyncDir(p.dir)
}

// chain reads the headers and checks that each segment follows the one before.
func (p *partition) chain(bases []int64, m manifest) error {
	for i, base := range bases {
		name := segmentName(p.dir, base)
		h, size, err := p.readSegment(name)
		if err != nil {
			return err
		}
		problem := ""
		switch {
		case h.base != base:
			problem = fmt.Sprintf("it is a copy of the segment at %d", h.base)
		case h.salt != m.salt || h.partition != m.partition:
			problem = "it is of another journal"
		}
		if problem != "" {
			return &DamageError{File: name, Problem: problem}
		}
		if i > 0 {
			err = p.follows(h, p.segments[i-1])
			if err != nil {
				return err
			}
		}
		p.segments = append(p.segments, &segment{header: h, name: name, end: base, size: size, at: h.prevAt})
	}
	return nil
}

// readSegment reads the header of a segment and how many bytes the file has.
func (p *partition) readSegment(name string) (h header, size int64, err error) {
	f, err := p.fs.Open(name, false)
	if err != nil {
		return header{}, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := readHeader(f)
	if err != nil {
		return header{}, 0, fmt.Errorf("%s: %w", name, err)
	}
	h, whole, err := decodeHeader(b)
	if err != nil {
		return header{}, 0, &DamageError{File: name, Problem: err.Error()}
	}
	if !whole {
		p.damaged(name, 0, "one copy of the header")
	}
	size, err = f.Size()
	return h, size, err
}

// follows checks that h stands behind s, and sets what h says of it.
func (p *partition) follows(h header, s *segment) error {
	switch {
	case h.prevBase > s.base:
		return &DamageError{File: segmentName(p.dir, h.prevBase), Problem: "the segment is missing"}
	case h.prevBase < s.base || h.prevEnd < s.base || h.prevEnd > h.base:
		return &DamageError{File: s.name, Problem: fmt.Sprintf("it does not belong between the segments at %d and %d", h.prevBase, h.base)}
	case s.size < h.prevSize:
		return &DamageError{File: s.name, Problem: fmt.Sprintf("it was cut: it has %d bytes of %d", s.size, h.prevSize)}
	}
	s.end, s.size, s.at = h.prevEnd, h.prevSize, h.prevAt
	return nil
}

// openLast reads the newest segment through, cuts a torn tail, and makes sure that what it found is durable.
func (p *partition) openLast(m manifest) error {
	s := p.segments[len(p.segments)-1]
	if s.size < m.size {
		return &DamageError{File: s.name, Problem: fmt.Sprintf("it was cut: it has %d bytes of %d", s.size, m.size)}
	}
	f, err := p.fs.Open(s.name, true)
	if err != nil {
		return err
	}
	p.file = f
	err = p.settle(s, m)
	if err != nil {
		p.segments = nil
		return errors.Join(fmt.Errorf("%s: %w", s.name, err), p.file.Close())
	}
	return nil
}

func (p *partition) settle(s *segment, m manifest) error {
	c, err := scanSegment(p.file, s.header, s.size, m.size)
	if err != nil {
		return err
	}
	for _, h := range c.holes {
		p.hole(s, h)
	}
	if c.torn > 0 {
		p.j.stats.tornTails.Add(1)
		p.j.stats.tornBytes.Add(c.torn)
		p.j.o.Log.Warn("torn tail of the journal cut", "file", s.name, "position", c.size, "bytes", c.torn, "offset", c.end)
	}
	cut := max(c.size, m.size) // what the manifest has seen stays, damaged as it may be, or the segment would count as cut
	if s.size > cut {
		err = p.file.Truncate(cut)
		if err != nil {
			return err
		}
	}
	// A killed process may have left it to the kernel; readers must get only what is durable.
	err = p.file.Sync()
	if err != nil {
		return err
	}
	s.end, s.size, s.at, s.index = c.end, cut, c.at, c.index
	p.zeroed, p.at = cut, c.at
	p.next, p.assign = c.end, c.end
	if m.end <= c.end {
		return nil
	}
	p.hole(s, hole{from: c.end, to: m.end, pos: c.size})
	return p.roll(m.end, reasonDamaged)
}

// hole counts and logs entries that were durable once and are gone.
func (p *partition) hole(s *segment, h hole) {
	if s.known[h.pos] {
		return
	}
	if s.known == nil {
		s.known = map[int64]bool{}
	}
	s.known[h.pos] = true
	p.j.stats.lost.Add(h.to - h.from)
	p.damaged(s.name, h.pos, fmt.Sprintf("offsets %d to %d", h.from, h.to-1))
}

// roll seals the present segment and begins one at base. p.io is held, or nobody else is there yet.
func (p *partition) roll(base int64, why reason) error {
	err := p.cutZeros()
	if err != nil {
		return err
	}
	s := p.last()
	return p.begin(header{
		partition: uint32(p.n), salt: p.salt, base: base, prevBase: s.base, prevEnd: s.end, prevSize: s.size, prevAt: s.at, reason: why,
	}, why == reasonFailed)
}

// begin makes the segment of h and goes on with it. It is written, named and in the manifest, all durable, before it gets an
// entry. With spare it must have room for some.
func (p *partition) begin(h header, spare bool) error {
	s := &segment{header: h, name: segmentName(p.dir, h.base), end: h.base, size: headerSize, at: h.prevAt, index: []mark{}}
	f, err := p.fs.Create(s.name)
	if err != nil {
		return err
	}
	zeroed := int64(headerSize)
	_, err = f.WriteAt(h.encode(), 0)
	if err == nil && spare {
		room := min(reserve, p.j.o.SegmentBytes)
		zeroed += room
		_, err = f.WriteAt(make([]byte, room), headerSize)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = p.fs.SyncDir(p.dir)
	}
	if err == nil {
		err = p.writeManifest(s)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin segment %s: %w", s.name, err), f.Close())
	}
	old := p.file
	p.file, p.zeroed = f, zeroed
	p.mu.Lock()
	p.segments = append(p.segments, s)
	p.next = h.base
	p.assign = max(p.assign, h.base)
	p.wakeReaders()
	p.mu.Unlock()
	if old == nil {
		return nil
	}
	err = old.Close()
	if err != nil { // it was synced: nothing is lost by that
		p.j.o.Log.Warn("journal segment not closed", "partition", p.n, "error", err)
	}
	return nil
}

// writeManifest replaces the manifest by one of which s is the newest segment.
func (p *partition) writeManifest(s *segment) error {
	p.mu.Lock()
	first := s.base
	if len(p.segments) > 0 {
		first = p.segments[0].base
	}
	p.mu.Unlock()
	return p.replaceManifest(manifest{partition: uint32(p.n), salt: p.salt, first: first, last: s.base, end: s.end, size: s.size})
}

func (p *partition) replaceManifest(m manifest) error {
	temp := filepath.Join(p.dir, manifestTemp)
	f, err := p.fs.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(m.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = p.fs.Rename(temp, filepath.Join(p.dir, manifestName))
	}
	if err == nil {
		err = p.fs.SyncDir(p.dir)
	}
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// heal tries to write again after a failure: on a new segment, above all offsets that were handed out.
func (p *partition) heal() {
	p.io.Lock()
	defer p.io.Unlock()
	err := p.mend()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.sick = fmt.Errorf("%w: partition %d: %w", journal.ErrSick, p.n, err)
		return
	}
	p.sick = nil
	p.j.o.Log.Info("journal writes again", "partition", p.n, "offset", p.next)
}

func (p *partition) mend() error {
	err := p.hasRoom(reserve)
	if err != nil {
		return err
	}
	s := p.last()
	_ = p.file.Close() // it failed; what it says now means nothing
	f, err := p.fs.Open(s.name, true)
	if err != nil {
		return err
	}
	p.file = f
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size > s.size {
		err = f.Truncate(s.size)
		if err != nil {
			return err
		}
	}
	err = f.Sync()
	if err != nil {
		return err
	}
	c, err := scanSegment(f, s.header, s.size, s.size)
	if err != nil {
		return err
	}
	p.mu.Lock()
	for _, h := range c.holes {
		p.hole(s, h)
	}
	if c.end < s.end {
		p.hole(s, hole{from: c.end, to: s.end, pos: c.size})
	}
	p.mu.Unlock()
	p.zeroed = s.size
	err = p.unroll(s)
	if err != nil {
		return err
	}
	p.mu.Lock()
	base, next := p.assign, p.next
	p.mu.Unlock()
	if base == next {
		return nil // it was no entry that failed
	}
	err = p.roll(base, reasonFailed)
	if err != nil {
		return err
	}
	p.j.stats.skipped.Add(base - next)
	return nil
}

// unroll makes s the newest segment again, where a roll got only half way.
func (p *partition) unroll(s *segment) error {
	bases, err := p.list()
	if err != nil {
		return err
	}
	err = p.writeManifest(s)
	if err != nil {
		return err
	}
	for _, base := range bases {
		if base <= s.base {
			continue
		}
		err = p.fs.Remove(segmentName(p.dir, base))
		if err != nil {
			return err
		}
	}
	return p.fs.SyncDir(p.dir)
}

// retain removes the oldest segments that are too many or too old, as far as the floor; p.io is held.
func (p *partition) retain(now time.Time) error {
	p.mu.Lock()
	total := int64(0)
	for _, s := range p.segments {
		total += s.size
	}
	drop := 0
	for ; drop < len(p.segments)-1 && p.sick == nil; drop++ {
		s := p.segments[drop]
		old := p.j.o.MaxAge > 0 && s.at < now.Add(-p.j.o.MaxAge).UnixMicro()
		many := p.j.o.MaxBytes > 0 && total > p.j.o.MaxBytes
		if p.segments[drop+1].base > p.floor || !old && !many {
			break
		}
		total -= s.size
	}
	dropped := slices.Clone(p.segments[:drop])
	p.mu.Unlock()
	if drop == 0 {
		return nil
	}
	last := p.last()
	err := p.replaceManifest(manifest{
		partition: uint32(p.n), salt: p.salt, first: p.segments[drop].base, last: last.base, end: last.end, size: last.size,
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.segments = slices.Clone(p.segments[drop:])
	p.mu.Unlock()
	var errs []error
	for _, s := range dropped {
		errs = append(errs, p.fs.Remove(s.name))
		p.j.stats.dropped.Add(1)
		p.j.o.Log.Info("journal segment removed", "partition", p.n, "first", s.base, "last", s.end-1)
	}
	return errors.Join(append(errs, p.fs.SyncDir(p.dir))...)
}

// segmentOf returns the last segment whose base is not above offset, and its place; p.mu is held.
func (p *partition) segmentOf(offset int64) (s *segment, i int) {
	i, found := slices.BinarySearchFunc(p.segments, offset, func(s *segment, o int64) int { return int(min(max(s.base-o, -1), 1)) })
	if !found {
		i--
	}
	if i < 0 {
		return nil, i
	}
	return p.segments[i], i
}

// ensureIndex reads a sealed segment through, once, so that places in it are found.
func (p *partition) ensureIndex(s *segment) error {
	p.mu.Lock()
	known := s.index != nil
	name, h, size := s.name, s.header, s.size
	p.mu.Unlock()
	if known {
		return nil
	}
	f, err := p.fs.Open(name, false)
	if err != nil {
		return err
	}
	c, err := scanSegment(f, h, size, size)
	err = errors.Join(err, f.Close())
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, hole := range c.holes {
		p.hole(s, hole)
	}
	s.index = c.index
	if s.index == nil {
		s.index = []mark{}
	}
	return nil
}

// offsetAt finds the first entry at or after t.
func (p *partition) offsetAt(t time.Time) (int64, error) {
	want := t.UnixMicro()
	p.mu.Lock()
	var s *segment
	for _, candidate := range p.segments {
		if candidate.end > candidate.base && candidate.at >= want {
			s = candidate
			break
		}
	}
	next := p.next
	p.mu.Unlock()
	if s == nil {
		return next, nil
	}
	err := p.ensureIndex(s)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	from, name, limit := mark{offset: s.base, pos: headerSize}, s.name, s.size
	i, _ := slices.BinarySearchFunc(s.index, want, func(m mark, at int64) int { return int(min(max(m.at-at, -1), 1)) })
	if i > 0 {
		from = s.index[i-1]
	}
	end := s.end
	p.mu.Unlock()
	f, err := p.fs.Open(name, false)
	if err != nil {
		return 0, err
	}
	offset, err := firstAt(&scanner{f: f, salt: p.salt, pos: from.pos, limit: limit}, want, end)
	return offset, errors.Join(err, f.Close())
}

// firstAt returns the offset of the first intact frame at or after want, or end.
func firstAt(s *scanner, want, end int64) (int64, error) {
	for {
		f, _, ok, err := s.next()
		switch {
		case err != nil:
			return 0, err
		case ok && f.at >= want:
			return f.offset, nil
		case ok:
			continue
		}
		found, err := s.seek(-1, end)
		if err != nil {
			return 0, err
		}
		if !found {
			return end, nil
		}
	}
}
