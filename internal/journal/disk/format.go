package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"

	"tocsin/internal/journal"
)

const (
	copySize   = 64
	headerSize = 2 * copySize // of a segment; of the manifest it is all
	frameSize  = 32           // without the payload

	manifestName = "MANIFEST"
	manifestTemp = "MANIFEST.new"
	lockName     = "LOCK"

	formatVersion = 1
)

const (
	segmentMagic  = "TOCSINJ"
	manifestMagic = "TOCSINM"
)

// castagnoli returns the table that the processor has an instruction for; the call is cheap.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// A reason says why a segment begins above the end of the one before.
type reason uint32

const (
	reasonNone    reason = iota
	reasonFailed         // a write failed, and the offsets it had handed out are not used again
	reasonBehind         // the state was ahead of the journal: what the disk had promised to keep was not there
	reasonDamaged        // the end of the segment before was damaged
)

func (r reason) String() string {
	switch r {
	case reasonFailed:
		return "a write failed and was never acknowledged"
	case reasonBehind:
		return "the disk lost what it had reported as written"
	case reasonDamaged:
		return "the end of a segment was damaged"
	}
	return "no reason is recorded"
}

// header is what a segment begins with.
type header struct {
	partition uint32
	salt      uint32
	base      int64
	prevBase  int64 // -1: it is the first there ever was
	prevEnd   int64
	prevSize  int64
	prevAt    int64
	reason    reason
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, segmentMagic...)
	b = append(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, h.partition)
	b = binary.LittleEndian.AppendUint32(b, h.salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.base))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prevBase))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prevEnd))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prevSize))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prevAt))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.reason))
	return seal(b)
}

// decodeHeader reads a header; whole is false where one of its copies is damaged.
func decodeHeader(b []byte) (h header, whole bool, err error) {
	c, whole, err := unseal(b, segmentMagic)
	if err != nil {
		return header{}, false, err
	}
	return header{
		partition: binary.LittleEndian.Uint32(c[8:]),
		salt:      binary.LittleEndian.Uint32(c[12:]),
		base:      int64(binary.LittleEndian.Uint64(c[16:])),
		prevBase:  int64(binary.LittleEndian.Uint64(c[24:])),
		prevEnd:   int64(binary.LittleEndian.Uint64(c[32:])),
		prevSize:  int64(binary.LittleEndian.Uint64(c[40:])),
		prevAt:    int64(binary.LittleEndian.Uint64(c[48:])),
		reason:    reason(binary.LittleEndian.Uint32(c[56:])),
	}, whole, nil
}

// manifest says which segments belong to a partition.
type manifest struct {
	partition uint32
	salt      uint32
	first     int64 // base of the oldest segment
	last      int64 // base of the newest
	end       int64 // the newest reaches at least to this offset
	size      int64 // and has at least these bytes
}

func (m manifest) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, manifestMagic...)
	b = append(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, m.partition)
	b = binary.LittleEndian.AppendUint32(b, m.salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.first))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.last))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.end))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.size))
	return seal(append(b, make([]byte, copySize-4-len(b))...))
}

func decodeManifest(b []byte) (m manifest, whole bool, err error) {
	c, whole, err := unseal(b, manifestMagic)
	if err != nil {
		return manifest{}, false, err
	}
	return manifest{
		partition: binary.LittleEndian.Uint32(c[8:]),
		salt:      binary.LittleEndian.Uint32(c[12:]),
		first:     int64(binary.LittleEndian.Uint64(c[16:])),
		last:      int64(binary.LittleEndian.Uint64(c[24:])),
		end:       int64(binary.LittleEndian.Uint64(c[32:])),
		size:      int64(binary.LittleEndian.Uint64(c[40:])),
	}, whole, nil
}

// seal appends the checksum to the 60 bytes of b, and all of it once more.
func seal(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	return append(b, b...)
}

// unseal returns the first copy in b that is whole.
func unseal(b []byte, magic string) (c []byte, whole bool, err error) {
	if len(b) < headerSize {
		return nil, false, fmt.Errorf("it has %d bytes of a header of %d", len(b), headerSize)
	}
	good := 0
	for i := range 2 {
		copied := b[i*copySize : (i+1)*copySize]
		sum := binary.LittleEndian.Uint32(copied[copySize-4:])
		if !bytes.HasPrefix(copied, []byte(magic)) || sum != crc32.Checksum(copied[:copySize-4], castagnoli()) {
			continue
		}
		if good == 0 {
			c = copied
		}
		good++
	}
	switch {
	case good == 0:
		return nil, false, fmt.Errorf("its header is damaged")
	case c[len(magic)] != formatVersion:
		return nil, false, fmt.Errorf("it has format version %d, but this tocsin reads only version %d", c[len(magic)], formatVersion)
	}
	return c, good == 2, nil
}

// frame is what stands before a payload.
type frame struct {
	length int
	offset int64
	at     int64
	place  int64 // in its commit
}

// commit returns the offset of the first entry of the commit that f was written by.
func (f frame) commit() int64 { return f.offset - f.place }

// appendFrame appends a frame and its payload, of which sum is the checksum already.
func appendFrame(b []byte, salt uint32, f frame, payload []byte, sum uint32) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, salt)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.length))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.at))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.place))
	b = binary.LittleEndian.AppendUint32(b, crc32.Update(sum, castagnoli(), b[start:]))
	return append(b, payload...)
}

// parseHead reads the 32 bytes before a payload, as far as they can be checked without it.
func parseHead(b []byte, salt uint32) (frame, bool) {
	if len(b) < frameSize || binary.LittleEndian.Uint32(b) != salt {
		return frame{}, false
	}
	f := frame{
		length: int(binary.LittleEndian.Uint32(b[4:])),
		offset: int64(binary.LittleEndian.Uint64(b[8:])),
		at:     int64(binary.LittleEndian.Uint64(b[16:])),
		place:  int64(binary.LittleEndian.Uint32(b[24:])),
	}
	return f, f.length <= journal.MaxPayload && f.offset >= 0 && f.place <= f.offset
}

// intact reports whether the checksum of the whole frame holds; b begins with it and has all of it.
func (f frame) intact(b []byte) bool {
	sum := crc32.Checksum(b[frameSize:frameSize+f.length], castagnoli())
	return crc32.Update(sum, castagnoli(), b[:frameSize-4]) == binary.LittleEndian.Uint32(b[frameSize-4:])
}

func (f frame) size() int64 { return int64(frameSize + f.length) }

const segmentSuffix = ".log"

func segmentName(dir string, base int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentSuffix))
}

// baseOf reads the base from a segment's name.
func baseOf(name string) (base int64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return base, err == nil && base >= 0
}
