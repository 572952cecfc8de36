package store

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// A Conn is what an engine lends to one transaction. It hides everything in which the engines differ.
//
// Statements number their arguments $1, $2 and so on; an argument is an int, int64, string, []byte or nil. A Conn notices
// by itself when its transaction's context has ended, and then answers with the context's error. A + before a column of a
// condition (+a.status) keeps SQLite from an index that finds too much; an engine that plans by statistics takes it away.
type Conn interface {
	// Exec runs one statement and returns how many rows it changed.
	Exec(query string, args ...any) (changed int64, err error)
	// Query runs one statement and yields its rows; an error ends them. A Row is valid until the next one is asked for. No
	// other statement may run on the Conn before the rows have ended.
	Query(query string, args ...any) iter.Seq2[Row, error]
	// Each runs one statement that returns no rows n times, as fast as the engine can. fill sets the arguments of time i, of
	// which there are width, and may be asked more than once; done, unless nil, is told in order how many rows each time changed.
	Each(query string, width, n int, fill func(i int, args []any), done func(i int, changed int64)) error
	// SkipLocked is what ends a SELECT of rows that the transaction is about to change: those of the table with this alias that
	// another transaction holds are passed over, and no other gets those that are found. It is empty where writers take turns.
	SkipLocked(alias string) string
}

// A Row is the columns of one row: int64, string, []byte or nil.
type Row []any

// Int returns column i as a number; NULL is 0.
func (r Row) Int(i int) int64 { v, _ := r[i].(int64); return v }

// Text returns column i as a string; NULL is "".
func (r Row) Text(i int) string { v, _ := r[i].(string); return v }

// Bytes returns column i, a copy that the caller may keep; NULL is nil.
func (r Row) Bytes(i int) []byte { v, _ := r[i].([]byte); return v }

// Time returns column i, unix microseconds, in UTC; 0 and NULL are the zero time.
func (r Row) Time(i int) time.Time { return timeOf(r.Int(i)) }

// A Tx is one transaction over the words: every statement of the store is one of its methods, the same for all engines.
// It belongs to the function that Update or View called, and to one goroutine.
type Tx struct {
	conn Conn
	node int64 // whose pages those are that the transaction claims
}

// NewTx returns the transaction that speaks over conn. Engines call it.
func NewTx(conn Conn) *Tx { return &Tx{conn: conn} }

// micros is how times are stored: unix microseconds, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// columns is a list of column names as the schema spells them.
type columns []string

func cols(names string) columns { return strings.Fields(names) }

// list returns the names for a SELECT, each of the table prefix where one is given.
func (c columns) list(prefix string) string {
	if prefix == "" {
		return strings.Join(c, ", ")
	}
	return prefix + "." + strings.Join(c, ", "+prefix+".")
}

// insert returns the statement that inserts a whole row.
func (c columns) insert(table string) string {
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, c.list(""), marks(1, len(c)))
}

// marks returns n placeholders, the first of them $from.
func marks(from, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = "$" + strconv.Itoa(from+i)
	}
	return strings.Join(out, ", ")
}

// upsert returns the statement that inserts a whole row or replaces the one with the same key: the first keys columns.
func (c columns) upsert(table string, keys int) string {
	text := c.insert(table) + " ON CONFLICT (" + c[:keys].list("") + ") DO "
	if keys == len(c) {
		return text + "NOTHING"
	}
	sets := make([]string, 0, len(c)-keys)
	for _, n := range c[keys:] {
		sets = append(sets, n+" = excluded."+n)
	}
	return text + "UPDATE SET " + strings.Join(sets, ", ")
}

// A where gathers the conditions of a filter and their arguments.
type where struct {
	terms []string
	args  []any
}

// add adds a condition in which ? stands for the next argument.
func (w *where) add(term string, args ...any) {
	for _, a := range args {
		w.args = append(w.args, a)
		term = strings.Replace(term, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.terms = append(w.terms, term)
}

// among adds the condition that column is one of values; none of them means any.
func among[T any](w *where, column string, values []T) { listed(w, column+" IN", values) }

// besides adds the condition that column is none of values.
func besides[T any](w *where, column string, values []T) { listed(w, column+" NOT IN", values) }

func listed[T any](w *where, term string, values []T) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.add(term+" (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// String returns the clause, with the word WHERE.
func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

// one returns what scan makes of the first row of a query; ErrNotFound, with what was asked for, where there is none.
func one[T any](t *Tx, what string, scan func(Row) (T, error), query string, args ...any) (T, error) {
	for row, err := range t.conn.Query(query, args...) {
		if err != nil {
			return *new(T), fmt.Errorf("read %s: %w", what, err)
		}
		return scan(row)
	}
	return *new(T), fmt.Errorf("%s: %w", what, ErrNotFound)
}

// all returns what scan makes of every row of a query.
func all[T any](t *Tx, what string, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	var out []T
	for row, err := range t.conn.Query(query, args...) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		v, err := scan(row)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// number returns the first column of the first row; 0 where there is none or it is NULL.
func (t *Tx) number(what, query string, args ...any) (int64, error) {
	for row, err := range t.conn.Query(query, args...) {
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", what, err)
		}
		return row.Int(0), nil
	}
	return 0, nil
}

// exec runs a statement; what it does is said in the error.
func (t *Tx) exec(what, query string, args ...any) (changed int64, err error) {
	changed, err = t.conn.Exec(query, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return changed, nil
}
