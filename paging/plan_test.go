package paging

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin"
)

// onCall is who is on call by schedule, whatever the time.
type onCall map[string][]string

func (o onCall) At(schedule string, _ time.Time) ([]string, string) {
	if len(o[schedule]) == 0 {
		return nil, "nobody is on call in schedule " + schedule
	}
	return o[schedule], "on call in schedule " + schedule
}

// contractPlan is what the contract's file says, with one on call.
func contractPlan() *Plan {
	n := 0
	return &Plan{
		Escalations: map[string]Escalation{
			"platform": {
				Name: "platform", Repeat: 2, Then: "catch-all",
				Steps: []Step{{[]Target{"schedule/platform"}, 5 * time.Minute}, {[]Target{"person/three"}, 10 * time.Minute}},
			},
			"managers":  {Name: "managers", Steps: []Step{{[]Target{"person/three"}, 5 * time.Minute}}},
			"catch-all": {Name: "catch-all", Steps: []Step{{[]Target{"person/three"}, 15 * time.Minute}}},
		},
		Default: "catch-all",
		Notify: map[tocsin.Urgency][]NotifyStep{
			tocsin.UrgencyHigh: {{0, []string{SMS, Email}}, {2 * time.Minute, []string{Voice}}},
			tocsin.UrgencyLow:  {{0, []string{Email}}},
		},
		People: map[string]tocsin.Person{
			"one":   {Name: "one", Email: "one@example.org", Phone: "+15005550001"},
			"two":   {Name: "two", Email: "two@example.org", Phone: "+15005550002"},
			"three": {Name: "three", Email: "three@example.org", Phone: "+15005550003", Skills: []string{"database"}},
		},
		Teams:  map[string]Team{"platform": {Members: []string{"one", "two", "three"}, Escalation: "platform"}},
		Owners: map[string]string{"checkout": "platform", "payments": "platform", "db-main": "platform"},
		OnCall: onCall{"platform": {"one"}},
		NewID:  func() string { n++; return fmt.Sprint("p", n) },
	}
}

var t0 = time.Date(2026, 1, 6, 2, 0, 0, 0, time.UTC)

// walk takes step after step, nobody answering, until nothing follows or limit is over; each page and each word is a line with its time.
func walk(p *Plan, w Walk, limit time.Duration) (pages, said []string) {
	for at := t0; !at.After(t0.Add(limit)); {
		taken := p.Take(w, at)
		for _, g := range taken.Pages {
			pages = append(pages, fmt.Sprintf("%v %s %s until %v", g.DueAt.Sub(t0), g.Person, g.Channel, g.Expires.Sub(t0)))
		}
		for _, s := range taken.Said {
			said = append(said, fmt.Sprintf("%v %s", at.Sub(t0), s))
		}
		if taken.Next == nil {
			said = append(said, "end")
			break
		}
		b, _ := json.Marshal(taken.Next.Walk) // as it is kept in a timer
		w = Walk{}
		_ = json.Unmarshal(b, &w)
		at = taken.Next.At
	}
	return pages, said
}

func equalLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\ngot\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestNobodyAnswersAsTheContractsFileSays(t *testing.T) {
	pages, said := walk(contractPlan(), Walk{Escalation: "platform", Urgency: tocsin.UrgencyHigh, Incident: 1}, 75*time.Minute)
	equalLines(t, "pages", pages, []string{
		"0s one sms until 5m0s", "0s one email until 5m0s", "2m0s one voice until 5m0s",
		"5m0s three sms until 15m0s", "5m0s three email until 15m0s", "7m0s three voice until 15m0s",
		"15m0s one sms until 20m0s", "15m0s one email until 20m0s", "17m0s one voice until 20m0s",
		"20m0s three sms until 30m0s", "20m0s three email until 30m0s", "22m0s three voice until 30m0s",
		"30m0s one sms until 35m0s", "30m0s one email until 35m0s", "32m0s one voice until 35m0s",
		"35m0s three sms until 45m0s", "35m0s three email until 45m0s", "37m0s three voice until 45m0s",
		"45m0s three sms until 1h0m0s", "45m0s three email until 1h0m0s", "47m0s three voice until 1h0m0s", // catch-all
		"1h0m0s three sms until 1h15m0s", "1h0m0s three email until 1h15m0s", "1h2m0s three voice until 1h15m0s", // nags
		"1h15m0s three sms until 1h30m0s", "1h15m0s three email until 1h30m0s", "1h17m0s three voice until 1h30m0s",
	})
	equalLines(t, "said", said, []string{
		"0s one is paged by sms and email at once, voice after 2m (on call in schedule platform)",
		"5m0s three is paged by sms and email at once, voice after 2m (person/three)",
		"15m0s nobody has answered: escalation platform, round 2 of 3",
		"15m0s one is paged by sms and email at once, voice after 2m (on call in schedule platform)",
		"20m0s three is paged by sms and email at once, voice after 2m (person/three)",
		"30m0s nobody has answered: escalation platform, round 3 of 3",
		"30m0s one is paged by sms and email at once, voice after 2m (on call in schedule platform)",
		"35m0s three is paged by sms and email at once, voice after 2m (person/three)",
		"45m0s escalation platform has ended: on to catch-all",
		"45m0s three is paged by sms and email at once, voice after 2m (person/three)",
		"1h0m0s escalation catch-all has ended",
		"1h0m0s unanswered: escalation catch-all is paged again, 1 of 96, every 15m",
		"1h0m0s three is paged by sms and email at once, voice after 2m (person/three)",
		"1h15m0s unanswered: escalation catch-all is paged again, 2 of 96, every 15m",
		"1h15m0s three is paged by sms and email at once, voice after 2m (person/three)",
	})
}

func TestAPageCarriesEverythingItsSenderNeeds(t *testing.T) {
	got := contractPlan().Take(Walk{Escalation: "managers", Urgency: tocsin.UrgencyHigh, Kind: tocsin.KindCandidate, Lane: 0, Major: 7, Partition: 3}, t0)
	page := tocsin.Page{
		ID: "p1", Partition: 3, Kind: tocsin.KindCandidate, Major: 7, Person: "three", Channel: SMS, Address: "+15005550003",
		State: tocsin.PageDue, DueAt: t0, Expires: t0.Add(5 * time.Minute),
	}
	mail, call := page, page
	mail.ID, mail.Channel, mail.Address = "p2", Email, "three@example.org"
	call.ID, call.Channel, call.DueAt = "p3", Voice, t0.Add(2*time.Minute)
	want := Taken{
		Pages: []tocsin.Page{page, mail, call},
		Next: &Next{At: t0.Add(5 * time.Minute), Walk: Walk{
			Escalation: "managers", Step: 1, Urgency: tocsin.UrgencyHigh, Kind: tocsin.KindCandidate, Major: 7, Partition: 3,
		}},
		Said: []string{"three is paged by sms and email at once, voice after 2m (person/three)"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestTake(t *testing.T) {
	for name, tc := range map[string]struct {
		change      func(p *Plan)
		walk        Walk
		limit       time.Duration
		pages, said []string
	}{
		"low urgency is mail only": {
			nil,
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s one email until 5m0s"},
			[]string{"0s one is paged by email at once (on call in schedule platform)"},
		},
		"urgency none pages nobody": {
			nil, Walk{Escalation: "platform"}, 0, nil, []string{"0s urgency none: nobody is paged", "end"},
		},
		"nobody on call means the next step at once, and it is said": {
			func(p *Plan) { p.OnCall = onCall{} },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s three email until 10m0s"},
			[]string{"0s nobody is on call in schedule platform", "0s nobody can be paged by step 1 of escalation platform: the next step at once", "0s three is paged by email at once (person/three)"},
		},
		"a schedule's fallback is paged instead, with the reason": {
			func(p *Plan) { p.OnCall = onCall{"platform": {"team/platform"}} },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s one email until 5m0s", "0s two email until 5m0s", "0s three email until 5m0s"},
			[]string{
				"0s one is paged by email at once (on call in schedule platform)", "0s two is paged by email at once (on call in schedule platform)",
				"0s three is paged by email at once (on call in schedule platform)",
			},
		},
		"fallbacks in a circle end": {
			func(p *Plan) { p.OnCall = onCall{"platform": {"schedule/platform"}} },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s three email until 10m0s"},
			[]string{
				"0s schedule/platform: fallbacks follow on each other without end",
				"0s nobody can be paged by step 1 of escalation platform: the next step at once", "0s three is paged by email at once (person/three)",
			},
		},
		"whoever has no phone gets mail, and it is said": {
			func(p *Plan) { p.People["one"] = tocsin.Person{Email: "one@example.org"} },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyHigh},
			0,
			[]string{"0s one email until 5m0s"},
			[]string{"0s one is paged by email at once (on call in schedule platform); no phone number"},
		},
		"what comes first that nothing can be sent by is not waited for": {
			func(p *Plan) {
				p.People["one"] = tocsin.Person{Email: "one@example.org"}
				p.Own = map[string]map[tocsin.Urgency][]NotifyStep{"one": {tocsin.UrgencyHigh: {{time.Minute, []string{SMS}}, {3 * time.Minute, []string{Email}}}}}
			},
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyHigh},
			0,
			[]string{"1m0s one email until 5m0s"},
			[]string{"0s one is paged by email after 1m (on call in schedule platform); no phone number"},
		},
		"a person without any contact means the next step at once": {
			func(p *Plan) { p.People["one"] = tocsin.Person{} },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s three email until 10m0s"},
			[]string{
				"0s one cannot be paged (on call in schedule platform); no mail address",
				"0s nobody can be paged by step 1 of escalation platform: the next step at once", "0s three is paged by email at once (person/three)",
			},
		},
		"a channel without a provider is no way to page": {
			func(p *Plan) { p.Channels = []string{SMS} },
			Walk{Escalation: "managers", Urgency: tocsin.UrgencyHigh},
			0,
			[]string{"0s three sms until 5m0s"},
			[]string{"0s three is paged by sms at once (person/three); no provider for email, no provider for voice"},
		},
		"who is found twice in a step is paged once": {
			func(p *Plan) {
				p.Escalations["managers"] = Escalation{Steps: []Step{{[]Target{"skill/database", "person/three", "team/platform"}, 5 * time.Minute}}}
			},
			Walk{Escalation: "managers", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s three email until 5m0s", "0s one email until 5m0s", "0s two email until 5m0s"},
			[]string{"0s three is paged by email at once (skill/database)", "0s one is paged by email at once (team/platform)", "0s two is paged by email at once (team/platform)"},
		},
		"a personal step after the escalation has moved on still runs": {
			func(p *Plan) {
				p.Notify[tocsin.UrgencyHigh] = []NotifyStep{{0, []string{SMS}}, {8 * time.Minute, []string{Voice}}}
			},
			Walk{Escalation: "managers", Urgency: tocsin.UrgencyHigh},
			0,
			[]string{"0s three sms until 5m0s", "8m0s three voice until 10m0s"},
			[]string{"0s three is paged by sms at once, voice after 8m (person/three)"},
		},
		"an escalation without then goes on to the default": {
			nil,
			Walk{Escalation: "managers", Urgency: tocsin.UrgencyLow},
			20 * time.Minute,
			[]string{"0s three email until 5m0s", "5m0s three email until 20m0s", "20m0s three email until 4h20m0s"},
			[]string{
				"0s three is paged by email at once (person/three)",
				"5m0s escalation managers has ended: on to catch-all", "5m0s three is paged by email at once (person/three)",
				"20m0s escalation catch-all has ended", "20m0s unanswered: escalation catch-all is paged again, 1 of 6, every 4h", "20m0s three is paged by email at once (person/three)",
			},
		},
		"an escalation that is gone falls to the default": {
			nil,
			Walk{Escalation: "old", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s three email until 15m0s"},
			[]string{"0s escalation old is not defined any more", "0s escalation old has ended: on to catch-all", "0s three is paged by email at once (person/three)"},
		},
		"a person who is gone does not stop the rest": {
			func(p *Plan) { delete(p.People, "one") },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyLow},
			0,
			[]string{"0s three email until 10m0s"},
			[]string{
				"0s person one is not known any more (on call in schedule platform)", "0s nobody can be paged by step 1 of escalation platform: the next step at once",
				"0s three is paged by email at once (person/three)",
			},
		},
		"where nobody at all can be paged it is said and tried again": {
			func(p *Plan) { p.People = nil },
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyHigh},
			0, nil,
			[]string{
				"0s person one is not known any more (on call in schedule platform)", "0s nobody can be paged by step 1 of escalation platform: the next step at once",
				"0s person three is not known any more (person/three)", "0s nobody can be paged by any step of escalation platform",
				"0s escalation platform has ended: on to catch-all",
				"0s person three is not known any more (person/three)", "0s nobody can be paged by any step of escalation catch-all",
				"0s escalation catch-all has ended", "0s unanswered: escalation catch-all is paged again, 1 of 96, every 15m",
				"0s person three is not known any more (person/three)", "0s nobody can be paged at all: tried again in 15m",
			},
		},
		"escalations in a circle end after three": {
			func(p *Plan) {
				p.Escalations["managers"] = Escalation{Steps: p.Escalations["managers"].Steps, Then: "managers"}
			},
			Walk{Escalation: "managers", Urgency: tocsin.UrgencyLow, Hops: 2},
			10 * time.Minute,
			[]string{"0s three email until 5m0s", "5m0s three email until 10m0s", "10m0s three email until 4h10m0s"},
			[]string{
				"0s three is paged by email at once (person/three)", "5m0s escalation managers has ended: on to managers", "5m0s three is paged by email at once (person/three)",
				"10m0s escalation managers has ended, and 3 escalations followed on each other already: no further one",
				"10m0s unanswered: escalation catch-all is paged again, 1 of 6, every 4h", "10m0s three is paged by email at once (person/three)",
			},
		},
		"a day of nags ends, and says so": {
			nil,
			Walk{Escalation: "platform", Urgency: tocsin.UrgencyHigh, Nag: 97},
			0, nil,
			[]string{"0s unanswered after 96 more calls for help: paging ends here; it stays open until somebody takes it", "end"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := contractPlan()
			if tc.change != nil {
				tc.change(p)
			}
			pages, said := walk(p, tc.walk, tc.limit)
			equalLines(t, "pages", pages, tc.pages)
			equalLines(t, "said", said, tc.said)
		})
	}
}

// S1, S3, M7: whatever the plan has become, a step either pages somebody or says why not, and unless a day of nags is over there is a next one.
func TestNoWalkEndsInSilence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := contractPlan()
		names := []string{"platform", "managers", "catch-all", "gone"}
		targets := []Target{"person/one", "person/gone", "team/platform", "team/gone", "skill/database", "skill/none", "schedule/platform", "schedule/none", "nonsense"}
		for _, name := range names[:3] {
			e := Escalation{Name: name, Repeat: rapid.IntRange(0, 3).Draw(t, "repeat"), Then: rapid.SampledFrom(append(names, "")).Draw(t, "then")}
			for range rapid.IntRange(0, 4).Draw(t, "steps") {
				e.Steps = append(e.Steps, Step{rapid.SliceOfN(rapid.SampledFrom(targets), 0, 4).Draw(t, "page"), time.Duration(rapid.IntRange(1, 30).Draw(t, "minutes")) * time.Minute})
			}
			p.Escalations[name] = e
		}
		if rapid.Bool().Draw(t, "nobody on call") {
			p.OnCall = onCall{}
		}
		if rapid.Bool().Draw(t, "no contacts") {
			p.People = map[string]tocsin.Person{"one": {Name: "one"}}
		}
		w := Walk{Escalation: rapid.SampledFrom(names).Draw(t, "start"), Urgency: tocsin.UrgencyHigh, Incident: 1}
		at, steps := t0, 0
		for {
			taken := p.Take(w, at)
			if len(taken.Said) == 0 {
				t.Fatalf("%+v at %v says nothing", w, at.Sub(t0))
			}
			seen := map[string]bool{}
			for _, g := range taken.Pages {
				if key := g.Person + g.Channel; seen[key] {
					t.Fatalf("%s is paged twice in %+v", key, taken.Pages)
				} else {
					seen[key] = true
				}
				if g.DueAt.Before(at) || !g.Expires.After(g.DueAt) || g.Address == "" {
					t.Fatalf("page that cannot be sent: %+v", g)
				}
			}
			if taken.Next == nil {
				if w.Nag != 97 {
					t.Fatalf("%+v has no next step", w)
				}
				return
			}
			if !taken.Next.At.After(at) {
				t.Fatalf("%+v goes on at once", w)
			}
			if len(taken.Pages) == 0 && taken.Next.Walk.Nag == 0 {
				t.Fatalf("%+v waits though nobody was paged: %q", w, taken.Said)
			}
			w, at = taken.Next.Walk, taken.Next.At
			if steps++; steps > 300 {
				t.Fatal("the walk does not end")
			}
		}
	})
}

func TestChoose(t *testing.T) {
	for name, tc := range map[string]struct{ rule, team, service, want, why string }{
		"the rule comes first":           {"managers", "platform", "checkout", "managers", "escalation managers: the rule says so"},
		"else the team's":                {"", "platform", "checkout", "platform", "escalation platform: of team platform, which the alert names"},
		"else the service's owner":       {"", "", "db-main", "platform", "escalation platform: of team platform, which owns service db-main"},
		"a team that is unknown":         {"", "other", "db-main", "platform", "escalation platform: of team platform, which owns service db-main"},
		"else the default":               {"", "", "other", "catch-all", "escalation catch-all: the default"},
		"a rule's name that is gone":     {"old", "", "", "catch-all", "escalation catch-all: the default; the rule's old is not defined any more"},
		"gone, but the team has its own": {"old", "platform", "", "platform", "escalation platform: of team platform, which the alert names; the rule's old is not defined any more"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, why := contractPlan().Choose(tc.rule, tc.team, tc.service); got != tc.want || why != tc.why {
				t.Errorf("got %q, %q\nwant %q, %q", got, why, tc.want, tc.why)
			}
		})
	}
}

func TestThePlanOfTheContractHasNoMistake(t *testing.T) {
	if err := contractPlan().Validate(func(name string) bool { return name == "platform" }); err != nil {
		t.Error(err)
	}
}

func TestEveryMistakeInAPlanIsToldAtOnce(t *testing.T) {
	p := contractPlan()
	p.Default = "all"
	p.Escalations = map[string]Escalation{
		"a": {Then: "b", Repeat: -1},
		"b": {Then: "a", Steps: []Step{{nil, 0}, {[]Target{"three", "person/", "person/four", "team/x", "skill/x", "schedule/x", "role/x", "person/one"}, time.Minute}}},
		"c": {Then: "none", Steps: []Step{{[]Target{"person/one"}, time.Minute}}},
	}
	p.Notify = map[tocsin.Urgency][]NotifyStep{tocsin.UrgencyHigh: {{time.Minute, []string{"fax", SMS, SMS}}, {0, nil}, {-1, []string{SMS}}}}
	p.Own = map[string]map[tocsin.Urgency][]NotifyStep{"five": nil}
	p.People["a/b"] = tocsin.Person{}
	p.Teams["platform"] = Team{Members: []string{"four"}, Escalation: "x"}
	p.Owners = map[string]string{"db-main": "x"}
	p.NewID = nil
	var got []string
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](p.Validate(func(string) bool { return false })); ok {
		for _, e := range joined.Unwrap() {
			if _, ok := errors.AsType[*Mistake](e); !ok {
				t.Errorf("%v is no *Mistake", e)
			}
			got = append(got, e.Error())
		}
	}
	equalLines(t, "mistakes", got, []string{
		`defaults.escalation: escalation "all" is not defined: without it an alert that nobody owns pages nobody`,
		`escalations.a.steps: an escalation needs at least one step`,
		`escalations.a.repeat: -1 is not between 0 and 100`,
		`escalations.a.then: a, b, a goes in a circle: after the last round it would begin again; use repeat`,
		`escalations.b.then: b, a, b goes in a circle: after the last round it would begin again; use repeat`,
		`escalations.b.steps[0].escalate_after: 0s is no time to wait for an answer: between 1s and 168h`,
		`escalations.b.steps[0].page: a step needs someone to page`,
		`escalations.b.steps[1].page[0]: "three" is no target: one of schedule/NAME, person/NAME, team/NAME, skill/NAME`,
		`escalations.b.steps[1].page[1]: "person/" is no target: one of schedule/NAME, person/NAME, team/NAME, skill/NAME`,
		`escalations.b.steps[1].page[2]: person "four" is not defined`,
		`escalations.b.steps[1].page[3]: team "x" is not defined`,
		`escalations.b.steps[1].page[4]: nobody has skill "x"`,
		`escalations.b.steps[1].page[5]: schedule "x" is not defined`,
		`escalations.b.steps[1].page[6]: "role/x" is no target: one of schedule/NAME, person/NAME, team/NAME, skill/NAME`,
		`escalations.c.then: escalation "none" is not defined`,
		`notify.high[0].by[0]: "fax" is no channel: one of sms, voice, email`,
		`notify.high[0].by[2]: sms stands twice`,
		`notify.high[1].after: 0s stands behind 1m: write the steps in the order of their times`,
		`notify.high[1].by: a step needs a channel: sms, voice or email`,
		`notify.high[2].after: -1ns is not between 0s and 24h`,
		`notify.low: missing: nobody would be paged`,
		`people.five: not defined`,
		`people: "a/b" is no name: it may not be empty or have a slash in it`,
		`teams.platform.members[0]: person "four" is not defined`,
		`teams.platform.escalation: escalation "x" is not defined`,
		`services.db-main.owner: team "x" is not defined`,
		`plan: no source of page ids`,
	})
}

func BenchmarkTake(b *testing.B) {
	p := contractPlan()
	for b.Loop() {
		p.Take(Walk{Escalation: "platform", Urgency: tocsin.UrgencyHigh, Incident: 1}, t0)
	}
}
