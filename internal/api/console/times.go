package console

import (
	"fmt"
	"strconv"
	"time"
)

// A moment is a time as a page shows it: short, in the viewer's zone, and in full where the pointer rests on it.
type moment struct{ ISO, Text, Full string }

// at is t for this viewer; the zero moment for the zero time.
func (v *viewer) at(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	here, now := t.In(v.zone), v.now.In(v.zone)
	layout := "2 Jan 2006 15:04"
	switch d := now.Sub(here).Abs(); {
	case here.Format(time.DateOnly) == now.Format(time.DateOnly):
		layout = "15:04"
	case d < 6*24*time.Hour:
		layout = "Mon 15:04"
	case d < 300*24*time.Hour:
		layout = "2 Jan 15:04"
	}
	return moment{t.UTC().Format(time.RFC3339), here.Format(layout), here.Format("Mon 2 Jan 2006 15:04:05 MST")}
}

// age says how long ago t was, in at most two units.
func (v *viewer) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return long(v.now.Sub(t))
}

// since is when t was and how long ago that is: 03:00, 4m ago.
func (v *viewer) since(t time.Time) string {
	if age := v.age(t); age != "now" {
		return v.at(t).Text + ", " + age + " ago"
	}
	return v.at(t).Text + ", just now"
}

// long is d as people say it: 4m, 2h 10m, 3d 4h.
func long(d time.Duration) string {
	m := int(d / time.Minute)
	switch {
	case m < 1:
		return "now"
	case m < 60:
		return fmt.Sprintf("%dm", m)
	case m < 24*60:
		return two(m/60, "h", m%60, "m")
	}
	return two(m/(24*60), "d", m/60%24, "h")
}

func two(a int, unit string, b int, smaller string) string {
	if b == 0 {
		return fmt.Sprintf("%d%s", a, unit)
	}
	return fmt.Sprintf("%d%s %d%s", a, unit, b, smaller)
}

// count is n of something, whose plural has an s.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + one + "s"
}

// grouped is n with its thousands apart: 12,000.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
