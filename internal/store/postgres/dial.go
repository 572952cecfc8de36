package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// oldest is the oldest server that is used, as server_version_num has it.
const oldest = 140000

// server is what is known of the servers behind the address.
type server struct {
	pooled   atomic.Bool  // a pooler stands between: no state of a session lasts
	timeless atomic.Bool  // it does not tell its timeline
	timeline atomic.Int64 // the newest one seen
}

var (
	errDSN     = errors.New("the address of the database cannot be read: it looks like postgres://user:password@host:5432/database?sslmode=verify-full, with %XX for special characters")
	errStandby = errors.New("the server is a standby, which cannot be written: name the primary, or all of them with commas between")
	errPast    = errors.New("the server is an old primary: a newer one has taken its place")
)

// parse reads dsn and gives it our limits. The error does not say what stands in it.
func (db *DB) parse(dsn string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, unread(dsn, err)
	}
	config.MaxConnIdleTime = 5 * time.Minute
	config.PingTimeout = silence
	c := config.ConnConfig
	if c.ConnectTimeout <= 0 || c.ConnectTimeout > dialLimit {
		c.ConnectTimeout = dialLimit
	}
	c.DialFunc = (&net.Dialer{Timeout: c.ConnectTimeout, KeepAlive: 15 * time.Second}).DialContext
	c.RuntimeParams["client_encoding"] = "UTF8"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "tocsin"
	}
	db.rivals = rivals(&c.Config)
	c.ValidateConnect = db.validate
	config.PrepareConn = db.current
	return config, nil
}

// unread makes an error of a DSN that cannot be read, without anything of its password.
func unread(dsn string, err error) error {
	why, ok := errors.AsType[*pgconn.ParseConfigError](err)
	u, bad := url.Parse(dsn)
	if !ok || bad != nil || u.User == nil || u.Host == "" {
		return errDSN
	}
	text := why.Error()
	_, text, _ = strings.Cut(text, "`: ") // what stands before quotes the address
	secret, _ := u.User.Password()
	if text == "" || secret != "" && strings.Contains(text, secret) {
		return errDSN
	}
	return fmt.Errorf("%w (%s)", errDSN, text)
}

// Place says in words which database dsn names, without user and password.
func Place(dsn string) (string, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return "", unread(dsn, err)
	}
	return place(config), nil
}

// place names the database without its password.
func place(c *pgxpool.Config) string {
	host := c.ConnConfig.Host
	if !strings.HasPrefix(host, "/") {
		host = net.JoinHostPort(host, strconv.Itoa(int(c.ConnConfig.Port)))
	}
	return fmt.Sprintf("%s at %s", c.ConnConfig.Database, host)
}

// validate refuses a server that cannot be written, or that has been replaced. The next one of the address is then tried.
func (db *DB) validate(ctx context.Context, pg *pgconn.PgConn) error {
	row, err := single(ctx, pg, "SELECT pg_is_in_recovery(), pg_backend_pid()")
	if err != nil {
		return err
	}
	if row[0] != "f" {
		return errStandby
	}
	if row[1] != strconv.FormatUint(uint64(pg.PID()), 10) && db.server.pooled.CompareAndSwap(false, true) {
		db.log.Info("a pooler stands before the database: changes of other nodes are found by polling alone")
	}
	if db.server.timeless.Load() {
		return nil
	}
	row, err = single(ctx, pg, askTimeline)
	if err != nil && !pg.IsClosed() {
		db.server.timeless.Store(true)
		db.log.Info("the server does not tell its timeline: an old primary that comes back is not told from the new one", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	now, err := parseTimeline(row[0])
	if err != nil {
		return err
	}
	pg.CustomData()[timelineOf] = now
	db.survey(ctx)
	return db.server.follow(now)
}

// follow takes note of a timeline, and refuses one that is over.
func (s *server) follow(now int64) error {
	for {
		seen := s.timeline.Load()
		if now < seen {
			return fmt.Errorf("%w (timeline %d, after %d was seen)", errPast, now, seen)
		}
		if now == seen || s.timeline.CompareAndSwap(seen, now) {
			return nil
		}
	}
}

// single returns the one row of a statement without arguments, as text.
func single(ctx context.Context, pg *pgconn.PgConn, query string) ([]string, error) {
	results, err := pg.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("PostgreSQL answered %q with no single row", query)
	}
	row := make([]string, len(results[0].Rows[0]))
	for i, v := range results[0].Rows[0] {
		row[i] = string(v)
	}
	return row, nil
}

// brief is the last of what was tried to connect, without the lines of the others: pgconn tries with and without TLS, and every address of a name.
func brief(e *pgconn.ConnectError) error {
	if pg, ok := errors.AsType[*pgconn.PgError](e); ok {
		return pg
	}
	for _, known := range []error{errStandby, errPast} {
		if errors.Is(e, known) {
			return known
		}
	}
	return e
}

// explain says of an error at the start what a person can do about it.
func explain(config *pgxpool.Config, err error) error {
	c := config.ConnConfig
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "28P01", "28000":
			return fmt.Errorf("the server does not let user %q in: the password is wrong, or pg_hba.conf does not allow it: %w", c.User, e)
		case "3D000":
			return fmt.Errorf("there is no database %q on the server: create it, for instance by `createdb --encoding=UTF8 %s`: %w", c.Database, c.Database, e)
		case "42501":
			return fmt.Errorf("user %q may not create tables there: make it the owner of the database, or GRANT CREATE ON SCHEMA public TO it: %w", c.User, e)
		}
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "server refused TLS connection"):
		return fmt.Errorf("the server does not speak TLS: turn it on there (ssl = on), or, on a network that you trust, give sslmode=disable: %w", err)
	case strings.Contains(text, "tls: ") || strings.Contains(text, "x509: "):
		return fmt.Errorf("the server's certificate was not accepted: see sslmode and sslrootcert of the address: %w", err)
	case strings.Contains(text, "connection refused"):
		return fmt.Errorf("nobody listens there: is the address right, and does PostgreSQL run with listen_addresses set? %w", err)
	case strings.Contains(text, "no such host"):
		return fmt.Errorf("there is no host %q: %w", c.Host, err)
	case pgconn.Timeout(err):
		return fmt.Errorf("nobody answered within %s: is a firewall between? %w", c.ConnectTimeout, err)
	}
	return err
}
