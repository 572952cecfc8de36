package app

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/paging/providertest"
)

// newPacedStory is a story in which people get their messages as slowly as in life.
func newPacedStory(t *testing.T, edits ...string) *rig {
	t.Helper()
	r := newStory(t, edits...)
	r.a.pager.Pace(2, time.Minute, 5*time.Second)
	return r
}

// fifty is so many incidents for person one at once, in one POST, and their codes.
func (r *rig) fifty() (codes []string) {
	r.t.Helper()
	var alerts []am
	for n := range 50 {
		alerts = append(alerts, am{
			Labels:      map[string]string{"alertname": "Lag", "instance": fmt.Sprint(n), "service": fmt.Sprintf("s%02d", n), "team": "platform", "severity": "critical"},
			Annotations: map[string]string{"summary": fmt.Sprintf("lag %ds", n)},
		})
	}
	r.prometheus(alerts...)
	r.until("fifty incidents", func() bool { return len(r.incidents()) == 50 })
	for _, i := range r.incidents() {
		codes = append(codes, strconv.Itoa(r.detail(i.ID).Code))
	}
	slices.Sort(codes)
	return codes
}

// spelled are the codes that texts name, ranges spelled out.
func spelled(texts []string) (codes []string) {
	for _, text := range texts {
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '.' }) {
			from, to, is := strings.Cut(word, "-")
			a, err := strconv.Atoi(from)
			if err != nil {
				continue
			}
			b := a
			if is {
				if b, err = strconv.Atoi(to); err != nil {
					continue
				}
			}
			for c := a; c <= b; c++ {
				codes = append(codes, strconv.Itoa(c))
			}
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

func TestFiftyIncidentsAtOnceAreAtMostTwoMessagesThatNameThemAllAndEachIsAnsweredByItsCode(t *testing.T) { // S8
	r := newPacedStory(t)
	one := r.phone("one")
	codes := r.fifty()
	sent := func() (n int) {
		for _, i := range r.incidents() {
			if slices.Contains(said(r.detail(i.ID).Pages, tocsin.KindPage), "one sms sent") {
				n++
			}
		}
		return n
	}
	r.until("all are sent", func() bool { return sent() == 50 })
	texts := one.texts()
	if len(texts) > 2 {
		t.Errorf("%d SMS at once, want two at most: %q", len(texts), texts)
	}
	named := spelled(texts)
	for _, code := range codes {
		if !slices.Contains(named, code) {
			t.Errorf("code %s is in none of %q", code, texts)
		}
	}
	mails := slices.DeleteFunc(r.sendgrid.Taken(), func(q providertest.Request) bool { return q.To != "one@example.org" })
	links := 0
	for _, m := range mails {
		links += strings.Count(m.Text, public+"/ack/")
	}
	if len(mails) > 2 || links != 50 {
		t.Errorf("%d mails with %d links, want two at most with 50", len(mails), links)
	}
	// The API lists them all, part by part.
	seen := map[string]bool{}
	for next, parts := "", 0; ; parts++ {
		var part struct {
			Pages []pageJSON
			Next  string
		}
		r.get("/api/v1/pages?limit=40"+next, &part)
		for _, p := range part.Pages {
			if seen[p.ID] {
				t.Errorf("page %s is in two parts", p.ID)
			}
			seen[p.ID] = true
		}
		if part.Next == "" {
			if len(seen) != 150 || parts != 3 || len(part.Pages) != 30 {
				t.Errorf("%d pages in %d parts, the last of %d; want an SMS, a mail and a call for each of 50", len(seen), parts+1, len(part.Pages))
			}
			break
		}
		next = "&next=" + part.Next
	}
	// One by its own code, and then all.
	got := one.says("4 " + codes[30])
	if !strings.HasPrefix(got, codes[30]+" ") || !strings.Contains(got, " is yours") {
		t.Errorf("a code out of the middle is answered %q", got)
	}
	if got := one.says("4all"); !strings.Contains(got, " are yours") {
		t.Errorf("4all is answered %q", got)
	}
	for _, i := range r.incidents() {
		if d := r.detail(i.ID); d.State != "acknowledged" || d.AckedBy != "one" {
			t.Errorf("incident %s is %s by %q after 4all", d.ID, d.State, d.AckedBy)
		}
	}
	r.never("more pages", func() bool { return len(one.texts()) > 2 })
}

func TestOneCallTellsOfManyAndItsKeyAnswersThemAll(t *testing.T) {
	r := newPacedStory(t, "{after: 2m, by: [voice]}", "{after: 1s, by: [voice]}")
	one := r.phone("one")
	r.fifty()
	r.until("a call about many", func() bool {
		return slices.ContainsFunc(one.calls(), func(s string) bool { return strings.Contains(s, "You have ") })
	})
	var call providertest.Request
	for _, q := range r.twilio.Taken() {
		if q.Operation == "CreateCall" && strings.Contains(q.Text, "You have ") {
			call = q
		}
	}
	if !strings.Contains(call.Text, "Press 4 to acknowledge all") || len(one.calls()) > 2 {
		t.Errorf("%d calls, the one about many says %s", len(one.calls()), call.Text)
	}
	press := func(digits string) string {
		t.Helper()
		req, err := r.twilio.PressIn(call.Text, call.ID, digits)
		status, body := r.callback(req, err)
		if status != http.StatusOK {
			t.Fatalf("key %q answered %d %s", digits, status, body)
		}
		return body
	}
	if got := press("9"); !strings.Contains(got, "You have ") {
		t.Errorf("9 says %s, want it again", got)
	}
	told := 0
	for _, i := range r.incidents() {
		if r.detail(i.ID).State != "triggered" {
			t.Fatalf("a key that only repeats changed incident %s", i.ID)
		}
	}
	if got := press("4"); !strings.Contains(got, " are yours, the others know.") {
		t.Errorf("4 says %s", got)
	}
	for _, i := range r.incidents() {
		if r.detail(i.ID).AckedBy == "one" {
			told++
		}
	}
	var many int
	_, err := fmt.Sscanf(call.Text[strings.Index(call.Text, "You have "):], "You have %d pages", &many)
	if err != nil || told != many {
		t.Errorf("%d are one's after the key, want the %d that the call told of; %v", told, many, err)
	}
}

func TestAMajorIsNeverFoldedIntoWhatElseComes(t *testing.T) {
	r := newPacedStory(t)
	r.fifty()
	r.prometheus(hosts("eu-west", 0, 25)...)
	if got := r.phone("three").waits("MAJOR?"); !strings.HasPrefix(got, "MAJOR? ") {
		t.Errorf("the manager is told %q", got)
	}
}
