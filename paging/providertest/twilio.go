package providertest

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/paging/twilio"
)

// Twilio is the messages and calls of one account. It is an http.Handler, for many requests at once.
type Twilio struct {
	ledger
	desc       *description
	sid, token string
	states     map[string]string // sid: status, guarded by ledger.mu
	errors     map[string]int    // sid: error code
}

// NewTwilio returns a double that knows one account and its auth token.
func NewTwilio(accountSID, authToken string) (*Twilio, error) {
	d, err := describe("twilio.json")
	if err != nil {
		return nil, err
	}
	return &Twilio{desc: d, sid: accountSID, token: authToken, states: map[string]string{}, errors: map[string]int{}}, nil
}

// ServeHTTP checks a request against the description and answers it.
func (t *Twilio) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	op, known := t.desc.find(req.Method, req.URL.Path)
	if op == nil {
		status, code := http.StatusNotFound, 20404
		if known {
			status, code = http.StatusMethodNotAllowed, 20004
		}
		t.note(Request{At: time.Now(), Operation: req.Method + " " + req.URL.Path, Problems: []string{"is no operation of the API"}, Status: status})
		answer(w, status, twilioError(status, code))
		return
	}
	r := Request{At: time.Now(), Operation: op.id, Problems: t.desc.checkParams(op, req.URL.Query())}
	if req.Method == http.MethodPost {
		t.readForm(&r, op, req)
	}
	user, pass, _ := req.BasicAuth()
	if user != t.sid || subtle.ConstantTimeCompare([]byte(pass), []byte(t.token)) != 1 || op.params["AccountSid"] != t.sid {
		r.Status = http.StatusUnauthorized
		t.note(r)
		answer(w, r.Status, twilioError(r.Status, 20003))
		return
	}
	if len(r.Problems) > 0 {
		r.Status = http.StatusBadRequest
		t.note(r)
		answer(w, r.Status, twilioError(r.Status, 21602))
		return
	}
	switch op.id {
	case "CreateMessage", "CreateCall":
		i := t.note(r)
		t.play(w, req, i, t.step(r), func() (int, http.Header, []byte) { return http.StatusCreated, nil, t.take(i) }, twilioError)
	default:
		t.read(w, op, r, req.URL.Query())
	}
}

func (t *Twilio) readForm(r *Request, op *operation, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		r.Problems = append(r.Problems, "body: "+err.Error())
		return
	}
	if kind := req.Header.Get("Content-Type"); kind != "application/x-www-form-urlencoded" {
		r.Problems = append(r.Problems, "Content-Type: "+kind)
	}
	if r.Form, err = url.ParseQuery(string(body)); err != nil {
		r.Problems = append(r.Problems, "body: "+err.Error())
		return
	}
	r.Problems = append(r.Problems, t.desc.checkForm(op, r.Form)...)
	r.To, r.Text = r.Form.Get("To"), r.Form.Get("Body")+r.Form.Get("Twiml")
	if u, err := url.Parse(r.Form.Get("StatusCallback")); err == nil {
		r.Page = u.Query().Get("page")
	}
	// What the description says only in words.
	f := r.Form
	switch {
	case op.id == "CreateMessage" && f.Get("From") == "" && f.Get("MessagingServiceSid") == "":
		r.Problems = append(r.Problems, "From: neither a number nor a messaging service")
	case op.id == "CreateMessage" && f.Get("Body") == "" && f.Get("MediaUrl") == "" && f.Get("ContentSid") == "":
		r.Problems = append(r.Problems, "Body: nothing to send")
	case op.id == "CreateMessage" && len([]rune(f.Get("Body"))) > 1600:
		r.Problems = append(r.Problems, "Body: more than 1600 characters")
	case op.id == "CreateCall" && f.Get("Url") == "" && f.Get("Twiml") == "" && f.Get("ApplicationSid") == "":
		r.Problems = append(r.Problems, "Twiml: nothing to say")
	}
	if v, err := strconv.Atoi(f.Get("ValidityPeriod")); err == nil && (v < 1 || v > 36000) {
		r.Problems = append(r.Problems, "ValidityPeriod: outside of 1 to 36000")
	}
	if doc := f.Get("Twiml"); doc != "" {
		if err := xml.Unmarshal([]byte(doc), new(struct{ XMLName xml.Name })); err != nil {
			r.Problems = append(r.Problems, "Twiml: "+err.Error())
		}
	}
}

// take makes the message or call of ledger line i exist and returns its resource.
func (t *Twilio) take(i int) []byte {
	n := t.next()
	t.mu.Lock()
	kind := "SM"
	if t.requests[i].Operation == "CreateCall" {
		kind = "CA"
	}
	t.mu.Unlock()
	id := t.taken(i, fmt.Sprintf("%s%032x", kind, n))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.states[id] == "" {
		t.states[id] = "queued"
	}
	return marshal(t.resource(t.requests[i]))
}

// resource is a message or call as the API shows it; with the ledger's lock held.
func (t *Twilio) resource(r Request) map[string]any {
	if r.Operation == "CreateCall" {
		return map[string]any{
			"sid": r.ID, "account_sid": t.sid, "to": r.To, "from": r.Form.Get("From"), "status": t.states[r.ID], "direction": "outbound-api",
			"api_version": "2010-04-01", "date_created": r.At.UTC().Format(time.RFC1123Z), "date_updated": nil, "start_time": nil, "end_time": nil,
			"duration": nil, "price": nil, "price_unit": "USD", "answered_by": nil, "parent_call_sid": nil, "queue_time": "0",
			"uri": "/2010-04-01/Accounts/" + t.sid + "/Calls/" + r.ID + ".json",
		}
	}
	var code any
	if c := t.errors[r.ID]; c != 0 {
		code = c
	}
	return map[string]any{
		"sid": r.ID, "account_sid": t.sid, "to": r.To, "from": r.Form.Get("From"), "body": r.Text, "status": t.states[r.ID], "direction": "outbound-api",
		"api_version": "2010-04-01", "date_created": r.At.UTC().Format(time.RFC1123Z), "date_updated": r.At.UTC().Format(time.RFC1123Z), "date_sent": nil,
		"num_segments": "1", "num_media": "0", "price": nil, "price_unit": "USD", "error_code": code, "error_message": nil,
		"messaging_service_sid": nil, "uri": "/2010-04-01/Accounts/" + t.sid + "/Messages/" + r.ID + ".json",
	}
}

// read answers the operations that send nothing.
func (t *Twilio) read(w http.ResponseWriter, op *operation, r Request, query url.Values) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list, name := "CreateMessage", "messages"
	if strings.HasSuffix(op.id, "Call") {
		list, name = "CreateCall", "calls"
	}
	var found []map[string]any
	for _, line := range slices.Backward(t.requests) { // the newest first
		if line.ID == "" || line.Operation != list || op.params["Sid"] != "" && line.ID != op.params["Sid"] {
			continue
		}
		if to := query.Get("To"); to != "" && line.To != to {
			continue
		}
		if op.id == "UpdateCall" && r.Form.Get("Status") == "canceled" {
			if s := t.states[line.ID]; s != "queued" && s != "ringing" {
				r.Status = http.StatusBadRequest
				t.requests = append(t.requests, r)
				answer(w, r.Status, twilioError(r.Status, 21220))
				return
			}
			t.states[line.ID] = "canceled"
		}
		found = append(found, t.resource(line))
	}
	r.Status = http.StatusOK
	switch {
	case op.params["Sid"] == "":
		size := 50
		if n, err := strconv.Atoi(query.Get("PageSize")); err == nil {
			size = n
		}
		found = found[:min(len(found), size)]
		if found == nil {
			found = []map[string]any{}
		}
		answer(w, r.Status, marshal(map[string]any{name: found, "page": 0, "page_size": size, "start": 0, "end": len(found), "next_page_uri": nil, "previous_page_uri": nil}))
	case len(found) == 0:
		r.Status = http.StatusNotFound
		answer(w, r.Status, twilioError(r.Status, 20404))
	default:
		answer(w, r.Status, marshal(found[0]))
	}
	t.requests = append(t.requests, r)
}

// Status moves the message or call sid to status and returns the signed callback that Twilio would post; code is an error's, or 0.
func (t *Twilio) Status(sid, status string, code int) (*http.Request, error) {
	line, err := t.line(sid)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.states[sid], t.errors[sid] = status, code
	t.mu.Unlock()
	form := url.Values{"AccountSid": {t.sid}, "To": {line.To}, "From": {line.Form.Get("From")}, "ApiVersion": {"2010-04-01"}}
	if line.Operation == "CreateCall" {
		form.Set("CallSid", sid)
		form.Set("CallStatus", status)
		form.Set("Direction", "outbound-api")
	} else {
		form.Set("MessageSid", sid)
		form.Set("SmsSid", sid)
		form.Set("MessageStatus", status)
		form.Set("SmsStatus", status)
		if code != 0 {
			form.Set("ErrorCode", strconv.Itoa(code))
		}
	}
	return t.Signed(line.Form.Get("StatusCallback"), form)
}

// Press answers the call sid and presses digits; it returns the signed callback. An error where the call asked for no key.
func (t *Twilio) Press(sid, digits string) (*http.Request, error) {
	line, err := t.line(sid)
	if err != nil {
		return nil, err
	}
	return t.PressIn(line.Form.Get("Twiml"), sid, digits)
}

// PressIn presses digits in answer to a TwiML document, such as our answer to the press before.
func (t *Twilio) PressIn(document, sid, digits string) (*http.Request, error) {
	var doc struct {
		Gather struct {
			Action string `xml:"action,attr"`
		}
	}
	if err := xml.Unmarshal([]byte(document), &doc); err != nil {
		return nil, fmt.Errorf("read TwiML: %w", err)
	}
	if doc.Gather.Action == "" {
		return nil, errors.New("the call asks for no key")
	}
	return t.Signed(doc.Gather.Action, url.Values{
		"AccountSid": {t.sid}, "CallSid": {sid}, "CallStatus": {"in-progress"}, "Digits": {digits}, "ApiVersion": {"2010-04-01"},
	})
}

// SMS returns the signed callback of a message that a person sent to us; address is our door for it.
func (t *Twilio) SMS(address, from, to, text string) (*http.Request, error) {
	sid := fmt.Sprintf("SM%032x", t.next())
	return t.Signed(address, url.Values{
		"AccountSid": {t.sid}, "MessageSid": {sid}, "SmsSid": {sid}, "From": {from}, "To": {to}, "Body": {text}, "NumMedia": {"0"}, "NumSegments": {"1"}, "ApiVersion": {"2010-04-01"},
	})
}

// Signed returns a callback to address as Twilio signs it. It is ready for a client and for a handler alike.
func (t *Twilio) Signed(address string, form url.Values) (*http.Request, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("callback to %q: %w", address, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(twilio.Signature(t.token, address, form)))
	return req, nil
}

func twilioError(status, code int) []byte {
	return marshal(map[string]any{"status": status, "code": code, "message": http.StatusText(status), "more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code)})
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	w.Write(body) // the client may have left
}
