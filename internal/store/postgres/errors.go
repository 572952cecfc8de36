package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"tocsin/internal/store"
)

// cause is why a transaction failed where it was not its own fault.
type cause int

const (
	refused  cause = iota // not now: a limit, a full disk, no server
	locked                // somebody holds a lock for too long
	conflict              // PostgreSQL ended it because of others
	lost                  // the connection broke
	silent                // no answer came, not even a refusal
)

// String is the cause as metrics have it.
func (c cause) String() string {
	switch c {
	case conflict:
		return "conflict"
	case lost:
		return "connection"
	}
	return "refused"
}

// failure is an error that is not the statement's fault. It is store.ErrUnavailable.
type failure struct {
	why  cause
	text string // what a person can make of it; "" where err says it
	err  error
}

func (f *failure) Error() string {
	if f.text == "" {
		return fmt.Sprintf("%v: %v", store.ErrUnavailable, f.err)
	}
	return fmt.Sprintf("%v: %s: %v", store.ErrUnavailable, f.text, f.err)
}

func (f *failure) Unwrap() []error {
	if f.why == locked {
		return []error{store.ErrUnavailable, store.ErrLocked, f.err}
	}
	return []error{store.ErrUnavailable, f.err}
}

// again reports whether the transaction that failed at this try is begun once more.
func (f *failure) again(try int) bool {
	switch f.why {
	case conflict:
		return try < maxTries
	case lost:
		return try < maxLost
	}
	return false
}

// fail makes a failure of a driver's error that is one, and store.ErrRefused of what can never be done; other faults of the statement it
// leaves as they are.
func fail(err error) error {
	if dial, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return &failure{why: refused, err: brief(dial)}
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok:
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &failure{why: silent, text: "the database has not answered in time", err: err}
	default:
		return &failure{why: lost, text: "the connection to the database broke", err: err}
	}
	switch e.Code {
	case "40001", "40P01":
		return &failure{why: conflict, err: err}
	case "55P03":
		return &failure{why: locked, text: "another session has kept a row or a table locked for too long", err: err}
	case "57014":
		return &failure{why: refused, text: "a statement took too long and was ended", err: err}
	case "25006":
		return &failure{why: refused, text: "the server is read-only: a standby, or a primary that was one", err: err}
	case "53100":
		return &failure{why: refused, text: "the disk of the database is full", err: err}
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "57", "25":
		if fatal(e) {
			return &failure{why: lost, text: "the server ended the connection", err: err}
		}
	case "53", "58":
		return &failure{why: refused, err: err}
	}
	if fatal(e) {
		return &failure{why: refused, err: err}
	}
	if e.Code == "23505" {
		return fmt.Errorf("%w: %w: %w", store.ErrRefused, store.ErrExists, err)
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "22", "23", "54": // a value that a column cannot hold, a rule of a table, a row or its index entry too long
		return fmt.Errorf("%w: %w", store.ErrRefused, err)
	}
	return err
}

// fatal reports whether the server ended the connection with e.
func fatal(e *pgconn.PgError) bool {
	severity := e.SeverityUnlocalized
	if severity == "" {
		severity = e.Severity
	}
	return severity == "FATAL" || severity == "PANIC"
}
