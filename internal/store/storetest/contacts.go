package storetest

import (
	"fmt"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

func contactsOff(t *testing.T, open Opener) {
	b := begin(t, open)
	first := store.ContactOff{Channel: "sms", Address: "+15005550001", Since: at, Why: "it answered STOP"}
	other := store.ContactOff{Channel: "sms", Address: "+15005550002", Since: at, Why: "the provider says so"}
	step := func(what string, do func(tx *store.Tx) (bool, error), did bool, version int64, want ...store.ContactOff) {
		t.Helper()
		b.update(func(tx *store.Tx) error {
			was, err := do(tx)
			equal(t, what+" did something", was, did)
			return err
		})
		b.view(func(tx *store.Tx) error {
			n, err := tx.ContactsVersion()
			if err != nil {
				return err
			}
			equal(t, "version after "+what, n, version)
			off, err := tx.ContactsOff()
			equal(t, "off after "+what, off, want)
			return err
		})
	}
	later := first
	later.Since, later.Why = at.Add(time.Hour), "again"
	step("the first STOP", func(tx *store.Tx) (bool, error) { return tx.TurnOff(first) }, true, 1, first)
	step("a second STOP", func(tx *store.Tx) (bool, error) { return tx.TurnOff(later) }, false, 1, first)
	step("a STOP of another", func(tx *store.Tx) (bool, error) { return tx.TurnOff(other) }, true, 2, first, other)
	step("START", func(tx *store.Tx) (bool, error) { return tx.TurnOn("sms", first.Address) }, true, 3, other)
	step("a second START", func(tx *store.Tx) (bool, error) { return tx.TurnOn("sms", first.Address) }, false, 3, other)
	step("START by another channel", func(tx *store.Tx) (bool, error) { return tx.TurnOn("voice", other.Address) }, false, 3, other)
}

func sharedMessage(t *testing.T, open Opener) {
	alone, lead, second, third := page("a"), page("b"), page("c"), page("d")
	lead.Message, second.Message, third.Message = "b", "b", "b"
	b := withPages(t, open, alone, lead, second, third)
	b.view(func(tx *store.Tx) error {
		shared, err := tx.PagesOf("b")
		equal(t, "pages of b's message", shared, []tocsin.Page{second, third})
		if err != nil {
			return err
		}
		shared, err = tx.PagesOf("")
		equal(t, "pages of no message", len(shared), 0)
		return err
	})
}

func noteText(t *testing.T, open Opener) {
	b := withPages(t, open, page("a"), page("b"), page("c"))
	claimed := b.take(at, 5)
	for i := range claimed {
		claimed[i].Body, claimed[i].Message = "CRIT db-main", "a"
	}
	stale := claimed[1]
	stale.Token--
	sent := claimed[2]
	sent.State, sent.SentAt, sent.Body, sent.Message = tocsin.PageSent, at, "as sent", ""
	b.update(func(tx *store.Tx) error {
		_, err := tx.SavePages([]tocsin.Page{sent})
		if err != nil {
			return err
		}
		lost, err := tx.NotePages([]tocsin.Page{claimed[0], stale, claimed[2]})
		equal(t, "lost", lost, []string{"b", "c"})
		return err
	})
	want := []tocsin.Page{claimed[0], claimed[1], sent}
	want[1].Body, want[1].Message = "", ""
	b.view(func(tx *store.Tx) error {
		for i, id := range []string{"a", "b", "c"} {
			p, err := tx.Page(id)
			if err != nil {
				return err
			}
			equal(t, "page "+id, p, want[i])
		}
		return nil
	})
}

func unconfirmed(t *testing.T, open Opener) {
	of := func(id, provider string, state tocsin.PageState, due, sent time.Time) tocsin.Page {
		p := page(id)
		p.Provider, p.State, p.DueAt, p.SentAt = provider, state, due, sent
		return p
	}
	b := withPages(t, open,
		of("a sent", "one", tocsin.PageSent, at, at), of("b delivered", "one", tocsin.PageDelivered, at, at), of("c by another", "two", tocsin.PageSent, at, at),
		of("d just now", "one", tocsin.PageSent, at, at.Add(time.Minute)), of("e of yesterday", "one", tocsin.PageSent, at.Add(-24*time.Hour), at.Add(-24*time.Hour)),
		of("f earlier", "one", tocsin.PageSent, at.Add(-time.Minute), at.Add(-time.Minute)), of("g due", "one", tocsin.PageDue, at, time.Time{}))
	b.view(func(tx *store.Tx) error {
		for _, ask := range []struct {
			providers []string
			limit     int
			want      []string
		}{
			{[]string{"one"}, 10, []string{"f earlier", "a sent"}},
			{[]string{"one"}, 1, []string{"f earlier"}},
			{[]string{"two", "one"}, 10, []string{"f earlier", "a sent", "c by another"}},
			{nil, 10, []string{}},
		} {
			got, err := tx.UnconfirmedPages(ask.providers, at.Add(-time.Hour), at.Add(time.Minute), ask.limit)
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("%d of %v", ask.limit, ask.providers), ids(got), ask.want)
		}
		return nil
	})
}

func pageParts(t *testing.T, open Opener) {
	var all []tocsin.Page
	for i := range 7 {
		p := page(fmt.Sprintf("p%d", i))
		p.DueAt = at.Add(time.Duration(i/3) * time.Second) // three at a time are due together
		all = append(all, p)
	}
	b := withPages(t, open, all...)
	var got []string
	f := store.PageFilter{Limit: 2}
	for range 5 {
		b.view(func(tx *store.Tx) error {
			part, err := tx.Pages(f)
			got = append(got, ids(part)...)
			if len(part) > 0 {
				last := part[len(part)-1]
				f.BeforeDue, f.BeforeID = last.DueAt, last.ID
			}
			return err
		})
	}
	equal(t, "all parts", got, []string{"p6", "p3", "p4", "p5", "p0", "p1", "p2"})
}

func claimMore(t *testing.T, open Opener) {
	of := func(id string, change func(p *tocsin.Page)) tocsin.Page {
		p := page(id)
		change(&p)
		return p
	}
	b := withPages(t, open,
		of("a due", func(p *tocsin.Page) {}), of("b soon", func(p *tocsin.Page) { p.DueAt = at.Add(time.Minute) }),
		of("c later", func(p *tocsin.Page) { p.DueAt = at.Add(time.Minute + time.Second) }), of("d major", func(p *tocsin.Page) { p.Lane = 0 }),
		of("e notice", func(p *tocsin.Page) { p.Kind, p.Lane = tocsin.KindNotice, 3 }), of("f mail", func(p *tocsin.Page) { p.Channel = "email" }),
		of("g of another", func(p *tocsin.Page) { p.Person = "two" }), of("h elsewhere", func(p *tocsin.Page) { p.Address = "+15005550009" }),
		of("i of what is over", func(p *tocsin.Page) { p.Incident = 9 }), of("j sent", func(p *tocsin.Page) { p.State = tocsin.PageSent }),
		of("k of long ago", func(p *tocsin.Page) { p.DueAt = at.Add(-25 * time.Hour) }), of("l due too", func(p *tocsin.Page) { p.DueAt = at.Add(-time.Hour) }))
	more := func(kind string, limit int) (got []tocsin.Page) {
		b.update(func(tx *store.Tx) (err error) {
			got, err = tx.ClaimMore(at, of("x", func(p *tocsin.Page) { p.Kind = kind }), at.Add(time.Minute), 10*time.Second, limit, 1)
			return err
		})
		return got
	}
	equal(t, "the first", ids(more(tocsin.KindPage, 1)), []string{"l due too"})
	rest := more(tocsin.KindPage, 10)
	equal(t, "the others", ids(rest), []string{"a due", "b soon"})
	want := page("a due")
	want.State, want.Attempts, want.Token, want.ClaimedTo = tocsin.PageClaimed, 1, 1, at.Add(10*time.Second)
	equal(t, "as claimed", rest[0], want)
	equal(t, "once more", ids(more(tocsin.KindPage, 10)), []string{})
	equal(t, "notices", ids(more(tocsin.KindNotice, 10)), []string{"e notice"})
}
