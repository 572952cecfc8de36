package paging_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/paging"
)

func folded(canReply bool, items ...paging.IncidentView) paging.FoldView {
	return paging.FoldView{Items: items, Link: "https://p.example.org/", CanReply: canReply}
}

func item(code int, about, summary string) paging.IncidentView {
	return paging.IncidentView{Number: int64(code), Code: code, About: about, Summary: summary, Severity: tocsin.Error, Priority: 4}
}

func TestOneMessageAboutManyNamesEachByItsCode(t *testing.T) {
	worst := item(18, "checkout", "5xx")
	var many []paging.IncidentView
	for i := range 50 {
		many = append(many, item(10+i, fmt.Sprintf("service-%02d", i), "error rate is at 12% for 5 minutes"))
	}
	gap := append(append([]paging.IncidentView{}, many[:6]...), many[40], many[42])
	for name, tc := range map[string]struct {
		channel string
		view    paging.FoldView
		want    string
	}{
		"two, as the contract has it": {
			paging.SMS, folded(true, item(17, "db-main", "lag"), worst), "2 pages open: 17 db-main lag, 18 checkout 5xx. Reply 4 17, 4 18 or 4all.",
		},
		"the worst first": {
			paging.SMS, folded(true, item(17, "db-main", "lag"), paging.IncidentView{Code: 19, About: "web", Summary: "down", Severity: tocsin.Critical, Priority: 3}),
			"2 pages open: 19 web down, 17 db-main lag. Reply 4 19, 4 17 or 4all.",
		},
		"fifty: the codes of all, and what the first are about": {
			paging.SMS, folded(true, many...),
			"50 pages open: 10 service-00 error rate is..., 11 service-01 error rate is..., 12 service-02 error rate is..., 13 service-03 error rate is..., " +
				"14 service-04 error rate is..., 15 service-05 error rate is..., 16 service-06 error rate is..., 17 service-07 error rate is... and 18-59. Reply 4 CODE or 4all.",
		},
		"eight fit, with less about each": {
			paging.SMS, folded(true, gap...),
			"8 pages open: 10 service-00 error rate is..., 11 service-01 error rate is..., 12 service-02 error rate is..., 13 service-03 error rate is..., " +
				"14 service-04 error rate is..., 15 service-05 error rate is..., 50 service-40 error rate is..., 52 service-42 error rate is... Reply 4 CODE or 4all.",
		},
		"who cannot reply gets no codes, and where all stand": {
			paging.SMS, folded(false, item(17, "db-main", "lag"), worst), "2 pages open: db-main lag, checkout 5xx. https://p.example.org/",
		},
		"a call says how many": {
			paging.Voice, folded(true, item(17, "db-main", "replication lag 340s"), worst, item(19, "web", "down"), item(20, "dns", "slow")),
			"You have 4 pages. db main: replication lag 340 seconds. checkout: 5xx. web: down. And 1 more. Press 4 to acknowledge all, 5 to escalate all, 9 or star to repeat.",
		},
		"a mail has a link for each": {
			paging.Email, folded(false, paging.IncidentView{Number: 17, About: "db-main", Summary: "lag", Severity: tocsin.Critical, Priority: 3, More: 2, Link: "https://p/ack/1"}, worst),
			"2 pages open, the worst first.\n\nCRIT db-main: lag (+2) [#17]\nhttps://p/ack/1\n\nERR checkout: 5xx [#18]\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := paging.FoldText(tc.channel, tc.view, tocsin.Person{})
			if got.Text != tc.want {
				t.Errorf("text %q\nwant %q", got.Text, tc.want)
			}
			if n, _ := paging.Segments(got.Text); tc.channel == paging.SMS && n > 2 {
				t.Errorf("%d segments", n)
			}
		})
	}
	mail := paging.FoldText(paging.Email, folded(false, worst, item(17, "db-main", "lag")), tocsin.Person{})
	if want := "2 pages: ERR db-main: lag and 1 more"; mail.Subject != want {
		t.Errorf("subject %q, want %q", mail.Subject, want)
	}
}

func TestEveryCodeOfAFoldedMessageIsInIt(t *testing.T) {
	for _, n := range []int{2, 3, 4, 9, 30, 99, 500} {
		var many []paging.IncidentView
		for i := range n {
			many = append(many, item(10+2*i, "a service with quite a long name "+fmt.Sprint(i), strings.Repeat("long ", 30)))
		}
		text := paging.FoldText(paging.SMS, folded(true, many...), tocsin.Person{}).Text
		missing := 0
		for _, v := range many {
			if !strings.Contains(text, fmt.Sprint(v.Code)) {
				missing++
			}
		}
		if got, _ := paging.Segments(text); got > 3 || n <= 30 && missing > 0 {
			t.Errorf("%d pages: %d segments, %d codes missing in %q", n, got, missing, text)
		}
		if !strings.HasPrefix(text, fmt.Sprintf("%d pages open: ", n)) || !strings.HasSuffix(text, "or 4all.") {
			t.Errorf("%d pages are %q, want how many and how to answer", n, text)
		}
	}
}

func TestNoticesShareAMessage(t *testing.T) {
	one, two := "one has 17 since 03:04. Go back to sleep. To take it: take 17", "18 checkout recovered by itself 03:05. Nothing to do."
	if got := paging.FoldNotices(paging.SMS, []string{one, two, two}, "https://p/").Text; got != one+" "+two {
		t.Errorf("two notices are %q", got)
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("%d service-%d recovered by itself 03:05. Nothing to do.", 10+i, i))
	}
	got := paging.FoldNotices(paging.SMS, many, "https://p/").Text
	if n, _ := paging.Segments(got); n > 2 || !strings.HasSuffix(got, " And 35 more: https://p/") {
		t.Errorf("forty notices are %q, %d segments", got, n)
	}
	if got := paging.FoldNotices(paging.Email, many, "").Text; strings.Count(got, "\n") != 39 {
		t.Errorf("a mail about forty notices has %q", got)
	}
}

func TestAContactThatIsOffIsPassedOverAndSaid(t *testing.T) {
	at := time.Date(2026, 1, 6, 2, 0, 0, 0, time.UTC)
	plan := &paging.Plan{
		Default: "d", NewID: func() string { return "p" }, People: map[string]tocsin.Person{"one": {Name: "one", Phone: "+1", Email: "one@example.org"}, "two": {Name: "two", Phone: "+2"}},
		Escalations: map[string]paging.Escalation{"d": {Steps: []paging.Step{{Page: []paging.Target{"person/one", "person/two"}, EscalateAfter: 300e9}}}},
		Notify:      map[tocsin.Urgency][]paging.NotifyStep{tocsin.UrgencyHigh: {{By: []string{paging.SMS}}, {After: 120e9, By: []string{paging.Voice}}}},
		Off: func(channel, address string) string {
			if channel == paging.SMS && address == "+1" {
				return "the number answered STOP"
			}
			return ""
		},
	}
	got := plan.Take(paging.Walk{Escalation: "d", Urgency: tocsin.UrgencyHigh, Incident: 1}, at)
	var pages []string
	for _, p := range got.Pages {
		pages = append(pages, fmt.Sprintf("%s %s %s", p.Person, p.Channel, p.DueAt.Sub(at)))
	}
	if want := "one voice 0s, two sms 0s, two voice 2m0s"; strings.Join(pages, ", ") != want {
		t.Errorf("pages %v, want %s: the next way moves up", pages, want)
	}
	if want := "one is paged by voice at once (person/one); sms is off: the number answered STOP"; got.Said[0] != want {
		t.Errorf("said %q, want %q", got.Said[0], want)
	}
	if got := plan.Ways(plan.People["one"]); fmt.Sprint(got) != "[voice email]" {
		t.Errorf("ways of one %v", got)
	}
	if got := plan.Colleagues("one", at); fmt.Sprint(got) != "[two]" {
		t.Errorf("without a team, colleagues are %v, want those of the default escalation", got)
	}
	plan.Teams = map[string]paging.Team{"t": {Members: []string{"three", "one"}}, "u": {Members: []string{"two"}}}
	if got := plan.Colleagues("one", at); fmt.Sprint(got) != "[three]" {
		t.Errorf("colleagues %v, want the team's", got)
	}
}

func TestWhoHasAMajorAlreadyIsNotPagedByItsEscalation(t *testing.T) {
	at := time.Date(2026, 1, 6, 2, 0, 0, 0, time.UTC)
	plan := &paging.Plan{
		Default: "d", NewID: func() string { return "p" }, People: map[string]tocsin.Person{"one": {Name: "one", Phone: "+1"}, "two": {Name: "two", Phone: "+2"}},
		Escalations: map[string]paging.Escalation{
			"m": {Steps: []paging.Step{{Page: []paging.Target{"person/one"}, EscalateAfter: 60e9}, {Page: []paging.Target{"person/one", "person/two"}, EscalateAfter: 60e9}}},
			"d": {Steps: []paging.Step{{Page: []paging.Target{"person/one"}, EscalateAfter: 60e9}}},
		},
		Notify: map[tocsin.Urgency][]paging.NotifyStep{tocsin.UrgencyHigh: {{By: []string{paging.SMS}}}},
	}
	people := func(taken paging.Taken) (out []string) {
		for _, p := range taken.Pages {
			out = append(out, p.Person)
		}
		return out
	}
	taken := plan.Take(paging.Walk{Escalation: "m", Urgency: tocsin.UrgencyHigh, Kind: tocsin.KindMajor, Major: 1, Has: "one"}, at)
	if got := people(taken); fmt.Sprint(got) != "[two]" {
		t.Errorf("the first step pages %v, want two at once: one has it", got)
	}
	if got := taken.Next.Walk.Has; got != "one" {
		t.Errorf("the next step forgot who has it: %q", got)
	}
	taken = plan.Take(taken.Next.Walk, at)
	if got := people(taken); taken.Next.Walk.Nag != 2 || len(got) > 0 || !taken.Next.At.Equal(at.Add(15*time.Minute)) {
		t.Errorf("once all have ended, %v is paged with nag %d, and next %s; want nobody before 15 minutes are over", got, taken.Next.Walk.Nag, taken.Next.At)
	}
	taken = plan.Take(taken.Next.Walk, at)
	if got := people(taken); fmt.Sprint(got) != "[one]" {
		t.Errorf("then %v is paged, want everybody's last resort, whoever had it", got)
	}
}
