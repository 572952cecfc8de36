package correlate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"

	"tocsin"
)

// A RuleSet is everything that decides how alerts are related. It is kept in the database by its hash; the journal says
// from which record on it is in force.
type RuleSet struct {
	Enrich   []Enrich           `json:"enrich,omitempty"`
	Rules    []Rule             `json:"rules,omitempty"`
	Majors   []MajorRule        `json:"majors,omitempty"`
	Services map[string]Service `json:"services,omitempty"`
	Urgency  Urgencies          `json:"urgency"` // where a rule says nothing
	// IsolateBy are labels whose different values never relate: every rule groups by them, before its own group_by.
	IsolateBy []string `json:"isolate_by,omitempty"`
}

// Enrich sets labels on alerts that match, before rules see them.
type Enrich struct {
	Matchers []string          `json:"matchers,omitempty"`
	Set      map[string]string `json:"set"`
}

// Urgencies say how people are paged for an alert of each severity; a severity that is not named is not paged.
type Urgencies map[string]tocsin.Urgency

// A Rule claims the alerts that match it and says how they are grouped. A child inherits what it leaves out (nil).
type Rule struct {
	Name        string         `json:"name"`
	Matchers    []string       `json:"matchers,omitempty"`
	GroupBy     []string       `json:"group_by"`
	Window      *time.Duration `json:"window,omitempty"`       // an incident takes new alerts while its newest is younger; default 10m
	GroupWait   *time.Duration `json:"group_wait,omitempty"`   // gather this long before anyone is paged; default 0
	Quiet       *time.Duration `json:"quiet,omitempty"`        // a recovery shorter than this never happened; default 2m
	Reopen      *time.Duration `json:"reopen,omitempty"`       // a recovered incident is re-opened, not a new one opened; default 15m
	AutoResolve *time.Duration `json:"auto_resolve,omitempty"` // an alert not repeated for this long has ended; default never
	OpenWhen    *OpenWhen      `json:"open_when,omitempty"`
	Urgency     Urgencies      `json:"urgency,omitempty"`
	Escalation  string         `json:"escalation,omitempty"`
	Rules       []Rule         `json:"rules,omitempty"`
}

// OpenWhen holds an incident back until its group has so many; zero is not asked.
type OpenWhen struct {
	Alerts   int           `json:"alerts,omitempty"`
	Hosts    int           `json:"hosts,omitempty"`
	Services int           `json:"services,omitempty"`
	Within   time.Duration `json:"within,omitempty"` // count only alerts that began so recently; 0: all that fire
}

// A MajorRule promotes the incidents of one scope when they are too many.
type MajorRule struct {
	Name        string          `json:"name"`
	Matchers    []string        `json:"matchers,omitempty"`
	Scope       []string        `json:"scope"` // label names; an alert that lacks one has no scope here
	Window      time.Duration   `json:"window"`
	Any         tocsin.Measures `json:"any,omitzero"`
	All         tocsin.Measures `json:"all,omitzero"`
	Hold        time.Duration   `json:"hold,omitempty"` // the limit must be held so long
	Priority    int             `json:"priority"`
	Action      string          `json:"action"` // propose or promote
	DecideAfter time.Duration   `json:"decide_within"`
	OnTimeout   string          `json:"on_timeout"` // escalate, confirm or expire
	Cooldown    time.Duration   `json:"cooldown"`   // after a rejection; a measure grown by half ends it early
	Escalation  string          `json:"escalation,omitempty"`
}

// A Service is a line of the catalogue, as far as it decides anything here.
type Service struct {
	Owner string `json:"owner,omitempty"`
	Users int    `json:"users,omitempty"`
}

// Defaults of what a rule leaves out.
const (
	DefaultWindow   = 10 * time.Minute
	DefaultQuiet    = 2 * time.Minute
	DefaultReopen   = 15 * time.Minute
	HandReopen      = 30 * time.Minute // an incident resolved by hand whose alerts still fire comes back after this
	CodeRest        = 7 * 24 * time.Hour
	escalatedAtMost = 2
)

// ruleUnmatched claims what no rule claims: each alert is an incident of its own.
const ruleUnmatched = "unmatched"

// Rules is a compiled RuleSet.
type Rules struct {
	hash   string
	set    RuleSet
	enrich []enrich
	top    []*rule
	byPath map[string]*rule
	rest   *rule
	majors []*majorRule
}

type enrich struct {
	matchers labels.Matchers
	set      []tocsin.Label
}

type rule struct {
	path        string
	matchers    labels.Matchers
	said        []string // matchers as written, inherited ones first
	groupBy     []string
	isolateBy   []string // of the whole set
	window      time.Duration
	groupWait   time.Duration
	quiet       time.Duration
	reopen      time.Duration
	autoResolve time.Duration
	openWhen    OpenWhen
	urgency     [5]tocsin.Urgency // by severity
	escalation  string
	children    []*rule
}

type majorRule struct {
	MajorRule
	matchers labels.Matchers
}

// Hash names the rule set by its content: the first 16 bytes of the SHA-256 of its JSON, in hex.
func (rs RuleSet) Hash() (hash string, body []byte, err error) {
	body, err = json.Marshal(rs)
	if err != nil {
		return "", nil, fmt.Errorf("rule set: %w", err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16]), body, nil
}

// Compile makes rs ready to use; the error names every mistake.
func (rs RuleSet) Compile() (*Rules, error) {
	hash, _, err := rs.Hash()
	if err != nil {
		return nil, err
	}
	r := &Rules{hash: hash, set: rs, byPath: map[string]*rule{}}
	var errs []error
	for i, e := range rs.Enrich {
		ms, err := matchersOf(e.Matchers)
		if err != nil {
			errs = append(errs, fmt.Errorf("enrich[%d]: %w", i, err))
		}
		set := tocsin.Labels{}
		for n, v := range e.Set {
			set = append(set, tocsin.Label{Name: n, Value: v})
		}
		slices.SortFunc(set, func(a, b tocsin.Label) int { return cmp.Compare(a.Name, b.Name) })
		r.enrich = append(r.enrich, enrich{ms, set})
	}
	base := &rule{isolateBy: rs.IsolateBy, window: DefaultWindow, quiet: DefaultQuiet, reopen: DefaultReopen, openWhen: OpenWhen{Alerts: 1}, urgency: rs.Urgency.table()}
	for _, x := range rs.Rules {
		c, err := r.compile(base, x)
		errs = append(errs, err)
		r.top = append(r.top, c)
	}
	rest := *base
	rest.path = ruleUnmatched
	r.rest = &rest
	if _, taken := r.byPath[ruleUnmatched]; taken {
		errs = append(errs, fmt.Errorf("rule %s: the name is taken by what no rule claims", ruleUnmatched))
	}
	r.byPath[ruleUnmatched] = r.rest
	if len(rs.Majors) > maxMajorRules {
		errs = append(errs, fmt.Errorf("majors: %d rules, at most %d are taken", len(rs.Majors), maxMajorRules))
	}
	for i, m := range rs.Majors {
		ms, err := matchersOf(m.Matchers)
		if err != nil {
			errs = append(errs, fmt.Errorf("majors[%d] %s: %w", i, m.Name, err))
		}
		if len(m.Scope) == 0 {
			errs = append(errs, fmt.Errorf("majors[%d] %s: scope: needs a label", i, m.Name))
		}
		if m.Hold < 0 || m.Window < 0 || m.Cooldown < 0 {
			errs = append(errs, fmt.Errorf("majors[%d] %s: a length of time is negative", i, m.Name))
		}
		if slices.ContainsFunc(rs.Majors[:i], func(o MajorRule) bool { return o.Name == m.Name }) {
			errs = append(errs, fmt.Errorf("majors[%d] %s stands twice", i, m.Name))
		}
		r.majors = append(r.majors, &majorRule{m, ms})
	}
	err = errors.Join(errs...)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ParseRules compiles a rule set from the JSON that Hash gave.
func ParseRules(body []byte) (*Rules, error) {
	var rs RuleSet
	err := json.Unmarshal(body, &rs)
	if err != nil {
		return nil, fmt.Errorf("rule set: %w", err)
	}
	return rs.Compile()
}

// Hash names the rule set.
func (r *Rules) Hash() string { return r.hash }

func (r *Rules) compile(parent *rule, x Rule) (*rule, error) {
	ms, err := matchersOf(x.Matchers)
	if err != nil {
		err = fmt.Errorf("rule %s: %w", x.Name, err)
	}
	c := *parent
	c.children = nil
	c.path = x.Name
	if parent.path != "" {
		c.path = parent.path + "/" + x.Name
	}
	c.matchers = ms
	c.said = append(slices.Clone(parent.said), x.Matchers...)
	if x.GroupBy != nil {
		c.groupBy = x.GroupBy
	}
	take := func(to *time.Duration, from *time.Duration) {
		if from != nil {
			*to = *from
		}
	}
	take(&c.window, x.Window)
	take(&c.groupWait, x.GroupWait)
	take(&c.quiet, x.Quiet)
	take(&c.reopen, x.Reopen)
	take(&c.autoResolve, x.AutoResolve)
	if x.OpenWhen != nil {
		c.openWhen = *x.OpenWhen
	}
	for _, l := range []time.Duration{c.window, c.groupWait, c.quiet, c.reopen, c.autoResolve, c.openWhen.Within} {
		if l < 0 {
			err = errors.Join(err, fmt.Errorf("rule %s: a length of time is negative", c.path))
		}
	}
	for sev, u := range x.Urgency.each() {
		c.urgency[sev] = u
	}
	c.escalation = cmp.Or(x.Escalation, c.escalation)
	if _, twice := r.byPath[c.path]; twice {
		err = errors.Join(err, fmt.Errorf("rule %s stands twice", c.path))
	}
	r.byPath[c.path] = &c
	for _, y := range x.Rules {
		child, e := r.compile(&c, y)
		err = errors.Join(err, e)
		c.children = append(c.children, child)
	}
	return &c, err
}

func (u Urgencies) each() map[tocsin.Severity]tocsin.Urgency {
	m := map[tocsin.Severity]tocsin.Urgency{}
	for word, v := range u {
		if s, ok := tocsin.ParseSeverity(word); ok {
			m[s] = v
		}
	}
	return m
}

func (u Urgencies) table() (t [5]tocsin.Urgency) {
	for s, v := range u.each() {
		t[s] = v
	}
	return t
}

func matchersOf(said []string) (labels.Matchers, error) {
	var ms labels.Matchers
	for _, s := range said {
		m, err := parse.Matcher(s)
		if err != nil {
			return nil, fmt.Errorf("matcher %q: %w", s, err)
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// matches reports whether every matcher holds; a label that is missing equals "".
func matches(ms labels.Matchers, ls tocsin.Labels) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// claim returns the first rule that matches ls, the deepest child that does.
func (r *Rules) claim(ls tocsin.Labels) *rule {
	level, best := r.top, r.rest
	for {
		i := slices.IndexFunc(level, func(c *rule) bool { return matches(c.matchers, ls) })
		if i < 0 {
			return best
		}
		best, level = level[i], level[i].children
	}
}

// at returns the rule at path, or the one that claims what nobody claims where it is gone.
func (r *Rules) at(path string) *rule {
	if c := r.byPath[path]; c != nil {
		return c
	}
	return r.rest
}

// enriched returns ls with what enrichment sets, and what that was.
func (r *Rules) enriched(ls tocsin.Labels) (tocsin.Labels, map[string]string) {
	var said map[string]string
	for _, e := range r.enrich {
		if !matches(e.matchers, ls) {
			continue
		}
		for _, l := range e.set {
			ls = ls.With(l.Name, l.Value)
			if said == nil {
				said = map[string]string{}
			}
			said[l.Name] = l.Value
		}
	}
	return ls, said
}

// group returns the values of c's group_by in ls: as compared, and as said. Without any of them the alert stands alone.
func (c *rule) group(ls tocsin.Labels, fp tocsin.Fingerprint) (key string, said map[string]string) {
	var b []byte
	by := func(n string) bool {
		v := ls.Get(n)
		if v == "" || said[n] != "" {
			return v != ""
		}
		if said == nil {
			said = map[string]string{}
		}
		said[n] = v
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(append(b, n...), '=')
		b = strconv.AppendQuote(b, v)
		return true
	}
	for _, n := range c.isolateBy {
		by(n)
	}
	some := false
	for _, n := range c.groupBy {
		some = by(n) || some
	}
	if !some {
		return alone + fp.String(), nil
	}
	return string(b), said
}

// alone begins the group key of an alert that has none of its rule's labels.
const alone = "alone:"

// groupSaid reads the values back from a group key.
func groupSaid(key string) map[string]string {
	var said map[string]string
	for key != "" && !strings.HasPrefix(key, alone) {
		name, rest, _ := strings.Cut(key, "=")
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return said
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return said
		}
		if said == nil {
			said = map[string]string{}
		}
		said[name] = value
		key = strings.TrimPrefix(rest[len(quoted):], ",")
	}
	return said
}
