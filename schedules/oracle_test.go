package schedules

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// full is set for the runs before a release: TOCSIN_FULL=1.
func full() bool { return os.Getenv("TOCSIN_FULL") == "1" }

// zones are forty: usual ones, and those whose clocks do odd things (half an hour, midnight, a month of winter, 14 h ahead, 12 h behind).
var zones = []string{
	"Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca", "Pacific/Kiritimati", "Etc/GMT+12", "America/Havana", "Asia/Beirut",
	"America/New_York", "Pacific/Apia", "America/Santiago", "Asia/Kathmandu", "Asia/Tehran", "Asia/Gaza", "America/Asuncion", "Pacific/Chatham",
	"Europe/London", "Europe/Dublin", "Europe/Lisbon", "Europe/Istanbul", "Europe/Moscow", "Asia/Pyongyang", "Asia/Amman", "Asia/Damascus",
	"Asia/Kolkata", "Asia/Tokyo", "America/Sao_Paulo", "America/Caracas", "America/St_Johns", "America/Los_Angeles", "America/Mexico_City", "America/Scoresbysund",
	"Antarctica/Troll", "Antarctica/Casey", "Australia/Sydney", "Pacific/Auckland", "Pacific/Norfolk", "Pacific/Easter", "Africa/Juba", "UTC",
}

// An oracle is a second, dull answer to who is on call: it looks at the clock on the wall each minute, and whatever is due by
// what the clock shows is done then, once.
type oracle struct {
	layers []*wall
}

type wall struct {
	l     Layer
	zone  *time.Location
	start time.Time // the first turn, as a clock in UTC would show it
	next  time.Time // the next hand-over, the same way
	turn  int
	spans []stretch
	on    map[stretch]time.Time // spans that have begun, and when they end
	begun map[stretch]int       // the day of the year on which it began last
}

type stretch struct {
	days     string
	from, to int // minutes
}

// shown is what the clock shows, as the instant at which a clock in UTC shows it.
func shown(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
}

// newOracle begins at an instant around which no clocks change.
func newOracle(t testing.TB, s Schedule, at time.Time) *oracle {
	o := &oracle{}
	for _, l := range s.Layers {
		w := &wall{l: l, on: map[stretch]time.Time{}, begun: map[stretch]int{}}
		name := l.Zone
		if name == "" {
			name = s.Zone
		}
		w.zone, _ = time.LoadLocation(name)
		now := shown(at, w.zone)
		w.start, _ = time.Parse(StartFormat, l.Start)
		w.next = w.start
		w.turn = -1
		if !now.Before(w.start) {
			w.turn = int(now.Sub(w.start) / l.Shift)
			w.next = w.start.Add(time.Duration(w.turn+1) * l.Shift)
		}
		for _, text := range l.Only {
			var st stretch
			var fh, fm, th, tm int
			if _, err := fmt.Sscanf(text, "%s %d:%d-%d:%d", &st.days, &fh, &fm, &th, &tm); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			st.from, st.to = fh*60+fm, th*60+tm
			if st.to < st.from {
				st.to += 24 * 60
			}
			w.spans = append(w.spans, st)
		}
		o.layers = append(o.layers, w)
	}
	return o
}

// at moves the oracle to t, which is a minute after the last one, and answers.
func (o *oracle) at(t time.Time) string {
	who := ""
	for _, w := range o.layers {
		now := shown(t, w.zone)
		for !now.Before(w.next) {
			w.turn++
			w.next = w.next.Add(w.l.Shift)
		}
		for _, st := range w.spans {
			// Today's and the two days' before: a gap may have swallowed the minute at which it began.
			for back := 2; back >= 0; back-- {
				day := time.Date(now.Year(), now.Month(), now.Day()-back, 0, 0, 0, 0, time.UTC)
				number := int(day.Unix() / 86400)
				begins, ends := day.Add(time.Duration(st.from)*time.Minute), day.Add(time.Duration(st.to)*time.Minute)
				named := strings.Contains(st.days, strings.ToLower(day.Weekday().String()[:3]))
				if named && !now.Before(begins) && w.begun[st] < number {
					w.begun[st] = number
					w.on[st] = ends
				}
			}
			if end, ok := w.on[st]; ok && !now.Before(end) {
				delete(w.on, st)
			}
		}
		if w.turn >= 0 && (len(w.spans) == 0 || len(w.on) > 0) {
			who = w.l.Rotation[w.turn%len(w.l.Rotation)]
		}
	}
	return who
}

// anySchedule is a schedule in zone whose hand-overs and spans like to meet the hours in which clocks change.
func anySchedule(zone string) *rapid.Generator[Schedule] {
	return rapid.Custom(func(t *rapid.T) Schedule {
		s := Schedule{Name: "s", Zone: zone}
		hour := rapid.SampledFrom([]int{0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 9, 22, 23})
		minute := rapid.SampledFrom([]int{0, 0, 0, 1, 15, 29, 30, 31, 45, 59})
		for i := range rapid.IntRange(1, 4).Draw(t, "layers") {
			l := Layer{
				Name:     fmt.Sprintf("l%d", i),
				Rotation: rapid.SliceOfN(rapid.SampledFrom([]string{"one", "two", "three", "four"}), 1, 5).Draw(t, "rotation"),
				Shift:    rapid.SampledFrom([]time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 12 * time.Hour, 8 * time.Hour, time.Hour, 30 * time.Minute, 36 * time.Hour, 25*time.Hour + 10*time.Minute}).Draw(t, "shift"),
				Start:    fmt.Sprintf("2009-%02d-%02d %02d:%02d", rapid.IntRange(1, 12).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"), hour.Draw(t, "hour"), minute.Draw(t, "minute")),
			}
			if rapid.IntRange(0, 3).Draw(t, "elsewhere") == 0 {
				l.Zone = rapid.SampledFrom(zones).Draw(t, "zone")
			}
			for range rapid.IntRange(0, 2).Draw(t, "spans") {
				fh, fm, th, tm := hour.Draw(t, "h"), minute.Draw(t, "m"), hour.Draw(t, "h"), minute.Draw(t, "m")
				if fh == th && fm == tm {
					th = (th + 1) % 24
				}
				days := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}), 1, 7, rapid.ID).Draw(t, "days")
				l.Only = append(l.Only, fmt.Sprintf("%s %02d:%02d-%02d:%02d", strings.Join(days, ","), fh, fm, th, tm))
			}
			s.Layers = append(s.Layers, l)
		}
		return s
	})
}

// changes are the instants in [from, to) at which the clocks of zone are set.
func changes(zone string, from, to time.Time) (at []time.Time) {
	z, _ := time.LoadLocation(zone)
	for t := from; t.Before(to); {
		_, end := t.In(z).ZoneBounds()
		if end.IsZero() || !end.Before(to) {
			break
		}
		_, before := end.Add(-time.Second).In(z).Zone()
		_, after := end.In(z).Zone()
		if before != after {
			at = append(at, end.UTC())
		}
		t = end
	}
	return at
}

// quiet is the last midnight UTC at least three days before t around which none of s's clocks change for three days on both sides.
func quiet(s Schedule, t time.Time) time.Time {
	names := []string{s.Zone}
	for _, l := range s.Layers {
		if l.Zone != "" {
			names = append(names, l.Zone)
		}
	}
	for at := t.Add(-72 * time.Hour).Truncate(24 * time.Hour); ; at = at.Add(-24 * time.Hour) {
		if !slices.ContainsFunc(names, func(n string) bool {
			return len(changes(n, at.Add(-72*time.Hour), at.Add(72*time.Hour))) > 0
		}) {
			return at
		}
	}
}

// The windows: 24 h on both sides of each change of the clocks (T5, T6); years from 2015, and Apia's skipped day before them.
func TestEveryMinuteAroundEveryChangeOfTheClocksIsAsTheWallSays(t *testing.T) {
	first, last, tries := 2025, 2026, 1
	if full() {
		first, last, tries = 2015, 2035, 5
	}
	for _, zone := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			windows := changes(zone, time.Date(first, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(last+1, 1, 1, 0, 0, 0, 0, time.UTC))
			switch zone {
			case "Pacific/Apia":
				windows = append(windows, changes(zone, time.Date(2011, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2012, 1, 30, 0, 0, 0, 0, time.UTC))...)
			case "Asia/Pyongyang", "Antarctica/Casey", "Africa/Juba":
				windows = append(windows, changes(zone, time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 12, 30, 0, 0, 0, 0, time.UTC))...)
			}
			if len(windows) == 0 {
				windows = []time.Time{time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
			}
			for i, change := range windows {
				for n := range tries {
					s := anySchedule(zone).Example(i*tries + n + 1)
					compare(t, s, quiet(s, change), change.Add(24*time.Hour))
				}
			}
		})
	}
}

// compare asks the rota and the oracle each minute, and holds Shifts and Gaps against both.
func compare(t testing.TB, s Schedule, from, to time.Time) {
	t.Helper()
	r, err := New(s)
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	warm := from.Add(-48 * time.Hour) // so that the oracle has seen the spans begin
	o := newOracle(t, s, warm)
	for at := warm; at.Before(from); at = at.Add(time.Minute) {
		o.at(at)
	}
	shifts := slices.Collect(r.Shifts(from, to))
	gaps := slices.Collect(r.Gaps(from, to))
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		want := o.at(at)
		if got := strings.Join(r.At(at), " "); got != want {
			t.Fatalf("at %s (%s): got %q, want %q\n%+v", at, at.In(r.layers[0].zone), got, want, s)
		}
		for len(shifts) > 0 && !shifts[0].To.After(at) {
			shifts = shifts[1:]
		}
		for len(gaps) > 0 && !gaps[0].To.After(at) {
			gaps = gaps[1:]
		}
		inShift := ""
		if len(shifts) > 0 && !shifts[0].From.After(at) {
			inShift = shifts[0].People[0]
		}
		if inGap := len(gaps) > 0 && !gaps[0].From.After(at); inShift != want || inGap != (want == "") {
			t.Fatalf("at %s: shift of %q, gap %v, want %q\n%+v", at, inShift, inGap, want, s)
		}
	}
}

func TestEveryMinuteOfAnyScheduleIsAsTheWallSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		s := anySchedule(zone).Draw(t, "schedule")
		from := time.Date(rapid.IntRange(2012, 2034).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month")), 1, 0, 0, 0, 0, time.UTC)
		r, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		from = quiet(s, from)
		o := newOracle(nil, s, from.Add(-48*time.Hour))
		for at := from.Add(-48 * time.Hour); at.Before(from); at = at.Add(time.Minute) {
			o.at(at)
		}
		for at := from; at.Before(from.Add(48 * time.Hour)); at = at.Add(time.Minute) {
			if got, want := strings.Join(r.At(at), " "), o.at(at); got != want {
				t.Fatalf("at %s: got %q, want %q", at, got, want)
			}
		}
	})
}

// T8: ten thousand random rotations for ten years.
func TestTurnsStartAtTheirLocalTimeForTenYears(t *testing.T) {
	rotations := 200
	if full() {
		rotations = 10_000
	}
	rnd := rand.New(rand.NewPCG(1, 2026))
	for range rotations {
		zone := zones[rnd.IntN(len(zones))]
		people := make([]string, 2+rnd.IntN(6))
		for i := range people {
			people[i] = fmt.Sprint("p", i)
		}
		start := time.Date(2025, time.Month(1+rnd.IntN(12)), 1+rnd.IntN(28), 4+rnd.IntN(18), 15*rnd.IntN(4), 0, 0, time.UTC) // no zone here sets its clocks then
		s := Schedule{Name: "s", Zone: zone, Layers: []Layer{{Name: "l", Rotation: people, Shift: 7 * 24 * time.Hour, Start: start.Format(StartFormat)}}}
		r := rota(t, s)
		z, _ := time.LoadLocation(zone)
		for n := range 520 {
			at := time.Date(start.Year(), start.Month(), start.Day()+7*n, start.Hour(), start.Minute(), 0, 0, z)
			want := people[n%len(people)]
			before := ""
			if n > 0 {
				before = people[(n-1)%len(people)]
			}
			if got := strings.Join(r.At(at), " "); got != want {
				t.Fatalf("%s: turn %d at %s: got %q, want %q", zone, n, at, got, want)
			}
			if got := strings.Join(r.At(at.Add(-time.Nanosecond)), " "); got != before {
				t.Fatalf("%s: the instant before turn %d at %s: got %q, want %q", zone, n, at, got, before)
			}
		}
	}
}

// S4: whoever asks at the very instant of a hand-over gets the person who takes over, and a nanosecond before the one who leaves.
func TestAtTheInstantOfAHandOverTheNewPersonIsPaged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySchedule(rapid.SampledFrom(zones).Draw(t, "zone")).Draw(t, "schedule")
		r, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(rapid.IntRange(2012, 2034).Draw(t, "year"), 3, 20, 0, 0, 0, 0, time.UTC)
		var last Shift
		for sh := range r.Shifts(from, from.Add(15*24*time.Hour)) {
			if got := r.At(sh.From); !slices.Equal(got, sh.People) {
				t.Fatalf("at %s: %v, want %v", sh.From, got, sh.People)
			}
			if last.To.Equal(sh.From) {
				if got := r.At(sh.From.Add(-1)); !slices.Equal(got, last.People) {
					t.Fatalf("just before %s: %v, want %v", sh.From, got, last.People)
				}
				if last.Layer == sh.Layer && last.People[0] == sh.People[0] {
					t.Fatalf("%+v and %+v are one shift", last, sh)
				}
			}
			last = sh
		}
	})
}

func TestInstantIsTheFirstAtWhichTheClocksReached(t *testing.T) {
	for _, zone := range zones {
		z, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range changes(zone, time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)) {
			_, off := change.In(z).Zone()
			for c := change.Unix() + int64(off) - 26*3600; c < change.Unix()+int64(off)+26*3600; c += 9 * 60 {
				u := instant(z, c)
				if now, before := reached(z, time.Unix(u, 0)), reached(z, time.Unix(u-1, 0)); now < c || before >= c {
					t.Fatalf("%s, civil %d: instant %d, where the clocks have reached %d, and %d a second before", zone, c, u, now, before)
				}
			}
		}
	}
}
