package paging

import (
	"fmt"
	"strings"
	"time"

	"tocsin"
)

// mailLines is how many alerts or incidents a mail lists, and longestLine how many characters of each.
const (
	mailLines   = 10
	longestLine = 300
	longestHead = 140
)

func (v IncidentView) mail(to tocsin.Person) Written {
	about, summary := oneLine(v.About), oneLine(v.Summary)
	title := summary
	if about != "" && !strings.HasPrefix(summary, about+":") {
		title = strings.TrimSuffix(about+": "+summary, ": ")
	}
	title = Prefix(v.Severity) + " " + shortened(title, longestHead)
	if v.Unanswered {
		title = "UNANSWERED " + title
	}
	more := ""
	if v.More > 0 {
		more = fmt.Sprintf(" (+%d)", v.More)
	}
	var b strings.Builder
	b.WriteString(title + more + "\n\n")
	facts := []string{fmt.Sprintf("Incident %d", v.Number)}
	if v.Priority > 0 {
		facts = append(facts, fmt.Sprintf("SEV%d", v.Priority))
	}
	if !v.OpenedAt.IsZero() {
		facts = append(facts, "since "+date(v.OpenedAt, to))
	}
	b.WriteString(strings.Join(append(facts, count(v.More+1, "alert")), ", ") + ".\n")
	listed(&b, "Firing:", v.Alerts, v.More+1)
	if v.Why != "" {
		b.WriteString("\nWhy: " + shortened(oneLine(v.Why), 2*longestLine) + "\n")
	}
	if v.Link != "" {
		b.WriteString("\n" + v.Link + "\n")
	}
	if v.CanReply && v.Code != 0 {
		fmt.Fprintf(&b, "\nReply with 4 %d to acknowledge, 5 %d to escalate, 6 %d to resolve.\n", v.Code, v.Code, v.Code)
	}
	return Written{Subject: fmt.Sprintf("%s%s [#%d]", title, more, v.Number), Text: b.String()}
}

func (v MajorView) mail(candidate bool, to tocsin.Person) Written {
	title := "MAJOR"
	switch {
	case candidate:
		title += "?"
	case v.Priority > 0:
		title += fmt.Sprintf(" SEV%d", v.Priority)
	}
	title += " " + shortened(oneLine(v.Scope), longestHead) + ": " + v.measures(to)
	title = strings.TrimSuffix(title, ": ")
	var b strings.Builder
	b.WriteString(title + "\n")
	if candidate && !v.DecideBy.IsZero() {
		b.WriteString("\nPlease decide:" + v.undecided(to) + "\n")
	}
	listed(&b, "Incidents:", v.Incidents, len(v.Incidents))
	if v.Why != "" {
		b.WriteString("\nWhy: " + shortened(oneLine(v.Why), 2*longestLine) + "\n")
	}
	if v.Link != "" {
		b.WriteString("\n" + v.Link + "\n")
	}
	switch {
	case !v.CanReply || v.Code == 0:
	case candidate:
		fmt.Fprintf(&b, "\nReply with 7 %d to confirm, 8 %d to reject, 4 %d if you are looking.\n", v.Code, v.Code, v.Code)
	default:
		fmt.Fprintf(&b, "\nReply with 4 %d to acknowledge, 5 %d to escalate.\n", v.Code, v.Code)
	}
	return Written{Subject: fmt.Sprintf("%s [M%d]", title, v.Number), Text: b.String()}
}

func listed(b *strings.Builder, head string, lines []string, of int) {
	if len(lines) == 0 {
		return
	}
	b.WriteString("\n" + head + "\n")
	for i, l := range lines {
		if i == mailLines {
			break
		}
		b.WriteString("- " + shortened(oneLine(l), longestLine) + "\n")
	}
	if more := max(of, len(lines)) - min(len(lines), mailLines); more > 0 {
		fmt.Fprintf(b, "- and %d more\n", more)
	}
}

// date is t with its day and zone: a mail may be read on another day.
func date(t time.Time, to tocsin.Person) string {
	zone, err := time.LoadLocation(to.TimeZone)
	if err != nil || to.TimeZone == "" || to.TimeZone == "Local" {
		zone = time.UTC
	}
	return t.In(zone).Format("Mon 2 Jan 15:04 MST")
}

func shortened(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return strings.TrimRight(string(r[:n-3]), " ,.;:-(") + "..."
	}
	return s
}
