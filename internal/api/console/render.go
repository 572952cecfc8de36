package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// Policy is the Content-Security-Policy that every page of the console is drawn for.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const (
	lookTime = 10 * time.Second // in which a page must be read and drawn, and a command be committed
	maxForm  = 64 << 10         // bytes of a form
)

// A frame is a page: what is around it, and its body.
type frame struct {
	Title   string // of the browser's tab
	Nav     string // which of the pages of the navigation this is
	Subject string // the incident (i17) or major (m7) that the page is about; "" : all of them
	Fresh   string // address of the part that lives; "" : nothing does
	Bare    bool   // without navigation: for those who are not logged in

	Viewer  *viewer
	Said    said
	Outbox  bool
	Style   string
	Script  string
	Icon    string
	Waiting int // incidents that nobody has, and candidates: they stand in the title
	Body    any

	template string
	status   int
}

// said is what the last button came to, for the page that follows it.
type said struct {
	Text    string
	Refused bool // nothing was changed
}

// A fault is what a page is answered with that cannot be shown.
type fault struct {
	status      int
	Title, Text string
	cause       error // for the log; nil: nothing is wrong with us
}

func (f *fault) Error() string { return f.Title + ": " + f.Text }
func (f *fault) Unwrap() error { return f.cause }

func notFound(what string) *fault {
	return &fault{http.StatusNotFound, "Not here", "There is no " + what + ", or it ended so long ago that it is not kept any more.", nil}
}

var errMayNot = &fault{http.StatusForbidden, "Not yours to press", "Your role may look at this, not change it.", nil}

// faultOf is what a person is told about err.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound("such thing")
	case errors.Is(err, context.Canceled):
		return &fault{http.StatusServiceUnavailable, "Interrupted", "Nothing was changed.", nil}
	case errors.Is(err, store.ErrUnknown):
		return &fault{http.StatusServiceUnavailable, "Perhaps done", "The answer of the database was lost: look at the incident before you press again.", err}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &fault{http.StatusServiceUnavailable, "Not now", "The database does not answer in time. Nothing was changed; try again in a moment.", err}
	}
	return &fault{http.StatusInternalServerError, "Something broke", "It is in the server's log. Nothing was changed.", err}
}

// show makes a handler of a page.
func (c *Console) show(draw func(r *http.Request, v *viewer) (*frame, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), lookTime)
		defer cancel()
		v := c.viewer(r)
		f, err := draw(r.WithContext(ctx), v)
		if err != nil {
			f = c.failed(r, v, err)
		}
		c.write(w, r, f)
	})
}

// act makes a handler of what a button does: it says what became of it and where to go then, so that going back or loading again
// presses nothing twice.
func (c *Console) act(do func(r *http.Request, v *viewer) (to string, s said, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), lookTime)
		defer cancel()
		r = r.WithContext(ctx)
		v := c.viewer(r)
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		err := r.ParseForm()
		if err != nil {
			c.write(w, r, c.failed(r, v, &fault{http.StatusBadRequest, "Not understood", "What your browser sent is no form of ours.", nil}))
			return
		}
		to, s, err := do(r, v)
		if err != nil {
			c.write(w, r, c.failed(r, v, err))
			return
		}
		c.remember(w, s)
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}

// failed is the page that says what is wrong.
func (c *Console) failed(r *http.Request, v *viewer, err error) *frame {
	f := faultOf(err)
	if f.cause != nil {
		c.Log.Error("page failed", "route", r.Pattern, "status", f.status, "error", f.cause)
	}
	return &frame{Title: f.Title, Bare: v.Person.Name == "", Viewer: v, Body: f, template: "fault", status: f.status}
}

// write draws f: the whole page, or for ?fragment= the part of it that lives.
func (c *Console) write(w http.ResponseWriter, r *http.Request, f *frame) {
	fragment := r.Method == http.MethodGet && r.URL.Query().Get("fragment") != ""
	if !fragment && f.status == 0 {
		f.Said = c.recall(w, r)
	}
	name := "layout"
	if fragment {
		name = "live-part"
	}
	b, err := c.draw(name, f)
	if err != nil {
		c.Log.Error("page could not be drawn", "route", r.Pattern, "error", err)
		http.Error(w, "This page cannot be drawn. It is in the server's log.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-store")
	packed(w, r, max(f.status, http.StatusOK), b)
}

func (c *Console) draw(name string, f *frame) ([]byte, error) {
	f.Style, f.Script, f.Icon = c.static.Style, c.static.Script, c.static.Icon
	f.Outbox = c.Sandbox()
	t, ok := c.pages[f.template]
	if !ok {
		return nil, fmt.Errorf("no template %s", f.template)
	}
	var b bytes.Buffer
	err := t.ExecuteTemplate(&b, name, f)
	return visible(b.Bytes()), err
}

// loadTemplates reads each page with the layout and the parts that pages share.
func loadTemplates() (map[string]*template.Template, error) {
	shared, err := template.New("").ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	pages := map[string]*template.Template{}
	for _, name := range []string{"list", "incident", "major", "oncall", "outbox", "ack", "login", "fault"} {
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(files, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("console: page %s: %w", name, err)
		}
		pages[name] = t
	}
	return pages, nil
}

// saidCookie carries what was said over the redirect behind a button, for the next page alone.
const (
	saidCookie = "tocsin-said"
	saidLife   = time.Minute
	saidMost   = 600 // bytes
)

func (c *Console) remember(w http.ResponseWriter, s said) {
	if s.Text == "" {
		return
	}
	mark := "+"
	if s.Refused {
		mark = "!"
	}
	text := s.Text
	if len(text) > saidMost {
		text = strings.ToValidUTF8(text[:saidMost], "") + "…"
	}
	c.setSaid(w, base64.RawURLEncoding.EncodeToString([]byte(mark+text)), int(saidLife.Seconds()))
}

func (c *Console) setSaid(w http.ResponseWriter, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: saidCookie, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(c.PublicURL(), "https://"),
	})
}

// recall takes what was said off its cookie.
func (c *Console) recall(w http.ResponseWriter, r *http.Request) said {
	cookie, err := r.Cookie(saidCookie)
	if err != nil {
		return said{}
	}
	c.setSaid(w, "", -1)
	b, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(b) < 2 {
		return said{}
	}
	return said{Text: string(b[1:]), Refused: b[0] == '!'}
}

// waiting counts what nobody has yet: it stands in the title of every page.
func waiting(tx *store.Tx) (open map[tocsin.IncidentState]int, candidates int, err error) {
	open, err = tx.IncidentCounts()
	if err != nil {
		return nil, 0, err
	}
	majors, err := tx.Majors(store.MajorFilter{States: []tocsin.MajorState{tocsin.Proposed}, Limit: mostMajors})
	return open, len(majors), err
}

// local returns p if it is a path of ours, else otherwise: nobody is led from our buttons to another site.
func local(p, otherwise string) string {
	u, err := url.Parse(p)
	if err != nil || len(p) > 1000 || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n\t") {
		return otherwise
	}
	return p
}
