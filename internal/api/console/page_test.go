package console_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// A doc is a page, read as a browser reads it.
type doc struct {
	t        *testing.T
	Status   int
	Header   http.Header
	Text     string // of the page, blanks folded
	Elements []element
	raw      string
}

type element struct {
	Name string
	Attr map[string]string
	Text string // of the element itself and what is in it
}

// visitor is a browser without scripts.
func (s *site) visitor(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get loads a page.
func (s *site) get(t *testing.T, path string) doc {
	t.Helper()
	return s.load(t, s.visitor(t), path)
}

func (s *site) load(t *testing.T, c *http.Client, path string) doc {
	t.Helper()
	r, err := c.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, r)
}

// press posts a form, and returns the page that follows.
func (s *site) press(t *testing.T, c *http.Client, path string, form url.Values) (at string, d doc) {
	t.Helper()
	r, err := c.PostForm(s.URL+path, form)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusSeeOther {
		return "", read(t, r)
	}
	defer r.Body.Close()
	at = r.Header.Get("Location")
	return at, s.load(t, c, at)
}

func read(t *testing.T, r *http.Response) doc {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	d := doc{t: t, Status: r.StatusCode, Header: r.Header, raw: string(b)}
	x := xml.NewDecoder(strings.NewReader(d.raw))
	x.Strict, x.AutoClose, x.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var open []int
	var text strings.Builder
	say := func(words string) {
		text.WriteString(words)
		for _, i := range open {
			d.Elements[i].Text += words
		}
	}
	for {
		token, err := x.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not whole: %v\n%s", err, d.raw)
		}
		switch token := token.(type) {
		case xml.StartElement:
			say(" ")
			e := element{Name: token.Name.Local, Attr: map[string]string{}}
			for _, a := range token.Attr {
				e.Attr[a.Name.Local] = a.Value
			}
			d.Elements = append(d.Elements, e)
			open = append(open, len(d.Elements)-1)
		case xml.EndElement:
			if len(open) == 0 || d.Elements[open[len(open)-1]].Name != token.Name.Local {
				t.Fatalf("%s ends what is not open\n%s", token.Name.Local, d.raw)
			}
			say(" ")
			open = open[:len(open)-1]
		case xml.CharData:
			say(string(token))
		}
	}
	d.Text = strings.Join(strings.Fields(text.String()), " ")
	for i := range d.Elements {
		d.Elements[i].Text = strings.Join(strings.Fields(d.Elements[i].Text), " ")
	}
	return d
}

func (d doc) says(texts ...string) {
	d.t.Helper()
	for _, text := range texts {
		if !strings.Contains(d.Text, text) {
			d.t.Errorf("the page does not say %q; it says\n%s", text, d.Text)
		}
	}
}

func (d doc) saysNot(texts ...string) {
	d.t.Helper()
	for _, text := range texts {
		if strings.Contains(d.Text, text) {
			d.t.Errorf("the page says %q:\n%s", text, d.Text)
		}
	}
}

// all returns the elements of that name that have the attribute with that value ("": whatever it is).
func (d doc) all(name, attribute, value string) (out []element) {
	for _, e := range d.Elements {
		v, has := e.Attr[attribute]
		if e.Name == name && (attribute == "" || has && (value == "" || v == value)) {
			out = append(out, e)
		}
	}
	return out
}

// buttons are the texts of the buttons that carry something out.
func (d doc) buttons() (out []string) {
	for _, e := range d.all("button", "name", "do") {
		out = append(out, e.Attr["value"])
	}
	return out
}

func TestEveryPageIsWholeAndNeedsNothingFromElsewhere(t *testing.T) {
	s := open(t, as{"one", "admin"})
	s.night(t)
	for _, path := range []string{
		"/", "/?state=triggered", "/?state=resolved", "/?mine=1&service=ci", "/i/1042", "/incidents/i1042", "/i/1038", "/i/1029", "/m/7", "/majors/m7", "/oncall", "/outbox",
		"/ack/i-1042-one", "/ack/m-7-three", "/ack/i-1029-one", "/login", "/login?token=x", "/login?failed=This+token+is+not+known", "/i/77", "/m/77", "/i/x", "/ack/nonsense",
	} {
		t.Run(path, func(t *testing.T) {
			d := s.get(t, path)
			ids := map[string]bool{}
			labelled := map[string]bool{}
			for _, e := range d.Elements {
				if id := e.Attr["id"]; id != "" {
					if ids[id] {
						t.Errorf("id %s stands twice", id)
					}
					ids[id] = true
				}
				for name, value := range e.Attr {
					if strings.HasPrefix(name, "on") || name == "style" {
						t.Errorf("<%s %s=%q>: the policy forbids it", e.Name, name, value)
					}
					if (name == "src" || name == "action" || e.Name == "link" && name == "href") && !strings.HasPrefix(value, "/") {
						t.Errorf("<%s %s=%q> is from elsewhere", e.Name, name, value)
					}
				}
				if e.Name == "script" && e.Attr["src"] == "" || e.Name == "style" {
					t.Errorf("<%s> in the page: the policy forbids it", e.Name)
				}
				if e.Name == "label" {
					if e.Text == "" {
						t.Error("a label says nothing")
					}
					labelled[e.Text] = true
				}
				if (e.Name == "button" || e.Name == "a" && e.Attr["href"] != "") && e.Text == "" && e.Attr["aria-label"] == "" {
					t.Errorf("a <%s> has no name: %v", e.Name, e.Attr)
				}
			}
			if n, inputs := len(labelled), d.all("input", "", ""); n == 0 && slices.ContainsFunc(inputs, func(e element) bool { return e.Attr["type"] != "hidden" }) {
				t.Error("inputs have no labels")
			}
			if h := d.all("h1", "", ""); len(h) != 1 || h[0].Text == "" {
				t.Errorf("a page has one main heading, not %v", h)
			}
			if d.all("html", "lang", "en") == nil || d.all("main", "", "") == nil || d.all("title", "", "")[0].Text == "" {
				t.Error("language, main part or title is missing")
			}
			if strings.HasPrefix(path, "/login") {
				return // its head is the caller's
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cache-Control": "private, no-store",
				"Content-Type": "text/html; charset=utf-8",
			} {
				if got := d.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if p := d.Header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
				t.Errorf("policy %q", p)
			}
		})
	}
}

func TestTheListSaysWhatIsOpenAndWhoHasIt(t *testing.T) {
	s := open(t, as{"one", "manager"})
	s.night(t)
	d := s.get(t, "/")
	d.says("Major? eu-west", "25 hosts of 20", "3 services of 5", "12,000 users of 10,000", "Undecided 03:12, it goes to the next manager.",
		"db-main: replication lag 340s", "#1042 4 alerts, 3 firing nobody has it", "low urgency", "Person Two has it", "yours", "recovered by itself", "resolved by you", "Times in Europe/Berlin (CET)",
		"Nobody has these 7", "In hand 2", "Resolved last")
	if title := d.all("title", "", "")[0].Text; title != "(8) Incidents · tocsin" {
		t.Errorf("title = %q: seven incidents and a candidate wait", title)
	}
	if got := d.buttons(); !slices.Equal(got, []string{"confirm", "reject", "looking", "ack", "ack", "ack", "ack", "ack", "ack", "ack"}) {
		t.Errorf("buttons = %v", got)
	}
}

func TestTheListShowsWhatWasChosen(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	for name, tc := range map[string]struct {
		query     string
		says, not []string
	}{
		"what nobody has":               {"?state=triggered", []string{"replication lag"}, []string{"payment errors", "queue depth"}},
		"what is in hand":               {"?state=acknowledged", []string{"payment errors", "disk 91%"}, []string{"replication lag"}},
		"what is over":                  {"?state=resolved", []string{"queue depth", "certificate"}, []string{"replication lag", "payment errors"}},
		"one service":                   {"?service=payments", []string{"payment errors"}, []string{"replication lag", "disk 91%"}},
		"mine":                          {"?mine=1", []string{"disk 91%"}, []string{"payment errors", "replication lag"}},
		"mine, of a service with none":  {"?mine=1&service=web", []string{}, []string{"disk 91%", "web-07 is down"}},
		"a state that there is not":     {"?state=nonsense", []string{"replication lag", "payment errors"}, nil},
		"older than a number":           {"?state=triggered&before=1041", []string{"p95 latency"}, []string{"replication lag"}},
		"a number that is none":         {"?state=triggered&before=x", []string{"replication lag"}, nil},
		"a service that there is not":   {"?service=%3Cb%3E", []string{"Open 9"}, []string{"replication lag"}},
		"the fragment is the live part": {"?fragment=list", []string{"replication lag"}, []string{"Log out"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := s.get(t, "/"+tc.query)
			d.says(tc.says...)
			d.saysNot(tc.not...)
		})
	}
}

func TestAQuietNightIsSaidInWords(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.get(t, "/").says("All quiet.", "New incidents appear here by themselves.")
}

func TestAnIncidentTellsWhyWhoAndWhatBecameOfIt(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	d := s.get(t, "/i/1042")
	d.says("triggered #1042", "nobody has it", "If nobody answers, the next step is paged 03:05.",
		"joined: the incident's newest alert was 40s old, the window is 15m", `kind="database"`, "Grouped by service db-main", "Set by enrichment", "ReplicationLag",
		"Person Two noted I see it on the replica too.", "Opened: replication lag 340s", "one is paged by sms and email at once, voice after 2m",
		"Person One delivered sent 03:00", "Person One not delivered", "21211: the number is not in service", "by twilio 2 attempts", "Person Two waits due 03:05", "reply 4 42")
	if a := d.all("a", "href", "https://runbooks.example.org/replication-lag"); len(a) == 0 || a[0].Attr["rel"] != "noreferrer nofollow" {
		t.Errorf("the runbook's link = %v", a)
	}
	for _, path := range []string{"/incidents/1042", "/incidents/i1042", "/i/i1042"} {
		if got := s.get(t, path); got.Text != d.Text {
			t.Errorf("%s is another page than /i/1042", path)
		}
	}
}

func TestWhoLooksSeesTheButtonsThatMayBePressed(t *testing.T) {
	for name, tc := range map[string]struct {
		who  as
		path string
		want []string
	}{
		"what nobody has":                    {as{"one", "responder"}, "/i/1042", []string{"ack", "resolve", "escalate", "note"}},
		"what is mine":                       {as{"one", "responder"}, "/i/1031", []string{"resolve", "escalate", "unack", "note"}},
		"what is another's":                  {as{"one", "responder"}, "/i/1038", []string{"take", "resolve", "escalate", "note"}},
		"what is over":                       {as{"one", "responder"}, "/i/1029", []string{"reopen", "note"}},
		"an auditor looks only":              {as{"three", "auditor"}, "/i/1042", nil},
		"an auditor at the list":             {as{"three", "auditor"}, "/", nil},
		"a manager decides":                  {as{"three", "manager"}, "/m/7", []string{"confirm", "reject", "looking", "note", "ack", "ack", "ack", "ack", "ack"}},
		"a responder looks at a candidate":   {as{"one", "responder"}, "/m/7", []string{"looking", "escalate", "note", "ack", "ack", "ack", "ack", "ack"}},
		"an auditor at a candidate":          {as{"three", "auditor"}, "/m/7", nil},
		"a link to what nobody has":          {as{}, "/ack/i-1042-one", []string{"ack", "escalate"}},
		"a link to what is theirs":           {as{}, "/ack/i-1038-two", []string{"resolve", "escalate"}},
		"a link to what is another's":        {as{}, "/ack/i-1038-one", []string{"take"}},
		"a link to what is over":             {as{}, "/ack/i-1029-one", nil},
		"a link to a candidate":              {as{}, "/ack/m-7-three", []string{"confirm", "looking", "reject"}},
		"a link for somebody who is unknown": {as{}, "/ack/i-1042-nobody", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, tc.who)
			s.night(t)
			if got := s.get(t, tc.path).buttons(); !slices.Equal(got, tc.want) {
				t.Errorf("buttons = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAButtonActsAndTheNextPageSaysWhatItCameTo(t *testing.T) {
	for name, tc := range map[string]struct {
		path, do, note string
		at, asked      string
		says           []string
	}{
		"acknowledge":              {"/incidents/1042/do", "ack", "", "/i/1042", `do-ack i1042 by one ""`, []string{"42 db-main is yours", "You acknowledged it"}},
		"take over":                {"/incidents/1038/do", "take", "", "/i/1038", `do-take i1038 by one ""`, []string{"38 payments is yours", "You took it over"}},
		"resolve while it fires":   {"/incidents/1042/do", "resolve", "", "/i/1042", `do-resolve i1042 by one ""`, []string{"42 db-main closed, but 3 alerts still fire. Still firing 03:34: it re-opens and pages."}},
		"escalate":                 {"/incidents/1042/do", "escalate", "", "/i/1042", `do-escalate i1042 by one ""`, []string{"goes on"}},
		"give back":                {"/incidents/1031/do", "unack", "", "/i/1031", `do-unack i1031 by one ""`, []string{"You gave it back"}},
		"open again":               {"/incidents/1029/do", "reopen", "", "/i/1029", `do-reopen i1029 by one ""`, []string{"It is open again", "triggered"}},
		"a note":                   {"/incidents/1042/do", "note", "on my way, 10 min", "/i/1042", `do-note i1042 by one "on my way, 10 min"`, []string{"Noted on 42 db-main.", "on my way, 10 min"}},
		"an empty note":            {"/incidents/1042/do", "note", "  ", "/i/1042", "", []string{"A note needs some words."}},
		"a very long note":         {"/incidents/1042/do", "note", strings.Repeat("x", 2001), "/i/1042", "", []string{"The note is too long"}},
		"who comes second":         {"/incidents/1038/do", "ack", "", "/i/1038", `do-ack i1038 by one ""`, []string{"Person Two has it since 02:26. To have it, take it over."}},
		"what is theirs already":   {"/incidents/1031/do", "ack", "", "/i/1031", `do-ack i1031 by one ""`, []string{"31 ci is yours already"}},
		"what recovered by itself": {"/incidents/1036/do", "ack", "", "/i/1036", `do-ack i1036 by one ""`, []string{"36 queue recovered by itself 01:44. Nothing to do."}},
		"confirm":                  {"/majors/7/do", "confirm", "", "/m/7", `do-confirm m7 by one ""`, []string{"18 eu-west is a major now, 5 incidents joined", "nobody leads it yet"}},
		"reject":                   {"/majors/7/do", "reject", "", "/m/7", `do-reject m7 by one ""`, []string{"18 eu-west is no major", "rejected 03:04 by you"}},
		"looking":                  {"/majors/7/do", "looking", "", "/m/7", `do-looking m7 by one ""`, []string{"You look at 18 eu-west. Undecided 03:14: next manager."}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, as{"one", "manager"})
			s.night(t)
			c := s.visitor(t)
			at, d := s.press(t, c, tc.path, url.Values{"do": {tc.do}, "note": {tc.note}})
			if at != tc.at {
				t.Errorf("then at %q, want %q", at, tc.at)
			}
			d.says(tc.says...)
			var want []string
			if tc.asked != "" {
				want = []string{tc.asked}
			}
			if got := s.desk.asked(); !slices.Equal(got, want) {
				t.Errorf("asked of the desk: %q, want %q", got, want)
			}
			if said := s.load(t, c, tc.at).all("p", "class", "said"); said != nil {
				t.Errorf("it is said again on the next page: %v", said)
			}
		})
	}
}

func TestWhatMayNotBePressedChangesNothing(t *testing.T) {
	s := open(t, as{"one", "auditor"})
	s.night(t)
	may := open(t, as{"one", "responder"})
	may.night(t)
	for name, tc := range map[string]struct {
		s          *site
		path, do   string
		wantStatus int
	}{
		"an auditor acknowledges":         {s, "/incidents/1042/do", "ack", 403},
		"an auditor answers an SMS":       {s, "/outbox/2/reply", "ack", 403},
		"a responder confirms":            {may, "/majors/7/do", "confirm", 403},
		"a button that there is not":      {may, "/incidents/1042/do", "delete", 400},
		"a button of a major that is not": {may, "/majors/7/do", "ack", 400},
		"an incident that there is not":   {may, "/incidents/5/do", "ack", 404},
		"a major that there is not":       {may, "/majors/5/do", "looking", 404},
		"an address that is no number":    {may, "/incidents/x/do", "ack", 404},
		"a message that there is not":     {may, "/outbox/999/reply", "ack", 404},
		"a link that nobody signed":       {may, "/ack/zzz", "ack", 404},
		"a link that closes by a note":    {may, "/ack/i-1042-one", "note", 400},
		"a link that resolves a major":    {may, "/ack/m-7-three", "resolve", 400},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(tc.s.desk.asked())
			_, d := tc.s.press(t, tc.s.visitor(t), tc.path, url.Values{"do": {tc.do}, "text": {"4 17"}})
			if d.Status != tc.wantStatus {
				t.Errorf("status = %d, want %d", d.Status, tc.wantStatus)
			}
			for _, asked := range tc.s.desk.asked()[before:] {
				if tc.wantStatus != 404 {
					t.Errorf("the desk was asked: %s", asked)
				}
			}
		})
	}
}

func TestNobodyIsLedAwayByAButton(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	for back, want := range map[string]string{
		"/?state=triggered": "/?state=triggered", "": "/i/1042", "https://evil.example.org/": "/i/1042", "//evil.example.org": "/i/1042", `/\evil.example.org`: "/i/1042",
		"javascript:alert(1)": "/i/1042", "/x\r\nSet-Cookie: a=b": "/i/1042",
	} {
		at, _ := s.press(t, s.visitor(t), "/incidents/1042/do", url.Values{"do": {"note"}, "note": {"x"}, "back": {back}})
		if at != want {
			t.Errorf("back %q leads to %q, want %q", back, at, want)
		}
	}
}

func TestALinkShowsFirstAndActsOnAButton(t *testing.T) {
	s := open(t, as{}) // nobody is logged in
	s.night(t)
	c := s.visitor(t)
	for range 3 { // mail programs look before people do
		s.load(t, c, "/ack/i-1042-one").says("for Person One", "db-main: replication lag 340s", "Nobody has it yet.")
	}
	if asked := s.desk.asked(); asked != nil {
		t.Fatalf("looking has done %q", asked)
	}
	at, d := s.press(t, c, "/ack/i-1042-one", url.Values{"do": {"ack"}})
	if at != "/ack/i-1042-one" {
		t.Errorf("then at %s", at)
	}
	d.says("42 db-main is yours", "It is yours, since 03:04.")
	s.get(t, "/ack/i-1042-two").says("Person One has it, since 03:04. Nothing to do.")
	_, d = s.press(t, c, "/ack/i-1042-two", url.Values{"do": {"ack"}})
	d.says("Person One has it since 03:04.")
	d.saysNot("It is yours")

	_, d = s.press(t, c, "/ack/m-7-three", url.Values{"do": {"confirm"}})
	d.says("18 eu-west is a major now", "It is a major, and nobody leads it yet.")
	_, d = s.press(t, c, "/ack/m-7-three", url.Values{"do": {"lead"}})
	d.says("You have major 18 eu-west", "It is a major, and you lead it.")
	want := []string{`do-ack i1042 by one ""`, `do-ack i1042 by two ""`, `do-confirm m7 by three ""`, `do-lead m7 by three ""`}
	if got := s.desk.asked(); !slices.Equal(got, want) {
		t.Errorf("asked of the desk: %q, want %q", got, want)
	}
	s.get(t, "/ack/nonsense").says("This link is not valid")
}

func TestTimesAreInTheViewersZone(t *testing.T) {
	for who, want := range map[as][]string{
		{"one", "responder"}:   {"since 02:59", "Opened 03:00, 4m ago", "Europe/Berlin (CET)"},
		{"three", "responder"}: {"since 20:59", "Opened 21:00, 4m ago", "America/New_York (EST)"},
		{"robot", "responder"}: {"since 01:59", "Opened 02:00, 4m ago", "Times in UTC", "robot, responder"},
	} {
		s := open(t, who)
		s.night(t)
		s.get(t, "/i/1042").says(want...)
	}
}

func TestWhoIsOnCallAndWhereNobodyIs(t *testing.T) {
	s := open(t, as{"one", "responder"})
	d := s.get(t, "/oncall")
	d.says("platform pages team platform", "Person One layer weekly, until 09:00", "Person Three fallback", "14 gaps in the next 14 days", "Gap: nobody", "Person One you", "weekly")
	if gaps := d.all("rect", "class", "gap"); len(gaps) != 14 {
		t.Errorf("%d gaps are drawn, want 14", len(gaps))
	}
}

func TestTheOutboxAnswersAsThePersonWould(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	c := s.visitor(t)
	d := s.load(t, c, "/outbox")
	d.says("SMS to Person One +15005550001", "CRIT db-main: replication lag 340s (+3). Reply 4 42 ack", "Call to Person One", "4 acknowledge", "66 resolve", "Mail to Person One",
		"CRIT db-main: replication lag 340s (+3) [#1042]", "7 18", "8 18")
	if a := d.all("a", "href", "/ack/i-1042-one"); len(a) != 1 {
		t.Errorf("the mail's link = %v", a)
	}
	at, d := s.press(t, c, "/outbox/2/reply", url.Values{"text": {" 4 42 "}, "once": {"abc"}})
	if at != "/outbox#o5" {
		t.Errorf("then at %s", at)
	}
	d.says("Written: 4 42 17 db-main is yours, the others know.", "answered 03:04")
	_, d = s.press(t, c, "/outbox/3/key", url.Values{"digits": {"4"}})
	d.says("On the call with Person One", "It is yours. Goodbye.")
	_, d = s.press(t, c, "/outbox/2/reply", url.Values{"text": {"  "}})
	d.says("An empty message is not sent.")
	_, d = s.press(t, c, "/outbox/3/key", url.Values{"digits": {"12345"}})
	if d.Status != 400 {
		t.Errorf("keys that are none: %d", d.Status)
	}
	want := []string{`reply sandbox +15005550001 "4 42"`, "key sandbox p3 4"}
	if got := s.desk.asked(); !slices.Equal(got, want) {
		t.Errorf("asked of the desk: %q, want %q", got, want)
	}
}

func TestLoggingInIsAButtonForALinkAndAFieldForAToken(t *testing.T) {
	s := open(t, as{})
	link := s.get(t, "/login?token=sec%22ret")
	if in := link.all("input", "name", "link"); len(in) != 1 || in[0].Attr["value"] != `sec"ret` || link.all("input", "name", "token") != nil {
		t.Errorf("inputs of a link = %v", link.all("input", "", ""))
	}
	plain := s.get(t, "/login?failed=This+token+is+not+known+here.")
	plain.says("This token is not known here.")
	if in := plain.all("input", "name", "token"); len(in) != 1 || in[0].Attr["type"] != "password" {
		t.Errorf("inputs without a link = %v", in)
	}
}

func TestStaticFilesAreKeptForEverUnderNamesOfTheirOwn(t *testing.T) {
	s := open(t, as{})
	d := s.get(t, "/login")
	for _, path := range []string{d.all("link", "rel", "stylesheet")[0].Attr["href"], d.all("link", "rel", "icon")[0].Attr["href"]} {
		r, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != 200 || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	if d := s.get(t, "/static/console.css"); d.Status != 404 {
		t.Errorf("a file without its mark: %d", d.Status)
	}
}

// The whole first visit: the list with twenty incidents, the style and the script, as they go over the wire.
func TestTheFirstPageIsSmall(t *testing.T) {
	s := open(t, as{"one", "manager"})
	s.night(t)
	d := s.get(t, "/")
	total := 0
	var parts []string
	for _, path := range []string{"/", d.all("link", "rel", "stylesheet")[0].Attr["href"], d.all("script", "src", "")[0].Attr["src"], d.all("link", "rel", "icon")[0].Attr["href"]} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip") // so the transport leaves it packed
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := io.Copy(io.Discard, r.Body)
		r.Body.Close()
		total += int(n)
		parts = append(parts, fmt.Sprintf("%s %d", path, n))
	}
	t.Logf("%d bytes: %s", total, strings.Join(parts, ", "))
	if total > 20_000 {
		t.Errorf("the first visit is %d bytes, want at most 20,000: %s", total, strings.Join(parts, ", "))
	}
}

func TestNothingHiddenOrTurningReachesABrowser(t *testing.T) {
	s := open(t, as{"one", "manager"})
	s.hostile(t)
	for _, path := range []string{"/", "/?fragment=list", "/i/2000?alerts=all", "/m/9", "/outbox", "/ack/i-2000-one", "/login?token=%00%E2%80%AE", "/?service=%00%E2%80%AE"} {
		r, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !utf8.Valid(b) {
			t.Errorf("%s: valid UTF-8 %v, %v", path, utf8.Valid(b), err)
		}
		for _, c := range string(b) {
			if unicode.Is(unicode.Cc, c) && c != '\n' && c != '\t' || unicode.Is(unicode.Bidi_Control, c) || c == '\ufeff' {
				t.Errorf("%s has %U", path, c)
				break
			}
		}
		if strings.Contains(string(b), "ZgotmplZ") {
			t.Errorf("%s: the template had to refuse an address", path)
		}
		if path == "/" && !strings.Contains(string(b), "[U+202E]") {
			t.Error("what was hidden is not shown")
		}
	}
}
