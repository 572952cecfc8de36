package postgres

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"tocsin/parts/partstest"
)

// The bytes are those of "File Formats, Binary Format" in PostgreSQL's description of COPY.
func TestRowsAreWrittenAsCopyReadsThem(t *testing.T) {
	var got bytes.Buffer
	rows := [][]any{{int64(1), "ä", []byte{7}}, {nil, "", []byte(nil)}}
	err := copyRows(&got, 3, len(rows), func(i int, c []any) { copy(c, rows[i]) })
	if err != nil {
		t.Fatal(err)
	}
	want := "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" +
		"\x00\x03" + "\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x02ä" + "\x00\x00\x00\x01\x07" +
		"\x00\x03" + "\xff\xff\xff\xff" + "\x00\x00\x00\x00" + "\xff\xff\xff\xff" +
		"\xff\xff"
	if got.String() != want {
		t.Errorf("got  %q\nwant %q", got.String(), want)
	}
	err = copyRows(&got, 1, 2, func(i int, c []any) { c[0] = float64(i) })
	if want := "row 0: argument 1: a float64 cannot be stored"; err == nil || err.Error() != want {
		t.Errorf("a row that cannot be written: %v, want %s", err, want)
	}
}

// Rows that cannot be made end the statement, not the process, and the connection stays one that can be used.
func TestACopyWhoseRowsCannotBeMadeIsGivenUp(t *testing.T) {
	ctx := t.Context()
	pg, err := pgconn.Connect(ctx, partstest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close(ctx)
	run := func(statement string) {
		t.Helper()
		_, err := pg.Exec(ctx, statement).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run("CREATE TABLE t (a TEXT)")
	b := makeBulk("INSERT INTO t (a) VALUES ($1)", 1)
	long := fmt.Sprintf("%0*d", copyStep/4, 1)
	for name, bad := range map[string]func(c []any){
		"a value of no type": func(c []any) { c[0] = 1.5 },
		"a panic":            func([]any) { panic("no row") },
		"nothing wrong":      func([]any) {},
	} {
		run("BEGIN")
		c := &conn{ctx: ctx, pg: pg, limit: statementLimit}
		err := func() (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = fmt.Errorf("panic: %v", v)
				}
			}()
			return c.copyIn(b, 1, 100, func(i int, c []any) {
				c[0] = long
				if i == 50 {
					bad(c)
				}
			})
		}()
		if (err == nil) != (name == "nothing wrong") {
			t.Errorf("%s: %v", name, err)
		}
		run("ROLLBACK")
	}
}
