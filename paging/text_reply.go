package paging

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tocsin"
)

// NoticeSubject is the subject of notices that go by mail.
const NoticeSubject = "tocsin: nothing to do"

// The answers to what a person did. by and to are people; times are in to's zone. Hints how to answer stand only where
// CanReply says that an answer comes back to us.

// YoursText confirms an acknowledgement, once it is committed. others says whether anybody else was woken.
func YoursText(v IncidentView, others bool) string {
	know := ""
	if others {
		know = ", the others know"
	}
	text := fmt.Sprintf("%s is yours%s.", v.name(), know)
	if v.CanReply && v.Code != 0 {
		text += fmt.Sprintf(" Done? 6 %d. Cannot? 5 %d.", v.Code, v.Code)
	}
	return text
}

// AllYoursText confirms 4all.
func AllYoursText(open []Open) string {
	var names []string
	for _, o := range open {
		names = append(names, strconv.Itoa(o.Code))
	}
	if len(names) == 0 {
		return NothingOpenText()
	}
	last := names[len(names)-1]
	if len(names) == 1 {
		return fmt.Sprintf("%s is yours, the others know. Done? 6 %s. Cannot? 5 %s.", last, last, last)
	}
	return fit("", strings.Join(names[:len(names)-1], ", ")+" and "+last, " are yours, the others know. Done? 6 CODE. Cannot? 5 CODE.")
}

// AlreadyYoursText answers a second acknowledgement by the same person.
func AlreadyYoursText(v IncidentView, to tocsin.Person) string {
	text := fmt.Sprintf("%s is yours already, since %s.", v.name(), clock(v.AckedAt, v.Now, to))
	if v.CanReply && v.Code != 0 {
		text += fmt.Sprintf(" Done? 6 %d. Cannot? 5 %d.", v.Code, v.Code)
	}
	return text
}

// NudgeText asks the owner for a sign of life before it pages the next person at the given time.
func NudgeText(v IncidentView, to tocsin.Person, at time.Time) string {
	if !v.CanReply || v.Code == 0 {
		return fmt.Sprintf("Still on %s? Acknowledge again or it pages the next person %s.%s", v.name(), clock(at, v.Now, to), link(v.Link))
	}
	return fmt.Sprintf("Still on %s? Reply 4 %d or it pages the next person %s.", v.name(), v.Code, clock(at, v.Now, to))
}

// TakenText tells somebody who was woken too, or whose acknowledgement came second, that by has it.
func TakenText(v IncidentView, by, to tocsin.Person) string {
	text := fmt.Sprintf("%s has %s since %s. Go back to sleep.", who(by), v.codeOrName(), clock(v.AckedAt, v.Now, to))
	if v.CanReply && v.Code != 0 {
		text += fmt.Sprintf(" To take it: take %d", v.Code)
	}
	return text
}

// TakenOverText tells the owner that by took it over.
func TakenOverText(v IncidentView, by, to tocsin.Person) string {
	return fmt.Sprintf("%s took %s over %s. Nothing to do.", who(by), v.name(), clock(v.AckedAt, v.Now, to))
}

// ResolvedText confirms a resolve after which nothing fires.
func ResolvedText(v IncidentView) string { return v.name() + " is resolved, the others know." }

// StillFiringText confirms a resolve while n alerts still fire: at the given time it re-opens.
func StillFiringText(v IncidentView, to tocsin.Person, n int, at time.Time) string {
	verb := "fire"
	if n == 1 {
		verb = "fires"
	}
	return fmt.Sprintf("%s closed, but %s still %s. Still firing %s: it re-opens and pages.", v.codeOrName(), count(n, "alert"), verb, clock(at, v.Now, to))
}

// ClosedText tells somebody who was woken that by resolved it.
func ClosedText(v IncidentView, by, to tocsin.Person) string {
	return fmt.Sprintf("%s was resolved by %s %s. Nothing to do.", v.name(), who(by), clock(v.ResolvedAt, v.Now, to))
}

// RecoveredText tells somebody who was woken that it is over by itself.
func RecoveredText(v IncidentView, to tocsin.Person) string {
	return fmt.Sprintf("%s recovered by itself %s. Nothing to do.", v.name(), clock(v.ResolvedAt, v.Now, to))
}

// OverText answers any command about an incident that is resolved already. by is who resolved it; nobody: it recovered by itself.
func OverText(v IncidentView, by, to tocsin.Person) string {
	if who(by) == somebody {
		return RecoveredText(v, to)
	}
	return ClosedText(v, by, to)
}

// EscalatedText confirms that it went on. paged are those who are paged now; none: the next step of its escalation.
func EscalatedText(v IncidentView, paged []string) string {
	if len(paged) == 0 {
		return v.name() + " goes on: the next person is paged now. Nothing more to do."
	}
	are := " is"
	if len(paged) > 1 {
		are = " are"
	}
	return fit(v.name()+" goes on: ", plain(strings.Join(paged, ", ")), are+" paged now. Nothing more to do.")
}

// NotedText confirms a note.
func NotedText(v IncidentView) string { return "Noted on " + v.name() + "." }

// JoinedText answers a command about an incident that belongs to a major now.
func JoinedText(v IncidentView, m MajorView) string {
	return fmt.Sprintf("%s belongs to major %s now. Nothing to do here.%s", v.name(), m.name(), link(m.Link))
}

// ListText lists what is open for a person, as the answer to ? and to whatever was not understood. verb is what was asked for
// without a code: the hints say how to ask for it with one; VerbAck where nothing was.
func ListText(open []Open, verb Verb) string {
	if len(open) == 0 {
		return NothingOpenText()
	}
	key := map[Verb]string{VerbResolve: "6 ", VerbEscalate: "5 ", VerbConfirm: "7 ", VerbReject: "8 ", VerbTake: "take "}[verb]
	if key == "" {
		key = "4 "
	}
	var hints []string
	for _, o := range open {
		hints = append(hints, key+strconv.Itoa(o.Code))
	}
	all := ""
	if key == "4 " && len(open) > 1 {
		all = " or 4all"
	}
	hint := "Reply " + strings.Join(hints, ", ") + all + "."
	if len(open) > 3 {
		hint = "Reply " + key + "CODE" + all + "."
	}
	head := fmt.Sprintf("%s open: ", count(len(open), "page"))
	for _, try := range []struct{ items, width, segments int }{{10, 60, 1}, {10, 24, 1}, {10, 40, 2}, {10, 16, 2}, {10, 0, 2}} {
		text := head + items(open, try.items, try.width) + ". " + hint
		if n, _ := Segments(text); n <= try.segments {
			return text
		}
	}
	return fit(head, items(open, 10, 0), ". "+hint)
}

// items names at most n of what is open, with width characters of what is the matter.
func items(open []Open, n, width int) string {
	var out []string
	for i, o := range open {
		if i == n {
			out = append(out, fmt.Sprintf("and %d more", len(open)-n))
			break
		}
		about, summary := IncidentView{About: o.About, Summary: o.Summary}.names()
		if o.Candidate {
			summary = "major?"
		}
		item := strconv.Itoa(o.Code) + " " + briefly(about, 24)
		if width > 0 && summary != "" {
			item += " " + briefly(strings.TrimSuffix(summary, "."), width)
		}
		out = append(out, strings.TrimSpace(item))
	}
	return strings.Join(out, ", ")
}

// NothingOpenText answers where nothing is open.
func NothingOpenText() string { return "No page is open for you. Nothing to do." }

// UnknownCodeText answers a code under which nothing is open for this person.
func UnknownCodeText(code int, open []Open) string {
	return fit("", fmt.Sprintf("Nothing of yours is open under %d. ", code), ListText(open, VerbAck))
}

// NotYoursText answers a code that is open, for somebody who was not paged about it: only take acts on it.
func NotYoursText(o Open) string {
	name := strings.TrimSpace(strconv.Itoa(o.Code) + " " + briefly(plain(o.About), 40))
	return fmt.Sprintf("%s was not paged to you, nothing has changed. To take it: take %d", name, o.Code)
}

// MineText lists what a person has acknowledged, where nothing waits for an answer of theirs.
func MineText(mine []Open) string {
	code := "CODE"
	if len(mine) == 1 {
		code = strconv.Itoa(mine[0].Code)
	}
	return fit("Yours: ", items(mine, 10, 40), fmt.Sprintf(". Done? 6 %[1]s. Cannot? 5 %[1]s.", code))
}

// HelpText says what may be answered.
func HelpText() string {
	return "4 CODE ack, 5 CODE escalate, 6 CODE resolve, take CODE, ? lists what is open. Majors: 7 CODE confirm, 8 CODE reject."
}

// StartedText answers START.
func StartedText() string { return "You get pages by SMS again. ? lists what is open." }

// NotForText answers a verb that means nothing for o.
func NotForText(o Open) string {
	name := strings.TrimSpace(strconv.Itoa(o.Code) + " " + briefly(plain(o.About), 40))
	if o.Candidate {
		return fmt.Sprintf("%s is a major candidate. Reply 7 %d confirm, 8 %d reject, 4 %d looking.", name, o.Code, o.Code, o.Code)
	}
	return fmt.Sprintf("%s is an incident. Reply 4 %d ack, 5 %d escalate, 6 %d resolve.", name, o.Code, o.Code, o.Code)
}

// ForbiddenText answers a decision that this person may not take.
func ForbiddenText(m MajorView) string {
	return fmt.Sprintf("Only a manager decides on %s. They are paged.", m.name())
}

// FailedText answers where a command could not be committed: nobody may believe that it was.
func FailedText() string {
	return "That could NOT be noted, nothing has changed. Please send it again in a minute."
}

// ConfirmedText confirms to the manager that it is a major now. joined is how many incidents it took over.
func ConfirmedText(m MajorView, joined int) string {
	return fmt.Sprintf("%s is a major now, %s joined, their own pages stop.%s", m.name(), count(joined, "incident"), link(m.Link))
}

// RejectedText confirms a rejection. quiet is until when it is not proposed again; zero: not said.
func RejectedText(m MajorView, to tocsin.Person, quiet time.Time) string {
	text := m.name() + " is no major, its incidents go on."
	if !quiet.IsZero() {
		text += fmt.Sprintf(" Not proposed again before %s unless it grows.", clock(quiet, m.Now, to))
	}
	return text
}

// LookingText confirms that a manager is looking: DecideBy is the new one.
func LookingText(m MajorView, to tocsin.Person) string {
	text := fmt.Sprintf("You look at %s.%s", m.name(), m.undecided(to))
	if m.CanReply && m.Code != 0 {
		text += fmt.Sprintf(" 7 %d confirm, 8 %d reject.", m.Code, m.Code)
	}
	return text
}

// PassedOnText confirms that the next manager is paged.
func PassedOnText(m MajorView) string { return m.name() + " goes to the next manager now." }

// DecidedText answers a decision that came second.
func DecidedText(m MajorView, state tocsin.MajorState, by, to tocsin.Person, at time.Time) string {
	if who(by) == somebody {
		return fmt.Sprintf("%s is %s already, since %s.", m.name(), state, clock(at, m.Now, to))
	}
	return fmt.Sprintf("%s %s %s %s already.", who(by), state, m.name(), clock(at, m.Now, to))
}

// MajorYoursText confirms that a confirmed major was acknowledged.
func MajorYoursText(m MajorView) string {
	return "You have major " + m.name() + ", the others know." + link(m.Link)
}

// MajorResolvedText confirms that a confirmed major was ended.
func MajorResolvedText(m MajorView) string {
	return "Major " + m.name() + " is resolved." + link(m.Link)
}

// MajorLapsedText tells those who were woken for a candidate that nothing is left of it.
func MajorLapsedText(m MajorView) string {
	return m.name() + " is no candidate any more, it recovered by itself. Nothing to do."
}

// somebody stands for a person whose name is not known.
const somebody = "somebody"

func who(p tocsin.Person) string {
	if p.Name == "" {
		return somebody
	}
	return briefly(plain(p.Name), 30)
}

// codeOrName is short where the reader knows the code.
func (v IncidentView) codeOrName() string {
	if v.CanReply && v.Code != 0 {
		return strconv.Itoa(v.Code)
	}
	return v.name()
}
