package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tocsin/paging"
)

// Limits of one request.
const (
	DefaultTimeout = 15 * time.Second
	DefaultFlight  = 512     // requests under way at once
	MaxBody        = 1 << 20 // bytes of an answer that are read; a longer one is no usable answer
	maxWait        = time.Hour
)

// Options tune a Client; the zero value is ready to use.
type Options struct {
	BaseURL   string            // replaces scheme and host, and goes before the path; "" keeps the provider's own
	Timeout   time.Duration     // of one request, from dialling to the last byte; 0 means DefaultTimeout
	Flight    int               // connections kept open for requests under way at once; 0 means DefaultFlight
	Transport http.RoundTripper // nil means one of its own
}

// A Client talks to one provider. It may be used by many goroutines at once.
type Client struct {
	http    *http.Client
	base    *url.URL
	timeout time.Duration
}

// An Answer is a response that was read to its end.
type Answer struct {
	Status     int
	Header     http.Header
	Body       []byte
	RetryAfter time.Duration // what the provider asked for, at most an hour; 0: it did not say
}

// New returns a client. A base URL that is no http or https address is an error.
func New(o Options) (*Client, error) {
	c := &Client{timeout: cmp.Or(o.Timeout, DefaultTimeout)}
	if o.BaseURL != "" {
		base, err := url.Parse(o.BaseURL)
		if err != nil {
			return nil, fmt.Errorf("base_url: %w", err)
		}
		if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
			return nil, fmt.Errorf("base_url %q: want http://HOST or https://HOST", o.BaseURL)
		}
		c.base = base
	}
	rt := o.Transport
	if rt == nil {
		rt = newTransport(cmp.Or(o.Flight, DefaultFlight))
	}
	c.http = &http.Client{
		Transport: rt,
		// A provider's API does not redirect; following one would post a person's number to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// newTransport keeps as many connections open as there may be requests under way, so that a burst does not dial anew for
// every message. HTTP/1 on purpose: one stalled connection then holds up one message.
func newTransport(flight int) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		MaxIdleConns:          flight,
		MaxIdleConnsPerHost:   flight,
		IdleConnTimeout:       60 * time.Second,
		DisableCompression:    true, // so that MaxBody bounds what is unpacked too
		ResponseHeaderTimeout: 0,    // the request's own deadline covers it
	}
}

// Do sends req and reads the whole answer. An error that is paging.ErrUnknown means that the request, or a part of it, went
// out; any other error means that the provider cannot have seen it.
func (c *Client) Do(ctx context.Context, req *http.Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var written atomic.Bool
	trace := &httptrace.ClientTrace{
		WroteHeaders: func() { written.Store(true) },
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err == nil {
				written.Store(true)
			}
		},
	}
	req = req.WithContext(httptrace.WithClientTrace(ctx, trace))
	c.aim(req)
	res, err := c.http.Do(req)
	if err != nil {
		return Answer{}, c.lost(err, written.Load())
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if err == nil && len(body) > MaxBody {
		err = fmt.Errorf("answer is longer than %d bytes", MaxBody)
	}
	a := Answer{Status: res.StatusCode, Header: res.Header, Body: body, RetryAfter: retryAfter(res.Header, time.Now())}
	if err != nil {
		if res.StatusCode >= 400 && res.StatusCode < 500 {
			a.Body = nil // the status alone is a definite answer
			return a, nil
		}
		return Answer{}, c.lost(err, true)
	}
	return a, nil
}

func (c *Client) lost(err error, written bool) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address: it may hold a person's number
	}
	if written {
		return fmt.Errorf("%w: %w", paging.ErrUnknown, err)
	}
	return fmt.Errorf("nothing was sent: %w", err)
}

// aim points req at the base address.
func (c *Client) aim(req *http.Request) {
	if c.base == nil {
		return
	}
	u := *req.URL
	u.Scheme, u.Host = c.base.Scheme, c.base.Host
	u.Path = strings.TrimSuffix(c.base.Path, "/") + u.Path
	u.RawPath = ""
	req.URL, req.Host = &u, ""
}

// retryAfter reads Retry-After, which is seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		return min(max(time.Duration(min(s, int64(maxWait/time.Second)))*time.Second, 0), maxWait)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), maxWait)
	}
	return 0
}
