package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ErrUnreachable means that no answer came: nobody listens there, the connection broke, or the time was up.
var ErrUnreachable = errors.New("the server cannot be reached")

// ErrAnswer means that something answered that is no tocsin, or one that this client does not understand.
var ErrAnswer = errors.New("not an answer of tocsin")

const maxAnswer = 64 << 20 // bytes of one answer

// Options tune a Client; the zero value is ready to use.
type Options struct {
	Token     string            // sent as Bearer; "" sends none
	Timeout   time.Duration     // of one request, the answer's body included; 0 means 15 s
	UserAgent string            // "" means tocsin
	Transport http.RoundTripper // nil means one of its own
}

// A Client asks one server. It may be used by many goroutines.
type Client struct {
	base *url.URL
	http *http.Client
	Options
}

// New returns a client of the server at base, such as http://127.0.0.1:8080; a path there is a prefix of every route.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("server's address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("server's address %q: it has to be like http://127.0.0.1:8080", base)
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("a time limit of %s leaves no time for an answer", o.Timeout)
	}
	o.Timeout = cmp.Or(o.Timeout, 15*time.Second)
	o.UserAgent = cmp.Or(o.UserAgent, "tocsin")
	if o.Transport == nil {
		o.Transport = transport()
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: u, http: &http.Client{Transport: o.Transport, Timeout: o.Timeout, CheckRedirect: stay}, Options: o}, nil
}

func transport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
	}
}

// Host returns the host that the client talks to, without its port.
func (c *Client) Host() string { return c.base.Hostname() }

// get asks for path and reads the answer into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.ask(ctx, http.MethodGet, path, query, nil, v)
}

// post sends in as JSON and reads the answer into v.
func (c *Client) post(ctx context.Context, path string, in, v any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	return c.ask(ctx, http.MethodPost, path, nil, body, v)
}

func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body []byte, v any) error {
	answer, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	err = json.Unmarshal(answer, v)
	if err != nil {
		return fmt.Errorf("%s %s at %s: %w: %w", method, path, c.base, ErrAnswer, err)
	}
	return nil
}

// do makes one request and returns the body of a 2xx; any other answer is a *Problem.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	address := c.base.JoinPath(path)
	address.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	r.Header.Set("User-Agent", c.UserAgent)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("%s %s at %s: %w: longer than %d bytes", method, path, c.base, ErrAnswer, maxAnswer)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, readProblem(method, path, answer.StatusCode, answer.Header, b)
	}
	return b, nil
}

// unreachable words why no answer came, without the address twice.
func (c *Client) unreachable(err error) error {
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err
		if u.Timeout() {
			cause = fmt.Errorf("no answer within %s", c.Timeout)
		}
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base.Redacted(), cause)
}
