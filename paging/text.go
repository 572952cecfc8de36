package paging

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tocsin"
)

// An IncidentView is what a text says of an incident. Zero fields are left out.
type IncidentView struct {
	Number     int64
	Code       int // the short code
	Severity   tocsin.Severity
	Priority   int    // 1 to 5
	About      string // the host or service, such as db-main
	Summary    string // of its worst alert, such as replication lag 340s
	More       int    // further alerts
	Link       string // public address of its page
	CanReply   bool   // whether an answer by the text's channel comes back to us: else no hints
	Unanswered bool   // a nag: all escalations have ended
	Bridge     bool   // there is a bridge that key 2 joins
	OpenedAt   time.Time
	AckedAt    time.Time
	ResolvedAt time.Time
	Now        time.Time // times of another day than this one get their weekday; zero: never
	Alerts     []string  // mail only: what fires, the worst first
	Why        string    // mail only: why it was grouped and whom it pages
}

// A MajorView is what a text says of a major or a candidate. Zero fields are left out.
type MajorView struct {
	Number    int64
	Code      int
	Priority  int
	Scope     string // its values, such as eu-west
	Measures  tocsin.Measures
	DecideBy  time.Time // of a candidate
	OnTimeout string    // escalate, confirm or expire
	Link      string
	CanReply  bool
	Bridge    bool
	Now       time.Time
	Incidents []string // mail only: those that belong to it
	Why       string   // mail only: the rule, and what it asked for
}

// A Written is a text ready to be sent.
type Written struct {
	Subject string // mail only
	Text    string
}

// IncidentViewOf fills what i itself knows. Link, CanReply, Unanswered, Now, Alerts and Why are the caller's.
func IncidentViewOf(i tocsin.Incident) IncidentView {
	about := cmp.Or(i.Service, tocsin.HostOf(i.Labels), i.Key)
	return IncidentView{
		Number: i.ID, Code: i.Code, Severity: i.Severity, Priority: i.Priority, About: about, Summary: i.Title, More: max(i.Alerts-1, 0),
		OpenedAt: i.OpenedAt, AckedAt: i.AckedAt, ResolvedAt: i.ResolvedAt,
	}
}

// MajorViewOf fills what m itself knows. Link, CanReply, Bridge, Now, Incidents and Why are the caller's.
func MajorViewOf(m tocsin.Major) MajorView {
	var scope []string
	for _, l := range m.Scope {
		scope = append(scope, l.Value)
	}
	v := MajorView{
		Number: m.ID, Code: m.Code, Priority: m.Priority, Scope: strings.Join(scope, " "), Measures: m.Measures,
		DecideBy: m.DecideBy, OnTimeout: m.OnTimeout,
	}
	if v.Scope == "" {
		v.Scope = m.Title
	}
	return v
}

// IncidentText is a page about v by channel, for to: times are in their zone.
func IncidentText(channel string, v IncidentView, to tocsin.Person) Written {
	switch channel {
	case Voice:
		return Written{Text: v.spoken()}
	case Email:
		return v.mail(to)
	}
	tail := ""
	if v.More > 0 {
		tail = fmt.Sprintf(" (+%d)", v.More)
	}
	tail += "."
	if v.CanReply && v.Code != 0 {
		tail += fmt.Sprintf(" Reply 4 %d ack, 5 %d escalate, 6 %d resolve.", v.Code, v.Code, v.Code)
	}
	head := Prefix(v.Severity) + " "
	if v.Unanswered {
		head = "UNANSWERED " + head
	}
	about, summary := v.names()
	if about != "" && summary != "" {
		head += about + ": "
	} else {
		summary = about + summary
	}
	return Written{Text: fit(head, strings.TrimSuffix(summary, "."), tail+link(v.Link))}
}

// MajorText is a page about v by channel, for to: a candidate's where kind is tocsin.KindCandidate, else that of a confirmed major.
func MajorText(channel, kind string, v MajorView, to tocsin.Person) Written {
	candidate := kind == tocsin.KindCandidate
	switch channel {
	case Voice:
		return Written{Text: v.spoken(candidate, to)}
	case Email:
		return v.mail(candidate, to)
	}
	head, tail := "MAJOR", "."
	switch {
	case candidate:
		head += "?"
		if v.CanReply && v.Code != 0 {
			tail += fmt.Sprintf(" Reply 7 %d confirm, 8 %d reject, 4 %d looking.", v.Code, v.Code, v.Code)
		}
		tail += v.undecided(to)
	default:
		if v.Priority > 0 {
			head += fmt.Sprintf(" SEV%d", v.Priority)
		}
		if v.CanReply && v.Code != 0 {
			tail += fmt.Sprintf(" Reply 4 %d ack, 5 %d escalate.", v.Code, v.Code)
		}
	}
	head += " " + briefly(plain(v.Scope), 40) + ": "
	return Written{Text: fit(head, v.measures(to), tail+link(v.Link))}
}

// Prefix is how a severity begins a text.
func Prefix(s tocsin.Severity) string {
	switch s {
	case tocsin.Critical:
		return "CRIT"
	case tocsin.Error:
		return "ERR"
	case tocsin.Warning:
		return "WARN"
	}
	return "INFO"
}

// names are what it is about and what is the matter, fit for SMS. A summary that begins with the first does not say it twice.
func (v IncidentView) names() (about, summary string) {
	about, summary = briefly(plain(v.About), 40), plain(v.Summary)
	if rest, ok := strings.CutPrefix(summary, about); ok && about != "" && strings.HasPrefix(strings.TrimLeft(rest, " "), ":") {
		summary = strings.TrimLeft(rest, ": ")
	}
	return about, summary
}

// name is the code and what it is about: 17 db-main. Where nobody can answer, a code means nothing.
func (v IncidentView) name() string {
	about, summary := v.names()
	if about == "" {
		about = briefly(summary, 40)
	}
	if v.Code == 0 {
		return about
	}
	return strings.TrimSpace(strconv.Itoa(v.Code) + " " + about)
}

func (v MajorView) name() string {
	scope := briefly(plain(v.Scope), 40)
	if v.Code == 0 {
		return scope
	}
	return strings.TrimSpace(strconv.Itoa(v.Code) + " " + scope)
}

// undecided says what happens if nobody decides.
func (v MajorView) undecided(to tocsin.Person) string {
	if v.DecideBy.IsZero() {
		return ""
	}
	then := "next manager"
	switch v.OnTimeout {
	case "confirm":
		then = "confirmed"
	case "expire":
		then = "dropped"
	}
	return fmt.Sprintf(" Undecided %s: %s.", clock(v.DecideBy, v.Now, to), then)
}

// measures are the numbers that say how far it goes.
func (v MajorView) measures(to tocsin.Person) string {
	var parts []string
	for _, m := range []struct {
		n   int
		one string
	}{{v.Measures.Hosts, "host"}, {v.Measures.Services, "service"}, {v.Measures.Incidents, "incident"}, {v.Measures.Users, "user"}} {
		if m.n > 0 && (m.one != "incident" || len(parts) == 0) { // the incidents say nothing that hosts and services do not
			parts = append(parts, count(m.n, m.one))
		}
	}
	if !v.Measures.Since.IsZero() {
		parts = append(parts, "since "+clock(v.Measures.Since, v.Now, to))
	}
	return strings.Join(parts, ", ")
}

// clock writes t as the clocks of a person's zone show it, with the day where that is not the day of now.
func clock(t, now time.Time, to tocsin.Person) string {
	zone, err := time.LoadLocation(to.TimeZone)
	if err != nil || to.TimeZone == "" || to.TimeZone == "Local" {
		return t.UTC().Format("15:04") + " UTC"
	}
	t = t.In(zone)
	if now.IsZero() || t.Format(time.DateOnly) == now.In(zone).Format(time.DateOnly) {
		return t.Format("15:04")
	}
	if d := now.Sub(t); d > 6*24*time.Hour || d < -6*24*time.Hour {
		return t.Format("2 Jan 15:04")
	}
	return t.Format("Mon 15:04")
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

func link(address string) string {
	if address == "" {
		return ""
	}
	return " " + address
}

// briefly cuts s to n characters, dots included.
func briefly(s string, n int) string {
	_, ucs2 := measure(s)
	room := 0
	for i, r := range []rune(s) {
		if i < n {
			room += unitsOf(r, ucs2)
			continue
		}
		return cut(s, room, ucs2)
	}
	return s
}
