package app

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAWarningIsMailedAndPagesBySMSOnceItIsCritical(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	warning := r.lag("a", "warning", "db-main", "replication lag 70s")
	r.until("a mail", func() bool { return len(r.sendgrid.Taken()) == 1 })
	id := r.one().ID
	if d := r.detail(id); d.Urgency != "low" || len(one.texts()) > 0 || len(d.Pages) != 1 {
		t.Errorf("a warning is of urgency %s, %d SMS and %d pages: want low, none, the mail", d.Urgency, len(one.texts()), len(d.Pages))
	}
	if status, body := r.post("/api/v1/incidents/"+id+"/ack", robot, `{"by":"one","note":"looking tomorrow"}`); status != 200 {
		t.Fatalf("ack: %d %s", status, body)
	}
	r.is(id, "acknowledged")
	r.lag("b", "critical", "db-main", "replication lag 340s")
	if got := one.waits("db-main"); !strings.HasPrefix(got, "CRIT db-main: ") || !strings.Contains(got, " (+1). Reply 4 10 ack") {
		t.Errorf("the rise is paged as %q", got)
	}
	d := r.detail(id)
	if d.State != "triggered" || d.Urgency != "high" || d.AckedBy != "" {
		t.Errorf("after the rise it is %s, of urgency %s, had by %q; want it to want an answer again", d.State, d.Urgency, d.AckedBy)
	}
	r.lag("c", "critical", "db-main", "replication lag 500s")
	r.prometheus(warning.ends())
	r.until("the end of the warning", func() bool { return r.detail(id).Open == 2 })
	r.never("a repeat of the same urgency pages again", func() bool { return len(one.texts()) > 1 })
}

// One POST brings both: who is paged hears of it once, as urgent as it is, and one escalation runs.
func TestAWarningThatComesWithItsCriticalIsPagedOnce(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	var both []am
	for _, severity := range []string{"warning", "critical"} {
		a := burning("alertname", "Lag", "service", "db-main", "instance", severity)
		a.Labels["severity"] = severity
		both = append(both, a)
	}
	r.prometheus(both...)
	one.waits("CRIT db-main")
	id := r.one().ID
	r.never("anybody is paged twice by one way", func() bool {
		by := map[string]int{}
		for _, p := range r.detail(id).Pages {
			by[p.Person+" "+p.Channel]++
		}
		return slices.Max(slices.Collect(maps.Values(by))) > 1 || len(one.texts()) > 1
	})
	if got := r.timers(r.number(id), 0); len(got) != 1 {
		t.Errorf("%d timers run for its next step, want one: %+v", len(got), got)
	}
}

func TestWhatIsOfUrgencyNoneIsShownAndNeverPages(t *testing.T) {
	r := newStory(t)
	r.lag("a", "info", "db-main", "a backup was made")
	d := r.one()
	if d.Urgency != "none" || d.Code != 0 || d.Rule != "noise" {
		t.Errorf("it is of urgency %s, with code %d, by rule %s", d.Urgency, d.Code, d.Rule)
	}
	r.never("it was paged", func() bool { return len(r.detail(d.ID).Pages)+len(r.twilio.Requests())+len(r.sendgrid.Requests()) > 0 })
}

func TestGroupWaitGathersBeforeAnyoneIsPaged(t *testing.T) {
	r := newStory(t, "group_wait: 0s ", "group_wait: 1s ")
	one := r.phone("one")
	r.lag("a", "critical", "db-main", "replication lag 340s")
	d := r.one()
	if len(d.Pages) > 0 {
		t.Errorf("%+v was made before the wait was over", d.Pages)
	}
	r.lag("b", "critical", "db-main", "replication lag 350s")
	r.lag("c", "critical", "db-main", "replication lag 360s")
	if got := one.waits("db-main"); !strings.Contains(got, " (+2). ") {
		t.Errorf("paged %q, want all three in one", got)
	}
	r.never("a second page", func() bool { return len(one.texts()) > 1 })

	// What has ended by then wakes nobody.
	e := r.lag("d", "critical", "db-2", "replication lag 340s")
	r.until("an incident of db-2", func() bool { return len(r.incidents()) == 2 })
	r.prometheus(e.ends())
	id := r.incidents()[0].ID
	r.is(id, "resolved")
	time.Sleep(1200 * time.Millisecond) // longer than the wait: nothing may come of it
	if d := r.detail(id); len(d.Pages) > 0 || len(one.texts()) > 1 {
		t.Errorf("what ended within the wait paged %+v", d.Pages)
	}
}

func TestOpenWhenWaitsForEnoughHosts(t *testing.T) {
	r := newStory(t, "open_when: {alerts: 1}", "open_when: {hosts: 3}")
	down := func(host string) am {
		return burning("alertname", "HostDown", "service", "web", "host", host, "team", "platform")
	}
	r.prometheus(down("h1"), down("h2"))
	r.never("two hosts open an incident", func() bool { return len(r.incidents()) > 0 })
	r.prometheus(down("h3"))
	one := r.phone("one")
	if got := one.waits("web"); !strings.Contains(got, "(+2)") {
		t.Errorf("paged %q, want all three in one", got)
	}
	if d := r.one(); d.Open != 3 || d.Key != "service=web, alertname=HostDown" {
		t.Errorf("the incident is %q with %d alerts", d.Key, d.Open)
	}
}

func TestWhatFlapsWithinQuietPagesOnceAndReturnsToItsOwner(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	a := r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("db-main")
	id := r.one().ID
	one.says("4")
	for range 2 {
		r.prometheus(a.ends())
		r.is(id, "resolved")
		a.EndsAt = nil
		r.prometheus(a)
		r.is(id, "acknowledged")
	}
	if d := r.detail(id); d.AckedBy != "one" || d.Reopened != 0 {
		t.Errorf("after flapping it is had by %q and was re-opened %d times", d.AckedBy, d.Reopened)
	}
	r.never("a flap is told of", func() bool { return len(one.texts()) > 1 })
}

func TestWhatComesBackAfterARecoveryThatLastedPagesAnew(t *testing.T) {
	r := newStory(t, bothPaged[0], bothPaged[1], "    window: 15m  ", "    quiet: 1s\n    window: 15m  ")
	one, two := r.phone("one"), r.phone("two")
	a := r.lag("a", "critical", "db-main", "replication lag 340s")
	one.waits("CRIT")
	two.waits("CRIT")
	id := r.one().ID
	one.says("4")
	r.prometheus(a.ends())
	for _, p := range []phone{one, two} {
		if got := timeless(p.waits("recovered")); got != "10 db-main recovered by itself 00:00. Nothing to do." {
			t.Errorf("the all-clear is %q", got)
		}
	}
	one.answers(t, "6 10", "10 db-main recovered by itself 00:00. Nothing to do.")
	a.EndsAt = nil
	r.prometheus(a)
	r.until("both are paged again", func() bool {
		again := func(p phone) bool {
			return len(slices.DeleteFunc(p.texts(), func(s string) bool { return !strings.HasPrefix(s, "CRIT") })) == 2
		}
		return again(one) && again(two)
	})
	if d := r.detail(id); d.State != "triggered" || d.Reopened != 1 || d.AckedBy != "" || d.Code != 10 {
		t.Errorf("it is %s, re-opened %d times, had by %q, code %d", d.State, d.Reopened, d.AckedBy, d.Code)
	}
	if n := len(r.incidents()); n != 1 {
		t.Errorf("%d incidents, want the one", n)
	}
}
