package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

const (
	maxPerAnswer = 1000 // rows that the server gives at once
	maxAnswers   = 1000 // requests that one list may take
)

// A Filter narrows a list; what is empty does not narrow. Not every list knows every field: the server refuses what it does
// not know.
type Filter struct {
	State    string // one word, or several with commas between them
	Service  string
	Incident string // id
	Major    string // id
	Person   string
	Limit    int // at most so many; 0 means the server's usual 100
}

func (f Filter) values() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "service": f.Service, "incident": f.Incident, "major": f.Major, "person": f.Person} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// A List is the answer to a question for many.
type List[T any] struct {
	Items []T
	More  bool // the server has more than these
}

// Incidents lists incidents, the newest first.
func (c *Client) Incidents(ctx context.Context, f Filter) (List[Incident], error) {
	return follow(f, func(q url.Values) ([]Incident, string, error) {
		var said struct {
			Incidents []Incident `json:"incidents"`
			Next      string     `json:"next"`
		}
		err := c.get(ctx, "/api/v1/incidents", q, &said)
		return said.Incidents, said.Next, err
	})
}

// Majors lists majors and candidates, the newest first.
func (c *Client) Majors(ctx context.Context, f Filter) (List[Major], error) {
	return follow(f, func(q url.Values) ([]Major, string, error) {
		var said struct {
			Majors []Major `json:"majors"`
			Next   string  `json:"next"`
		}
		err := c.get(ctx, "/api/v1/majors", q, &said)
		return said.Majors, said.Next, err
	})
}

// Pages lists pages, the newest due first. The server gives at most 1,000.
func (c *Client) Pages(ctx context.Context, f Filter) (List[Page], error) {
	return follow(f, func(q url.Values) ([]Page, string, error) {
		var said struct {
			Pages []Page `json:"pages"`
			Next  string `json:"next"`
		}
		err := c.get(ctx, "/api/v1/pages", q, &said)
		return said.Pages, said.Next, err
	})
}

// follow asks until it has as many as f wants, or all there are.
func follow[T any](f Filter, ask func(url.Values) ([]T, string, error)) (List[T], error) {
	var out List[T]
	q := f.values()
	for range maxAnswers {
		if f.Limit > 0 {
			q.Set("limit", strconv.Itoa(min(f.Limit-len(out.Items), maxPerAnswer)))
		}
		items, next, err := ask(q)
		if err != nil {
			return List[T]{}, err
		}
		out.Items = append(out.Items, items...)
		out.More = next != ""
		if next == "" || len(out.Items) >= f.Limit {
			return out, nil
		}
		if len(items) == 0 || next == q.Get("next") {
			break
		}
		q.Set("next", next)
	}
	return List[T]{}, fmt.Errorf("%w: a list that does not end", ErrAnswer)
}

// Incident returns one incident with its alerts, history and pages. The id is like i42, or the bare number.
func (c *Client) Incident(ctx context.Context, id string) (Incident, error) {
	var i Incident
	return i, c.get(ctx, "/api/v1/incidents/"+url.PathEscape(id), nil, &i)
}

// Major returns one major with its history and pages. The id is like m7, or the bare number.
func (c *Client) Major(ctx context.Context, id string) (Major, error) {
	var m Major
	return m, c.get(ctx, "/api/v1/majors/"+url.PathEscape(id), nil, &m)
}

// An Order is what goes with a command.
type Order struct {
	By   string `json:"by,omitempty"` // the person in whose name it is given; "" is whoever the token belongs to
	Note string `json:"note,omitempty"`
}

// CommandIncident carries out ack, take, unack, resolve, reopen, escalate or note, and returns the incident as it is then.
// Where its state refuses the command, the *Problem has status 409 and says the state.
func (c *Client) CommandIncident(ctx context.Context, id, word string, o Order) (Incident, error) {
	var i Incident
	return i, c.post(ctx, "/api/v1/incidents/"+url.PathEscape(id)+"/"+word, o, &i)
}

// CommandMajor carries out confirm, reject, looking, lead, escalate, resolve or note, and returns the major as it is then.
func (c *Client) CommandMajor(ctx context.Context, id, word string, o Order) (Major, error) {
	var m Major
	return m, c.post(ctx, "/api/v1/majors/"+url.PathEscape(id)+"/"+word, o, &m)
}

// OnCall says who is on call at t; the zero time is now, by the server's clock.
func (c *Client) OnCall(ctx context.Context, t time.Time) (OnCall, error) {
	var o OnCall
	return o, c.get(ctx, "/api/v1/oncall", times(map[string]time.Time{"at": t}), &o)
}

// Schedule says who has a schedule's pager between two times; zero times leave them to the server.
func (c *Client) Schedule(ctx context.Context, name string, from, to time.Time) (Schedule, error) {
	var s Schedule
	return s, c.get(ctx, "/api/v1/schedules/"+url.PathEscape(name), times(map[string]time.Time{"from": from, "to": to}), &s)
}

func times(ts map[string]time.Time) url.Values {
	q := url.Values{}
	for name, t := range ts {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339))
		}
	}
	return q
}
