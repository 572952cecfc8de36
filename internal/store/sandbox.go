package store

import (
	"fmt"
	"strconv"
	"time"
)

// A SandboxMessage is one message that the sandbox provider would have sent.
type SandboxMessage struct {
	ID       int64  // rising
	Page     string // Page.ID
	Channel  string
	To       string // number or address
	Person   string
	Subject  string
	Text     string
	Link     string
	At       time.Time
	Answered time.Time // when somebody answered it in the console; zero: not yet
}

// sandboxKept is how many messages of the sandbox are kept: the newest.
const sandboxKept = 10_000

var sandboxColumns = cols("id page channel recipient person subject text link at answered")

var insertSandbox = sandboxColumns.insert("sandbox")

// nextSandbox counts in a row of meta, so that nodes that add at the same time wait for each other.
const nextSandbox = `INSERT INTO meta (name, value) SELECT 'sandbox', CAST(COALESCE(MAX(id), 0) + 1 AS TEXT) FROM sandbox WHERE true
	ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT) RETURNING value`

// AddSandbox adds a message to the sandbox's outbox, and returns its id. The oldest go when there are more than 10,000.
func (t *Tx) AddSandbox(m SandboxMessage) (int64, error) {
	id, err := one(t, "next sandbox id", func(r Row) (int64, error) { return strconv.ParseInt(r.Text(0), 10, 64) }, nextSandbox)
	if err != nil {
		return 0, err
	}
	_, err = t.exec("add a sandbox message", insertSandbox, id, m.Page, m.Channel, m.To, m.Person, m.Subject, m.Text, m.Link, micros(m.At), micros(m.Answered))
	if err != nil {
		return 0, err
	}
	_, err = t.exec("drop old sandbox messages", "DELETE FROM sandbox WHERE id <= $1", id-sandboxKept)
	return id, err
}

func scanSandbox(r Row) (SandboxMessage, error) {
	return SandboxMessage{
		ID: r.Int(0), Page: r.Text(1), Channel: r.Text(2), To: r.Text(3), Person: r.Text(4), Subject: r.Text(5),
		Text: r.Text(6), Link: r.Text(7), At: r.Time(8), Answered: r.Time(9),
	}, nil
}

// Sandbox returns up to limit messages with an id below before (0: from the newest), newest first.
func (t *Tx) Sandbox(before int64, limit int) ([]SandboxMessage, error) {
	if before == 0 {
		before = 1 << 62
	}
	return all(t, "sandbox messages", scanSandbox, "SELECT "+sandboxColumns.list("")+" FROM sandbox WHERE id < $1 ORDER BY id DESC LIMIT $2", before, limit)
}

// SandboxMessage returns one message; ErrNotFound where there is none.
func (t *Tx) SandboxMessage(id int64) (SandboxMessage, error) {
	return one(t, fmt.Sprintf("sandbox message %d", id), scanSandbox, "SELECT "+sandboxColumns.list("")+" FROM sandbox WHERE id = $1", id)
}

// AnswerSandbox notes that a message was answered.
func (t *Tx) AnswerSandbox(id int64, at time.Time) error {
	_, err := t.exec("answer a sandbox message", "UPDATE sandbox SET answered = $1 WHERE id = $2", micros(at), id)
	return err
}

// FirstInbound notes that the provider brought us a person's message with this id, and reports whether that is new: a
// message that comes twice acts once.
func (t *Tx) FirstInbound(provider, message string, at time.Time) (bool, error) {
	n, err := t.exec("note an inbound message", "INSERT INTO inbound (provider, message, at) VALUES ($1, $2, $3) ON CONFLICT (provider, message) DO NOTHING", provider, message, micros(at))
	return n == 1, err
}
