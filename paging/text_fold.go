package paging

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tocsin"
)

// A FoldView is what one message says of several pages to one person.
type FoldView struct {
	Items    []IncidentView // in mails, Link is where each is answered
	Link     string         // where all of them stand; said where nobody can reply
	CanReply bool
}

// FoldText is one message by channel about all of v, the worst first. Each is named by its code, so that each can be answered.
func FoldText(channel string, v FoldView, to tocsin.Person) Written {
	v.Items = slices.SortedStableFunc(slices.Values(v.Items), func(a, b IncidentView) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.Priority, 9), cmp.Or(b.Priority, 9)), cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code))
	})
	switch channel {
	case Voice:
		return Written{Text: v.spoken()}
	case Email:
		return v.mail(to)
	}
	return Written{Text: v.sms()}
}

// sms names as many as two segments hold, and the codes of the others.
func (v FoldView) sms() string {
	n := len(v.Items)
	head, hint := fmt.Sprintf("%s open: ", count(n, "page")), "."
	switch {
	case !v.CanReply:
		hint += link(v.Link)
	case n <= 3:
		hint += " Reply"
		for i, one := range v.Items {
			hint += fmt.Sprintf("%s 4 %d", map[bool]string{true: "", false: ","}[i == 0], one.Code)
		}
		hint += " or 4all."
	default:
		hint += " Reply 4 CODE or 4all."
	}
	for _, try := range []struct{ named, width, segments int }{
		{n, 60, 1}, {n, 24, 1}, {n, 40, 2}, {n, 16, 2}, {n, 0, 2}, {8, 16, 2}, {5, 16, 2}, {4, 12, 2}, {3, 12, 2}, {3, 0, 2}, {2, 0, 2}, {2, 0, 3},
	} {
		text := strings.Replace(head+v.named(min(try.named, n), try.width)+hint, "....", "...", 1)
		if got, _ := Segments(text); got <= try.segments {
			return text
		}
	}
	return fit(head, v.named(1, 0), hint)
}

// named says what the first n are about, with width characters of what is the matter, and the codes of the others.
func (v FoldView) named(n, width int) string {
	var out []string
	for _, one := range v.Items[:n] {
		about, summary := one.names()
		if about == "" {
			about, summary = summary, ""
		}
		item := briefly(about, 24)
		if v.CanReply {
			item = strconv.Itoa(one.Code) + " " + item
		}
		if width > 0 && summary != "" {
			item += " " + briefly(strings.TrimSuffix(summary, "."), width)
		}
		out = append(out, item)
	}
	rest := v.Items[n:]
	switch {
	case len(rest) == 0:
		return strings.Join(out, ", ")
	case !v.CanReply:
		return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(rest))
	}
	var codes []int
	for _, one := range rest {
		codes = append(codes, one.Code)
	}
	return strings.Join(out, ", ") + " and " + ranges(codes)
}

// ranges writes numbers shortly: 13-59, 61.
func ranges(codes []int) string {
	slices.Sort(codes)
	codes = slices.Compact(codes)
	var out []string
	for i := 0; i < len(codes); {
		k := i
		for k+1 < len(codes) && codes[k+1] == codes[k]+1 {
			k++
		}
		switch k - i {
		case 0:
			out = append(out, strconv.Itoa(codes[i]))
		case 1:
			out = append(out, strconv.Itoa(codes[i]), strconv.Itoa(codes[k]))
		default:
			out = append(out, fmt.Sprintf("%d-%d", codes[i], codes[k]))
		}
		i = k + 1
	}
	return strings.Join(out, ", ")
}

// spokenItems is how many pages a call names: what nobody remembers need not be said.
const spokenItems = 3

func (v FoldView) spoken() string {
	text := "You have " + count(len(v.Items), "page") + "."
	for _, one := range v.Items[:min(len(v.Items), spokenItems)] {
		summary := one.Summary
		if rest, ok := strings.CutPrefix(summary, one.About+":"); ok && one.About != "" {
			summary = rest
		}
		text += " " + strings.Trim(Speakable(one.About, 40)+": "+Speakable(summary, 80), ": .") + "."
	}
	if more := len(v.Items) - spokenItems; more > 0 {
		text += fmt.Sprintf(" And %d more.", more)
	}
	if !v.CanReply {
		return text
	}
	return text + " Press 4 to acknowledge all, 5 to escalate all, " + repeatHint
}

// mail lists every one with where it is answered.
func (v FoldView) mail(to tocsin.Person) Written {
	var b strings.Builder
	b.WriteString(count(len(v.Items), "page") + " open, the worst first.\n")
	first := ""
	for _, one := range v.Items {
		about, summary := oneLine(one.About), oneLine(one.Summary)
		title := summary
		if about != "" && !strings.HasPrefix(summary, about+":") {
			title = strings.TrimSuffix(about+": "+summary, ": ")
		}
		title = Prefix(one.Severity) + " " + shortened(title, longestHead)
		if one.More > 0 {
			title += fmt.Sprintf(" (+%d)", one.More)
		}
		first = cmp.Or(first, title)
		fmt.Fprintf(&b, "\n%s [#%d]", title, one.Number)
		if !one.OpenedAt.IsZero() {
			b.WriteString(", since " + date(one.OpenedAt, to))
		}
		b.WriteString("\n")
		if one.Link != "" {
			b.WriteString(one.Link + "\n")
		}
	}
	subject := first
	if more := len(v.Items) - 1; more > 0 {
		subject = fmt.Sprintf("%d pages: %s and %d more", len(v.Items), first, more)
	}
	return Written{Subject: subject, Text: b.String()}
}

// FoldNotices is one message of several notices, the oldest first; an SMS says as many whole ones as two segments hold.
func FoldNotices(channel string, texts []string, address string) Written {
	texts = slices.Compact(slices.Clone(texts))
	if channel != SMS {
		return Written{Subject: NoticeSubject, Text: strings.Join(texts, "\n")}
	}
	for n := len(texts); n > 0; n-- {
		text := strings.Join(texts[:n], " ")
		if more := len(texts) - n; more > 0 {
			text += fmt.Sprintf(" And %d more:%s", more, link(address))
		}
		if got, _ := Segments(text); got <= 2 || n == 1 {
			return Written{Text: text}
		}
	}
	return Written{}
}

// AllYoursSpoken confirms by voice that all n pages of a call were acknowledged.
func AllYoursSpoken(n int) string {
	if n == 0 {
		return "Nobody needs these pages any more."
	}
	if n == 1 {
		return "1 page is yours, the others know."
	}
	return fmt.Sprintf("All %d are yours, the others know.", n)
}

// AllEscalatedSpoken confirms by voice that all n pages of a call went on.
func AllEscalatedSpoken(n int) string {
	if n == 0 {
		return "Nobody needs these pages any more."
	}
	return fmt.Sprintf("%s on: the next person is paged now. Nothing more to do.", map[bool]string{true: "It goes", false: fmt.Sprintf("All %d go", n)}[n == 1])
}

// MovedText tells somebody who was woken for incidents that they belong to a major now.
func MovedText(first IncidentView, others int, m MajorView) string {
	name, belong := first.name(), "belongs"
	if others > 0 {
		name, belong = fmt.Sprintf("%s and %d more", name, others), "belong"
	}
	return fmt.Sprintf("%s %s to major %s now, its people have it. Nothing to do.%s", name, belong, m.name(), link(m.Link))
}

// OffText tells a person, by another way, that their number gets no SMS any more; ways is how they are paged still.
func OffText(phone, why string, ways []string) string {
	still := "You CANNOT be paged at all until you turn it on again"
	if len(ways) > 0 {
		still = "You are still paged by " + strings.Join(ways, " and ") + ". To turn it on again"
	}
	return fmt.Sprintf("No more SMS to %s: %s. %s: send START from that phone.", phone, why, still)
}

// OffToTeamText tells those who work with a person that they get no SMS any more.
func OffToTeamText(by tocsin.Person, why string, ways []string) string {
	still := "They CANNOT be paged at all now, others are paged in their place."
	if len(ways) > 0 {
		still = "They are still paged by " + strings.Join(ways, " and ") + "."
	}
	return fmt.Sprintf("%s gets no SMS any more: %s. %s", who(by), why, still)
}
