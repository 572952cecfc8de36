package schedules

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine that has none of its own
)

// contract is the schedule of the contract's file.
func contract() Schedule {
	return Schedule{
		Name: "platform", Zone: "Europe/Berlin", Fallback: "person/three",
		Layers: []Layer{
			{Name: "weekly", Rotation: []string{"one", "two"}, Shift: 7 * 24 * time.Hour, Start: "2026-01-05 09:00"},
			{Name: "new-york-hours", Rotation: []string{"three"}, Zone: "America/New_York", Only: []string{"mon-fri 14:00-17:00"}},
		},
	}
}

func rota(t testing.TB, s Schedule) *Rota {
	t.Helper()
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// local reads "2026-01-05 09:00" as that zone's clocks show it; "2026-10-25 02:30 CET" where the clocks show it twice.
func local(t testing.TB, zone, text string) time.Time {
	t.Helper()
	z, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	format := StartFormat
	if strings.Count(text, " ") == 2 {
		format += " MST"
	}
	at, err := time.ParseInLocation(format, text, z)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestOnCall(t *testing.T) {
	day := func(zone, start string, shift time.Duration, only ...string) Schedule {
		return Schedule{Name: "s", Zone: zone, Layers: []Layer{{Name: "l", Rotation: []string{"one", "two"}, Shift: shift, Start: start, Only: only}}}
	}
	for name, tc := range map[string]struct {
		s    Schedule
		at   string // in the schedule's zone
		want string
	}{
		"nobody is on call before the layer starts":                      {contract(), "2026-01-05 08:59", ""},
		"the first person has the first turn":                            {contract(), "2026-01-05 09:00", "one"},
		"a turn lasts to its last minute":                                {contract(), "2026-01-12 08:59", "one"},
		"the second person has the second turn":                          {contract(), "2026-01-12 09:00", "two"},
		"the rotation begins again":                                      {contract(), "2026-01-19 09:00", "one"},
		"a later layer covers an earlier one":                            {contract(), "2026-01-06 20:00", "three"},
		"a later layer covers by its own zone's clocks":                  {contract(), "2026-01-06 19:59", "one"},
		"a later layer ends by its own zone's clocks":                    {contract(), "2026-01-06 23:00", "one"},
		"zones that change on other days are an hour closer in between":  {contract(), "2026-03-10 19:00", "three"},
		"a later layer leaves the days that it does not name":            {contract(), "2026-01-10 20:00", "one"},
		"hand-over is at the same local time across the spring change":   {contract(), "2026-03-30 08:59", "two"},
		"hand-over happens at that local time":                           {contract(), "2026-03-30 09:00", "one"},
		"years later it still does":                                      {contract(), "2036-01-07 08:59", "two"},
		"before a hand-over that the spring gap swallows":                {day("Europe/Berlin", "2026-03-28 02:30", 24*time.Hour), "2026-03-29 01:59", "one"},
		"a hand-over in the spring gap happens when the gap ends":        {day("Europe/Berlin", "2026-03-28 02:30", 24*time.Hour), "2026-03-29 03:00", "two"},
		"a hand-over in the autumn fold happens the first time":          {day("Europe/Berlin", "2026-10-24 02:30", 24*time.Hour), "2026-10-25 02:30 CEST", "two"},
		"and is not taken back when the clocks are":                      {day("Europe/Berlin", "2026-10-24 02:30", 24*time.Hour), "2026-10-25 02:00 CET", "two"},
		"and does not happen again":                                      {day("Europe/Berlin", "2026-10-24 02:30", 24*time.Hour), "2026-10-25 02:30 CET", "two"},
		"a turn of 12 hours follows the clocks too":                      {day("Europe/Berlin", "2026-03-28 09:00", 12*time.Hour), "2026-03-29 09:00", "one"},
		"and lasts 11 hours in the night that is short":                  {day("Europe/Berlin", "2026-03-28 09:00", 12*time.Hour), "2026-03-29 08:59", "two"},
		"a gap at midnight moves the hand-over to one o'clock":           {day("Africa/Cairo", "2026-04-23 00:00", 24*time.Hour), "2026-04-24 01:00", "two"},
		"half an hour is a gap too":                                      {day("Australia/Lord_Howe", "2026-10-03 02:15", 24*time.Hour), "2026-10-04 02:30", "two"},
		"a hand-over on a day that was skipped happens when it is over":  {day("Pacific/Apia", "2011-12-29 09:00", 24*time.Hour), "2011-12-31 00:00", "two"},
		"and the next one at its own time":                               {day("Pacific/Apia", "2011-12-29 09:00", 24*time.Hour), "2011-12-31 09:00", "one"},
		"a span that passes midnight belongs to the day it starts on":    {day("Europe/Berlin", "2026-01-01 00:00", 7*24*time.Hour, "fri 22:00-06:00"), "2026-01-03 05:59", "one"},
		"and not to the day it ends on":                                  {day("Europe/Berlin", "2026-01-01 00:00", 7*24*time.Hour, "fri 22:00-06:00"), "2026-01-02 05:59", ""},
		"a span ends at its end":                                         {day("Europe/Berlin", "2026-01-01 00:00", 7*24*time.Hour, "fri 22:00-06:00"), "2026-01-03 06:00", ""},
		"a span inside the gap never is":                                 {day("Europe/Berlin", "2026-01-01 00:00", 365*24*time.Hour, "sun 02:10-02:50"), "2026-03-29 03:00", ""},
		"a span that the fold would repeat is once":                      {day("Europe/Berlin", "2026-01-01 00:00", 365*24*time.Hour, "sun 02:10-02:50"), "2026-10-25 02:20 CET", ""},
		"the first of them is the one":                                   {day("Europe/Berlin", "2026-01-01 00:00", 365*24*time.Hour, "sun 02:10-02:50"), "2026-10-25 02:20 CEST", "one"},
		"where the clocks are 14 hours ahead it is the day after before": {day("Pacific/Kiritimati", "2026-01-01 00:00", 24*time.Hour), "2026-01-02 00:00", "two"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rota(t, tc.s)
			if got := strings.Join(r.At(local(t, tc.s.Zone, tc.at)), " "); got != tc.want {
				t.Errorf("on call at %s = %q, want %q", tc.at, got, tc.want)
			}
		})
	}
}

func TestTheReasonSaysWhichLayerAndHowLong(t *testing.T) {
	r := rota(t, contract())
	utc := func(text string) time.Time { return local(t, "Europe/Berlin", text).UTC() }
	for name, tc := range map[string]struct {
		at   time.Time
		want OnCall
	}{
		"covered":    {utc("2026-01-06 20:30"), OnCall{People: []string{"three"}, Layer: "new-york-hours", Since: utc("2026-01-06 20:00"), Until: utc("2026-01-06 23:00")}},
		"in between": {utc("2026-01-06 23:00"), OnCall{People: []string{"one"}, Layer: "weekly", Since: utc("2026-01-06 23:00"), Until: utc("2026-01-07 20:00")}},
		"week-end":   {utc("2026-01-10 12:00"), OnCall{People: []string{"one"}, Layer: "weekly", Since: utc("2026-01-09 23:00"), Until: utc("2026-01-12 09:00")}},
		"nobody":     {utc("2026-01-03 12:00"), OnCall{Since: utc("2026-01-02 23:00"), Until: utc("2026-01-05 09:00"), Fallback: "person/three"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.OnCall(tc.at); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestOnePersonForEverHasNoBeginningAndNoEnd(t *testing.T) {
	r := rota(t, Schedule{Name: "s", Zone: "UTC", Layers: []Layer{{Name: "all", Rotation: []string{"one"}}}})
	want := OnCall{People: []string{"one"}, Layer: "all"}
	for _, at := range []time.Time{time.Unix(-5e9, 0), time.Unix(0, 0), local(t, "UTC", "2026-01-05 09:00"), time.Unix(9e9, 0)} {
		if got := r.OnCall(at); !reflect.DeepEqual(got, want) {
			t.Errorf("at %s: got %+v, want %+v", at, got, want)
		}
	}
}

func TestShiftsAndGapsOfAWindow(t *testing.T) {
	s := contract()
	s.Layers[0].Only = []string{"mon-fri 00:00-24:00"}
	r := rota(t, s)
	at := func(text string) time.Time { return local(t, "Europe/Berlin", text).UTC() }
	from, to := at("2026-01-08 12:00"), at("2026-01-13 12:00")
	wantShifts := []Shift{
		{[]string{"one"}, "weekly", from, at("2026-01-08 20:00")},
		{[]string{"three"}, "new-york-hours", at("2026-01-08 20:00"), at("2026-01-08 23:00")},
		{[]string{"one"}, "weekly", at("2026-01-08 23:00"), at("2026-01-09 20:00")},
		{[]string{"three"}, "new-york-hours", at("2026-01-09 20:00"), at("2026-01-09 23:00")},
		{[]string{"one"}, "weekly", at("2026-01-09 23:00"), at("2026-01-10 00:00")},
		{[]string{"one"}, "weekly", at("2026-01-12 00:00"), at("2026-01-12 09:00")},
		{[]string{"two"}, "weekly", at("2026-01-12 09:00"), at("2026-01-12 20:00")},
		{[]string{"three"}, "new-york-hours", at("2026-01-12 20:00"), at("2026-01-12 23:00")},
		{[]string{"two"}, "weekly", at("2026-01-12 23:00"), to},
	}
	if got := slices.Collect(r.Shifts(from, to)); !reflect.DeepEqual(got, wantShifts) {
		t.Errorf("shifts\ngot  %v\nwant %v", got, wantShifts)
	}
	wantGaps := []Gap{{at("2026-01-10 00:00"), at("2026-01-12 00:00")}}
	if got := slices.Collect(r.Gaps(from, to)); !reflect.DeepEqual(got, wantGaps) {
		t.Errorf("gaps\ngot  %v\nwant %v", got, wantGaps)
	}
	for range r.Shifts(from, to) {
		break // whoever has seen enough may stop
	}
	if got := slices.Collect(r.Gaps(to, from)); got != nil {
		t.Errorf("gaps of a window that ends before it begins: %v", got)
	}
}

func TestASetAnswersWithTheFallbackWhileNobodyIsOnCall(t *testing.T) {
	bare := contract()
	bare.Fallback = ""
	set := Set{"platform": rota(t, contract()), "bare": rota(t, bare)}
	type answer struct {
		people []string
		why    string
	}
	for _, tc := range []struct {
		schedule, at string
		want         answer
	}{
		{"platform", "2026-01-05 09:00", answer{[]string{"one"}, "on call in schedule platform, layer weekly"}},
		{"platform", "2026-01-04 09:00", answer{[]string{"person/three"}, "nobody is on call in schedule platform, so its fallback person/three"}},
		{"bare", "2026-01-04 09:00", answer{nil, "nobody is on call in schedule bare"}},
		{"other", "2026-01-04 09:00", answer{nil, "there is no schedule other"}},
	} {
		people, why := set.At(tc.schedule, local(t, "Europe/Berlin", tc.at))
		if got := (answer{people, why}); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s at %s: got %+v, want %+v", tc.schedule, tc.at, got, tc.want)
		}
	}
}

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	err := Schedule{
		Name: "s", Zone: "Europe/Berln", Fallback: "three",
		Layers: []Layer{
			{Rotation: []string{"one", ""}, Shift: 90 * time.Second},
			{Name: "a", Shift: 24 * time.Hour, Start: "2026-01-05", Zone: "Local"},
			{Name: "a", Rotation: []string{"one"}, Start: "1926-01-05 09:00", Only: []string{"mon-fry", "09:00", "mon 09:00-09:00", "mon 24:00-09:00", "25:00-26:00", ""}},
		},
	}.Validate()
	want := []string{
		`fallback: "three" is no target: write person/three, or schedule/, team/ or skill/ and a name`,
		`time_zone: "Europe/Berln" is no IANA time zone: write one such as Europe/Berlin`,
		`layers[0].name: missing: it is told to people as the reason why they are on call`,
		`layers[0].rotation[1]: empty`,
		`layers[0].start: missing: with 2 people in turn it must be said when the first turn starts, such as "2026-01-05 09:00"`,
		`layers[0].shift: 1m30s is no turn: whole minutes, from 1m to 366d`,
		`layers[1].time_zone: "Local" is no IANA time zone: write one such as Europe/Berlin`,
		`layers[1].rotation: a layer needs someone to call`,
		`layers[1].start: "2026-01-05" is no civil time: write it like "2026-01-05 09:00"`,
		`layers[2].name: "a" stands twice: timelines could not tell the layers apart`,
		`layers[2].start: year 1926 is not between 1970 and 2200`,
		`layers[2].only[0]: "mon-fry" in "mon-fry" is no day: mon, tue, wed, thu, fri, sat, sun, or a range of them`,
		`layers[2].only[1]: "09:00" in "09:00" has no end: write 09:00-17:00`,
		`layers[2].only[2]: "mon 09:00-09:00": empty: write 00:00-24:00 for the whole day`,
		`layers[2].only[3]: "mon 24:00-09:00": a span cannot start at 24:00: write 00:00 of the next day`,
		"layers[2].only[4]: \"25:00-26:00\": \"25:00\" is no time of day: write it like 09:00\n\"26:00\" is no time of day: write it like 09:00",
		`layers[2].only[5]: "" is no span: write days and hours, such as "mon-fri 09:00-17:00"`,
	}
	var got []string
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, e := range joined.Unwrap() {
			if _, ok := errors.AsType[*Mistake](e); !ok {
				t.Errorf("%v is no *Mistake", e)
			}
			got = append(got, e.Error())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheContractsScheduleHasNoMistake(t *testing.T) {
	if err := contract().Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"mon-fri 14:00-17:00", "fri 22:00-06:00", "sat,sun", "09:00-17:00", "fri-mon 00:00-24:00", "mon", "", " ", "mon-", "-", "24:00-24:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpan(text)
		if err != nil {
			return
		}
		var minutes int
		for c := int64(0); c < 7*day; c += 60 {
			if s.holds(c) {
				minutes++
			}
		}
		if minutes == 0 || s.from >= s.to || s.to-s.from > day {
			t.Errorf("%q was taken and holds %d minutes a week: %+v", text, minutes, s)
		}
	})
}

// thousand is a schedule of a thousand layers of which only the lowest has somebody.
func thousand() Schedule {
	s := contract()
	s.Layers = s.Layers[:1]
	zones := []string{"Europe/Berlin", "America/New_York", "Asia/Tokyo"}
	for i := range 999 {
		s.Layers = append(s.Layers, Layer{
			Name: fmt.Sprintf("layer-%d", i), Rotation: []string{"one", "two", "three"}, Shift: 24 * time.Hour,
			Start: "2026-01-05 09:00", Zone: zones[i%3], Only: []string{"sun 03:00-03:01"},
		})
	}
	return s
}

func BenchmarkAt(b *testing.B) {
	for name, s := range map[string]Schedule{"usual": contract(), "thousand layers": thousand()} {
		b.Run(name, func(b *testing.B) {
			r := rota(b, s)
			at := local(b, "UTC", "2026-11-23 12:00")
			for b.Loop() {
				r.At(at)
			}
		})
	}
}

func BenchmarkShiftsOfAYear(b *testing.B) {
	for name, s := range map[string]Schedule{"usual": contract(), "thousand layers": thousand()} {
		b.Run(name, func(b *testing.B) {
			r := rota(b, s)
			at := local(b, "UTC", "2026-11-23 12:00")
			for b.Loop() {
				for range r.Shifts(at, at.AddDate(1, 0, 0)) {
				}
			}
		})
	}
}
