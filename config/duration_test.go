package config

import (
	"testing"

	"pgregory.net/rapid"
)

func TestAnyLengthOfTimeReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, int64(longest/Second)).Draw(t, "seconds")) * Second
		got, err := ParseDuration(d.String())
		if err != nil || got != d {
			t.Fatalf("%d seconds are written %s and read back as %d, %v", d/Second, d, got/Second, err)
		}
	})
}

func TestLengthsOfTime(t *testing.T) {
	for said, want := range map[string]Duration{
		"0s": 0, "90s": 90 * Second, "1h30m": 90 * Minute, "1d": 24 * Hour, "1w": 168 * Hour, "1w2d3h4m5s": Week + 2*Day + 3*Hour + 4*Minute + 5*Second,
		"": -1, "5": -1, "m": -1, "-5m": -1, "1.5h": -1, "5 m": -1, "5ms": -1, "1m1h": -1, "1m1m": -1, "99999999999s": -1, "521w": -1,
	} {
		got, err := ParseDuration(said)
		if want < 0 && err == nil {
			t.Errorf("%q is read as %s, want an error", said, got)
		}
		if want >= 0 && (err != nil || got != want) {
			t.Errorf("%q is read as %s, %v, want %s", said, got, err, want)
		}
	}
}
