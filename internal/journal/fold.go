package journal

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

const (
	foldWindow  = 4096 // sequence numbers a writer, behind its highest, that are remembered one by one
	foldWriters = 64   // writers remembered; each start of a process is one
	foldVersion = 1
)

// A Fold knows which records of a partition have been applied, by writer and sequence number, so that the copies that a
// producer makes when it tries again have no effect. It remembers, for each of the last 64 writers that were seen, the highest
// sequence number and which of the 4,096 up to it have been.
//
// A sequence number older than that window counts as seen: only a copy can be so late, as a writer keeps its order but for the
// requests that it has under way at once, of which there are fewer. Of a writer that was forgotten, because 64 others came after
// it, everything counts as new.
//
// The zero value knows nothing and is ready to use; it is for one goroutine at a time.
type Fold struct {
	writers []*foldWriter // the one seen last is the last
}

type foldWriter struct {
	id      uint64
	highest uint64
	seen    [foldWindow / 64]uint64 // bit seq%foldWindow, for seq in (highest-foldWindow, highest]
}

// Seen says whether the record seq of writer has been here before, and remembers it. Records without a number (seq 0) are never seen.
func (f *Fold) Seen(writer, seq uint64) bool {
	if seq == 0 {
		return false
	}
	w := f.writer(writer)
	if seq > w.highest {
		w.advance(seq)
		return false
	}
	if w.highest-seq >= foldWindow {
		return true
	}
	word, bit := &w.seen[seq%foldWindow/64], uint64(1)<<(seq%64)
	was := *word&bit != 0
	*word |= bit
	return was
}

// writer returns the entry of id as the one seen last, and forgets the one seen longest ago when there are too many.
func (f *Fold) writer(id uint64) *foldWriter {
	last := len(f.writers) - 1
	for i := last; i >= 0; i-- {
		w := f.writers[i]
		if w.id != id {
			continue
		}
		if i != last {
			copy(f.writers[i:], f.writers[i+1:])
			f.writers[last] = w
		}
		return w
	}
	if len(f.writers) == foldWriters {
		f.writers = slices.Delete(f.writers, 0, 1)
	}
	w := &foldWriter{id: id}
	f.writers = append(f.writers, w)
	return w
}

// advance makes seq the highest, and forgets what falls out of the window.
func (w *foldWriter) advance(seq uint64) {
	if seq-w.highest >= foldWindow {
		clear(w.seen[:])
	} else {
		for s := w.highest + 1; s != seq; s++ {
			w.seen[s%foldWindow/64] &^= 1 << (s % 64)
		}
	}
	w.highest = seq
	w.seen[seq%foldWindow/64] |= 1 << (seq % 64)
}

// Append appends what f knows to b and returns the longer slice: a few bytes a writer as long as nothing is missing in its window,
// and at most some 4 KiB.
//
// The format: version 1; how many writers, varint; for each, the one seen longest ago first: its id as 8 bytes little-endian, its
// highest number as varint, and how many numbers were seen, not seen, seen and so on in turn, from the highest down, as varints,
// until the window, or the number 1, is reached.
func (f *Fold) Append(b []byte) []byte {
	b = append(b, foldVersion)
	b = binary.AppendUvarint(b, uint64(len(f.writers)))
	for _, w := range f.writers {
		b = binary.LittleEndian.AppendUint64(b, w.id)
		b = binary.AppendUvarint(b, w.highest)
		left := min(w.highest, foldWindow)
		for seq, seen := w.highest, true; left > 0; seen = !seen {
			n := w.run(seq, left, seen)
			b = binary.AppendUvarint(b, n)
			seq -= n
			left -= n
		}
	}
	return b
}

// run returns how many numbers, from seq down and at most left, were seen, or not seen.
func (w *foldWriter) run(seq, left uint64, seen bool) uint64 {
	var n uint64
	for n < left {
		at := (seq - n) % foldWindow
		word := w.seen[at/64]
		if seen {
			word = ^word
		}
		// The bits of this word from at down, moved up to the top: the first that differs ends the run.
		same := uint64(bits.LeadingZeros64(word << (63 - at%64)))
		same = min(same, at%64+1)
		n += same
		if same <= at%64 {
			break
		}
	}
	return min(n, left)
}

// ParseFold reads what Append wrote. Nothing at all is a Fold that knows nothing. The error is an ErrMalformed.
func ParseFold(b []byte) (*Fold, error) {
	if len(b) == 0 {
		return new(Fold), nil
	}
	if b[0] != foldVersion {
		return nil, fmt.Errorf("%w: fold of version %d", ErrMalformed, b[0])
	}
	n, b, err := foldNumber(b[1:])
	if err != nil {
		return nil, err
	}
	if n > foldWriters {
		return nil, fmt.Errorf("%w: fold of %d writers", ErrMalformed, n)
	}
	f := new(Fold)
	if n > 0 {
		f.writers = make([]*foldWriter, 0, n)
	}
	for range n {
		w := new(foldWriter)
		b, err = w.parse(b)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(f.writers, func(o *foldWriter) bool { return o.id == w.id }) {
			return nil, fmt.Errorf("%w: fold with a writer twice", ErrMalformed)
		}
		f.writers = append(f.writers, w)
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: fold with %d bytes behind its end", ErrMalformed, len(b))
	}
	return f, nil
}

func (w *foldWriter) parse(b []byte) (rest []byte, err error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: fold is cut", ErrMalformed)
	}
	w.id = binary.LittleEndian.Uint64(b)
	w.highest, b, err = foldNumber(b[8:])
	if err != nil {
		return nil, err
	}
	if w.highest == 0 {
		return nil, fmt.Errorf("%w: fold with a writer that wrote nothing", ErrMalformed)
	}
	left := min(w.highest, foldWindow)
	for seq, seen := w.highest, true; left > 0; seen = !seen {
		var n uint64
		n, b, err = foldNumber(b)
		if err != nil {
			return nil, err
		}
		if n == 0 || n > left {
			return nil, fmt.Errorf("%w: fold with a run of %d where %d numbers are left", ErrMalformed, n, left)
		}
		for s := seq; seen && s != seq-n; s-- {
			w.seen[s%foldWindow/64] |= 1 << (s % 64)
		}
		seq -= n
		left -= n
	}
	return b, nil
}

func foldNumber(b []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, fmt.Errorf("%w: fold is cut", ErrMalformed)
	}
	return v, b[n:], nil
}
