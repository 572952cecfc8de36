package console

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/correlate"
)

func TestWhatABrowserWouldObeyOrHideIsShown(t *testing.T) {
	const joiners = "\u0645\u06cc\u200c\u062e \U0001F469\u200d\U0001F4BB \U0001F3F4\U000E0067\U000E0062\U000E007F soft\u00adhyphen"
	for name, tc := range map[string]struct{ in, want string }{
		"plain text stays":                 {"db-main\n\tlag 340s", "db-main\n\tlag 340s"},
		"NUL and other controls":           {"a\x00b\x1bc\x7fd\u0085e", "a␀b␛c␡d[U+0085]e"},
		"a carriage return alone":          {"a\rb", "a␍b"},
		"an override of the direction":     {"user \u202egpj.exe", "user [U+202E]gpj.exe"},
		"isolates and marks":               {"\u2066a\u2069\u200e\u200f\u061c", "[U+2066]a[U+2069][U+200E][U+200F][U+061C]"},
		"what has no width":                {"a\u200bb\ufeffc\u2060d", "a[U+200B]b[U+FEFF]c[U+2060]d"},
		"line separators":                  {"a\u2028b\u2029c", "a[U+2028]b[U+2029]c"},
		"bytes that are no UTF-8":          {"a\xffb\xc3", "a\uFFFDb\uFFFD"},
		"joiners of letters and emoji":     {joiners, joiners},
		"other scripts, and signs on them": {"übergröße 東京 עברית e\u0301", "übergröße 東京 עברית e\u0301"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(visible([]byte(tc.in))); got != tc.want {
				t.Errorf("visible(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a\x00b", "\u202e", "\xff", "👩‍💻", "\ufeff\u2028\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		got := visible(page)
		if !utf8.Valid(got) {
			t.Errorf("%q is no UTF-8", got)
		}
		for _, r := range string(got) {
			if unicode.Is(unicode.Cc, r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%U is left in %q", r, got)
			}
		}
		if again := visible(got); string(again) != string(got) {
			t.Errorf("twice is another: %q, %q", got, again)
		}
	})
}

// nobody is a desk that knows one.
type nobody struct{ Desk }

func (nobody) Person(name string) (tocsin.Person, bool) {
	return tocsin.Person{Name: "one", Full: "Person One"}, name == "one"
}

func TestTheTimelineTellsWhatHappenedInWords(t *testing.T) {
	v := &viewer{Person: tocsin.Person{Name: "two"}, zone: time.UTC, now: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC), people: map[string]string{}, desk: nobody{}}
	for name, tc := range map[string]struct {
		actor, kind, data string
		want              entry
	}{
		"a person acknowledges":               {"one", "do-ack", ``, entry{Who: "Person One", Text: "acknowledged it", Tone: "hand"}},
		"it was me":                           {"two", "do-ack", ``, entry{Who: "You", Text: "acknowledged it", Tone: "hand"}},
		"I look":                              {"two", "do-looking", ``, entry{Who: "You", Text: "are looking", Tone: "hand"}},
		"I lead":                              {"two", "do-lead", ``, entry{Who: "You", Text: "lead it", Tone: "hand"}},
		"a robot that the file does not know": {"robot", "do-resolve", ``, entry{Who: "robot", Text: "resolved it", Tone: "good"}},
		"an acknowledgement that ran out":     {"timer", "do-unack", ``, entry{Text: "The acknowledgement was not renewed", Tone: "bad"}},
		"an undecided candidate":              {"timer", "do-pass-on", `{"paging":["three is paged"]}`, entry{Text: "Nobody decided in time: on to the next manager", Tone: "hand", Paging: []string{"three is paged"}}},
		"a note":                              {"one", "do-note", `{"note":"on my way"}`, entry{Who: "Person One", Text: "noted", Note: "on my way"}},
		"a command of a later version":        {"one", "do-some-thing", ``, entry{Who: "Person One", Text: "some thing"}},
		"an event of a later version":         {"rule", "some-thing", ``, entry{Text: "some thing"}},
		"data that nobody can read":           {"rule", "opened", `[`, entry{Text: "Opened", Tone: "bad"}},
		"it opened, with others": {
			"rule", "opened", `{"alerts":24,"steps":[{"kind":"opened","summary":"disk full","why":"first"},{"kind":"joined","summary":"x"},{"kind":"page-now","why":"at once"}],"more":15,"paging":["one is paged"]}`,
			entry{Text: "Opened: disk full", Tone: "bad", Why: "first", Steps: []string{"24 more alerts in the same moment", "Paging begins (at once)"}, Paging: []string{"one is paged"}},
		},
		"the most telling comes first": {
			"rule", "joined", `{"steps":[{"kind":"joined","summary":"x","why":"w"},{"kind":"urgency-rose","why":"an alert is critical"}]}`,
			entry{Text: "More urgent", Tone: "bad", Why: "an alert is critical", Steps: []string{"An alert joined: x (w)"}},
		},
		"many joined": {"rule", "joined", `{"alerts":12,"steps":[{"kind":"joined","summary":"x","why":"w"}],"more":11}`, entry{Text: "12 alerts joined", Why: "w", More: 11}},
		"one ended":   {"rule", "eased", `{"ended":1,"steps":[{"kind":"eased","why":"its sender says so"}]}`, entry{Text: "An alert ended", Why: "its sender says so"}},
		"it recovered": {
			"rule", "recovered", `{"steps":[{"kind":"recovered","summary":"disk full","why":"all its alerts have ended"}]}`,
			entry{Text: "Recovered", Tone: "good", Why: "all its alerts have ended"},
		},
		"a step of the escalation": {"timer", "paged", `{"paging":["two is paged by sms at once"]}`, entry{Text: "Paging", Paging: []string{"two is paged by sms at once"}}},
		"a candidate":              {"rule", "proposed", `{"steps":[{"kind":"proposed","summary":"eu-west","why":"25 hosts over 20 hosts in 15m"}]}`, entry{Text: "A major candidate: eu-west", Tone: "bad", Why: "25 hosts over 20 hosts in 15m"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := v.told(tocsin.Change{At: v.now, Actor: tc.actor, Kind: tc.kind, Data: json.RawMessage(tc.data)})
			tc.want.At = v.at(v.now)
			if diff := gocmp.Diff(tc.want, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryKindOfChangeHasWords(t *testing.T) {
	for _, k := range []string{
		tocsin.DoAck, tocsin.DoTake, tocsin.DoUnack, tocsin.DoResolve, tocsin.DoReopen, tocsin.DoEscalate, tocsin.DoNote, tocsin.DoConfirm, tocsin.DoReject, tocsin.DoLooking,
		tocsin.DoExpire, tocsin.DoPassOn, tocsin.DoLead, tocsin.DoResolveMajor,
	} {
		if commands[k].did == "" || commands[k].timed == "" {
			t.Errorf("%s has no words", k)
		}
	}
	for _, k := range []string{
		tocsin.ChangeOpened, tocsin.ChangeJoined, tocsin.ChangeRose, tocsin.ChangeResolved, tocsin.ChangeReopened, tocsin.ChangeProposed, tocsin.ChangePaged, tocsin.ChangePageFate, tocsin.ChangeNotified,
	} {
		if kindOf(k).weight == 0 {
			t.Errorf("%s has no words", k)
		}
	}
	for k := correlate.Opened; k <= correlate.Lapsed; k++ {
		if kindOf(k.String()).weight == 0 {
			t.Errorf("%s has no words", k)
		}
	}
	for s := tocsin.PageDue; s <= tocsin.PageCancelled; s++ {
		if fates[s].text == "" {
			t.Errorf("a page that is %s has no words", s)
		}
	}
}

func FuzzTold(f *testing.F) {
	f.Add("opened", `{"alerts":2,"steps":[{"kind":"opened","summary":"s","why":"w"}],"paging":["p"]}`)
	f.Add("do-note", `{"note":"n"}`)
	f.Add("x", `[`)
	v := &viewer{zone: time.UTC, people: map[string]string{}, desk: nobody{}}
	f.Fuzz(func(t *testing.T, kind, data string) {
		e := v.told(tocsin.Change{Kind: kind, Actor: "one", Data: json.RawMessage(data)})
		if e.Text == "" && strings.Trim(strings.TrimPrefix(kind, "do-"), "-") != "" {
			t.Errorf("%q %q is told by nothing", kind, data)
		}
	})
}

func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "/i/17?alerts=all", "//x", `/\x`, "http://x/", "/\tx", "javascript:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got := local(p, "/otherwise")
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t") {
			t.Errorf("%q leads to %q", p, got)
		}
	})
}

func TestTimesAndNumbersAreShort(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer{zone: berlin, now: time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)}
	for ago, want := range map[time.Duration][2]string{
		0: {"03:00", "now"}, 3 * time.Minute: {"02:57", "3m"}, 3 * time.Hour: {"00:00", "3h"}, 3*time.Hour + time.Minute: {"Sun 23:59", "3h 1m"}, 50 * time.Hour: {"Sat 01:00", "2d 2h"},
		10 * 24 * time.Hour: {"13 Nov 03:00", "10d"}, 400 * 24 * time.Hour: {"19 Oct 2025 04:00", "400d"},
	} {
		if got := [2]string{v.at(v.now.Add(-ago)).Text, v.age(v.now.Add(-ago))}; got != want {
			t.Errorf("%s ago is %q, want %q", ago, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %s, want %s", n, got, want)
		}
	}
}
