package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
)

// A bench is a receiver with a door that makes one event of each text in a list of texts; "bad" is refused.
type bench struct {
	mu       sync.Mutex
	accepted []string // keys
	counted  []string
	err      error // what Accept says
	now      time.Time
	handler  http.Handler
}

func newBench(t testing.TB, o Options, limit Limit) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	sources, err := NewSources([]Source{
		{Name: "one", Kind: Alertmanager, Tokens: []Token{HashToken("secret")}, Limit: limit},
		{Name: "reader", Kind: Alertmanager, Tokens: []Token{HashToken("reader-secret")}, Grants: []Grant{Read}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Now = func() time.Time { return b.now }
	o.Observe = func(source, outcome string, n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.counted = append(b.counted, fmt.Sprintf("%s %s %d", source, outcome, n))
	}
	rc, err := NewReceiver(sources, b, o)
	if err != nil {
		t.Fatal(err)
	}
	b.handler = rc.Handler(Door{
		Sender: func(s *Sources, r *http.Request) (*Source, error) {
			src, ok := s.ByCredential(r, Alertmanager)
			if !ok {
				return nil, ErrUnknown
			}
			return src, nil
		},
		Parse: parseTexts,
		Taken: func(w http.ResponseWriter, m *Message, r Receipt) {
			fmt.Fprintf(w, "%d as %s", len(m.Events), r.Prefix)
		},
	})
	return b
}

func parseTexts(_ context.Context, m *Message) error {
	if !m.Scan.Array() {
		m.Scan.Fail("an array is due")
	}
	for i := 0; m.Scan.Element(); i++ {
		key, _, ok := m.Scan.Text()
		if !ok || key == "bad" {
			if !ok {
				m.Scan.Skip()
			}
			m.Refuse(i, "text", "is bad")
			continue
		}
		m.Events = append(m.Events, tocsin.Event{
			Source: m.Source.Name, Key: key, Fingerprint: tocsin.FingerprintOf(m.Scope, key),
			Status: tocsin.Firing, Severity: tocsin.Error, Summary: key,
		})
	}
	m.Scan.End()
	return m.Scan.Err()
}

func (b *bench) Accept(_ context.Context, source string, events []tocsin.Event) (Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return Receipt{}, b.err
	}
	for _, e := range events {
		b.accepted = append(b.accepted, e.Key)
	}
	return Receipt{Prefix: source + "-7"}, nil
}

func (b *bench) post(body []byte, header ...string) *httptest.ResponseRecorder {
	return b.postTo("/", body, header...)
}

func (b *bench) postTo(path string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer secret")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

func packed(t testing.TB, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatARequestIsAnswered(t *testing.T) {
	big := []byte(`["` + strings.Repeat("a", 1<<20) + `"]`)
	bomb := packed(t, bytes.Repeat([]byte{' '}, 100<<20))
	good := []byte(`["a"]`)
	empties := bytes.Repeat(packed(t, nil), 100_000)
	for name, tc := range map[string]struct {
		body    []byte
		header  []string
		status  int
		answer  string // in the answer
		counted string
	}{
		"good":                             {good, nil, 200, "1 as one-7", "one accepted 1"},
		"good and packed":                  {packed(t, good), []string{"Content-Encoding", "GZIP"}, 200, "1 as one-7", "one accepted 1"},
		"nothing in it":                    {[]byte("[]"), nil, 200, "0 as ", ""},
		"half bad":                         {[]byte(`["bad","a"]`), nil, 200, "1 as one-7", "one accepted 1, one refused 1"},
		"all bad":                          {[]byte(`["bad"]`), nil, 400, `"errors":[{"item":0,"field":"text","detail":"is bad"}]`, "one refused 1"},
		"no JSON":                          {[]byte("hello"), nil, 400, "byte 0: an array is due", "one refused 1"},
		"empty":                            {nil, nil, 400, "byte 0: the body is empty", "one refused 1"},
		"too big":                          {big, nil, 413, "1048576 bytes", "one too_big 1"},
		"a bomb":                           {bomb, []string{"Content-Encoding", "gzip"}, 413, "1048576 bytes", "one too_big 1"},
		"a bomb of nothing":                {empties, []string{"Content-Encoding", "gzip"}, 413, "1048576 bytes", "one too_big 1"},
		"packed twice, and said so":        {packed(t, packed(t, good)), []string{"Content-Encoding", "gzip, gzip"}, 415, "only gzip", "one refused 1"},
		"packed twice, and said once":      {packed(t, packed(t, good)), []string{"Content-Encoding", "gzip"}, 400, "byte 0", "one refused 1"},
		"packed in a way nobody knows":     {good, []string{"Content-Encoding", "br"}, 415, "only gzip", "one refused 1"},
		"not packed, though it says so":    {good, []string{"Content-Encoding", "gzip"}, 400, "gzip:", "one refused 1"},
		"packed and cut":                   {packed(t, good)[:20], []string{"Content-Encoding", "gzip"}, 400, "gzip: unexpected EOF", "one refused 1"},
		"packed, with something behind it": {append(packed(t, good), 'x'), []string{"Content-Encoding", "gzip"}, 400, "gzip:", "one refused 1"},
		"nobody":                           {good, []string{"Authorization", ""}, 401, "token is needed", " unauthorized 1"},
		"nobody, with a bad body":          {big, []string{"Authorization", "Bearer wrong"}, 401, "token is needed", " unauthorized 1"},
		"somebody who may only read":       {good, []string{"Authorization", "Bearer reader-secret"}, 403, "may not send", " unauthorized 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{}, Limit{})
			w := b.post(tc.body, tc.header...)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.answer) {
				t.Errorf("answer = %d %s, want %d with %s", w.Code, w.Body, tc.status, tc.answer)
			}
			if got := strings.Join(b.counted, ", "); got != tc.counted {
				t.Errorf("counted %q, want %q", got, tc.counted)
			}
			if w.Code >= 300 && len(b.accepted) > 0 {
				t.Errorf("%d and yet accepted %q", w.Code, b.accepted)
			}
			if w.Code >= 300 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

func TestWhatCannotBeMadeDurableIsNeverAnswered2xx(t *testing.T) {
	for name, tc := range map[string]struct {
		err     error
		status  int
		waits   [2]int // Retry-After, least and most
		counted string
	}{
		"busy":                          {ErrBusy, 429, [2]int{5, 10}, "one busy 1"},
		"busy for a while":              {&WaitError{90 * time.Second, ErrBusy}, 429, [2]int{90, 180}, "one busy 1"},
		"not now":                       {ErrUnavailable, 503, [2]int{5, 10}, "one unavailable 1"},
		"not for half a second":         {fmt.Errorf("disk: %w", &WaitError{time.Second / 2, ErrUnavailable}), 503, [2]int{1, 2}, "one unavailable 1"},
		"for a reason nobody foresaw":   {errors.New("a fuse"), 503, [2]int{5, 10}, "one unavailable 1"},
		"the sender has gone meanwhile": {context.Canceled, 503, [2]int{5, 10}, "one unavailable 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{}, Limit{})
			b.err = tc.err
			w := b.post([]byte(`["a"]`))
			wait, _ := strconv.Atoi(w.Header().Get("Retry-After"))
			if w.Code != tc.status || wait < tc.waits[0] || wait > tc.waits[1] {
				t.Errorf("answer = %d, Retry-After %d, want %d, %v", w.Code, wait, tc.status, tc.waits)
			}
			if got := strings.Join(b.counted, ", "); got != tc.counted {
				t.Errorf("counted %q, want %q", got, tc.counted)
			}
			if strings.Contains(w.Body.String(), "fuse") {
				t.Errorf("the answer tells the sender what broke: %s", w.Body)
			}
		})
	}
}

func TestADryRunStoresNothing(t *testing.T) {
	const want = `{"alerts":[{"status":"firing","severity":"error","summary":"a","about":"","key":"a","fingerprint":"FP","labels":{}}],"control":null}`
	fingerprint := tocsin.FingerprintOf("one", "a").String()
	for path, dry := range map[string]bool{
		"/?dry_run=1": true, "/?dry_run=true": true, "/?dry_run": true, "/?x=%zz&dry_run=1": true,
		"/?dry_run=0": false, "/?dry_run=false": false, "/?x=dry_run": false, "/": false,
	} {
		b := newBench(t, Options{}, Limit{})
		w := b.postTo(path, []byte(`["a"]`))
		got := strings.TrimSpace(strings.ReplaceAll(w.Body.String(), fingerprint, "FP"))
		if dry && (w.Code != 200 || got != want || len(b.accepted) > 0 || len(b.counted) > 0) {
			t.Errorf("POST %s = %d %s, accepted %q, counted %q, want %s", path, w.Code, got, b.accepted, b.counted, want)
		}
		if !dry && !slices.Equal(b.accepted, []string{"a"}) {
			t.Errorf("POST %s accepted %q, want a", path, b.accepted)
		}
	}
	b := newBench(t, Options{}, Limit{})
	if w := b.postTo("/?dry_run=1", []byte(`["a"]`), "Authorization", "Bearer wrong"); w.Code != 401 {
		t.Errorf("a stranger's dry run = %d, want 401", w.Code)
	}
	if w := b.postTo("/?dry_run=1", []byte(`["a","bad"]`)); !strings.Contains(w.Body.String(), `"refused":1,"errors":[{"item":1`) {
		t.Errorf("a dry run of a batch that is half bad = %s", w.Body)
	}
}

func TestASenderThatIsTooFastIsToldWhenToComeBack(t *testing.T) {
	b := newBench(t, Options{}, Limit{PerSecond: 2, Burst: 4})
	for i, step := range []struct {
		after  time.Duration
		body   string
		status int
	}{
		{0, `["a","b","c"]`, 200},
		{0, `["d","e"]`, 429},
		{0, `["f"]`, 200},
		{0, `["g"]`, 429},
		{500 * time.Millisecond, `["h"]`, 200},
		{2 * time.Second, `["i","j","k","l"]`, 200},
		{time.Minute, `["1","2","3","4","5","6"]`, 200},
	} {
		b.now = b.now.Add(step.after)
		w := b.post([]byte(step.body))
		if w.Code != step.status {
			t.Fatalf("step %d: %d, want %d", i, w.Code, step.status)
		}
		if wait, _ := strconv.Atoi(w.Header().Get("Retry-After")); (step.status == 429) != (wait > 0) {
			t.Errorf("step %d: Retry-After %d with %d", i, wait, w.Code)
		}
	}
	if len(b.accepted) != 15 {
		t.Errorf("accepted %q", b.accepted)
	}
}

func TestABatchOfAHundredThousandSaysOfEachWhatBecameOfIt(t *testing.T) {
	b := newBench(t, Options{}, Limit{})
	body := []byte("[")
	for i := range 100_000 {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `"a"`[:2+(i+1)%2]...)
		if i%2 == 1 {
			body = append(body[:len(body)-2], '1') // a number is no text
		}
	}
	body = append(body, ']')
	w := b.postTo("/?dry_run=1", body)
	var answer struct {
		Alerts  []json.RawMessage
		Refused int
		Errors  []ItemError
		Also    string `json:"also_refused"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %.200s", err, w.Body)
	}
	if len(answer.Alerts)+answer.Refused != 100_000 || answer.Refused != 50_000 {
		t.Errorf("%d taken and %d refused of 100000", len(answer.Alerts), answer.Refused)
	}
	if len(answer.Errors) != 100 || answer.Errors[99].Item != 199 || !strings.HasPrefix(answer.Also, "201,203,") || strings.Count(answer.Also, ",") != 49_899 {
		t.Errorf("%d named, the last %d; also %.40s...", len(answer.Errors), answer.Errors[99].Item, answer.Also)
	}
}

func TestRunsOfRefusedAlertsAreToldAsSpans(t *testing.T) {
	var r Refused
	for i := range 130 {
		if i != 110 && i != 120 {
			r.Add(i, "f", "d")
		}
	}
	if got, want := r.Also(), "100-109,111-119,121-129"; got != want || r.Count != 128 {
		t.Errorf("also %s, %d in all, want %s, 128", got, r.Count, want)
	}
}

// Half a body is never an event: over a real connection, because a recorder's body cannot be cut.
func TestACutBodyIsNeverAnEvent(t *testing.T) {
	b := newBench(t, Options{BodyTime: 300 * time.Millisecond}, Limit{})
	srv := httptest.NewServer(b.handler)
	defer srv.Close()
	send := func(raw string, hangUp bool) string {
		t.Helper()
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n"+raw); err != nil {
			t.Fatal(err)
		}
		if hangUp {
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		answer, _ := io.ReadAll(c) // however the server ends it
		line, _, _ := strings.Cut(string(answer), "\r\n")
		return line
	}
	for name, tc := range map[string]struct {
		raw    string
		hangUp bool
		want   string
	}{
		"cut in the middle":               {"Content-Length: 100\r\n\r\n[\"a\"]", true, "HTTP/1.1 400 Bad Request"},
		"chunked and cut":                 {"Transfer-Encoding: chunked\r\n\r\n5\r\n[\"a\"]\r\n", true, "HTTP/1.1 400 Bad Request"},
		"never ending":                    {"Content-Length: 100\r\n\r\n[\"a\"]", false, "HTTP/1.1 400 Bad Request"},
		"a length that is a lie":          {"Content-Length: 99999999999\r\n\r\n[\"a\"]", false, "HTTP/1.1 413 Request Entity Too Large"},
		"a length that is none":           {"Content-Length: ten\r\n\r\n[\"a\"]", false, "HTTP/1.1 400 Bad Request"},
		"a length and chunks, told apart": {"Content-Length: 5\r\nContent-Length: 6\r\n\r\n[\"a\"]", false, "HTTP/1.1 400 Bad Request"},
	} {
		if got := send(tc.raw, tc.hangUp); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if len(b.accepted) > 0 {
		t.Errorf("accepted %q of cut bodies", b.accepted)
	}
}

func TestAMessageOfThePoolKnowsNothingOfTheOneBefore(t *testing.T) {
	b := newBench(t, Options{}, Limit{})
	for i := range 50 {
		body := `["bad","` + strings.Repeat("x", i*97) + `"]`
		want := "1 as one-7"
		if i%2 == 1 {
			body, want = `[]`, "0 as "
		}
		if w := b.post([]byte(body)); w.Body.String() != want {
			t.Fatalf("request %d = %s, want %s", i, w.Body, want)
		}
	}
}

func TestManySendersAtOnceDoNotMixTheirAlerts(t *testing.T) {
	b := newBench(t, Options{}, Limit{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				b.post(fmt.Appendf(nil, `["%d-%d","bad"]`, i, j))
			}
		})
	}
	wg.Wait()
	slices.Sort(b.accepted)
	if got := slices.Compact(b.accepted); len(got) != 800 {
		t.Errorf("%d different alerts accepted, want 800", len(got))
	}
}

func TestAReceiverNeedsWhatItCannotWorkWithout(t *testing.T) {
	sources, err := NewSources(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewReceiver(nil, &bench{}, Options{}); err == nil {
		t.Error("a receiver without sources")
	}
	if _, err := NewReceiver(sources, nil, Options{}); err == nil {
		t.Error("a receiver without an acceptor")
	}
	if _, err := NewReceiver(sources, &bench{}, Options{MaxBody: -1}); err == nil {
		t.Error("a receiver of bodies of less than nothing")
	}
}
