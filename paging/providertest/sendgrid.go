package providertest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// SendGrid is the mail of one API key. It is an http.Handler, for many requests at once.
type SendGrid struct {
	ledger
	desc    *description
	key     string
	private *ecdsa.PrivateKey
	public  string
}

// NewSendGrid returns a double that knows one API key and signs events with a key of its own.
func NewSendGrid(apiKey string) (*SendGrid, error) {
	d, err := describe("sendgrid.json")
	if err != nil {
		return nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("event key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("event key: %w", err)
	}
	return &SendGrid{desc: d, key: apiKey, private: private, public: base64.StdEncoding.EncodeToString(der)}, nil
}

// PublicKey is what events can be checked with, as the account's settings show it.
func (s *SendGrid) PublicKey() string { return s.public }

// ServeHTTP checks a request against the description and answers it.
func (s *SendGrid) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	op, _ := s.desc.find(req.Method, req.URL.Path)
	if op == nil {
		s.note(Request{At: time.Now(), Operation: req.Method + " " + req.URL.Path, Problems: []string{"is no operation of the API"}, Status: http.StatusNotFound})
		answer(w, http.StatusNotFound, sendgridError(http.StatusNotFound, 0))
		return
	}
	r := Request{At: time.Now(), Operation: op.id, Problems: s.desc.checkParams(op, req.URL.Query())}
	s.readMail(&r, op, req)
	if subtle.ConstantTimeCompare([]byte(req.Header.Get("Authorization")), []byte("Bearer "+s.key)) != 1 {
		r.Status = http.StatusUnauthorized
		s.note(r)
		answer(w, r.Status, sendgridError(r.Status, 0))
		return
	}
	if len(r.Problems) > 0 {
		r.Status = http.StatusBadRequest
		s.note(r)
		answer(w, r.Status, sendgridError(r.Status, 0))
		return
	}
	i := s.note(r)
	s.play(w, req, i, s.step(r), func() (int, http.Header, []byte) {
		id := s.taken(i, fmt.Sprintf("MSG%019d", s.next()))
		return http.StatusAccepted, http.Header{"X-Message-Id": {id}}, []byte{}
	}, sendgridError)
}

func (s *SendGrid) readMail(r *Request, op *operation, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 32<<20))
	if err == nil {
		err = json.Unmarshal(body, &r.JSON)
	}
	if err != nil {
		r.Problems = append(r.Problems, "body: "+err.Error())
		return
	}
	if kind := req.Header.Get("Content-Type"); kind != "application/json" {
		r.Problems = append(r.Problems, "Content-Type: "+kind)
	}
	r.Problems = append(r.Problems, s.desc.check("body", r.JSON, s.desc.body(op, "application/json"))...)
	var m struct {
		Personalizations []struct {
			To []struct {
				Email string
			}
			CustomArgs map[string]string `json:"custom_args"`
		}
		Subject string
		Content []struct{ Type, Value string }
	}
	if err = json.Unmarshal(body, &m); err != nil {
		r.Problems = append(r.Problems, "body: "+err.Error())
		return
	}
	// What the description says only in words.
	if m.Subject == "" || len(m.Content) == 0 || len(m.Personalizations) != 1 || len(m.Personalizations[0].To) != 1 {
		r.Problems = append(r.Problems, "body: a page is one mail to one person, with a subject and a text")
		return
	}
	if len(m.Content) > 1 && m.Content[0].Type != "text/plain" {
		r.Problems = append(r.Problems, "body.content: text/plain comes first")
	}
	r.To, r.Page, r.Text = m.Personalizations[0].To[0].Email, m.Personalizations[0].CustomArgs["page"], m.Content[0].Value
}

// An Event is one object of a webhook call.
type Event map[string]any

// Event returns an event about the mail id, as SendGrid writes it.
func (s *SendGrid) Event(id, kind string) (Event, error) {
	r, err := s.line(id)
	if err != nil {
		return nil, err
	}
	return Event{
		"email": r.To, "timestamp": time.Now().Unix(), "event": kind, "page": r.Page,
		"sg_event_id": fmt.Sprintf("evt-%d", s.next()), "sg_message_id": id + ".recvd-canary-1-1.0",
	}, nil
}

// Signed returns a webhook call with events to address, signed as of at. It is ready for a client and for a handler alike.
func (s *SendGrid) Signed(address string, at time.Time, events ...Event) (*http.Request, error) {
	body, err := json.Marshal(events)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	sum := sha256.Sum256(append([]byte(stamp), body...))
	sig, err := ecdsa.SignASN1(rand.Reader, s.private, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign events: %w", err)
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("events to %q: %w", address, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig))
	req.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", stamp)
	return req, nil
}

func sendgridError(status, _ int) []byte {
	return marshal(map[string]any{"errors": []any{map[string]any{"message": http.StatusText(status), "field": nil, "help": nil}}})
}
