package paging

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"tocsin"
)

// longestSpoken is how many characters of what a sender wrote are spoken: what nobody remembers need not be said at three in the morning.
const longestSpoken = 140

const repeatHint = "9 or star to repeat."

func (v IncidentView) spoken() string {
	severity := map[tocsin.Severity]string{tocsin.Critical: "Critical alert", tocsin.Error: "Error", tocsin.Warning: "Warning"}[v.Severity]
	if severity == "" {
		severity = "Alert"
	}
	if v.Unanswered {
		severity = "Still unanswered. " + severity
	}
	about, summary := v.About, v.Summary
	if rest, ok := strings.CutPrefix(summary, about+":"); ok && about != "" {
		summary = rest
	}
	fact := strings.Trim(Speakable(about, 60)+": "+Speakable(summary, longestSpoken), ": .")
	text := severity + ". " + fact
	if v.More > 0 {
		text += fmt.Sprintf(", and %s", count(v.More, "more alert"))
	}
	text += "."
	if !v.CanReply {
		return text
	}
	return text + " Press 4 to acknowledge, 5 to escalate, 6 twice to resolve, " + bridgeHint(v.Bridge) + repeatHint
}

func (v MajorView) spoken(candidate bool, to tocsin.Person) string {
	text := "Major incident"
	if candidate {
		text += " candidate"
	}
	text += ". " + Speakable(v.Scope, 60)
	if m := v.measures(to); m != "" {
		text += ": " + m
	}
	text += "."
	if candidate && !v.DecideBy.IsZero() {
		then := "the next manager is called"
		switch v.OnTimeout {
		case "confirm":
			then = "it is confirmed"
		case "expire":
			then = "it is dropped"
		}
		text += fmt.Sprintf(" Undecided at %s, %s.", clock(v.DecideBy, v.Now, to), then)
	}
	switch {
	case !v.CanReply:
		return text
	case candidate:
		return text + " Press 7 to confirm, 8 to reject, 4 if you are looking, " + bridgeHint(v.Bridge) + repeatHint
	}
	return text + " Press 4 to acknowledge, 5 to escalate, " + bridgeHint(v.Bridge) + repeatHint
}

func bridgeHint(bridge bool) string {
	if bridge {
		return "2 to join the bridge, "
	}
	return ""
}

// AgainText asks for the second 6 of a call.
func AgainText() string {
	return "Press 6 once more to resolve, 4 to acknowledge, " + repeatHint
}

var (
	spokenAddress = regexp.MustCompile(`\b[a-zA-Z][a-zA-Z0-9+.-]*://\S+`)
	spokenUnit    = regexp.MustCompile(`\b([0-9]+(?:\.[0-9]+)?) ?(ms|us|s|m|min|h|d|[kKMGTP]i?[Bb]|B)\b`)
	spokenLong    = regexp.MustCompile(`[0-9]{7,}`)
)

// Speakable writes s as a voice should read it: words for signs and units, no addresses, at most n characters.
func Speakable(s string, n int) string {
	s = spokenAddress.ReplaceAllString(norm.NFKC.String(oneLine(s)), " ")
	s = spokenUnit.ReplaceAllStringFunc(s, func(m string) string {
		parts := spokenUnit.FindStringSubmatch(m)
		return parts[1] + " " + unitWord(parts[2], parts[1] == "1")
	})
	s = spokenLong.ReplaceAllStringFunc(s, func(m string) string { return strings.Join(strings.Split(m, ""), " ") })
	r := []rune(s)
	var b strings.Builder
	for i, c := range r {
		before, after := ' ', ' '
		if i > 0 {
			before = r[i-1]
		}
		if i+1 < len(r) {
			after = r[i+1]
		}
		b.WriteString(spokenSign(c, before, after, r, i))
	}
	out := strings.Join(strings.Fields(b.String()), " ")
	if o := []rune(out); len(o) > n {
		out = string(o[:n])
		if i := strings.LastIndexByte(out, ' '); i > 0 {
			out = out[:i]
		}
	}
	return strings.TrimRight(out, " ,;:")
}

// spokenSign is how the sign c between two others is read; letters and digits are themselves.
func spokenSign(c, before, after rune, all []rune, i int) string {
	inside := isWord(before) && isWord(after)
	switch {
	case isWord(c), c == ' ', c == ',', c == ';', c == '?', c == '!':
		return string(c)
	case c == ':':
		return ":"
	case c == '.':
		decimal := isDigit(before) && isDigit(after) && !dotted(all, i)
		if inside && !decimal {
			return " dot "
		}
		return "."
	case c == '-' && isDigit(after) && !isWord(before):
		return " minus "
	}
	if w, ok := map[rune]string{
		'%': " percent ", '&': " and ", '+': " plus ", '=': " equals ", '<': " less than ", '>': " greater than ", '@': " at ", '/': " slash ",
		'#': " number ", '$': " dollars ", '€': " euros ", '£': " pounds ", '°': " degrees ", '~': " about ",
	}[c]; ok {
		return w
	}
	if unicode.In(c, unicode.Variation_Selector) {
		return ""
	}
	return " "
}

// dotted reports whether the number around the dot at i has more dots, as an IP address or a version has.
func dotted(r []rune, i int) bool {
	dots := 0
	for j := i; j >= 0 && (isDigit(r[j]) || r[j] == '.'); j-- {
		if r[j] == '.' {
			dots++
		}
	}
	for j := i + 1; j < len(r) && (isDigit(r[j]) || r[j] == '.'); j++ {
		if r[j] == '.' && j+1 < len(r) && isDigit(r[j+1]) {
			dots++
		}
	}
	return dots > 1
}

func unitWord(unit string, one bool) string {
	word := map[string]string{"ms": "millisecond", "us": "microsecond", "s": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day", "B": "byte"}[unit]
	if word == "" {
		size := map[byte]string{'k': "kilo", 'K': "kilo", 'M': "mega", 'G': "giga", 'T': "tera", 'P': "peta"}[unit[0]]
		word = size + "byte"
		if unit[len(unit)-1] == 'b' {
			word = size + "bit"
		}
	}
	if one {
		return word
	}
	return word + "s"
}
