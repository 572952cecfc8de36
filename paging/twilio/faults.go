package twilio

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/twilio/twilio-go/client"

	"tocsin/paging"
)

// fault says whose fault an error code is.
type fault uint8

const (
	setup   fault = iota + 1 // ours: credentials, sender, permissions; another provider may do
	contact                  // the person's number: no provider will do
	busy                     // a limit: it was not processed, later it will be
	carrier                  // the carrier's or the filter's, this time
)

// optedOut says that the person has answered STOP, or one of the words that mean the same.
const optedOut = 21610

// codes names what Twilio's error codes mean to us. Twilio keeps splitting codes: one that does not stand here is judged by
// the HTTP status, and in a callback it is the carrier's.
func codes(code int) (fault, string) {
	switch code {
	case 20429, 21611, 30001, 30022, 30027, 14107, 14108:
		return busy, "a sending limit is reached"
	case 21211, 21217, 13223, 13224:
		return contact, "not a valid number"
	case 21266:
		return contact, "the number is our own"
	case 21408, 21215, 13227:
		return contact, "messages to that region are not allowed"
	case optedOut:
		return contact, "the person has opted out by STOP"
	case 21614, 30006:
		return contact, "a landline, or a number that cannot be reached"
	case 21214, 30005:
		return contact, "an unknown or unreachable number"
	case 20003, 20005, 20006:
		return setup, "the credentials are refused"
	case 20404:
		return setup, "not found at twilio"
	case 21212, 21603, 21606, 21659, 21660, 21210, 21219, 21608:
		return setup, "the sender's number may not send this"
	case 21617, 21605:
		return setup, "the message is too long"
	case 30002:
		return setup, "the account is suspended"
	case 30032, 30034, 30035:
		return setup, "the sender's number is not registered"
	case 30003:
		return carrier, "the phone is off or out of reach"
	case 30004:
		return carrier, "blocked by the carrier"
	case 30007, 30450:
		return carrier, "filtered by the carrier"
	case 30008:
		return carrier, "unknown to the carrier"
	case 30036:
		return carrier, "not delivered before it expired"
	}
	return 0, ""
}

const defaultWait = time.Second // where a limit comes without Retry-After

// outcome turns what the library returned into one of paging's errors, by what the transport saw.
func (r *request) outcome(err error) error {
	if r.err != nil {
		return r.err
	}
	switch s := r.answer.Status; {
	case s == 0:
		return err // the library itself refused to build the request
	case s >= 200 && s < 300:
		if err != nil {
			return fmt.Errorf("%w: status %d with an unreadable body", paging.ErrUnknown, s)
		}
		return nil
	case s == http.StatusTooManyRequests:
		return &paging.RateError{Wait: max(r.answer.RetryAfter, defaultWait)}
	case s >= 500 || s == http.StatusRequestTimeout:
		return fmt.Errorf("%w: status %d", paging.ErrUnknown, s)
	}
	return r.refusal(err)
}

// refusal judges a definite refusal by its code, or by its status where there is none.
func (r *request) refusal(err error) error {
	rest, ok := errors.AsType[*client.TwilioRestError](err)
	if !ok || rest.Code == 0 {
		return &paging.RefusedError{Code: "http-" + strconv.Itoa(r.answer.Status), Reason: http.StatusText(r.answer.Status)}
	}
	whose, words := codes(rest.Code)
	if whose == busy {
		return &paging.RateError{Wait: max(r.answer.RetryAfter, defaultWait)}
	}
	if words == "" {
		words = cut(rest.Message, 200)
	}
	return &paging.RefusedError{Code: strconv.Itoa(rest.Code), Reason: words, Contact: whose == contact, Opted: rest.Code == optedOut}
}

// smsReport is what a message's status means; states come in any order, more than once, and new words may be added.
func smsReport(page, sid, status string, code int) paging.Report {
	r := paging.Report{PageID: page, ProviderID: sid, State: sent}
	switch status {
	case "delivered", "read":
		r.State = delivered
	case "failed", "undelivered", "canceled":
		r.State = failed
		whose, words := codes(code)
		r.Contact, r.Opted = whose == contact, code == optedOut
		r.Reason = status
		if code != 0 {
			r.Reason = fmt.Sprintf("%s (%d): %s", status, code, words)
		}
		if code != 0 && words == "" {
			r.Reason = fmt.Sprintf("%s (%d)", status, code)
		}
	}
	return r
}

// callReport is what a call's status means. Completed is delivered, never answered: a mailbox picks up too.
func callReport(page, sid, status string) paging.Report {
	r := paging.Report{PageID: page, ProviderID: sid, State: sent}
	switch status {
	case "completed":
		r.State = delivered
	case "busy", "no-answer", "failed", "canceled":
		r.State = failed
		r.Reason = status
	}
	return r
}
