package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Calendar is a set of hours, by name.
type Calendar struct {
	Name     string
	TimeZone string
	Hours    []Span
	Holidays []string // days such as 2026-12-25
	At       Place
}

// A Span is hours on days of the week, in the time zone of what it stands in. It belongs to the day it starts on.
type Span struct {
	Said string  // as written, such as mon-fri 09:00-17:00
	Days [7]bool // by time.Weekday
	From int     // minutes since local midnight
	To   int     // minutes since the same midnight; more than 1440 where it ends on the next day
}

// A Schedule says who is on call.
type Schedule struct {
	Name     string
	TimeZone string // default UTC
	Fallback Target // whom to page when nobody is on call; zero: nobody
	Layers   []Layer
	At       Place
}

// A Layer is people who take turns. A later layer covers an earlier one where it has somebody.
type Layer struct {
	Name     string   // default: its number from 1, such as layer-1
	Rotation []string // names of people, in their order
	Shift    Duration // length of a turn in whole minutes by the clock on the wall: a day is a day also when the clocks change in it; 0: no turns
	Start    string   // civil time in TimeZone of the first turn, as 2006-01-02 15:04; "" since ever
	TimeZone string   // default: the schedule's
	Only     []Span   // it has somebody then only; none: always
	At       Place
}

func (r *reader) calendar(name string, s *section) Calendar {
	out := Calendar{Name: name, TimeZone: s.zone("UTC"), At: s.n.at}
	for _, n := range s.list("hours") {
		if v, ok := r.filled(n); ok {
			out.Hours = r.span(n, v, out.Hours)
		}
	}
	for _, n := range s.list("holidays") {
		v, ok := r.filled(n)
		if !ok {
			continue
		}
		if _, err := time.Parse(time.DateOnly, v); err != nil {
			r.problem(n, fmt.Sprintf("%q is no day", clip(v)), `such as "2026-12-25"`)
			continue
		}
		out.Holidays = append(out.Holidays, v)
	}
	if _, ok := s.get("hours"); !ok {
		s.missing("hours", `such as ["mon-fri 09:00-17:00"]`)
	}
	return out
}

func (r *reader) schedules(s *section, calendars map[string]Calendar) map[string]Schedule {
	return each(s, "schedules", func(name string, s *section) Schedule {
		out := Schedule{Name: name, TimeZone: s.zone("UTC"), At: s.n.at}
		if n, ok := s.get("fallback"); ok {
			out.Fallback, _ = r.target(n, "person", "team", "schedule", "skill")
		}
		n, ok := s.get("layers")
		if !ok {
			s.missing("layers", "such as [{rotation: [one, two], shift: 1w, start: \"2026-01-05 09:00\"}]")
			return out
		}
		for i, item := range r.elements(n) {
			l := r.layer(item, fmt.Sprintf("layer-%d", i+1), out.TimeZone, calendars)
			if j := slices.IndexFunc(out.Layers, func(x Layer) bool { return x.Name == l.Name }); j >= 0 {
				at := item.at
				at.Path = join(at.Path, "name")
				r.complain(at, fmt.Sprintf("another of the layers is named %q, in line %d", l.Name, out.Layers[j].At.Line), "give each its own name: people are told by it why they are on call")
			}
			out.Layers = append(out.Layers, l)
		}
		if n.kind == list && len(n.items) == 0 {
			r.problem(n, "a schedule without layers has nobody on call", "such as [{rotation: [one]}]")
		}
		return out
	})
}

func (r *reader) layer(item *node, name, zone string, calendars map[string]Calendar) Layer {
	s := r.section(item)
	defer s.done()
	out := Layer{Name: s.text("name", name), TimeZone: s.zone(zone), At: item.at}
	out.Rotation = s.refs("rotation", "person")
	if n, ok := s.get("rotation"); !ok {
		s.missing("rotation", "the people who take turns, such as [one, two]")
	} else if n.kind == list && len(n.items) == 0 {
		r.problem(n, "a rotation needs somebody to call", "such as [one, two]")
	}
	if n, ok := s.get("shift"); ok {
		out.Shift = r.shift(n)
	} else if len(out.Rotation) > 1 {
		s.missing("shift", "how long a turn is, such as 1w")
	}
	if n, ok := s.get("start"); ok {
		out.Start = r.civil(n, out.TimeZone)
	} else if len(out.Rotation) > 1 {
		s.missing("start", `when the first turn begins, such as "2026-01-05 09:00"`)
	}
	for _, n := range s.list("only") {
		v, ok := r.filled(n)
		if !ok {
			continue
		}
		if c, ok := calendars[v]; ok {
			var hours []string
			for _, h := range c.Hours {
				hours = append(hours, strconv.Quote(h.Said))
			}
			r.problem(n, fmt.Sprintf("calendar %s cannot be named here yet", v), "write its hours: ["+strings.Join(hours, ", ")+"]")
			continue
		}
		out.Only = r.span(n, v, out.Only)
	}
	return out
}

// shift reads the length of a turn.
func (r *reader) shift(n *node) Duration {
	d, ok := r.duration(n)
	switch {
	case !ok:
	case d == 0:
		r.problem(n, "a turn of 0s never ends", "such as 1d or 1w")
	case d%Minute != 0 || d > 366*Day:
		r.problem(n, fmt.Sprintf("%s is no turn", d), "whole minutes, 1m to 366d")
	default:
		return d
	}
	return 0
}

const civilFormat = "2006-01-02 15:04"

// civil reads a local time, and says if it does not exist there or exists twice.
func (r *reader) civil(n *node, zone string) string {
	v, ok := r.filled(n)
	if !ok {
		return ""
	}
	full := v
	if _, err := time.Parse(time.DateOnly, v); err == nil {
		full += " 00:00"
	}
	bare, err := time.Parse(civilFormat, full)
	loc, zoneErr := time.LoadLocation(zone)
	if err != nil || zoneErr != nil || bare.Year() < 1970 || bare.Year() > 2200 {
		r.problem(n, fmt.Sprintf("%q is no local time", clip(v)), `such as "2026-01-05 09:00"`)
		return ""
	}
	t := time.Date(bare.Year(), bare.Month(), bare.Day(), bare.Hour(), bare.Minute(), 0, 0, loc)
	switch {
	case t.Format(civilFormat) != full:
		r.problem(n, fmt.Sprintf("%s does not exist in %s: the clocks skip it", v, zone), "a time that every day has, such as 09:00")
	case twice(t):
		r.warn(n.at, fmt.Sprintf("%s comes twice in %s: the clocks go back over it", v, zone), "a time that every day has once, such as 09:00")
	}
	return full
}

// twice reports whether another instant of t's zone reads like t.
func twice(t time.Time) bool {
	for _, d := range []time.Duration{-time.Hour, time.Hour, -30 * time.Minute, 30 * time.Minute} {
		if t.Add(d).Format(civilFormat) == t.Format(civilFormat) {
			return true
		}
	}
	return false
}

var (
	spanShape = regexp.MustCompile(`^([a-z,-]+)?(?:(?:^| +)([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2}))?$`)
	weekdays  = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
)

// span appends what v says to spans, if it can be read.
func (r *reader) span(n *node, v string, spans []Span) []Span {
	const hint = `such as "mon-fri 09:00-17:00", "sat,sun" or "22:00-06:00"`
	m := spanShape.FindStringSubmatch(strings.ToLower(strings.TrimSpace(v)))
	if m == nil || len(v) > 200 {
		r.problem(n, fmt.Sprintf("%q is no span of hours", clip(v)), hint)
		return spans
	}
	out := Span{Said: v}
	minutes := func(h, m string) int {
		hours, _ := strconv.Atoi(h)
		mins, _ := strconv.Atoi(m)
		if mins > 59 || hours*60+mins > 24*60 {
			return -1
		}
		return hours*60 + mins
	}
	out.From, out.To = 0, 24*60
	if m[2] != "" {
		out.From, out.To = minutes(m[2], m[3]), minutes(m[4], m[5])
	}
	if out.From < 0 || out.To < 0 || out.From == 24*60 || out.From == out.To {
		r.problem(n, fmt.Sprintf("%q is no span of hours", clip(v)), "from 00:00 to 24:00, and not from a time to itself")
		return spans
	}
	if out.To < out.From {
		out.To += 24 * 60
	}
	for part := range strings.SplitSeq(m[1], ",") {
		if m[1] == "" {
			out.Days = [7]bool{true, true, true, true, true, true, true}
			break
		}
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		a, b := weekday(from), weekday(to)
		if a < 0 || b < 0 {
			bad := from
			if a >= 0 {
				bad = to
			}
			r.problem(n, fmt.Sprintf("%q is no day of the week", bad), "one of mon, tue, wed, thu, fri, sat, sun")
			return spans
		}
		for d := a; ; d = (d + 1) % 7 {
			out.Days[d] = true
			if d == b {
				break
			}
		}
	}
	return append(spans, out)
}

// weekday returns the time.Weekday that word names, in three letters or in full; -1 where it names none.
func weekday(word string) int {
	return slices.IndexFunc(weekdays, func(d string) bool { return strings.HasPrefix(d, word) && (len(word) == 3 || word == d) })
}
