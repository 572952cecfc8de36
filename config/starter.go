package config

import (
	"strconv"
	"strings"
)

// StarterSecrets are the tokens of a new installation: random, each for one sender.
type StarterSecrets struct {
	Robot      string // access.tokens: scripts that use the API
	Prometheus string // source of kind alertmanager
	PagerDuty  string // source of kind pagerduty: the integration key
	Scripts    string // source of kind json
}

// Starter returns the text of a configuration to begin with: a sandbox instead of providers, a source for each way in, three
// people, a schedule, a small catalogue. It loads without a problem if listen, publicURL and the secrets are proper.
func Starter(listen, publicURL string, s StarterSecrets) []byte {
	return []byte(strings.NewReplacer(
		"@listen", strconv.Quote(listen), "@public", strconv.Quote(publicURL), "@robot", strconv.Quote(s.Robot),
		"@prometheus", strconv.Quote(s.Prometheus), "@pagerduty", strconv.Quote(s.PagerDuty), "@scripts", strconv.Quote(s.Scripts),
	).Replace(starter))
}

const starter = `# A set-up to begin with. Change it as you like: "tocsin check" tells every mistake with its line, and a running
# server takes the new file on SIGHUP or POST /-/reload. docs/configuration.md explains every key.
server:
  listen: @listen
  public_url: @public           # how people and providers reach this server: links in messages begin with it

storage:
  dir: ./data                   # journal and database

access:
  tokens:
    - {name: robot, role: admin, token: @robot}       # for scripts that use the API

# Who may send alerts. A token tells who it is: keep it out of the repository with token_file: or token_env:.
sources:
  prometheus:                   # Prometheus: alerting, alertmanagers, with authorization: credentials
    kind: alertmanager
    token: @prometheus
  pagerduty:                    # whatever speaks PagerDuty Events v2: its routing_key
    kind: pagerduty
    keys: [{key: @pagerduty}]
  scripts:                      # any JSON: POST /in/scripts with the token as Bearer
    kind: json
    token: @scripts
    map:                        # where things stand in what is posted
      key: 'body.check + "/" + body.host'
      status: 'body.state == "ok" ? "resolved" : "firing"'
      severity: 'body.level'
      summary: 'body.message'
      labels: {host: 'body.host', service: 'body.service', alertname: 'body.check'}

# Everything that would be sent is shown in the console instead, with a box to answer from.
# For real messages put twilio, sendgrid or smtp here.
providers:
  sandbox: {kind: sandbox}      # carries sms, voice and email

people:
  one:   {name: Person One, email: one@example.org, phone: "+15005550001", time_zone: UTC}
  two:   {name: Person Two, email: two@example.org, phone: "+15005550002", time_zone: UTC}
  three: {name: Person Three, email: three@example.org, phone: "+15005550003", time_zone: UTC, role: manager}

# How a person is paged; the steps run until somebody acknowledges.
notify:
  high: [{after: 0s, by: [sms, email]}, {after: 2m, by: [voice]}]
  low:  [{after: 0s, by: [email]}]

schedules:
  primary:
    time_zone: UTC
    fallback: person/three      # when nobody is on call
    layers:
      - {name: weekly, rotation: [one, two], shift: 1w, start: "2026-01-05 09:00"}

teams:
  platform: {members: [one, two, three], escalation: platform}

# Who is paged, and who if nobody answers. Which one is taken: the rule's, else that of the alert's team label, else that
# of the service's owner, else the default.
escalations:
  platform:
    steps:
      - {page: [schedule/primary], escalate_after: 5m}
      - {page: [person/three], escalate_after: 10m}
    repeat: 2                   # three rounds in all
    then: catch-all
  managers:
    steps: [{page: [person/three], escalate_after: 5m}]
  catch-all:
    steps: [{page: [person/three], escalate_after: 15m}]

defaults:
  escalation: catch-all
  urgency: {critical: high, error: high, warning: low, info: none}

# The catalogue.
services:
  shop:     {owner: platform, tier: 1, users: 8000}
  checkout: {owner: platform, tier: 1, users: 5000}
  payments: {owner: platform, tier: 1, users: 5000}
  db-main:  {owner: platform, tier: 1}
  reports:  {owner: platform, tier: 3, users: 40}

# Labels that senders leave out.
enrich:
  - {matchers: ['service=~"shop|checkout|payments|db-main"', 'region=""'], set: {region: region-a}}
  - {matchers: ['service="reports"', 'region=""'], set: {region: region-b}}
  - {matchers: ['service=~"db-.+"'], set: {kind: database}}

# Alerts to incidents: the first rule that matches decides.
rules:
  - name: databases
    matchers: ['kind="database"', 'severity!="info"']
    group_by: [service]         # one incident a value
    window: 15m                 # ... takes new alerts while its newest is younger than this
    group_wait: 0s              # pages at once
    escalation: platform
    urgency: {critical: high, error: high, warning: low}
  - name: everything
    group_by: [service, alertname]
    window: 10m
    group_wait: 0s

# Incidents to majors: when so much is hit in one region, a manager is asked whether it is one.
majors:
  - name: wide-outage
    scope: [region]
    window: 15m
    any: {hosts: 20, services: 5}
    priority: 2
    action: propose
    decide_within: 10m
    on_timeout: escalate
    escalation: managers
`
