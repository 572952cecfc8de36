package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	markEvery = 64 << 10 // bytes of a segment between two marks of its index
	readChunk = 1 << 20
)

// A mark says where in a segment an offset stands.
type mark struct {
	offset, pos, at int64
}

// A hole is a part of a segment whose entries are damaged.
type hole struct {
	from, to int64 // offsets
	pos      int64
}

// A scanner reads the frames of one segment in order, from one position to a limit.
type scanner struct {
	f     File
	salt  uint32
	pos   int64 // of the next frame
	limit int64 // nothing at or behind it is read
	buf   []byte
	start int64 // position of buf[0]
}

// next returns the frame at the scanner's position and moves behind it. ok is false where there is no intact frame, and
// then the position stays. The payload is valid until the next call.
func (s *scanner) next() (f frame, payload []byte, ok bool, err error) {
	head, err := s.peek(frameSize)
	if err != nil || len(head) < frameSize {
		return frame{}, nil, false, err
	}
	f, ok = parseHead(head, s.salt)
	if !ok {
		return f, nil, false, nil
	}
	whole, err := s.peek(int(f.size()))
	if err != nil || int64(len(whole)) < f.size() || !f.intact(whole) {
		return f, nil, false, err
	}
	s.pos += f.size()
	return f, whole[frameSize:], true, nil
}

// buffered reports whether the next frame's bytes are in memory already.
func (s *scanner) buffered() bool {
	have := s.start + int64(len(s.buf)) - s.pos
	if have < frameSize {
		return false
	}
	f, ok := parseHead(s.buf[s.pos-s.start:], s.salt)
	return ok && have >= f.size()
}

// peek returns n bytes from the position on, or as many as there are before the limit.
func (s *scanner) peek(n int) ([]byte, error) {
	n = int(min(int64(n), s.limit-s.pos))
	if n <= 0 {
		return nil, nil
	}
	at := s.pos - s.start
	if at >= 0 && at+int64(n) <= int64(len(s.buf)) {
		return s.buf[at : at+int64(n)], nil
	}
	if cap(s.buf) == 0 {
		s.buf = make([]byte, 0, readChunk)
	}
	s.buf = s.buf[:min(int64(cap(s.buf)), s.limit-s.pos)]
	s.start = s.pos
	got, err := s.f.ReadAt(s.buf, s.pos)
	s.buf = s.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		s.buf = s.buf[:0]
		return nil, err
	}
	return s.buf[:min(n, got)], nil
}

// seek moves the position to the first intact frame behind it whose offset lies in (after, before); false where there is none.
func (s *scanner) seek(after, before int64) (bool, error) {
	var salt [4]byte
	binary.LittleEndian.PutUint32(salt[:], s.salt)
	begin := s.pos
	for pos := begin + 1; pos+frameSize <= s.limit; {
		s.pos = pos
		window, err := s.peek(readChunk)
		if err != nil {
			s.pos = begin
			return false, err
		}
		i := bytes.Index(window, salt[:])
		if i < 0 {
			pos += max(1, int64(len(window)-3))
			continue
		}
		pos += int64(i)
		s.pos = pos
		f, _, ok, err := s.next()
		if err != nil {
			s.pos = begin
			return false, err
		}
		if ok && f.offset > after && f.offset < before {
			s.pos = pos
			return true, nil
		}
		pos++
	}
	s.pos = begin
	return false, nil
}

// blank reports whether nothing but zeros stands from the position on.
func (s *scanner) blank() (bool, error) {
	begin := s.pos
	defer func() { s.pos = begin }()
	for s.pos < s.limit {
		b, err := s.peek(readChunk)
		if err != nil {
			return false, err
		}
		if len(b) == 0 {
			break
		}
		if len(bytes.TrimLeft(b, "\x00")) > 0 {
			return false, nil
		}
		s.pos += int64(len(b))
	}
	return true, nil
}

// contents is what a scan finds in a segment.
type contents struct {
	end     int64 // offset behind the last entry
	size    int64 // position behind the last frame
	at      int64 // time of the last entry
	index   []mark
	holes   []hole
	torn    int64 // bytes behind size that are no zeros' row
	entries int64
}

// scanSegment reads the segment of h through. Frames before position sure were durable once: what is bad there is damage.
// Behind it a bad frame is damage only where a frame of a later commit follows, as that was begun only once its own was durable;
// otherwise it is where the writer was cut off.
func scanSegment(f File, h header, limit, sure int64) (contents, error) {
	c := contents{end: h.base, size: headerSize, at: h.prevAt}
	s := &scanner{f: f, salt: h.salt, pos: headerSize, limit: limit}
	for {
		pos := s.pos
		fr, _, ok, err := s.next()
		if err != nil {
			return c, err
		}
		if ok && fr.offset == c.end {
			c.add(fr, pos)
			continue
		}
		s.pos = pos
		found, err := s.behind(c.end, pos < sure)
		if err != nil {
			return c, err
		}
		if !found {
			s.pos = pos
			blank, err := s.blank()
			if err != nil {
				return c, err
			}
			if !blank {
				c.torn = limit - pos
			}
			return c, nil
		}
		to, _ := parseHead(mustPeek(s), h.salt)
		c.holes = append(c.holes, hole{from: c.end, to: to.offset, pos: pos})
		c.end = to.offset
	}
}

// mustPeek returns the head that behind has just read.
func mustPeek(s *scanner) []byte {
	b, _ := s.peek(frameSize)
	return b
}

// behind moves the position to the first intact frame behind a bad one at offset bad. Unless sure, it is found only when it or
// one behind it is of a later commit.
func (s *scanner) behind(bad int64, sure bool) (bool, error) {
	found, err := s.seek(bad, 1<<62)
	if err != nil || !found || sure {
		return found, err
	}
	first := s.pos
	for {
		pos := s.pos
		f, _, ok, err := s.next()
		if err != nil {
			return false, err
		}
		if ok && f.commit() > bad {
			s.pos = first
			return true, nil
		}
		if ok {
			continue
		}
		s.pos = pos
		found, err := s.seek(bad, 1<<62)
		if err != nil || !found {
			return false, err
		}
	}
}

func (c *contents) add(f frame, pos int64) {
	c.index = addMark(c.index, mark{offset: f.offset, pos: pos, at: f.at})
	c.end = f.offset + 1
	c.size = pos + f.size()
	c.at = max(c.at, f.at)
	c.entries++
}

func addMark(index []mark, m mark) []mark {
	if n := len(index); n > 0 && m.pos-index[n-1].pos < markEvery {
		return index
	}
	return append(index, m)
}

// readHeader reads the first bytes of a file.
func readHeader(f File) ([]byte, error) {
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read header: %w", err)
	}
	return b[:n], nil
}
