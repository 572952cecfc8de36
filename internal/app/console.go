package app

import (
	"context"
	"net/http"
	"time"

	"tocsin/internal/api"
	"tocsin/internal/api/console"
)

// console builds the pages for people, which the server serves beside its own routes.
func (a *App) console() (pages []api.Page, login func(w http.ResponseWriter, d api.LoginData), err error) {
	c, err := console.New(a.db, desk{a.office}, console.Options{
		Who: api.Who, May: api.May, Now: a.clock.Now, Log: a.log,
		PublicURL: func() string { return a.setup.Load().public },
		Sandbox:   func() bool { return a.setup.Load().sandbox },
	})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range c.Pages() {
		pages = append(pages, api.Page(p))
	}
	return pages, func(w http.ResponseWriter, d api.LoginData) { c.Login(w, console.LoginData(d)) }, nil
}

// desk is the office in the console's words.
type desk struct{ *office }

// OnCall says who is on call at t, by schedule.
func (d desk) OnCall(t time.Time) []console.Duty {
	var out []console.Duty
	for _, x := range d.office.OnCall(t) {
		out = append(out, console.Duty(x))
	}
	return out
}

// Shifts says who has a schedule's pager from one time to another.
func (d desk) Shifts(schedule string, from, to time.Time) ([]console.Shift, bool) {
	shifts, ok := d.office.Shifts(schedule, from, to)
	var out []console.Shift
	for _, x := range shifts {
		out = append(out, console.Shift(x))
	}
	return out, ok
}

// Linked reads a signed link that a page carried.
func (d desk) Linked(ctx context.Context, token string) (console.Link, error) {
	l, err := d.office.Linked(ctx, token)
	return console.Link(l), err
}
