package schedules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Schedule is a pager that people carry in turns, as the configuration says it. New makes it answer.
type Schedule struct {
	Name     string
	Zone     string  // IANA name, for all layers that have none of their own
	Fallback string  // whom to page while nobody is on call, such as person/three; "" for nobody
	Layers   []Layer // a later one covers an earlier one wherever it has somebody
}

// A Layer is one rotation.
type Layer struct {
	Name     string
	Rotation []string      // people, in the order of their turns; one person needs neither Shift nor Start
	Shift    time.Duration // how long a turn lasts by the clock on the wall: 24h is a day also when the clocks change in it
	Start    string        // civil time of the first turn, such as "2026-01-05 09:00"; nobody before it; "" : since ever
	Zone     string        // IANA name; "" for the schedule's
	Only     []string      // spans outside of which the layer has nobody, such as "mon-fri 14:00-17:00"; none: always
}

// StartFormat is how Layer.Start is written, in package time's terms.
const StartFormat = "2006-01-02 15:04"

// Limits on what a schedule may say: enough for anybody, and a bound on what a question costs.
const (
	MaxLayers   = 10_000
	MaxRotation = 1_000
	MaxSpans    = 100
	MaxShift    = 366 * 24 * time.Hour
)

// A Mistake is one thing that is wrong in a schedule.
type Mistake struct {
	Field string // where, in the configuration's names: layers[0].only[1]
	Text  string // what, and how to mend it
}

func (m *Mistake) Error() string { return m.Field + ": " + m.Text }

// Validate reports every mistake in s, each a *Mistake joined by errors.Join. Whether the people and targets exist is not its matter.
func (s Schedule) Validate() error {
	_, err := New(s)
	return err
}

// New returns the rota that s describes, or every mistake in it. It loads time zones, and so may read the system's files.
func New(s Schedule) (*Rota, error) {
	c := checker{zones: map[string]*time.Location{}}
	r := &Rota{name: s.Name, fallback: s.Fallback}
	if s.Fallback != "" {
		kind, name, ok := strings.Cut(s.Fallback, "/")
		switch {
		case !ok:
			c.wrong("fallback", "%q is no target: write person/%s, or schedule/, team/ or skill/ and a name", s.Fallback, s.Fallback)
		case name == "" || !slices.Contains([]string{"person", "schedule", "team", "skill"}, kind):
			c.wrong("fallback", "%q is no target: one of person/NAME, schedule/NAME, team/NAME, skill/NAME", s.Fallback)
		case kind == "schedule" && name == s.Name:
			c.wrong("fallback", "a schedule cannot be its own fallback")
		}
	}
	if len(s.Layers) == 0 {
		c.wrong("layers", "a schedule needs at least one layer")
	}
	if len(s.Layers) > MaxLayers {
		c.wrong("layers", "%d layers, at most %d", len(s.Layers), MaxLayers)
		return nil, errors.Join(c.errs...)
	}
	var outer *time.Location
	if s.Zone != "" {
		outer = c.zone("time_zone", s.Zone)
	} else if slices.ContainsFunc(s.Layers, func(l Layer) bool { return l.Zone == "" }) {
		c.wrong("time_zone", "missing: say where the people's clocks are, such as Europe/Berlin")
	}
	seen := map[string]bool{}
	for i, l := range s.Layers {
		at := fmt.Sprintf("layers[%d]", i)
		if l.Name != "" && seen[l.Name] {
			c.wrong(at+".name", "%q stands twice: timelines could not tell the layers apart", l.Name)
		}
		seen[l.Name] = true
		r.layers = append(r.layers, c.layer(at, l, outer))
	}
	if c.errs != nil {
		return nil, errors.Join(c.errs...)
	}
	return r, nil
}

// A checker reads a schedule and remembers what is wrong in it.
type checker struct {
	errs  []error
	zones map[string]*time.Location
}

func (c *checker) wrong(field, format string, args ...any) {
	c.errs = append(c.errs, &Mistake{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) layer(at string, l Layer, zone *time.Location) layer {
	out := layer{name: l.Name, people: slices.Clone(l.Rotation), zone: zone, start: always}
	if l.Name == "" {
		c.wrong(at+".name", "missing: it is told to people as the reason why they are on call")
	}
	if l.Zone != "" {
		out.zone = c.zone(at+".time_zone", l.Zone)
	}
	switch {
	case len(l.Rotation) == 0:
		c.wrong(at+".rotation", "a layer needs someone to call")
	case len(l.Rotation) > MaxRotation:
		c.wrong(at+".rotation", "%d people, at most %d", len(l.Rotation), MaxRotation)
	}
	for i, p := range l.Rotation {
		if p == "" {
			c.wrong(fmt.Sprintf("%s.rotation[%d]", at, i), "empty")
		}
	}
	if l.Start != "" {
		start, err := time.Parse(StartFormat, l.Start)
		switch {
		case err != nil:
			c.wrong(at+".start", `%q is no civil time: write it like "2026-01-05 09:00"`, l.Start)
		case start.Year() < 1970 || start.Year() > 2200:
			c.wrong(at+".start", "year %d is not between 1970 and 2200", start.Year())
		default:
			out.start = start.Unix()
		}
	} else if len(l.Rotation) > 1 {
		c.wrong(at+".start", `missing: with %d people in turn it must be said when the first turn starts, such as "2026-01-05 09:00"`, len(l.Rotation))
	}
	switch {
	case l.Shift == 0 && len(l.Rotation) > 1:
		c.wrong(at+".shift", "missing: with %d people in turn it must be said how long a turn lasts, such as 1w", len(l.Rotation))
	case l.Shift == 0:
	case l.Shift < time.Minute || l.Shift > MaxShift || l.Shift%time.Minute != 0:
		c.wrong(at+".shift", "%s is no turn: whole minutes, from 1m to 366d", l.Shift)
	default:
		out.shift = int64(l.Shift / time.Second)
	}
	if len(l.Only) > MaxSpans {
		c.wrong(at+".only", "%d spans, at most %d", len(l.Only), MaxSpans)
		return out
	}
	for i, text := range l.Only {
		s, err := ParseSpan(text)
		if err != nil {
			c.wrong(fmt.Sprintf("%s.only[%d]", at, i), "%v", err)
			continue
		}
		out.only = append(out.only, s)
	}
	return out
}

// zone loads a time zone once. What the machine calls Local is refused: it is another zone on another machine.
func (c *checker) zone(field, name string) *time.Location {
	if z := c.zones[name]; z != nil {
		return z
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		c.wrong(field, "%q is no IANA time zone: write one such as Europe/Berlin", name)
		return nil
	}
	c.zones[name] = z
	return z
}
