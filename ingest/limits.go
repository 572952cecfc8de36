package ingest

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// What one alert may hold, at every door. They are told in the answer that refuses it. An alert within them fits into one
// journal entry, whatever its texts become there.
const (
	MaxAlert        = 64 << 10 // bytes of one alert as it was sent
	MaxLabels       = 64       // labels of one alert; annotations too
	MaxName         = 128      // bytes of a label's or annotation's name
	MaxValue        = 4 << 10  // bytes of a label's value, and of a key
	MaxAnnotation   = 32 << 10 // bytes of an annotation's value
	MaxURL          = 16 << 10 // bytes of an address
	MaxNumber       = 64       // characters of a number
	maxSummaryBytes = 1 << 10  // a longer line is cut, because it is one for people
)

// CheckName says why a label or an annotation cannot be called name, or nothing.
func CheckName(name string) string {
	switch {
	case name == "":
		return "a name is empty"
	case len(name) > MaxName:
		return fmt.Sprintf("name %q... has %d bytes: at most %d", cut(name, 32), len(name), MaxName)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Sprintf("name %q has a NUL character", name)
	}
	return ""
}

// CheckText says why the text of a field cannot be kept, or nothing; most is in bytes.
func CheckText(v string, most int) string {
	switch {
	case len(v) > most:
		return fmt.Sprintf("%d bytes: at most %d", len(v), most)
	case strings.IndexByte(v, 0) >= 0:
		return "a NUL character"
	}
	return ""
}

// Line returns the first line of s that says something, for people; one over 1 KiB is cut on a character's border and ends
// in "…".
func Line(s string) string {
	if len(s) <= maxSummaryBytes && strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 {
		return strings.TrimSpace(s)
	}
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	if len(s) > maxSummaryBytes {
		s = cut(s, maxSummaryBytes-len("…")) + "…"
	}
	return s
}

// Cut returns s, or as much of it as fits into most bytes with "…" behind it; it cuts on a character's border. Where not even
// the "…" fits, nothing is left.
func Cut(s string, most int) string {
	switch {
	case len(s) <= most:
		return s
	case most < len("…"):
		return ""
	}
	return cut(s, most-len("…")) + "…"
}

// cut returns at most n bytes of s, whole characters only.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Time reads a time as senders write it: RFC 3339, or ISO 8601 with the offset's colon left out, with a blank for the T, or
// without an offset, which then is UTC. The answer is UTC. The year 1, which some send for "none", is the zero time.
func Time(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err == nil {
		return t.UTC(), true
	}
	for _, layout := range []string{
		"2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999",
	} {
		t, err = time.Parse(layout, s)
		if err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
