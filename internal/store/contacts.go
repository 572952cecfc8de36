package store

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A ContactOff is a number that nothing is sent to by a channel any more: its owner said STOP, or a provider knows that they did.
type ContactOff struct {
	Channel string
	Address string
	Since   time.Time
	Why     string // in words
}

// metaContacts counts the changes of contacts that are off, so that whoever keeps a copy sees with one look that it is old.
const metaContacts = "contacts"

// ContactsVersion returns what changes whenever TurnOff or TurnOn does something.
func (t *Tx) ContactsVersion() (int64, error) {
	text, err := t.Meta(metaContacts)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("meta %s: %w", metaContacts, err)
	}
	return n, nil
}

// ContactsOff returns every contact that is off, by channel and address.
func (t *Tx) ContactsOff() ([]ContactOff, error) {
	return all(t, "contacts that are off", func(r Row) (ContactOff, error) {
		return ContactOff{Channel: r.Text(0), Address: r.Text(1), Since: r.Time(2), Why: r.Text(3)}, nil
	}, "SELECT channel, address, since, why FROM contact_off ORDER BY channel, address")
}

// TurnOff turns a contact off, and reports whether it was on: since and why stay those of the first time.
func (t *Tx) TurnOff(c ContactOff) (was bool, err error) {
	n, err := t.exec("turn a contact off", "INSERT INTO contact_off (channel, address, since, why) VALUES ($1, $2, $3, $4) ON CONFLICT (channel, address) DO NOTHING",
		c.Channel, c.Address, micros(c.Since), c.Why)
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.contactsChanged()
}

// TurnOn turns a contact on again, and reports whether it was off.
func (t *Tx) TurnOn(channel, address string) (was bool, err error) {
	n, err := t.exec("turn a contact on", "DELETE FROM contact_off WHERE channel = $1 AND address = $2", channel, address)
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.contactsChanged()
}

func (t *Tx) contactsChanged() error {
	n, err := t.ContactsVersion()
	if err != nil {
		return err
	}
	return t.SetMeta(metaContacts, strconv.FormatInt(n+1, 10))
}
