package paging

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A Verb is what a person asks for.
type Verb string

// The verbs. VerbUnknown is answered with the list of what is open, never guessed at.
const (
	VerbUnknown  Verb = "unknown"
	VerbAck      Verb = "ack"
	VerbResolve  Verb = "resolve"
	VerbEscalate Verb = "escalate"
	VerbConfirm  Verb = "confirm" // of candidates
	VerbReject   Verb = "reject"
	VerbLooking  Verb = "looking"
	VerbTake     Verb = "take"
	VerbList     Verb = "list"
	VerbHelp     Verb = "help"
	VerbStop     Verb = "stop"  // the carrier has blocked us; it is never a command, and is not answered
	VerbStart    Verb = "start" // the carrier lets us through again
	VerbNone     Verb = "none"  // nothing was pressed: not an answer
	VerbAgain    Verb = "again" // 6 was pressed once: ask for the second one
	VerbRepeat   Verb = "repeat"
	VerbBridge   Verb = "bridge"
)

// A Command is what a text means.
type Command struct {
	Verb Verb
	Code int    // the short code; 0: none was said
	All  bool   // everything of this person that is open
	Note string // the words after it, as they were written, at most 500 characters
}

const (
	maxReply = 4000 // bytes of a text that are looked at
	maxNote  = 500  // characters of a note
	maxCode  = 6    // digits of a code
)

// ParseReply reads an SMS. What it does not surely understand is VerbUnknown: a digit that is glued to a code ("417" could be
// 4 17, or a code), two codes at once, a code without a verb. Case, blanks, emoji, full-width and other scripts' digits, and
// punctuation around words do not matter.
func ParseReply(text string) Command {
	words := split(tidy(text))
	if len(words) == 0 {
		if strings.ContainsAny(norm.NFKC.String(clip(text, maxReply)), "?") {
			return Command{Verb: VerbList}
		}
		return Command{Verb: VerbUnknown}
	}
	first := strings.ToLower(words[0].text)
	if v, ok := carrierWords[first]; ok {
		if len(words) > 1 {
			return Command{Verb: VerbUnknown}
		}
		return Command{Verb: v}
	}
	if v, ok := loneWords[first]; ok && len(words) == 1 {
		return Command{Verb: v}
	}
	verb, rest, ok := leading(first)
	if !ok {
		return Command{Verb: VerbUnknown}
	}
	c := Command{Verb: verb}
	after := words[1:]
	switch {
	case rest != "": // 4all, ack17
		if !c.object(rest) {
			return Command{Verb: VerbUnknown}
		}
	case len(after) > 0 && c.object(strings.ToLower(after[0].text)):
		after = after[1:]
	case len(after) > 0 && startsWithDigit(after[0].text):
		return Command{Verb: VerbUnknown} // 17min, 1234567: something like a code that is none
	}
	if c.All && c.Verb != VerbAck {
		return Command{Verb: VerbUnknown} // nobody closes everything by a text
	}
	if len(after) == 0 {
		return c
	}
	note := strings.TrimSpace(after[0].onwards)
	if severalCodes(note) {
		return Command{Verb: VerbUnknown}
	}
	c.Note = clipRunes(note, maxNote)
	return c
}

// ParseMail reads a mail's plain text: its first line that is not quoted, as ParseReply would.
func ParseMail(text string) Command {
	for line := range strings.SplitSeq(clip(text, 1<<20), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case line[0] == '>', line == "--", strings.HasPrefix(line, "-----"), strings.HasPrefix(line, "_____"):
			return Command{Verb: VerbUnknown}
		}
		return ParseReply(line)
	}
	return Command{Verb: VerbUnknown}
}

// carrierWords are acted on by the carrier before they come to us. They count only alone; with other words they mean nothing.
var carrierWords = map[string]Verb{
	"stop": VerbStop, "stopall": VerbStop, "cancel": VerbStop, "end": VerbStop, "quit": VerbStop, "unsubscribe": VerbStop, "revoke": VerbStop, "optout": VerbStop,
	"start": VerbStart, "unstop": VerbStart, "yes": VerbStart,
	"help": VerbHelp, "info": VerbHelp,
}

var loneWords = map[string]Verb{"list": VerbList, "ls": VerbList, "open": VerbList, "status": VerbList, "pages": VerbList, "hilfe": VerbHelp}

// verbs by what they are called, in lower case.
var verbs = map[string]Verb{
	"4": VerbAck, "ack": VerbAck, "acknowledge": VerbAck, "acked": VerbAck, "acknowledged": VerbAck, "ok": VerbAck, "okay": VerbAck,
	"5": VerbEscalate, "escalate": VerbEscalate, "esc": VerbEscalate,
	"6": VerbResolve, "resolve": VerbResolve, "resolved": VerbResolve, "close": VerbResolve, "done": VerbResolve,
	"7": VerbConfirm, "confirm": VerbConfirm, "confirmed": VerbConfirm,
	"8": VerbReject, "reject": VerbReject, "rejected": VerbReject,
	"looking": VerbLooking, "look": VerbLooking,
	"take": VerbTake,
}

// leading finds the verb that word begins with, and what is glued to it: all, or after letters a code.
func leading(word string) (v Verb, rest string, ok bool) {
	if v, ok := verbs[word]; ok {
		return v, "", true
	}
	if head, ok := strings.CutSuffix(word, "all"); ok {
		v, ok := verbs[head]
		return v, "all", ok
	}
	i := strings.IndexFunc(word, isDigit)
	if i < 1 {
		return "", "", false // 417: 4 17, or the code 417? Nobody knows.
	}
	v, ok = verbs[word[:i]]
	return v, word[i:], ok
}

// object reads a code or all.
func (c *Command) object(word string) bool {
	if word == "all" {
		c.All = true
		return true
	}
	if word == "" || len(word) > maxCode || strings.ContainsFunc(word, func(r rune) bool { return !isDigit(r) }) {
		return false
	}
	code := 0
	for _, r := range word {
		code = code*10 + int(r-'0')
	}
	c.Code = code
	return code > 0
}

// severalCodes reports whether note is nothing but more codes: 4 17 18, 4 17 and 18. Acting on the first alone would deceive.
func severalCodes(note string) bool {
	digits := false
	for _, w := range split(note) {
		word := strings.ToLower(w.text)
		if word == "and" || word == "und" || word == "all" {
			continue
		}
		if strings.ContainsFunc(word, func(r rune) bool { return !isDigit(r) }) {
			return false
		}
		digits = true
	}
	return digits
}

// A word is a run of letters and digits, and the text from there on.
type word struct{ text, onwards string }

// split cuts s at everything that is neither letter nor digit. An apostrophe inside of a word belongs to it.
func split(s string) (words []word) {
	for len(s) > 0 {
		i := strings.IndexFunc(s, isWord)
		if i < 0 {
			break
		}
		s = s[i:]
		end := strings.IndexFunc(s, func(r rune) bool { return !isWord(r) })
		if end < 0 {
			end = len(s)
		}
		words = append(words, word{s[:end], s})
		s = s[end:]
	}
	return words
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '\''
}
func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func startsWithDigit(s string) bool { return s != "" && isDigit(rune(s[0])) }

// tidy makes s comparable: compatibility forms folded (full-width digits and letters), every script's digits as ASCII, emoji and
// what joins them, control and invisible characters gone, blanks single.
func tidy(s string) string {
	s = norm.NFKC.String(strings.ToValidUTF8(clip(s, maxReply), " "))
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Cc, r):
			b.WriteByte(' ')
		case unicode.Is(unicode.Nd, r):
			b.WriteByte('0' + digitOf(r))
		case unicode.In(r, unicode.Cf, unicode.So, unicode.Sk, unicode.Me, unicode.Variation_Selector, unicode.Co):
		default:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// digitOf is the value of a decimal digit of any script: each script's ten stand in a row that begins with zero.
func digitOf(r rune) byte {
	var n byte
	for unicode.Is(unicode.Nd, r-1) {
		r--
		n++
	}
	return n % 10
}

// clip cuts s to at most n bytes, on a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func clipRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

// ParseKey reads a key of a call. first is the key pressed before it, where a second one was asked for. Acknowledging a
// candidate means looking: see VerbFor. A key without a meaning is VerbRepeat: the choices are spoken again.
func ParseKey(digits, first string) Verb {
	digits = strings.TrimSpace(digits)
	if digits == "" {
		return VerbNone
	}
	if digits == "66" || digits == "6" && first == "6" {
		return VerbResolve
	}
	if strings.Trim(digits, digits[:1]) != "" {
		return VerbRepeat // several keys: which one was meant?
	}
	switch digits[0] {
	case '2':
		return VerbBridge
	case '4':
		return VerbAck
	case '5':
		return VerbEscalate
	case '6':
		return VerbAgain
	case '7':
		return VerbConfirm
	case '8':
		return VerbReject
	}
	return VerbRepeat // 9 and star are for that; the others mean nothing
}

// An Open is one thing that a person was paged about and that still wants an answer.
type Open struct {
	Code      int
	Incident  int64
	Major     int64
	Candidate bool   // a major that is not decided yet
	About     string // db-main
	Summary   string // replication lag 340s
}

// Pick says what c is about, out of what is open for the person who sent it. ambiguous means: answer with the list, and do
// nothing. No targets and not ambiguous: nothing of that code is open (or nothing at all). Without a code, only an
// acknowledgement acts, and only where exactly one is open; take needs its code always, and may name what is not in open.
func Pick(c Command, open []Open) (targets []Open, ambiguous bool) {
	switch c.Verb {
	case VerbAck, VerbResolve, VerbEscalate, VerbConfirm, VerbReject, VerbLooking, VerbTake:
	default:
		return nil, true
	}
	switch {
	case c.Code != 0:
		if i := slices.IndexFunc(open, func(o Open) bool { return o.Code == c.Code }); i >= 0 {
			return open[i : i+1 : i+1], false
		}
		return nil, false
	case len(open) == 0:
		return nil, false
	case c.Verb != VerbAck:
		return nil, true
	case c.All || len(open) == 1:
		return slices.Clone(open), false
	}
	return nil, true
}

// VerbFor is what v means for o: acknowledging a candidate is looking at it. ok is false where it means nothing for it, such as
// resolving a candidate, or confirming an incident.
func VerbFor(v Verb, o Open) (verb Verb, ok bool) {
	if o.Candidate {
		switch v {
		case VerbAck, VerbLooking:
			return VerbLooking, true
		case VerbConfirm, VerbReject, VerbEscalate:
			return v, true
		}
		return v, false
	}
	switch v {
	case VerbAck, VerbResolve, VerbEscalate, VerbTake:
		return v, true
	case VerbConfirm, VerbReject:
		return v, o.Major != 0 // decided already: the answer says by whom
	}
	return v, false
}
