package ingest

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"tocsin"
)

// Kind is what a source speaks; it is the `kind:` of the configuration.
type Kind string

// The kinds whose doors exist.
const (
	Alertmanager Kind = "alertmanager"
	PagerDuty    Kind = "pagerduty"
	JSON         Kind = "json"
)

// Grant is one thing that a source's token may be used for.
type Grant string

// The grants of a source of kind alertmanager; other kinds only send.
const (
	Send    Grant = "send"
	Read    Grant = "read"
	Silence Grant = "silence"
)

// A Token is what is kept of a secret: its SHA-256.
type Token [sha256.Size]byte

// HashToken returns what is kept of secret.
func HashToken(secret string) Token { return sha256.Sum256([]byte(secret)) }

// is compares in constant time.
func (t Token) is(other Token) bool { return subtle.ConstantTimeCompare(t[:], other[:]) == 1 }

// A RoutingKey is one integration key of a source of kind pagerduty.
type RoutingKey struct {
	Hash   Token
	Labels tocsin.Labels // set on what is sent with this key, over the source's
}

// A Limit is how fast one source may send; the zero value is no limit.
type Limit struct {
	PerSecond float64 // alerts a second, in the long run
	Burst     int     // alerts at once; 0 means ten seconds' worth
}

// A Source is one sender, or one group of senders, as the configuration names it. Those that Sources hands out are not to
// be changed.
type Source struct {
	Name     string
	Kind     Kind
	Identity string                     // what alerts are told apart by; replicas may share one; "" means Name
	Tokens   []Token                    // any of them lets a sender in; kind pagerduty has Keys instead
	Keys     []RoutingKey               // kind pagerduty
	Labels   tocsin.Labels              // set on every alert; they win over the sender's, which may not choose them
	Severity map[string]tocsin.Severity // the sender's word: ours; other words mean what SeverityOf says
	Grants   []Grant                    // what Tokens may be used for; none means all
	Parser   Parser                     // what a body means, for kinds that come by POST /in/{source}
	Limit    Limit

	limiter *rate.Limiter // nil: no limit
}

// May reports whether a sender with the source's token may do g.
func (s *Source) May(g Grant) bool { return len(s.Grants) == 0 || slices.Contains(s.Grants, g) }

// SeverityOf returns which severity a sender's word means: by the source's own table, else by the words that everybody
// knows. known is false for a word that neither has, which is an Error.
func (s *Source) SeverityOf(word string) (sev tocsin.Severity, known bool) {
	if len(s.Severity) > 0 {
		if sev, ok := s.Severity[word]; ok {
			return sev, true
		}
	}
	if sev, ok := tocsin.ParseSeverity(word); ok {
		return sev, true
	}
	return tocsin.SeverityOf(word)
}

// A SettingError is a mistake in one source's settings.
type SettingError struct {
	Path string // below sources:, such as legacy.keys[0]
	Err  error
}

func (e *SettingError) Error() string { return "sources." + e.Path + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// Sources is who may send. It may be used and replaced at the same time.
type Sources struct {
	now atomic.Pointer[table]
}

// A table is one state of Sources; it never changes.
type table struct {
	byName  map[string]*Source
	byToken map[Kind]map[Token]*Source
	byKey   map[Token]route
}

// A route is what a routing key stands for.
type route struct {
	source *Source
	hash   Token
	labels tocsin.Labels // the source's and the key's
	scope  string        // alerts of two keys are never one, even under one dedup_key
}

// NewSources returns the sources of list, or every mistake in it, joined; each is a *SettingError.
func NewSources(list []Source) (*Sources, error) {
	s := new(Sources)
	s.now.Store(new(table))
	err := s.Replace(list)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Replace puts list in the place of all sources. On an error, which is as that of NewSources, the old ones stay. What a
// limited source has used of its limit is kept where the limit is the same.
func (s *Sources) Replace(list []Source) error {
	old := s.now.Load()
	t := &table{byName: map[string]*Source{}, byToken: map[Kind]map[Token]*Source{}, byKey: map[Token]route{}}
	var errs []error
	for _, src := range list {
		errs = append(errs, t.add(src, old.byName[src.Name])...)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.now.Store(t)
	return nil
}

// add puts src into t and returns every mistake in it; old is the source of that name before, or nil.
func (t *table) add(src Source, old *Source) []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &SettingError{src.Name + field, fmt.Errorf(format, args...)})
	}
	if src.Name == "" || strings.ContainsAny(src.Name, "/\x00") {
		wrong("", "name %q: a source needs a name without a slash, it stands in addresses", src.Name)
	}
	if t.byName[src.Name] != nil {
		wrong("", "the name stands twice")
	}
	src.Identity = cmp.Or(src.Identity, src.Name)
	labels, err := slices.Clone(src.Labels).Normalize()
	if err != nil {
		wrong(".labels", "%w", err)
	}
	src.Labels = labels
	src.limiter, err = src.Limit.limiter(old)
	if err != nil {
		wrong(".limit", "%w", err)
	}
	for _, g := range src.Grants {
		if g != Send && g != Read && g != Silence {
			wrong(".grants", "grant %q: one of send, read, silence", g)
		}
	}
	if src.Kind == JSON && src.Parser == nil {
		wrong(".map", "kind json needs a map that says where things are")
	}
	t.addTokens(&src, wrong)
	t.addKeys(&src, wrong)
	t.byName[src.Name] = &src
	return errs
}

func (t *table) addTokens(src *Source, wrong func(field, format string, args ...any)) {
	if len(src.Tokens) == 0 && src.Kind != PagerDuty {
		wrong(".token", "a source needs a token: without one anybody may send")
	}
	byToken := t.byToken[src.Kind]
	if byToken == nil {
		byToken = map[Token]*Source{}
		t.byToken[src.Kind] = byToken
	}
	for _, token := range src.Tokens {
		other := byToken[token]
		switch {
		case token == HashToken(""), token == Token{}:
			wrong(".token", "the token is empty")
		case other != nil && src.Kind == Alertmanager:
			wrong(".token", "source %s has the same token: nobody could tell who sends", other.Name)
		}
		byToken[token] = src
	}
}

func (t *table) addKeys(src *Source, wrong func(field, format string, args ...any)) {
	if len(src.Keys) == 0 && src.Kind == PagerDuty {
		wrong(".keys", "kind pagerduty needs a key: it is what senders are known by")
	}
	for i, key := range src.Keys {
		at := fmt.Sprintf(".keys[%d]", i)
		other, taken := t.byKey[key.Hash]
		switch {
		case key.Hash == HashToken(""), key.Hash == Token{}:
			wrong(at+".key", "the key is empty")
		case taken:
			wrong(at+".key", "source %s has the same key", other.source.Name)
		}
		labels, err := slices.Clone(key.Labels).Normalize()
		if err != nil {
			wrong(at+".labels", "%w", err)
		}
		all := src.Labels
		for _, l := range labels {
			all = all.With(l.Name, l.Value)
		}
		t.byKey[key.Hash] = route{src, key.Hash, all, src.Identity + "/" + hex.EncodeToString(key.Hash[:8])}
	}
}

// limiter returns the limiter of l, the old source's if that had the same limit; nil if there is none.
func (l Limit) limiter(old *Source) (*rate.Limiter, error) {
	switch {
	case l == Limit{}:
		return nil, nil
	case l.PerSecond <= 0 || l.Burst < 0:
		return nil, fmt.Errorf("%g alerts a second, %d at once: nothing would ever be let in", l.PerSecond, l.Burst)
	case old != nil && old.Limit == l:
		return old.limiter, nil
	}
	return rate.NewLimiter(rate.Limit(l.PerSecond), cmp.Or(l.Burst, max(1, int(10*l.PerSecond)))), nil
}

// wait returns how long the source has to wait before it may send n alerts, and takes them from its limit if that is 0. More
// than the burst at once are let in once the whole burst is free.
func (s *Source) wait(now time.Time, n int) time.Duration {
	if s.limiter == nil || n == 0 {
		return 0
	}
	r := s.limiter.ReserveN(now, min(n, s.limiter.Burst()))
	d := r.DelayFrom(now)
	if d > 0 {
		r.CancelAt(now)
	}
	return d
}

// exhausted reports how long a source that has nothing left of its limit has to wait for the next alert.
func (s *Source) exhausted(now time.Time) time.Duration {
	if s.limiter == nil {
		return 0
	}
	short := 1 - s.limiter.TokensAt(now)
	if short <= 0 {
		return 0
	}
	return time.Duration(short / s.Limit.PerSecond * float64(time.Second))
}

// ByCredential returns the source of that kind whose token r carries.
func (s *Sources) ByCredential(r *http.Request, kind Kind) (*Source, bool) {
	secret, ok := Credential(r)
	if !ok {
		return nil, false
	}
	hash := HashToken(secret)
	// A map tells by its timing at most something of the hash of what was sent, and nothing of the secret.
	src := s.now.Load().byToken[kind][hash]
	return src, src != nil
}

// ByName returns the source of that name if r carries one of its tokens. Whether there is a source of that name cannot be
// told from the answer.
func (s *Sources) ByName(r *http.Request, name string) (*Source, bool) {
	secret, ok := Credential(r)
	hash := HashToken(secret)
	src := s.now.Load().byName[name]
	if src == nil || !ok {
		return nil, false
	}
	known := false
	for _, t := range src.Tokens {
		known = t.is(hash) || known
	}
	if !known {
		return nil, false
	}
	return src, true
}

// route returns what routing key key stands for.
func (s *Sources) route(key string) (route, bool) {
	r, ok := s.now.Load().byKey[HashToken(key)]
	return r, ok
}

// Credential returns the secret that r carries: a Bearer token, the password of basic authentication (with any user), or
// else the query parameter token. The header wins. It is false where there is none or an empty one.
func Credential(r *http.Request) (secret string, ok bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		if strings.Contains(r.URL.RawQuery, "token=") {
			secret = r.URL.Query().Get("token")
		}
		return secret, secret != ""
	}
	const bearer = "Bearer "
	if len(header) > len(bearer) && strings.EqualFold(header[:len(bearer)], bearer) {
		secret = strings.TrimSpace(header[len(bearer):])
		return secret, secret != ""
	}
	_, secret, _ = r.BasicAuth()
	return secret, secret != ""
}
