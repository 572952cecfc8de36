package correlate

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
)

var twoUrgencies = Urgencies{"critical": tocsin.UrgencyHigh, "error": tocsin.UrgencyHigh, "warning": tocsin.UrgencyLow}

// byService groups by service, and leaves all else as it is by default.
func byService(change ...func(*Rule)) RuleSet {
	r := Rule{Name: "all", GroupBy: []string{"service"}}
	for _, f := range change {
		f(&r)
	}
	return RuleSet{Rules: []Rule{r}, Urgency: twoUrgencies}
}

func TestApply(t *testing.T) {
	for name, tc := range map[string]struct {
		rules RuleSet
		story string
	}{
		"alerts of one group make one incident and one page": {byService(), `
			0s  | a fires service=db                     | opened i1, page-now i1
			10s | b fires service=db; c fires service=db | joined i1, joined i1
			20s | d fires service=web                    | opened i2, page-now i2`},
		"a repeat is a touch: no row, no effect": {byService(), `
			0s  | a fires service=db | opened i1, page-now i1
			1m  | a fires service=db |
			20m | a fires service=db |`},
		"an alert without any group_by label is an incident of its own": {byService(), `
			0s | a fires host=x | opened i1, page-now i1
			1s | b fires host=x | opened i2, page-now i2
			2s | a fires host=x |`},
		"past the window a new episode opens beside the old": {byService(), `
			0s     | a fires service=db | opened i1, page-now i1
			10m    | b fires service=db | joined i1
			20m01s | c fires service=db | opened i2, page-now i2
			21m    | d fires service=db | joined i2
			22m    | a ends             | eased i1
			23m    | b ends             | recovered i1
			24m    | e fires service=db | joined i2`},
		"an alert that comes back goes where it was, also past the window": {byService(), `
			0s  | a fires service=db; b fires service=db | opened i1, page-now i1, joined i1
			1m  | a ends             | eased i1
			12m | c fires service=db | opened i2, page-now i2
			13m | a fires service=db | joined i1`},
		"with the newest episode forgotten, the older one is the group's again": {byService(func(r *Rule) { r.Window = new(2 * time.Hour) }), `
			0s  | a fires service=db   | opened i1, page-now i1
			1m  | do-resolve 1 by one  |
			20m | b fires service=db   | opened i2, page-now i2
			21m | b ends               | recovered i2
			31m | tick                 | recovery-lasted i2, reopened i1, page-now i1
			1h  | c fires service=db   | joined i1`},
		"a recovery is said at once, and that it lasted after quiet": {byService(), `
			0s    | a fires service=db | opened i1, page-now i1
			5m    | a ends             | recovered i1
			6m59s | tick               |
			7m    | tick               | recovery-lasted i1
			8m    | tick               |`},
		"a recovery that does not last changes nothing and pages nobody": {byService(), `
			0s    | a fires service=db | opened i1, page-now i1
			5m    | do-ack 1 by one    |
			6m    | a ends             | recovered i1
			7m59s | a fires service=db | returned i1
			9m    | a ends             | recovered i1
			10m   | b fires service=db | returned i1
			11m   | do-ack 1 by two    | it is acknowledged, by one since 10:05:00`},
		"after quiet and within reopen the incident comes back and pages": {byService(), `
			0s     | a fires service=db | opened i1, page-now i1
			1m     | do-ack 1 by one    |
			2m     | a ends             | recovered i1
			16m59s | b fires service=db | recovery-lasted i1, reopened i1, page-now i1
			18m    | do-ack 1 by two    |`},
		"after reopen it is forgotten: a firing is a new incident": {byService(), `
			0s  | a fires service=db | opened i1, page-now i1
			2m  | a ends             | recovered i1
			17m01s | a fires service=db | recovery-lasted i1, opened i2, page-now i2`},
		"an incident resolved by hand comes back after half an hour, if its alerts still fire": {byService(), `
			0s     | a fires service=db; b fires service=db | opened i1, page-now i1, joined i1
			1m     | do-resolve 1 by one |
			2m     | a fires service=db  |
			3m     | b ends              |
			30m59s | tick                |
			31m    | tick                | reopened i1, page-now i1
			32m    | a ends              | recovered i1`},
		"an incident resolved by hand stays so, if its alerts end": {byService(), `
			0s  | a fires service=db  | opened i1, page-now i1
			1m  | do-resolve 1 by one |
			20m | a ends              |
			2h  | tick                |`},
		"an incident resolved by hand comes back at once, if something new fires in its group": {byService(), `
			0s  | a fires service=db  | opened i1, page-now i1
			1m  | do-resolve 1 by one |
			5m  | b fires service=db  | reopened i1, page-now i1`},
		"a person may open an incident again that is long forgotten": {byService(), `
			0s  | a fires service=db  | opened i1, page-now i1
			1m  | a ends              | recovered i1
			1h  | tick                | recovery-lasted i1
			5h  | do-reopen 1 by one  |
			6h  | b fires service=db  | opened i2, page-now i2
			7h  | do-resolve 1 by one |`},
		"... but not after a week": {byService(), `
			0s   | a fires service=db  | opened i1, page-now i1
			1m   | a ends              | recovered i1
			169h | do-reopen 1 by one  | it is resolved, by recovered since 10:01:00`},
		"a rise of urgency pages again, also after an ack": {byService(), `
			0s | a fires service=db warning  | opened i1, page-now i1
			1m | do-ack 1 by one             |
			2m | b fires service=db critical | joined i1, urgency-rose i1, page-now i1
			3m | do-ack 1 by one             |
			4m | c fires service=db error    | joined i1`},
		"a fall of urgency pages nobody, and the next rise does": {byService(), `
			0s | a fires service=db critical; b fires service=db warning | opened i1, page-now i1, joined i1
			1m | a ends                       | eased i1
			2m | c fires service=db critical  | joined i1, urgency-rose i1, page-now i1`},
		"an alert whose severity changes while it fires stays in its incident": {byService(), `
			0s | a fires service=db warning  | opened i1, page-now i1
			1m | a fires service=db critical | urgency-rose i1, page-now i1
			2m | a fires service=db warning  |
			3m | a fires service=web warning |
			4m | a ends                      | recovered i1`},
		"urgency none is recorded and never paged": {byService(), `
			0s  | a fires service=db info | opened i1
			1m  | a ends                  | recovered i1
			10m | a fires service=db info | recovery-lasted i1, reopened i1`},
		"an incident that nobody was paged for pages when it rises": {byService(), `
			0s | a fires service=db info    | opened i1
			1m | b fires service=db warning | joined i1, urgency-rose i1, page-now i1`},
		"an alert whose severity no door understood is paged as an error": {RuleSet{Urgency: Urgencies{"error": tocsin.UrgencyHigh}}, `
			0s | a fires error | opened i1, page-now i1`},
		"group_wait gathers before it pages once": {byService(func(r *Rule) { r.GroupWait = new(30 * time.Second) }), `
			0s  | a fires service=db warning  | opened i1
			10s | b fires service=db critical | joined i1, urgency-rose i1
			29s | tick                        |
			30s | tick                        | page-now i1
			31s | tick                        |`},
		"an ack during group_wait saves the page": {byService(func(r *Rule) { r.GroupWait = new(30 * time.Second) }), `
			0s  | a fires service=db warning  | opened i1
			10s | do-ack 1 by one             |
			30s | tick                        |
			40s | b fires service=db critical | joined i1, urgency-rose i1, page-now i1`},
		"a recovery during group_wait that does not last does not swallow the page": {byService(func(r *Rule) { r.GroupWait = new(30 * time.Second) }), `
			0s  | a fires service=db | opened i1
			20s | a ends             | recovered i1
			40s | a fires service=db | returned i1, page-now i1`},
		"an urgency of none when group_wait is over is paged when it rises": {byService(func(r *Rule) { r.GroupWait = new(30 * time.Second) }), `
			0s  | a fires service=db warning; b fires service=db info | opened i1, joined i1
			10s | a ends                      | eased i1
			40s | tick                        |
			50s | c fires service=db warning  | joined i1, urgency-rose i1, page-now i1`},
		"open_when holds alerts until the group has enough of them": {byService(func(r *Rule) { r.OpenWhen = &OpenWhen{Alerts: 3} }), `
			0s | a fires service=db warning  |
			1s | a fires service=db warning  |
			2s | b fires service=db critical |
			3s | c fires service=db warning  | opened i1, joined i1, joined i1, page-now i1`},
		"open_when counts hosts": {byService(func(r *Rule) { r.OpenWhen = &OpenWhen{Hosts: 2} }), `
			0s | a fires service=db host=x |
			1s | b fires service=db host=x |
			2s | c fires service=db host=y | opened i1, joined i1, joined i1, page-now i1`},
		"an alert that ends while it waits counts no longer": {byService(func(r *Rule) { r.OpenWhen = &OpenWhen{Alerts: 2} }), `
			0s | a fires service=db |
			1s | a ends             |
			2s | b fires service=db |
			3s | a fires service=db | opened i1, joined i1, page-now i1`},
		"an alert that changes its host while it waits counts for the new one": {byService(func(r *Rule) { r.OpenWhen = &OpenWhen{Hosts: 2} }), `
			0s | a fires service=db host=x |
			1s | b fires service=db host=x |
			2s | b fires service=db host=y |
			3s | c fires service=db host=x | opened i1, joined i1, joined i1, page-now i1`},
		"open_when within counts only alerts that began lately": {byService(func(r *Rule) { r.OpenWhen = &OpenWhen{Alerts: 2, Within: time.Minute} }), `
			0s    | a fires service=db |
			1m01s | b fires service=db |
			1m30s | c fires service=db | opened i1, joined i1, joined i1, page-now i1`},
		"auto_resolve ends an alert that is not repeated": {byService(func(r *Rule) { r.AutoResolve = new(5 * time.Minute) }), `
			0s    | a fires service=db; b fires service=db | opened i1, page-now i1, joined i1
			4m    | a fires service=db | 
			5m    | tick               | eased i1
			8m59s | tick               |
			9m    | tick               | recovered i1`},
		"auto_resolve ends an alert that waits, too, and repeats put it off": {byService(func(r *Rule) {
			r.AutoResolve, r.OpenWhen = new(5*time.Minute), &OpenWhen{Alerts: 2}
		}), `
			0s | a fires service=db |
			4m | a fires service=db |
			6m | b fires service=db | opened i1, joined i1, page-now i1`},
		"an end that the sender foretold and did not put off comes true": {byService(), `
			0s    | a fires service=db until=4m | opened i1, page-now i1
			1m    | a fires service=db until=4m |
			4m30s | tick                        |
			5m    | tick                        | recovered i1`},
		"after an hour without a record each thing still falls due at its own time": {byService(func(r *Rule) { r.GroupWait = new(time.Minute) }), `
			0s | a fires service=db until=4m | opened i1
			1h | a fires service=db          | page-now i1, recovered i1, recovery-lasted i1, opened i2`},
		"an end that comes before its alert is kept, and the late alert changes nothing": {byService(), `
			0s  | a ends service=db             |
			1m  | a fires service=db since=2m   |
			2m  | a fires service=db since=3m   |
			3m  | a fires service=db since=1m   | opened i1, page-now i1`},
		"an end that came early is no end of an alert whose beginning nobody said": {byService(), `
			0s | a ends service=db  |
			1m | a fires service=db | opened i1, page-now i1`},
		"an end and a new firing that cross are taken in the order of the journal": {byService(), `
			0s | a fires service=db                     | opened i1, page-now i1
			1m | a ends service=db; a fires service=db  | recovered i1, returned i1
			2m | a fires service=db; a ends service=db  | recovered i1
			3m | a ends service=db                      |`},
		"an acknowledgement at the sender acknowledges the incident, once": {byService(), `
			0s | a is-acked service=db |
			1s | a fires service=db    | opened i1, page-now i1
			2s | a is-acked service=db | acknowledged-by-sender i1
			3s | a is-acked service=db |
			4s | do-ack 1 by one       | it is acknowledged, by source prom since 10:00:02
			5s | a ends                | recovered i1
			6s | a is-acked service=db |`},
		"what no rule claims is an incident of its own": {RuleSet{Urgency: twoUrgencies, Rules: []Rule{{Name: "dbs", Matchers: []string{`kind="db"`}}}}, `
			0s | a fires service=db | opened i1, page-now i1
			1s | b fires service=db | opened i2, page-now i2`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.rules)
			w.check = true
			w.run(t, tc.story)
		})
	}
}

// wide is what the story of a region needs: three hosts make a candidate.
func wide(change ...func(*MajorRule)) RuleSet {
	rs := byService(func(r *Rule) { r.Window = new(time.Hour) })
	m := MajorRule{
		Name: "wide", Scope: []string{"region"}, Window: 15 * time.Minute, Any: tocsin.Measures{Hosts: 3}, Priority: 2, Action: "propose",
		DecideAfter: 10 * time.Minute, OnTimeout: "escalate", Cooldown: time.Hour, Escalation: "managers",
	}
	for _, f := range change {
		f(&m)
	}
	rs.Majors = []MajorRule{m}
	return rs
}

// region lets n alerts of as many hosts and services fire, from host first on.
func region(first, n int) (s string) {
	for k := first; k < first+n; k++ {
		if k > first {
			s += ";"
		}
		s += fmt.Sprintf("a%d fires service=s%d host=h%d region=eu", k, k, k)
	}
	return s
}

func TestMajors(t *testing.T) {
	promote := func(m *MajorRule) { m.Action = "promote" }
	two := region(1, 2) + " | opened i1, page-now i1, opened i2, page-now i2"
	for name, tc := range map[string]struct {
		rules RuleSet
		story string
	}{
		"too many hosts of one region are a candidate, proposed once, with later incidents covered": {wide(), `
			0s | ` + two + `
			1s | b fires service=s9 host=h9 region=us | opened i3, page-now i3
			2s | ` + region(3, 1) + ` | opened i4, page-now i4, proposed m1
			3s | ` + region(4, 1) + ` | opened i5, page-now i5, grew m1
			4s | tick |`},
		"an alert without the scope's label has no scope": {wide(), `
			0s | ` + two + `
			2s | c fires service=s9 host=h9 | opened i3, page-now i3`},
		"hosts count once, however many alerts they have": {wide(), `
			0s | ` + two + `
			2s | c fires service=s9 host=h1 region=eu | opened i3, page-now i3`},
		"services, incidents and users are counted too": {wide(func(m *MajorRule) { m.Any, m.All = tocsin.Measures{}, tocsin.Measures{Services: 2, Incidents: 2} }), `
			0s | ` + two + `, proposed m1`},
		"what has ended counts no longer": {wide(), `
			0s | ` + two + `
			1s | a1 ends | recovered i1
			2s | ` + region(3, 1) + ` | opened i3, page-now i3
			3s | a1 fires service=s1 host=h1 region=eu | returned i1, proposed m1`},
		"incidents whose newest alert has left the window count no longer": {wide(), `
			0s     | ` + two + `
			15m01s | ` + region(3, 1) + ` | opened i3, page-now i3
			16m    | ` + region(4, 2) + ` | opened i4, page-now i4, opened i5, page-now i5, proposed m1`},
		"a candidate of which nothing is left lapses": {wide(), `
			0s | ` + region(1, 3) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, proposed m1
			1m | a1 ends; a2 ends | recovered i1, recovered i2
			2m | a3 ends | recovered i3, lapsed m1
			3m | do-confirm 1 by one | it is expired, by recovered since 10:02:00`},
		"a confirmed major takes its incidents over, and later ones never page on their own": {wide(), `
			0s  | ` + region(1, 3) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, proposed m1
			1m  | do-confirm 1 by one |
			2m  | ` + region(4, 1) + ` | opened i4, joined-major i4 m1, grew m1
			3m  | a4 ends | recovered i4
			10m | a4 fires service=s4 host=h4 region=eu | recovery-lasted i4, reopened i4
			11m | do-reject 1 by two | it is confirmed, by one since 10:01:00`},
		"an incident that ended before the major was confirmed is taken over when it comes back": {wide(), `
			0s  | ` + region(1, 4) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, opened i4, page-now i4, proposed m1
			1m  | a1 ends | recovered i1
			2m  | do-confirm 1 by one |
			10m | a1 fires service=s1 host=h1 region=eu | recovery-lasted i1, reopened i1, joined-major i1 m1`},
		"promote makes a major at once": {wide(promote), `
			0s | ` + two + `
			1s | ` + region(3, 1) + ` | opened i3, page-now i3, promoted m1, joined-major i1 m1, joined-major i2 m1, joined-major i3 m1
			2s | b fires service=s1 host=h1 region=eu critical | joined i1`},
		"a rise of urgency in a major pages nobody on its own": {wide(promote), `
			0s | b1 fires warning service=s1 host=h1 region=eu; ` + region(2, 2) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, promoted m1, joined-major i1 m1, joined-major i2 m1, joined-major i3 m1
			1m | b2 fires critical service=s1 host=h1 region=eu | joined i1, urgency-rose i1`},
		"when the major has ended, an incident that comes back pages for itself": {wide(promote), `
			0s  | ` + region(1, 3) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, promoted m1, joined-major i1 m1, joined-major i2 m1, joined-major i3 m1
			1m  | a1 ends; a2 ends; a3 ends | recovered i1, recovered i2, recovered i3
			2m  | do-resolve-major 1 by one |
			10m | a1 fires service=s1 host=h1 region=eu | recovery-lasted i1, recovery-lasted i2, recovery-lasted i3, reopened i1, page-now i1`},
		"after a rejection the same scope rests, unless a measure grew by half": {wide(), `
			0s  | ` + region(1, 4) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, opened i4, page-now i4, proposed m1
			1m  | do-reject 1 by one |
			2m  | ` + region(5, 1) + ` | opened i5, page-now i5
			3m  | ` + region(6, 1) + ` | opened i6, page-now i6, proposed m2`},
		"when it has rested it is proposed again, without anything new": {wide(func(m *MajorRule) { m.Cooldown = 5 * time.Minute }), `
			0s    | ` + region(1, 3) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3, proposed m1
			1m    | do-reject 1 by one |
			5m59s | tick |
			6m    | tick | proposed m2`},
		"hold waits until the limit was held for so long": {wide(func(m *MajorRule) { m.Hold = time.Minute }), `
			0s    | ` + region(1, 3) + ` | opened i1, page-now i1, opened i2, page-now i2, opened i3, page-now i3
			30s   | a1 ends | recovered i1
			40s   | a1 fires service=s1 host=h1 region=eu | returned i1
			1m39s | tick |
			1m40s | tick | proposed m1`},
		"a command that ends the last incident lets the candidate lapse with the next record": {wide(func(m *MajorRule) { m.Any = tocsin.Measures{Hosts: 1} }), `
			0s | ` + region(1, 1) + ` | opened i1, page-now i1, proposed m1
			1m | do-resolve 1 by one |
			2m | tick | lapsed m1`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.rules)
			w.check = true
			w.run(t, tc.story)
		})
	}
}

func TestTheRowsOfAStorySayWhatHappened(t *testing.T) {
	rs := byService(func(r *Rule) { r.Escalation = "platform" })
	rs.Enrich = []Enrich{{Matchers: []string{`service=~"db.*"`}, Set: map[string]string{"kind": "database"}}}
	w := newWorld(t, rs)
	w.run(t, `
		0s | a fires service=db host=x team=core warning until=5m | opened i1, page-now i1
		1m | b fires service=db host=y critical | joined i1, urgency-rose i1, page-now i1
		2m | a fires service=db host=x team=core warning until=5m |
		3m | b ends | eased i1`)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	want := tocsin.Incident{
		ID: 1, State: tocsin.Triggered, Title: "a is bad", Rule: "all", Key: "service=db", Group: `service="db"`,
		Labels: tocsin.NewLabels(map[string]string{"service": "db", "kind": "database"}), Service: "db", Severity: tocsin.Warning, Priority: 3,
		Urgency: tocsin.UrgencyLow, Escalation: "platform", Team: "core", Code: 10, OpenedAt: at(0), NewestAt: at(time.Minute), PageAt: at(0), Paged: true,
		Open: 1, Alerts: 2,
	}
	if diff := cmp.Diff(want, w.rows.incidents[1]); diff != "" {
		t.Errorf("incident (-want +got):\n%s", diff)
	}
	b := event(t, at(time.Minute), "b fires service=db host=y critical")
	wantB := tocsin.Alert{
		ID: 2, Fingerprint: b.Fingerprint, Source: "prom", Key: "b", Status: tocsin.Resolved, Severity: tocsin.Critical, Summary: "b is bad",
		Labels: b.Labels.With("kind", "database"), StartsAt: at(time.Minute), FirstAt: at(time.Minute), LastAt: at(3 * time.Minute), EndsAt: at(3 * time.Minute),
		Count: 2, Rule: "all", Group: `service="db"`, Incident: 1, Content: contentOf(&b), AsOf: 5,
		Why: tocsin.Why{
			Rule: "all", Group: map[string]string{"service": "db"}, Set: map[string]string{"kind": "database"},
			Joined: "joined: the incident's newest alert was 1m old, the window is 10m",
		},
	}
	if diff := cmp.Diff(wantB, w.rows.alerts[2]); diff != "" {
		t.Errorf("alert (-want +got):\n%s", diff)
	}
	if a := w.rows.alerts[1]; a.Count != 1 {
		t.Errorf("the row of an alert that only repeated counts %d, want 1", a.Count)
	}
	wantTouch := map[int64][]Touch{0: {{Alert: 1, LastAt: at(2 * time.Minute), EndsAt: at(7 * time.Minute), Count: 2, AsOf: 4}}}
	if diff := cmp.Diff(wantTouch, w.d.Touches()); diff != "" {
		t.Errorf("touches (-want +got):\n%s", diff)
	}
}

func TestWhy(t *testing.T) {
	w := newWorld(t, byService(func(r *Rule) {
		r.Matchers, r.OpenWhen = []string{`service!="x"`}, &OpenWhen{Hosts: 2}
	}))
	w.run(t, `
		0s     | a fires service=db host=x          |
		1s     | b fires service=db host=y          | opened i1, joined i1, page-now i1
		2m     | c fires service=db host=z          | joined i1
		3m     | c fires service=db host=z critical team=t |
		4m     | c ends; c fires service=db host=z  | eased i1, joined i1
		15m    | d fires service=db host=z          |
		16m    | e fires service=db host=w          | opened i2, joined i2, page-now i2
		17m    | d ends; e ends                     | eased i2, recovered i2
		20m    | f fires service=db host=w          | recovery-lasted i2, reopened i2, page-now i2
		21m    | g ends                             |`)
	want := map[int64]string{
		1: "joined: it waited until its group had enough to open an incident",
		2: "opened: no incident of this group takes new alerts",
		3: "returned: it fires again in the incident it was in",
		4: "joined: it waited until its group had enough to open an incident",
		5: "opened: the newest alert of the incident before, 1, was 12m old, the window is 10m",
		6: "joined: the incident had ended 3m ago and came back",
		7: "ended: no firing of it is known; one that began before its end and comes later changes nothing",
	}
	got := map[int64]string{}
	for id, a := range w.rows.alerts {
		got[id] = a.Why.Joined
		if id < 7 && !cmp.Equal(a.Why.Matchers, []string{`service!="x"`}) {
			t.Errorf("alert %d: matchers %q", id, a.Why.Matchers)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("why (-want +got):\n%s", diff)
	}
	var said []string
	for _, e := range w.effects {
		if e.Kind == PageNow || e.Kind == Reopened || e.Kind == Recovered {
			said = append(said, e.Why)
		}
	}
	if diff := cmp.Diff([]string{"it opened", "it opened", "all its alerts have ended; the last one: said by prom", "an alert of the same group fires again", "it came back"}, said); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestAMajorSaysWhatItCounted(t *testing.T) {
	rs := wide(func(m *MajorRule) { m.Any.Users = 500 })
	rs.Services = map[string]Service{"s1": {Users: 300}, "s2": {Users: 250}}
	w := newWorld(t, rs)
	w.run(t, `
		0s | `+region(1, 1)+` | opened i1, page-now i1
		1m | `+region(2, 1)+` | opened i2, page-now i2, proposed m1
		2m | `+region(3, 1)+` | opened i3, page-now i3, grew m1`)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	measures := tocsin.Measures{Hosts: 2, Services: 2, Incidents: 2, Users: 550, Since: at(0)}
	peak := measures
	peak.Hosts, peak.Services, peak.Incidents = 3, 3, 3
	want := tocsin.Major{
		ID: 1, State: tocsin.Proposed, Title: "eu", Rule: "wide", Scope: tocsin.NewLabels(map[string]string{"region": "eu"}), Priority: 2,
		Escalation: "managers", Action: "propose", OnTimeout: "escalate", DecideAfter: 10 * time.Minute, Code: 12, Measures: measures, Peak: peak,
		Limits: tocsin.Measures{Hosts: 3, Users: 500}, Incidents: []int64{1, 2, 3}, ProposedAt: at(time.Minute), DecideBy: at(11 * time.Minute),
	}
	if diff := cmp.Diff(want, w.rows.majors[1]); diff != "" {
		t.Errorf("major (-want +got):\n%s", diff)
	}
	if got, want := w.effects[4].Why, "2 hosts, 2 services, 2 incidents, 550 users over 3 hosts, 500 users in 15m"; got != want {
		t.Errorf("why %q, want %q", got, want)
	}
}

func TestTheExampleOfTheGuide(t *testing.T) {
	w := newWorld(t, RuleSet{
		Urgency: twoUrgencies,
		Enrich:  []Enrich{{Matchers: []string{`service=~"db-.+"`}, Set: map[string]string{"kind": "database"}}},
		Rules: []Rule{
			{
				Name: "databases", Matchers: []string{`kind="database"`}, GroupBy: []string{"service"}, GroupWait: new(30 * time.Second), Escalation: "platform",
				Rules: []Rule{{
					Name: "replicas", Matchers: []string{`role="replica"`},
					Urgency: Urgencies{"critical": tocsin.UrgencyLow, "error": tocsin.UrgencyLow, "warning": tocsin.UrgencyLow, "info": tocsin.UrgencyLow},
				}},
			},
			{Name: "everything", GroupBy: []string{"service", "alertname"}},
		},
		Majors: []MajorRule{{Name: "wide-outage", Scope: []string{"region"}, Window: 15 * time.Minute, Any: tocsin.Measures{Hosts: 3}, Action: "propose", DecideAfter: 10 * time.Minute, Cooldown: time.Hour}},
	})
	w.check = true
	w.run(t, `
		0s  | lag fires service=db-main host=a role=replica region=eu       | opened i1
		10s | lag fires service=db-main host=a role=replica region=eu       |
		20s | down fires service=db-main host=b region=eu                   | opened i2
		30s | tick                                                          | page-now i1
		50s | tick                                                          | page-now i2
		1m  | checkout fires warning service=checkout alertname=errors host=c region=eu | opened i3, page-now i3, proposed m1
		2m  | do-confirm 1 by three                                         |
		3m  | payments fires service=payments alertname=errors host=d region=eu | opened i4, joined-major i4 m1, grew m1
		5m  | checkout ends                                                 | recovered i3
		6m  | checkout fires warning service=checkout alertname=errors host=c region=eu | returned i3`)
	for id, want := range map[int64]tocsin.Urgency{1: tocsin.UrgencyLow, 2: tocsin.UrgencyHigh, 3: tocsin.UrgencyLow, 4: tocsin.UrgencyHigh} {
		if i := w.rows.incidents[id]; i.Urgency != want || i.Major != 1 {
			t.Errorf("incident %d has urgency %s and is in major %d, want %s and 1", id, i.Urgency, i.Major, want)
		}
	}
}
