package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/paging"
)

// An Entry is one message in the outbox.
type Entry struct {
	Page      string // paging.Message.ID
	Channel   string
	Person    string // the person's name in the configuration
	To        string // the number or address it would have gone to
	Subject   string
	Text      string
	Link      string
	CanAnswer bool
	At        time.Time // UTC
}

// A Keeper keeps what would have been sent. Keeping the same page again must replace it, not double it.
type Keeper interface {
	Keep(ctx context.Context, e Entry) error
}

// A Sender hands messages to a Keeper instead of a person.
type Sender struct{ keeper Keeper }

// New returns a sender into k.
func New(k Keeper) (*Sender, error) {
	if k == nil {
		return nil, errors.New("sandbox: no keeper for its messages")
	}
	return &Sender{keeper: k}, nil
}

// Send keeps m. An error means that it was not kept.
func (s *Sender) Send(ctx context.Context, m paging.Message) (paging.Receipt, error) {
	err := s.keeper.Keep(ctx, Entry{
		Page: m.ID, Channel: m.Channel, Person: m.Person.Name, To: m.To, Subject: m.Subject, Text: m.Text,
		Link: m.Link, CanAnswer: m.CanAnswer, At: time.Now().UTC(),
	})
	if err != nil {
		return paging.Receipt{}, fmt.Errorf("keep page %s in the sandbox: %w", m.ID, err)
	}
	return paging.Receipt{ID: "sandbox-" + m.ID}, nil
}
