package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"strings"

	"tocsin/internal/client"
)

// one makes the alert that flags and arguments say, as the door has it.
func (s *sending) one(args []string) (json.RawMessage, error) {
	labels, err := assignments(append(args, s.labels...), true)
	if err != nil {
		return nil, err
	}
	annotations, err := assignments(s.annotations, false)
	if err != nil {
		return nil, err
	}
	if s.severity != "" && s.door != doorJSON {
		switch s.severity {
		case "critical", "error", "warning", "info":
		default:
			return nil, wrongUse("--severity %s: one of critical, error, warning, info", s.severity)
		}
	}
	switch s.door {
	case doorPagerDuty:
		return s.pagerDutyEvent(labels, annotations)
	case doorJSON:
		return s.jsonBody(labels, annotations)
	}
	return s.alertmanagerAlert(labels, annotations)
}

// assignments reads NAME=VALUE; a word without a sign is the alert's name, where there may be one.
func assignments(args []string, named bool) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range args {
		name, value, found := strings.Cut(a, "=")
		if !found && named {
			name, value = "alertname", a
		}
		if !found && !named || name == "" || value == "" {
			return nil, wrongUse("%q: write it like host=db-1", a)
		}
		if _, twice := out[name]; twice {
			return nil, wrongUse("%s is given twice", name)
		}
		out[name] = value
	}
	return out, nil
}

func (s *sending) alertmanagerAlert(labels, annotations map[string]string) (json.RawMessage, error) {
	if s.key != "" {
		return nil, wrongUse("--key: by the Alertmanager door the labels are an alert's identity")
	}
	if len(labels) == 0 {
		return nil, wrongUse("an alert needs a name or a label, such as: tocsin send DiskFull host=db-1")
	}
	if s.severity != "" {
		labels["severity"] = s.severity
	}
	if s.summary != "" {
		annotations["summary"] = s.summary
	}
	a := client.AlertmanagerAlert{Labels: labels, Annotations: annotations}
	if s.resolve {
		a.EndsAt = s.w.now().UTC()
	}
	return json.Marshal(a)
}

func (s *sending) pagerDutyEvent(labels, annotations map[string]string) (json.RawMessage, error) {
	event := map[string]any{"event_action": "trigger"}
	if s.key != "" {
		event["dedup_key"] = s.key
	}
	if s.resolve {
		if s.key == "" {
			return nil, wrongUse("--resolve by the PagerDuty door needs --key, the key that the trigger had")
		}
		event["event_action"] = "resolve"
		return json.Marshal(event)
	}
	details := maps.Clone(annotations)
	maps.Copy(details, labels)
	payload := map[string]any{
		"summary":  cmp.Or(s.summary, labels["alertname"]),
		"source":   cmp.Or(labels["host"], labels["instance"], "tocsin send"),
		"severity": cmp.Or(s.severity, "error"), "custom_details": details,
	}
	if payload["summary"] == "" {
		return nil, wrongUse("--door pagerduty needs --summary")
	}
	if labels["service"] != "" {
		payload["component"] = labels["service"]
	}
	event["payload"] = payload
	return json.Marshal(event)
}

// jsonBody makes one flat object: what its fields mean is the source's mapping.
func (s *sending) jsonBody(labels, annotations map[string]string) (json.RawMessage, error) {
	body := maps.Clone(annotations)
	maps.Copy(body, labels)
	for name, value := range map[string]string{"summary": s.summary, "severity": s.severity, "key": s.key} {
		if value != "" {
			body[name] = value
		}
	}
	if s.resolve {
		body["status"] = "resolved"
	}
	if len(body) == 0 {
		return nil, wrongUse("nothing to send: name fields of the body, such as check=disk host=db-1")
	}
	return json.Marshal(body)
}
