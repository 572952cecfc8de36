package store

import (
	"errors"
	"time"
)

// A Session is one login. The database has only the hash of what the browser holds.
type Session struct {
	Hash    string
	Person  string
	Since   time.Time
	Expires time.Time
}

// AddLoginLink keeps a one-time link for person, by the hash of its secret.
func (t *Tx) AddLoginLink(hash, person string, expires time.Time) error {
	_, err := t.exec("add a login link", "INSERT INTO login_link (hash, person, expires) VALUES ($1, $2, $3)", hash, person, micros(expires))
	return err
}

// UseLoginLink ends a one-time link and returns whom it is for; ErrNotFound where there is none, it was used or has expired.
func (t *Tx) UseLoginLink(hash string, now time.Time) (person string, err error) {
	return one(t, "login link", func(r Row) (string, error) { return r.Text(0), nil },
		"DELETE FROM login_link WHERE hash = $1 AND expires > $2 RETURNING person", hash, micros(now))
}

// AddSession keeps a session.
func (t *Tx) AddSession(s Session) error {
	_, err := t.exec("add a session", "INSERT INTO login_session (hash, person, since, expires) VALUES ($1, $2, $3, $4)", s.Hash, s.Person, micros(s.Since), micros(s.Expires))
	return err
}

// Session returns the session with this hash; ErrNotFound where there is none or it has expired.
func (t *Tx) Session(hash string, now time.Time) (Session, error) {
	return one(t, "session", func(r Row) (Session, error) {
		return Session{Hash: r.Text(0), Person: r.Text(1), Since: r.Time(2), Expires: r.Time(3)}, nil
	}, "SELECT hash, person, since, expires FROM login_session WHERE hash = $1 AND expires > $2", hash, micros(now))
}

// EndSession deletes a session; one that is not there is no error.
func (t *Tx) EndSession(hash string) error {
	_, err := t.exec("end a session", "DELETE FROM login_session WHERE hash = $1", hash)
	return err
}

// DeleteExpired deletes links and sessions that have expired at now, and the ids of inbound messages older than keep.
func (t *Tx) DeleteExpired(now time.Time, keep time.Duration) error {
	_, links := t.exec("delete expired links", "DELETE FROM login_link WHERE expires <= $1", micros(now))
	_, sessions := t.exec("delete expired sessions", "DELETE FROM login_session WHERE expires <= $1", micros(now))
	_, inbound := t.exec("delete old inbound ids", "DELETE FROM inbound WHERE at < $1", micros(now.Add(-keep)))
	return errors.Join(links, sessions, inbound)
}
