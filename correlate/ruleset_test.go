package correlate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
)

func labelsOf(pairs ...string) tocsin.Labels {
	m := map[string]string{}
	for n := 0; n < len(pairs); n += 2 {
		m[pairs[n]] = pairs[n+1]
	}
	return tocsin.NewLabels(m)
}

func tree() RuleSet {
	return RuleSet{
		Urgency: Urgencies{"critical": tocsin.UrgencyHigh, "warning": tocsin.UrgencyLow},
		Rules: []Rule{
			{
				Name: "databases", Matchers: []string{`kind="database"`, `severity!="info"`}, GroupBy: []string{"service"}, Window: new(15 * time.Minute), Escalation: "platform",
				Urgency: Urgencies{"error": tocsin.UrgencyHigh},
				Rules: []Rule{
					{Name: "replicas", Matchers: []string{`role="replica"`}, Urgency: Urgencies{"critical": tocsin.UrgencyLow}, Quiet: new(time.Minute)},
					{Name: "test", Matchers: []string{`env=~"test|dev"`}, GroupBy: []string{}, Escalation: "nobody", Window: new(time.Duration(0))},
				},
			},
			{Name: "empty", Matchers: []string{`service=""`}},
			{Name: "everything", GroupBy: []string{"service", "alertname"}},
		},
	}
}

func TestTheFirstRuleThatMatchesDecidesAndChildrenInherit(t *testing.T) {
	r := compiled(t, tree())
	type claimed struct {
		Path, Escalation         string
		Matchers, GroupBy        []string
		Window, Quiet            time.Duration
		Critical, Error, Warning tocsin.Urgency
	}
	dbs := []string{`kind="database"`, `severity!="info"`}
	for name, tc := range map[string]struct {
		labels tocsin.Labels
		want   claimed
	}{
		"the first that matches": {
			labelsOf("kind", "database", "service", "x"),
			claimed{"databases", "platform", dbs, []string{"service"}, 15 * time.Minute, DefaultQuiet, tocsin.UrgencyHigh, tocsin.UrgencyHigh, tocsin.UrgencyLow},
		},
		"a child comes before its parent and has what it leaves out from there": {
			labelsOf("kind", "database", "role", "replica"),
			claimed{"databases/replicas", "platform", append(dbs[:2:2], `role="replica"`), []string{"service"}, 15 * time.Minute, time.Minute, tocsin.UrgencyLow, tocsin.UrgencyHigh, tocsin.UrgencyLow},
		},
		"none and 0s are said, not left out": {
			labelsOf("kind", "database", "env", "dev"),
			claimed{"databases/test", "nobody", append(dbs[:2:2], `env=~"test|dev"`), []string{}, 0, DefaultQuiet, tocsin.UrgencyHigh, tocsin.UrgencyHigh, tocsin.UrgencyLow},
		},
		"each matcher must hold": {
			labelsOf("kind", "database", "severity", "info", "service", "x"),
			claimed{"everything", "", nil, []string{"service", "alertname"}, DefaultWindow, DefaultQuiet, tocsin.UrgencyHigh, tocsin.UrgencyNone, tocsin.UrgencyLow},
		},
		"a label that is missing equals an empty one": {
			labelsOf("a", "b"),
			claimed{"empty", "", nil, nil, DefaultWindow, DefaultQuiet, tocsin.UrgencyHigh, tocsin.UrgencyNone, tocsin.UrgencyLow},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := r.claim(tc.labels)
			if name == "a label that is missing equals an empty one" {
				tc.want.Matchers = []string{`service=""`}
			}
			got := claimed{c.path, c.escalation, c.said, c.groupBy, c.window, c.quiet, c.urgency[tocsin.Critical], c.urgency[tocsin.Error], c.urgency[tocsin.Warning]}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("claimed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnrichmentSetsLabelsInOrder(t *testing.T) {
	r := compiled(t, RuleSet{Enrich: []Enrich{
		{Matchers: []string{`service=~"db-.+"`}, Set: map[string]string{"kind": "database", "tier": "1"}},
		{Matchers: []string{`kind="database"`}, Set: map[string]string{"tier": "2", "noise": ""}},
		{Matchers: []string{`kind="web"`}, Set: map[string]string{"never": "x"}},
	}})
	sent := labelsOf("service", "db-main", "noise", "y")
	got, set := r.enriched(sent)
	if diff := cmp.Diff(labelsOf("service", "db-main", "kind", "database", "tier", "2"), got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"kind": "database", "tier": "2", "noise": ""}, set); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(labelsOf("service", "db-main", "noise", "y"), sent); diff != "" {
		t.Errorf("what was sent has changed (-want +got):\n%s", diff)
	}
}

func TestAGroupKeyIsNeverTakenForAnother(t *testing.T) {
	c := &rule{groupBy: []string{"a", "b"}}
	keys := map[string]tocsin.Labels{}
	for _, ls := range []tocsin.Labels{
		labelsOf("a", "x", "b", "y"), labelsOf("a", `x",b="y`), labelsOf("b", "y"), labelsOf("a", "x\x00\xff"), labelsOf("a", `x\x00\xff`), labelsOf("a", "é,b=\n"),
	} {
		key, said := c.group(ls, tocsin.Fingerprint{})
		if other, twice := keys[key]; twice {
			t.Errorf("%s and %s have the key %q", other, ls, key)
		}
		keys[key] = ls
		if diff := cmp.Diff(said, groupSaid(key)); diff != "" {
			t.Errorf("read back from %q (-want +got):\n%s", key, diff)
		}
	}
	alone, said := c.group(labelsOf("z", "x"), tocsin.FingerprintOf("s", "k"))
	if said != nil || groupSaid(alone) != nil {
		t.Errorf("an alert without the labels is grouped by %v", said)
	}
}

func TestCompileNamesEveryMistake(t *testing.T) {
	_, err := RuleSet{
		Enrich: []Enrich{{Matchers: []string{"{"}}},
		Rules: []Rule{
			{Name: "a", Matchers: []string{"x=~'('"}, Rules: []Rule{{Name: "b", Window: new(-time.Second)}, {Name: "b"}}},
			{Name: "a"},
			{Name: "unmatched"},
		},
		Majors: []MajorRule{{Name: "m", Hold: -1}, {Name: "m", Scope: []string{"x"}, Matchers: []string{"="}}},
	}.Compile()
	for _, want := range []string{"enrich[0]", "rule a: matcher", "rule a/b: a length", "rule a/b stands twice", "rule a stands twice", "rule unmatched", "majors[0] m: scope", "majors[0] m: a length", "majors[1] m stands twice", "majors[1] m: matcher"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestTheHashNamesTheContent(t *testing.T) {
	one, body, err := tree().Hash()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseRules(body)
	if err != nil || again.Hash() != one {
		t.Errorf("read back: %v, %v; want %s", again, err, one)
	}
	other := tree()
	other.Rules[0].Window = new(16 * time.Minute)
	if two, _, _ := other.Hash(); two == one {
		t.Error("another window has the same hash")
	}
}

func FuzzParseRules(f *testing.F) {
	for _, rs := range []RuleSet{{}, tree(), manyRules(), otherRules(), benchRules(), wide()} {
		_, body, err := rs.Hash()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"rules":[{"name":"x","matchers":["a=~\"(\""]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRules(body)
		if (r == nil) == (err == nil) {
			t.Fatalf("rules %v and error %v", r, err)
		}
		if err != nil {
			return
		}
		d := NewDomain(0, 1)
		for n := range 3 {
			e := tocsin.Event{Source: "s", Status: tocsin.Firing, Severity: tocsin.Critical, Labels: labelsOf("service", "db-1", "region", "eu", "host", string(rune('a'+n)))}
			e.Fingerprint[0] = byte(n)
			Apply(d, Record{Offset: int64(n), At: start.Add(time.Duration(n) * time.Minute), Events: []tocsin.Event{e}, Rules: r})
		}
		d.Rollback()
		consistent(t, d)
	})
}

func TestCommand(t *testing.T) {
	at := start.Add(time.Hour)
	triggered := tocsin.Incident{ID: 1, State: tocsin.Triggered, OpenedAt: start, NewestAt: start}
	acked, resolved, closed := triggered, triggered, triggered
	acked.State, acked.AckedBy, acked.AckedAt = tocsin.Acked, "one", start
	resolved.State, resolved.ResolvedBy, resolved.ResolvedAt = tocsin.Settled, "one", start
	closed.State, closed.ResolvedBy, closed.ResolvedAt = tocsin.Closed, "one", start
	states := []tocsin.Incident{triggered, acked, resolved, closed}
	const refused = "it is"
	for kind, want := range map[string][4]string{
		tocsin.DoAck:      {"acknowledged", refused, refused, refused},
		tocsin.DoTake:     {"acknowledged", "acknowledged", refused, refused},
		tocsin.DoUnack:    {refused, "triggered", refused, refused},
		tocsin.DoEscalate: {"triggered", "triggered", refused, refused},
		tocsin.DoResolve:  {"resolved", "resolved", refused, refused},
		tocsin.DoReopen:   {refused, refused, "triggered", refused},
		tocsin.DoNote:     {"triggered", "acknowledged", "resolved", "closed"},
	} {
		for n, before := range states {
			i := before
			err := Command(&i, kind, "two", at)
			_, is := errors.AsType[*StateError](err)
			switch {
			case want[n] == refused && (!is || !cmp.Equal(i, before)):
				t.Errorf("%s of one that is %s: %v, and it is %+v", kind, before.State, err, i)
			case want[n] != refused && (err != nil || i.State.String() != want[n]):
				t.Errorf("%s of one that is %s: it is %s, %v; want %s", kind, before.State, i.State, err, want[n])
			}
		}
	}
	if err := Command(&triggered, "do-dance", "two", at); err == nil {
		t.Error("an unknown command is taken")
	}
}

func TestDecide(t *testing.T) {
	at := start.Add(time.Hour)
	kinds := []string{tocsin.DoConfirm, tocsin.DoReject, tocsin.DoExpire, tocsin.DoLooking, tocsin.DoPassOn, tocsin.DoResolveMajor}
	const refused = "refused"
	for state, want := range map[tocsin.MajorState][6]string{
		tocsin.Proposed:      {"confirmed", "rejected", "expired", "proposed", "proposed", refused},
		tocsin.Confirmed:     {refused, refused, refused, refused, "confirmed", "resolved"}, // passed on: somebody else is asked to lead it
		tocsin.Rejected:      {refused, refused, refused, refused, refused, refused},
		tocsin.Expired:       {refused, refused, refused, refused, refused, refused},
		tocsin.Demoted:       {refused, refused, refused, refused, refused, refused},
		tocsin.MajorResolved: {refused, refused, refused, refused, refused, refused},
	} {
		for n, kind := range kinds {
			before := tocsin.Major{ID: 7, State: state, DecideAfter: time.Minute}
			m, open, ended, other := before, tocsin.Incident{State: tocsin.Acked}, tocsin.Incident{State: tocsin.Settled}, tocsin.Incident{State: tocsin.Triggered, Major: 3}
			err := Decide(&m, []*tocsin.Incident{&open, &ended, &other}, kind, "one", at)
			_, is := errors.AsType[*StateError](err)
			switch {
			case want[n] == refused && (!is || !cmp.Equal(m, before)):
				t.Errorf("%s of one that is %s: %v, and it is %+v", kind, state, err, m)
			case want[n] != refused && (err != nil || m.State.String() != want[n]):
				t.Errorf("%s of one that is %s: it is %s, %v; want %s", kind, state, m.State, err, want[n])
			}
			if taken := kind == tocsin.DoConfirm && want[n] != refused; taken != (open.Major == 7) || ended.Major != 0 || other.Major != 3 {
				t.Errorf("%s of one that is %s: members go to %d, %d, %d", kind, state, open.Major, ended.Major, other.Major)
			}
		}
	}
}

func TestOnTimeout(t *testing.T) {
	for name, tc := range map[string]struct {
		m    tocsin.Major
		want string
	}{
		"escalate passes it on":                        {tocsin.Major{OnTimeout: "escalate", Priority: 1}, tocsin.DoPassOn},
		"at most twice":                                {tocsin.Major{OnTimeout: "escalate", Priority: 1, Escalated: 1}, tocsin.DoPassOn},
		"then a SEV2 is confirmed":                     {tocsin.Major{OnTimeout: "escalate", Priority: 2, Escalated: 2}, tocsin.DoConfirm},
		"and a SEV3 expires":                           {tocsin.Major{OnTimeout: "escalate", Priority: 3, Escalated: 2}, tocsin.DoExpire},
		"confirm and expire are what the rule says: c": {tocsin.Major{OnTimeout: "confirm", Priority: 5}, tocsin.DoConfirm},
		"confirm and expire are what the rule says: e": {tocsin.Major{OnTimeout: "expire", Priority: 1}, tocsin.DoExpire},
	} {
		if got := OnTimeout(tc.m); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestShortCodes(t *testing.T) {
	none := func(func()) {}
	at := start.UnixMicro()
	t.Run("two digits while few are open, the smallest first", func(t *testing.T) {
		c := newCodes(0, 1)
		for want := 10; want <= 99; want++ {
			if got := c.take(at, none); got != want {
				t.Fatalf("code %d, want %d", got, want)
			}
		}
		if got := c.take(at, none); got != 100 {
			t.Errorf("the 91st is %d, want 100", got)
		}
	})
	t.Run("none is another's before it has rested for seven days", func(t *testing.T) {
		c := newCodes(0, 1)
		first := c.take(at, none)
		c.ended(first, start, none)
		if got := c.take(at+CodeRest.Microseconds()-1, none); got != first+1 {
			t.Errorf("a code is given again after less than its rest: %d", got)
		}
		if got := c.take(at+CodeRest.Microseconds(), none); got != first {
			t.Errorf("code %d, want %d again", got, first)
		}
	})
	t.Run("one that came back is in use", func(t *testing.T) {
		c := newCodes(0, 1)
		first := c.take(at, none)
		c.ended(first, start, none)
		c.again(first, none)
		if got := c.take(at+2*CodeRest.Microseconds(), none); got == first {
			t.Errorf("code %d is two incidents'", got)
		}
	})
	t.Run("partitions share none", func(t *testing.T) {
		seen := map[int]int{}
		for p := range 7 {
			c := newCodes(p, 7)
			for range 200 {
				code := c.take(at, none)
				if other, twice := seen[code]; twice {
					t.Fatalf("code %d is given by %d and %d", code, other, p)
				}
				seen[code] = p
			}
		}
	})
	t.Run("loaded, it goes on with the smallest that is free", func(t *testing.T) {
		c := newCodes(0, 1)
		c.load(map[int]time.Time{10: {}, 12: start, 15: {}, 140: {}})
		var got []int
		for range 4 {
			got = append(got, c.take(at, none))
		}
		if diff := cmp.Diff([]int{11, 13, 14, 16}, got); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
	})
}

func TestEveryEffectHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := Opened; k <= Lapsed; k++ {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("effect %d is called %q", k, k)
		}
		seen[k.String()] = true
	}
}
