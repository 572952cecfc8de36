package schedules

import (
	"math"
	"time"
)

// Civil time is kept as the Unix second at which a clock in UTC would show it.

const (
	day    = 24 * 60 * 60
	always = math.MinInt64 // a start before all times
	never  = math.MaxInt64 // an instant after all times
)

// farthest is more, in seconds, than any zone's clocks were ever set back or forth, or differ from UTC.
const farthest = 26 * 60 * 60

// reached is the furthest civil second that the clocks of zone have shown up to t. While an hour is repeated it stands still.
func reached(zone *time.Location, t time.Time) int64 {
	at := t.In(zone)
	_, off := at.Zone()
	far := at.Unix() + int64(off)
	for {
		since, _ := at.ZoneBounds()
		if since.IsZero() || t.Unix()-since.Unix() > farthest {
			return far
		}
		at = since.Add(-time.Second)
		_, off = at.Zone()
		far = max(far, at.Unix()+int64(off))
	}
}

// instant is the first Unix second at which the clocks of zone show civil second c or a later one: the inverse of reached.
func instant(zone *time.Location, c int64) int64 {
	at := time.Unix(c-farthest, 0).In(zone) // here no zone's clocks can have reached c
	for {
		_, off := at.Zone()
		since, until := at.ZoneBounds()
		t := c - int64(off)
		if !since.IsZero() {
			t = max(t, since.Unix()) // inside the gap before this period: when the gap ends
		}
		if until.IsZero() || t < until.Unix() {
			return t
		}
		at = until
	}
}

// weekday of a civil day counted from 1970-01-01, a Thursday.
func weekday(d int64) time.Weekday { return time.Weekday(((d+4)%7 + 7) % 7) }

// floorDay splits a civil second into its day from 1970-01-01 and the second of that day.
func floorDay(c int64) (d, sec int64) {
	d, sec = c/day, c%day
	if sec < 0 {
		return d - 1, sec + day
	}
	return d, sec
}
