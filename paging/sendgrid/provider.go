package sendgrid

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/sendgrid/sendgrid-go/helpers/mail"

	"tocsin/paging"
	"tocsin/paging/gateway"
	"tocsin/paging/letter"
)

const (
	endpoint    = "https://api.sendgrid.com/v3/mail/send"
	defaultWait = time.Second
	maxReceipt  = 200 // characters of the id that a mail is given
)

// Options tune a Provider; the zero value is ready to use.
type Options struct {
	FromName  string            // shown beside the address
	PublicKey string            // of the signed event webhook, base64; "" means that no callback is accepted
	BaseURL   string            // instead of https://api.sendgrid.com
	Timeout   time.Duration     // of one request; 0 means 15 s
	Flight    int               // requests under way at once; 0 means 512
	Transport http.RoundTripper // nil means one of its own
}

// A Provider sends with one API key. It is a paging.Sender, for many goroutines at once.
type Provider struct {
	key    string
	from   *mail.Email
	public *ecdsa.PublicKey // nil: callbacks are refused
	http   *gateway.Client
}

// New checks its arguments and returns the provider. It makes no request.
func New(apiKey, from string, o Options) (*Provider, error) {
	var errs []error
	if apiKey == "" {
		errs = append(errs, errors.New("api_key: needed"))
	}
	addr, err := netmail.ParseAddress(from)
	if err != nil {
		errs = append(errs, fmt.Errorf("from %q: %w", from, err))
		addr = &netmail.Address{}
	}
	if o.FromName != "" {
		addr.Name = o.FromName
	}
	public, err := publicKey(o.PublicKey)
	errs = append(errs, err)
	c, err := gateway.New(gateway.Options{BaseURL: o.BaseURL, Timeout: o.Timeout, Flight: o.Flight, Transport: o.Transport})
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &Provider{key: apiKey, from: mail.NewEmail(addr.Name, addr.Address), public: public, http: c}, nil
}

// publicKey reads the webhook's key. The library's own reader panics on a key of another kind.
func publicKey(s string) (*ecdsa.PublicKey, error) {
	if s == "" {
		return nil, nil
	}
	der, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("public_key: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("public_key: %w", err)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public_key: want an ECDSA key, got %T", key)
	}
	return public, nil
}

// Send mails m.
func (p *Provider) Send(ctx context.Context, m paging.Message) (paging.Receipt, error) {
	if m.Channel != paging.Email {
		return paging.Receipt{}, &paging.RefusedError{Code: "channel", Reason: "sendgrid does not send by " + m.Channel}
	}
	body, err := p.body(m)
	if err != nil {
		return paging.Receipt{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return paging.Receipt{}, fmt.Errorf("nothing was sent: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tocsin")
	a, err := p.http.Do(ctx, req)
	if err != nil {
		return paging.Receipt{}, err
	}
	if err = outcome(a); err != nil {
		return paging.Receipt{}, err
	}
	return paging.Receipt{ID: first(a.Header.Get("X-Message-Id"), maxReceipt)}, nil
}

func (p *Provider) body(m paging.Message) ([]byte, error) {
	l, err := letter.Write(m)
	if err != nil {
		return nil, err
	}
	v := mail.NewV3MailInit(p.from, l.Subject, mail.NewEmail(m.Person.Full, m.To),
		mail.NewContent("text/plain", l.Plain), mail.NewContent("text/html", l.HTML))
	v.Personalizations[0].SetCustomArg("page", m.ID) // the description knows no object at the top level
	v.SetTrackingSettings(mail.NewTrackingSettings().
		SetClickTracking(mail.NewClickTrackingSetting().SetEnable(false).SetEnableText(false)). // a rewritten link would be theirs
		SetOpenTracking(mail.NewOpenTrackingSetting().SetEnable(false)))
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("mail of page %s: %w", m.ID, err)
	}
	return body, nil
}

// outcome turns an answer into one of paging's errors; nil: it was taken.
func outcome(a gateway.Answer) error {
	switch s := a.Status; {
	case s == http.StatusAccepted || s == http.StatusOK && a.Header.Get("X-Message-Id") != "": // 200 is what any page on the way says
		return nil
	case s == http.StatusTooManyRequests:
		return &paging.RateError{Wait: wait(a)}
	case s >= 500 || s < 300 || s == http.StatusRequestTimeout:
		return fmt.Errorf("%w: status %d", paging.ErrUnknown, s)
	}
	var e struct {
		Errors []struct {
			Message string `json:"message"`
			Field   string `json:"field"`
		} `json:"errors"`
	}
	refused := &paging.RefusedError{Code: "http-" + strconv.Itoa(a.Status), Reason: http.StatusText(a.Status)}
	if json.Unmarshal(a.Body, &e) == nil && len(e.Errors) > 0 {
		refused.Reason = first(e.Errors[0].Message, 200)
		refused.Contact = a.Status == http.StatusBadRequest && strings.HasPrefix(e.Errors[0].Field, "personalizations") && strings.Contains(e.Errors[0].Field, ".to")
	}
	return refused
}

// wait is what a limit asks for: Retry-After, or the time of the limit's reset.
func wait(a gateway.Answer) time.Duration {
	if a.RetryAfter > 0 {
		return a.RetryAfter
	}
	at, err := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return defaultWait
	}
	return min(max(time.Until(time.Unix(at, 0)), defaultWait), time.Hour)
}

func first(s string, runes int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > runes {
		return string(r[:runes])
	}
	return s
}
