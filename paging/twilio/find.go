package twilio

import (
	"context"
	"fmt"
	"strings"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"tocsin/paging"
)

const (
	findPage  = 200             // how many of the newest to one number are looked at
	findSlack = 5 * time.Second // between our clock and theirs
)

// Find looks for m among the newest messages or calls to m.To. A message is known by its whole text, as it was sent: a part of it,
// such as a link, may stand in another one too. It asks by number only and compares the time of creation
// itself: the API's own date filter leaves out what is still queued.
func (p *Provider) Find(ctx context.Context, m paging.Message, since time.Time) (paging.Receipt, bool, error) {
	since = since.Add(-findSlack).Truncate(time.Second) // the API says whole seconds
	r := p.request(ctx)
	if m.Channel == paging.Voice {
		params := &api.ListCallParams{}
		got, err := r.api().PageCall(params.SetTo(m.To).SetPageSize(findPage), "", "")
		if err = r.outcome(err); err != nil {
			return paging.Receipt{}, false, fmt.Errorf("look for a call of page %s: %w", m.ID, err)
		}
		for _, c := range got.Calls {
			sid := deref(c.Sid)
			if deref(c.To) == m.To && strings.HasPrefix(deref(c.Direction), "outbound") && p.mayBe(sid, m.ID) && after(c.DateCreated, since) {
				p.remember(sid, m.ID)
				return paging.Receipt{ID: sid}, true, nil
			}
		}
		return paging.Receipt{}, false, nil
	}
	params := &api.ListMessageParams{}
	got, err := r.api().PageMessage(params.SetTo(m.To).SetPageSize(findPage), "", "")
	if err = r.outcome(err); err != nil {
		return paging.Receipt{}, false, fmt.Errorf("look for a message of page %s: %w", m.ID, err)
	}
	for _, s := range got.Messages {
		sid := deref(s.Sid)
		if deref(s.To) == m.To && deref(s.Body) == cut(m.Text, maxSMS) && p.mayBe(sid, m.ID) && after(s.DateCreated, since) {
			p.remember(sid, m.ID)
			return paging.Receipt{ID: sid}, true, nil
		}
	}
	return paging.Receipt{}, false, nil
}

// mayBe reports whether sid is free: no other page of this node has it.
func (p *Provider) mayBe(sid, page string) bool {
	owner := p.pageOf(sid)
	return sid != "" && (owner == "" || owner == page)
}

// after reports whether an RFC 2822 date is not before t. One that cannot be read counts: better one page too few than one too many here,
// because what stands in the list went to that number.
func after(date *string, t time.Time) bool {
	at, err := time.Parse(time.RFC1123Z, deref(date))
	return err != nil || !at.Before(t)
}
