package twilio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/gateway"
)

// What Twilio is told of one message or call.
const (
	minValidity = 120 // seconds; a carrier takes longer than this on a bad day
	maxValidity = 600
	ringSeconds = 25 // before a mailbox answers
	maxSMS      = 1600
	remembered  = 4096 // sids of this node's own sends, so that Find gives no send to two pages
)

// An Account is what Twilio knows us by.
type Account struct {
	SID      string // AC and 32 hexadecimal digits
	Token    string // auth token; signs callbacks too
	OldToken string // still good for callbacks while it is being replaced; "" where there is none
	From     string // E.164 number; may be "" for SMS where Service is set
	Service  string // messaging service, MG and 32 digits; "" where From is used
}

// Options tune a Provider; the zero value is ready to use.
type Options struct {
	Name      string            // of the provider in the configuration, as it stands in callback addresses; "" means twilio
	PublicURL string            // how Twilio reaches us; "" means no callbacks
	BaseURL   string            // instead of https://api.twilio.com
	Timeout   time.Duration     // of one request; 0 means 15 s
	Flight    int               // requests under way at once; 0 means 512
	Transport http.RoundTripper // nil means one of its own
}

// A Provider sends by one account. It is a paging.Sender, Finder, Canceller and Checker, for many goroutines at once.
type Provider struct {
	account Account
	name    string
	public  string // without a slash at its end
	http    *gateway.Client

	mu   sync.Mutex
	mine map[string]string // sid: page id
	ring []string          // the sids in mine, oldest at next
	next int
}

// New checks a and o and returns the provider. It makes no request.
func New(a Account, o Options) (*Provider, error) {
	var errs []error
	if !isSID(a.SID, "AC") {
		errs = append(errs, fmt.Errorf("account_sid %q: want AC and 32 hexadecimal digits", a.SID))
	}
	if a.Token == "" {
		errs = append(errs, errors.New("auth_token: needed"))
	}
	if a.From == "" && a.Service == "" {
		errs = append(errs, errors.New("from: a number to send from, or a messaging service, is needed"))
	}
	if o.PublicURL != "" {
		u, err := url.Parse(o.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
			errs = append(errs, fmt.Errorf("public_url %q: want http(s)://HOST", o.PublicURL))
		}
	}
	c, err := gateway.New(gateway.Options{BaseURL: o.BaseURL, Timeout: o.Timeout, Flight: o.Flight, Transport: o.Transport})
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &Provider{
		account: a, name: cmp.Or(o.Name, "twilio"), public: strings.TrimRight(o.PublicURL, "/"), http: c,
		mine: make(map[string]string), ring: make([]string, remembered),
	}, nil
}

// Send sends m as an SMS or makes a call of it.
func (p *Provider) Send(ctx context.Context, m paging.Message) (paging.Receipt, error) {
	var sid string
	var err error
	switch m.Channel {
	case paging.SMS:
		sid, err = p.sendSMS(ctx, m)
	case paging.Voice:
		sid, err = p.sendCall(ctx, m)
	default:
		return paging.Receipt{}, &paging.RefusedError{Code: "channel", Reason: "twilio does not send by " + m.Channel}
	}
	if err != nil {
		return paging.Receipt{}, err
	}
	p.remember(sid, m.ID)
	return paging.Receipt{ID: sid}, nil
}

func (p *Provider) sendSMS(ctx context.Context, m paging.Message) (string, error) {
	params := &api.CreateMessageParams{}
	params.SetTo(m.To).SetBody(cut(m.Text, maxSMS)).SetValidityPeriod(validity(m.Expires, time.Now()))
	if p.account.Service != "" {
		params.SetMessagingServiceSid(p.account.Service)
	} else {
		params.SetFrom(p.account.From)
	}
	if p.public != "" {
		params.SetStatusCallback(p.callback("status", m.ID, ""))
	}
	r := p.request(ctx)
	got, err := r.api().CreateMessage(params)
	if err = r.outcome(err); err != nil {
		return "", err
	}
	if got.Sid == nil || !isSID(*got.Sid, "SM") && !isSID(*got.Sid, "MM") {
		return "", fmt.Errorf("%w: twilio's answer has no message sid", paging.ErrUnknown)
	}
	return *got.Sid, nil
}

func (p *Provider) sendCall(ctx context.Context, m paging.Message) (string, error) {
	words, err := p.call(m)
	if err != nil {
		return "", fmt.Errorf("speak page %s: %w", m.ID, err)
	}
	params := &api.CreateCallParams{}
	params.SetTo(m.To).SetFrom(p.account.From).SetTwiml(words).SetTimeout(ringSeconds)
	if p.public != "" {
		params.SetStatusCallback(p.callback("status", m.ID, "")).SetStatusCallbackMethod(http.MethodPost)
		params.SetStatusCallbackEvent([]string{"initiated", "ringing", "answered", "completed"})
	}
	r := p.request(ctx)
	got, err := r.api().CreateCall(params)
	if err = r.outcome(err); err != nil {
		return "", err
	}
	if got.Sid == nil || !isSID(*got.Sid, "CA") {
		return "", fmt.Errorf("%w: twilio's answer has no call sid", paging.ErrUnknown)
	}
	return *got.Sid, nil
}

// Cancel drops a call that Twilio still holds in its queue or that rings. A call that is being answered goes on, and an SMS
// cannot be taken back: both are no error.
func (p *Provider) Cancel(ctx context.Context, providerID string) error {
	if !isSID(providerID, "CA") {
		return nil
	}
	r := p.request(ctx)
	_, err := r.api().UpdateCall(providerID, (&api.UpdateCallParams{}).SetStatus("canceled"))
	err = r.outcome(err)
	if refused, ok := errors.AsType[*paging.RefusedError](err); ok && (refused.Code == "21220" || refused.Code == "20404") {
		return nil // it is not in a state to be cancelled any more, or gone
	}
	if err != nil {
		return fmt.Errorf("cancel call %s: %w", providerID, err)
	}
	return nil
}

// Check asks Twilio where a message or call stands, where a callback may have been lost.
func (p *Provider) Check(ctx context.Context, providerID string) (paging.Report, error) {
	r := p.request(ctx)
	if isSID(providerID, "CA") {
		got, err := r.api().FetchCall(providerID, &api.FetchCallParams{})
		if err = r.outcome(err); err != nil {
			return paging.Report{}, fmt.Errorf("look at call %s: %w", providerID, err)
		}
		return callReport(p.pageOf(providerID), providerID, deref(got.Status)), nil
	}
	if !isSID(providerID, "SM") && !isSID(providerID, "MM") {
		return paging.Report{}, fmt.Errorf("look at message %q: no sid of twilio's", providerID)
	}
	got, err := r.api().FetchMessage(providerID, &api.FetchMessageParams{})
	if err = r.outcome(err); err != nil {
		return paging.Report{}, fmt.Errorf("look at message %s: %w", providerID, err)
	}
	code := 0
	if got.ErrorCode != nil {
		code = *got.ErrorCode
	}
	return smsReport(p.pageOf(providerID), providerID, deref(got.Status), code), nil
}

// callback is the address of one of our doors for one page; first is the digit pressed before, where a second is asked for.
func (p *Provider) callback(door, page, first string) string {
	q := url.Values{"page": {page}}
	if first != "" {
		q.Set("first", first)
	}
	return p.public + "/twilio/" + url.PathEscape(p.name) + "/" + door + "?" + q.Encode()
}

func (p *Provider) remember(sid, page string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.mine[sid]; known {
		return
	}
	delete(p.mine, p.ring[p.next])
	p.ring[p.next] = sid
	p.next = (p.next + 1) % len(p.ring)
	p.mine[sid] = page
}

func (p *Provider) pageOf(sid string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mine[sid]
}

// validity is how long the carrier may try, in seconds: until the page expires, within what makes sense.
func validity(expires, now time.Time) int {
	if expires.IsZero() {
		return maxValidity
	}
	return min(max(int(expires.Sub(now)/time.Second), minValidity), maxValidity)
}

func cut(s string, runes int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > runes {
		return string(r[:runes-1]) + "…"
	}
	return s
}

func isSID(s, kind string) bool {
	if len(s) != 34 || s[:2] != kind {
		return false
	}
	for _, c := range []byte(s[2:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// A request is the client.BaseClient of one call of the library, which knows no context: it carries ours, and keeps what the
// library forgets (the status, Retry-After, whether anything was written). That is why it holds a context in a struct.
type request struct {
	p      *Provider
	ctx    context.Context
	answer gateway.Answer
	err    error // of the transport
}

func (p *Provider) request(ctx context.Context) *request { return &request{p: p, ctx: ctx} }

// api returns the library's service around this request; its handler is built here so that no environment variable chooses where we send.
func (r *request) api() *api.ApiService { return api.NewApiService(&client.RequestHandler{Client: r}) }

// AccountSid is part of client.BaseClient.
func (r *request) AccountSid() string { return r.p.account.SID }

// SetTimeout is part of client.BaseClient; the time-out is the Provider's.
func (r *request) SetTimeout(time.Duration) {}

// SetOauth is part of client.BaseClient; we use the auth token, which signs callbacks too.
func (r *request) SetOauth(client.OAuth) {}

// OAuth is part of client.BaseClient.
func (r *request) OAuth() client.OAuth { return nil }

// SendRequest is part of client.BaseClient.
func (r *request) SendRequest(method, rawURL string, data url.Values, headers map[string]any, _ ...byte) (*http.Response, error) {
	body := ""
	if method == http.MethodPost {
		body = data.Encode()
	} else if len(data) > 0 {
		rawURL += "?" + data.Encode()
	}
	req, err := http.NewRequestWithContext(r.ctx, method, rawURL, strings.NewReader(body))
	if err != nil {
		r.err = fmt.Errorf("nothing was sent: %w", err)
		return nil, r.err
	}
	for k, v := range headers {
		if method == http.MethodPost || k != "Content-Type" {
			req.Header.Set(k, fmt.Sprint(v))
		}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tocsin")
	req.SetBasicAuth(r.p.account.SID, r.p.account.Token)
	r.answer, r.err = r.p.http.Do(r.ctx, req)
	if r.err != nil {
		return nil, r.err
	}
	if r.answer.Status < 200 || r.answer.Status > 299 {
		e := &client.TwilioRestError{}
		if err := json.Unmarshal(r.answer.Body, e); err != nil {
			return nil, fmt.Errorf("status %d with no readable body", r.answer.Status)
		}
		return nil, e
	}
	return &http.Response{StatusCode: r.answer.Status, Header: r.answer.Header, Body: &bytesBody{strings.NewReader(string(r.answer.Body))}}, nil
}

type bytesBody struct{ *strings.Reader }

func (bytesBody) Close() error { return nil }

// page states as this package reads them.
const (
	sent      = tocsin.PageSent
	delivered = tocsin.PageDelivered
	failed    = tocsin.PageFailed
)
