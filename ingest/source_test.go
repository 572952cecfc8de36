package ingest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tocsin"
)

var nothing = ParserFunc(func(context.Context, *Message) error { return nil })

func TestWhoSendsIsKnownByItsToken(t *testing.T) {
	sources, err := NewSources([]Source{
		{Name: "prometheus", Kind: Alertmanager, Tokens: []Token{HashToken("prom-secret"), HashToken("next-secret")}},
		{Name: "other", Kind: Alertmanager, Tokens: []Token{HashToken("other-secret")}},
		{Name: "scripts", Kind: JSON, Parser: nothing, Tokens: []Token{HashToken("scripts-secret")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ header, query, byToken, scripts string }{
		"as Bearer":                         {"Bearer prom-secret", "", "prometheus", ""},
		"as bearer, and the second token":   {"bearer  next-secret", "", "prometheus", ""},
		"as basic password, whoever it is":  {basic("anybody", "other-secret"), "", "other", ""},
		"as query parameter":                {"", "dry_run=1&token=prom-secret", "prometheus", ""},
		"the header wins over the query":    {"Bearer nonsense", "token=prom-secret", "", ""},
		"a token of another kind":           {"Bearer scripts-secret", "", "", "scripts"},
		"nothing at all":                    {"", "", "", ""},
		"an empty token":                    {"Bearer ", "token=", "", ""},
		"an empty password":                 {basic("anybody", ""), "", "", ""},
		"a scheme that nobody knows":        {"Digest prom-secret", "", "", ""},
		"basic without base64":              {"Basic prom-secret", "", "", ""},
		"a token with something behind it":  {"Bearer prom-secret2", "", "", ""},
		"a token with something missing":    {"Bearer prom-secre", "", "", ""},
		"the hash of a token is no token":   {"Bearer " + string(hashBytes("prom-secret")), "", "", ""},
		"a source is known by its password": {basic("", "scripts-secret"), "", "", "scripts"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/x?"+tc.query, nil)
			if tc.header != "" {
				r.Header.Set("Authorization", tc.header)
			}
			byToken, _ := sources.ByCredential(r, Alertmanager)
			byName, _ := sources.ByName(r, "scripts")
			if nameOf(byToken) != tc.byToken || nameOf(byName) != tc.scripts {
				t.Errorf("by token %q, by name %q, want %q and %q", nameOf(byToken), nameOf(byName), tc.byToken, tc.scripts)
			}
			if byJSON, _ := sources.ByCredential(r, JSON); nameOf(byJSON) != tc.scripts {
				t.Errorf("by token among kind json %q, want %q", nameOf(byJSON), tc.scripts)
			}
			if _, ok := sources.ByName(r, "unknown"); ok {
				t.Error("a source that nobody named is known")
			}
		})
	}
}

func TestEveryMistakeInSourcesIsTold(t *testing.T) {
	token := []Token{HashToken("a")}
	_, err := NewSources([]Source{
		{Name: "one", Kind: Alertmanager, Tokens: token},
		{Name: "one", Kind: Alertmanager, Tokens: []Token{HashToken("b")}},
		{Name: "two", Kind: Alertmanager, Tokens: token},
		{Name: "", Kind: Alertmanager, Tokens: []Token{HashToken("c")}},
		{Name: "a/b", Kind: Alertmanager, Tokens: []Token{HashToken("d")}},
		{Name: "bare", Kind: JSON, Parser: nothing},
		{Name: "unmapped", Kind: JSON, Tokens: token},
		{Name: "empty", Kind: JSON, Parser: nothing, Tokens: []Token{HashToken("")}},
		{Name: "keyless", Kind: PagerDuty},
		{Name: "legacy", Kind: PagerDuty, Keys: []RoutingKey{{Hash: HashToken("k")}, {Hash: HashToken("k")}, {Hash: HashToken("")}}},
		{Name: "slow", Kind: JSON, Parser: nothing, Tokens: token, Limit: Limit{PerSecond: -1}},
		{Name: "granted", Kind: Alertmanager, Tokens: []Token{HashToken("e")}, Grants: []Grant{"write"}},
		{Name: "doubled", Kind: JSON, Parser: nothing, Tokens: token, Labels: tocsin.Labels{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}},
	})
	want := strings.TrimSpace(`
sources.one: the name stands twice
sources.two.token: source one has the same token: nobody could tell who sends
sources.: name "": a source needs a name without a slash, it stands in addresses
sources.a/b: name "a/b": a source needs a name without a slash, it stands in addresses
sources.bare.token: a source needs a token: without one anybody may send
sources.unmapped.map: kind json needs a map that says where things are
sources.empty.token: the token is empty
sources.keyless.keys: kind pagerduty needs a key: it is what senders are known by
sources.legacy.keys[1].key: source legacy has the same key
sources.legacy.keys[2].key: the key is empty
sources.slow.limit: -1 alerts a second, 0 at once: nothing would ever be let in
sources.granted.grants: grant "write": one of send, read, silence
sources.doubled.labels: label "a" stands twice`)
	if err == nil || err.Error() != want {
		t.Errorf("mistakes\n got %v\nwant %s", err, want)
	}
}

func TestSourcesThatCannotReplaceTheOldOnesDoNot(t *testing.T) {
	first := Source{Name: "one", Kind: Alertmanager, Tokens: []Token{HashToken("a")}}
	sources, err := NewSources([]Source{first})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/?token=a", nil)
	if err := sources.Replace([]Source{{Name: "two", Kind: Alertmanager}}); err == nil {
		t.Fatal("a source without a token was taken")
	}
	if src, _ := sources.ByCredential(r, Alertmanager); nameOf(src) != "one" {
		t.Errorf("source after a bad reload = %q, want one", nameOf(src))
	}
	first.Name = "three"
	if err := sources.Replace([]Source{first}); err != nil {
		t.Fatal(err)
	}
	if src, _ := sources.ByCredential(r, Alertmanager); nameOf(src) != "three" {
		t.Errorf("source after a good reload = %q, want three", nameOf(src))
	}
}

func TestWhatASourceUsedOfItsLimitOutlivesAReload(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	one := Source{Name: "one", Kind: Alertmanager, Tokens: []Token{HashToken("a")}, Limit: Limit{PerSecond: 1, Burst: 2}}
	sources, err := NewSources([]Source{one})
	if err != nil {
		t.Fatal(err)
	}
	get := func() *Source { return sources.now.Load().byName["one"] }
	if wait := get().wait(now, 2); wait != 0 {
		t.Fatalf("wait for the burst = %s, want 0", wait)
	}
	if err := sources.Replace([]Source{one}); err != nil {
		t.Fatal(err)
	}
	if wait := get().wait(now, 1); wait != time.Second {
		t.Errorf("wait after the same limit was read again = %s, want 1s", wait)
	}
	one.Limit.Burst = 3
	if err := sources.Replace([]Source{one}); err != nil {
		t.Fatal(err)
	}
	if wait := get().wait(now, 100); wait != 0 {
		t.Errorf("wait of more than a burst under a new limit = %s, want 0: it is let in once the whole burst is free", wait)
	}
	if wait := get().exhausted(now); wait != time.Second {
		t.Errorf("wait of a source that has nothing left = %s, want 1s", wait)
	}
}

func TestASourcesOwnWordsComeBeforeThoseThatEverybodyKnows(t *testing.T) {
	src := &Source{Severity: map[string]tocsin.Severity{"P1": tocsin.Info, "weird": tocsin.Warning}}
	for word, want := range map[string]tocsin.Severity{"P1": tocsin.Info, "weird": tocsin.Warning, "critical": tocsin.Critical, "WARN": tocsin.Warning, "unheard": tocsin.Error, "": tocsin.Error} {
		if got, _ := src.SeverityOf(word); got != want {
			t.Errorf("severity of %q = %s, want %s", word, got, want)
		}
	}
}

func nameOf(s *Source) string {
	if s == nil {
		return ""
	}
	return s.Name
}

func basic(user, password string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func hashBytes(secret string) []byte {
	h := HashToken(secret)
	return h[:]
}
