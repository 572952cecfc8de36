package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"tocsin/internal/store"
)

const (
	linkLife    = 15 * time.Minute    // of a one-time link
	inboundKept = 90 * 24 * time.Hour // ids of messages that were acted on
)

// newSecret returns 256 random bits as they stand in links and cookies.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashSecret is what the database keeps of a secret.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// IssueLoginLink returns an address that logs somebody in once, within 15 minutes. who is a person's name in the configuration, or a
// token's; person/NAME or robot/NAME where both have one.
func (s *Server) IssueLoginLink(ctx context.Context, who string) (string, error) {
	owner := who
	if !strings.HasPrefix(who, personPrefix) && !strings.HasPrefix(who, robotPrefix) {
		owner = personPrefix + who
		if _, ok := s.byName(owner); !ok {
			owner = robotPrefix + who
		}
	}
	if _, ok := s.byName(owner); !ok {
		return "", fmt.Errorf("login link: the configuration has no person and no token called %q", who)
	}
	secret := newSecret()
	err := s.DB.Update(ctx, store.Commands, func(tx *store.Tx) error {
		return tx.AddLoginLink(hashSecret(secret), owner, s.Now().Add(linkLife))
	})
	if err != nil {
		return "", fmt.Errorf("login link for %s: %w", who, err)
	}
	return strings.TrimSuffix(s.PublicURL(), "/") + "/login?token=" + secret, nil
}

// showLogin shows a button for a one-time link, so that no program that only looks at it uses it up; without a link, a form.
func (s *Server) showLogin(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	data := LoginData{Next: localPath(q.Get("next"))}
	if link := q.Get("token"); len(link) <= 100 {
		data.Link = link
	}
	s.drawLogin(w, http.StatusOK, data)
	return nil
}

func (s *Server) drawLogin(w http.ResponseWriter, status int, data LoginData) {
	pageHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	s.LoginPage(w, data)
}

// errLogin means that a link or token is not good.
var errLogin = errors.New("login refused")

// login makes a session of a one-time link or of a token.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	_, err := takeBody(w, r, maxBody)
	if err == nil {
		err = r.ParseForm()
	}
	if err != nil {
		return bad("body", "", "it is no form that can be read")
	}
	from := clientOf(r)
	data := LoginData{Next: localPath(r.PostForm.Get("next"))}
	if !s.tries.begin(from) {
		s.logins.WithLabelValues("limited").Inc()
		w.Header().Set("Retry-After", "60")
		data.Failed = "Too many tries from your address. Wait a minute, then try again."
		s.drawLogin(w, http.StatusTooManyRequests, data)
		return nil
	}
	link, token := r.PostForm.Get("link"), strings.TrimSpace(r.PostForm.Get("token"))
	secret, until, err := s.open(r, link, token)
	if !errors.Is(err, errLogin) {
		s.tries.forgive(from)
	}
	if errors.Is(err, errLogin) {
		s.logins.WithLabelValues("refused").Inc()
		data.Failed = "This token is not known here."
		if link != "" {
			data.Failed = "This link was used before, or is older than 15 minutes. Ask for a new one, or log in with a token."
		}
		s.drawLogin(w, http.StatusUnauthorized, data)
		return nil
	}
	if err != nil {
		return err
	}
	s.logins.WithLabelValues("done").Inc()
	s.setCookie(w, secret, until)
	to := data.Next
	if to == "" {
		to = "/"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// open begins a session, which takes the place of the one that the browser had.
func (s *Server) open(r *http.Request, link, token string) (secret string, until time.Time, err error) {
	now := s.Now()
	owner := ""
	if t, ok := s.byToken(token); ok {
		owner = robotPrefix + t.Name
	} else if link == "" {
		return "", until, errLogin
	}
	secret = newSecret()
	session := store.Session{Hash: hashSecret(secret), Since: now, Expires: expiry(now, now)}
	err = s.DB.Update(r.Context(), store.Commands, func(tx *store.Tx) error {
		session.Person = owner
		if owner == "" {
			person, err := tx.UseLoginLink(hashSecret(link), now)
			if errors.Is(err, store.ErrNotFound) {
				return errLogin
			}
			if err != nil {
				return err
			}
			session.Person = person
		}
		if old, err := r.Cookie(sessionCookie); err == nil {
			err = tx.EndSession(hashSecret(old.Value))
			if err != nil {
				return err
			}
		}
		return errors.Join(tx.AddSession(session), tx.DeleteExpired(now, inboundKept))
	})
	if err != nil {
		return "", until, err
	}
	if _, ok := s.byName(session.Person); !ok {
		return "", until, errLogin // the configuration has lost them since; the session is good for nothing
	}
	return secret, session.Expires, nil
}

// logout ends the session.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		err = s.DB.Update(r.Context(), store.Commands, func(tx *store.Tx) error { return tx.EndSession(hashSecret(cookie.Value)) })
		if err != nil {
			return err
		}
	}
	s.setCookie(w, "", time.Unix(1, 0))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

func (s *Server) setCookie(w http.ResponseWriter, value string, until time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", Expires: until, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.PublicURL(), "https://"),
	})
}

// pageHeaders are what browsers are told about every page: no script but our files, in nobody's frame, no address told to others.
func pageHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "+
		"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
}

// loginPath is where somebody who is not logged in is sent, to come back to u.
func loginPath(u *url.URL) string {
	next := localPath(u.RequestURI())
	if next == "" || next == "/" {
		return "/login"
	}
	return "/login?next=" + url.QueryEscape(next)
}

// localPath returns p if it is a path of ours, else "": nobody is led from our login to another site.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || len(p) > 2000 || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") ||
		strings.ContainsAny(p, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return ""
	}
	return p
}

// origin returns scheme and host of an address; "" where it has none.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// plainLogin is the login page where nobody draws a better one.
func plainLogin(w http.ResponseWriter, data LoginData) {
	fmt.Fprintf(w, `<!doctype html><html lang="en"><meta charset="utf-8"><title>tocsin</title><h1>tocsin</h1><p>%s</p><form method="post" action="/login">`+
		`<input type="hidden" name="next" value="%s">`, html.EscapeString(data.Failed), html.EscapeString(data.Next))
	if data.Link != "" {
		fmt.Fprintf(w, `<input type="hidden" name="link" value="%s">`, html.EscapeString(data.Link))
	} else {
		fmt.Fprint(w, `<label>Token <input type="password" name="token" autocomplete="current-password"></label> `)
	}
	fmt.Fprint(w, `<button>Log in</button></form></html>`)
}

// clientOf says where r comes from: an IPv4 address, or the /64 of an IPv6 one. Behind a proxy everybody comes from the proxy.
func clientOf(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

const (
	triesWithin = time.Minute
	triesMost   = 10     // failed logins of one address in that time
	triesKnown  = 10_000 // addresses that are remembered
)

// tries counts failed logins, and those under way, by where they come from: many at once are no way around the limit.
type tries struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[netip.Prefix]tally
}

type tally struct {
	since time.Time
	count int
}

func newTries(now func() time.Time) *tries { return &tries{now: now, by: map[netip.Prefix]tally{}} }

// begin reports whether a login from there may be tried now, and counts it as one that fails until forgive says that it did not. When too
// many addresses try, those of which the minute is over are forgotten, or all of them.
func (t *tries) begin(from netip.Prefix) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	n, known := t.by[from]
	if now.Sub(n.since) >= triesWithin {
		n = tally{since: now}
	}
	if n.count >= triesMost {
		return false
	}
	n.count++
	if !known && len(t.by) >= triesKnown {
		for k, v := range t.by {
			if now.Sub(v.since) >= triesWithin {
				delete(t.by, k)
			}
		}
	}
	if !known && len(t.by) >= triesKnown {
		clear(t.by)
	}
	t.by[from] = n
	return true
}

// forgive takes back one try, which did not fail.
func (t *tries) forgive(from netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.by[from]
	n.count--
	if n.count > 0 {
		t.by[from] = n
		return
	}
	delete(t.by, from)
}
