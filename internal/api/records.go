package api

import (
	"encoding/json"
	"strings"
	"time"

	"tocsin"
)

// A stamp is a time as answers have it: RFC 3339, or null where there is none.
type stamp time.Time

// MarshalJSON writes it.
func (s stamp) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.UTC().MarshalJSON()
}

// orNull is a text as answers have it: null where there is none.
type orNull string

// MarshalJSON writes it.
func (s orNull) MarshalJSON() ([]byte, error) {
	if s == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(s))
}

// idOf returns the id of n, by one of the root package's functions; nothing where n is 0.
func idOf(id func(int64) string, n int64) orNull {
	if n == 0 {
		return ""
	}
	return orNull(id(n))
}

// some returns list, empty where it is nil: lists are never null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// each returns what f makes of every one of list.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

// An incidentRecord is an incident as answers have it.
type incidentRecord struct {
	ID         string               `json:"id"`
	Number     int64                `json:"number"`
	Title      string               `json:"title"`
	State      tocsin.IncidentState `json:"state"`
	Priority   int                  `json:"priority"`
	Severity   tocsin.Severity      `json:"severity"`
	Urgency    tocsin.Urgency       `json:"urgency"`
	Rule       string               `json:"rule"`
	Key        string               `json:"key"`
	Service    string               `json:"service"`
	Labels     tocsin.Labels        `json:"labels"`
	OpenedAt   stamp                `json:"opened_at"`
	AckedAt    stamp                `json:"acked_at"`
	AckedBy    orNull               `json:"acked_by"`
	ResolvedAt stamp                `json:"resolved_at"`
	ResolvedBy orNull               `json:"resolved_by"`
	Alerts     any                  `json:"alerts"` // how many ever joined; in the answer about one incident: the alerts themselves
	AlertCount int                  `json:"alert_count"`
	OpenAlerts int                  `json:"open_alerts"`
	Reopened   int                  `json:"reopened"`
	Code       int                  `json:"code,omitempty"` // what people answer with
	Major      orNull               `json:"major"`
	Escalation orNull               `json:"escalation"`
}

// IncidentRecord returns what becomes the JSON of an incident in lists of the API, and in the feed for other programs.
func IncidentRecord(i tocsin.Incident) any { return incidentRecordOf(i) }

// MajorRecord returns what becomes the JSON of a major there.
func MajorRecord(m tocsin.Major) any { return majorRecordOf(m) }

func incidentRecordOf(i tocsin.Incident) incidentRecord {
	return incidentRecord{
		ID: tocsin.IncidentID(i.ID), Number: i.ID, Title: i.Title, State: i.State, Priority: i.Priority, Severity: i.Severity, Urgency: i.Urgency,
		Rule: i.Rule, Key: i.Key, Service: i.Service, Labels: i.Labels, OpenedAt: stamp(i.OpenedAt), AckedAt: stamp(i.AckedAt), AckedBy: orNull(i.AckedBy),
		ResolvedAt: stamp(i.ResolvedAt), ResolvedBy: orNull(i.ResolvedBy), Alerts: i.Alerts, AlertCount: i.Alerts, OpenAlerts: i.Open,
		Reopened: i.Reopened, Code: i.Code, Major: idOf(tocsin.MajorID, i.Major), Escalation: orNull(i.Escalation),
	}
}

// A majorRecord is a major as answers have it.
type majorRecord struct {
	ID          string            `json:"id"`
	Number      int64             `json:"number"`
	Title       string            `json:"title"`
	State       tocsin.MajorState `json:"state"`
	Phase       orNull            `json:"phase"`
	Priority    int               `json:"priority"`
	Rule        string            `json:"rule"`
	Scope       tocsin.Labels     `json:"scope"`
	Measures    tocsin.Measures   `json:"measures"`
	Peak        tocsin.Measures   `json:"peak"`
	Limits      tocsin.Measures   `json:"limits"`
	Incidents   []string          `json:"incidents"`
	Code        int               `json:"code,omitempty"`
	ProposedAt  stamp             `json:"proposed_at"`
	DecideBy    stamp             `json:"decide_by"` // of a candidate
	ConfirmedAt stamp             `json:"confirmed_at"`
	DecidedAt   stamp             `json:"decided_at"`
	DecidedBy   orNull            `json:"decided_by"`
	LedBy       orNull            `json:"led_by"`
	ResolvedAt  stamp             `json:"resolved_at"`
}

func majorRecordOf(m tocsin.Major) majorRecord {
	out := majorRecord{
		ID: tocsin.MajorID(m.ID), Number: m.ID, Title: m.Title, State: m.State, Phase: orNull(m.Phase), Priority: m.Priority, Rule: m.Rule, Scope: m.Scope,
		Measures: m.Measures, Peak: m.Peak, Limits: m.Limits, Incidents: each(m.Incidents, tocsin.IncidentID), Code: m.Code, ProposedAt: stamp(m.ProposedAt),
		DecidedAt: stamp(m.DecidedAt), DecidedBy: orNull(m.DecidedBy), LedBy: orNull(m.LedBy), ResolvedAt: stamp(m.ResolvedAt),
	}
	switch m.State {
	case tocsin.Proposed:
		out.DecideBy = stamp(m.DecideBy)
	case tocsin.Confirmed, tocsin.MajorResolved, tocsin.Demoted:
		out.ConfirmedAt = stamp(m.DecidedAt)
	}
	return out
}

// A pageRecord is a page as answers have it.
type pageRecord struct {
	ID          string           `json:"id"`
	Kind        string           `json:"kind"`
	Incident    orNull           `json:"incident"`
	Major       orNull           `json:"major"`
	Person      string           `json:"person"`
	Channel     string           `json:"channel"`
	Provider    orNull           `json:"provider"`
	State       tocsin.PageState `json:"state"`
	Attempts    int              `json:"attempts"`
	DueAt       stamp            `json:"due_at"`
	SentAt      stamp            `json:"sent_at"`
	DeliveredAt stamp            `json:"delivered_at"`
	EndedAt     stamp            `json:"ended_at"` // when it was delivered, failed, answered or cancelled
	Error       orNull           `json:"error"`
}

func pageRecordOf(p tocsin.Page) pageRecord {
	out := pageRecord{
		ID: p.ID, Kind: p.Kind, Incident: idOf(tocsin.IncidentID, p.Incident), Major: idOf(tocsin.MajorID, p.Major), Person: p.Person, Channel: p.Channel,
		Provider: orNull(p.Provider), State: p.State, Attempts: p.Attempts, DueAt: stamp(p.DueAt), SentAt: stamp(p.SentAt), EndedAt: stamp(p.EndedAt),
		Error: orNull(p.Error),
	}
	if p.State == tocsin.PageDelivered {
		out.DeliveredAt = stamp(p.EndedAt)
	}
	return out
}

// An alertRecord is an alert as answers have it.
type alertRecord struct {
	ID          string          `json:"id"`
	Fingerprint string          `json:"fingerprint"`
	Status      tocsin.Status   `json:"status"`
	Severity    tocsin.Severity `json:"severity"`
	Word        string          `json:"severity_word"` // the sender's own
	Summary     string          `json:"summary"`
	About       string          `json:"about"`
	Source      string          `json:"source"`
	URL         orNull          `json:"url"`
	Labels      tocsin.Labels   `json:"labels"`
	Annotations tocsin.Labels   `json:"annotations"`
	StartsAt    stamp           `json:"starts_at"`
	EndsAt      stamp           `json:"ends_at"`
	LastAt      stamp           `json:"last_at"`
	Count       int64           `json:"count"`
	Incident    orNull          `json:"incident"`
	Why         tocsin.Why      `json:"why"`
}

func alertRecordOf(a tocsin.Alert) alertRecord {
	return alertRecord{
		ID: tocsin.AlertID(a.ID), Fingerprint: a.Fingerprint.String(), Status: a.Status, Severity: a.Severity, Word: a.Word, Summary: a.Summary, About: a.About,
		Source: a.Source, URL: orNull(a.URL), Labels: a.Labels, Annotations: a.Annotations, StartsAt: stamp(a.StartsAt), EndsAt: stamp(a.EndsAt),
		LastAt: stamp(a.LastAt), Count: a.Count, Incident: idOf(tocsin.IncidentID, a.Incident), Why: a.Why,
	}
}

// A changeRecord is one line of the history as answers have it.
type changeRecord struct {
	Seq      int64           `json:"seq"`
	At       stamp           `json:"at"`
	Actor    string          `json:"actor"`
	Kind     string          `json:"kind"` // of a command: its word in the API
	Incident orNull          `json:"incident"`
	Major    orNull          `json:"major"`
	Data     json.RawMessage `json:"data,omitempty"`
}

func changeRecordOf(c tocsin.Change) changeRecord {
	return changeRecord{
		Seq: c.Seq, At: stamp(c.At), Actor: c.Actor, Kind: strings.TrimPrefix(c.Kind, "do-"), Incident: idOf(tocsin.IncidentID, c.Incident),
		Major: idOf(tocsin.MajorID, c.Major), Data: c.Data,
	}
}
