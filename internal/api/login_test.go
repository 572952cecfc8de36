package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAOneTimeLinkLogsInOnce(t *testing.T) {
	var drawn LoginData
	b := newBench(t, func(o *Options) {
		o.LoginPage = func(w http.ResponseWriter, data LoginData) {
			drawn = data
			_, _ = io.WriteString(w, "page")
		}
	})
	link, err := b.IssueLoginLink(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	secret, ok := strings.CutPrefix(link, "https://p.example.org/login?token=")
	if !ok || len(secret) < 40 {
		t.Fatalf("link %s", link)
	}
	for range 3 { // looking does not use it up
		if got := b.send("GET", "/login?token="+secret+"&next=/i/42", ""); got.status != 200 || drawn != (LoginData{Link: secret, Next: "/i/42"}) {
			t.Fatalf("the link shows %d, %+v", got.status, drawn)
		}
	}
	got := b.form("/login", "link="+secret+"&next=/i/42")
	cookie := got.header.Get("Set-Cookie")
	if got.status != 303 || got.header.Get("Location") != "/i/42" {
		t.Fatalf("the button answers %d %s", got.status, got.header.Get("Location"))
	}
	for _, part := range []string{"tocsin_session=", "HttpOnly", "SameSite=Lax", "Secure", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie %s has no %s", cookie, part)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	if got := b.send("GET", "/", "", "Cookie", value); got.body != "one is responder" {
		t.Errorf("the session is %q", got.body)
	}
	if got := b.form("/login", "link="+secret); got.status != 401 || !strings.Contains(drawn.Failed, "used before") {
		t.Errorf("the link a second time: %d %+v", got.status, drawn)
	}
	if got := b.form("/logout", "", "Cookie", value); got.status != 303 {
		t.Errorf("logout %d", got.status)
	}
	if got := b.send("GET", "/", "", "Cookie", value); got.status != 303 || got.header.Get("Location") != "/login" {
		t.Errorf("after the logout: %d %s", got.status, got.header.Get("Location"))
	}
}

func TestWhatDoesNotLogIn(t *testing.T) {
	b := newBench(t, nil)
	link, err := b.IssueLoginLink(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(link, "?token=")
	if _, err := b.IssueLoginLink(t.Context(), "nobody"); err == nil {
		t.Error("a link for nobody")
	}
	for name, head := range map[string][]string{
		"a form of another site":               {"Sec-Fetch-Site", "cross-site"},
		"a form of another site's old browser": {"Origin", "https://evil.example.org"},
	} {
		if got := b.form("/login", "link="+secret, head...); got.status != 403 {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	b.now = start.Add(16 * time.Minute)
	for name, form := range map[string]string{"a link that is too old": "link=" + secret, "no link and no token": "", "a wrong token": "token=robot", "a source's token": "token=prom-secret"} {
		if got := b.form("/login", form); got.status != 401 || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s", name, got.status, got.header.Get("Set-Cookie"))
		}
	}
	if got := b.form("/login", "token=robot-secret&next=//evil.example.org", "Origin", "https://p.example.org"); got.status != 303 || got.header.Get("Location") != "/" {
		t.Errorf("a login by token leads to %d %s", got.status, got.header.Get("Location"))
	}
}

func TestFailedLoginsAreSlowedDown(t *testing.T) {
	b := newBench(t, nil)
	for n := range triesMost {
		if got := b.form("/login", "token=guess"); got.status != 401 {
			t.Fatalf("guess %d: %d", n, got.status)
		}
	}
	got := b.form("/login", "token=robot-secret")
	if got.status != 429 || got.header.Get("Retry-After") != "60" {
		t.Errorf("after %d guesses: %d", triesMost, got.status)
	}
	b.now = b.now.Add(time.Minute)
	if got := b.form("/login", "token=robot-secret"); got.status != 303 {
		t.Errorf("a minute later: %d", got.status)
	}
}

func TestWhoGuessesKeepsNobodyElseOut(t *testing.T) {
	b := newBench(t, nil)
	from := func(address, token string) int {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		b.Handler().ServeHTTP(w, r)
		return w.Code
	}
	var all sync.WaitGroup
	var refused, limited atomic.Int64
	for range 50 { // at once: that is no way around the limit
		all.Go(func() {
			switch from("192.0.2.1:1000", "guess") {
			case http.StatusUnauthorized:
				refused.Add(1)
			case http.StatusTooManyRequests:
				limited.Add(1)
			}
		})
	}
	all.Wait()
	if refused.Load() != triesMost || limited.Load() != 50-triesMost {
		t.Errorf("of 50 guesses at once %d were tried and %d put off, want %d and %d", refused.Load(), limited.Load(), triesMost, 50-triesMost)
	}
	for n := range 2 * triesMost {
		from(fmt.Sprintf("[2001:db8::%x]:1000", n), "guess")
	}
	for address, want := range map[string]int{
		"192.0.2.1:2000": 429, "[::ffff:192.0.2.1]:1": 429, "192.0.2.2:1000": 303, "[2001:db8::ffff]:1": 429, "[2001:db8:0:1::1]:1": 303,
	} {
		if got := from(address, "robot-secret"); got != want {
			t.Errorf("a good token from %s: %d, want %d", address, got, want)
		}
	}
	for range 3 * triesMost { // who may come in may do so as often as they like
		if got := from("192.0.2.3:1000", "robot-secret"); got != 303 {
			t.Fatalf("a good token: %d", got)
		}
	}
}

func TestGuessesFromEverywhereTakeBoundedMemory(t *testing.T) {
	now := start
	s := newTries(func() time.Time { return now })
	at := func(n int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
	}
	for n := range 3 * triesKnown {
		if !s.begin(at(n)) {
			t.Fatalf("address %d may not try", n)
		}
		if len(s.by) > triesKnown {
			t.Fatalf("%d addresses are remembered", len(s.by))
		}
	}
	now = now.Add(triesWithin)
	for n := range triesKnown {
		s.begin(at(n))
	}
	last := at(triesKnown - 1)
	for range triesMost {
		s.begin(last)
	}
	if len(s.by) > triesKnown || s.begin(last) {
		t.Errorf("%d addresses are remembered, or the last one was forgotten", len(s.by))
	}
}

func TestASessionLivesWhileItIsUsedButNotForEver(t *testing.T) {
	b := newBench(t, nil)
	cookie := b.session("robot/robot")
	alive := func() bool { return b.send("GET", "/", "", "Cookie", cookie).status == 200 }
	b.now = start.Add(11 * time.Hour)
	if !alive() {
		t.Fatal("ended after 11 hours")
	}
	b.now = start.Add(22 * time.Hour)
	if !alive() {
		t.Fatal("was not renewed by its use")
	}
	b.now = start.Add(34*time.Hour + time.Second)
	if alive() {
		t.Error("12 hours without use do not end it")
	}
	cookie = b.session("robot/robot")
	began := b.now
	for b.now.Before(began.Add(sessionLife - 6*time.Hour)) {
		b.now = b.now.Add(6 * time.Hour)
		if !alive() {
			t.Fatalf("ended %s after its begin", b.now.Sub(began))
		}
	}
	b.now = began.Add(sessionLife)
	if alive() {
		t.Error("30 days do not end it")
	}
}

func TestAnotherSiteCannotActByAPersonsSession(t *testing.T) {
	b := newBench(t, nil)
	b.fill()
	cookie := b.session("one")
	for _, head := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example.org"}} {
		if got := b.send("POST", "/api/v1/incidents/42/ack", "", append(head, "Cookie", cookie)...); got.status != 403 {
			t.Errorf("%v: %d", head, got.status)
		}
	}
	if got := b.send("POST", "/api/v1/incidents/42/ack", "", "Cookie", cookie, "Origin", "https://p.example.org"); got.status != 200 {
		t.Errorf("our own page: %d %s", got.status, got.body)
	}
}

func TestPagesTellBrowsersWhatTheyMayNot(t *testing.T) {
	b := newBench(t, nil)
	for _, target := range []string{"/", "/login"} {
		h := b.send("GET", target, "").header
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe-inline") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", target, h)
		}
	}
	if got := b.send("GET", "/?x=%2F", ""); got.header.Get("Location") != "/login?next=%2F%3Fx%3D%252F" {
		t.Errorf("sent to %s", got.header.Get("Location"))
	}
}
