package schedules

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Span is a stretch of civil time on some days of the week. It belongs to the day it starts on, and may pass midnight.
type Span struct {
	days     [7]bool // by time.Weekday: the days it starts on
	from, to int64   // seconds after the midnight that its day begins with; to is above from, and at most 24 h above
}

// ParseSpan reads "mon-fri 14:00-17:00", "fri 22:00-06:00" (ends on Saturday), "sat,sun" (all day), "09:00-17:00" (every day),
// "fri-mon 00:00-24:00". Case and extra blanks do not matter.
func ParseSpan(text string) (Span, error) {
	fields := strings.Fields(strings.ToLower(text))
	if len(text) > 200 || len(fields) == 0 || len(fields) > 2 {
		return Span{}, fmt.Errorf(`%.40q is no span: write days and hours, such as "mon-fri 09:00-17:00"`, text)
	}
	days, hours := "mon-sun", "00:00-24:00"
	switch {
	case len(fields) == 2:
		days, hours = fields[0], fields[1]
	case fields[0][0] >= '0' && fields[0][0] <= '9':
		hours = fields[0]
	default:
		days = fields[0]
	}
	var s Span
	for part := range strings.SplitSeq(days, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, okA := weekdays[first]
		b, okB := weekdays[last]
		if !isRange {
			b, okB = a, okA
		}
		if !okA || !okB {
			return Span{}, fmt.Errorf("%q in %q is no day: mon, tue, wed, thu, fri, sat, sun, or a range of them", part, text)
		}
		for d := a; ; d = (d + 1) % 7 {
			s.days[d] = true
			if d == b {
				break
			}
		}
	}
	from, to, isRange := strings.Cut(hours, "-")
	if !isRange {
		return Span{}, fmt.Errorf("%q in %q has no end: write 09:00-17:00", hours, text)
	}
	var errs [2]error
	s.from, errs[0] = parseHour(from)
	s.to, errs[1] = parseHour(to)
	if err := errors.Join(errs[:]...); err != nil {
		return Span{}, fmt.Errorf("%q: %w", text, err)
	}
	switch {
	case s.from == day:
		return Span{}, fmt.Errorf("%q: a span cannot start at 24:00: write 00:00 of the next day", text)
	case s.from == s.to:
		return Span{}, fmt.Errorf("%q: empty: write 00:00-24:00 for the whole day", text)
	case s.to < s.from:
		s.to += day
	}
	return s, nil
}

var weekdays = map[string]time.Weekday{
	"mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday, "sun": time.Sunday,
	"monday": time.Monday, "tuesday": time.Tuesday, "wednesday": time.Wednesday, "thursday": time.Thursday, "friday": time.Friday,
	"saturday": time.Saturday, "sunday": time.Sunday,
}

// parseHour reads 00:00 to 24:00 as seconds after midnight.
func parseHour(s string) (int64, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != 5 {
		return 0, fmt.Errorf("%q is no time of day: write it like 09:00", s)
	}
	return int64(t.Hour())*3600 + int64(t.Minute())*60, nil
}

// holds reports whether civil second c lies in s.
func (s Span) holds(c int64) bool {
	d, sec := floorDay(c)
	return s.days[weekday(d)] && sec >= s.from && sec < s.to ||
		s.days[weekday(d-1)] && sec+day >= s.from && sec+day < s.to // began yesterday
}

// next is the first civil second after c at which s begins or ends.
func (s Span) next(c int64) int64 {
	d, _ := floorDay(c)
	for d--; ; d++ { // ends within nine days: s starts on some day of each week
		if !s.days[weekday(d)] {
			continue
		}
		if t := d*day + s.from; t > c {
			return t
		}
		if t := d*day + s.to; t > c {
			return t
		}
	}
}
