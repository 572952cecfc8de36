package disk

import (
	"bytes"
	"hash/crc32"
	"io"
	"testing"
)

// memory is a file to read.
type memory struct{ *bytes.Reader }

func (memory) WriteAt([]byte, int64) (int, error) { return 0, io.ErrShortWrite }
func (memory) Truncate(int64) error               { return io.ErrShortWrite }
func (memory) Sync() error                        { return nil }
func (memory) Close() error                       { return nil }
func (m memory) Size() (int64, error)             { return m.Reader.Size(), nil }

// segmentOfCommits returns a segment of 10 commits of 3 entries each, and where each frame begins.
func segmentOfCommits(h header) (b []byte, starts []int) {
	b = h.encode()
	for i := range int64(30) {
		starts = append(starts, len(b))
		payload := bytes.Repeat([]byte{byte(i)}, int(i))
		f := frame{length: len(payload), offset: h.base + i, at: 1000 + i, place: i % 3}
		b = appendFrame(b, h.salt, f, payload, crc32.Checksum(payload, castagnoli()))
	}
	return b, starts
}

func TestABadFrameIsDamageOnlyWhereALaterCommitFollows(t *testing.T) {
	h := header{salt: 0xfeedface, base: 100, prevBase: -1}
	whole, starts := segmentOfCommits(h)
	for i, start := range starts {
		b := bytes.Clone(whole)
		b[start+8]++ // its offset
		c, err := scanSegment(memory{bytes.NewReader(b)}, h, int64(len(b)), 0)
		if err != nil {
			t.Fatal(err)
		}
		if i < 27 {
			if c.torn != 0 || c.end != 130 || len(c.holes) != 1 || c.holes[0] != (hole{from: 100 + int64(i), to: 101 + int64(i), pos: int64(start)}) {
				t.Errorf("frame %d bad: %+v, want one hole", i, c)
			}
		} else if c.torn == 0 || c.end != 100+int64(i) || len(c.holes) != 0 {
			t.Errorf("frame %d bad: %+v, want a torn tail", i, c)
		}
		c, err = scanSegment(memory{bytes.NewReader(b)}, h, int64(len(b)), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if i < 29 && (c.torn != 0 || c.end != 130 || len(c.holes) != 1) {
			t.Errorf("frame %d bad, all of it known to be durable: %+v, want one hole", i, c)
		}
	}
}

func TestAPayloadThatLooksLikeAFrameIsNotTakenForOne(t *testing.T) {
	h := header{salt: 0xfeedface, base: 0, prevBase: -1}
	forged := appendFrame(nil, h.salt^1, frame{length: 1, offset: 1}, []byte("x"), crc32.Checksum([]byte("x"), castagnoli()))
	b := appendFrame(h.encode(), h.salt, frame{length: len(forged), offset: 0}, forged, crc32.Checksum(forged, castagnoli()))
	b[headerSize+4]++
	c, err := scanSegment(memory{bytes.NewReader(b)}, h, int64(len(b)), int64(len(b)))
	if err != nil || c.entries != 0 || len(c.holes) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzScan(f *testing.F) {
	h := header{salt: 0x01020304, base: 5, prevBase: -1}
	whole, _ := segmentOfCommits(h)
	f.Add(whole, int64(0))
	f.Add(whole[:len(whole)-7], int64(500))
	f.Add(append(bytes.Clone(whole), make([]byte, 99)...), int64(len(whole)))
	f.Fuzz(func(t *testing.T, b []byte, sure int64) {
		c, err := scanSegment(memory{bytes.NewReader(b)}, h, int64(len(b)), sure)
		if err != nil {
			t.Fatal(err)
		}
		if c.end < h.base || c.size > max(headerSize, int64(len(b))) || c.end-h.base < c.entries {
			t.Fatalf("%+v of %d bytes", c, len(b))
		}
		_, _, _ = decodeHeader(b)
		_, _, _ = decodeManifest(b)
	})
}

func TestHeadersAreReadAsTheyWereWritten(t *testing.T) {
	h := header{partition: 3, salt: 9, base: 1 << 40, prevBase: 7, prevEnd: 8, prevSize: 9, prevAt: -10, reason: reasonFailed}
	if got, whole, err := decodeHeader(h.encode()); got != h || !whole || err != nil {
		t.Errorf("%+v, %t, %v", got, whole, err)
	}
	m := manifest{partition: 3, salt: 9, first: 1, last: 2, end: 3, size: 4}
	if got, whole, err := decodeManifest(m.encode()); got != m || !whole || err != nil {
		t.Errorf("%+v, %t, %v", got, whole, err)
	}
}
