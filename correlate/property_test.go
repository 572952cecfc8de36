package correlate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin"
)

// manyRules is a rule set in which everything happens within minutes.
func manyRules() RuleSet {
	length := func(d time.Duration) *time.Duration { return &d }
	return RuleSet{
		Urgency: Urgencies{"critical": tocsin.UrgencyHigh, "error": tocsin.UrgencyHigh, "warning": tocsin.UrgencyLow},
		Enrich:  []Enrich{{Matchers: []string{`service=~"db.*"`}, Set: map[string]string{"kind": "database"}}},
		Rules: []Rule{
			{Name: "dbs", Matchers: []string{`kind="database"`}, GroupBy: []string{"service"}, GroupWait: length(30 * time.Second), Window: length(3 * time.Minute), Rules: []Rule{
				{Name: "auto", Matchers: []string{`host="h1"`}, AutoResolve: length(2 * time.Minute)},
			}},
			{Name: "many", Matchers: []string{`service="web"`}, GroupBy: []string{"region"}, OpenWhen: &OpenWhen{Hosts: 2, Alerts: 2}, AutoResolve: length(5 * time.Minute)},
			{Name: "soon", Matchers: []string{`service="mail"`}, GroupBy: []string{"region", "service"}, OpenWhen: &OpenWhen{Alerts: 3, Within: time.Minute}, Quiet: length(0)},
			{Name: "rest", GroupBy: []string{"region"}, Quiet: length(time.Minute), Reopen: length(4 * time.Minute)},
		},
		Majors: []MajorRule{
			{Name: "region", Scope: []string{"region"}, Window: 5 * time.Minute, Any: tocsin.Measures{Hosts: 3, Incidents: 3}, Action: "propose", Priority: 2, Cooldown: 10 * time.Minute, DecideAfter: time.Minute},
			{Name: "held", Scope: []string{"service"}, Window: 4 * time.Minute, All: tocsin.Measures{Hosts: 2, Services: 1}, Hold: time.Minute, Action: "propose", Cooldown: 3 * time.Minute},
			{Name: "users", Scope: []string{"region", "service"}, Window: 10 * time.Minute, Any: tocsin.Measures{Users: 100}, Action: "promote", Matchers: []string{`severity!="info"`}, Cooldown: 5 * time.Minute},
		},
		Services: map[string]Service{"db1": {Users: 60}, "db2": {Users: 120}},
	}
}

// otherRules differ in all but the lengths for which something is remembered.
func otherRules() RuleSet {
	rs := manyRules()
	rs.Rules = []Rule{rs.Rules[3], rs.Rules[1], rs.Rules[2], rs.Rules[0]}
	rs.Rules[0].Matchers, rs.Rules[0].GroupBy = []string{`region="us"`}, []string{"service"}
	rs.Majors = []MajorRule{rs.Majors[1], rs.Majors[0], rs.Majors[2]}
	rs.Majors[0].Hold, rs.Majors[1].Any.Hosts, rs.Majors[1].Window = 30*time.Second, 2, 3*time.Minute
	return rs
}

// fewerRules lack a rule and a major rule, and remember shorter.
func fewerRules() RuleSet {
	rs := otherRules()
	rs.Rules, rs.Majors = rs.Rules[:3], rs.Majors[:2]
	rs.Majors[1].Cooldown = time.Minute
	rs.Rules[0].Reopen, rs.Rules[0].Quiet = new(time.Minute), new(30*time.Second)
	return rs
}

// anyEvent draws one event of few alerts, so that they meet.
func anyEvent(t *rapid.T, at time.Time) tocsin.Event {
	n := rapid.IntRange(0, 11).Draw(t, "alert")
	services := []string{"db1", "db2", "web", "mail", ""}
	e := tocsin.Event{Source: "prom", Key: fmt.Sprint(n), Status: tocsin.Firing, Summary: fmt.Sprintf("alert %d", n)}
	e.Fingerprint = tocsin.FingerprintOf(e.Source, e.Key)
	e.Severity = tocsin.Severity(rapid.SampledFrom([]int{1, 1, 2, 3, 3, 4, 0}).Draw(t, "severity"))
	switch rapid.IntRange(0, 9).Draw(t, "status") {
	case 0, 1, 2:
		e.Status = tocsin.Resolved
	case 3:
		e.Status = tocsin.Acknowledged
	}
	ls := map[string]string{"region": []string{"eu", "us"}[n%2], "service": services[n%5], "host": fmt.Sprintf("h%d", n%4)}
	switch rapid.IntRange(0, 12).Draw(t, "labels") {
	case 0:
		ls["host"] = "h9"
	case 1:
		ls["service"] = "db2"
	case 2:
		delete(ls, "region")
	}
	e.Labels = tocsin.NewLabels(ls)
	switch rapid.IntRange(0, 5).Draw(t, "times") {
	case 0:
		e.EndsAt = at.Add(time.Duration(rapid.IntRange(-30, 240).Draw(t, "ends")) * time.Second)
	case 1:
		e.StartsAt = at.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "starts")) * time.Second)
	}
	return e
}

func anyGap(t *rapid.T) time.Duration {
	return time.Duration(rapid.SampledFrom([]int{0, 0, 1, 5, 20, 60, 119, 120, 200, 600, 2000}).Draw(t, "gap")) * time.Second
}

// anyCommand draws a command that may be right or wrong, at or after the newest record.
func (w *world) anyCommand(t *rapid.T, at time.Time, told bool) {
	if len(w.rows.majors) > 0 && rapid.Bool().Draw(t, "major") {
		kinds := []string{tocsin.DoConfirm, tocsin.DoReject, tocsin.DoExpire, tocsin.DoLooking, tocsin.DoPassOn, tocsin.DoResolveMajor}
		_ = w.command(at, rapid.SampledFrom(kinds).Draw(t, "do"), "one", 0, rapid.SampledFrom(sorted(w.rows.majors)).Draw(t, "id"), told)
		return
	}
	if len(w.rows.incidents) > 0 {
		kinds := []string{tocsin.DoAck, tocsin.DoTake, tocsin.DoUnack, tocsin.DoResolve, tocsin.DoResolve, tocsin.DoReopen, tocsin.DoEscalate, tocsin.DoNote}
		_ = w.command(at, rapid.SampledFrom(kinds).Draw(t, "do"), "two", rapid.SampledFrom(sorted(w.rows.incidents)).Draw(t, "id"), 0, told)
	}
}

// anyDays plays days drawn by t in w; told says whether the domain learns of a command at once.
func (w *world) anyDays(t *rapid.T, told func() bool, rules ...*Rules) {
	at := start
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		at = at.Add(anyGap(t))
		switch n := rapid.IntRange(0, 19).Draw(t, "step"); {
		case n < 5:
			w.anyCommand(t, at, told())
		case n == 5:
			w.flush()
		case n == 6 && len(rules) > 0:
			w.take(Record{At: at, Rules: rapid.SampledFrom(rules).Draw(t, "rules")})
		default:
			r := Record{At: at}
			for range rapid.IntRange(0, 4).Draw(t, "events") {
				r.Events = append(r.Events, anyEvent(t, at))
			}
			w.take(r)
		}
	}
}

func compiled(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, rs RuleSet,
) *Rules {
	t.Helper()
	r, err := rs.Compile()
	if err != nil {
		t.Fatalf("rules: %v", err)
	}
	return r
}

// Rolled back at each record, recounted, restored after each commit, and replayed at the end: see world.
func TestWhateverHappensStateIsWhatRowsAndJournalSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, manyRules())
		w.check = true
		w.anyDays(t, func() bool { return true })
		w.tick()
		w.same("live and replayed", dump(w.d, false), dump(w.replay(), false))
	})
}

func TestCommandsAbsorbedLateComeToTheSameAsInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, manyRules())
		w.anyDays(t, func() bool { return rapid.Bool().Draw(t, "told") })
		w.tick()
		w.same("live and replayed", dump(w.d, false), dump(w.replay(), false))
	})
}

func TestAChangeOfRulesIsUndoneAndRestoredToo(t *testing.T) {
	a, b, fewer := compiled(t, manyRules()), compiled(t, otherRules()), compiled(t, fewerRules())
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, manyRules())
		w.check = true
		rules := []*Rules{a, b, b}
		if rapid.Bool().Draw(t, "fewer") {
			rules = []*Rules{fewer}
		}
		w.anyDays(t, func() bool { return true }, rules...)
		w.tick()
		w.same("live and replayed", dump(w.d, false), dump(w.replay(), false))
	})
}

func anyRecords(t *rapid.T) []Record {
	var rs []Record
	at := start
	for n := range rapid.IntRange(1, 20).Draw(t, "records") {
		at = at.Add(anyGap(t))
		r := Record{Offset: int64(n + 1), At: at}
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			r.Events = append(r.Events, anyEvent(t, at))
		}
		rs = append(rs, r)
	}
	return rs
}

// fold applies rs and commits where cut says so; back says where a batch is rolled back once before.
func fold(t failer, rules *Rules, rs []Record, cut, back func(n int) bool) (*Domain, []Effect) {
	t.Helper()
	d := NewDomain(0, 1)
	Apply(d, Record{At: start, Rules: rules})
	d.Commit()
	var effects []Effect
	from, kept := 0, 0
	for n, r := range rs {
		effects = append(effects, Apply(d, r)...)
		if !cut(n) {
			continue
		}
		if back(n) {
			d.Rollback()
			effects = effects[:kept]
			for _, r := range rs[from : n+1] {
				effects = append(effects, Apply(d, r)...)
			}
		}
		d.Commit()
		from, kept = n+1, len(effects)
	}
	d.Commit()
	return d, effects
}

func always(int) bool { return true }
func never(int) bool  { return false }

func TestABatchRolledBackLeavesNothing(t *testing.T) {
	rules, other := compiled(t, manyRules()), compiled(t, otherRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		n := rapid.IntRange(0, len(rs)).Draw(t, "committed")
		d, _ := fold(t, rules, rs[:n], always, never)
		before := dump(d, true)
		for _, r := range rs[n:] {
			if rapid.IntRange(0, 9).Draw(t, "rules") == 0 {
				r.Rules = other
			}
			Apply(d, r)
			if d.sealed == nil && rapid.Bool().Draw(t, "seal") {
				d.Seal()
			}
		}
		d.Rollback()
		(&world{t: t}).same("before and rolled back", before, dump(d, true))
		consistent(t, d)
	})
}

func TestItMakesNoDifferenceHowRecordsAreCutIntoBatches(t *testing.T) {
	rules := compiled(t, manyRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		one, told1 := fold(t, rules, rs, always, never)
		some, told2 := fold(t, rules, rs,
			func(int) bool { return rapid.Bool().Draw(t, "cut") },
			func(int) bool { return rapid.Bool().Draw(t, "back") })
		(&world{t: t}).same("one by one and in batches", dump(one, false), dump(some, false))
		(&world{t: t}).sameEffects(told1, told2)
	})
}

// A worker applies a batch on top of one that is being committed. Whether that one is committed in the end, or both are undone and
// applied anew, all comes to the same: the state, what is told, and the rows.
func TestWhatIsAppliedOnTopOfABatchUnderWayComesToTheSame(t *testing.T) {
	rules, other := compiled(t, manyRules()), compiled(t, otherRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		for n := range rs {
			if rapid.IntRange(0, 19).Draw(t, "rules") == 0 {
				rs[n].Rules = other
			}
		}
		one, told1 := fold(t, rules, rs, always, never)
		w := &world{t: t, d: NewDomain(0, 1), rows: newRows()}
		w.take(Record{At: start, Rules: rules})
		w.effects = nil
		w.ahead(rs, func(what string) bool { return rapid.Bool().Draw(t, what) })
		w.same("one by one and ahead", dump(one, false), dump(w.d, false))
		w.sameEffects(told1, w.effects)
		w.journal = append(w.journal, rs...)
		w.flush()
		w.same("live and restored", dump(w.d, false), dump(w.restore(), false))
		w.consistent()
	})
}

// ahead applies rs as a worker does that has one batch under way while it applies the next. choose is asked where a batch ends, and
// whether the one under way is refused.
func (w *world) ahead(rs []Record, choose func(what string) bool) {
	type written struct {
		Writes
		offset  int64
		rules   *Rules
		records int // that it and those before it are made of
		told    int
	}
	var under *written // sealed, not yet committed
	from, told := 0, 0 // of what is not final
	put := func(b *written) {
		w.rows.put(w.t, b.Writes, b.offset, b.rules)
		from, told = b.records, b.told
	}
	batch := func(n int) *written { return &written{w.d.Writes(), w.d.offset, w.d.rules, n, len(w.effects)} }
	for n, r := range rs {
		w.effects = append(w.effects, Apply(w.d, r)...)
		switch {
		case !choose("cut"):
			continue
		case under != nil && choose("refused"):
			w.d.Rollback()
			w.effects = w.effects[:told]
			for _, r := range rs[from : n+1] {
				w.effects = append(w.effects, Apply(w.d, r)...)
			}
			put(batch(n + 1))
			w.d.Commit()
			under = nil
			continue
		}
		next := batch(n + 1)
		if under != nil {
			put(under)
			w.d.CommitSealed()
		}
		under = next
		w.d.Seal()
	}
	if under != nil {
		put(under)
	}
	put(batch(len(rs)))
	w.d.Commit()
}

func TestAReplayComesToTheSame(t *testing.T) {
	rules := compiled(t, manyRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		one, told1 := fold(t, rules, rs, always, never)
		two, told2 := fold(t, rules, rs, always, never)
		(&world{t: t}).same("twice", dump(one, true), dump(two, true))
		(&world{t: t}).sameEffects(told1, told2)
	})
}

func TestItMakesNoDifferenceHowOftenTheClockTicks(t *testing.T) {
	rules := compiled(t, manyRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		few, told1 := fold(t, rules, rs, always, never)
		d := NewDomain(0, 1)
		Apply(d, Record{At: start, Rules: rules})
		var told2 []Effect
		for _, r := range rs {
			for due := d.NextDue(); !due.IsZero() && due.Before(r.At); due = d.NextDue() {
				told2 = append(told2, Apply(d, Record{Offset: r.Offset - 1, At: due})...)
				d.Commit()
			}
			told2 = append(told2, Apply(d, r)...)
			d.Commit()
		}
		(&world{t: t}).same("with ticks", dump(few, false), dump(d, false))
		(&world{t: t}).sameEffects(told1, told2)
	})
}

func TestAlertsSentTwiceChangeNothingButCounts(t *testing.T) {
	rules := compiled(t, manyRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		doubled := slices.Clone(rs)
		for n := range doubled {
			doubled[n].Events = nil
			for _, e := range rs[n].Events {
				doubled[n].Events = append(doubled[n].Events, e, e)
			}
		}
		one, told1 := fold(t, rules, rs, always, never)
		two, told2 := fold(t, rules, doubled, always, never)
		for _, d := range []*Domain{one, two} {
			for _, c := range d.chunks {
				for _, s := range c {
					s.count = 0
				}
			}
		}
		(&world{t: t}).same("sent once and twice", dump(one, false), dump(two, false))
		(&world{t: t}).sameEffects(told1, told2)
	})
}

func TestNothingIsKeptOfWhatIsOver(t *testing.T) {
	rules := compiled(t, manyRules())
	rapid.Check(t, func(t *rapid.T) {
		rs := anyRecords(t)
		d, _ := fold(t, rules, rs, always, func(int) bool { return rapid.Bool().Draw(t, "back") })
		at := rs[len(rs)-1].At
		var last Record
		last.At, last.Offset = at, int64(len(rs)+1)
		for n := range 12 {
			last.Events = append(last.Events, tocsin.Event{Source: "prom", Fingerprint: tocsin.FingerprintOf("prom", fmt.Sprint(n)), Status: tocsin.Resolved})
		}
		Apply(d, last)
		d.Commit()
		for _, m := range d.majors {
			if m.State == tocsin.Confirmed {
				d.Absorb(tocsin.Change{Kind: tocsin.DoResolveMajor, At: at, Actor: "one", Major: m.ID})
			}
		}
		d.Commit()
		Apply(d, Record{At: at.Add(2 * time.Hour), Offset: int64(len(rs) + 2)})
		d.Commit()
		d.FlushTouches()
		left := []int{
			len(d.series), len(d.incidents), len(d.groups), len(d.waiting), len(d.majors), len(d.scopes), len(d.chunks), len(d.ends.slots),
			len(d.looks.slots), len(d.syms.ids) - 1, len(d.log), len(d.touched), d.firing, d.open, d.early,
		}
		if slices.Max(left) > 0 {
			t.Fatalf("left over: %v\n%s", left, dump(d, true))
		}
	})
}
