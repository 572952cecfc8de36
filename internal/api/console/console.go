package console

import (
	"cmp"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"tocsin/internal/store"
)

// A Page is one row for the table of routes: a pattern of the standard mux, and what answers.
type Page struct {
	Pattern string
	Handler http.Handler
	Public  bool // anybody may see it, logged in or not
}

// Options tune a Console; the zero value is ready to use, for one who looks and may do nothing.
type Options struct {
	// Who says who is behind a request, as the configuration names them, and in which role; nil means nobody is.
	Who func(r *http.Request) (name, role string, ok bool)
	// May says whether a role may act on incidents, and decide about majors; nil means both.
	May       func(role string) (act, decide bool)
	PublicURL func() string    // how people reach us from outside; nil means unknown
	Zone      *time.Location   // for times, of those who have no zone of their own; nil means UTC
	Sandbox   func() bool      // whether there is a sandbox provider, whose outbox is shown; nil means there is none
	Now       func() time.Time // nil means time.Now
	Log       *slog.Logger     // nil means discard
}

// A Console answers the pages for people.
type Console struct {
	Options
	db     store.DB
	desk   Desk
	pages  map[string]*template.Template
	static *static
}

// New returns a console that shows what db has and lets people act through desk.
func New(db store.DB, desk Desk, o Options) (*Console, error) {
	if db == nil || desk == nil {
		return nil, errors.New("console: nothing to show without a store and a desk")
	}
	if o.Who == nil {
		o.Who = func(*http.Request) (string, string, bool) { return "", "", false }
	}
	if o.May == nil {
		o.May = func(string) (bool, bool) { return true, true }
	}
	if o.PublicURL == nil {
		o.PublicURL = func() string { return "" }
	}
	if o.Sandbox == nil {
		o.Sandbox = func() bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Zone = cmp.Or(o.Zone, time.UTC)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	c := &Console{Options: o, db: db, desk: desk}
	var err error
	c.static, err = loadStatic()
	if err != nil {
		return nil, err
	}
	c.pages, err = loadTemplates()
	return c, err
}

// Pages returns every page there is. The patterns leave /login and /logout to whoever knows the sessions.
func (c *Console) Pages() []Page {
	return []Page{
		{"GET /{$}", c.show(c.list), false},
		{"GET /incidents/{id}", c.show(c.incident), false},
		{"GET /i/{id}", c.show(c.incident), false},
		{"POST /incidents/{id}/do", c.act(c.doIncident), false},
		{"GET /majors/{id}", c.show(c.major), false},
		{"GET /m/{id}", c.show(c.major), false},
		{"POST /majors/{id}/do", c.act(c.doMajor), false},
		{"GET /oncall", c.show(c.oncall), false},
		{"GET /outbox", c.show(c.outbox), false},
		{"POST /outbox/{id}/reply", c.act(c.replyTo), false},
		{"POST /outbox/{id}/key", c.act(c.press), false},
		{"GET /ack/{token}", c.show(c.showLink), true},
		{"POST /ack/{token}", c.act(c.useLink), true},
		{"GET /static/{file}", http.HandlerFunc(c.static.serve), true},
		{"GET /favicon.ico", http.HandlerFunc(c.static.icon), true},
	}
}
