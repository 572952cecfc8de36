package correlate

import (
	"slices"
	"time"

	"tocsin"
)

// chunkBits sizes the chunks in which touches are saved: 1,024 alerts by their ids.
const chunkBits = 10

// A Touch is what repeats changed of a firing alert whose row says otherwise.
type Touch struct {
	Alert  int64
	LastAt time.Time
	EndsAt time.Time
	Count  int64
	AsOf   int64
}

// keepChunk makes s findable by its chunk; within it, ids rise.
func (d *Domain) keepChunk(s *series) {
	k := s.id >> chunkBits
	c := d.chunks[k]
	at, _ := slices.BinarySearchFunc(c, s.id, compareID)
	d.chunks[k] = slices.Insert(c, at, s)
}

// dropChunk forgets s; a chunk that has lost its last alert has nothing to say any more.
func (d *Domain) dropChunk(s *series) {
	if d.takeChunk(s) {
		d.emptied = append(d.emptied, s.id>>chunkBits)
	}
}

// takeChunk reverses keepChunk, and reports whether the chunk is empty now.
func (d *Domain) takeChunk(s *series) bool {
	k := s.id >> chunkBits
	c := d.chunks[k]
	at, is := slices.BinarySearchFunc(c, s.id, compareID)
	if is {
		c = slices.Delete(c, at, at+1)
	}
	if len(c) == 0 {
		delete(d.chunks, k)
		return true
	}
	d.chunks[k] = c
	return false
}

// Touched returns how many alerts repeated since the last FlushTouches.
func (d *Domain) Touched() int { return len(d.touched) }

// Touches returns, for each chunk in which something repeated, all its firing alerts as they are now, ids rising; an empty
// one is to be deleted. The numbers of chunks are ids shifted right by ten bits.
func (d *Domain) Touches() map[int64][]Touch {
	out := map[int64][]Touch{}
	for _, s := range d.touched {
		k := s.id >> chunkBits
		if _, done := out[k]; done {
			continue
		}
		ts := make([]Touch, 0, len(d.chunks[k]))
		for _, x := range d.chunks[k] {
			if x.status == tocsin.Firing && !x.gone {
				ts = append(ts, Touch{x.id, moment(x.lastAt), moment(x.endsAt), int64(x.count), x.asOf})
			}
		}
		out[k] = ts
	}
	for _, k := range d.emptied {
		if len(d.chunks[k]) == 0 {
			out[k] = nil
		}
	}
	return out
}

// FlushTouches says that the touches have been written.
func (d *Domain) FlushTouches() {
	for _, s := range d.touched {
		s.touched = false
	}
	clear(d.touched)
	d.touched = d.touched[:0]
	d.emptied = d.emptied[:0]
}
