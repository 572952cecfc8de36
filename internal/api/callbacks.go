package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tocsin/internal/store"
	"tocsin/paging"
	"tocsin/paging/sendgrid"
	"tocsin/paging/twilio"
)

// Twilio is a provider of SMS and calls: it reads its callbacks, an error where they are not its own, and words answers.
type Twilio interface {
	ParseStatus(r *http.Request) (paging.Report, error)
	ParseSMS(r *http.Request) (paging.Reply, error)
	ParseVoice(r *http.Request) (paging.KeyPress, error)
	Ask(page, text, first string) (string, error)
	Goodbye(text string) (string, error)
	ReplySMS(text string) (string, error)
}

// SendGrid is a provider of mail: it reads what became of mails, an error where the events are not its own.
type SendGrid interface {
	ParseEvents(r *http.Request) ([]sendgrid.Event, error)
}

const (
	maxEvents = 1 << 20          // bytes of a callback that tells of many mails
	callWait  = 2 * time.Second  // for a slot
	callTime  = 10 * time.Second // for what a callback brings about; providers wait 15
)

// errBadCallback means that a callback is the provider's own, and still says nothing that can be read.
var errBadCallback = errors.New("callback cannot be read")

// callback runs act on a callback of provider kind P, with its whole body there, and counts what becomes of it. A provider is told
// 2xx only once what it brought about is committed.
func callback[P any](s *Server, w http.ResponseWriter, r *http.Request, most int64, act func(ctx context.Context, name string, p P) error) error {
	name := r.PathValue("provider")
	p, ok := s.Callbacks()[name].(P)
	if !ok {
		return refuse(http.StatusNotFound, "there is no such provider here")
	}
	count := func(outcome string) { s.callbacks.WithLabelValues(name, outcome).Inc() }
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	_, err := takeBody(w, r, most)
	if err != nil {
		count("bad")
		return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the callback has more than %d bytes, or does not end", most))
	}
	t := time.NewTimer(callWait)
	defer t.Stop()
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	case <-t.C:
		count("busy")
		return &problem{Status: http.StatusServiceUnavailable, Detail: "too many callbacks at once", wait: 1}
	case <-ctx.Done():
		return ctx.Err()
	}
	err = act(ctx, name, p)
	switch {
	case err == nil:
		count("done")
		return nil
	case errors.Is(err, twilio.ErrForged), errors.Is(err, sendgrid.ErrForged):
		count("forged")
		s.Log.Warn("callback refused", "provider", name, "error", err)
		return refuse(http.StatusForbidden, "this is not signed by the provider's account")
	case errors.Is(err, errBadCallback):
		count("bad")
		return refuse(http.StatusBadRequest, err.Error())
	}
	count("failed")
	return &problem{Status: http.StatusServiceUnavailable, Detail: "what it says could not be made durable", wait: 1, cause: err}
}

// parsed marks an error of reading a callback.
func parsed(err error) error {
	if err == nil || errors.Is(err, twilio.ErrForged) || errors.Is(err, sendgrid.ErrForged) {
		return err
	}
	return fmt.Errorf("%w: %w", errBadCallback, err)
}

// twilioSMS takes in what a person wrote, and answers.
func (s *Server) twilioSMS(w http.ResponseWriter, r *http.Request) error {
	return callback(s, w, r, maxBody, func(ctx context.Context, name string, p Twilio) error {
		reply, err := p.ParseSMS(r)
		if err != nil {
			return parsed(err)
		}
		text, err := s.Desk.Reply(ctx, name, reply)
		if err != nil {
			return err
		}
		return twiml(w)(p.ReplySMS(text))
	})
}

// twilioVoice takes in the key that a person pressed, and says what comes of it.
func (s *Server) twilioVoice(w http.ResponseWriter, r *http.Request) error {
	return callback(s, w, r, maxBody, func(ctx context.Context, name string, p Twilio) error {
		key, err := p.ParseVoice(r)
		if err != nil {
			return parsed(err)
		}
		text, more, err := s.Desk.Key(ctx, name, key)
		if errors.Is(err, store.ErrNotFound) {
			text, more, err = "This page is not known here any more. Goodbye.", false, nil
		}
		if err != nil {
			return err
		}
		if !more {
			return twiml(w)(p.Goodbye(cmp.Or(text, "Goodbye.")))
		}
		first := ""
		if paging.ParseKey(key.Digits, key.First) == paging.VerbAgain {
			first = key.Digits // the next key is the second of two
		}
		return twiml(w)(p.Ask(key.PageID, text, first))
	})
}

// twiml answers what a provider's words came to.
func twiml(w http.ResponseWriter) func(text string, err error) error {
	return func(text string, err error) error {
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		_, _ = w.Write([]byte(text)) // a provider that has gone away asks again
		return nil
	}
}

// twilioStatus takes in what became of a message or a call.
func (s *Server) twilioStatus(w http.ResponseWriter, r *http.Request) error {
	return callback(s, w, r, maxBody, func(ctx context.Context, name string, p Twilio) error {
		report, err := p.ParseStatus(r)
		if err != nil {
			return parsed(err)
		}
		err = s.Desk.Report(ctx, name, report)
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		return err
	})
}

// sendgridEvents takes in what became of mails. All of it is taken in before the answer; what comes twice says nothing new.
func (s *Server) sendgridEvents(w http.ResponseWriter, r *http.Request) error {
	return callback(s, w, r, maxEvents, func(ctx context.Context, name string, p SendGrid) error {
		events, err := p.ParseEvents(r)
		if err != nil {
			return parsed(err)
		}
		for _, e := range events {
			err = s.Desk.Report(ctx, name, e.Report)
			if err != nil {
				return fmt.Errorf("event %s: %w", e.ID, err)
			}
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}
