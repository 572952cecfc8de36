package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Duration is a length of time as the file writes it: whole numbers of s, m, h, d and w, such as 90s, 1h30m or 1w. A day
// has 24 hours here; where civil days are meant (the shift of a rotation), the field says so.
type Duration time.Duration

// Lengths that have names.
const (
	Second = Duration(time.Second)
	Minute = 60 * Second
	Hour   = 60 * Minute
	Day    = 24 * Hour
	Week   = 7 * Day
)

// longest is the longest Duration that is taken: what is longer is a slip of the pen.
const longest = 520 * Week

var units = []struct {
	letter byte
	length Duration
}{{'w', Week}, {'d', Day}, {'h', Hour}, {'m', Minute}, {'s', Second}}

// ParseDuration reads what String writes: each unit at most once, the longest first.
func ParseDuration(s string) (Duration, error) {
	if s == "" {
		return 0, errors.New("a length of time is missing")
	}
	var sum Duration
	next, rest := 0, s
	for rest != "" {
		n, digits := int64(0), 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			n = n*10 + int64(rest[digits]-'0')
			digits++
			if digits > 10 {
				return 0, fmt.Errorf("%q is longer than ten years", s)
			}
		}
		switch {
		case digits == 0:
			return 0, fmt.Errorf("%q is no length of time", s)
		case digits == len(rest):
			return 0, fmt.Errorf("%q lacks a unit", s)
		}
		i := next
		for i < len(units) && units[i].letter != rest[digits] {
			i++
		}
		if i == len(units) {
			return 0, fmt.Errorf("%q is no length of time", s)
		}
		if n > int64(longest/units[i].length) {
			return 0, fmt.Errorf("%q is longer than ten years", s)
		}
		sum += Duration(n) * units[i].length
		next, rest = i+1, rest[digits+1:]
	}
	if sum > longest {
		return 0, fmt.Errorf("%q is longer than ten years", s)
	}
	return sum, nil
}

// String writes d in the fewest units, such as 1w, 90m as 1h30m, and 0s; parts of a second are left out.
func (d Duration) String() string {
	if d < Second {
		return "0s"
	}
	var b strings.Builder
	for _, u := range units {
		if n := d / u.length; n > 0 {
			fmt.Fprintf(&b, "%d%c", int64(n), u.letter)
			d -= n * u.length
		}
	}
	return b.String()
}

// MarshalText writes what String says.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration takes.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
