package postgres

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// A statement that is run many times becomes one statement over arrays, one array for each argument:
//
//	INSERT INTO t (a, b) VALUES ($1, $2)            COPY t (a, b) FROM STDIN
//	INSERT INTO t (a, b) VALUES ($1, $2) ...        INSERT INTO t (a, b) SELECT * FROM unnest($1, $2) ...
//	UPDATE t SET a = $1 WHERE id = $2 ...           UPDATE t SET a = v.c1 FROM unnest($1, $2) WITH ORDINALITY AS v(c1, c2, n) WHERE id = v.c2 ...
//
// where ... is an ON CONFLICT, or more conditions of the row. Any other statement is sent as often as it is to run, without waiting in between. So is one whose
// array would have no type, because all of a column is NULL.
//
// One statement cannot touch a row twice: rows with the key of an earlier one go into a statement of their own, after it.

// What one statement holds at most.
const (
	bulkRows  = 2048
	bulkBytes = 4 << 20
)

// maxBulks bounds the statements that are remembered; the store has fewer.
const maxBulks = 256

// a bulk is a statement made one over arrays.
type bulk struct {
	text   string
	copy   string // COPY of the same rows; "": something is to be done about rows that are there
	key    int    // the argument that tells rows apart; -1: rows need not differ
	counts bool   // the statement returns the number (from 1) of each row that it changed
	sure   bool   // it changes one row each time
}

// bulks remembers what became of statements; nil is one that must be sent again and again.
type bulks struct {
	mu    sync.Mutex
	known map[string]*bulk
	idle  sync.Pool // *rows
	never bool      // for benchmarks: what the arrays are compared with
}

// of returns the statement over arrays for query; nil where there is none.
func (b *bulks) of(query string, width int) *bulk {
	b.mu.Lock()
	defer b.mu.Unlock()
	made, ok := b.known[query]
	if ok {
		return made
	}
	if b.known == nil || len(b.known) >= maxBulks {
		b.known = make(map[string]*bulk)
	}
	if !b.never {
		made = makeBulk(query, width)
	}
	b.known[query] = made
	return made
}

var (
	insertShape = regexp.MustCompile(`(?s)^INSERT INTO (\w+) \(([\w, ]+)\)\s+VALUES \(([$\d, ]+)\)(.*)$`)
	targetShape = regexp.MustCompile(`(?s)^\s*ON CONFLICT \(([\w, ]+)\) DO (NOTHING|UPDATE SET .*)$`)
	updateShape = regexp.MustCompile(`(?s)^UPDATE (\w+) SET (.*?)\s+WHERE (\w+) = \$(\d+)( AND .*)?$`)
	argument    = regexp.MustCompile(`\$(\d+)`)
)

// makeBulk returns the statement over arrays for query, which has width arguments; nil where its shape is another.
func makeBulk(query string, width int) *bulk {
	if m := insertShape.FindStringSubmatch(query); m != nil {
		return bulkInsert(m[1], m[2], m[3], m[4], width)
	}
	if m := updateShape.FindStringSubmatch(query); m != nil {
		return bulkUpdate(m, width)
	}
	return nil
}

func bulkInsert(table, columns, values, rest string, width int) *bulk {
	names := strings.Split(columns, ", ")
	if values != marks(width) || len(names) != width || strings.Contains(rest, "$") {
		return nil
	}
	b := &bulk{key: -1, sure: true, text: fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s)%s", table, columns, marks(width), rest)}
	if strings.TrimSpace(rest) == "" {
		b.copy = fmt.Sprintf("COPY %s (%s) FROM STDIN BINARY", table, columns)
		return b
	}
	target := targetShape.FindStringSubmatch(rest)
	switch {
	case target == nil:
		return nil
	case target[2] == "NOTHING":
		b.sure = false
		return b
	}
	b.key = slices.Index(names, target[1])
	if b.key < 0 {
		return nil // the key has several columns
	}
	return b
}

// bulkUpdate takes the parts of updateShape. The column that is compared first is the key: it must be unique in the table.
func bulkUpdate(m []string, width int) *bulk {
	table, sets, column, rest := m[1], m[2], m[3], m[5]
	key, err := strconv.Atoi(m[4])
	if err != nil || key < 1 || key > width || strings.Contains(m[0], "SELECT") {
		return nil
	}
	names := make([]string, width)
	for i := range names {
		names[i] = "c" + strconv.Itoa(i+1)
	}
	given := func(text string) string { return argument.ReplaceAllString(text, "v.c$1") }
	return &bulk{key: key - 1, counts: true, text: fmt.Sprintf("UPDATE %s SET %s FROM unnest(%s) WITH ORDINALITY AS v(%s, n) WHERE %s = v.c%d%s RETURNING v.n",
		table, given(sets), marks(width), strings.Join(names, ", "), column, key, given(rest))}
}

// marks returns $1, $2 and so on.
func marks(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = "$" + strconv.Itoa(i+1)
	}
	return strings.Join(out, ", ")
}

// Each runs one statement n times: as one statement over arrays where it has such a shape.
func (c *conn) Each(query string, width, n int, fill func(int, []any), done func(int, int64)) error {
	if n == 0 {
		return nil
	}
	b := c.bulks.of(query, width)
	if n == 1 || b == nil || done != nil && !b.sure && !b.counts {
		return c.stream(query, width, 0, n, fill, done)
	}
	if b.copy != "" && done == nil {
		return c.copyIn(b, width, n, fill)
	}
	values, r := make([]any, width), c.bulks.rows(width)
	defer c.bulks.done(r)
	for from := 0; from < n; {
		r.reset()
		for i := from; i < n && r.count < bulkRows && r.bytes < bulkBytes; i++ {
			fill(i, values)
			if b.key >= 0 && !r.first(values[b.key]) {
				break
			}
			err := r.add(values)
			if err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
		}
		err := c.flush(b, r, query, width, from, fill, done)
		if err != nil {
			return err
		}
		from += r.count
	}
	return nil
}

// flush runs the statement for the rows gathered, of which the first is row from.
func (c *conn) flush(b *bulk, r *rows, query string, width, from int, fill func(int, []any), done func(int, int64)) error {
	if !r.typed() {
		return c.stream(query, width, from, from+r.count, fill, done)
	}
	err := c.check()
	if err != nil {
		return err
	}
	ctx, cancel := c.within()
	defer cancel()
	result := c.pg.ExecParams(ctx, b.text, r.arrays(), r.types(), binaryFormat, binaryFormat)
	var changed []int64
	if b.counts {
		changed = make([]int64, r.count)
		for result.NextRow() {
			changed[int(binary.BigEndian.Uint64(result.Values()[0]))-1]++ //nolint:gosec // one of our own rows
		}
	}
	tag, err := result.Close()
	if err != nil {
		return c.fail(err)
	}
	c.changed += tag.RowsAffected()
	if done == nil {
		return nil
	}
	for i := range r.count {
		count := int64(1)
		if b.counts {
			count = changed[i]
		}
		done(from+i, count)
	}
	return nil
}

// pipelined is how many statements are sent before their answers are read.
const pipelined = 256

// stream runs a statement for the rows from up to to, without waiting for each.
func (c *conn) stream(query string, width, from, to int, fill func(int, []any), done func(int, int64)) error {
	values := make([]any, width)
	for from < to {
		err := c.check()
		if err != nil {
			return err
		}
		end := min(from+pipelined, to)
		err = c.pipeline(query, from, end, values, fill, done)
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

// pipeline is one round of stream.
func (c *conn) pipeline(query string, from, to int, values []any, fill func(int, []any), done func(int, int64)) (err error) {
	ctx, cancel := c.within()
	defer cancel()
	p := c.pg.StartPipeline(ctx)
	defer func() {
		closed := p.Close()
		if err == nil {
			err = c.fail(closed)
		}
	}()
	for i := from; i < to; i++ {
		fill(i, values)
		err = c.bind(values)
		if err != nil {
			return err
		}
		p.SendQueryParams(query, c.args.values, c.args.types, binaryFormat, binaryFormat)
	}
	err = p.Sync()
	if err != nil {
		return c.fail(err)
	}
	for i := from; i < to; i++ {
		got, err := p.GetResults()
		if err != nil {
			return c.fail(err)
		}
		result, ok := got.(*pgconn.ResultReader)
		if !ok {
			return c.fail(fmt.Errorf("PostgreSQL answered a statement with a %T", got))
		}
		tag, err := result.Close()
		if err != nil {
			return c.fail(err)
		}
		c.changed += tag.RowsAffected()
		if done != nil {
			done(i, tag.RowsAffected())
		}
	}
	return nil
}

// rows are the arguments of many times, gathered into arrays.
type rows struct {
	columns []column
	keys    map[any]struct{}
	count   int
	bytes   int
}

// column is one array under way: its elements as the wire has them.
type column struct {
	oid   uint32 // of an element; 0: not known yet
	nulls bool
	data  []byte // room for the head, then the elements
}

// rows returns an empty one for statements with width arguments, made before or new.
func (b *bulks) rows(width int) *rows {
	r, ok := b.idle.Get().(*rows)
	if !ok || cap(r.columns) < width {
		r = &rows{columns: make([]column, width), keys: make(map[any]struct{})}
	}
	r.columns = r.columns[:width]
	for i := range r.columns {
		r.columns[i].oid = 0
	}
	return r
}

// done keeps r for a later statement, unless it has grown large.
func (b *bulks) done(r *rows) {
	if r.bytes < bulkBytes/4 {
		b.idle.Put(r)
	}
}

func (r *rows) reset() {
	for i := range r.columns {
		c := &r.columns[i]
		c.data, c.nulls = append(c.data[:0], make([]byte, headRoom)...), false
	}
	clear(r.keys)
	r.count, r.bytes = 0, 0
}

// first reports whether no row before has this key.
func (r *rows) first(key any) bool {
	if _, there := r.keys[key]; there {
		return false
	}
	r.keys[key] = struct{}{}
	return true
}

// add adds a row.
func (r *rows) add(values []any) error {
	for i, v := range values {
		c := &r.columns[i]
		before := len(c.data)
		err := c.add(v)
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		r.bytes += len(c.data) - before
	}
	r.count++
	return nil
}

func (c *column) add(v any) error {
	data, oid, err := appendElement(c.data, v)
	if err != nil {
		return err
	}
	if len(data)-len(c.data) == 4 && binary.BigEndian.Uint32(data[len(c.data):]) == null {
		c.nulls = true
	}
	if oid == 0 {
		oid = c.oid
	}
	if c.oid != 0 && oid != c.oid {
		return fmt.Errorf("a %T stands in a column of other values", v)
	}
	c.data, c.oid = data, oid
	return nil
}

// appendElement appends v as arrays and COPY have it: its length, then itself. The type of a mere nil is 0.
func appendElement(b []byte, v any) (_ []byte, oid uint32, err error) {
	switch v := v.(type) {
	case int64:
		b = binary.BigEndian.AppendUint32(b, 8)
		return binary.BigEndian.AppendUint64(b, uint64(v)), pgtype.Int8OID, nil //nolint:gosec // the same 64 bits
	case int:
		return appendElement(b, int64(v))
	case string:
		v = clean(v)
		b = binary.BigEndian.AppendUint32(b, uint32(len(v))) //nolint:gosec // bounded by the doors
		return append(b, v...), pgtype.TextOID, nil
	case []byte:
		if v == nil {
			return binary.BigEndian.AppendUint32(b, null), pgtype.ByteaOID, nil
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(v))) //nolint:gosec // bounded by the doors
		return append(b, v...), pgtype.ByteaOID, nil
	case nil:
		return binary.BigEndian.AppendUint32(b, null), 0, nil
	}
	return b, 0, fmt.Errorf("a %T cannot be stored", v)
}

// null is the length of an element that is NULL.
const null = 0xffffffff

// typed reports whether each array has a type.
func (r *rows) typed() bool {
	return !slices.ContainsFunc(r.columns, func(c column) bool { return c.oid == 0 })
}

// arrayOf are the types of arrays by those of their elements.
func arrayOf(element uint32) uint32 {
	switch element {
	case pgtype.Int8OID:
		return pgtype.Int8ArrayOID
	case pgtype.TextOID:
		return pgtype.TextArrayOID
	}
	return pgtype.ByteaArrayOID
}

func (r *rows) types() []uint32 {
	out := make([]uint32, len(r.columns))
	for i, c := range r.columns {
		out[i] = arrayOf(c.oid)
	}
	return out
}

// headRoom is how many bytes an array has before its elements.
const headRoom = 20

// arrays returns the arrays in their binary form: dimensions, whether there are NULLs, the type, the length, the first index, the elements.
func (r *rows) arrays() [][]byte {
	out := make([][]byte, len(r.columns))
	for i := range r.columns {
		c := &r.columns[i]
		nulls := uint32(0)
		if c.nulls {
			nulls = 1
		}
		for at, word := range [...]uint32{1, nulls, c.oid, uint32(r.count), 1} { //nolint:gosec // bulkRows at most
			binary.BigEndian.PutUint32(c.data[4*at:], word)
		}
		out[i] = c.data
	}
	return out
}
