package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"tocsin"
	"tocsin/ingest/alertmanager"
	"tocsin/ingest/pagerduty"
	"tocsin/ingest/webhook"
)

// A rule says who may use a route. The zero value is no rule: a route that has none is not served.
type rule int

const (
	public    rule = iota + 1 // anybody
	sender                    // the handler asks for the sender's own credential or signature
	source                    // a source of kind alertmanager that may read, or a reader
	reader                    // people and robots who may see everything
	responder                 // ... who may act on incidents
	manager                   // ... who may decide about majors
	admin                     // ... who may run the installation
	guest                     // anybody, by a page that may change something: other sites must not post to it
)

// A route is one row of the table: a pattern of the standard mux, who may, and what answers.
type route struct {
	pattern string
	who     rule
	handle  http.Handler
	page    bool // for people: who is not logged in is sent to /login
}

// routes is every route there is.
func (s *Server) routes() []route {
	door := s.Receiver.Handler
	table := []route{
		// Doors
		{"POST /api/v2/alerts", sender, door(alertmanager.Door(alertmanager.Options{})), false},
		{"POST /v2/enqueue", sender, door(pagerduty.Door()), false},
		{"POST /v2/change/enqueue", sender, door(pagerduty.ChangeDoor()), false},
		{"POST /in/{source}", sender, door(webhook.Door()), false},

		// Alertmanager's API
		{"GET /api/v2/alerts", source, s.do(s.amAlerts), false},
		{"GET /api/v2/alerts/groups", source, s.do(s.amGroups), false},
		{"GET /api/v2/status", source, s.do(s.amStatus), false},
		{"GET /api/v2/receivers", source, s.do(s.amReceivers), false},
		{"GET /api/v2/silences", source, s.do(s.amSilences), false},
		{"POST /api/v1/alerts", public, s.do(s.amGone), false},
		{"GET /-/healthy", public, s.do(s.healthy), false},
		{"GET /-/ready", public, s.do(s.ready), false},
		{"POST /-/reload", admin, s.do(s.reload), false},

		// Providers' callbacks
		{"POST /twilio/{provider}/sms", sender, s.do(s.twilioSMS), false},
		{"POST /twilio/{provider}/voice", sender, s.do(s.twilioVoice), false},
		{"POST /twilio/{provider}/status", sender, s.do(s.twilioStatus), false},
		{"POST /sendgrid/{provider}/events", sender, s.do(s.sendgridEvents), false},

		// Our own API
		{"GET /api/v1/incidents", reader, s.do(s.incidents), false},
		{"GET /api/v1/incidents/{id}", reader, s.do(s.incident), false},
		{"GET /api/v1/majors", reader, s.do(s.majors), false},
		{"GET /api/v1/majors/{id}", reader, s.do(s.major), false},
		{"GET /api/v1/alerts", reader, s.do(s.alerts), false},
		{"GET /api/v1/pages", reader, s.do(s.pages), false},
		{"GET /api/v1/oncall", reader, s.do(s.oncall), false},
		{"GET /api/v1/schedules/{name}", reader, s.do(s.schedule), false},
		{"GET /api/v1/events", reader, s.do(s.events), false},
		{"GET /api/v1/openapi.yaml", public, s.do(s.openAPI), false},

		// Operations
		{"GET /api/v1/nodes", reader, s.operated(s.nodes), false},
		{"GET /api/v1/dead-letters", admin, s.operated(s.deadLetters), false},
		{"GET /api/v1/dead-letters/{partition}/{offset}", admin, s.operated(s.deadLetter), false},
		{"POST /api/v1/dead-letters/{partition}/{offset}/redrive", admin, s.operated(s.redrive), false},
		{"POST /api/v1/dead-letters/{partition}/{offset}/drop", admin, s.operated(s.dropLetter), false},
		{"GET /healthz", public, s.do(s.healthz), false},
		{"GET /readyz", public, s.do(s.readyz), false},
		{"GET /metrics", public, s.metrics(), false},

		// Login
		{"GET /login", public, s.do(s.showLogin), true},
		{"POST /login", guest, s.do(s.login), true},
		{"POST /logout", guest, s.do(s.logout), true},
	}
	for _, c := range incidentCommands {
		table = append(table, route{"POST /api/v1/incidents/{id}/" + c.word, c.who, s.do(s.commandIncident(c.do)), false})
	}
	for _, c := range majorCommands {
		table = append(table, route{"POST /api/v1/majors/{id}/" + c.word, c.who, s.do(s.commandMajor(c.do)), false})
	}
	for _, p := range s.Console {
		table = append(table, route{p.Pattern, p.who(), p.Handler, true})
	}
	return table
}

// A command is what people may do to an incident or a major: its word in addresses, and in the history.
type command struct {
	word string
	do   string
	who  rule
}

var incidentCommands = []command{
	{"ack", tocsin.DoAck, responder},
	{"take", tocsin.DoTake, responder},
	{"unack", tocsin.DoUnack, responder},
	{"resolve", tocsin.DoResolve, responder},
	{"reopen", tocsin.DoReopen, responder},
	{"escalate", tocsin.DoEscalate, responder},
	{"note", tocsin.DoNote, responder},
}

var majorCommands = []command{
	{"confirm", tocsin.DoConfirm, manager},
	{"reject", tocsin.DoReject, manager},
	{"looking", tocsin.DoLooking, responder},
	{"lead", tocsin.DoLead, responder},
	{"escalate", tocsin.DoPassOn, responder},
	{"resolve", tocsin.DoResolveMajor, manager},
	{"note", tocsin.DoNote, responder},
}

// who returns the rule of a page: what changes something is for those who may act.
func (p Page) who() rule {
	method, _, _ := strings.Cut(p.Pattern, " ")
	switch {
	case p.Public:
		return guest
	case method == http.MethodGet:
		return reader
	}
	return responder
}

// May reports whether a role is enough to act on incidents, and to decide about majors: what a page shows buttons by.
func May(role string) (act, decide bool) { return responder.allows(role), manager.allows(role) }

// allows reports whether people and robots of that role may use routes of rule r.
func (r rule) allows(role string) bool {
	switch r {
	case public, guest:
		return true
	case source, reader:
		return slices.Contains([]string{"responder", "manager", "comms", "owner", "analyst", "auditor", "admin"}, role)
	case responder:
		return slices.Contains([]string{"responder", "manager", "owner", "admin"}, role)
	case manager:
		return slices.Contains([]string{"manager", "admin"}, role)
	case admin:
		return role == "admin"
	}
	return false
}

// build makes a handler of the table. A route without a rule, or two routes that are in each other's way, are an error.
func (s *Server) build(table []route) (_ http.Handler, err error) {
	mux := http.NewServeMux()
	defer func() {
		if said := recover(); said != nil { // the mux's word for a bad pattern
			err = fmt.Errorf("api: %v", said)
		}
	}()
	for _, t := range table {
		if t.who < public || t.who > guest {
			return nil, fmt.Errorf("api: route %s has no rule that says who may", t.pattern)
		}
		if t.handle == nil {
			return nil, fmt.Errorf("api: route %s has nothing that answers", t.pattern)
		}
		mux.Handle(t.pattern, s.guard(t))
	}
	return s.orProblem(mux), nil
}

// orProblem answers what no route matches as everything else is: by problem+json.
func (s *Server) orProblem(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := &verdict{header: http.Header{}}
		h.ServeHTTP(said, r)
		switch said.status {
		case http.StatusMethodNotAllowed:
			w.Header().Set("Allow", said.header.Get("Allow"))
			refuse(said.status, r.Method+" is not for this address: "+said.header.Get("Allow")).write(w)
		case http.StatusNotFound:
			refuse(said.status, "there is nothing at this address").write(w)
		default: // a redirect to the address's clean form
			h.ServeHTTP(w, r)
		}
	})
}

// A verdict keeps what the mux would answer.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
