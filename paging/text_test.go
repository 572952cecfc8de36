package paging

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tocsin"
)

var (
	reader = tocsin.Person{Name: "one", TimeZone: "Europe/Berlin"}
	two    = tocsin.Person{Name: "two", TimeZone: "America/New_York"}
)

// berlin is a time of the night of the examples, by the reader's clocks.
func berlin(t testing.TB, hour string) time.Time {
	t.Helper()
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", "2026-01-06 "+hour, z)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func example(t testing.TB) IncidentView {
	return IncidentView{
		Number: 1042, Code: 17, Severity: tocsin.Critical, Priority: 3, About: "db-main", Summary: "replication lag 340s", More: 11,
		Link: "https://p.example.org/i/1042", CanReply: true, OpenedAt: berlin(t, "02:58"), AckedAt: berlin(t, "03:04"), ResolvedAt: berlin(t, "03:05"),
	}
}

func majorExample(t testing.TB) MajorView {
	return MajorView{
		Number: 7, Code: 18, Priority: 2, Scope: "eu-west", Measures: tocsin.Measures{Hosts: 25, Services: 5, Incidents: 30, Since: berlin(t, "02:58")},
		DecideBy: berlin(t, "03:12"), OnTimeout: "escalate", Link: "https://p.example.org/m/7", CanReply: true,
	}
}

func TestTheTextsOfTheContract(t *testing.T) {
	v, m := example(t), majorExample(t)
	open := []Open{{Code: 17, About: "db-main", Summary: "lag"}, {Code: 18, About: "checkout", Summary: "5xx"}}
	for want, got := range map[string]string{
		"CRIT db-main: replication lag 340s (+11). Reply 4 17 ack, 5 17 escalate, 6 17 resolve. https://p.example.org/i/1042":                                        IncidentText(SMS, v, reader).Text,
		"MAJOR? eu-west: 25 hosts, 5 services, since 02:58. Reply 7 18 confirm, 8 18 reject, 4 18 looking. Undecided 03:12: next manager. https://p.example.org/m/7": MajorText(SMS, tocsin.KindCandidate, m, reader).Text,
		"17 db-main is yours, the others know. Done? 6 17. Cannot? 5 17.":                                                                                            YoursText(v, true),
		"Still on 17 db-main? Reply 4 17 or it pages the next person 03:35.":                                                                                         NudgeText(v, reader, berlin(t, "03:35")),
		"2 pages open: 17 db-main lag, 18 checkout 5xx. Reply 4 17, 4 18 or 4all.":                                                                                   ListText(open, VerbAck),
		"17 closed, but 3 alerts still fire. Still firing 03:35: it re-opens and pages.":                                                                             StillFiringText(v, reader, 3, berlin(t, "03:35")),
		"17 db-main recovered by itself 03:05. Nothing to do.":                                                                                                       RecoveredText(v, reader),
		"two has 17 since 03:04. Go back to sleep. To take it: take 17":                                                                                              TakenText(v, two, reader),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if n, ucs2 := Segments(got); n != 1 || ucs2 {
			t.Errorf("%d segments, UCS-2 %v: %s", n, ucs2, got)
		}
	}
}

func TestEveryOtherTextThatAPersonCanGet(t *testing.T) {
	v, m := example(t), majorExample(t)
	mute, muteMajor := v, m
	mute.CanReply, muteMajor.CanReply = false, false
	confirm, expire := m, m
	confirm.OnTimeout, expire.OnTimeout = "confirm", "expire"
	nag := v
	nag.Unanswered, nag.Severity, nag.More = true, tocsin.Warning, 0
	later := v
	later.Now = berlin(t, "23:00").Add(24 * time.Hour)
	open := []Open{{Code: 17, About: "db-main", Summary: "lag"}, {Code: 18, About: "eu-west", Candidate: true}}
	for want, got := range map[string]string{
		"CRIT db-main: replication lag 340s (+11). https://p.example.org/i/1042":                                                                                  IncidentText(SMS, mute, reader).Text,
		"UNANSWERED WARN db-main: replication lag 340s. Reply 4 17 ack, 5 17 escalate, 6 17 resolve. https://p.example.org/i/1042":                                IncidentText(SMS, nag, reader).Text,
		"MAJOR? eu-west: 25 hosts, 5 services, since 02:58. Undecided 03:12: next manager. https://p.example.org/m/7":                                             MajorText(SMS, tocsin.KindCandidate, muteMajor, reader).Text,
		"MAJOR? eu-west: 25 hosts, 5 services, since 20:58. Reply 7 18 confirm, 8 18 reject, 4 18 looking. Undecided 21:12: confirmed. https://p.example.org/m/7": MajorText(SMS, tocsin.KindCandidate, confirm, two).Text,
		"MAJOR SEV2 eu-west: 25 hosts, 5 services, since 02:58. Reply 4 18 ack, 5 18 escalate. https://p.example.org/m/7":                                         MajorText(SMS, tocsin.KindMajor, m, reader).Text,
		"17 db-main is yours. Done? 6 17. Cannot? 5 17.":                                                                                                          YoursText(v, false),
		"17 db-main is yours, the others know.":                                                                  YoursText(mute, true),
		"17 and 18 are yours, the others know. Done? 6 CODE. Cannot? 5 CODE.":                                    AllYoursText(open),
		"17 is yours, the others know. Done? 6 17. Cannot? 5 17.":                                                AllYoursText(open[:1]),
		"17 db-main is yours already, since 03:04. Done? 6 17. Cannot? 5 17.":                                    AlreadyYoursText(v, reader),
		"17 db-main is yours already, since Tue 03:04. Done? 6 17. Cannot? 5 17.":                                AlreadyYoursText(later, reader),
		"Still on 17 db-main? Acknowledge again or it pages the next person 03:35. https://p.example.org/i/1042": NudgeText(mute, reader, berlin(t, "03:35")),
		"two has 17 db-main since 03:04. Go back to sleep.":                                                      TakenText(mute, two, reader),
		"two took 17 db-main over 03:04. Nothing to do.":                                                         TakenOverText(v, two, reader),
		"17 db-main is resolved, the others know.":                                                               ResolvedText(v),
		"17 closed, but 1 alert still fires. Still firing 03:35: it re-opens and pages.":                         StillFiringText(v, reader, 1, berlin(t, "03:35")),
		"17 db-main was resolved by two 03:05. Nothing to do.":                                                   ClosedText(v, two, reader),
		"17 db-main was resolved by one 21:05. Nothing to do.":                                                   OverText(v, reader, two),
		"17 db-main recovered by itself 02:05 UTC. Nothing to do.":                                               OverText(v, tocsin.Person{}, tocsin.Person{}),
		"17 db-main goes on: the next person is paged now. Nothing more to do.":                                  EscalatedText(v, nil),
		"17 db-main goes on: three, two are paged now. Nothing more to do.":                                      EscalatedText(v, []string{"three", "two"}),
		"Noted on 17 db-main.": NotedText(v),
		"17 db-main belongs to major 18 eu-west now. Nothing to do here. https://p.example.org/m/7":                            JoinedText(v, m),
		"No page is open for you. Nothing to do.":                                                                              ListText(nil, VerbAck),
		"1 page open: 17 db-main lag. Reply 4 17.":                                                                             ListText(open[:1], VerbAck),
		"1 page open: 17 db-main lag. Reply 6 17.":                                                                             ListText(open[:1], VerbResolve),
		"2 pages open: 17 db-main lag, 18 eu-west major?. Reply take 17, take 18.":                                             ListText(open, VerbTake),
		"Nothing of yours is open under 99. No page is open for you. Nothing to do.":                                           UnknownCodeText(99, nil),
		"Nothing of yours is open under 99. 1 page open: 17 db-main lag. Reply 4 17.":                                          UnknownCodeText(99, open[:1]),
		"4 CODE ack, 5 CODE escalate, 6 CODE resolve, take CODE, ? lists what is open. Majors: 7 CODE confirm, 8 CODE reject.": HelpText(),
		"You get pages by SMS again. ? lists what is open.":                                                                    StartedText(),
		"18 eu-west is a major candidate. Reply 7 18 confirm, 8 18 reject, 4 18 looking.":                                      NotForText(open[1]),
		"17 db-main is an incident. Reply 4 17 ack, 5 17 escalate, 6 17 resolve.":                                              NotForText(open[0]),
		"Only a manager decides on 18 eu-west. They are paged.":                                                                ForbiddenText(m),
		"That could NOT be noted, nothing has changed. Please send it again in a minute.":                                      FailedText(),
		"18 eu-west is a major now, 7 incidents joined, their own pages stop. https://p.example.org/m/7":                       ConfirmedText(m, 7),
		"18 eu-west is no major, its incidents go on.":                                                                         RejectedText(m, reader, time.Time{}),
		"18 eu-west is no major, its incidents go on. Not proposed again before 04:05 unless it grows.":                        RejectedText(m, reader, berlin(t, "04:05")),
		"You look at 18 eu-west. Undecided 03:12: next manager. 7 18 confirm, 8 18 reject.":                                    LookingText(m, reader),
		"You look at 18 eu-west. Undecided 03:12: dropped. 7 18 confirm, 8 18 reject.":                                         LookingText(expire, reader),
		"18 eu-west goes to the next manager now.":                                                                             PassedOnText(m),
		"two confirmed 18 eu-west 03:04 already.":                                                                              DecidedText(m, tocsin.Confirmed, two, reader, berlin(t, "03:04")),
		"18 eu-west is expired already, since 03:04.":                                                                          DecidedText(m, tocsin.Expired, tocsin.Person{}, reader, berlin(t, "03:04")),
		"You have major 18 eu-west, the others know. https://p.example.org/m/7":                                                MajorYoursText(m),
		"18 eu-west is no candidate any more, it recovered by itself. Nothing to do.":                                          MajorLapsedText(m),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if n, ucs2 := Segments(got); n != 1 || ucs2 {
			t.Errorf("%d segments, UCS-2 %v: %s", n, ucs2, got)
		}
	}
}

func TestWhatIsSpoken(t *testing.T) {
	v, m := example(t), majorExample(t)
	mute, bridged, odd := v, m, v
	mute.CanReply, mute.More = false, 1
	bridged.Bridge = true
	odd.About, odd.Severity, odd.More = "node-7.example.org", tocsin.Error, 0
	odd.Summary = "node-7.example.org: /var at 98.5% on 10.0.0.12 & 1GiB left, -3°C <see https://x.example.org/a?b=c> id 123456789 🔥\x07\u202e"
	for want, got := range map[string]string{
		"Critical alert. db main: replication lag 340 seconds, and 11 more alerts. Press 4 to acknowledge, 5 to escalate, 6 twice to resolve, 9 or star to repeat.": IncidentText(Voice, v, reader).Text,
		"Critical alert. db main: replication lag 340 seconds, and 1 more alert.":                                                                                   IncidentText(Voice, mute, reader).Text,
		"Error. node 7 dot example dot org: slash var at 98.5 percent on 10 dot 0 dot 0 dot 12 and 1 gigabyte left, minus 3 degrees C less than see id 1 2 3 4 5 6 7 8 9. " +
			"Press 4 to acknowledge, 5 to escalate, 6 twice to resolve, 9 or star to repeat.": IncidentText(Voice, odd, reader).Text,
		"Major incident candidate. eu west: 25 hosts, 5 services, since 02:58. Undecided at 03:12, the next manager is called. " +
			"Press 7 to confirm, 8 to reject, 4 if you are looking, 9 or star to repeat.": MajorText(Voice, tocsin.KindCandidate, m, reader).Text,
		"Major incident. eu west: 25 hosts, 5 services, since 02:58. Press 4 to acknowledge, 5 to escalate, 2 to join the bridge, 9 or star to repeat.": MajorText(Voice, tocsin.KindMajor, bridged, reader).Text,
		"Press 6 once more to resolve, 4 to acknowledge, 9 or star to repeat.":                                                                          AgainText(),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestMails(t *testing.T) {
	v, m := example(t), majorExample(t)
	v.Alerts = []string{"replication lag 340s on db-main-2", "replication lag 12s\r\nBcc: x on db-main-3"}
	v.Why = "rule databases, service=db-main"
	m.Incidents, m.Why = []string{"1042 db-main", "1043 checkout"}, "rule wide-outage: hosts 25 of 20"
	for name, tc := range map[string]struct{ got, want Written }{
		"incident": {IncidentText(Email, v, reader), Written{
			"CRIT db-main: replication lag 340s (+11) [#1042]",
			"CRIT db-main: replication lag 340s (+11)\n\nIncident 1042, SEV3, since Tue 6 Jan 02:58 CET, 12 alerts.\n\nFiring:\n- replication lag 340s on db-main-2\n" +
				"- replication lag 12s Bcc: x on db-main-3\n- and 10 more\n\nWhy: rule databases, service=db-main\n\nhttps://p.example.org/i/1042\n\n" +
				"Reply with 4 17 to acknowledge, 5 17 to escalate, 6 17 to resolve.\n",
		}},
		"candidate": {MajorText(Email, tocsin.KindCandidate, m, reader), Written{
			"MAJOR? eu-west: 25 hosts, 5 services, since 02:58 [M7]",
			"MAJOR? eu-west: 25 hosts, 5 services, since 02:58\n\nPlease decide: Undecided 03:12: next manager.\n\nIncidents:\n- 1042 db-main\n- 1043 checkout\n\n" +
				"Why: rule wide-outage: hosts 25 of 20\n\nhttps://p.example.org/m/7\n\nReply with 7 18 to confirm, 8 18 to reject, 4 18 if you are looking.\n",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.got != tc.want {
				t.Errorf("got\n%s\n%s\nwant\n%s\n%s", tc.got.Subject, tc.got.Text, tc.want.Subject, tc.want.Text)
			}
		})
	}
}

func TestSegmentsAreCountedAsCarriersDo(t *testing.T) {
	for _, tc := range []struct {
		text string
		n    int
		ucs2 bool
	}{
		{"", 1, false},
		{strings.Repeat("a", 160), 1, false},
		{strings.Repeat("a", 161), 2, false},
		{strings.Repeat("a", 306), 2, false},
		{strings.Repeat("a", 307), 3, false},
		{strings.Repeat("€", 80), 1, false},
		{strings.Repeat("€", 81), 2, false},
		{"ÄÖÜäöüßñé{}[]~|^\\€", 1, false},
		{strings.Repeat("я", 70), 1, true},
		{strings.Repeat("я", 71), 2, true},
		{strings.Repeat("я", 135), 3, true},
		{strings.Repeat("🔥", 35), 1, true},
		{strings.Repeat("🔥", 36), 2, true},
		{strings.Repeat("a", 70) + "ç", 2, true},
	} {
		if n, ucs2 := Segments(tc.text); n != tc.n || ucs2 != tc.ucs2 {
			t.Errorf("%.10q... (%d): %d segments, UCS-2 %v, want %d, %v", tc.text, utf8.RuneCountInString(tc.text), n, ucs2, tc.n, tc.ucs2)
		}
	}
}

func TestWhatPhonesCannotShowIsWrittenAsPeopleWould(t *testing.T) {
	for in, want := range map[string]string{
		"“disk” – 95 %… ≥ 90":     `"disk" - 95 %... >= 90`,
		"Łódź: façade, naïve, Őr": "Lodz: facade, naive, Or",
		"Größe ÄÖÜ é è ñ":         "Größe ÄÖÜ é è ñ",
		"🔥 db ✅ down 👍🏽":          "db down",
		"a\u0301b \u00b5s":        "ab us",
		"50°C → 60°C":             "50 deg C -> 60 deg C",
		"line\r\none\x00\ttwo":    "line one two",
		"\u202edrawkcab\u200b":    "drawkcab",
		"база данных":             "база данных",
		"数据库":                     "数据库",
		"ﬁle Ⅳ ①":                 "file IV 1",
		"ok \xff\xfe":             "ok ?",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestALongSummaryIsCutAndTheRestIsKept(t *testing.T) {
	v := example(t)
	v.Summary = strings.Repeat("the disk is filling up ", 20)
	for _, tc := range []struct{ summary, want string }{
		{strings.Repeat("the disk is filling up ", 20), "CRIT db-main: the disk is filling up the disk is filling up the disk is fill... (+11). Reply 4 17 ack, 5 17 escalate, 6 17 resolve. https://p.example.org/i/1042"},
		{strings.Repeat("не работает ", 30), ""},
	} {
		v.Summary = tc.summary
		got := IncidentText(SMS, v, reader).Text
		if tc.want != "" && got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
		if !strings.HasSuffix(got, " (+11). Reply 4 17 ack, 5 17 escalate, 6 17 resolve. https://p.example.org/i/1042") {
			t.Errorf("the end was lost: %s", got)
		}
		if n, ucs2 := Segments(got); n > 1 && !ucs2 || n > 2 {
			t.Errorf("%d segments: %s", n, got)
		}
	}
}

// I4: whatever a sender writes, the link and the hints stay, no control character comes through, and a text has at most three segments.
func TestNoSenderCanBreakAText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := IncidentView{
			Number: 1042, Code: 17, Severity: tocsin.Critical, About: rapid.String().Draw(t, "about"), Summary: rapid.String().Draw(t, "summary"),
			More: rapid.IntRange(0, 1e6).Draw(t, "more"), Link: "https://p.example.org/i/1042", CanReply: true,
		}
		if rapid.Bool().Draw(t, "long") {
			v.Summary = strings.Repeat(v.Summary+" ", 40)
		}
		sms := IncidentText(SMS, v, reader).Text
		if !strings.HasPrefix(sms, "CRIT ") || !strings.HasSuffix(sms, ". Reply 4 17 ack, 5 17 escalate, 6 17 resolve. https://p.example.org/i/1042") {
			t.Fatalf("lost its head or tail: %q", sms)
		}
		if n, _ := Segments(sms); n > 3 {
			t.Fatalf("%d segments: %q", n, sms)
		}
		mail := IncidentText(Email, v, reader)
		voice := IncidentText(Voice, v, reader).Text
		if len([]rune(voice)) > 400 {
			t.Fatalf("nobody listens to %q", voice)
		}
		for _, text := range []string{sms, voice, mail.Subject, strings.ReplaceAll(mail.Text, "\n", ""), TakenText(v, two, reader), ListText([]Open{{Code: 17, About: v.About, Summary: v.Summary}}, VerbAck)} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }) {
				t.Fatalf("control characters: %q", text)
			}
		}
	})
}

func TestAListNamesManyPagesInTwoSegments(t *testing.T) {
	var open []Open
	for i := range 50 {
		open = append(open, Open{Code: 10 + i, About: "host-with-a-rather-long-name-7.example.org", Summary: "something is the matter with it"})
	}
	for n := 1; n <= 50; n++ {
		text := ListText(open[:n], VerbAck)
		if s, _ := Segments(text); s > 3 {
			t.Errorf("%d pages: %d segments: %s", n, s, text)
		}
	}
	got := ListText(open, VerbAck)
	if !strings.HasPrefix(got, "50 pages open: 10 ") || !strings.HasSuffix(got, ". Reply 4 CODE or 4all.") {
		t.Error(got)
	}
}

func TestViewsOfTheWords(t *testing.T) {
	i := tocsin.Incident{ID: 1042, Code: 17, Severity: tocsin.Critical, Priority: 3, Title: "replication lag 340s", Service: "db-main", Alerts: 12}
	want := IncidentView{Number: 1042, Code: 17, Severity: tocsin.Critical, Priority: 3, About: "db-main", Summary: "replication lag 340s", More: 11}
	got := IncidentViewOf(i)
	if got.Number != want.Number || got.About != want.About || got.Summary != want.Summary || got.More != want.More || got.Code != want.Code {
		t.Errorf("got %+v, want %+v", got, want)
	}
	m := MajorViewOf(tocsin.Major{ID: 7, Scope: tocsin.NewLabels(map[string]string{"region": "eu-west", "customer": "a"}), OnTimeout: "expire"})
	if m.Scope != "a eu-west" || m.Number != 7 || m.OnTimeout != "expire" {
		t.Errorf("got %+v", m)
	}
}

func BenchmarkPageText(b *testing.B) {
	v := example(b)
	for b.Loop() {
		IncidentText(SMS, v, reader)
	}
}

func FuzzSpeakable(f *testing.F) {
	f.Add("db-main: 98.5% of 10.0.0.12 https://x.example.org 🔥")
	f.Fuzz(func(t *testing.T, s string) {
		got := Speakable(s, 100)
		if len([]rune(got)) > 100 || strings.ContainsAny(got, "<>&\x00\n") {
			t.Errorf("%q came to %q", s, got)
		}
	})
}

func TestACutNeverPartsLettersFromTheirMarks(t *testing.T) {
	letters := strings.Repeat("नि", 60) // a letter and a mark each
	for room := 4; room < 100; room++ {
		got := cut(letters, room, true)
		kept, ok := strings.CutSuffix(got, "...")
		if n, _ := measure(got); !ok || n > room || !strings.HasPrefix(letters, kept) || utf8.RuneCountInString(kept)%2 != 0 {
			t.Errorf("room for %d: %q", room, got)
		}
	}
}
