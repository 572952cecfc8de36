package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tocsin"
)

// sameValues compares all that a Config says, but not where it says it.
var sameValues = cmp.Options{
	cmpopts.IgnoreTypes(Place{}),
	cmpopts.EquateEmpty(),
}

func TestTheContractsFileMeansWhatItsCommentsSay(t *testing.T) {
	got, ps := Load("testdata/contract.yaml")
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	if diff := cmp.Diff(contractConfig(), got, sameValues); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// contractConfig is testdata/contract.yaml by hand. It is long because the whole file is compared.
func contractConfig() *Config {
	weekdays := [7]bool{1: true, 2: true, 3: true, 4: true, 5: true}
	person := func(name, full, phone, zone, role string, skills ...string) Person {
		return Person{Person: tocsin.Person{Name: name, Full: full, Email: name + "@example.org", Phone: phone, TimeZone: zone, Role: role, Skills: skills}}
	}
	page := func(kind, name string, after Duration) Step {
		return Step{Page: []Target{{Kind: kind, Name: name}}, EscalateAfter: after}
	}
	urgency := func(critical, err, warning, info tocsin.Urgency) Urgencies {
		return Urgencies{tocsin.Critical: critical, tocsin.Error: err, tocsin.Warning: warning, tocsin.Info: info}
	}
	const none, low, high = tocsin.UrgencyNone, tocsin.UrgencyLow, tocsin.UrgencyHigh
	usual := urgency(high, high, low, none)
	rule := func(r Rule) Rule {
		r.Path = r.Name
		r.Quiet, r.Reopen, r.OpenWhen = 2*Minute, 15*Minute, OpenWhen{Alerts: 1}
		return r
	}
	databases := rule(Rule{Name: "databases", Matchers: []string{`kind="database"`, `severity!="info"`}, GroupBy: []string{"service"}, Window: 15 * Minute, Escalation: "platform", Urgency: usual})
	replicas := databases
	replicas.Name, replicas.Path, replicas.Matchers, replicas.Urgency = "replicas", "databases/replicas", []string{`role="replica"`}, urgency(low, low, low, low)
	databases.Rules = []Rule{replicas}
	return &Config{
		Server:  Server{Listen: "127.0.0.1:8080", PublicURL: "http://127.0.0.1:8080"},
		Storage: Storage{Dir: "./data"},
		Access:  Access{Tokens: []Token{{Name: "robot", Role: "admin", Token: "robot-secret"}}},
		Sources: map[string]Source{
			"prometheus": {Name: "prometheus", Kind: KindAlertmanager, Token: "prom-secret", Grants: []string{GrantSend, GrantRead, GrantSilence}},
			"legacy":     {Name: "legacy", Kind: KindPagerDuty, Keys: []Key{{Key: "0123456789abcdef0123456789abcdef", Labels: map[string]string{"service": "checkout"}}}},
			"moved": {
				Name: "moved", Kind: KindOpsgenie, Keys: []Key{{Key: "11111111-2222-3333-4444-555555555555"}},
				Severity: map[string]tocsin.Severity{"P1": tocsin.Critical, "P2": tocsin.Error, "P3": tocsin.Warning, "P4": tocsin.Info, "P5": tocsin.Info},
			},
			"grafana": {Name: "grafana", Kind: KindGrafana, Token: "grafana-secret"},
			"scripts": {Name: "scripts", Kind: KindJSON, Token: "scripts-secret", Map: &Mapping{
				Key: `body.check + "/" + body.host`, Status: `body.state == "ok" ? "resolved" : "firing"`, Severity: "body.level", Summary: "body.message",
				Labels: map[string]string{"host": "body.host", "service": "body.app"},
			}},
			"nightly-backup": {Name: "nightly-backup", Kind: KindHeartbeat, Every: Day, Grace: Hour, Token: "beat-secret", Labels: map[string]string{"service": "backup", "severity": "error"}},
			"watchdog":       {Name: "watchdog", Kind: KindHeartbeat, Every: 5 * Minute, Grace: Minute, Matchers: []string{`alertname="Watchdog"`}},
		},
		People: map[string]Person{
			"one":   person("one", "Person One", "+15005550001", "Europe/Berlin", "responder"),
			"two":   person("two", "Person Two", "+15005550002", "Europe/Berlin", "responder"),
			"three": person("three", "Person Three", "+15005550003", "America/New_York", "manager", "database"),
		},
		Notify: Notify{
			High: []NotifyStep{{After: 0, By: []string{SMS, Email}}, {After: 2 * Minute, By: []string{Voice}}},
			Low:  []NotifyStep{{After: 0, By: []string{Email}}},
		},
		Calendars: map[string]Calendar{"office": {Name: "office", TimeZone: "Europe/Berlin", Hours: []Span{{Said: "mon-fri 09:00-17:00", Days: weekdays, From: 540, To: 1020}}}},
		Schedules: map[string]Schedule{"platform": {Name: "platform", TimeZone: "Europe/Berlin", Fallback: Target{Kind: "person", Name: "three"}, Layers: []Layer{
			{Name: "weekly", Rotation: []string{"one", "two"}, Shift: Week, Start: "2026-01-05 09:00", TimeZone: "Europe/Berlin"},
			{Name: "new-york-hours", Rotation: []string{"three"}, TimeZone: "America/New_York", Only: []Span{{Said: "mon-fri 14:00-17:00", Days: weekdays, From: 840, To: 1020}}},
		}}},
		Teams: map[string]Team{"platform": {Name: "platform", Members: []string{"one", "two", "three"}, Escalation: "platform"}},
		Escalations: map[string]Escalation{
			"platform":  {Name: "platform", Steps: []Step{page("schedule", "platform", 5*Minute), page("person", "three", 10*Minute)}, Repeat: 2, Then: "catch-all"},
			"managers":  {Name: "managers", Steps: []Step{page("person", "three", 5*Minute)}},
			"catch-all": {Name: "catch-all", Steps: []Step{page("person", "three", 15*Minute)}},
		},
		Defaults: Defaults{Escalation: "catch-all", Urgency: usual},
		Services: map[string]Service{
			"checkout": {Name: "checkout", Owner: "platform", Tier: 1, DependsOn: []string{"payments", "db-main"}, Users: 12000},
			"payments": {Name: "payments", Owner: "platform", Tier: 1, DependsOn: []string{"db-main"}},
			"db-main":  {Name: "db-main", Owner: "platform", Tier: 1},
		},
		Enrich: []Enrich{{Matchers: []string{`service=~"db-.+"`}, Set: map[string]string{"kind": "database"}}},
		Rules: []Rule{
			databases,
			rule(Rule{Name: "noise", Matchers: []string{`severity="info"`}, GroupBy: []string{"source"}, Window: 10 * Minute, Urgency: urgency(none, none, none, none)}),
			rule(Rule{Name: "everything", GroupBy: []string{"service", "alertname"}, Window: 10 * Minute, Urgency: usual}),
		},
		Inhibit: []Inhibit{{Source: []string{`alertname="HostDown"`}, Target: []string{`severity=~"warning|error"`}, Equal: []string{"host"}}},
		Majors: []Major{{
			Name: "wide-outage", Scope: []string{"region"}, Window: 15 * Minute, Any: Measures{Hosts: 20, Services: 5, Users: 10000}, Priority: 2,
			Action: ActionPropose, DecideWithin: 10 * Minute, OnTimeout: TimeoutEscalate, Cooldown: Hour, Escalation: "managers",
		}},
		Channels: map[string][]string{SMS: {"twilio"}, Voice: {"twilio"}, Email: {"sendgrid", "relay"}},
		Providers: map[string]Provider{
			"twilio":   {Name: "twilio", Kind: KindTwilio, AccountSID: "AC00000000000000000000000000000000", AuthToken: "twilio-secret", From: "+15005550006", BaseURL: "http://127.0.0.1:9400"},
			"sendgrid": {Name: "sendgrid", Kind: KindSendGrid, APIKey: "SG.secret", From: "tocsin@example.org", BaseURL: "http://127.0.0.1:9401"},
			"relay":    {Name: "relay", Kind: KindSMTP, Address: "127.0.0.1:2525", From: "tocsin@example.org", TLS: TLSNone},
		},
	}
}

func TestThirtyMistakesAreToldAtOnce(t *testing.T) {
	c, ps := Load("testdata/thirty.yaml")
	if c != nil {
		t.Error("a configuration with mistakes came back")
	}
	got := strings.Join(lines(ps), "\n") + "\n"
	if *update {
		rewrite(t, "testdata/thirty.golden", got)
	}
	if diff := cmp.Diff(contents(t, "testdata/thirty.golden"), got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if len(ps) < 30 {
		t.Errorf("%d problems, want at least 30", len(ps))
	}
}

func TestNothingThatIsNotInForceIsPassedOverInSilence(t *testing.T) {
	data := strings.NewReplacer(
		"isolate_by: []", "isolate_by: [customer]",
		"scope: [region]", "scope: [region, customer]",
		"  # journal: {", "  journal: {",
		"  # state: {postgres: {dsn_file: /run/secrets/dsn}}", "  state: {postgres: {dsn: secret}}",
	).Replace(contents(t, "testdata/contract.yaml"))
	c, ps := Parse("tocsin.yaml", []byte(data), World{})
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	want := []string{
		"sources.grafana (tocsin.yaml:24) is not in force yet: what a source of kind grafana sends is refused",
		"sources.moved (tocsin.yaml:23) is not in force yet: what a source of kind opsgenie sends is refused",
		"sources.nightly-backup (tocsin.yaml:34) is not in force yet: nobody is told when this heartbeat stays away",
		"sources.watchdog (tocsin.yaml:35) is not in force yet: nobody is told when this heartbeat stays away",
		"calendars.office (tocsin.yaml:47) is not in force yet: calendars decide nothing",
		"services.checkout.depends_on and 1 more (tocsin.yaml:75) is not in force yet: alerts are not related by what depends on what",
		"inhibit_rules[0] (tocsin.yaml:104) is not in force yet: no alert mutes another",
	}
	if diff := cmp.Diff(want, c.NotInForce()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestTheStarterLoadsWithoutAProblem(t *testing.T) {
	text := Starter("127.0.0.1:8080", "http://127.0.0.1:8080", StarterSecrets{Robot: "r@prometheus", Prometheus: `p"\`, PagerDuty: "0123456789abcdef0123456789abcdef", Scripts: "s"})
	c, ps := Parse("starter.yaml", text, World{})
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	if got := c.NotInForce(); got != nil {
		t.Errorf("not in force: %q", got)
	}
	secrets := []string{c.Access.Tokens[0].Token, c.Sources["prometheus"].Token, c.Sources["pagerduty"].Keys[0].Key, c.Sources["scripts"].Token}
	if want := []string{"r@prometheus", `p"\`, "0123456789abcdef0123456789abcdef", "s"}; !slices.Equal(secrets, want) {
		t.Errorf("secrets = %q, want %q", secrets, want)
	}
	if want := map[string][]string{SMS: {"sandbox"}, Voice: {"sandbox"}, Email: {"sandbox"}}; !cmp.Equal(c.Channels, want) {
		t.Errorf("channels = %v, want %v", c.Channels, want)
	}
}

func TestSecretsAreReadWhateverElseIsWrongWithTheFile(t *testing.T) {
	const text = `
include: [more.yaml]
server: {listen: nowhere}
access: {tokens: [{name: robot, role: king, token_env: ROBOT}, {name: robot, token: second, color: red}]}
sources:
  prometheus: {kind: alertmanager, token_file: secret, grants: [fly]}
  pagerduty: {kind: pagerduty, keys: [{key: third}]}
  lost: {kind: alertmanager, token_file: nowhere}
rules: 7
`
	world := World{
		Read: func(path string) ([]byte, error) {
			switch path {
			case "more.yaml":
				return []byte("sources: {scripts: {kind: json, token: fourth}}"), nil
			case "secret":
				return []byte("first\n"), nil
			}
			return nil, errors.New("there is none")
		},
		Glob: func(p string) ([]string, error) { return []string{p}, nil },
		Env:  func(name string) (string, bool) { return "of " + name, true },
	}
	if c, _ := Parse("tocsin.yaml", []byte(text), world); c != nil {
		t.Fatal("a server would take it")
	}
	c, ps := parseDoors("tocsin.yaml", []byte(text), world)
	if c == nil {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	got := []string{
		c.Access.Tokens[0].Token, c.Access.Tokens[1].Token, c.Sources["prometheus"].Token, c.Sources["pagerduty"].Keys[0].Key,
		c.Sources["scripts"].Token, c.Sources["lost"].Token,
	}
	if want := []string{"of ROBOT", "second", "first", "third", "fourth", ""}; !slices.Equal(got, want) {
		t.Errorf("secrets = %q, want %q", got, want)
	}
	for _, bad := range []string{"", "a: [", "- 1"} {
		if c, ps := parseDoors("tocsin.yaml", []byte(bad), world); c != nil || len(ps) == 0 {
			t.Errorf("secrets of %q = %+v, %v, want a problem", bad, c, ps)
		}
	}
}

// minimal is the least that loads without a doubt.
const minimal = `
people: {one: {email: one@example.org}}
escalations: {all: {steps: [{page: [person/one]}]}}
defaults: {escalation: all}
providers: {relay: {kind: smtp, address: "127.0.0.1:25", from: tocsin@example.org}}
`

const catchAll = "rules: [{name: everything}]\n"

func TestWhatIsNotSaidHasADefault(t *testing.T) {
	c, ps := Parse("tocsin.yaml", []byte(minimal+catchAll+"majors: [{name: many, scope: [region], all: {hosts: 2}}]\nsources: {beat: {kind: heartbeat, every: 1h, token: t}}\n"), World{})
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	usual := Urgencies{tocsin.Critical: tocsin.UrgencyHigh, tocsin.Error: tocsin.UrgencyHigh, tocsin.Warning: tocsin.UrgencyLow, tocsin.Info: tocsin.UrgencyNone}
	want := &Config{
		Server:      Server{Listen: "127.0.0.1:8080", PublicURL: "http://127.0.0.1:8080"},
		Storage:     Storage{Dir: "./data"},
		Sources:     map[string]Source{"beat": {Name: "beat", Kind: KindHeartbeat, Token: "t", Every: Hour, Grace: Minute}},
		People:      map[string]Person{"one": {Person: tocsin.Person{Name: "one", Full: "one", Email: "one@example.org", TimeZone: "UTC", Role: "responder"}}},
		Notify:      Notify{High: []NotifyStep{{By: []string{Email}}}, Low: []NotifyStep{{By: []string{Email}}}},
		Escalations: map[string]Escalation{"all": {Name: "all", Steps: []Step{{Page: []Target{{Kind: "person", Name: "one"}}, EscalateAfter: 5 * Minute}}}},
		Defaults:    Defaults{Escalation: "all", Urgency: usual},
		Rules:       []Rule{{Name: "everything", Path: "everything", Window: 10 * Minute, Quiet: 2 * Minute, Reopen: 15 * Minute, OpenWhen: OpenWhen{Alerts: 1}, Urgency: usual}},
		Majors: []Major{{
			Name: "many", Scope: []string{"region"}, Window: 15 * Minute, All: Measures{Hosts: 2}, Priority: 2, Action: ActionPropose,
			DecideWithin: 10 * Minute, OnTimeout: TimeoutEscalate, Cooldown: Hour,
		}},
		Channels:  map[string][]string{Email: {"relay"}},
		Providers: map[string]Provider{"relay": {Name: "relay", Kind: KindSMTP, Address: "127.0.0.1:25", From: "tocsin@example.org", TLS: TLSStart}},
	}
	if diff := cmp.Diff(want, c, sameValues); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// folder writes files under a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, path, text)
	}
	return dir
}

func TestIncludes(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string // problems, with the folder left out
		rules []string // names, in order
	}{
		"lists append in the order of the list, the file's own come last": {
			files: map[string]string{
				"tocsin.yaml": "include: [z.yaml, 'teams/*.yaml']\n" + minimal + catchAll,
				"z.yaml":      "rules: [{name: z, matchers: ['a=\"1\"']}]\n", "teams/b.yaml": "rules: [{name: b, matchers: ['a=\"2\"']}]\n", "teams/a.yaml": "rules: [{name: a, matchers: ['a=\"3\"']}]\n",
			},
			rules: []string{"z", "a", "b", "everything"},
		},
		"maps merge, and a name twice is told in both files": {
			files: map[string]string{
				"tocsin.yaml": "include: [people.yaml]\n" + minimal + catchAll,
				"people.yaml": "people:\n  two: {email: two@example.org}\n  one: {email: three@example.org}\n",
			},
			want: []string{`tocsin.yaml:3:10: people.one: "one" is defined already, in people.yaml:3 (keep one of them, or give this one another name)`},
		},
		"a mistake in an included file is told with that file": {
			files: map[string]string{"tocsin.yaml": "include: [b.yaml]\n" + minimal + catchAll, "b.yaml": "teams:\n  t: {members: [nobody]}\n"},
			want:  []string{`b.yaml:2:17: teams.t.members[0]: no person is named "nobody" (people: one)`},
		},
		"a circle of includes is told with its way": {
			files: map[string]string{"tocsin.yaml": "include: [b.yaml]\n" + minimal + catchAll, "b.yaml": "include: [tocsin.yaml]\n"},
			want:  []string{"b.yaml:1:11: include[0]: tocsin.yaml -> b.yaml -> tocsin.yaml includes itself (remove one of these includes)"},
		},
		"a pattern that finds nothing is a doubt": {
			files: map[string]string{"tocsin.yaml": "include: ['teams/*.yaml']\n" + minimal + catchAll},
			want:  []string{`tocsin.yaml:1:11: warning: include[0]: no file matches "teams/*.yaml"`},
			rules: []string{"everything"},
		},
		"a secret is read beside the file that names it": {
			files: map[string]string{"tocsin.yaml": "include: [in/s.yaml]\n" + minimal + catchAll, "in/s.yaml": "sources: {p: {kind: grafana, token_file: p.token}}\n", "in/p.token": "hush\n"},
			rules: []string{"everything"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, tc.files)
			c, ps := Load(filepath.Join(dir, "tocsin.yaml"))
			var got []string
			for _, p := range ps {
				got = append(got, strings.ReplaceAll(p.String(), dir+string(filepath.Separator), ""))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("problems %q, want %q", got, tc.want)
			}
			var rules []string
			if c != nil {
				for _, r := range c.Rules {
					rules = append(rules, r.Name)
				}
			}
			if !slices.Equal(rules, tc.rules) {
				t.Errorf("rules %q, want %q", rules, tc.rules)
			}
		})
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	c, ps := Parse("tocsin.yaml", []byte(`
x-db: &db {kind: database, tier: gold}
x-more: &more {tier: silver, zone: a}
`+minimal+`
enrich:
  - {set: *db}
  - {set: {<<: *db, tier: lead}}
  - set:
      <<: [*db, *more]
      own: value
`+catchAll), World{})
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	want := []Enrich{
		{Set: map[string]string{"kind": "database", "tier": "gold"}},
		{Set: map[string]string{"kind": "database", "tier": "lead"}},
		{Set: map[string]string{"kind": "database", "tier": "gold", "zone": "a", "own": "value"}},
	}
	if diff := cmp.Diff(want, c.Enrich, sameValues); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestWhatCannotBeReadIsSaidOnceAndSoon(t *testing.T) {
	laughs := "x-a: &a [1,1,1,1,1,1,1,1,1]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += fmt.Sprintf("x-%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for name, tc := range map[string]struct{ data, want string }{
		"an empty file":                {"", "tocsin.yaml: the file is empty (serve without a file starts with a set-up to begin from)"},
		"a file of comments":           {"# nothing\n", "tocsin.yaml: the file is empty (serve without a file starts with a set-up to begin from)"},
		"a list":                       {"- a\n", "tocsin.yaml:1:1: the file is a list, not a map of sections (begin with a section such as server:)"},
		"a text":                       {"hello\n", "tocsin.yaml:1:1: the file is a text, not a map of sections (begin with a section such as server:)"},
		"bytes that are no text":       {"a: b\nc: \xff\n", "tocsin.yaml:2:4: the file is not UTF-8 text (save it as UTF-8)"},
		"aliases of aliases":           {laughs, "tocsin.yaml:1:9: x-f[1][0][1][2][3]: the file says more than 100000 things or nests deeper than 64 (aliases of aliases multiply; split the file by include)"},
		"more than four mebibytes":     {strings.Repeat("# x\n", 1<<20+1), "tocsin.yaml: the file is longer than 4 MiB (split it by include)"},
		"brackets without end":         {"a: " + strings.Repeat("[", 1<<20), "tocsin.yaml: line 1 nests deeper than 64 (split the file by include)"},
		"dashes without end":           {strings.Repeat("- ", 1<<20), "tocsin.yaml: line 1 nests deeper than 64 (split the file by include)"},
		"more people than anybody has": {"people:\n" + strings.Repeat("  one: {}\n", 20_000), "tocsin.yaml: the map that ends in line 10002 or after has more than 10000 entries (split the file by include)"},
		"more words than anybody has":  {"a: [" + strings.Repeat("a,", 1<<20) + "]", "tocsin.yaml: the file has more than 200000 words and signs (split the file by include)"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			c, ps := Parse("tocsin.yaml", []byte(tc.data), World{})
			if got := strings.Join(lines(ps), "\n"); c != nil || got != tc.want {
				t.Errorf("config %v, problems\n%s\nwant\n%s", c, got, tc.want)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestAFileThatIsNotThereIsSaid(t *testing.T) {
	c, ps := Load(filepath.Join("testdata", "nowhere.yaml"))
	want := []string{"nowhere.yaml: the file cannot be read: no such file or directory (name a file that exists and may be read)"}
	if got := lines(ps); c != nil || !slices.Equal(got, want) {
		t.Errorf("config %v, problems %q, want %q", c, got, want)
	}
}

func TestNoProblemTellsASecret(t *testing.T) {
	const canary = "canary-4711"
	data := strings.NewReplacer("prom-secret", canary, "grafana-secret", canary, "robot-secret", canary, "twilio-secret", canary, "key: 11111111-2222-3333-4444-555555555555", "key: "+canary).
		Replace(contents(t, "testdata/contract.yaml"))
	_, ps := Parse("tocsin.yaml", []byte(data), World{})
	if len(ps) != 3 {
		t.Errorf("%d problems, want 3 for the secrets that are the same", len(ps))
	}
	for _, p := range ps {
		if strings.Contains(p.String(), canary) {
			t.Errorf("a secret is told: %s", p)
		}
	}
}

func TestAMistakeIsNotLostAmongDoubts(t *testing.T) {
	data := minimal + "rules:\n  - {name: all}\n"
	for i := range 1500 {
		data += fmt.Sprintf("  - {name: r%d}\n", i)
	}
	data += "teams: {t: {members: [nobody]}}\n"
	c, ps := Parse("tocsin.yaml", []byte(data), World{})
	if c != nil || len(ps) != maxProblems+2 {
		t.Fatalf("config %v with %d problems, want none with %d", c != nil, len(ps), maxProblems+2)
	}
	want := `tocsin.yaml: warning: 500 more problems are not told (mend these first)`
	if got := ps[len(ps)-1].String(); got != want {
		t.Errorf("the last problem is %q, want %q", got, want)
	}
}

func TestAListInABodyIsMappedElementByElement(t *testing.T) {
	data := minimal + catchAll + "sources: {s: {kind: json, token: t, map: {each: 'body.alerts', key: 'item.id + string(index)', starts_at: 'item.at', url: 'body.url'}}}\n"
	c, ps := Parse("tocsin.yaml", []byte(data), World{})
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	want := &Mapping{Each: "body.alerts", Key: "item.id + string(index)", StartsAt: "item.at", URL: "body.url"}
	if diff := cmp.Diff(want, c.Sources["s"].Map); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
