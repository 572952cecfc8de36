package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"

	"tocsin"
)

// Touches are kept packed, one blob for the alerts of a chunk: those whose ids are equal but for the last ten bits.
//
// The blob is the byte 1 (the format), then for each alert, ids rising:
//
//	uvarint  id minus the id before it; of the first: minus the first id of the chunk
//	varint   last_at minus the last_at before it, microseconds; of the first: last_at
//	uvarint  0 where ends_at is the zero time, else zigzag(ends_at minus last_at) + 1
//	uvarint  count
//	varint   as_of minus the as_of before it; of the first: as_of
//
// A touch holds for its alert while its as_of is above the row's: a row that was written later has counted it already.
const touchFormat = 1

// ChunkBits is how many of an alert id's last bits tell the alerts of one chunk apart.
const ChunkBits = 10

// ChunkOf returns the chunk of touches that an alert belongs to.
func ChunkOf(alert int64) int64 { return alert >> ChunkBits }

// errTouches means that a blob of touches is not what was written.
var errTouches = errors.New("touches are damaged")

// packTouches writes touches, ids rising, all of the chunk.
func packTouches(chunk int64, touches []Touch) []byte {
	b := make([]byte, 0, 1+len(touches)*16)
	b = append(b, touchFormat)
	id, last, asOf := chunk<<ChunkBits, int64(0), int64(0)
	for _, t := range touches {
		at := micros(t.LastAt)
		b = binary.AppendUvarint(b, uint64(t.Alert-id))
		b = binary.AppendVarint(b, at-last)
		if t.EndsAt.IsZero() {
			b = append(b, 0)
		} else {
			d := micros(t.EndsAt) - at
			b = binary.AppendUvarint(b, uint64(d<<1^d>>63)+1)
		}
		b = binary.AppendUvarint(b, uint64(t.Count))
		b = binary.AppendVarint(b, t.AsOf-asOf)
		id, last, asOf = t.Alert, at, t.AsOf
	}
	return b
}

// unpackTouches reads what packTouches wrote.
func unpackTouches(chunk int64, b []byte) ([]Touch, error) {
	if len(b) == 0 || b[0] != touchFormat {
		return nil, fmt.Errorf("%w: chunk %d has an unknown format", errTouches, chunk)
	}
	r := varints{b: b[1:]}
	out := make([]Touch, 0, len(b)/12)
	id, last, asOf := chunk<<ChunkBits, int64(0), int64(0)
	for len(r.b) > 0 && !r.bad {
		id += int64(r.unsigned())
		last += r.signed()
		t := Touch{Alert: id, LastAt: timeOf(last)}
		if u := r.unsigned(); u > 0 {
			u--
			t.EndsAt = timeOf(last + (int64(u>>1) ^ -int64(u&1)))
		}
		t.Count = int64(r.unsigned())
		asOf += r.signed()
		t.AsOf = asOf
		if ChunkOf(id) != chunk || len(out) > 0 && out[len(out)-1].Alert >= id {
			r.bad = true
		}
		out = append(out, t)
	}
	if r.bad {
		return nil, fmt.Errorf("%w: chunk %d ends early or names another chunk's alerts", errTouches, chunk)
	}
	return out, nil
}

// varints reads numbers off a slice and remembers whether one was cut short.
type varints struct {
	b   []byte
	bad bool
}

func (r *varints) unsigned() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) signed() int64 {
	u := r.unsigned()
	return int64(u>>1) ^ -int64(u&1)
}

// PutTouches replaces all touches of a chunk; none of them removes it. The touches are sorted by alert in place.
func (t *Tx) PutTouches(partition int, chunk int64, touches []Touch) error {
	if len(touches) == 0 {
		_, err := t.exec("delete a chunk of touches", "DELETE FROM touch WHERE partition = $1 AND chunk = $2", partition, chunk)
		return err
	}
	slices.SortFunc(touches, func(a, b Touch) int { return int(a.Alert - b.Alert) })
	for i := range touches {
		if ChunkOf(touches[i].Alert) != chunk || i > 0 && touches[i-1].Alert == touches[i].Alert {
			return fmt.Errorf("put touches: alert %s stands twice or is not of chunk %d", tocsin.AlertID(touches[i].Alert), chunk)
		}
	}
	_, err := t.exec("put touches", `INSERT INTO touch (partition, chunk, data) VALUES ($1, $2, $3)
		ON CONFLICT (partition, chunk) DO UPDATE SET data = excluded.data`, partition, chunk, packTouches(chunk, touches))
	return err
}

// LoadTouches yields all touches of the partition, alert ids rising. Those whose AsOf is not above the alert's are stale.
func (t *Tx) LoadTouches(partition int) iter.Seq2[Touch, error] {
	return func(yield func(Touch, error) bool) {
		for r, err := range t.conn.Query("SELECT chunk, data FROM touch WHERE partition = $1 ORDER BY chunk", partition) {
			if err != nil {
				yield(Touch{}, fmt.Errorf("load touches of partition %d: %w", partition, err))
				return
			}
			touches, err := unpackTouches(r.Int(0), r.Bytes(1))
			if err != nil {
				yield(Touch{}, fmt.Errorf("load touches of partition %d: %w", partition, err))
				return
			}
			for _, to := range touches {
				if !yield(to, nil) {
					return
				}
			}
		}
	}
}

// A chunkKey names one blob.
type chunkKey struct {
	partition int
	chunk     int64
}

// A touchCache holds the chunks that the rows of one page of a listing need.
type touchCache struct {
	t      *Tx
	chunks map[chunkKey][]Touch
}

// batchChunks returns the chunks that rows belong to, each once.
func batchChunks[T any](rows []T, key func(*T) (partition int, id int64)) []chunkKey {
	var out []chunkKey
	for i := range rows {
		partition, id := key(&rows[i])
		k := chunkKey{partition, ChunkOf(id)}
		if n := len(out); n == 0 || out[n-1] != k && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// load replaces what the cache holds by keys; what it held already is not read again.
func (c *touchCache) load(keys []chunkKey) error {
	before := c.chunks
	c.chunks = make(map[chunkKey][]Touch, len(keys))
	var missing []chunkKey
	for _, k := range keys {
		if touches, ok := before[k]; ok {
			c.chunks[k] = touches
		} else {
			missing = append(missing, k)
		}
	}
	slices.SortStableFunc(missing, func(a, b chunkKey) int { return a.partition - b.partition })
	for from := 0; from < len(missing); {
		to := from + 1
		for to < len(missing) && to < from+chunksAtOnce && missing[to].partition == missing[from].partition {
			to++
		}
		err := c.read(missing[from:to])
		if err != nil {
			return fmt.Errorf("read touches: %w", err)
		}
		from = to
	}
	return nil
}

// chunksAtOnce is how many chunks one statement reads: each statement may be a trip over the network.
const chunksAtOnce = 32

var (
	oneChunk   = "SELECT chunk, data FROM touch WHERE partition = $1 AND chunk = $2"
	someChunks = "SELECT chunk, data FROM touch WHERE partition = $1 AND chunk IN (" + marks(2, chunksAtOnce) + ")"
)

// read reads chunks of one partition, chunksAtOnce at most.
func (c *touchCache) read(keys []chunkKey) error {
	query, args := oneChunk, []any{keys[0].partition, keys[0].chunk}
	if len(keys) > 1 {
		query = someChunks
		for i := 1; i < chunksAtOnce; i++ {
			args = append(args, keys[min(i, len(keys)-1)].chunk)
		}
	}
	for r, err := range c.t.conn.Query(query, args...) {
		if err != nil {
			return err
		}
		k := chunkKey{keys[0].partition, r.Int(0)}
		c.chunks[k], err = unpackTouches(k.chunk, r.Bytes(1))
		if err != nil {
			return err
		}
	}
	return nil
}

// of returns the touch of an alert; nil where there is none.
func (c *touchCache) of(partition int, alert int64) *Touch {
	touches := c.chunks[chunkKey{partition, ChunkOf(alert)}]
	i := sort.Search(len(touches), func(i int) bool { return touches[i].Alert >= alert })
	if i == len(touches) || touches[i].Alert != alert {
		return nil
	}
	return &touches[i]
}

// mergeTouches gives alerts what repeats said of them since their rows were written.
func (t *Tx) mergeTouches(alerts []tocsin.Alert) error {
	c := touchCache{t: t}
	err := c.load(batchChunks(alerts, func(a *tocsin.Alert) (int, int64) { return a.Partition, a.ID }))
	if err != nil {
		return err
	}
	for i := range alerts {
		a := &alerts[i]
		if to := c.of(a.Partition, a.ID); to != nil && to.AsOf > a.AsOf {
			a.LastAt, a.EndsAt, a.Count, a.AsOf = to.LastAt, to.EndsAt, to.Count, to.AsOf
		}
	}
	return nil
}
