package partstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Database returns the address of an empty PostgreSQL database of this test's own, on the server of parts/all.sh (DATABASE_URL). It is dropped
// when the test ends. options are words of CREATE DATABASE.
func Database(t testing.TB, options ...string) string {
	t.Helper()
	server := Address(t, "DATABASE_URL")
	name := fmt.Sprintf("test_%x", rand.Uint64()) //nolint:gosec // a name, not a secret
	create := "CREATE DATABASE " + name
	for _, o := range options {
		create += " " + o
	}
	runSQL(t, server, create)
	t.Cleanup(func() { runSQL(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("DATABASE_URL is no URL")
	}
	u.Path = "/" + name
	return u.String()
}

// Pooled returns the address of the same database through a pooler that gives each transaction another connection (POOLED_DATABASE_URL).
func Pooled(t testing.TB, database string) string {
	t.Helper()
	pooler, err := url.Parse(Address(t, "POOLED_DATABASE_URL"))
	if err != nil {
		t.Fatal("POOLED_DATABASE_URL is no URL")
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal("the address of the database is no URL")
	}
	u.Host = pooler.Host
	return u.String()
}

func runSQL(t testing.TB, server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to the PostgreSQL of the tests: %v", err)
	}
	defer func() { _ = c.Close(ctx) }() // the statement's error is what counts
	_, err = c.Exec(ctx, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// A PostgreSQL is a server of one test's own, which the test may kill and start again.
type PostgreSQL struct {
	URL  string
	Port int
	t    testing.TB
	env  []string
}

// StartPostgreSQL starts a server on a free port, with the given NAME=value settings of parts/postgres.sh.
func StartPostgreSQL(t testing.TB, settings ...string) *PostgreSQL {
	t.Helper()
	port := FreePort(t)
	settings = append(settings, fmt.Sprintf("PG_PORT=%d", port), "PARTS_RUN="+t.TempDir())
	printed := Start(t, "postgres", "psql", settings...)
	return &PostgreSQL{URL: printed["DATABASE_URL"], Port: port, t: t, env: append(os.Environ(), settings...)}
}

// StandbyOf starts a second server whose data are a copy of the one at address, host:port, and that follows it by streaming through the same
// address, so a Wire between the two can hold it back. Promote makes it a primary with what it has received.
func StandbyOf(t testing.TB, address string, settings ...string) *PostgreSQL {
	t.Helper()
	return StartPostgreSQL(t, append(settings, "PG_FROM="+address)...)
}

// Follow forgets all that the server has, and makes it a standby of the one at address.
func (p *PostgreSQL) Follow(address string) {
	p.t.Helper()
	p.run("reset")
	p.env = append(p.env, "PG_FROM="+address)
	p.run("up")
}

// Kill ends the server and all its children at once, as a crash does.
func (p *PostgreSQL) Kill() {
	p.t.Helper()
	p.run("kill")
}

// Start starts the server again on what it left.
func (p *PostgreSQL) Start() {
	p.t.Helper()
	p.run("start")
}

func (p *PostgreSQL) run(command string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", filepath.Join(root(p.t), "parts", "postgres.sh"), command)
	c.Env = p.env
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("postgres.sh %s: %v\n%s", command, err, out)
	}
}

// Promote makes the server the primary of a new timeline, as a standby that takes over is.
func (p *PostgreSQL) Promote() {
	p.t.Helper()
	p.run("promote")
}

// Demote makes the server a standby, of no primary that answers.
func (p *PostgreSQL) Demote() {
	p.t.Helper()
	p.run("demote")
}
