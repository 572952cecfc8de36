package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"tocsin/ingest"
	"tocsin/internal/store"
)

// identity is who is behind a request.
type identity struct {
	name   string
	role   string
	robot  bool // may act in the name of people
	cookie bool // known by a browser's session: other sites may have made the request
}

// identityKey is where a request carries who is behind it, from the table of routes to the page that asks.
type identityKey struct{}

// Who returns who is logged in behind r, as the configuration names the person or the robot, and the role that goes with it. It
// is false where nobody is, on pages that are Public.
func Who(r *http.Request) (name, role string, ok bool) {
	id, ok := r.Context().Value(identityKey{}).(identity)
	return id.name, id.role, ok
}

func whoIs(r *http.Request) identity {
	id, _ := r.Context().Value(identityKey{}).(identity)
	return id
}

// errNobody means that a request carries no credential that is good here.
var errNobody = errors.New("nobody we know")

// guard puts the rule of t before its handler.
func (s *Server) guard(t route) http.Handler {
	if t.who == sender || t.who == public && !t.page {
		return t.handle
	}
	return s.do(func(w http.ResponseWriter, r *http.Request) error {
		if t.page {
			pageHeaders(w.Header())
		}
		id, err := s.identify(w, r, t.who == source)
		switch {
		case errors.Is(err, errNobody) && (t.who == public || t.who == guest):
		case errors.Is(err, errNobody) && t.page && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			http.Redirect(w, r, loginPath(r.URL), http.StatusSeeOther)
			return nil
		case errors.Is(err, errNobody):
			return refuse(http.StatusUnauthorized, "log in, or send a token of the configuration's access section as Bearer")
		case err != nil:
			return err
		case !t.who.allows(id.role):
			return refuse(http.StatusForbidden, "the role "+id.role+" is not enough for this")
		default:
			r = r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
		}
		if id.cookie || t.who == guest {
			err = s.sameOrigin(r)
			if err != nil {
				return err
			}
		}
		t.handle.ServeHTTP(w, r)
		return nil
	})
}

// sameOrigin refuses what another site made a browser send.
func (s *Server) sameOrigin(r *http.Request) error {
	var c http.CrossOriginProtection
	if base := origin(s.PublicURL()); base != "" {
		err := c.AddTrustedOrigin(base)
		if err != nil {
			return err
		}
	}
	if c.Check(r) != nil {
		return refuse(http.StatusForbidden, "this was sent by a page of another site")
	}
	return nil
}

// identify finds out who is behind r: by a token in its head, else by a session. With sources, a token of a source that may read
// is enough.
func (s *Server) identify(w http.ResponseWriter, r *http.Request, sources bool) (identity, error) {
	if r.Header.Get("Authorization") != "" || sources && r.URL.Query().Has("token") {
		secret, ok := ingest.Credential(r)
		if !ok {
			return identity{}, errNobody
		}
		if t, ok := s.byToken(secret); ok && r.Header.Get("Authorization") != "" {
			return identity{name: t.Name, role: t.Role, robot: true}, nil
		}
		if src, ok := s.Sources.ByCredential(r, ingest.Alertmanager); ok && sources && src.May(ingest.Read) {
			return identity{name: src.Name, role: "auditor"}, nil
		}
		return identity{}, errNobody
	}
	return s.bySession(w, r)
}

// byToken returns the token whose secret this is.
func (s *Server) byToken(secret string) (found Token, ok bool) {
	hash := ingest.HashToken(secret)
	for _, t := range s.Tokens() {
		if subtle.ConstantTimeCompare(hash[:], t.Hash[:]) == 1 && secret != "" {
			found, ok = t, true // no early end: how long it takes says nothing
		}
	}
	return found, ok
}

// Sessions keep their owner's name behind what it is a name of: a robot's is no person's.
const (
	personPrefix = "person/"
	robotPrefix  = "robot/"
)

// byName returns who is meant by what a session or link keeps; false once the configuration has nobody of that name.
func (s *Server) byName(owner string) (identity, bool) {
	if name, ok := strings.CutPrefix(owner, robotPrefix); ok {
		for _, t := range s.Tokens() {
			if t.Name == name {
				return identity{name: name, role: t.Role, robot: true, cookie: true}, true
			}
		}
		return identity{}, false
	}
	p, ok := s.Desk.Person(strings.TrimPrefix(owner, personPrefix))
	return identity{name: p.Name, role: p.Role, cookie: true}, ok
}

const (
	sessionCookie = "tocsin_session"
	sessionLife   = 30 * 24 * time.Hour
	sessionIdle   = 12 * time.Hour
	sessionRenew  = time.Hour // a session in use is written at most this often
)

// bySession finds out who is behind the session that r carries, and renews one that is in use; with no w it is only looked at.
func (s *Server) bySession(w http.ResponseWriter, r *http.Request) (identity, error) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" || len(cookie.Value) > 100 {
		return identity{}, errNobody
	}
	var session store.Session
	now := s.Now()
	err = s.view(r.Context(), func(tx *store.Tx) error {
		session, err = tx.Session(hashSecret(cookie.Value), now)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return identity{}, errNobody
	}
	if err != nil {
		return identity{}, err
	}
	id, ok := s.byName(session.Person)
	if !ok {
		return identity{}, errNobody
	}
	until := expiry(now, session.Since)
	if w == nil || until.Sub(session.Expires) < sessionRenew {
		return id, nil
	}
	session.Expires = until
	err = s.DB.Update(r.Context(), store.Commands, func(tx *store.Tx) error {
		// Nothing is renewed that was ended meanwhile.
		_, err := tx.Session(session.Hash, now)
		if errors.Is(err, store.ErrNotFound) {
			return errNobody
		}
		return errors.Join(err, tx.EndSession(session.Hash), tx.AddSession(session))
	})
	if errors.Is(err, errNobody) {
		return identity{}, errNobody
	}
	if err != nil {
		s.Log.Warn("session not renewed", "error", err) // it is good for a while yet
		return id, nil
	}
	s.setCookie(w, cookie.Value, until)
	return id, nil
}

// expiry is when a session that began at since ends if nobody uses it after now.
func expiry(now, since time.Time) time.Time {
	until, last := now.Add(sessionIdle), since.Add(sessionLife)
	if until.After(last) {
		return last
	}
	return until
}
