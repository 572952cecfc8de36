package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEachBodyIsJSONAndCarriesItsAlertsMarkers(t *testing.T) {
	teams := prometheus("one", 0)
	teams.teams = true
	for name, s := range map[string]*stream{
		"prometheus": prometheus("one", 10), "teams": teams, "events": events("one", 10), "resolved alerts": prometheus("one", 10).over(), "resolved events": events("one", 10).over(),
	} {
		t.Run(name, func(t *testing.T) {
			want := []int64{42}
			if s.list {
				want = append(want, 43)
			}
			body := s.body(nil, time.Now(), want)
			if !json.Valid(body) {
				t.Fatalf("not JSON: %s", body)
			}
			var got []int64
			markers(body, func(n int64) { got = append(got, n) })
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("markers %v, want %v", got, want)
			}
		})
	}
}

func TestResolvedAlertsHaveEndedWhenTheyAreSent(t *testing.T) {
	now := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	s := prometheus("one", 1)
	for name, tc := range map[string]struct {
		stream *stream
		want   time.Time
	}{
		"a firing alert ends hours later": {s, now.Add(ttl)},
		"a resolved one has ended":        {s.over(), now},
	} {
		t.Run(name, func(t *testing.T) {
			var alerts []struct{ EndsAt time.Time }
			if err := json.Unmarshal(tc.stream.body(nil, now, []int64{1}), &alerts); err != nil {
				t.Fatal(err)
			}
			if !alerts[0].EndsAt.Equal(tc.want) {
				t.Errorf("ends at %v, want %v", alerts[0].EndsAt, tc.want)
			}
		})
	}
}

func TestASocketIsReadAsTheKernelWritesIt(t *testing.T) {
	const rest = " 00000000:00000000 00:00000000 00000000     0        0 2633509 1 00000000af963385 100 0 0 10 0\n"
	long := strings.Repeat("0", 24)
	for name, tc := range map[string]struct {
		line string
		want socket
		ok   bool
	}{
		"one that listens":             {"   0: 0100007F:1F90 00000000:0000 0A" + rest, socket{local: 8080, state: listening, inode: 2633509}, true},
		"one that is connected":        {"   1: 0100007F:B13B 0100007F:1538 01" + rest, socket{45371, 5432, established, 2633509}, true},
		"one of IPv6":                  {"   0: " + long + "01000000:B2A1 " + long + "00000000:0000 0A" + rest, socket{local: 45729, state: listening, inode: 2633509}, true},
		"the head of the table":        {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n", socket{}, false},
		"a line that is cut":           {"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000", socket{}, false},
		"an address without a port":    {"   0: 0100007F 00000000:0000 0A" + rest, socket{}, false},
		"a port over 65535":            {"   0: 0100007F:10000 00000000:0000 0A" + rest, socket{}, false},
		"a state over 255":             {"   0: 0100007F:1F90 00000000:0000 10A" + rest, socket{}, false},
		"an inode that is no number":   {"   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 inode", socket{}, false},
		"nothing":                      {"", socket{}, false},
		"a port that is no hex number": {"   0: 0100007F:xyz 00000000:0000 0A" + rest, socket{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := parseSocket(tc.line); got != tc.want || ok != tc.ok {
				t.Errorf("socket = %+v, %v, want %+v, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

// FuzzParseSocket: what is read is what the kernel would have written for it.
func FuzzParseSocket(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2633509 1 00000000af963385 100 0 0 10 0")
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode")
	f.Add("a :1 :2 3 b c d e f 4")
	f.Fuzz(func(t *testing.T, line string) {
		s, ok := parseSocket(line)
		if !ok {
			if s != (socket{}) {
				t.Errorf("%q is no socket, and yet %+v", line, s)
			}
			return
		}
		again, ok := parseSocket(fmt.Sprintf("0: 00000000:%04X 00000000:%04X %02X 0:0 00:0 0 0 0 %d", s.local, s.remote, s.state, s.inode))
		if !ok || again != s {
			t.Errorf("%q is %+v, which is read again as %+v, %v", line, s, again, ok)
		}
	})
}

func TestNothingIsSentToAnotherMachine(t *testing.T) {
	for _, target := range []string{"http://192.0.2.1:80/", "http://example.org:80/", "http://localhost.example.org:80/"} {
		if _, err := newClient("POST", target); !errors.Is(err, errElsewhere) {
			t.Errorf("%s: error %v, want %v", target, err, errElsewhere)
		}
	}
}

func TestTheClientReadsAnswersOfEveryForm(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 1<<20)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			for range 4 {
				w.Write(big[:1000])
				w.(http.Flusher).Flush()
			}
		case "/big":
			w.Write(big)
		case "/close":
			w.Header().Set("Connection", "close")
			w.Write([]byte("x"))
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		}
	})}
	go srv.Serve(l)
	defer srv.Close()
	for path, want := range map[string]int{"/chunked": 4000, "/big": 1 << 20, "/close": 1, "/none": 0} {
		c, err := newClient("POST", "http://"+l.Addr().String()+path)
		if err != nil {
			t.Fatal(err)
		}
		c.keep = true
		for range 3 {
			status, err := c.do([]byte("hello"), time.Second)
			if err != nil || status/100 != 2 || len(c.answer) != want || c.size != int64(want) {
				t.Fatalf("%s: status %d, %d bytes, %v; want %d bytes", path, status, len(c.answer), err, want)
			}
		}
		c.close()
	}
}

func TestTheProviderKeepsWhenEachPersonsFirstPageCame(t *testing.T) {
	p, err := newPager(0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	post := func(body, kind string) string {
		resp, err := http.Post("http://"+p.address()+"/2010-04-01/Accounts/AC/Messages.json", kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var said struct{ SID string }
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("status %d, %v", resp.StatusCode, err)
		}
		return said.SID
	}
	const form = "application/x-www-form-urlencoded"
	one := post("Body=CRIT&From=%2B15005550006&To=%2B15550000007", form)
	two := post("To=%2B15550000007&Body=again", form)
	post(`{"alerts":[{"labels":{"pod":"bid-9-x"}},{"labels":{"pod":"bid-9-x"}}]}`, "application/json")
	if len(one) != 34 || one == two {
		t.Errorf("message sids %q and %q: want two of 34 characters", one, two)
	}
	paged, again := p.got()
	if _, seven := p.first[7]; paged != 2 || again != 1 || !seven {
		t.Errorf("%d paged, %d again, %v; want 7 and 9, 7 twice", paged, again, p.first)
	}
}

func TestQuantilesAndSpreadsAreThoseOfTheirValues(t *testing.T) {
	var d []time.Duration
	for i := 1000; i > 0; i-- {
		d = append(d, time.Duration(i)*time.Millisecond)
	}
	if got, want := quantiles(d), (latency{500, 900, 990, 1000}); got != want {
		t.Errorf("quantiles %+v, want %+v", got, want)
	}
	s := spread{1234567, 3, 20.04}
	if got, want := number(s.median())+" ("+s.ends()+")", "20.0 (3.00 .. 1,234,567)"; got != want {
		t.Errorf("spread %s, want %s", got, want)
	}
}

func TestAVerdictComparesWithMustAndAim(t *testing.T) {
	for name, tc := range map[string]struct{ got, want verdict }{
		"more than the aim":              {atLeast(6, 3, 5), aimMet},
		"the must exactly":               {atLeast(3, 3, 5), mustMet},
		"less than the must":             {atLeast(2.9, 3, 5), missed},
		"a time within the aim":          {atMost(5, 15, 6), aimMet},
		"a time over the must":           {atMost(16, 15, 6), missed},
		"no time at all":                 {atMost(spread{}.median(), 15, 6), missed},
		"the worse of two counts":        {worse(aimMet, missed), missed},
		"a rate with lag does not count": {aimMet.unless(true), invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.got != tc.want {
				t.Errorf("got %v, want %v", tc.got, tc.want)
			}
		})
	}
}

func TestRowsThatWereNotMeasuredStayInTheTable(t *testing.T) {
	const old = "# Figures\nwords\n" + begins + "\nold machine\n\n" + header + "\n| 1a | kept | | | | 5 | | | `x` | 2026-01-01 |\n| 4 | gone | | | | 6 | | | `x` | 2026-01-01 |\n" + ends + "\nmore\n"
	got, err := merge(old, "new machine", []row{
		{id: "9a", what: "last", measured: "7"},
		{id: "4", what: "new", measured: "8", disturbed: 0.5, spread: "1 .. 2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "# Figures\nwords\n" + begins + "\nnew machine\n\n" + header + "\n| 1a | kept | | | | 5 | | | `x` | 2026-01-01 |\n" +
		"| 4 | new |  |  |  | 8 | 1 .. 2 (others used up to 0.5 cores) |  | `go run ./internal/bench -only 4` | " + today() + " |\n" +
		"| 9a | last |  |  |  | 7 |  |  | `go run ./internal/bench -only 9` | " + today() + " |\n" + ends + "\nmore\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := merge("no table", "", nil); err == nil {
		t.Error("a file without a table was taken")
	}
}

func TestOnlyScenariosThatExistCanBeChosen(t *testing.T) {
	got, err := choose("4, 1")
	if err != nil || len(got) != 2 || got[0].number != 1 || got[1].number != 4 {
		t.Errorf("chosen %v, %v; want 1 and 4", got, err)
	}
	got, err = choose("2-3,5")
	if err != nil || len(got) != 3 || got[0].number != 2 || got[1].number != 3 || got[2].number != 5 {
		t.Errorf("chosen %v, %v; want 2, 3 and 5", got, err)
	}
	for _, only := range []string{"0", "99", "one", "1,,2", "3-2", "1-99", "-1"} {
		if _, err := choose(only); err == nil {
			t.Errorf("-only %s was taken", only)
		}
	}
}

func TestTheClientReadsWhenToComeBackAndStaysConnected(t *testing.T) {
	var mu sync.Mutex
	conns := map[string]bool{}
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
		if said := r.URL.Query().Get("wait"); said != "" {
			w.Header().Set("Retry-After", said)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	c, err := newClient("GET", srv)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, tc := range []struct {
		wait   string
		status int
		want   time.Duration
	}{
		{"7", http.StatusServiceUnavailable, 7 * time.Second},
		{"", http.StatusOK, 0},
		{"Wed, 21 Oct 2026 07:28:00 GMT", http.StatusServiceUnavailable, 0},
		{"-1", http.StatusServiceUnavailable, 0},
	} {
		if err := c.aim(srv + "/?wait=" + url.QueryEscape(tc.wait)); err != nil {
			t.Fatal(err)
		}
		status, err := c.do(nil, 5*time.Second)
		if err != nil || status != tc.status || c.retry != tc.want {
			t.Errorf("Retry-After %q: status %d, %v, %v; want %d and %v", tc.wait, status, c.retry, err, tc.status, tc.want)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections, want 1", len(conns))
	}
	if err := c.aim("http://192.0.2.1:80/"); !errors.Is(err, errElsewhere) {
		t.Errorf("aimed at another machine: error %v, want %v", err, errElsewhere)
	}
}

// serve answers by handle on loopback until the test ends, and returns where.
func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestEachPersonOfARosterHasANumberOfItsOwn(t *testing.T) {
	two := roster{people: 2, second: 15 * time.Second}
	const want = `people:
  p0: {phone: "+15550000000"}
  s0: {phone: "+15550000002"}
  p1: {phone: "+15550000001"}
  s1: {phone: "+15550000003"}
teams:
  t0: {members: [p0], escalation: e0}
  t1: {members: [p1], escalation: e1}
escalations:
  e0: {steps: [{page: [person/p0], escalate_after: 15s}, {page: [person/s0], escalate_after: 1h}]}
  e1: {steps: [{page: [person/p1], escalate_after: 15s}, {page: [person/s1], escalate_after: 1h}]}
`
	if got := two.some(0, 2); got != want {
		t.Errorf("people\n%s\nwant\n%s", got, want)
	}
	const alone = `people:
  p1: {phone: "+15550000001"}
teams:
  t1: {members: [p1], escalation: e1}
escalations:
  e1: {steps: [{page: [person/p1], escalate_after: 1h}]}
`
	if got := (roster{people: 2}).some(1, 2); got != alone {
		t.Errorf("people without a second step\n%s\nwant\n%s", got, alone)
	}
}

func TestAlertsAreOfOneClusterAfterTheOtherWhereTheyAreMixed(t *testing.T) {
	blocks, mixed := stream{clusters: 3}, stream{clusters: 3, mixed: true}
	var got [2][]int64
	for _, n := range []int64{0, 1, 2, 3, 64, 128, 192} {
		got[0], got[1] = append(got[0], blocks.cluster(n)), append(got[1], mixed.cluster(n))
	}
	if want := [2][]int64{{0, 0, 0, 0, 1, 2, 0}, {0, 1, 2, 0, 1, 2, 0}}; !reflect.DeepEqual(got, want) {
		t.Errorf("clusters %v, want %v", got, want)
	}
}

func TestAPageSaysWhatComesBehindIt(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"more":                              {`{"alerts":[{"id":"a1"}],"next":"a1"}` + "\n", "a1"},
		"the end":                           {`{"alerts":[],"next":null}`, ""},
		"an alert that says so of itself":   {`{"alerts":[{"summary":"\"next\":\"a9\"}","next":"a9"}],"next":null}`, ""},
		"an answer that is cut in the word": {`{"alerts":[],"next":"a1`, ""},
		"no answer":                         {"", ""},
		"something else":                    {`[{"labels":{}}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nextPage([]byte(tc.answer)); got != tc.want {
				t.Errorf("next %q, want %q", got, tc.want)
			}
		})
	}
}

// FuzzNextPage: what is found stands in the answer's last field.
func FuzzNextPage(f *testing.F) {
	f.Add([]byte(`{"alerts":[],"next":"a1"}`))
	f.Add([]byte(`{"next":"`))
	f.Add([]byte(`"next":"""next":"x"}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		word := nextPage(answer)
		if word == "" {
			return
		}
		before := strings.TrimSpace(string(answer[:bytes.LastIndexByte(answer, '}')]))
		if !strings.HasSuffix(before, `"next":"`+word+`"`) {
			t.Errorf("%q: next %q", answer, word)
		}
	})
}

func TestAClientAsksForEveryReportInTurnAndPageAfterPage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked []string
	answers := []string{`[]`, `{"incidents":[],"next":"i7"}`, `{"alerts":[],"next":null}`, `[]`, `[]`, `{"incidents":[],"next":null}`, "503"}
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		said := answers[len(asked)]
		asked = append(asked, r.URL.RequestURI())
		if r.Header.Get("Authorization") != "Bearer "+robot {
			t.Errorf("asked by %q", r.Header.Get("Authorization"))
		}
		if said == "503" {
			cancel()
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, said)
	})
	y := (&server{url: srv}).enquire(ctx, 1)
	if want := []string{
		"/api/v2/alerts?filter=namespace%3D%22payments-7%22", "/api/v1/incidents?limit=1000", "/api/v1/alerts?state=firing&limit=1000", "/api/v2/alerts?",
		"/api/v2/alerts?filter=namespace%3D%22payments-7%22", "/api/v1/incidents?limit=1000&next=i7", "/api/v1/alerts?state=firing&limit=1000",
	}; !slices.Equal(asked, want) {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
	if len(y.took) != 6 || y.refused != 1 || y.failed != 0 || y.firstBad != nil {
		t.Errorf("%d answered, %d refused, %d failed: %v; want 6, 1 and none", len(y.took), y.refused, y.failed, y.firstBad)
	}
}

func TestAReportIsRefusedOnlyWhereItIsSaidWhenToComeBack(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		wait   string
		want   string
	}{
		"busy, and when to come back": {http.StatusServiceUnavailable, "1", "0 answered 200 (p50 0.00 s, p99 0.00 s), 1 answered 503"},
		"busy without a word":         {http.StatusServiceUnavailable, "", "0 answered 200 (p50 0.00 s, p99 0.00 s), 0 answered 503, 1 failed"},
		"broken":                      {http.StatusInternalServerError, "1", "0 answered 200 (p50 0.00 s, p99 0.00 s), 0 answered 503, 1 failed"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				cancel()
				if tc.wait != "" {
					w.Header().Set("Retry-After", tc.wait)
				}
				w.WriteHeader(tc.status)
			})
			if got := (&server{url: srv}).enquire(ctx, 0).String(); got != tc.want {
				t.Errorf("survey %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTheNewestIncidentOfAnotherPartitionIsAcknowledgedOnceItsPageHasCome(t *testing.T) {
	p := &pager{first: map[int64]time.Time{1: {}, 2: {}, 3: {}, 5: {}}}
	a := newAcker(nil, place{90, 7}, map[int64]place{1: {10, 0}, 2: {20, 7}, 3: {30, 1}})
	a.learn(map[int64]place{3: {30, 1}, 4: {40, 1}, 5: {50, 2}})
	var got []ackable
	for {
		x, ok := a.next(p)
		if !ok {
			break
		}
		got = append(got, x)
	}
	if want := []ackable{{5, 50}, {3, 30}, {1, 10}}; !slices.Equal(got, want) {
		t.Errorf("acknowledged %v, want %v", got, want)
	}
	p.first[4] = time.Time{}
	if x, ok := a.next(p); !ok || x != (ackable{4, 40}) {
		t.Errorf("then %v, %v, want the one whose page has come by now", x, ok)
	}
	var turns []int64
	for k := range 4 {
		turns = append(turns, a.turn(k))
	}
	if want := []int64{90, 20, 90, 20}; !slices.Equal(turns, want) {
		t.Errorf("in the locked partition %v, want %v", turns, want)
	}
}

func TestAcknowledgementsWaitForNoOtherOne(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method+" "+r.URL.Path == "POST /api/v1/incidents/i90/ack" {
			<-release // locked
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.Method+" "+r.URL.Path == "POST /api/v1/incidents/i20/ack" { // the last of others is answered while the first still waits
			cancel()
			close(release)
		}
	})
	a := newAcker(&server{url: srv}, place{90, 7}, map[int64]place{2: {20, 1}, 3: {30, 1}})
	a.work(ctx, &pager{first: map[int64]time.Time{2: {}, 3: {}}})
	got := [2]tally{tallyOf(a.others), tallyOf(a.there)}
	got[0].took, got[1].took = latency{}, latency{}
	if want := [2]tally{{sent: 2, done: 2}, {sent: 1, busy: 1}}; got != want {
		t.Errorf("answered %+v, want %+v", got, want)
	}
}

// besiegedAt is a siege of six alerts that has ended, of which the second is in the partition whose row was locked.
func besiegedAt(at func(seconds float64) time.Time) *siege {
	g := &siege{
		p: &pager{first: map[int64]time.Time{
			0: at(-0.9), 1: at(11), 2: at(1.5), 3: at(4), 5: at(11), // first pages; 4 never has one
			6: at(4.5), 7: at(12), 8: at(7.5), // second ones
		}},
		second: 5 * time.Second, load: load{count: 6}, roster: roster{people: 6}, alert: place{90, 7}, from: at(0), to: at(10), end: at(20),
		sent:   []time.Time{at(-1), at(1), at(1), at(3), at(5), at(10)},
		places: map[int64]place{0: {1, 0}, 1: {2, 7}, 2: {3, 0}, 3: {4, 1}, 5: {6, 1}},
		due:    map[int64]time.Time{0: at(-1), 1: at(1), 2: at(1), 3: at(3), 5: at(10.5)},
	}
	g.acks = newAcker(nil, g.alert, nil)
	return g
}

func TestOnlyWhatHappensWhileTheRowIsLockedCountsOfASiege(t *testing.T) {
	began := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	g := besiegedAt(at)
	g.acks.others = []answer{{took: 3 * time.Millisecond, status: 200}, {took: time.Millisecond, status: 503, retry: true}}
	g.acks.there = []answer{{took: time.Second, status: 503, retry: true}, {took: 5 * time.Second, status: 503}, {took: time.Millisecond}}
	want := aftermath{
		pages: latency{1000, 15000, 15000, 15000}, paged: 3, unpaged: 1, longest: 10 * time.Second,
		others: tally{took: latency{1, 3, 3, 3}, sent: 2, done: 1, busy: 1}, there: tally{took: latency{1000, 5000, 5000, 5000}, sent: 3, busy: 1, strays: 2},
		steps: latency{1500, 12000, 12000, 12000}, taken: 3, untaken: 1,
	}
	if got := g.judge(); got != want {
		t.Errorf("aftermath\n%+v, want\n%+v", got, want)
	}
}

func TestANextStepIsNotLateForWhoeverAcknowledgedInTime(t *testing.T) {
	began := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	type step struct {
		late       time.Duration
		wanted, ok bool
	}
	for name, tc := range map[string]struct {
		acked, came float64 // 0: never
		want        step
	}{
		"nobody acknowledged":                    {0, 7, step{2 * time.Second, true, true}},
		"acknowledged before it was due":         {4, 0, step{}},
		"acknowledged while it was late":         {8, 0, step{3 * time.Second, true, true}},
		"acknowledged while it was late, paged":  {8, 9, step{3 * time.Second, true, true}},
		"acknowledged after the page had come":   {8, 6, step{time.Second, true, true}},
		"neither paged nor acknowledged, at all": {0, 0, step{15 * time.Second, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			g := besiegedAt(at)
			came := map[int64]time.Time{}
			if tc.acked > 0 {
				g.acks.tried[2] = at(tc.acked)
			}
			if tc.came > 0 {
				came[2+6] = at(tc.came)
			}
			var got step
			if got.late, got.wanted, got.ok = g.stepTime(2, at(5), came); got != tc.want {
				t.Errorf("step %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestWhatMustStillComeOfASiegeIsWaitedFor(t *testing.T) {
	g := besiegedAt(func(s float64) time.Time { return time.Unix(int64(s), 0) })
	if got := g.missing(); got != 3 { // 3 and 5 lack the second page, 4 the first
		t.Errorf("%d alerts wait for pages, want 3", got)
	}
	g.acks.tried[3] = time.Unix(4, 0)
	if got := g.missing(); got != 2 {
		t.Errorf("%d alerts wait for pages once one is acknowledged, want 2", got)
	}
}

func TestTheWorseLockDecidesAboutARow(t *testing.T) {
	well := aftermath{
		lock: "one", pages: latency{5, 9, 20, 30}, paged: 1000, longest: 61 * time.Second, steps: latency{10, 20, 30, 40}, taken: 800,
		others: tally{took: latency{4, 6, 9, 10}, sent: 600, done: 600}, there: tally{took: latency{1000, 1000, 1000, 1200}, sent: 60, done: 2, busy: 58},
	}
	slow, lost, hung := well, well, well
	slow.lock, slow.pages.p99 = "two", 2001
	lost.untaken = 1
	hung.there.took.most = 10_001
	type said struct {
		measured string
		verdict  verdict
	}
	rowsOf := func(found ...aftermath) (out []said) {
		for _, r := range lockedRows(found, time.Minute) {
			out = append(out, said{r.measured, r.verdict})
		}
		return out
	}
	const acks = "4.00 / 9.00 ms (600 of 600 answered 200), in its own partition p50 1.00 s, at most 1.20 s (2 of 60 answered 200, 58 answered 503)"
	want := []said{
		{"one: 5.00 / 20.0 ms (1,000 alerts), in its own partition at most 61.0 s; two: 5.00 / 2,001 ms (1,000 alerts), in its own partition at most 61.0 s", missed},
		{"one: " + acks + "; two: " + acks, mustMet},
		{"one: 10.0 / 30.0 ms (800 steps); two: 10.0 / 30.0 ms (800 steps)", mustMet},
	}
	if got := rowsOf(well, slow); !slices.Equal(got, want) {
		t.Errorf("rows\n%v, want\n%v", got, want)
	}
	for name, tc := range map[string]struct {
		found aftermath
		want  [3]verdict
	}{
		"all is well":             {well, [3]verdict{mustMet, mustMet, mustMet}},
		"a step that never came":  {lost, [3]verdict{mustMet, mustMet, missed}},
		"an answer that hung":     {hung, [3]verdict{mustMet, missed, mustMet}},
		"nothing happened at all": {aftermath{}, [3]verdict{invalid, invalid, invalid}},
	} {
		t.Run(name, func(t *testing.T) {
			var got [3]verdict
			for i, s := range rowsOf(tc.found, well) { // the one that is well comes last
				got[i] = s.verdict
			}
			if got != tc.want {
				t.Errorf("verdicts %v, want %v", got, tc.want)
			}
		})
	}
}
