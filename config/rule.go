package config

import (
	"cmp"
	"fmt"
	"maps"

	"tocsin"
)

// Urgencies say how people are paged for an alert of each severity.
type Urgencies map[tocsin.Severity]tocsin.Urgency

// Defaults stand where rules, labels and services say nothing.
type Defaults struct {
	Escalation string    // "" where the file names none
	Urgency    Urgencies // all four; default critical and error high, warning low, info none
	At         Place
}

// A Service is a line of the catalogue.
type Service struct {
	Name      string
	Owner     string   // name of a team; "" nobody
	Tier      int      // 1 is the most important; 0: not said
	DependsOn []string // names of services; circles are allowed
	Users     int      // how many people it serves
	At        Place
	dependsAt Place
}

// Enrich sets labels on alerts that match, before rules see them; a label of that name is replaced.
type Enrich struct {
	Matchers []string
	Set      map[string]string
	At       Place
}

// A Rule makes incidents of the alerts that match it. What it leaves out it has from the rule around it, then from the
// defaults named here: all fields hold what is in force.
type Rule struct {
	Name        string
	Path        string   // names of the rules around it and its own, joined by /
	Matchers    []string // its own; those of the rules around it must hold too
	GroupBy     []string // label names; none: each alert is an incident of its own
	Window      Duration // an incident takes new alerts while its newest is younger; default 10m
	GroupWait   Duration // gathers this long before anyone is paged; default 0s
	Quiet       Duration // a recovery shorter than this never happened; default 2m
	Reopen      Duration // an alert that comes back within this re-opens its incident; default 15m
	AutoResolve Duration // an alert that is not repeated for this long has ended; 0, the default: never
	OpenWhen    OpenWhen
	Escalation  string    // "" is the alert's team label's, the service owner's, the default one
	Urgency     Urgencies // all four
	Rules       []Rule    // children: the first that matches decides
	At          Place
}

// OpenWhen holds an incident back until its group has so many; each that is not 0 must be reached.
type OpenWhen struct {
	Alerts   int      // default 1 if nothing else is said
	Hosts    int      // distinct
	Services int      // distinct
	Within   Duration // counts only alerts that began so recently; 0: all that fire
}

// Inhibit mutes alerts while another fires.
type Inhibit struct {
	Source []string // matchers of the alert that mutes
	Target []string // matchers of those that are muted
	Equal  []string // label names in which both agree
	At     Place
}

const (
	defaultWindow = 10 * Minute
	defaultQuiet  = 2 * Minute
	defaultReopen = 15 * Minute
)

func (r *reader) defaults(s *section) Defaults {
	defer s.done()
	return Defaults{
		Escalation: s.ref("escalation", "escalation"),
		Urgency: s.urgency("urgency", Urgencies{
			tocsin.Critical: tocsin.UrgencyHigh, tocsin.Error: tocsin.UrgencyHigh, tocsin.Warning: tocsin.UrgencyLow, tocsin.Info: tocsin.UrgencyNone,
		}),
		At: s.n.at,
	}
}

func (r *reader) service(name string, s *section) Service {
	return Service{
		Name: name, Owner: s.ref("owner", "team"), Tier: s.whole("tier", 0, 1, 9), DependsOn: s.refs("depends_on", "service"),
		Users: s.whole("users", 0, 0, unlimited), At: s.n.at, dependsAt: s.place("depends_on"),
	}
}

func (r *reader) enrich(items []*node, isolateBy []string) []Enrich {
	var out []Enrich
	for _, n := range items {
		s := r.section(n)
		e := Enrich{Matchers: s.matchers("matchers"), Set: s.labels("set"), At: n.at}
		if _, ok := s.get("set"); !ok {
			s.missing("set", "the labels to set, such as {kind: database}")
		}
		for _, name := range isolateBy {
			if _, is := e.Set[name]; is {
				r.complain(s.place("set"), fmt.Sprintf("%s stands in isolate_by: it is read before anything is enriched", name), "set it where the alert comes in, by the labels of its source")
			}
		}
		s.done()
		out = append(out, e)
	}
	return out
}

// outermost is what the rules that stand in no other inherit.
func (r *reader) outermost(d Defaults) Rule {
	return Rule{Window: defaultWindow, Quiet: defaultQuiet, Reopen: defaultReopen, OpenWhen: OpenWhen{Alerts: 1}, Urgency: d.Urgency}
}

func (r *reader) rules(items []*node, parent Rule, where string) []Rule {
	var out []Rule
	names := map[string]Place{}
	for _, n := range items {
		rule := r.rule(n, parent)
		if first, twice := names[rule.Name]; twice && rule.Name != "" {
			at := rule.At
			at.Path = join(at.Path, "name")
			r.complain(at, fmt.Sprintf("another of the %s is named %q, in line %d", where, rule.Name, first.Line), "give each its own name: the history says which one decided")
		} else {
			names[rule.Name] = rule.At
		}
		out = append(out, rule)
	}
	return out
}

func (r *reader) rule(n *node, parent Rule) Rule {
	s := r.section(n)
	defer s.done()
	out := parent
	out.Rules, out.At = nil, n.at
	out.Name = s.need("name", "the history says by it which rule decided")
	if at, ok := s.get("name"); ok && out.Name != "" && r.name(out.Name, true, at.at) {
		out.At.Line, out.At.Column = at.at.Line, at.at.Column
	}
	out.Path = out.Name
	if parent.Path != "" {
		out.Path = parent.Path + "/" + out.Name
	}
	out.Matchers = s.matchers("matchers")
	if by := s.labelNames("group_by"); by != nil {
		out.GroupBy = by
	}
	out.Window = s.positive("window", parent.Window, "a window of 0s lets no alert join another")
	out.GroupWait = s.duration("group_wait", parent.GroupWait)
	out.Quiet = s.duration("quiet", parent.Quiet)
	out.Reopen = s.duration("reopen", parent.Reopen)
	out.AutoResolve = s.orNever("auto_resolve", parent.AutoResolve)
	out.OpenWhen = s.openWhen(parent.OpenWhen)
	out.Escalation = cmp.Or(s.ref("escalation", "escalation"), parent.Escalation)
	out.Urgency = s.urgency("urgency", parent.Urgency)
	out.Rules = r.rules(s.list("rules"), out, "rules here")
	return out
}

// orNever is a duration, or the word never for none.
func (s *section) orNever(key string, without Duration) Duration {
	n, ok := s.get(key)
	if !ok {
		return without
	}
	if n.kind == text && n.said == "never" {
		return 0
	}
	return s.positive(key, max(without, Hour), "an alert would end at once")
}

func (s *section) openWhen(without OpenWhen) OpenWhen {
	n, ok := s.get("open_when")
	if !ok {
		return without
	}
	o := s.section(n)
	defer o.done()
	out := OpenWhen{
		Alerts: o.whole("alerts", 0, 1, unlimited), Hosts: o.whole("hosts", 0, 1, unlimited), Services: o.whole("services", 0, 1, unlimited),
		Within: o.duration("within", 0),
	}
	if out.Alerts == 0 && out.Hosts == 0 && out.Services == 0 {
		out.Alerts = 1
	}
	return out
}

// urgency reads a word for all severities, or a map of some of them.
func (s *section) urgency(key string, without Urgencies) Urgencies {
	n, ok := s.get(key)
	if !ok {
		return without
	}
	out := maps.Clone(without)
	if n.kind != table {
		if u, ok := s.urgencyWord(n); ok {
			for sev := range out {
				out[sev] = u
			}
		}
		return out
	}
	m := s.section(n)
	defer m.done()
	for _, word := range severities {
		if v, ok := m.get(word); ok {
			sev, _ := tocsin.ParseSeverity(word)
			if u, ok := s.urgencyWord(v); ok {
				out[sev] = u
			}
		}
	}
	return out
}

func (r *reader) urgencyWord(n *node) (u tocsin.Urgency, ok bool) {
	word, ok := r.word(n, "urgency", "high", "low", "none")
	if !ok {
		return 0, false
	}
	err := u.UnmarshalText([]byte(word))
	return u, err == nil
}

func (r *reader) inhibit(items []*node) []Inhibit {
	var out []Inhibit
	for _, n := range items {
		s := r.section(n)
		i := Inhibit{Source: s.matchers("source_matchers"), Target: s.matchers("target_matchers"), Equal: s.labelNames("equal"), At: n.at}
		for _, key := range []string{"source_matchers", "target_matchers"} {
			if x, ok := s.get(key); !ok {
				s.missing(key, `such as ['alertname="HostDown"']`)
			} else if x.kind == list && len(x.items) == 0 {
				r.problem(x, "without a matcher every alert is meant", `such as ['alertname="HostDown"']`)
			}
		}
		s.done()
		out = append(out, i)
	}
	return out
}
