package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	hintEvery = 25 * time.Millisecond // commits in between share one hint
	hintQuiet = 30 * time.Second      // after so long without any, the connection is tried
	hintAgain = 30 * time.Second      // between tries to connect
)

// channel is named for the schema, so that installations that share a database do not wake each other.
const channel = "'tocsin ' || current_schema()"

// hint asks tell to say that something was committed.
func (db *DB) hint() {
	select {
	case db.hints <- struct{}{}:
	default:
	}
}

// tell says to other nodes that this one has committed something. It does so in a transaction of its own: a NOTIFY in the one that
// commits would make all commits of the database wait for each other. What fails is dropped.
func (db *DB) tell(ctx context.Context) {
	tick := time.NewTicker(hintEvery)
	defer tick.Stop()
	for {
		select {
		case <-db.hints:
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, silence)
		pc, err := db.acquire(limited, db.health)
		if err == nil {
			_, err = pc.Conn().PgConn().Exec(limited, "SELECT pg_notify("+channel+", '"+db.id+"')").ReadAll()
			pc.Release()
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			db.log.Debug("hint to other nodes not sent", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// listen announces what other nodes say that they committed, until ctx ends.
func (db *DB) listen(ctx context.Context, config *pgx.ConnConfig) {
	for ctx.Err() == nil {
		err := db.hear(ctx, config)
		if ctx.Err() != nil {
			return
		}
		db.log.Debug("hints of other nodes are not heard", "error", err)
		t := time.NewTimer(hintAgain/2 + rand.N(hintAgain/2)) //nolint:gosec // no secret
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// hear listens on one connection until it fails.
func (db *DB) hear(ctx context.Context, config *pgx.ConnConfig) error {
	c, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), silence)
		defer cancel()
		_ = c.Close(closing) // nothing rests on it
	}()
	_, err = c.PgConn().Exec(ctx, "DO $$ BEGIN EXECUTE format('LISTEN %I', "+channel+"); END $$").ReadAll()
	if err != nil {
		return err
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, hintQuiet)
		n, err := c.WaitForNotification(waiting)
		quiet := waiting.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && n.Payload != db.id:
			db.committed.Tell()
		case err == nil: // our own
		case !quiet || c.IsClosed():
			return err
		default:
			err = db.alive(ctx, c)
			if err != nil {
				return err
			}
		}
	}
}

func (db *DB) alive(ctx context.Context, c *pgx.Conn) error {
	limited, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return c.Ping(limited)
}
