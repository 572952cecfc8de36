package console

import (
	"net/http"
)

// LoginData is what the page at /login shows. Its form posts to /login: with the field link where Link says one, else with the
// field token, which the person types; next goes along as it is.
type LoginData struct {
	Link   string // of a one-time link: the page shows only a button
	Next   string // where to go afterwards: a path of ours, or ""
	Failed string // why the last try was refused, for the person; "" where there was none
}

// Login draws the page at /login. Status and headers are the caller's.
func (c *Console) Login(w http.ResponseWriter, d LoginData) {
	b, err := c.draw("layout", &frame{Title: "Log in", Bare: true, Viewer: c.viewerOf("", ""), Body: d, template: "login"})
	if err != nil {
		c.Log.Error("page could not be drawn", "route", "/login", "error", err)
	}
	w.Write(b)
}
