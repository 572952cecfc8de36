package config

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// Kinds of providers.
const (
	KindTwilio   = "twilio"
	KindSendGrid = "sendgrid"
	KindSMTP     = "smtp"
	KindSandbox  = "sandbox"
)

// How an SMTP connection is kept secret.
const (
	TLSNone     = "none"
	TLSStart    = "starttls"
	TLSImplicit = "tls"
)

// A Provider carries messages out.
type Provider struct {
	Name                string
	Kind                string
	From                string // twilio: a number in E.164; sendgrid, smtp: a mail address; sandbox: ""
	BaseURL             string // twilio, sendgrid; "" is the provider's own
	AccountSID          string // twilio
	AuthToken           string // twilio; a secret
	MessagingServiceSID string // twilio: sends SMS instead of From; "" none
	APIKey              string // sendgrid; a secret
	PublicKey           string // sendgrid: base64 of the key that signs its event callbacks; "" none are taken
	Address             string // smtp: host:port
	Username            string // smtp; "" sends without logging in
	Password            string // smtp; a secret
	TLS                 string // smtp: none, starttls (default) or tls
	At                  Place
}

// Serves returns the channels that p can carry.
func (p Provider) Serves() []string {
	switch p.Kind {
	case KindTwilio:
		return []string{SMS, Voice}
	case KindSendGrid, KindSMTP:
		return []string{Email}
	case KindSandbox:
		return channels[:len(channels):len(channels)]
	}
	return nil
}

var (
	accountShape = regexp.MustCompile(`^AC[0-9a-f]{32}$`)
	serviceShape = regexp.MustCompile(`^MG[0-9a-f]{32}$`)
)

func (r *reader) provider(name string, s *section) Provider {
	out := Provider{Name: name, At: s.n.at}
	n, ok := s.get("kind")
	if !ok {
		s.missing("kind", "one of sandbox, sendgrid, smtp, twilio")
	} else {
		out.Kind, ok = r.word(n, "kind of provider", KindTwilio, KindSendGrid, KindSMTP, KindSandbox)
	}
	if !ok {
		s.asked = append(s.asked, keysAt(s)...) // which keys belong here is not known
		return out
	}
	switch out.Kind {
	case KindTwilio:
		out.AccountSID = s.shaped("account_sid", accountShape, true, "AC and 32 hexadecimal digits")
		out.AuthToken, _ = s.secret("auth_token", true)
		out.MessagingServiceSID = s.shaped("messaging_service_sid", serviceShape, false, "MG and 32 hexadecimal digits")
		out.BaseURL = strings.TrimSuffix(s.url("base_url", ""), "/")
		if n, ok := s.get("from"); ok {
			out.From = r.phone(n)
		} else {
			s.missing("from", `the number that calls and sends, such as "+15005550006"`)
		}
	case KindSendGrid:
		out.APIKey, _ = s.secret("api_key", true)
		out.BaseURL = strings.TrimSuffix(s.url("base_url", ""), "/")
		out.PublicKey = r.publicKey(s)
		out.From = s.sender()
	case KindSMTP:
		r.smtp(&out, s)
	}
	return out
}

func (r *reader) smtp(out *Provider, s *section) {
	n, ok := s.get("address")
	if !ok {
		s.missing("address", "host:port, such as mail.example.org:587")
	} else if v, ok := r.filled(n); ok && r.address(n, v, 1, "25") {
		out.Address = v
	}
	out.Username = s.text("username", "")
	out.TLS = s.word("tls", "tls", TLSStart, TLSNone, TLSStart, TLSImplicit)
	out.From = s.sender()
	var at Place
	out.Password, at = s.secret("password", out.Username != "")
	if out.Password != "" && out.Username == "" {
		s.missing("username", "a password needs one")
	}
	host, _, _ := net.SplitHostPort(out.Address)
	ip := net.ParseIP(host)
	if out.Password != "" && out.TLS == TLSNone && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		r.warn(at, "the password goes over the network in clear", "tls: starttls, or tls: tls")
	}
}

// sender returns the mail address at from.
func (s *section) sender() string {
	n, ok := s.get("from")
	if !ok {
		s.missing("from", "the address that mail comes from, such as tocsin@example.org")
		return ""
	}
	return s.mail(n)
}

func (s *section) shaped(key string, shape *regexp.Regexp, needed bool, hint string) string {
	n, ok := s.get(key)
	if !ok {
		if needed {
			s.missing(key, hint)
		}
		return ""
	}
	v, ok := s.filled(n)
	if ok && !shape.MatchString(v) {
		s.problem(n, fmt.Sprintf("%q is no %s", clip(v), key), hint)
		return ""
	}
	return v
}

// publicKey returns the key at public_key, if it is one that SendGrid signs with.
func (r *reader) publicKey(s *section) string {
	v := s.text("public_key", "")
	if v == "" {
		return ""
	}
	der, err := base64.StdEncoding.DecodeString(v)
	if err == nil {
		var key any
		key, err = x509.ParsePKIXPublicKey(der)
		if _, ok := key.(*ecdsa.PublicKey); ok && err == nil {
			return v
		}
	}
	r.complain(s.place("public_key"), "this is no public key for ECDSA", "copy the verification key of the signed event webhook")
	return ""
}

// channels returns the providers of each channel, in order of choice. A channel that one provider serves needs no line.
func (r *reader) channels(s *section, providers map[string]Provider) map[string][]string {
	defer s.done()
	out := map[string][]string{}
	for _, ch := range channels {
		var able []string
		for _, name := range keysOf(providers) {
			if slices.Contains(providers[name].Serves(), ch) {
				able = append(able, name)
			}
		}
		n, ok := s.get(ch)
		switch {
		case ok:
			out[ch] = s.refs(ch, "provider")
			for _, item := range n.items {
				if p, known := providers[item.said]; known && p.Kind != "" && !slices.Contains(able, item.said) {
					r.problem(item, fmt.Sprintf("%s is of kind %s, which cannot carry %s", item.said, p.Kind, ch), "those that can: "+cmp.Or(strings.Join(able, ", "), "none is defined"))
				}
			}
			if n.kind == list && len(n.items) == 0 {
				r.problem(n, "a channel without a provider carries nothing", "name one, or remove the line")
			}
		case len(able) > 1:
			s.missing(ch, fmt.Sprintf("%d providers can carry it, say which comes first: [%s]", len(able), strings.Join(able, ", ")))
			out[ch] = able
		case len(able) == 1:
			out[ch] = able
		}
	}
	return out
}
