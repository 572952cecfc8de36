package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Problem is the server's no, as it worded it.
type Problem struct {
	Method string
	Path   string
	Status int           // of HTTP
	Detail string        // what the server said; "" where it said nothing
	Items  []ItemProblem // what is wrong with single parts of what was sent
	Also   string        // places of further items that were refused, such as 100-180
	State  string        // the present state, where that is what refuses a command
	Wait   time.Duration // when it is worth trying again; 0 where that was not said
}

// An ItemProblem says what is wrong with one part of what was sent.
type ItemProblem struct {
	Item   Item   `json:"item,omitempty"`
	Field  string `json:"field,omitempty"` // "" is the item as a whole
	Detail string `json:"detail"`
}

func (i ItemProblem) String() string {
	parts := make([]string, 0, 3)
	for _, s := range []string{string(i.Item), i.Field, i.Detail} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// An Item is which part of a request is meant: query, body or path, or its place in a batch from 0, such as "item 3".
type Item string

// UnmarshalJSON reads a word or a place.
func (i *Item) UnmarshalJSON(b []byte) error {
	var place int
	if json.Unmarshal(b, &place) == nil {
		*i = Item("item " + strconv.Itoa(place))
		return nil
	}
	return json.Unmarshal(b, (*string)(i))
}

// Error says the request, the status and all that the server said, in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d %s", p.Method, p.Path, p.Status, http.StatusText(p.Status))
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	if p.State != "" && !strings.Contains(p.Detail, p.State) {
		b.WriteString(" (it is " + p.State + ")")
	}
	for _, i := range p.Items {
		b.WriteString("; " + i.String())
	}
	if p.Also != "" {
		b.WriteString("; items " + p.Also + " too")
	}
	if p.Wait > 0 {
		b.WriteString("; try again in " + p.Wait.String())
	}
	return b.String()
}

const (
	maxWords = 2000             // bytes of a text that is shown where the answer is no JSON of ours
	maxWait  = 10 * time.Minute // more than any server of ours asks for
)

// readProblem reads why a request was not answered with 2xx: problem+json, the JSON string of the Alertmanager door, the
// answer of the PagerDuty door, or plain text, whatever it is.
func readProblem(method, path string, status int, header http.Header, body []byte) *Problem {
	p := &Problem{Method: method, Path: path, Status: status, Wait: retryAfter(header)}
	if status >= 300 && status < 400 {
		p.Detail = fmt.Sprintf("it points to %q: use that server's address instead", header.Get("Location"))
		return p
	}
	if json.Unmarshal(body, &p.Detail) == nil {
		return p
	}
	var said struct {
		Detail  string          `json:"detail"`
		Title   string          `json:"title"`
		Message string          `json:"message"`
		State   string          `json:"state"`
		Errors  json.RawMessage `json:"errors"`
		Also    string          `json:"also_refused"`
	}
	if json.Unmarshal(body, &said) != nil {
		p.Detail = firstLine(body)
		return p
	}
	p.Detail, p.State, p.Also = said.Detail, said.State, said.Also
	if p.Detail == "" {
		p.Detail = said.Message
	}
	if p.Detail == "" && said.Title != http.StatusText(status) {
		p.Detail = said.Title
	}
	var words []string
	if json.Unmarshal(said.Errors, &words) == nil {
		p.Detail = strings.Join(append([]string{p.Detail}, words...), ": ")
		return p
	}
	if json.Unmarshal(said.Errors, &p.Items) != nil {
		p.Items = nil // errors of some other form: the detail has to do
	}
	return p
}

// firstLine returns the first line of a text that may be anything, such as a proxy's page.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body[:min(len(body), maxWords)])), "\n")
	return strings.ToValidUTF8(strings.TrimSpace(line), "?")
}

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s <= 0 {
		return 0
	}
	return min(time.Duration(s)*time.Second, maxWait)
}
