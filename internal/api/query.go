package api

import (
	"encoding"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxQuery     = 16 << 10 // bytes
)

// A query reads the parameters of a request and remembers every mistake in them.
type query struct {
	values url.Values
	faults []fault
}

// parseQuery reads the query of r, in which only known names may stand; those that end in "*" may stand more than once.
func parseQuery(r *http.Request, known ...string) *query {
	q := &query{}
	if len(r.URL.RawQuery) > maxQuery {
		q.wrong("", fmt.Sprintf("longer than %d bytes", maxQuery))
		return q
	}
	var err error
	q.values, err = url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		q.wrong("", "cannot be read: "+err.Error())
	}
	for name, values := range q.values {
		switch {
		case slices.Contains(known, name+"*"):
		case !slices.Contains(known, name):
			q.wrong(name, "no such parameter: one of "+strings.ReplaceAll(strings.Join(known, ", "), "*", ""))
		case len(values) > 1:
			q.wrong(name, "stands more than once")
		}
	}
	return q
}

func (q *query) wrong(field, detail string) {
	q.faults = append(q.faults, fault{"query", field, detail})
}

// err returns every mistake found so far as one problem.
func (q *query) err() error {
	if len(q.faults) == 0 {
		return nil
	}
	slices.SortFunc(q.faults, func(a, b fault) int { return strings.Compare(a.Field, b.Field) })
	return &problem{Status: http.StatusBadRequest, Detail: "the query has a mistake", Errors: q.faults}
}

func (q *query) text(name string) string { return q.values.Get(name) }

// limit returns how many rows are wanted: 1 to 1000.
func (q *query) limit() int {
	text := q.text("limit")
	if text == "" {
		if q.values.Has("limit") {
			q.wrong("limit", "is empty")
		}
		return defaultLimit
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		q.wrong("limit", fmt.Sprintf("%q is no number from 1 to %d", text, maxLimit))
		return defaultLimit
	}
	return n
}

// id returns the id under name, of which kind is the letter; 0 where there is none.
func (q *query) id(name string, kind byte) int64 {
	if !q.values.Has(name) {
		return 0
	}
	n, ok := tocsin.ParseID(kind, q.text(name))
	if !ok {
		q.wrong(name, fmt.Sprintf("%q is no id such as %c42", q.text(name), kind))
	}
	return n
}

// time returns the instant under name, in RFC 3339; otherwise where there is none.
func (q *query) time(name string, otherwise time.Time) time.Time {
	if !q.values.Has(name) {
		return otherwise
	}
	t, err := time.Parse(time.RFC3339, q.text(name))
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		q.wrong(name, fmt.Sprintf("%q is no time such as 2026-03-02T08:00:00Z", q.text(name)))
		return otherwise
	}
	return t.UTC()
}

// flag returns true or false under name; otherwise where there is none.
func (q *query) flag(name string, otherwise bool) bool {
	if !q.values.Has(name) {
		return otherwise
	}
	v, err := strconv.ParseBool(q.text(name))
	if err != nil {
		q.wrong(name, fmt.Sprintf("%q is neither true nor false", q.text(name)))
		return otherwise
	}
	return v
}

// words returns the words under name, which stand with commas between them; none where there is no such parameter.
func words[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](q *query, name string) []T {
	if !q.values.Has(name) {
		return nil
	}
	var out []T
	for _, word := range strings.Split(q.text(name), ",") {
		var v T
		err := P(&v).UnmarshalText([]byte(word))
		if err != nil {
			q.wrong(name, err.Error())
			return nil
		}
		out = append(out, v)
	}
	return out
}

// pathID returns the id in the path of r.
func pathID(r *http.Request, kind byte) (int64, error) {
	id, ok := tocsin.ParseID(kind, r.PathValue("id"))
	if !ok {
		return 0, bad("path", "id", fmt.Sprintf("%q is no id such as %c42", r.PathValue("id"), kind))
	}
	return id, nil
}
