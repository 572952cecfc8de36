package main

import (
	"strings"
	"time"
)

const timeForm = "2006-01-02 15:04:05 -07:00"

// A calendar prints times in one zone; no time is a dash.
type calendar struct{ zone *time.Location }

func (c calendar) at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(c.zone).Format(timeForm)
}

// parseTime reads a time that somebody typed: RFC 3339, a local date with or without a time, a time of today, now, or a
// length from now on such as +2h or -30m.
func parseTime(s string, now time.Time, zone *time.Location) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		d, err := time.ParseDuration(s)
		if err == nil {
			return now.Add(d), nil
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err == nil {
		return t, nil
	}
	for _, form := range []string{"2006-01-02 15:04:05 -07:00", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		t, err = time.ParseInLocation(form, s, zone)
		if err == nil {
			return t, nil
		}
	}
	t, err = time.ParseInLocation("15:04", s, zone)
	if err == nil {
		y, m, d := now.In(zone).Date()
		return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, zone), nil
	}
	return time.Time{}, wrongUse(`%q is no time: write it like "2026-03-02 08:00", 2026-03-02T08:00:00Z, 08:00 or +2h`, s)
}
