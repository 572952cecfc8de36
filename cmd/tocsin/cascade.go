package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tocsin/internal/client"
)

// A blow is one alert of a cascade, and when it begins.
type blow struct {
	After time.Duration // from the beginning of the storm
	Alert client.AlertmanagerAlert
}

// A cascadePlan says how bad it gets.
type cascadePlan struct {
	Region   string
	Hosts    int
	Services int
	Seed     uint64
	Over     time.Duration // by then the last alert has begun
}

// shop is the imagined product: each service with those it cannot do without, which stand before it.
var shop = []struct {
	name  string
	needs []string
}{
	{"db-main", nil},
	{"payments", []string{"db-main"}},
	{"checkout", []string{"payments", "db-main"}},
	{"shop", []string{"checkout"}},
	{"reports", []string{"db-main"}},
	{"search", []string{"db-main"}},
	{"inventory", []string{"db-main"}},
	{"shipping", []string{"inventory"}},
	{"accounts", []string{"db-main"}},
	{"recommendations", []string{"search", "accounts"}},
	{"mailer", []string{"accounts"}},
	{"gateway", []string{"shop", "accounts"}},
}

// service returns the name of service i and what it needs; past those with a name they all need the first one.
func service(i int) (name string, needs []string) {
	if i < len(shop) {
		return shop[i].name, shop[i].needs
	}
	return fmt.Sprintf("service-%d", i+1), []string{shop[0].name}
}

// cascade plans the loss of a region: rack by rack its hosts go, then the services that lived on them fail, then those that
// need these. The same plan and seed give the same alerts at the same times, in order.
func cascade(p cascadePlan) []blow {
	rng := rand.New(rand.NewPCG(p.Seed, uint64(p.Hosts)<<32|uint64(p.Services)))
	c := &cascading{cascadePlan: p, rng: rng, fails: map[string]time.Duration{}}
	c.loseHosts()
	for i := range p.Services {
		c.failService(i)
	}
	slices.SortStableFunc(c.blows, func(a, b blow) int { return cmp.Compare(a.After, b.After) })
	c.stretch()
	return c.blows
}

// stretch moves the alerts apart, so that the last one begins when the time is over.
func (c *cascading) stretch() {
	last := c.blows[len(c.blows)-1].After
	for i := range c.blows {
		share := 1.0
		if last > 0 {
			share = float64(c.blows[i].After) / float64(last)
		}
		c.blows[i].After = min(c.Over, c.part(share)).Truncate(time.Millisecond)
	}
}

type cascading struct {
	cascadePlan
	rng   *rand.Rand
	blows []blow
	lost  [][]time.Duration        // by service: when its hosts went
	fails map[string]time.Duration // when a service began to fail
}

const rack = 8 // hosts that go almost together

// loseHosts takes down the hosts in the first 60 % of the time; half of them are missed by a scrape before they are called down.
func (c *cascading) loseHosts() {
	c.lost = make([][]time.Duration, c.Services)
	racks := (c.Hosts + rack - 1) / rack
	for n, h := range c.rng.Perm(c.Hosts) {
		s := h % c.Services
		name, _ := service(s)
		host := fmt.Sprintf("%s-%d.%s.example.org", name, h/c.Services+1, c.Region)
		at := c.part(0.55*float64(n/rack)/float64(racks)) + c.within(0, 0.05)
		c.lost[s] = append(c.lost[s], at)
		labels := map[string]string{
			"host": host, "instance": host + ":9100", "job": "node", "service": name, "rack": fmt.Sprintf("%s-%c", c.Region, 'a'+rune(n/rack%26)),
		}
		if c.rng.IntN(2) == 0 {
			c.blow(max(0, at-c.within(0.005, 0.02)), "TargetMissing", "warning", labels, host+" was not there for the last scrape")
		}
		c.blow(at, "HostDown", "critical", labels, host+" is down: no answer for 30s")
	}
}

// failService begins once half of a service's hosts are gone, or what it needs has failed, whichever is first.
func (c *cascading) failService(i int) {
	name, needs := service(i)
	slices.Sort(c.lost[i])
	at, cause := c.Over, ""
	if n := len(c.lost[i]); n > 0 {
		at = c.lost[i][n/2] + c.within(0.02, 0.08)
	}
	for _, need := range needs {
		began, failed := c.fails[need]
		if later := began + c.within(0.03, 0.1); failed && later < at {
			at, cause = later, need
		}
	}
	at = min(at, c.Over)
	c.fails[name] = at
	labels := map[string]string{"service": name, "job": name}
	percent := 5 + c.rng.IntN(60)
	summary := fmt.Sprintf("%s: %d%% of requests fail", name, percent)
	if cause != "" {
		summary += " since " + cause + " does"
	}
	c.blow(at, "HighErrorRate", "error", labels, summary)
	c.blow(min(c.Over, at+c.within(0.01, 0.06)), "HighLatency", "warning", labels, fmt.Sprintf("%s: p99 is %d.%ds", name, 2+c.rng.IntN(8), c.rng.IntN(10)))
	if name == shop[0].name {
		lag := 60 + c.rng.IntN(300)
		c.blow(min(c.Over, at+c.within(0.01, 0.03)), "ReplicationLag", "critical", labels, fmt.Sprintf("%s: replication lag %ds", name, lag))
	}
}

func (c *cascading) blow(at time.Duration, alertname, severity string, about map[string]string, summary string) {
	labels := map[string]string{"alertname": alertname, "severity": severity, "region": c.Region}
	for name, value := range about {
		labels[name] = value
	}
	c.blows = append(c.blows, blow{at, client.AlertmanagerAlert{Labels: labels, Annotations: map[string]string{"summary": summary}}})
}

// part returns a share of the whole time.
func (c *cascading) part(share float64) time.Duration {
	return time.Duration(share * float64(c.Over))
}

// within returns a chance time between two shares of the whole.
func (c *cascading) within(from, to float64) time.Duration {
	return c.part(from + (to-from)*c.rng.Float64())
}
