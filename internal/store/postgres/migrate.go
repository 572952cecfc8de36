package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"tocsin/internal/store/migrations"
)

// migrateLimit is how long a start waits for other nodes that migrate, and migrates, at most.
const migrateLimit = 10 * time.Minute

// lockMigrations lets one node at a time look at the schema. The lock belongs to a transaction, so it works through a pooler, and ends with the
// connection of a node that dies.
const lockMigrations = `SELECT pg_advisory_xact_lock(hashtextextended('tocsin schema ' || current_schema(), 0))`

// prepare looks at the server and brings the schema to what this binary knows.
func (db *DB) prepare(ctx context.Context, config *pgxpool.Config) (err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateLimit)
	defer cancel()
	c := config.ConnConfig.Copy()
	c.DefaultQueryExecMode = pgx.QueryExecModeExec // no statement with a name
	std := stdlib.OpenDB(*c, stdlib.OptionAfterConnect(db.unlimited))
	defer func() { err = errors.Join(err, std.Close()) }()
	std.SetMaxOpenConns(2)

	guard, err := std.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Rollback()) }()
	var s settings
	err = guard.QueryRowContext(ctx, askSettings).Scan(&s.version, &s.name, &s.encoding, &s.schema, &s.path, &s.sync, &s.fsync)
	if err != nil {
		return fmt.Errorf("read the server's settings: %w", err)
	}
	err = s.check(db)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		fmt.Sprintf("SET LOCAL lock_timeout = %d", migrateLimit.Milliseconds()), "SET LOCAL statement_timeout = 0",
		"SET LOCAL idle_in_transaction_session_timeout = 0", lockMigrations,
	} {
		_, err = guard.ExecContext(ctx, statement)
		if err != nil {
			return fmt.Errorf("wait for other nodes that migrate: %w", err)
		}
	}
	return migrations.Up(ctx, goose.DialectPostgres, std, db.log)
}

// unlimited takes from a connection that migrates what the server's settings would put upon it. Behind a pooler the session is not ours to change:
// there, a role whose limits are too tight for a migration gets an error that says so.
func (db *DB) unlimited(ctx context.Context, c *pgx.Conn) error {
	if db.server.pooled.Load() {
		return nil
	}
	_, err := c.PgConn().Exec(ctx, "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; "+
		"SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'").ReadAll()
	return err
}

// settings are what a server must have, and what we warn of.
type settings struct {
	version                      int
	name, encoding, schema, path string
	sync, fsync                  string
}

const askSettings = `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding'),
	COALESCE(current_schema(), ''), current_setting('search_path'), current_setting('synchronous_commit'), current_setting('fsync')`

func (s *settings) check(db *DB) error {
	switch {
	case s.version < oldest:
		return fmt.Errorf("the server is PostgreSQL %s: 14 is the oldest that tocsin works with", s.name)
	case s.encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s: create one with UTF8, for instance by `createdb --encoding=UTF8 --template=template0 tocsin`", s.encoding)
	case s.schema == "":
		return fmt.Errorf("none of the schemas in search_path (%s) is there: create one, or take search_path out of the address", s.path)
	}
	if s.sync == "off" || s.fsync == "off" {
		db.log.Warn("PostgreSQL is set to forget what it answered when it crashes: set both to on", "synchronous_commit", s.sync, "fsync", s.fsync)
	}
	return nil
}
