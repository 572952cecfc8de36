package migrations

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"regexp"
	"strconv"

	"github.com/pressly/goose/v3"
)

//go:embed *.sql
var files embed.FS

// Version is the newest schema version that this binary knows.
const Version = 1

// A NewerError means that the database was written by a newer tocsin that older ones cannot read.
type NewerError struct {
	Schema    int64 // the database's version
	MinReader int64 // what a binary must know to read it
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the state database has schema %d and wants a tocsin that knows at least schema %d; this one knows %d: start a newer tocsin, or restore a backup of before the upgrade",
		e.Schema, e.MinReader, Version)
}

// For returns the files as the engine of this dialect reads them.
func For(d goose.Dialect) fs.FS {
	if d == goose.DialectSQLite3 {
		// INTEGER PRIMARY KEY is SQLite's row id, BIGINT PRIMARY KEY would be a second index.
		return respelled{files, []respelling{{regexp.MustCompile(`\bBIGINT PRIMARY KEY`), "INTEGER PRIMARY KEY"}}}
	}
	return respelled{files, []respelling{
		// Text is compared by its bytes, as SQLite does it, whatever the language of the database.
		{regexp.MustCompile(`\bTEXT\b`), `TEXT COLLATE "C"`},
		// A row that changes is entered anew in all indexes but those whose condition it does not meet: one that ends leaves most of them.
		{regexp.MustCompile(`(ON alert \((?:host|alertname)\) WHERE \w+ <> '')`), `$1 AND status = 1`},
		{regexp.MustCompile(`ON alert \(source, status\)`), `ON alert (source) WHERE status = 1`},
		// Those of incidents and partitions change with each batch: with room beside them, no index has to learn of it.
		{regexp.MustCompile(`(?s)(CREATE TABLE (?:incident|part) \(.*?\n\));`), `$1 WITH (fillfactor = 40);`},
		// SQLite finds this index by its first column; PostgreSQL knows the condition, and takes the order of the first column for that of the table.
		{regexp.MustCompile(`\(status, (id, partition)\) WHERE status = 1`), `($1) WHERE status = 1`},
	}}
}

// respelled is the files with other spellings of some words.
type respelled struct {
	embed.FS
	words []respelling
}

type respelling struct {
	old *regexp.Regexp
	new string
}

// Open returns the file respelled; folders stay as they are.
func (r respelled) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return f, err
	}
	body, err := r.ReadFile(name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return rewritten{File: f, Reader: bytes.NewReader(body)}, nil
}

// ReadFile returns the file with its other spellings.
func (r respelled) ReadFile(name string) ([]byte, error) {
	body, err := r.FS.ReadFile(name)
	for _, w := range r.words {
		body = w.old.ReplaceAll(body, []byte(w.new))
	}
	return body, err
}

// rewritten is a file whose content is another's.
type rewritten struct {
	fs.File
	*bytes.Reader
}

func (r rewritten) Read(p []byte) (int, error) { return r.Reader.Read(p) }

// Up brings db to Version, or finds that it may stay as it is. The error is a *NewerError where db is too new for this binary.
func Up(ctx context.Context, d goose.Dialect, db *sql.DB, log *slog.Logger) error {
	p, err := goose.NewProvider(d, db, For(d), goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	switch {
	case have > Version:
		return readable(ctx, db, have)
	case have == Version:
		return nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the state database from schema %d to %d: %w", have, Version, err)
	}
	log.Info("state database migrated", "from", have, "to", Version, "steps", len(done))
	return nil
}

// readable reports whether this binary may use a schema that is newer than it knows.
func readable(ctx context.Context, db *sql.DB, have int64) error {
	var text string
	err := db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'min_reader'").Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read min_reader of the state database: %w", err)
	}
	min, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("min_reader of the state database is %q, no number: %w", text, err)
	}
	if min > Version {
		return &NewerError{Schema: have, MinReader: min}
	}
	return nil
}
