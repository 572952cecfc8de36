package paging

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// P10: every row acts for what was surely meant, or is answered with the list.
func TestReplies(t *testing.T) {
	unknown := Command{Verb: VerbUnknown}
	for text, want := range map[string]Command{
		"4 17":                    {Verb: VerbAck, Code: 17},
		"5 17":                    {Verb: VerbEscalate, Code: 17},
		"6 17":                    {Verb: VerbResolve, Code: 17},
		"7 18":                    {Verb: VerbConfirm, Code: 18},
		"8 18":                    {Verb: VerbReject, Code: 18},
		"8 18 only one rack":      {Verb: VerbReject, Code: 18, Note: "only one rack"},
		"4 17 driving, 10 min":    {Verb: VerbAck, Code: 17, Note: "driving, 10 min"},
		"4 17, driving":           {Verb: VerbAck, Code: 17, Note: "driving"},
		"4 17 10 min":             {Verb: VerbAck, Code: 17, Note: "10 min"},
		"4 17 Fahre, ÖPNV 🚗":      {Verb: VerbAck, Code: 17, Note: "Fahre, ÖPNV"},
		"4all":                    {Verb: VerbAck, All: true},
		"4 all":                   {Verb: VerbAck, All: true},
		"4 ALL.":                  {Verb: VerbAck, All: true},
		"Ack all on it":           {Verb: VerbAck, All: true, Note: "on it"},
		"okall":                   {Verb: VerbAck, All: true},
		"4":                       {Verb: VerbAck},
		"ack":                     {Verb: VerbAck},
		"ok":                      {Verb: VerbAck},
		"OK!":                     {Verb: VerbAck},
		"Okay, on it":             {Verb: VerbAck, Note: "on it"},
		"ack 17":                  {Verb: VerbAck, Code: 17},
		"ACK17":                   {Verb: VerbAck, Code: 17},
		"Acknowledged 17":         {Verb: VerbAck, Code: 17},
		"resolve 17 disk full":    {Verb: VerbResolve, Code: 17, Note: "disk full"},
		"done 17":                 {Verb: VerbResolve, Code: 17},
		"escalate 17":             {Verb: VerbEscalate, Code: 17},
		"confirm 18":              {Verb: VerbConfirm, Code: 18},
		"reject 18":               {Verb: VerbReject, Code: 18},
		"looking 18":              {Verb: VerbLooking, Code: 18},
		"take 17":                 {Verb: VerbTake, Code: 17},
		"Take 17 please":          {Verb: VerbTake, Code: 17, Note: "please"},
		"take":                    {Verb: VerbTake},
		"6":                       {Verb: VerbResolve},
		"?":                       {Verb: VerbList},
		" ？ ":                     {Verb: VerbList},
		"??":                      {Verb: VerbList},
		"list":                    {Verb: VerbList},
		"  4    17  ":             {Verb: VerbAck, Code: 17},
		"\t4\r\n17\n":             {Verb: VerbAck, Code: 17},
		"4-17":                    {Verb: VerbAck, Code: 17},
		"4:17":                    {Verb: VerbAck, Code: 17},
		"4,17.":                   {Verb: VerbAck, Code: 17},
		"4 #17":                   {Verb: VerbAck, Code: 17},
		"\"4 17\"":                {Verb: VerbAck, Code: 17},
		"(4 17)":                  {Verb: VerbAck, Code: 17},
		"4 17?":                   {Verb: VerbAck, Code: 17},
		"４　１７":                    {Verb: VerbAck, Code: 17},
		"٤ ١٧":                    {Verb: VerbAck, Code: 17},
		"𝟒 𝟏𝟕":                    {Verb: VerbAck, Code: 17},
		"4️⃣ 1️⃣7️⃣":              {Verb: VerbAck, Code: 17},
		"👍 4 17":                  {Verb: VerbAck, Code: 17},
		"4 17 👍🏽":                 {Verb: VerbAck, Code: 17},
		"ＯＫ":                      {Verb: VerbAck},
		"\u200e4\u00a017\u200b":   {Verb: VerbAck, Code: 17},
		"4 017":                   {Verb: VerbAck, Code: 17},
		"417":                     unknown, // 4 17, or the code 417?
		"４１７":                     unknown,
		"17":                      unknown,
		"17 4":                    unknown,
		"4 17 18":                 unknown, // two codes: which of them was meant, or both?
		"4 17, 18":                unknown,
		"4 17 and 18":             unknown,
		"4 17min":                 unknown,
		"4 1234567":               unknown,
		"4 0":                     unknown,
		"6all":                    unknown, // nobody closes everything by a text
		"5 all":                   unknown,
		"all":                     unknown,
		"44":                      unknown,
		"9":                       unknown,
		"3 17":                    unknown,
		"hello":                   unknown,
		"not ok":                  unknown,
		"oki":                     unknown,
		"👍":                       unknown,
		"":                        unknown,
		"   ":                     unknown,
		"...":                     unknown,
		"\xff\xfe":                unknown,
		"STOP":                    {Verb: VerbStop},
		"stop.":                   {Verb: VerbStop},
		" Cancel ":                {Verb: VerbStop},
		"END":                     {Verb: VerbStop},
		"Quit!":                   {Verb: VerbStop},
		"unsubscribe":             {Verb: VerbStop},
		"ＳＴＯＰ":                    {Verb: VerbStop},
		"stop 17":                 unknown, // never a command
		"end 17":                  unknown,
		"START":                   {Verb: VerbStart},
		"unstop":                  {Verb: VerbStart},
		"YES":                     {Verb: VerbStart},
		"help":                    {Verb: VerbHelp},
		"4 17 " + "x\x00y\u202ez": {Verb: VerbAck, Code: 17, Note: "x yz"},
	} {
		if got := ParseReply(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func TestALongNoteIsCut(t *testing.T) {
	got := ParseReply("4 17 " + strings.Repeat("ä", 3000))
	if want := (Command{Verb: VerbAck, Code: 17, Note: strings.Repeat("ä", 500)}); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestMailReplies(t *testing.T) {
	for text, want := range map[string]Command{
		"4 17\r\n\r\nOn Tuesday tocsin wrote:\r\n> Reply 6 17 resolve": {Verb: VerbAck, Code: 17},
		"\n\n 6 17 disk was full\n-- \nPerson One\n":                   {Verb: VerbResolve, Code: 17, Note: "disk was full"},
		"> Reply 4 17 ack":                        {Verb: VerbUnknown},
		"-----Original Message-----\n4 17":        {Verb: VerbUnknown},
		"On Tuesday, tocsin wrote:\n> 4 17":       {Verb: VerbUnknown},
		"I am away until Monday.\n4 17 is not me": {Verb: VerbUnknown},
		"": {Verb: VerbUnknown},
	} {
		if got := ParseMail(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func TestKeysOfACall(t *testing.T) {
	for _, tc := range []struct {
		digits, first string
		want          Verb
	}{
		{"4", "", VerbAck},
		{"44", "", VerbAck},
		{"5", "", VerbEscalate},
		{"6", "", VerbAgain},
		{"6", "6", VerbResolve},
		{"66", "", VerbResolve},
		{"4", "6", VerbAck},
		{"7", "", VerbConfirm},
		{"8", "", VerbReject},
		{"2", "", VerbBridge},
		{"9", "", VerbRepeat},
		{"*", "", VerbRepeat},
		{"", "", VerbNone},
		{"", "6", VerbNone},
		{"46", "", VerbRepeat},
		{"1", "", VerbRepeat},
		{"#", "", VerbRepeat},
		{"9", "6", VerbRepeat},
		{"é", "", VerbRepeat},
	} {
		if got := ParseKey(tc.digits, tc.first); got != tc.want {
			t.Errorf("%q after %q: got %s, want %s", tc.digits, tc.first, got, tc.want)
		}
	}
}

func TestPick(t *testing.T) {
	a, b, m := Open{Code: 17, Incident: 1}, Open{Code: 18, Incident: 2}, Open{Code: 19, Major: 7, Candidate: true}
	for name, tc := range map[string]struct {
		text      string
		open      []Open
		want      []Open
		ambiguous bool
	}{
		"a code picks its own":                   {"4 18", []Open{a, b}, []Open{b}, false},
		"a code that is not open picks nothing":  {"4 99", []Open{a, b}, nil, false},
		"bare with one open picks it":            {"ok", []Open{a}, []Open{a}, false},
		"bare with a candidate open picks it":    {"4", []Open{m}, []Open{m}, false},
		"bare with two open is ambiguous":        {"4", []Open{a, b}, nil, true},
		"bare with none open picks nothing":      {"4", nil, nil, false},
		"all picks all":                          {"4all", []Open{a, b, m}, []Open{a, b, m}, false},
		"all of none is none":                    {"4all", nil, nil, false},
		"a bare resolve is answered by the list": {"6", []Open{a}, nil, true},
		"a bare take too":                        {"take", []Open{a}, nil, true},
		"what is not understood too":             {"417", []Open{a}, nil, true},
		"the list itself":                        {"?", []Open{a}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ambiguous := Pick(ParseReply(tc.text), tc.open)
			same := reflect.DeepEqual(got, tc.want) || len(got)+len(tc.want) == 0
			if !same || ambiguous != tc.ambiguous {
				t.Errorf("got %+v, %v, want %+v, %v", got, ambiguous, tc.want, tc.ambiguous)
			}
		})
	}
}

func TestVerbFor(t *testing.T) {
	incident, candidate := Open{Code: 17, Incident: 1}, Open{Code: 18, Major: 7, Candidate: true}
	for _, tc := range []struct {
		v    Verb
		o    Open
		want Verb
		ok   bool
	}{
		{VerbAck, incident, VerbAck, true},
		{VerbResolve, incident, VerbResolve, true},
		{VerbConfirm, incident, VerbConfirm, false},
		{VerbLooking, incident, VerbLooking, false},
		{VerbAck, candidate, VerbLooking, true},
		{VerbConfirm, candidate, VerbConfirm, true},
		{VerbReject, candidate, VerbReject, true},
		{VerbResolve, candidate, VerbResolve, false},
		{VerbTake, candidate, VerbTake, false},
		{VerbEscalate, candidate, VerbEscalate, true},
	} {
		if got, ok := VerbFor(tc.v, tc.o); got != tc.want || ok != tc.ok {
			t.Errorf("%s for %+v: got %s, %v, want %s, %v", tc.v, tc.o, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	for _, s := range []string{"4 17", "4 17 driving, 10 min", "4all", "ok", "?", "take 17", "STOP", "４　１７", "4️⃣ 1️⃣7️⃣", "417", "\xff", "4 17 and 18"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range []Command{ParseReply(text), ParseMail(text)} {
			acts := slices.Contains([]Verb{VerbAck, VerbResolve, VerbEscalate, VerbConfirm, VerbReject, VerbLooking, VerbTake}, c.Verb)
			switch {
			case c.Code < 0 || c.Code > 999999, c.Code != 0 && c.All, !acts && c != (Command{Verb: c.Verb}), c.All && c.Verb != VerbAck,
				!utf8.ValidString(c.Note), utf8.RuneCountInString(c.Note) > maxNote:
				t.Errorf("%q came to %+v", text, c)
			}
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("4", "")
	f.Add("6", "6")
	f.Fuzz(func(t *testing.T, digits, first string) {
		if v := ParseKey(digits, first); v == VerbResolve && strings.Trim(digits, " \t\r\n\v\f\u0085\u00a06") != "" {
			t.Errorf("%q after %q resolves", digits, first)
		}
	})
}
