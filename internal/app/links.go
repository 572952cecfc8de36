package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	"tocsin"
	"tocsin/internal/api"
	"tocsin/internal/store"
)

// A link's token is the page's id and the hour until which it is good, signed: base64url of HOURS(4) MAC(16) ID.
const (
	linkGood = 7 * 24 * time.Hour
	macSize  = 16
)

// errBadLink is what a link is answered with that we did not sign, or that is too old.
var errBadLink = errors.New("this link is not valid, or no longer: open the incident in the console instead")

// signed returns the address of a page for the person it was sent to: it shows first and acts on a button.
func (s *setup) signed(secret []byte, p tocsin.Page) string {
	var b []byte
	b = binary.BigEndian.AppendUint32(b, uint32(p.DueAt.Add(linkGood).Unix()/3600)) //nolint:gosec // hours fit for 480,000 years
	b = append(b, linkMAC(secret, b, p.ID)...)
	b = append(b, p.ID...)
	return s.public + "/ack/" + base64.RawURLEncoding.EncodeToString(b)
}

func linkMAC(secret, head []byte, id string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("link\x00"))
	h.Write(head)
	h.Write([]byte(id))
	return h.Sum(nil)[:macSize]
}

// Linked reads a token that signed made.
func (o *office) Linked(ctx context.Context, token string) (api.Link, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(token))
	if err != nil || len(b) <= 4+macSize || len(b) > 200 {
		return api.Link{}, errBadLink
	}
	head, mac, id := b[:4], b[4:4+macSize], string(b[4+macSize:])
	if !hmac.Equal(mac, linkMAC(o.secret, head, id)) || int64(binary.BigEndian.Uint32(head)) < o.clock.Now().Unix()/3600 {
		return api.Link{}, errBadLink
	}
	var p tocsin.Page
	err = o.db.View(ctx, func(tx *store.Tx) error {
		p, err = tx.Page(id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return api.Link{}, errBadLink
	}
	if err != nil {
		return api.Link{}, err
	}
	return api.Link{Page: p.ID, Person: p.Person, Incident: p.Incident, Major: p.Major}, nil
}

// link returns the address of an incident ("/i/") or major ("/m/").
func (s *setup) link(path string, id int64) string {
	return s.public + path + strconv.FormatInt(id, 10)
}
