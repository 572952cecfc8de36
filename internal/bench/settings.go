package main

import (
	"fmt"
	"strings"
	"time"
)

// Secrets of the servers under test: they live for a minute, on loopback.
const (
	token      = "bench-secret"
	routingKey = "0123456789abcdef0123456789abcdef"
	robot      = "bench-robot-secret"
)

// common begins every configuration: both doors that are measured, and a provider. Its status callbacks would go to its own
// address; nobody makes any.
const common = `server: {listen: %[1]s, public_url: "http://%[1]s"}
storage: {%[2]s}
sources:
  prometheus: {kind: alertmanager, token: ` + token + `}
  legacy: {kind: pagerduty, keys: [{key: ` + routingKey + `}]}
notify:
  high: [{after: 0s, by: [sms]}]
  low: [{after: 0s, by: [sms]}]
providers:
  double: {kind: twilio, account_sid: AC00000000000000000000000000000000, auth_token: double-secret, from: "+15005550006", base_url: "http://%[3]s"}
channels: {sms: [double]}
enrich:
  - {matchers: ['service=~"db-.+"'], set: {kind: database}}
majors:
  - {name: wide-outage, scope: [cluster], any: {hosts: 1000000}, escalation: catch-all}
`

// gathering are settings for ingest: rules, state and a major rule are on, and nobody is paged within the hour, as with
// Alertmanager's group_wait of 1h.
func gathering(address, storage string) map[string]string {
	return map[string]string{"tocsin.yaml": fmt.Sprintf(common, address, storage, "127.0.0.1:9") + `
people:
  one: {phone: "+15005550001"}
escalations:
  catch-all: {steps: [{page: [person/one], escalate_after: 1h}]}
defaults: {escalation: catch-all}
rules:
  - {name: databases, matchers: ['kind="database"', 'severity!="info"'], group_by: [service], window: 15m}
  - {name: noise, matchers: ['severity="info"'], group_by: [source], urgency: none}
  - {name: events, matchers: ['class!=""'], group_by: [group], window: 1h, group_wait: 1h}
  - {name: everything, group_by: [namespace], window: 1h, group_wait: 1h}
`}
}

// isolated are the settings of, with each cluster a domain of its own.
func isolated(of settings) settings {
	return func(address, storage string) map[string]string {
		files := of(address, storage)
		files["tocsin.yaml"] += "isolate_by: [cluster]\n"
		return files
	}
}

// firstPhone is the number of person 0; the others follow.
const firstPhone = 15550000000

// paging are the settings of so many people without a second step.
func paging(people int, provider string) settings { return roster{people: people}.settings(provider) }

// A roster is who is paged for what: alert n of team tn opens an incident of its own, and person pn is paged at once.
type roster struct {
	people int
	second time.Duration // so long afterwards person sn is paged, unless somebody has acknowledged; 0: nobody is. Whole seconds
	rules  string        // those that go before all others, each a line
}

// phone is the number of person pn, or with second that of person sn.
func (r roster) phone(n int, second bool) int {
	if second {
		n += r.people
	}
	return firstPhone + n
}

// settings are those of a roster. A file of people holds 1,000, because one map holds at most 10,000 and one file so many words.
func (r roster) settings(provider string) settings {
	return func(address, storage string) map[string]string {
		files := map[string]string{"tocsin.yaml": `include: ["people-*.yaml"]` + "\n" + fmt.Sprintf(common, address, storage, provider) + `
access: {tokens: [{name: robot, role: responder, token: ` + robot + `}]}
people:
  one: {phone: "+15005550001"}
escalations:
  catch-all: {steps: [{page: [person/one], escalate_after: 1h}]}
defaults: {escalation: catch-all}
rules:
` + r.rules + `  - {name: databases, matchers: ['kind="database"', 'severity!="info"'], group_by: [service], window: 15m}
  - {name: everything, group_by: [pod], window: 1h}
`}
		const chunk = 1000
		for from := 0; from < r.people; from += chunk {
			files[fmt.Sprintf("people-%05d.yaml", from)] = r.some(from, min(from+chunk, r.people))
		}
		return files
	}
}

// some are the people, teams and escalations from one number to before another.
func (r roster) some(from, to int) string {
	var persons, teams, escalations strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&persons, "  p%d: {phone: \"+%d\"}\n", n, r.phone(n, false))
		fmt.Fprintf(&teams, "  t%d: {members: [p%d], escalation: e%d}\n", n, n, n)
		if r.second == 0 {
			fmt.Fprintf(&escalations, "  e%d: {steps: [{page: [person/p%d], escalate_after: 1h}]}\n", n, n)
			continue
		}
		fmt.Fprintf(&persons, "  s%d: {phone: \"+%d\"}\n", n, r.phone(n, true))
		fmt.Fprintf(&escalations, "  e%d: {steps: [{page: [person/p%d], escalate_after: %.0fs}, {page: [person/s%d], escalate_after: 1h}]}\n", n, n, r.second.Seconds(), n)
	}
	return "people:\n" + persons.String() + "teams:\n" + teams.String() + "escalations:\n" + escalations.String()
}

// peerSettings are Alertmanager's for the same: alerts gathered by label, the first notification after wait, to a webhook.
func peerSettings(label, wait, hook string) string {
	return fmt.Sprintf(`route: {receiver: hook, group_by: [%s], group_wait: %s, group_interval: 1h, repeat_interval: 4h}
receivers:
- name: hook
  webhook_configs: [{url: 'http://%s/', send_resolved: false}]
`, label, wait, hook)
}
