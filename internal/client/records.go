package client

import (
	"bytes"
	"encoding/json"
	"time"
)

// Words for states, severities and the like are texts here, not the server's own types: a newer server may know more of them.
// Times are UTC, zero where there is none.

// readKeeping reads b into v, which must be of a type without an UnmarshalJSON of its own, and keeps the text in raw.
func readKeeping(b []byte, v any, raw *json.RawMessage) error {
	*raw = bytes.Clone(b)
	return json.Unmarshal(b, v)
}

// An Incident is one incident as the API shows it.
type Incident struct {
	ID         string            `json:"id"`
	Number     int64             `json:"number"`
	Title      string            `json:"title"`
	State      string            `json:"state"`
	Priority   int               `json:"priority"` // 1 to 5, shown as SEV1 to SEV5
	Severity   string            `json:"severity"`
	Urgency    string            `json:"urgency"`
	Rule       string            `json:"rule"`
	Key        string            `json:"key"`
	Service    string            `json:"service"`
	Labels     map[string]string `json:"labels"`
	OpenedAt   time.Time         `json:"opened_at"`
	AckedAt    time.Time         `json:"acked_at"`
	AckedBy    string            `json:"acked_by"`
	ResolvedAt time.Time         `json:"resolved_at"`
	ResolvedBy string            `json:"resolved_by"`
	AlertCount int               `json:"alert_count"` // how many ever joined
	OpenAlerts int               `json:"open_alerts"` // how many of them fire
	Code       int               `json:"code"`        // what people answer with; 0: never paged
	Major      string            `json:"major"`       // id of the major it was joined to; "": none
	Escalation string            `json:"escalation"`

	Alerts   Alerts   `json:"alerts"` // of one incident; a list of incidents has none
	Timeline []Change `json:"timeline"`
	Pages    []Page   `json:"pages"`

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads an incident and keeps its text in Raw.
func (i *Incident) UnmarshalJSON(b []byte) error {
	type plain Incident
	return readKeeping(b, (*plain)(i), &i.Raw)
}

// Alerts are the alerts of one incident. Where an incident stands in a list, the API says only how many there are.
type Alerts []Alert

// UnmarshalJSON reads a list, or a number, of which nothing is kept: Incident.AlertCount says it too.
func (a *Alerts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '[' {
		var count int
		return json.Unmarshal(b, &count)
	}
	return json.Unmarshal(b, (*[]Alert)(a))
}

// An Alert is one alert as the API shows it.
type Alert struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Severity string            `json:"severity"`
	Summary  string            `json:"summary"`
	Source   string            `json:"source"`
	Labels   map[string]string `json:"labels"`
	StartsAt time.Time         `json:"starts_at"`
	EndsAt   time.Time         `json:"ends_at"`
	Count    int64             `json:"count"` // messages folded into it
	Why      Why               `json:"why"`
}

// Why says why an alert is where it is.
type Why struct {
	Rule   string `json:"rule"`
	Joined string `json:"joined"`
}

// A Change is one line of a history.
type Change struct {
	Seq   int64           `json:"seq"`
	At    time.Time       `json:"at"`
	Actor string          `json:"actor"`
	Kind  string          `json:"kind"`
	Data  json.RawMessage `json:"data"`
}

// A Major is one major, or a candidate, as the API shows it.
type Major struct {
	ID          string            `json:"id"`
	Number      int64             `json:"number"`
	Title       string            `json:"title"`
	State       string            `json:"state"`
	Phase       string            `json:"phase"`
	Priority    int               `json:"priority"`
	Rule        string            `json:"rule"`
	Scope       map[string]string `json:"scope"`
	Measures    Measures          `json:"measures"` // at the proposal
	Peak        Measures          `json:"peak"`     // the largest since
	Limits      Measures          `json:"limits"`   // what the rule asked for; 0: not asked
	Incidents   []string          `json:"incidents"`
	Code        int               `json:"code"`
	ProposedAt  time.Time         `json:"proposed_at"`
	DecideBy    time.Time         `json:"decide_by"`
	ConfirmedAt time.Time         `json:"confirmed_at"`
	DecidedAt   time.Time         `json:"decided_at"`
	DecidedBy   string            `json:"decided_by"`
	LedBy       string            `json:"led_by"`
	ResolvedAt  time.Time         `json:"resolved_at"`

	Timeline []Change `json:"timeline"` // of one major; a list of majors has none
	Pages    []Page   `json:"pages"`

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads a major and keeps its text in Raw.
func (m *Major) UnmarshalJSON(b []byte) error {
	type plain Major
	return readKeeping(b, (*plain)(m), &m.Raw)
}

// Measures are counted over the open incidents of one scope.
type Measures struct {
	Hosts     int       `json:"hosts"`
	Services  int       `json:"services"`
	Incidents int       `json:"incidents"`
	Users     int       `json:"users"`
	Since     time.Time `json:"since"` // when the oldest of the incidents opened
}

// A Page is one page as the API shows it.
type Page struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Incident    string    `json:"incident"` // "" where it is about a major
	Major       string    `json:"major"`    // "" where it is about an incident
	Person      string    `json:"person"`
	Channel     string    `json:"channel"`
	Provider    string    `json:"provider"`
	State       string    `json:"state"`
	Attempts    int       `json:"attempts"`
	DueAt       time.Time `json:"due_at"`
	SentAt      time.Time `json:"sent_at"`
	DeliveredAt time.Time `json:"delivered_at"`
	Error       string    `json:"error"`

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads a page and keeps its text in Raw.
func (p *Page) UnmarshalJSON(b []byte) error {
	type plain Page
	return readKeeping(b, (*plain)(p), &p.Raw)
}

// OnCall is who is on call at one instant.
type OnCall struct {
	At     time.Time `json:"at"`
	Duties []Duty    `json:"oncall"`

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads the answer and keeps its text in Raw.
func (o *OnCall) UnmarshalJSON(b []byte) error {
	type plain OnCall
	return readKeeping(b, (*plain)(o), &o.Raw)
}

// A Duty is who carries the pager of one schedule.
type Duty struct {
	Schedule string    `json:"schedule"`
	Team     string    `json:"team"` // that pages it; "" where none does
	People   []string  `json:"people"`
	Why      string    `json:"why"` // the layer, or that it is the fallback
	Until    time.Time `json:"until"`
}

// A Schedule is who has a schedule's pager from one time to another.
type Schedule struct {
	Name   string    `json:"schedule"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Shifts []Shift   `json:"shifts"`

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads the answer and keeps its text in Raw.
func (s *Schedule) UnmarshalJSON(b []byte) error {
	type plain Schedule
	return readKeeping(b, (*plain)(s), &s.Raw)
}

// A Shift is one stretch of a schedule; nobody in it is a gap.
type Shift struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	People []string  `json:"people"`
	Layer  string    `json:"layer"`
}
