package config

import (
	"tocsin"
)

// Kinds of sources.
const (
	KindAlertmanager = "alertmanager"
	KindPagerDuty    = "pagerduty"
	KindOpsgenie     = "opsgenie"
	KindGrafana      = "grafana"
	KindJSON         = "json"
	KindHeartbeat    = "heartbeat"
)

// What a source of kind alertmanager may do with its token.
const (
	GrantSend    = "send"
	GrantRead    = "read"
	GrantSilence = "silence"
)

// A Source is somebody who may send alerts.
type Source struct {
	Name     string
	Kind     string
	Token    string                     // a secret; "" for kinds that have keys, and for heartbeats by matchers
	Keys     []Key                      // kinds pagerduty and opsgenie
	Labels   map[string]string          // set on every alert of it; they win over the sender's
	Severity map[string]tocsin.Severity // the sender's words, beside those that everybody uses
	Grants   []string                   // kind alertmanager; default all three
	Map      *Mapping                   // kind json
	Every    Duration                   // kind heartbeat: it is late when nothing came for Every and Grace
	Grace    Duration                   // default 1m
	Matchers []string                   // kind heartbeat: the alert that must keep firing
	At       Place
}

// A Key is one of several secrets of a source, with labels of its own.
type Key struct {
	Key    string // a secret
	Labels map[string]string
	At     Place
}

// A Mapping says in expressions where in a posted body the parts of an alert are. "" is not said.
type Mapping struct {
	Each        string // a list in the body: one alert for each of its elements, item; "" the body is one alert
	Key         string // the sender's identity of the alert; must be said
	Status      string // firing or resolved; "" always firing
	Severity    string // a word
	Summary     string
	About       string
	URL         string
	StartsAt    string
	Labels      map[string]string
	Annotations map[string]string
}

func (r *reader) source(name string, s *section) Source {
	out := Source{Name: name, At: s.n.at}
	n, ok := s.get("kind")
	if !ok {
		s.missing("kind", "one of alertmanager, grafana, heartbeat, json, opsgenie, pagerduty")
		s.asked = append(s.asked, keysAt(s)...)
		return out
	}
	out.Kind, ok = r.word(n, "kind of source", KindAlertmanager, KindPagerDuty, KindOpsgenie, KindGrafana, KindJSON, KindHeartbeat)
	if !ok {
		s.asked = append(s.asked, keysAt(s)...) // which keys belong here is not known
		return out
	}
	out.Labels = s.labels("labels")
	for _, e := range s.pairs("severity") {
		if sev, ok := r.severity(e.value); ok {
			if out.Severity == nil {
				out.Severity = map[string]tocsin.Severity{}
			}
			out.Severity[e.key] = sev
		}
	}
	switch out.Kind {
	case KindAlertmanager:
		out.Token = s.senderToken()
		out.Grants = r.grants(s)
	case KindGrafana:
		out.Token = s.senderToken()
	case KindPagerDuty:
		out.Keys = r.keys(s)
	case KindOpsgenie:
		key, at := s.secret("key", true)
		r.unique(key, at, "key")
		out.Keys = []Key{{Key: key, At: at}}
	case KindJSON:
		out.Token = s.senderToken()
		out.Map = r.mapping(s)
	case KindHeartbeat:
		r.heartbeat(&out, s)
	}
	return out
}

// keysAt are the keys that stand in s.
func keysAt(s *section) []string {
	var out []string
	for _, e := range s.n.entries {
		out = append(out, e.key)
	}
	return out
}

func (s *section) senderToken() string {
	token, at := s.secret("token", true)
	s.unique(token, at, "token")
	return token
}

func (r *reader) grants(s *section) []string {
	out := []string{}
	n, ok := s.get("grants")
	if !ok {
		return []string{GrantSend, GrantRead, GrantSilence}
	}
	if n.kind == list && len(n.items) == 0 {
		r.problem(n, "a source without a grant can do nothing", "one of send, read, silence; without the key: all")
	}
	for _, item := range r.elements(n) {
		if g, ok := r.word(item, "grant", GrantSend, GrantRead, GrantSilence); ok {
			out = append(out, g)
		}
	}
	return out
}

func (r *reader) keys(s *section) []Key {
	n, ok := s.get("keys")
	if !ok {
		s.missing("keys", "such as [{key: 0123456789abcdef0123456789abcdef}]")
		return nil
	}
	var out []Key
	for _, item := range r.elements(n) {
		k := r.section(item)
		key := Key{Labels: k.labels("labels"), At: item.at}
		var at Place
		key.Key, at = k.secret("key", true)
		r.unique(key.Key, at, "key")
		k.done()
		out = append(out, key)
	}
	if n.kind == list && len(out) == 0 {
		r.problem(n, "a source without a key lets nobody send", "such as [{key: 0123456789abcdef0123456789abcdef}]")
	}
	return out
}

func (r *reader) mapping(s *section) *Mapping {
	n, ok := s.get("map")
	if !ok {
		s.missing("map", "say where key, status, severity and summary are")
		return nil
	}
	m := r.section(n)
	defer m.done()
	list, each := m.get("each")
	field := func(key string) string {
		if n, ok := m.get(key); ok {
			return r.expression(n, each)
		}
		return ""
	}
	fields := func(key string) map[string]string {
		var out map[string]string
		for _, e := range m.pairs(key) {
			if !r.labelName(e.key, e.at) {
				continue
			}
			if x := r.expression(e.value, each); x != "" {
				if out == nil {
					out = map[string]string{}
				}
				out[e.key] = x
			}
		}
		return out
	}
	out := &Mapping{
		Key: field("key"), Status: field("status"), Severity: field("severity"), Summary: field("summary"),
		About: field("about"), URL: field("url"), StartsAt: field("starts_at"), Labels: fields("labels"), Annotations: fields("annotations"),
	}
	if each {
		out.Each = r.expression(list, false) // of the whole body: there is no item yet
	}
	if _, ok := m.get("key"); !ok {
		m.missing("key", "what makes two messages one alert, such as 'body.check'")
	}
	return out
}

func (r *reader) heartbeat(out *Source, s *section) {
	out.Every = s.positive("every", Hour, "a heartbeat every 0s is always late")
	if _, ok := s.get("every"); !ok {
		s.missing("every", "how often it comes, such as 24h")
	}
	out.Grace = s.duration("grace", Minute)
	out.Matchers = s.matchers("matchers")
	_, watched := s.get("matchers")
	token, at := s.secret("token", !watched)
	out.Token = token
	r.unique(token, at, "token")
	if watched && token != "" {
		r.complain(s.place("matchers"), "token and matchers stand side by side", "a heartbeat is sent with a token, or seen in alerts by matchers")
	}
}

// severity returns which of the four severities n says.
func (r *reader) severity(n *node) (tocsin.Severity, bool) {
	word, ok := r.word(n, "severity", severities...)
	if !ok {
		return 0, false
	}
	return tocsin.ParseSeverity(word)
}

var severities = []string{"critical", "error", "warning", "info"}
