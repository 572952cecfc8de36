package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"tocsin/correlate"
	"tocsin/internal/store"
)

// A problem is why a request was not answered as it wished, as RFC 9457 has it.
type problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitempty"`
	State  string  `json:"state,omitempty"` // where it is by now, of what a command was refused for
	By     string  `json:"by,omitempty"`    // who brought it there
	Errors []fault `json:"errors,omitempty"`

	wait  int   // seconds after which it is worth trying again; 0: it is not
	cause error // for our log
}

// A fault is what is wrong with one thing that was sent.
type fault struct {
	Item   string `json:"item,omitempty"` // what carries it: query, body or path
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string {
	parts := []string{p.Title, p.Detail}
	for _, f := range p.Errors {
		parts = append(parts, f.Field+": "+f.Detail)
	}
	return strings.Join(parts, ": ")
}

func refuse(status int, detail string) *problem { return &problem{Status: status, Detail: detail} }

// bad is what is answered where one field of the request is wrong.
func bad(item, field, detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Detail: "the " + item + " has a mistake", Errors: []fault{{item, field, detail}}}
}

// busySeconds is how long clients are told to wait while there is too much to do at once.
const busySeconds = 5

// problemOf says what err means to the client.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if refused, ok := errors.AsType[*correlate.StateError](err); ok {
		return &problem{Status: http.StatusConflict, Detail: refused.Error(), State: refused.Is, By: refused.By}
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return refuse(http.StatusNotFound, "there is none by this id")
	case errors.Is(err, errTooBig):
		return refuse(http.StatusRequestEntityTooLarge, "a body may have "+strconv.Itoa(maxBody)+" bytes")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrUnknown), errors.Is(err, store.ErrClosed):
		return &problem{Status: http.StatusServiceUnavailable, Detail: "the state cannot be written now, or it is not known whether it was", wait: busySeconds, cause: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem{Status: http.StatusServiceUnavailable, Detail: "it took too long: nothing is known to have happened", wait: busySeconds}
	}
	return &problem{Status: http.StatusInternalServerError, Detail: "something is wrong here: the log says what", cause: err}
}

// write answers p.
func (p *problem) write(w http.ResponseWriter) {
	out := *p
	out.Type, out.Title = "about:blank", http.StatusText(p.Status)
	if p.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.wait))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tocsin"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	writeJSON(w, out)
}

// writeJSON writes v. A reader that has gone away is nobody's mistake, and what we write can be written: no error is left that
// anybody could act on.
func writeJSON(w http.ResponseWriter, v any) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// answer writes v as the whole answer.
func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, v)
	return nil
}
