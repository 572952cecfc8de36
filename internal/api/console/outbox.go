package console

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/paging"
)

const (
	mostMessages = 40
	sandboxName  = "sandbox" // what the desk is told as the provider that brings answers
	longestSMS   = 1600      // bytes of a reply
	answerMark   = "answer:" // before the page's id, where a message answers what somebody wrote or pressed in the console
)

// outboxPage is what the sandbox provider would have sent.
type outboxPage struct {
	Messages []message
	Older    string
	View     *viewer
}

// A message is one as a phone or a mailbox would show it.
type message struct {
	ID       int64
	Channel  string // sms, voice, email
	Head     string // SMS to Person One
	To       string
	At       moment
	Subject  string
	Text     string
	Link     string   // address on this console of the link in a mail
	Wrote    string   // this message answers what was written or pressed
	Replies  []string // what its text asks to be answered
	Keys     []key
	Answered moment
	Once     string // names one reply, so that a doubled press acts once
	CanReply bool
}

// A key is one of a phone, and what it does.
type key struct{ Digits, Text string }

// keypad are the keys that mean something, as the spoken text offers them.
var keypad = []struct {
	key
	offered string
}{
	{key{"4", "acknowledge"}, "4 to acknowledge"},
	{key{"4", "looking"}, "4 if you are looking"},
	{key{"5", "escalate"}, "5 to escalate"},
	{key{"66", "resolve"}, "6 twice"},
	{key{"7", "confirm"}, "7 to confirm"},
	{key{"8", "reject"}, "8 to reject"},
	{key{"9", "repeat"}, "9 or star"},
}

// hint finds what a text asks to be answered.
var hint = regexp.MustCompile(`\b(?:[4-8] \d{1,4}|4all|take \d{1,4})\b`)

var noOutbox = &fault{http.StatusNotFound, "No outbox", "This installation sends its pages for real: there is no sandbox provider.", nil}

// outbox draws the newest messages.
func (c *Console) outbox(r *http.Request, v *viewer) (*frame, error) {
	if !c.Sandbox() {
		return nil, noOutbox
	}
	before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64) // what is no number means the newest
	p := &outboxPage{View: v}
	f := &frame{Title: "Outbox", Nav: "outbox", Fresh: "/outbox?fragment=body", Viewer: v, Body: p, template: "outbox"}
	if before > 0 {
		f.Fresh += "&before=" + strconv.FormatInt(before, 10)
	}
	err := c.db.View(r.Context(), func(tx *store.Tx) error {
		counts, candidates, err := waiting(tx)
		if err != nil {
			return err
		}
		f.Waiting = counts[tocsin.Triggered] + candidates
		found, err := tx.Sandbox(max(before, 0), mostMessages+1)
		if len(found) > mostMessages {
			found = found[:mostMessages]
			p.Older = "/outbox?before=" + strconv.FormatInt(found[mostMessages-1].ID, 10)
		}
		for _, m := range found {
			p.Messages = append(p.Messages, c.message(v, m))
		}
		return err
	})
	return f, err
}

func (c *Console) message(v *viewer, m store.SandboxMessage) message {
	what := map[string]string{paging.SMS: "SMS", paging.Voice: "Call", paging.Email: "Mail"}[m.Channel]
	out := message{
		ID: m.ID, Channel: m.Channel, Head: what + " to " + v.called(m.Person), To: m.To, At: v.at(m.At), Subject: m.Subject, Text: m.Text,
		Link: c.onThis(m.Link), Answered: v.at(m.Answered), Once: rand.Text(),
	}
	if strings.HasPrefix(m.Page, answerMark) {
		out.Wrote, out.Subject = m.Subject, ""
		if m.Channel == paging.Voice {
			out.Head = "On the call with " + v.called(m.Person)
		}
	}
	if !v.Act {
		return out
	}
	switch m.Channel {
	case paging.SMS:
		out.CanReply = true
		for _, h := range hint.FindAllString(m.Text, 6) {
			if !slices.Contains(out.Replies, h) {
				out.Replies = append(out.Replies, h)
			}
		}
	case paging.Voice:
		if out.Wrote == "" {
			out.Keys = keysOf(m.Text)
		}
	}
	return out
}

func keysOf(text string) (out []key) {
	for _, k := range keypad {
		if strings.Contains(text, k.offered) {
			out = append(out, k.key)
		}
	}
	return out
}

// onThis returns a link of ours as an address of the server that shows the page, so that it works by whatever name that is reached;
// "" for anything else.
func (c *Console) onThis(link string) string {
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(u.Path, "/ack/") {
		return ""
	}
	return u.EscapedPath()
}

// sandboxMessage finds what a form is about.
func (c *Console) sandboxMessage(r *http.Request, v *viewer) (m store.SandboxMessage, err error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	switch {
	case !c.Sandbox():
		return m, noOutbox
	case !v.Act:
		return m, errMayNot
	case err != nil:
		return m, notFound("message " + r.PathValue("id"))
	}
	err = c.db.View(r.Context(), func(tx *store.Tx) error {
		m, err = tx.SandboxMessage(id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return m, notFound("message " + r.PathValue("id"))
	}
	return m, err
}

// replyTo answers an SMS as its person would.
func (c *Console) replyTo(r *http.Request, v *viewer) (string, said, error) {
	m, err := c.sandboxMessage(r, v)
	if err != nil {
		return "", said{}, err
	}
	text := strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(r.PostForm.Get("text"), "\x00", ""), "\uFFFD"))
	switch {
	case text == "":
		return "/outbox", said{"An empty message is not sent.", true}, nil
	case len(text) > longestSMS:
		return "/outbox", said{"That is longer than ten messages. Nothing was sent.", true}, nil
	}
	once := r.PostForm.Get("once")
	if once == "" || len(once) > 64 {
		once = rand.Text()
	}
	answer, err := c.desk.Reply(r.Context(), sandboxName, paging.Reply{ID: "console-" + once, From: m.To, To: sandboxName, Text: text})
	if err != nil {
		return "", said{}, err
	}
	return c.answered(r, m, text, answer)
}

// press presses keys on a call as its person would.
func (c *Console) press(r *http.Request, v *viewer) (string, said, error) {
	m, err := c.sandboxMessage(r, v)
	if err != nil {
		return "", said{}, err
	}
	digits := r.PostForm.Get("digits")
	if len(digits) == 0 || len(digits) > 2 || strings.Trim(digits, "0123456789*#") != "" {
		return "", said{}, &fault{http.StatusBadRequest, "Not understood", "There is no such key.", nil}
	}
	answer, _, err := c.desk.Key(r.Context(), sandboxName, paging.KeyPress{PageID: m.Page, CallID: "console-" + m.Page, Digits: digits})
	if errors.Is(err, store.ErrNotFound) {
		return "", said{}, notFound("page of this call")
	}
	if err != nil {
		return "", said{}, err
	}
	return c.answered(r, m, digits, answer)
}

// answered keeps what was written and what came back, as the phone would show it.
func (c *Console) answered(r *http.Request, m store.SandboxMessage, wrote, answer string) (string, said, error) {
	now := c.Now()
	id := m.ID
	err := c.db.Update(r.Context(), store.Commands, func(tx *store.Tx) error {
		err := tx.AnswerSandbox(m.ID, now)
		if err != nil {
			return err
		}
		id, err = tx.AddSandbox(store.SandboxMessage{
			Page: answerMark + strings.TrimPrefix(m.Page, answerMark), Channel: m.Channel, To: m.To, Person: m.Person, Subject: wrote, Text: answer, At: now, Answered: now,
		})
		return err
	})
	if err != nil {
		c.Log.Warn("answer of the sandbox was not kept", "error", err) // what it did is committed
	}
	return "/outbox#o" + strconv.FormatInt(id, 10), said{}, nil
}
