package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Step says how one request is answered. The zero value is as the provider answers on a good day.
type Step struct {
	Delay      time.Duration // before the answer
	Status     int           // instead of success; below 300 only with Body
	Code       int           // the provider's error code in the body
	RetryAfter string        // header
	Body       []byte        // instead of what belongs there
	Taken      bool          // with an error: the message goes out all the same
	Stall      bool          // it is taken, and no answer comes until the client leaves
	Drop       bool          // the connection is cut instead of an answer; with Taken, after it was taken
	Cut        bool          // the answer ends in the middle
}

// A Request is one line of a ledger.
type Request struct {
	At        time.Time
	Operation string         // CreateMessage, CreateCall, SendMail ...
	Page      string         // the page's id, from the callback's address or the custom arguments
	To        string         // whom it is for
	Text      string         // SMS body, TwiML or plain mail
	Form      url.Values     // of Twilio
	JSON      map[string]any // of SendGrid
	Problems  []string       // what the description does not allow
	ID        string         // what the provider gave it, where it was taken
	Status    int            // as answered; 0: not answered
}

// A ledger is what both doubles keep.
type ledger struct {
	mu       sync.Mutex
	script   func(n int, r Request) Step
	requests []Request
	byID     map[string]int // of those taken: index in requests
	creates  int
	serial   int
}

// Script says how requests that send something are answered; n counts them from 1. nil: all well.
func (l *ledger) Script(f func(n int, r Request) Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.script = f
}

// Requests returns everything that came, in order.
func (l *ledger) Requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

// Taken returns what a person would have got, in order.
func (l *ledger) Taken() []Request {
	return slices.DeleteFunc(l.Requests(), func(r Request) bool { return r.ID == "" })
}

// Problems returns every request that the description does not allow, with what is wrong.
func (l *ledger) Problems() []string {
	var out []string
	for _, r := range l.Requests() {
		for _, p := range r.Problems {
			out = append(out, r.Operation+": "+p)
		}
	}
	return out
}

// step chooses how a request that sends something is answered.
func (l *ledger) step(r Request) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.creates++
	if l.script == nil {
		return Step{}
	}
	return l.script(l.creates, r)
}

// note writes r down and returns where.
func (l *ledger) note(r Request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
	return len(l.requests) - 1
}

func (l *ledger) change(i int, f func(*Request)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.requests[i])
}

// taken gives line i the id, unless it has one, and returns the one it has.
func (l *ledger) taken(i int, id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests[i].ID == "" {
		l.requests[i].ID = id
		if l.byID == nil {
			l.byID = map[string]int{}
		}
		l.byID[id] = i
	}
	return l.requests[i].ID
}

// line is the request that was taken as id.
func (l *ledger) line(id string) (Request, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.byID[id]
	if !ok {
		return Request{}, fmt.Errorf("nothing was taken as %q", id)
	}
	return l.requests[i], nil
}

func (l *ledger) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	return l.serial
}

// play answers one request by its step; take makes the message exist and returns the good answer.
func (l *ledger) play(w http.ResponseWriter, req *http.Request, i int, s Step, take func() (status int, header http.Header, body []byte), fail func(status, code int) []byte) {
	if s.Stall || s.Taken {
		take()
	}
	if s.Stall {
		<-req.Context().Done()
		return
	}
	if s.Delay > 0 {
		select {
		case <-time.After(s.Delay):
		case <-req.Context().Done():
			return
		}
	}
	if s.Drop {
		panic(http.ErrAbortHandler) // net/http's own way to cut a connection
	}
	status, header, body := s.Status, http.Header{}, s.Body
	if status == 0 {
		var good []byte
		status, header, good = take()
		if body == nil {
			body = good
		}
	} else if body == nil {
		body = fail(status, s.Code)
	}
	maps.Copy(w.Header(), header)
	if s.RetryAfter != "" {
		w.Header().Set("Retry-After", s.RetryAfter)
	}
	if s.Cut {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	l.change(i, func(r *Request) { r.Status = status })
	w.WriteHeader(status)
	w.Write(body) // the client may have left
	if s.Cut {
		panic(http.ErrAbortHandler)
	}
}

// Transport serves requests by h without a socket, for bubbles of testing/synctest. It tells a request's trace what was
// written, as a real connection does.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ h http.Handler }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		if trace.WroteHeaders != nil {
			trace.WroteHeaders()
		}
		if trace.WroteRequest != nil {
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
	}
	in := req.Clone(req.Context())
	in.RequestURI = req.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	cut := make(chan bool, 1)
	go func() {
		defer func() { cut <- recover() != nil }()
		t.h.ServeHTTP(w, in)
	}()
	select {
	case isCut := <-cut:
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		if isCut && w.Body.Len() == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		res := w.Result()
		if isCut {
			res.Body = io.NopCloser(io.MultiReader(w.Body, broken{}))
		}
		res.Request = req
		return res, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Refused is a RoundTripper of a provider that cannot be reached: nothing is ever written.
func Refused() http.RoundTripper { return refused{} }

type refused struct{}

func (refused) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := context.Cause(req.Context()); err != nil {
		return nil, err
	}
	return nil, errors.New("dial tcp: connection refused")
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(err.Error()) // only maps of strings and numbers come here
	}
	return b
}
