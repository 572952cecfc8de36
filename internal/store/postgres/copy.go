package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
)

// copyStep is how many bytes of rows are handed on at a time: the server stores them while the next are made.
const copyStep = 32 << 10

// copyHead and copyEnd stand around the rows in the binary form of COPY: a signature, no flags, no extension; a row of -1 columns.
const (
	copyHead = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	copyEnd  = "\xff\xff"
)

// errCopied is what writing rows ends with when the server wants no more of them; why, the copy itself says.
var errCopied = errors.New("the copy has ended")

// copyIn inserts n rows by COPY.
func (c *conn) copyIn(b *bulk, width, n int, fill func(int, []any)) error {
	err := c.check()
	if err != nil {
		return err
	}
	ctx, cancel := c.within()
	defer cancel()
	from, to := io.Pipe()
	var tag pgconn.CommandTag
	copied := make(chan error, 1)
	go func() {
		var err error
		tag, err = c.pg.CopyFrom(ctx, from, b.copy)
		_ = from.CloseWithError(errCopied) // never fails
		copied <- err
	}()
	bad := errors.New("the rows were not made") // by a fill that panics
	defer func() {
		_ = to.CloseWithError(bad) // never fails
		if copied != nil {
			<-copied //nolint:errcheck // the panic goes on, and says more
		}
	}()
	bad = copyRows(to, width, n, fill)
	_ = to.CloseWithError(bad) // nil: that was all
	err = <-copied
	copied = nil
	if err != nil {
		if bad != nil && !errors.Is(bad, errCopied) {
			err = bad
		}
		return c.fail(err)
	}
	c.changed += tag.RowsAffected()
	return nil
}

// copyRows writes n rows of so many columns in the binary form of COPY.
func copyRows(to io.Writer, width, n int, fill func(int, []any)) error {
	values := make([]any, width)
	b := append(make([]byte, 0, copyStep+copyStep/4), copyHead...)
	for row := range n {
		fill(row, values)
		b = binary.BigEndian.AppendUint16(b, uint16(width)) //nolint:gosec // a table has 1,600 columns at most
		for i, v := range values {
			var err error
			b, _, err = appendElement(b, v)
			if err != nil {
				return fmt.Errorf("row %d: argument %d: %w", row, i+1, err)
			}
		}
		if len(b) >= copyStep {
			_, err := to.Write(b)
			if err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := to.Write(append(b, copyEnd...))
	return err
}
