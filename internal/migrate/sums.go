package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"strings"

	"tocsin/internal/store"
)

// A Sum is what is compared of a table: how many rows there are, and a hash of what they say. The hashes of the rows are added up, so
// their order does not count; but a line of history says which one of its incident or major it is.
type Sum struct {
	Rows int64  `json:"rows"`
	Hash string `json:"hash"` // hex
}

// unequal are the columns that a job may change.
var unequal = map[string][]string{
	"alert": {"partition", "as_of"}, "incident": {"partition"}, "major": {"partition"}, "page": {"partition"}, "timer": {"partition"},
	"change": {"partition", "seq", "after_offset"}, "dead_letter": {"position"},
}

// sums counts and hashes everything that a job moves.
func (j *Job) sums(ctx context.Context, db store.DB) (map[string]Sum, error) {
	out := map[string]Sum{}
	for _, b := range store.Tables() {
		s := newAdder(b)
		err := j.each(ctx, db, b, func(r store.Row) error {
			if b.Name == "meta" && !moves(r.Text(0)) {
				return s.held(r)
			}
			s.add(r)
			return nil
		})
		if err != nil {
			return nil, err
		}
		out[b.Name] = s.sum()
	}
	return out, nil
}

// adder adds up the rows of one table.
type adder struct {
	table   store.Table
	columns []int
	h       hash.Hash
	room    []byte
	total   [4]uint64
	rows    int64
	lines   map[[2]int64]int64 // of the history: how many an incident or major has had
}

func newAdder(b store.Table) *adder {
	a := &adder{table: b, h: sha256.New(), lines: map[[2]int64]int64{}}
	for i, name := range b.Columns {
		if !slices.Contains(unequal[b.Name], name) {
			a.columns = append(a.columns, i)
		}
	}
	return a
}

func (a *adder) add(r store.Row) {
	b := a.room[:0]
	for _, i := range a.columns {
		switch v := r[i].(type) {
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v)) //nolint:gosec // the same 64 bits
		case string:
			v = clean(v)
			b = binary.BigEndian.AppendUint32(append(b, 's'), uint32(len(v))) //nolint:gosec // bounded by the doors
			b = append(b, v...)
		case []byte:
			b = binary.BigEndian.AppendUint32(append(b, 'b'), uint32(len(v))) //nolint:gosec // bounded by the doors
			b = append(b, v...)
		default:
			b = append(b, 'n')
		}
	}
	if a.table.Name == "change" {
		of := [2]int64{r.Int(a.table.Column("incident")), r.Int(a.table.Column("major"))}
		if of != [2]int64{} {
			a.lines[of]++
			b = binary.BigEndian.AppendUint64(append(b, 'l'), uint64(a.lines[of])) //nolint:gosec // a count
		}
	}
	a.room = b
	a.plus(b)
}

// plus adds the hash of one row.
func (a *adder) plus(row []byte) {
	a.h.Reset()
	a.h.Write(row)
	sum := a.h.Sum(nil)
	var carry uint64
	for i := range a.total {
		a.total[i], carry = bits.Add64(a.total[i], binary.BigEndian.Uint64(sum[i*8:]), carry)
	}
	a.rows++
}

// held adds the scopes that wait in a row of meta: each goes to a partition of its own.
func (a *adder) held(r store.Row) error {
	if !strings.HasPrefix(r.Text(0), heldPrefix) {
		return nil
	}
	var scopes []json.RawMessage
	err := json.Unmarshal([]byte(r.Text(1)), &scopes)
	if err != nil {
		return fmt.Errorf("meta %s: %w", r.Text(0), err)
	}
	for _, s := range scopes {
		a.plus(append([]byte("held "), s...))
	}
	return nil
}

func (a *adder) sum() Sum {
	var b []byte
	for _, w := range a.total {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return Sum{a.rows, hex.EncodeToString(b)}
}

// clean is text as every engine keeps it: PostgreSQL takes no zero byte and only UTF-8.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}
