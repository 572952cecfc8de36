package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/paging"
)

// Compose writes the text of a page from what is true now.
func (b *pagebook) Compose(ctx context.Context, p tocsin.Page) (m paging.Message, err error) {
	s := b.setup.Load()
	err = b.db.View(ctx, func(tx *store.Tx) error {
		err := b.ours(tx, p)
		if err == nil {
			m, err = b.compose(tx, s, p)
		}
		return err
	})
	if err != nil || !noted(p, m) {
		return m, err
	}
	p.Body, p.Message = m.Kept(), ""
	err = b.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		lost, err := tx.NotePages([]tocsin.Page{p})
		if err == nil && len(lost) > 0 {
			err = paging.ErrStale
		}
		return err
	})
	return m, err
}

// ours finds out whether this node's claim on p still stands: another may have taken it over while this one slept, or could not
// reach the database.
func (b *pagebook) ours(tx *store.Tx, p tocsin.Page) error {
	if b.alone {
		return nil
	}
	row, err := tx.Page(p.ID)
	if errors.Is(err, store.ErrNotFound) { // the state fell back to before the page was decided on
		return paging.ErrStale
	}
	if err == nil && (row.Token != p.Token || row.State != tocsin.PageClaimed && row.State != tocsin.PageUnknown) {
		err = paging.ErrStale
	}
	return err
}

// noted reports whether the row of p must be told what m says before it is sent: mostly it says so from the beginning. A notice's text
// never changes.
func noted(p tocsin.Page, m paging.Message) bool {
	return p.State != tocsin.PageUnknown && (p.Message != "" || m.Kept() != p.Body && p.Kind != tocsin.KindNotice)
}

// compose writes the text of one page; what may have gone out already keeps its text.
func (b *pagebook) compose(tx *store.Tx, s *setup, p tocsin.Page) (m paging.Message, err error) {
	m = paging.Message{ID: p.ID, Kind: p.Kind, Channel: p.Channel, To: p.Address, Person: s.plan.People[p.Person], Expires: p.Expires}
	switch {
	case p.Kind == tocsin.KindNotice:
		m.Text, m.Priority = p.Text, 5
		if p.Incident != 0 || p.Major != 0 {
			m.Subject = paging.NoticeSubject
		}
	case p.Major != 0:
		err = b.composeMajor(tx, s, p, &m)
	default:
		err = b.composeIncident(tx, s, p, &m)
	}
	if p.Body != "" && (p.State == tocsin.PageUnknown || !p.SentAt.IsZero()) {
		m.Text = p.Body
	}
	return m, err
}

// Fold writes one message for several pages, and notes it in their rows.
func (b *pagebook) Fold(ctx context.Context, pages []tocsin.Page) (m paging.Message, gone map[string]error, err error) {
	s := b.setup.Load()
	err = b.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		gone = map[string]error{}
		for {
			kept, text, err := b.fold(tx, s, pages, gone)
			if err != nil || len(kept) == 0 {
				m = paging.Message{}
				return err
			}
			m = text
			for i := range kept {
				kept[i].Body, kept[i].Message = m.Kept(), ""
				if len(kept) > 1 {
					kept[i].Message = m.ID
				}
			}
			lost, err := tx.NotePages(kept)
			if err != nil || len(lost) == 0 {
				return err
			}
			for _, id := range lost {
				gone[id] = paging.ErrStale
			}
		}
	})
	return m, gone, err
}

// fold writes one message about those of pages that somebody still needs and that are not gone, and says which.
func (b *pagebook) fold(tx *store.Tx, s *setup, pages []tocsin.Page, gone map[string]error) (kept []tocsin.Page, m paging.Message, err error) {
	var views []paging.IncidentView
	var notices []string
	now := b.clock.Now()
	for _, p := range pages {
		if gone[p.ID] != nil {
			continue
		}
		if p.Kind == tocsin.KindNotice {
			notices = append(notices, p.Text)
			kept = append(kept, p)
			continue
		}
		i, err := b.wanted(tx, p, now)
		if errors.Is(err, paging.ErrStale) || errors.Is(err, paging.ErrNotYet) {
			gone[p.ID] = err
			continue
		}
		if err != nil {
			return nil, m, err
		}
		v := s.view(i, p.Channel, now)
		if p.Channel == paging.Email {
			v.Link = s.signed(b.secret, p) // each is answered by its own
		}
		views = append(views, v)
		kept = append(kept, p)
	}
	switch len(kept) {
	case 0:
		return nil, m, nil
	case 1:
		m, err = b.compose(tx, s, kept[0])
		return kept, m, err
	}
	first := kept[0]
	m = paging.Message{ID: first.ID, Kind: first.Kind, Channel: first.Channel, To: first.Address, Person: s.plan.People[first.Person], Priority: 5}
	for _, p := range kept {
		if p.Expires.IsZero() || p.Expires.After(m.Expires) && !m.Expires.IsZero() || p.ID == first.ID {
			m.Expires = p.Expires
		}
	}
	written := paging.FoldNotices(first.Channel, notices, s.public+"/")
	if len(views) > 0 {
		m.CanAnswer = s.canReply[first.Channel]
		for _, v := range views {
			m.Priority = min(m.Priority, cmp.Or(v.Priority, 5))
		}
		written = paging.FoldText(first.Channel, paging.FoldView{Items: views, Link: s.public + "/", CanReply: m.CanAnswer && first.Channel != paging.Email}, m.Person)
	}
	m.Subject, m.Text = written.Subject, written.Text
	if first.Body != "" && !first.SentAt.IsZero() && len(kept) == len(pages) {
		m.Text = first.Body // it may have gone out: said again, not anew
	}
	return kept, m, nil
}

// wanted returns the incident that p is about, while it wants to be told of.
func (b *pagebook) wanted(tx *store.Tx, p tocsin.Page, now time.Time) (tocsin.Incident, error) {
	i, err := tx.Incident(p.Incident)
	if errors.Is(err, store.ErrNotFound) {
		return i, paging.ErrStale
	}
	if err != nil {
		return i, err
	}
	if i.State == tocsin.Settled && i.ResolvedBy == tocsin.ByItself && now.Sub(i.ResolvedAt) < store.RecoveryLasts {
		return i, paging.ErrNotYet
	}
	if i.State != tocsin.Triggered || i.Major != 0 {
		return i, paging.ErrStale
	}
	return i, nil
}

// ClaimMore takes what else is due to the person whom of is for.
func (b *pagebook) ClaimMore(ctx context.Context, of tocsin.Page, until time.Time, lease time.Duration, limit int) (pages []tocsin.Page, err error) {
	err = b.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		tx.Hold(b.node)
		pages, err = tx.ClaimMore(b.clock.Now(), of, until, lease, limit, 1)
		return err
	})
	uncounted(pages)
	return pages, err
}

// receiptsFor is how long after a page fell due its provider is still asked what became of it.
const receiptsFor = 30 * time.Minute

// Unconfirmed returns what providers took and have not said the fate of.
func (b *pagebook) Unconfirmed(ctx context.Context, providers []string, before time.Time, limit int) (pages []tocsin.Page, err error) {
	err = b.db.View(ctx, func(tx *store.Tx) error {
		now := b.clock.Now()
		pages, err = tx.UnconfirmedPages(providers, now.Add(-receiptsFor), before, limit)
		return err
	})
	return pages, err
}

// write gives the SMS that this turn owes now the text that they will be sent with, so that their rows know it before any provider does.
func (t *turn) write() error {
	for k := range t.pages {
		p := &t.pages[k]
		if p.Channel != paging.SMS || p.Kind == tocsin.KindNotice || p.DueAt.After(t.now) {
			continue
		}
		if p.Major != 0 {
			x, err := t.tx.Major(p.Major)
			if err != nil {
				return err
			}
			p.Body = paging.MajorText(p.Channel, p.Kind, t.setup.majorView(x, p.Channel, t.now), t.plan.People[p.Person]).Text
			continue
		}
		i, ok := t.known[p.Incident]
		if !ok {
			var err error
			i, err = t.tx.Incident(p.Incident)
			if err != nil {
				return err
			}
		}
		v := t.setup.view(i, p.Channel, t.now)
		v.Unanswered = p.Step == paging.NagStep
		p.Body = paging.IncidentText(p.Channel, v, t.plan.People[p.Person]).Text
	}
	return nil
}

// hold keeps, of pages that were ended, the calls that a carrier may still hold, to be cancelled after the commit: all but those that
// tell of something else too, which somebody still needs.
func (t *turn) hold(ended []tocsin.Page) error {
	for _, p := range ended {
		if p.Channel != paging.Voice || p.ProviderID == "" {
			continue
		}
		if p.Message != "" {
			others, err := t.tx.PagesOf(p.Message)
			if err != nil {
				return err
			}
			first, err := t.tx.Page(p.Message)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(append(others, first), func(q tocsin.Page) bool { return q.State == tocsin.PageSent }) {
				continue
			}
		}
		t.held = append(t.held, p)
	}
	return nil
}

// A joiner is an incident that has become part of a major in this turn.
type joiner struct {
	incident tocsin.Incident
	major    tocsin.Major
}

func (t *turn) joins(i tocsin.Incident, m tocsin.Major) {
	t.joined = append(t.joined, joiner{i, m})
}

// tellJoined tells those who were woken for incidents that belong to a major now, in one line, once a major: not those whom the major
// itself pages in this turn, nor whoever confirmed it.
func (t *turn) tellJoined() error {
	type key struct {
		person string
		major  int64
	}
	first := map[key]joiner{}
	others := map[key]int{}
	var order []key
	for _, x := range t.joined {
		woken, err := t.tx.WokenFor(x.incident.ID, 0)
		if err != nil {
			return err
		}
		for _, name := range woken {
			k := key{name, x.major.ID}
			if _, has := first[k]; has {
				others[k]++
				continue
			}
			first[k] = x
			order = append(order, k)
		}
	}
	for _, k := range order {
		x := first[k]
		paged := slices.ContainsFunc(t.pages, func(p tocsin.Page) bool {
			return p.Kind != tocsin.KindNotice && p.Major == k.major && p.Person == k.person
		})
		if !paged && k.person != x.major.DecidedBy {
			t.notify([]string{k.person}, about{incident: x.incident.ID}, paging.MovedText(t.view(x.incident), others[k], t.setup.majorView(x.major, paging.SMS, t.now)))
		}
	}
	return nil
}

// folded are the pages that share p's message, p among them, by code.
func folded(tx *store.Tx, p tocsin.Page) ([]tocsin.Page, error) {
	first, err := tx.Page(p.Message)
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", p.Message, err)
	}
	others, err := tx.PagesOf(p.Message)
	return append([]tocsin.Page{first}, others...), err
}
