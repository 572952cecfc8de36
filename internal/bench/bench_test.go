package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
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
