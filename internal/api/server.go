package api

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin"
	"tocsin/ingest"
	"tocsin/internal/store"
)

// A Token is one token of the configuration's access section: how scripts are known. Roles are those of tocsin.Person.
type Token struct {
	Name string
	Role string
	Hash ingest.Token
}

// A Page is one page of the console. Its pattern is the standard mux's, such as "GET /i/{id}" or "GET /static/".
type Page struct {
	Pattern string
	Handler http.Handler
	Public  bool // anybody may see it; else a person who is not logged in is sent to /login
}

// LoginData is what the page at /login shows. The form posts to /login: with the field link where Link says one, else with
// the field token, which the person types; next goes along as it is.
type LoginData struct {
	Link   string // of a one-time link: the page shows only a button
	Next   string // where to go afterwards: a path of ours, or ""
	Failed string // why the last try was refused, for the person; "" where there was none
}

// Readiness says how the parts are, each by one word: "ok", or what it does instead, such as "loading".
type Readiness struct {
	Doors     string `json:"doors"`     // "ok": alerts are accepted and durable
	Correlate string `json:"correlate"` // "loading" while the state is read at start
	Paging    string `json:"paging"`
}

// Live knows what repeats of alerts said since the store was told of it last, which is some seconds ago.
type Live interface {
	// Touched calls seen for those of ids of which it knows more: with the place in ids, and when the alert was last seen and ends
	// by itself (zero: never).
	Touched(ids []int64, seen func(place int, lastAt, endsAt time.Time))
}

// Options are what a Server is made of. DB, Desk, Receiver and Sources are needed; the zero value of the others works.
// What a reload of the configuration may change is asked for at each request, by a function.
type Options struct {
	DB       store.DB
	Desk     Desk
	Receiver *ingest.Receiver // behind the doors
	Sources  *ingest.Sources  // whose tokens may read, too

	Tokens    func() []Token
	PublicURL func() string                // how people and providers reach us
	Callbacks func() map[string]any        // by the provider's name; each is a Twilio or a SendGrid
	Receivers func() []string              // names of the escalations, the default first: Alertmanager's receivers
	Receiving func(tocsin.Incident) string // the escalation that an incident is paged by; nil means its own word
	Live      Live
	Ready     func() Readiness
	Reload    func() error // reads the configuration again; the old one stays on an error
	Operator  Operator     // nil: nodes and dead letters are not there

	Console   []Page
	LoginPage func(w http.ResponseWriter, data LoginData) // draws the page; status and headers are written by the server before

	Registry *prometheus.Registry // what /metrics shows, and where the server's own go; nil means one of its own
	Version  string               // of tocsin
	Now      func() time.Time     // nil means time.Now
	Log      *slog.Logger         // nil means discard
}

// A Server answers everything that comes by HTTP.
type Server struct {
	Options
	handler http.Handler
	hub     *hub
	reads   chan struct{} // a slot for each look at the store that may be under way
	calls   chan struct{} // a slot for each callback of a provider that may be under way
	lists   chan struct{} // a slot for each listing for Alertmanager's clients that may be under way
	began   time.Time
	tries   *tries
	meters
}

const (
	maxReads = 3  // the store has more connections that read: what pages people never waits for who only looks
	maxCalls = 16 // callbacks under way at once
)

// New returns a server of what o says. It listens nowhere: see NewHTTPServer.
func New(o Options) (*Server, error) {
	if o.DB == nil || o.Desk == nil || o.Receiver == nil || o.Sources == nil {
		return nil, errors.New("api: a server needs a store, a desk, a receiver and its sources")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Registry = cmp.Or(o.Registry, prometheus.NewRegistry())
	o.Version = cmp.Or(o.Version, "dev")
	o.defaults()
	s := &Server{
		Options: o, reads: make(chan struct{}, maxReads), calls: make(chan struct{}, maxCalls), lists: make(chan struct{}, maxListings), began: o.Now(),
		hub: newHub(o.DB), tries: newTries(o.Now),
	}
	err := s.register(o.Registry)
	if err != nil {
		return nil, err
	}
	s.handler, err = s.build(s.routes())
	return s, err
}

func (o *Options) defaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tokens == nil {
		o.Tokens = func() []Token { return nil }
	}
	if o.PublicURL == nil {
		o.PublicURL = func() string { return "" }
	}
	if o.Callbacks == nil {
		o.Callbacks = func() map[string]any { return nil }
	}
	if o.Receivers == nil {
		o.Receivers = func() []string { return nil }
	}
	if o.Receiving == nil {
		o.Receiving = func(i tocsin.Incident) string { return i.Escalation }
	}
	if o.Ready == nil {
		o.Ready = func() Readiness { return Readiness{Doors: "ok", Correlate: "ok", Paging: "ok"} }
	}
	if o.LoginPage == nil {
		o.LoginPage = plainLogin
	}
}

// Handler answers all routes.
func (s *Server) Handler() http.Handler { return s.handler }

// EndStreams ends the live feeds, now and for good: they would keep a server from stopping.
func (s *Server) EndStreams() { s.hub.close() }
