package app

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// I5
func TestOfABatchThatIsHalfBadEveryAlertIsAcceptedOrRefused(t *testing.T) {
	r := newStory(t)
	d := doorways()["alertmanager"]
	body := []byte("[")
	const alerts = 100 // said again and again
	sent, bad := 0, 0
	for ; len(body) < 1<<20-60; sent++ { // as many as a body holds: some 80,000
		if sent > 0 {
			body = append(body, ',')
		}
		if sent%2 == 1 {
			body = append(body, "{}"...)
			bad++
			continue
		}
		body = fmt.Appendf(body, `{"labels":{"a":"%02d"}}`, sent/2%alerts)
	}
	status, answer := r.knock(d, "", string(append(body, ']')))
	if want := fmt.Sprintf(`"%d of %d alerts are refused, the others are stored; item 1: labels: at least one label with a value is needed`, bad, sent); status != http.StatusBadRequest || !strings.HasPrefix(answer, want) {
		t.Errorf("it is answered %d %.300s, want 400 %s", status, answer, want)
	}
	const counted = "tocsin_ingest_events_total"
	if got := r.metric(counted); got != float64(sent) {
		t.Errorf("%s is %v, want %d: each alert is accepted or refused", counted, got, sent)
	}
	r.until("those that are good are open", func() bool { return r.metric("tocsin_correlate_open_alerts") == alerts })
	t.Logf("of %d alerts %d were refused", sent, bad)
}

// jsonDoor lets a plant have a door for any JSON, too.
func (p *plant) jsonDoor() {
	p.t.Helper()
	text, err := os.ReadFile(p.config())
	if err == nil {
		scripts := "sources:\n  scripts: {kind: json, token: scripts-secret, map: {key: 'body.check', summary: 'body.message', labels: {app: 'body.app'}}}\n"
		err = os.WriteFile(p.config(), bytes.Replace(text, []byte("sources:\n"), []byte(scripts), 1), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// pours sends a head and then as much of body as is wanted, and returns the status of the answer, "" for none.
func (p *plant) pours(d doorway, head string, body io.Reader) string {
	p.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.at(p.t.Context()), "http://"))
	if err != nil {
		p.t.Error(err)
		return ""
	}
	defer c.Close()
	err = c.SetDeadline(time.Now().Add(2 * faultPatience))
	if err != nil {
		p.t.Error(err)
		return ""
	}
	poured := make(chan struct{})
	go func() {
		defer close(poured)
		_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n%s\r\n", d.path, d.token, head)
		if err == nil {
			_, err = io.Copy(c, body)
		}
		if err == nil { // else the server has closed it, with reason
			_ = c.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it is one
		}
	}()
	line, _ := bufio.NewReader(c).ReadString('\n')
	_ = c.Close()
	<-poured
	words := strings.Fields(line)
	if len(words) < 2 {
		return ""
	}
	return words[1]
}

// atOnce runs fn n times at once, and returns how much more memory the process had than before, at most.
func (p *plant) atOnce(n int, fn func(n int)) (grown int64) {
	p.t.Helper()
	before := p.memory()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { fn(i) })
	}
	all.Wait()
	return p.peak() - before
}

// blanks are as many bytes of JSON that means nothing.
func blanks(n int64) io.Reader { return io.LimitReader(blank{}, n) }

type blank struct{}

func (blank) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// chunked writes what it reads as the chunks of a body.
func chunked(body io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		c := httputil.NewChunkedWriter(w)
		_, err := io.Copy(c, body)
		if err == nil {
			err = c.Close()
		}
		if err == nil {
			_, err = io.WriteString(w, "\r\n")
		}
		w.CloseWithError(err)
	}()
	return r
}

// N5
func TestBodiesOfAHundredMegabytesAreRefusedAndTakeNoMemory(t *testing.T) {
	const big = 100 << 20
	p := newPlant(t, killRules)
	p.jsonDoor()
	p.start()
	p.mustFire(40, 0)
	for door, d := range doorways() {
		good := d.good()
		length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
		for name, tc := range map[string]struct {
			head string
			body func() io.Reader
			want string
		}{
			"a length of 100 MB":              {length(big), func() io.Reader { return blanks(big) }, "413"},
			"no length, and 100 MB":           {"Transfer-Encoding: chunked\r\n", func() io.Reader { return chunked(blanks(big)) }, "413"},
			"a length that is never reached":  {length(len(good) + 1), func() io.Reader { return strings.NewReader(good) }, "400"},
			"a length that is too short":      {length(len(good) - 1), func() io.Reader { return strings.NewReader(good) }, "400"},
			"a length that is far too short":  {length(len(good) - 1), func() io.Reader { return io.MultiReader(strings.NewReader(good), blanks(big)) }, "400"},
			"chunks that end in their middle": {"Transfer-Encoding: chunked\r\n", func() io.Reader { return strings.NewReader("ffff\r\n" + good) }, "400"},
		} {
			const conns = 8
			grown := p.atOnce(conns, func(int) {
				r := tc.body()
				if got := p.pours(d, tc.head, r); got != tc.want {
					t.Errorf("%s at %s is answered %q, want %s", name, door, got, tc.want)
				}
				if c, ok := r.(io.Closer); ok {
					_ = c.Close()
				}
			})
			if most := int64(8 << 20); grown > conns*most && !raced {
				t.Errorf("%s at %s, %d at once: %d MiB more, want at most 8 each", name, door, conns, grown>>20)
			}
			t.Logf("%s at %s: %d at once, at most %d MiB more", name, door, conns, grown>>20)
		}
	}
	p.onlyThatOne()
}

// onlyThatOne ends a plant at whose doors one event was accepted: of nothing else is there any.
func (p *plant) onlyThatOne() {
	p.t.Helper()
	if status, _ := p.fires(40, 1); status != http.StatusAccepted {
		p.t.Errorf("afterwards an event is answered %d, want 202", status)
	}
	p.settle()
	var all struct{ Incidents []struct{ Number int64 } }
	p.read("/api/v1/incidents", &all)
	if len(all.Incidents) != 1 {
		p.t.Errorf("there are %d incidents, want the one: %+v", len(all.Incidents), all)
	}
	p.terminate()
	p.audit()
	p.noPanic()
}

func zipped(t *testing.T, body io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.Copy(w, body)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// N6
func TestABodyThatUnpacksToTooMuchIsRefusedAndTakesNoMemory(t *testing.T) {
	p := newPlant(t, killRules)
	p.jsonDoor()
	p.start()
	p.mustFire(40, 0)
	bomb := zipped(t, blanks(64<<20))
	for door, d := range doorways() {
		good := zipped(t, strings.NewReader(d.good()))
		for name, tc := range map[string]struct {
			coding string
			body   []byte
			want   string
		}{
			"64 MB of blanks in 64 kB":        {"gzip", bomb, "413"},
			"the same, as it was called once": {"x-gzip", bomb, "413"},
			"as many empty parts":             {"gzip", bytes.Repeat(zipped(t, strings.NewReader("")), 1<<16), "413"},
			"gzip in gzip, said once":         {"gzip", zipped(t, bytes.NewReader(bomb)), "400"},
			"gzip in gzip, said twice":        {"gzip, gzip", zipped(t, bytes.NewReader(good)), "415"},
			"another coding":                  {"br", good, "415"},
			"one that nobody has":             {"zstd;q=1", good, "415"},
			"deflate":                         {"deflate", good, "415"},
			"gzip that is none":               {"gzip", []byte(d.good()), "400"},
			"gzip that is cut":                {"gzip", good[:len(good)-6], "400"},
			"gzip whose sum is wrong":         {"gzip", append(bytes.Clone(good[:len(good)-8]), "12345678"...), "400"},
		} {
			const conns = 8
			head := fmt.Sprintf("Content-Encoding: %s\r\nContent-Length: %d\r\n", tc.coding, len(tc.body))
			worked := p.worked()
			grown := p.atOnce(conns, func(int) {
				if got := p.pours(d, head, bytes.NewReader(tc.body)); got != tc.want {
					t.Errorf("%s at %s is answered %q, want %s", name, door, got, tc.want)
				}
			})
			if most := int64(16 << 20); grown > conns*most && !raced {
				t.Errorf("%s at %s, %d at once: %d MiB more, want at most 16 each", name, door, conns, grown>>20)
			}
			t.Logf("%s at %s: %d at once, at most %d MiB more, %s of the processor each", name, door, conns, grown>>20, (p.worked()-worked)/conns)
		}
	}
	p.onlyThatOne()
}

// worked is how long processors have worked for the process; 0 where the system does not say.
func (p *plant) worked() time.Duration {
	p.t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var ticks int64
	for _, field := range strings.Fields(rest)[11:13] { // of the user, and of the system: hundredths of seconds
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// L9
func TestWhatOneAlertMayHoldIsBoundedAndSendersMakeNoMetricsOfOurs(t *testing.T) {
	p := newPlant(t, killRules)
	p.jsonDoor()
	p.start()
	p.mustFire(40, 0)
	many := make([]member, 10_000)
	for i := range many {
		many[i] = member{fmt.Sprintf("l%05d", i), `"v"`}
	}
	long := `"` + strings.Repeat("v", 64<<10) + `"`
	doors := doorways()
	am, pd, js := doors["alertmanager"], doors["pagerduty"], doors["json"]
	before := p.series()
	for name, tc := range map[string]struct {
		door doorway
		body string
		want string // a part of the answer
	}{
		"10,000 labels":             {am, am.body(am.alert, many), "10000 of them: at most 64"},
		"10,000 annotations":        {am, am.body([]member{{"annotations", object(many...)}}, am.inner), "10000 of them: at most 64"},
		"a label of 64 KiB":         {am, am.body(nil, []member{{"a", long}}), "65536 bytes: at most 4096"},
		"an annotation of 64 KiB":   {am, am.body([]member{{"annotations", `{"a":` + long + "}"}}, am.inner), "65536 bytes: at most 32768"},
		"a name of 64 KiB":          {am, am.body(nil, []member{{strings.Trim(long, `"`), `"v"`}}), "has 65536 bytes: at most 128"},
		"10,000 details":            {pd, pd.body(pd.alert, append(lacking(pd.inner, "custom_details"), member{"custom_details", object(many...)})), "labels: at most 64"},
		"a class of 64 KiB":         {pd, pd.body(pd.alert, append(lacking(pd.inner, "class"), member{"class", long})), "65536 bytes: at most 4096"},
		"a key of 64 KiB":           {pd, pd.body(append(lacking(pd.alert, "dedup_key"), member{"dedup_key", long}), pd.inner), "65536 characters: at most 255"},
		"a key of 64 KiB of JSON":   {js, js.body(append(lacking(js.alert, "check"), member{"check", long}), nil), "65536 bytes: at most 4096"},
		"a label of 64 KiB of JSON": {js, js.body(append(lacking(js.alert, "app"), member{"app", long}), nil), "65536 bytes: at most 4096"},
	} {
		status, _, answer := p.ask(tc.door.path, tc.door.token, []byte(tc.body))
		if status != http.StatusBadRequest || !strings.Contains(answer, tc.want) {
			t.Errorf("%s is answered %d %.300s, want 400 with %q", name, status, answer, tc.want)
		}
	}
	was := p.memory()
	names := 100_000
	if full() {
		names *= 10
	}
	const each = 50
	for n := 0; n < names; n += each { // the same alert under other names, again and again
		details := make([]member, each)
		for i := range details {
			details[i] = member{fmt.Sprintf("n%06d", n+i), `"v"`}
		}
		status, _, answer := p.ask(pd.path, "", []byte(pd.body(pd.alert, append(lacking(pd.inner, "custom_details"), member{"custom_details", object(details...)}))))
		if status != pd.took {
			t.Fatalf("up to name %d: %d %s", n, status, answer)
		}
	}
	p.settle()
	grown, series := p.memory()-was, p.series()
	if most := int64(32 << 20); grown > most && !raced {
		t.Errorf("%d names of labels take %d MiB, want at most %d", names, grown>>20, most>>20)
	}
	if series > 5000 || series-before > 50 {
		t.Errorf("there are %d series of our own, before %d: senders make some", series, before)
	}
	t.Logf("%d names: %d series, before %d; %d MiB more", names, series, before, grown>>20)
	p.terminate()
	p.noPanic()
	if said := p.said(); bytes.Contains(said, []byte("cannot be applied")) {
		t.Errorf("something was accepted and could not be applied:\n%.2000s", said)
	}
}

// series is how many series the process tells of itself.
func (p *plant) series() (n int) {
	p.t.Helper()
	resp, err := http.Get(p.at(p.t.Context()) + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}
