package app

import (
	"time"

	"tocsin"
	"tocsin/config"
	"tocsin/correlate"
)

// ruleSet is the part of the configuration that decides how alerts are related. It has no secrets: it is kept in the database.
func ruleSet(c *config.Config) correlate.RuleSet {
	rs := correlate.RuleSet{Urgency: urgencies(c.Defaults.Urgency), Services: map[string]correlate.Service{}, IsolateBy: c.IsolateBy}
	for _, e := range c.Enrich {
		rs.Enrich = append(rs.Enrich, correlate.Enrich{Matchers: e.Matchers, Set: e.Set})
	}
	for _, r := range c.Rules {
		rs.Rules = append(rs.Rules, rule(r))
	}
	for name, s := range c.Services {
		rs.Services[name] = correlate.Service{Owner: s.Owner, Users: s.Users}
	}
	for _, m := range c.Majors {
		rs.Majors = append(rs.Majors, correlate.MajorRule{
			Name: m.Name, Matchers: m.Matchers, Scope: m.Scope, Window: time.Duration(m.Window), Any: measures(m.Any), All: measures(m.All),
			Hold: time.Duration(m.Hold), Priority: m.Priority, Action: m.Action, DecideAfter: time.Duration(m.DecideWithin),
			OnTimeout: m.OnTimeout, Cooldown: time.Duration(m.Cooldown), Escalation: m.Escalation,
		})
	}
	return rs
}

// rule takes r as config resolved it: what it inherits is said again.
func rule(r config.Rule) correlate.Rule {
	length := func(d config.Duration) *time.Duration { return new(time.Duration(d)) }
	group := r.GroupBy
	if group == nil {
		group = []string{} // none is said, not left out
	}
	out := correlate.Rule{
		Name: r.Name, Matchers: r.Matchers, GroupBy: group, Window: length(r.Window), GroupWait: length(r.GroupWait), Quiet: length(r.Quiet),
		Reopen: length(r.Reopen), AutoResolve: length(r.AutoResolve), Urgency: urgencies(r.Urgency), Escalation: r.Escalation,
		OpenWhen: &correlate.OpenWhen{Alerts: r.OpenWhen.Alerts, Hosts: r.OpenWhen.Hosts, Services: r.OpenWhen.Services, Within: time.Duration(r.OpenWhen.Within)},
	}
	for _, child := range r.Rules {
		out.Rules = append(out.Rules, rule(child))
	}
	return out
}

func urgencies(u config.Urgencies) correlate.Urgencies {
	out := correlate.Urgencies{}
	for s, v := range u {
		out[s.String()] = v
	}
	return out
}

func measures(m config.Measures) tocsin.Measures {
	return tocsin.Measures{Hosts: m.Hosts, Services: m.Services, Incidents: m.Incidents, Users: m.Users}
}
