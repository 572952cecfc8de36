package twilio

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tocsin/paging"
)

// ErrForged means that a callback is not from Twilio, or not for this account: answer 403 and do nothing.
var ErrForged = errors.New("callback is not signed by our account")

const maxForm = 64 << 10 // bytes of one callback; Twilio's are below 4 KiB

// ParseStatus reads a status callback of a message or a call.
func (p *Provider) ParseStatus(r *http.Request) (paging.Report, error) {
	form, err := p.verify(r)
	if err != nil {
		return paging.Report{}, err
	}
	page := r.URL.Query().Get("page")
	if sid := form.Get("CallSid"); sid != "" {
		return callReport(page, sid, form.Get("CallStatus")), nil
	}
	sid := form.Get("MessageSid")
	if sid == "" {
		sid = form.Get("SmsSid")
	}
	if sid == "" {
		return paging.Report{}, fmt.Errorf("%w: it names no message and no call", ErrForged)
	}
	status := form.Get("MessageStatus")
	if status == "" {
		status = form.Get("SmsStatus")
	}
	if status == "" {
		return paging.Report{}, fmt.Errorf("%w: it says no status", ErrForged)
	}
	code, _ := strconv.Atoi(form.Get("ErrorCode")) // absent, or not a number: no code
	return smsReport(page, sid, status, code), nil
}

// ParseSMS reads a message that a person sent to one of our numbers.
func (p *Provider) ParseSMS(r *http.Request) (paging.Reply, error) {
	form, err := p.verify(r)
	if err != nil {
		return paging.Reply{}, err
	}
	reply := paging.Reply{ID: form.Get("MessageSid"), From: form.Get("From"), To: form.Get("To"), Text: form.Get("Body")}
	// Twilio signs names and values run together: a name that took the beginning of its value is signed as well. What we act
	// on must therefore stand under its own name.
	if reply.ID == "" || reply.From == "" || !form.Has("Body") {
		return paging.Reply{}, fmt.Errorf("%w: it is no inbound message", ErrForged)
	}
	return reply, nil
}

// ParseVoice reads a key press, or the first request of a call that asks us what to say.
func (p *Provider) ParseVoice(r *http.Request) (paging.KeyPress, error) {
	form, err := p.verify(r)
	if err != nil {
		return paging.KeyPress{}, err
	}
	q := r.URL.Query()
	k := paging.KeyPress{PageID: q.Get("page"), CallID: form.Get("CallSid"), Digits: form.Get("Digits"), First: q.Get("first")}
	if k.CallID == "" {
		return paging.KeyPress{}, fmt.Errorf("%w: it names no call", ErrForged)
	}
	return k, nil
}

// verify reads a callback's form and checks its signature over the address that the configuration gives us (never the Host
// header) and every value of the form.
func (p *Provider) verify(r *http.Request) (url.Values, error) {
	if p.public == "" {
		return nil, fmt.Errorf("%w: no public_url is configured", ErrForged)
	}
	if r.Method != http.MethodPost {
		return nil, fmt.Errorf("%w: method %s", ErrForged, r.Method)
	}
	signatures := r.Header.Values("X-Twilio-Signature")
	if len(signatures) != 1 {
		return nil, fmt.Errorf("%w: %d signatures", ErrForged, len(signatures))
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return nil, fmt.Errorf("%w: not a form", ErrForged)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil {
		return nil, fmt.Errorf("read callback: %w", err)
	}
	if len(body) > maxForm {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrForged, maxForm)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: form cannot be read", ErrForged)
	}
	got, err := base64.StdEncoding.Strict().DecodeString(signatures[0])
	if err != nil || len(got) != sha1.Size {
		return nil, fmt.Errorf("%w: signature cannot be read", ErrForged)
	}
	if !p.signed(r.URL, form, got) {
		return nil, fmt.Errorf("%w: signature does not match", ErrForged)
	}
	for name, values := range form {
		if len(values) > 1 && name != "MediaUrl" {
			return nil, fmt.Errorf("%w: a field stands twice", ErrForged)
		}
	}
	if subtle.ConstantTimeCompare([]byte(form.Get("AccountSid")), []byte(p.account.SID)) != 1 {
		return nil, fmt.Errorf("%w: another account", ErrForged)
	}
	return form, nil
}

// signed tries both tokens, and the address with and without the scheme's own port: Twilio is not consistent there.
func (p *Provider) signed(u *url.URL, form url.Values, got []byte) bool {
	ok := false
	for _, token := range []string{p.account.Token, p.account.OldToken} {
		if token == "" {
			continue
		}
		for _, base := range ports(p.public) {
			if hmac.Equal(got, Signature(token, base+u.RequestURI(), form)) {
				ok = true // no early end: how long it takes says nothing
			}
		}
	}
	return ok
}

// ports returns base as configured and, where the port is the scheme's own, also the other way of writing it.
func ports(base string) []string {
	u, err := url.Parse(base)
	if err != nil {
		return []string{base}
	}
	own := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	other := *u
	switch u.Port() {
	case "":
		other.Host = net.JoinHostPort(u.Hostname(), own)
	case own:
		other.Host = u.Hostname()
	default:
		return []string{base}
	}
	return []string{base, other.String()}
}

// Signature is what Twilio signs a form posted to address with: HMAC-SHA1 over the address and every name and value, sorted.
// Each value of a name that stands more than once counts; the library's own check reads only the first.
func Signature(token, address string, form url.Values) []byte {
	h := hmac.New(sha1.New, []byte(token))
	io.WriteString(h, address)
	for _, name := range slices.Sorted(maps.Keys(form)) {
		values := slices.Compact(slices.Sorted(slices.Values(form[name])))
		for _, v := range values {
			io.WriteString(h, name+v)
		}
	}
	return h.Sum(nil)
}
