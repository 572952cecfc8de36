package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin"
)

// A majorDetailJSON is one major with all that belongs to it, as the API answers.
type majorDetailJSON struct {
	ID, State, Phase, Title, Rule string
	Priority, Code                int
	Measures                      tocsin.Measures
	Incidents                     []string
	DecidedBy                     string `json:"decided_by"`
	LedBy                         string `json:"led_by"`
	Scope                         map[string]string
	Timeline                      []struct{ Actor, Kind string }
	Pages                         []pageJSON `json:"pages"`
}

func (r *rig) majors() (out []majorDetailJSON) {
	r.t.Helper()
	var list struct{ Majors []majorDetailJSON }
	r.get("/api/v1/majors", &list)
	for _, m := range list.Majors {
		var d majorDetailJSON
		r.get("/api/v1/majors/"+m.ID, &d)
		out = append(out, d)
	}
	return out
}

// major returns the only one there is, once it is in a state.
func (r *rig) major(state string) (m majorDetailJSON) {
	r.t.Helper()
	r.until("a major that is "+state, func() bool {
		all := r.majors()
		if len(all) > 1 {
			r.t.Fatalf("%d majors, want one: %+v", len(all), all)
		}
		if len(all) == 1 {
			m = all[0]
		}
		return m.State == state
	})
	return m
}

// hosts are the alerts of hosts of one region that are down, from one number to another, spread over three services.
func hosts(region string, from, to int) (out []am) {
	services := []string{"web", "api", "cache"}
	for n := from; n < to; n++ {
		out = append(out, burning("alertname", "HostDown", "region", region, "host", fmt.Sprintf("%s-%02d", region, n), "service", services[n%3], "team", "platform"))
	}
	return out
}

func TestARegionThatGoesDownIsOneMajorAndItsIncidentsStopPaging(t *testing.T) {
	r := newStory(t)
	one, three := r.phone("one"), r.phone("three")
	r.prometheus(hosts("eu-west", 0, 19)...)
	r.until("three incidents are paged", func() bool { return len(one.texts()) == 3 })
	r.never("19 hosts are a major", func() bool { return len(r.majors()) > 0 })
	began := time.Now()
	r.prometheus(hosts("eu-west", 19, 25)...)
	page := three.waits("MAJOR?")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the candidate was paged %s after the threshold, want at most 5s", took)
	}
	m := r.major("proposed")
	if m.Measures.Hosts < 20 || m.Measures.Services != 3 || m.Measures.Incidents != 3 || len(m.Incidents) != 3 || m.Scope["region"] != "eu-west" || m.Priority != 2 {
		t.Errorf("the candidate is %+v", m)
	}
	if got, want := timeless(page), fmt.Sprintf("MAJOR? eu-west: 25 hosts, 3 services, since 00:00. Reply 7 %d confirm, 8 %d reject, 4 %d looking. Undecided 00:00: next manager. %s/m/1", m.Code, m.Code, m.Code, public); got != want {
		t.Errorf("the manager reads %q\nwant %q", got, want)
	}
	code := fmt.Sprint(m.Code)
	one.answers(t, "7 "+code, "Only a manager decides on "+code+" eu-west. They are paged.")
	two := r.phone("two")
	two.answers(t, "take "+code, "Only a manager decides on "+code+" eu-west. They are paged.")
	three.answers(t, "6 "+code, code+" eu-west is a major candidate. Reply 7 "+code+" confirm, 8 "+code+" reject, 4 "+code+" looking.")
	three.answers(t, "4 "+code, "You look at "+code+" eu-west. Undecided 00:00: next manager. 7 "+code+" confirm, 8 "+code+" reject.")
	three.answers(t, "7 "+code, code+" eu-west is a major now, 3 incidents joined, their own pages stop. "+public+"/m/1")
	m = r.major("confirmed")
	if m.DecidedBy != "three" || m.Phase != "identify" {
		t.Errorf("confirmed by %q, in phase %q", m.DecidedBy, m.Phase)
	}
	for _, id := range m.Incidents {
		d := r.detail(id)
		if d.Major != m.ID || len(owed(d.Pages)) > 0 || len(r.timers(r.number(id), 0)) > 0 {
			t.Errorf("incident %s of the major %q still owes %+v and has timers %+v", id, d.Major, owed(d.Pages), r.timers(r.number(id), 0))
		}
		if got := said(d.Pages, tocsin.KindPage); !slices.Contains(got, "one voice cancelled") {
			t.Errorf("pages of %s are %q, want the call cancelled", id, got)
		}
	}
	moved := timeless(one.waits(" to major "))
	if want := " and 2 more belong to major " + code + " eu-west now, its people have it. Nothing to do. " + public + "/m/1"; !strings.HasSuffix(moved, want) {
		t.Errorf("one, who was woken for the incidents, is told %q\nwant the end %q", moved, want)
	}
	r.never("who confirmed it is paged by its escalation", func() bool {
		return slices.ContainsFunc(three.texts(), func(s string) bool { return strings.HasPrefix(s, "MAJOR SEV2") })
	})
	if got := one.says("?"); got != "No page is open for you. Nothing to do." {
		t.Errorf("one, whose pages have stopped, is answered %q", got)
	}
	// Whatever comes to the scope later belongs to it and pages nobody.
	pages := len(one.texts())
	late := burning("alertname", "QueueFull", "region", "eu-west", "host", "eu-west-99", "service", "queue", "team", "platform")
	r.prometheus(late)
	r.until("four incidents of the major", func() bool { return len(r.major("confirmed").Incidents) == 4 })
	r.prometheus(hosts("eu-west", 25, 27)...)
	r.never("an incident of the major pages on its own", func() bool { return len(one.texts()) > pages })
	// Elsewhere life goes on.
	r.prometheus(burning("alertname", "HostDown", "region", "us-east", "host", "us-east-1", "service", "web2", "team", "platform"))
	r.until("another region's incident is paged", func() bool { return len(one.texts()) == pages+1 })

	three.answers(t, "5 "+code, code+" eu-west goes to the next manager now.")
	major := three.waits("MAJOR SEV2") // there is no other manager
	if got, want := timeless(major), fmt.Sprintf("MAJOR SEV2 eu-west: 25 hosts, 3 services, since 00:00. Reply 4 %s ack, 5 %s escalate. %s/m/1", code, code, public); got != want {
		t.Errorf("the majors' escalation reads %q\nwant %q", got, want)
	}
	three.answers(t, "4 "+code, "You have major "+code+" eu-west, the others know. "+public+"/m/1")
	m = r.major("confirmed")
	if m.LedBy != "three" || len(owed(m.Pages)) > 0 || len(r.timers(0, 1)) > 0 {
		t.Errorf("the major is led by %q, owes %+v, and has timers %+v; want nothing more to come", m.LedBy, owed(m.Pages), r.timers(0, 1))
	}
	three.answers(t, "?", "Yours: "+code+" eu-west major. Done? 6 "+code+". Cannot? 5 "+code+".")
	three.answers(t, "6 "+code, "Major "+code+" eu-west is resolved. "+public+"/m/1")
	r.major("resolved")
}

func TestARejectedCandidateRestsUntilItGrowsByHalf(t *testing.T) {
	r := newStory(t)
	one, three := r.phone("one"), r.phone("three")
	r.prometheus(hosts("eu-west", 0, 20)...)
	page := three.waits("MAJOR?")
	code := r.codeIn(page)
	three.answers(t, "8 "+code, code+" eu-west is no major, its incidents go on. Not proposed again before 00:00 unless it grows.")
	three.answers(t, "7 "+code, "three rejected "+code+" eu-west 00:00 already.")
	m := r.major("rejected")
	for _, id := range m.Incidents {
		if d := r.detail(id); d.State != "triggered" || d.Major != "" || len(owed(d.Pages)) == 0 {
			t.Errorf("incident %s is %s, of major %q, and owes %+v; want it to go on", id, d.State, d.Major, owed(d.Pages))
		}
	}
	one.answers(t, "4all", "10, 11 and 12 are yours, the others know. Done? 6 CODE. Cannot? 5 CODE.")
	r.prometheus(hosts("eu-west", 20, 29)...)
	r.never("it is proposed again", func() bool { return len(r.majors()) > 1 })
	r.prometheus(hosts("eu-west", 29, 30)...)
	r.until("it has grown by half, and is proposed again", func() bool { return len(r.majors()) == 2 })
}

func TestACandidateThatNobodyDecidesOn(t *testing.T) {
	twoManagers := []string{
		"    steps: [{page: [person/three], escalate_after: 5m}]",
		"    steps: [{page: [person/three], escalate_after: 5m}, {page: [person/two], escalate_after: 5m}]",
	}
	t.Run("is confirmed where the rule says confirm", func(t *testing.T) {
		r := newStory(t, "decide_within: 10m", "decide_within: 1s", "on_timeout: escalate", "on_timeout: confirm")
		r.prometheus(hosts("eu-west", 0, 20)...)
		m := r.major("confirmed")
		if m.DecidedBy != "timer" {
			t.Errorf("confirmed by %q, want by the timer", m.DecidedBy)
		}
		r.phone("three").waits("MAJOR SEV2")
		for _, id := range m.Incidents {
			if d := r.detail(id); d.Major != m.ID || len(owed(d.Pages)) > 0 {
				t.Errorf("incident %s of major %q owes %+v", id, d.Major, owed(d.Pages))
			}
		}
	})
	t.Run("is dropped where the rule says expire", func(t *testing.T) {
		r := newStory(t, "decide_within: 10m", "decide_within: 1s", "on_timeout: escalate", "on_timeout: expire")
		r.prometheus(hosts("eu-west", 0, 20)...)
		r.phone("three").waits("MAJOR?")
		m := r.major("expired")
		if len(owed(m.Pages)) > 0 || len(r.timers(0, 1)) > 0 {
			t.Errorf("it still owes %+v and has timers %+v", owed(m.Pages), r.timers(0, 1))
		}
		if d := r.detail(m.Incidents[0]); d.Major != "" || len(owed(d.Pages)) == 0 {
			t.Errorf("its incident is of major %q and owes %+v, want it to go on", d.Major, owed(d.Pages))
		}
	})
	t.Run("goes to the next manager twice, and is confirmed then", func(t *testing.T) {
		r := newStory(t, append([]string{"decide_within: 10m", "decide_within: 1s"}, twoManagers...)...)
		r.prometheus(hosts("eu-west", 0, 20)...)
		r.phone("three").waits("MAJOR?")
		r.phone("two").waits("MAJOR?")
		m := r.major("confirmed")
		var passed int
		for _, c := range m.Timeline {
			if c.Kind == "pass-on" && c.Actor == "timer" {
				passed++
			}
		}
		if passed != 2 || m.DecidedBy != "timer" {
			t.Errorf("passed on %d times and confirmed by %q, want twice, and by the timer", passed, m.DecidedBy)
		}
		if code := r.codeIn(r.phone("two").waits("MAJOR?")); fmt.Sprint(m.Code) != code {
			t.Errorf("the second manager's code is %s, want %d", code, m.Code)
		}
	})
}
