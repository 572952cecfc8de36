package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"tocsin/internal/store"
)

// What every transaction sets for itself, in one message with its beginning.
var (
	beginLane = [...]string{
		store.Commands:    beginUpdate + locals(statementLimit, commandLockLimit),
		store.Paging:      beginUpdate + locals(statementLimit, pagingLockLimit),
		store.Correlation: beginUpdate + locals(statementLimit, lockLimit),
	}
	beginView = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + locals(readLimit, lockLimit)
)

const beginUpdate = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "

func locals(statement, lock time.Duration) string {
	return fmt.Sprintf("SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d; SET LOCAL jit = off",
		statement.Milliseconds(), lock.Milliseconds(), sleepLimit.Milliseconds())
}

// conn is one transaction on one connection, for one goroutine. All values go over the wire in their binary form.
type conn struct {
	ctx     context.Context // of the Update or View that it is made for
	pg      *pgconn.PgConn
	bulks   *bulks
	limit   time.Duration // of one statement
	changed int64
	broken  error // the first failure: PostgreSQL takes nothing more in this transaction
	args    args
}

// args are a statement's arguments as the wire has them.
type args struct {
	values [][]byte
	types  []uint32
	room   []byte
}

// binaryFormat says that all values of a statement are binary.
var binaryFormat = []int16{pgtype.BinaryFormatCode}

// check says why no statement may run now.
func (c *conn) check() error {
	if c.broken != nil {
		return c.broken
	}
	return c.ctx.Err()
}

// fail makes of a driver's error the store's, and remembers it: the transaction is over.
func (c *conn) fail(err error) error {
	if err == nil {
		return nil
	}
	if gone := c.ctx.Err(); gone != nil {
		err = fmt.Errorf("the caller has gone: %w", gone) // told apart from limits of our own
	} else {
		err = fail(err)
	}
	if c.broken == nil {
		c.broken = err
	}
	return err
}

// within returns the context of one statement: the server ends it at its limit, and where the server is not heard any more, we do.
func (c *conn) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, c.limit+silence)
}

func (c *conn) begin(how string) error {
	ctx, cancel := context.WithTimeout(c.ctx, dialLimit)
	defer cancel()
	_, err := c.pg.Exec(ctx, how).ReadAll()
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", c.fail(err))
	}
	return nil
}

// SkipLocked is the clause that lets nodes claim beside each other.
func (c *conn) SkipLocked(alias string) string { return " FOR UPDATE OF " + alias + " SKIP LOCKED" }

// Exec runs one statement and returns how many rows it changed.
func (c *conn) Exec(query string, args ...any) (int64, error) {
	err := c.check()
	if err != nil {
		return 0, err
	}
	err = c.bind(args)
	if err != nil {
		return 0, err
	}
	ctx, cancel := c.within()
	defer cancel()
	tag, err := c.pg.ExecParams(ctx, unhinted(query), c.args.values, c.args.types, binaryFormat, binaryFormat).Close()
	if err != nil {
		return 0, c.fail(err)
	}
	c.changed += tag.RowsAffected()
	return tag.RowsAffected(), nil
}

// Query runs one statement and yields its rows.
func (c *conn) Query(query string, args ...any) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		err := c.query(query, args, func(r store.Row) bool { return yield(r, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// query calls row for each row until it answers false. Its limit counts only while the server is waited for.
func (c *conn) query(query string, args []any, row func(store.Row) bool) error {
	err := c.check()
	if err != nil {
		return err
	}
	err = c.bind(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	patience := time.AfterFunc(c.limit+silence, cancel)
	defer patience.Stop()
	rr := c.pg.ExecParams(ctx, unhinted(query), c.args.values, c.args.types, binaryFormat, binaryFormat)
	out := make(store.Row, 0, 32)
	for rr.NextRow() {
		out, err = decode(out[:0], rr.FieldDescriptions(), rr.Values())
		if err != nil {
			break
		}
		patience.Stop()
		more := row(out)
		if !more {
			break
		}
		patience.Reset(c.limit + silence)
	}
	patience.Reset(c.limit + silence)
	tag, closed := rr.Close()
	if closed != nil {
		return c.fail(closed)
	}
	if !tag.Select() {
		c.changed += tag.RowsAffected()
	}
	return err
}

// unhinted takes away what only SQLite's planner wants.
func unhinted(query string) string {
	if !strings.Contains(query, "+a.") {
		return query
	}
	return strings.ReplaceAll(query, "+a.", "a.")
}

// bind makes of arguments what the wire takes. The slices are used again by the next statement.
func (c *conn) bind(given []any) error {
	a := &c.args
	a.values, a.types, a.room = a.values[:0], a.types[:0], a.room[:0]
	for i, v := range given {
		value, oid, err := a.encode(v)
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		a.values, a.types = append(a.values, value), append(a.types, oid)
	}
	return nil
}

func (a *args) encode(v any) ([]byte, uint32, error) {
	switch v := v.(type) {
	case int64:
		return a.number(v), pgtype.Int8OID, nil
	case int:
		return a.number(int64(v)), pgtype.Int8OID, nil
	case string:
		return []byte(clean(v)), pgtype.TextOID, nil
	case []byte:
		if v == nil {
			return nil, pgtype.ByteaOID, nil
		}
		return v, pgtype.ByteaOID, nil
	case nil:
		return nil, 0, nil
	}
	return nil, 0, fmt.Errorf("a %T cannot be stored", v)
}

func (a *args) number(v int64) []byte {
	from := len(a.room)
	a.room = binary.BigEndian.AppendUint64(a.room, uint64(v)) //nolint:gosec // the same 64 bits
	return a.room[from:len(a.room):len(a.room)]
}

// clean returns text as PostgreSQL takes it: what is not UTF-8, and the zero byte, become U+FFFD. Front doors refuse both, but a
// provider's words come here too, and a page must not fail for them.
func clean(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// decode appends a row's values to out.
func decode(out store.Row, fields []pgconn.FieldDescription, values [][]byte) (store.Row, error) {
	for i, v := range values {
		if v == nil {
			out = append(out, nil)
			continue
		}
		switch fields[i].DataTypeOID {
		case pgtype.Int8OID:
			out = append(out, int64(binary.BigEndian.Uint64(v))) //nolint:gosec // the same 64 bits
		case pgtype.Int4OID:
			out = append(out, int64(int32(binary.BigEndian.Uint32(v)))) //nolint:gosec // the same 32 bits
		case pgtype.TextOID:
			out = append(out, string(v))
		case pgtype.ByteaOID:
			out = append(out, append([]byte{}, v...))
		default:
			return nil, fmt.Errorf("column %s has type %d, which the store does not know", fields[i].Name, fields[i].DataTypeOID)
		}
	}
	return out, nil
}
