package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// ids returns the ids of pages, in their order.
func ids(pages []tocsin.Page) []string {
	out := []string{}
	for _, p := range pages {
		out = append(out, p.ID)
	}
	return out
}

// withPages puts an open incident and its pages.
func withPages(t *testing.T, open Opener, pages ...tocsin.Page) bench {
	t.Helper()
	b := begin(t, open)
	b.update(func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{incident(1)})
		if err != nil {
			return err
		}
		return tx.InsertPages(pages)
	})
	return b
}

// take claims up to n pages of every channel.
func (b bench) take(now time.Time, n int) (pages []tocsin.Page) {
	b.Helper()
	b.update(func(tx *store.Tx) (err error) {
		pages, err = tx.ClaimPages(now, 10*time.Second, map[string]int{"sms": n, "voice": n, "email": n}, 1)
		return err
	})
	return pages
}

func claimOnce(t *testing.T, open Opener) {
	const n = 200
	var due []tocsin.Page
	for i := range n {
		due = append(due, page(tocsin.AlertID(int64(i))))
	}
	b := withPages(t, open, due...)
	var mu sync.Mutex
	claims := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				var got []tocsin.Page
				err := b.db.Update(context.Background(), store.Paging, func(tx *store.Tx) (err error) {
					got, err = tx.ClaimPages(at, time.Minute, map[string]int{"sms": 7}, 1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, p := range got {
					claims[p.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(claims) != n {
		t.Errorf("%d pages claimed, want %d", len(claims), n)
	}
	for id, times := range claims {
		if times != 1 {
			t.Errorf("page %s claimed %d times", id, times)
		}
	}
}

func claimNeeds(t *testing.T, open Opener) {
	b := begin(t, open)
	acked, joined := incident(2), incident(3)
	acked.State, joined.Major = tocsin.Acked, 2
	proposed, confirmed := tocsin.Major{ID: 1, State: tocsin.Proposed}, tocsin.Major{ID: 2, State: tocsin.Confirmed}
	of := func(id, kind string, incident, major int64, expires time.Time) tocsin.Page {
		p := page(id)
		p.Kind, p.Incident, p.Major, p.Expires = kind, incident, major, expires
		return p
	}
	never := time.Time{}
	b.update(func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{incident(1), acked, joined})
		if err != nil {
			return err
		}
		err = tx.PutMajors([]tocsin.Major{proposed, confirmed})
		if err != nil {
			return err
		}
		return tx.InsertPages([]tocsin.Page{
			of("a triggered", tocsin.KindPage, 1, 0, never),
			of("b acknowledged", tocsin.KindPage, 2, 0, never),
			of("c in a major", tocsin.KindPage, 3, 0, never),
			of("d of nothing", tocsin.KindPage, 9, 0, never),
			of("e proposed", tocsin.KindCandidate, 0, 1, never),
			of("f decided", tocsin.KindCandidate, 0, 2, never),
			of("g confirmed", tocsin.KindMajor, 0, 2, never),
			of("h not confirmed", tocsin.KindMajor, 0, 1, never),
			of("i notice of a decided one", tocsin.KindNotice, 2, 0, never),
			of("j expired", tocsin.KindPage, 1, 0, at.Add(-time.Second)),
			of("k not expired", tocsin.KindPage, 1, 0, at.Add(time.Second)),
		})
	})
	// Three at a time: those that nobody needs must not use up the limit.
	got := append(b.take(at, 3), b.take(at, 3)...)
	equal(t, "claimed", ids(got), []string{"a triggered", "e proposed", "g confirmed", "i notice of a decided one", "k not expired"})
	b.view(func(tx *store.Tx) error {
		cancelled, err := tx.Pages(store.PageFilter{States: []tocsin.PageState{tocsin.PageCancelled}})
		equal(t, "cancelled", ids(cancelled), []string{"b acknowledged", "c in a major", "d of nothing", "f decided", "h not confirmed", "j expired"})
		for _, p := range cancelled {
			if p.Error == "" || !p.EndedAt.Equal(at) {
				t.Errorf("page %s was cancelled at %s because %q", p.ID, p.EndedAt, p.Error)
			}
		}
		return err
	})
}

func claimKeptBack(t *testing.T, open Opener) {
	b := withPages(t, open, page("p1"))
	put := func(change func(*tocsin.Incident)) {
		i := incident(1)
		change(&i)
		b.update(func(tx *store.Tx) error { return tx.PutIncidents([]tocsin.Incident{i}) })
	}
	put(func(i *tocsin.Incident) {
		i.State, i.ResolvedBy, i.ResolvedAt = tocsin.Settled, tocsin.ByItself, at.Add(time.Minute)
	})
	equal(t, "claimed while it has recovered", ids(b.take(at.Add(time.Minute), 10)), []string{})
	put(func(*tocsin.Incident) {})
	equal(t, "claimed when it came back", ids(b.take(at.Add(time.Minute+5*time.Second), 10)), []string{"p1"})
}

func claimLapses(t *testing.T, open Opener) {
	later := page("later")
	later.DueAt = at.Add(time.Hour)
	b := withPages(t, open, page("one"), later)
	first := b.take(at, 5)
	want := page("one")
	want.State, want.Attempts, want.Token, want.ClaimedTo = tocsin.PageClaimed, 1, 1, at.Add(10*time.Second)
	equal(t, "claimed", first, []tocsin.Page{want})
	equal(t, "claimed again before the claim lapses", len(b.take(at.Add(10*time.Second), 5)), 0)
	second := b.take(at.Add(11*time.Second), 5)
	want.State, want.Token, want.ClaimedTo = tocsin.PageUnknown, 2, at.Add(21*time.Second)
	equal(t, "claimed after the claim lapsed", second, []tocsin.Page{want})

	late := first[0]
	late.State, late.SentAt = tocsin.PageSent, at
	b.update(func(tx *store.Tx) error {
		fates, err := tx.SavePages([]tocsin.Page{late})
		equal(t, "what the first claimer's save came to", fates, []store.PageSave{store.PageLost})
		next, _ := tx.NextPageDue()
		equal(t, "next due", next, want.ClaimedTo)
		return err
	})
}

func claimOrder(t *testing.T, open Opener) {
	of := func(id string, lane int, channel string, due time.Time) tocsin.Page {
		p := page(id)
		p.Lane, p.Channel, p.DueAt = lane, channel, due
		return p
	}
	b := withPages(t, open,
		of("low, early", 2, "sms", at.Add(-time.Hour)), of("high, late", 1, "sms", at), of("high, early", 1, "sms", at.Add(-time.Minute)),
		of("major", 0, "sms", at), of("mail", 1, "email", at), of("not yet", 0, "sms", at.Add(time.Second)))
	b.view(func(tx *store.Tx) error {
		next, err := tx.NextPageDue()
		equal(t, "next due", next, at.Add(-time.Hour))
		return err
	})
	var got []tocsin.Page
	b.update(func(tx *store.Tx) (err error) {
		got, err = tx.ClaimPages(at, time.Second, map[string]int{"sms": 3, "voice": 1}, 9)
		return err
	})
	equal(t, "claimed", ids(got), []string{"major", "high, early", "high, late"})
	equal(t, "token", got[0].Token, int64(9))
}

func savePages(t *testing.T, open Opener) {
	b := withPages(t, open, page("one"))
	p := b.take(at, 1)[0]
	save := func(p tocsin.Page) (fate store.PageSave) {
		t.Helper()
		b.update(func(tx *store.Tx) error {
			fates, err := tx.SavePages([]tocsin.Page{p})
			fate = fates[0]
			return err
		})
		return fate
	}
	stored := func() (p tocsin.Page) {
		t.Helper()
		b.view(func(tx *store.Tx) (err error) {
			p, err = tx.Page("one")
			return err
		})
		return p
	}
	p.State, p.Provider, p.ProviderID, p.SentAt, p.Tried = tocsin.PageSent, "twilio", "SM1", at.Add(time.Second), []string{"twilio"}
	equal(t, "save of a sent page", save(p), store.PageSaved)
	equal(t, "stored", stored(), p)
	b.view(func(tx *store.Tx) error {
		found, err := tx.PageByProviderID("twilio", "SM1")
		equal(t, "by the provider's id", found, p)
		_, other := tx.PageByProviderID("other", "SM1")
		if !gone(t, other) {
			t.Error("another provider's id finds it")
		}
		woken, _ := tx.WokenFor(1, 0)
		equal(t, "woken", woken, []string{"one"})
		return err
	})
	p.State, p.EndedAt = tocsin.PageDelivered, at.Add(2*time.Second)
	equal(t, "save of a delivered page", save(p), store.PageSaved)
	late := p
	late.State = tocsin.PageSent
	equal(t, "save of a report that came late", save(late), store.PageEnded)
	equal(t, "stored", stored(), p)
	p.State, p.EndedAt = tocsin.PageAnswered, at.Add(3*time.Second)
	equal(t, "save of an answer", save(p), store.PageSaved)
	equal(t, "stored", stored(), p)
	p.Token++
	equal(t, "save with another token", save(p), store.PageLost)
}

func cancelPages(t *testing.T, open Opener) {
	of := func(id, kind, channel string, state tocsin.PageState, providerID string) tocsin.Page {
		p := page(id)
		p.Kind, p.Channel, p.State, p.ProviderID, p.Provider = kind, channel, state, providerID, "twilio"
		return p
	}
	elsewhere := page("elsewhere")
	elsewhere.Incident = 2
	b := withPages(t, open,
		of("call", tocsin.KindPage, "voice", tocsin.PageSent, "CA1"), of("call answered", tocsin.KindPage, "voice", tocsin.PageDelivered, "CA2"),
		of("claimed", tocsin.KindPage, "sms", tocsin.PageClaimed, ""), of("due", tocsin.KindPage, "voice", tocsin.PageDue, ""),
		of("notice", tocsin.KindNotice, "sms", tocsin.PageDue, ""), of("sms", tocsin.KindPage, "sms", tocsin.PageSent, "SM1"), elsewhere)
	b.update(func(tx *store.Tx) error {
		ended, err := tx.CancelPages(1, 0, "one has it", at)
		equal(t, "ended", ids(ended), []string{"call", "claimed", "due"})
		return err
	})
	got := map[string]tocsin.PageState{}
	b.view(func(tx *store.Tx) error {
		pages, err := tx.Pages(store.PageFilter{})
		for _, p := range pages {
			got[p.ID] = p.State
		}
		return err
	})
	equal(t, "states", got, map[string]tocsin.PageState{
		"call": tocsin.PageCancelled, "call answered": tocsin.PageDelivered, "claimed": tocsin.PageCancelled, "due": tocsin.PageCancelled,
		"notice": tocsin.PageDue, "sms": tocsin.PageSent, "elsewhere": tocsin.PageDue,
	})
	sent := of("claimed", tocsin.KindPage, "sms", tocsin.PageSent, "SM2")
	sent.SentAt = at
	b.update(func(tx *store.Tx) error {
		fates, err := tx.SavePages([]tocsin.Page{sent})
		equal(t, "the save of a send that the cancellation overtook", fates, []store.PageSave{store.PageEnded})
		p, _ := tx.Page("claimed")
		equal(t, "it stays cancelled, and is known to be sent", []any{p.State, p.ProviderID, p.SentAt}, []any{tocsin.PageCancelled, "SM2", at})
		return err
	})
}

func timersOnce(t *testing.T, open Opener) {
	b := begin(t, open)
	timers := []store.Timer{
		{Kind: store.TimerStep, Incident: 1, DueAt: at, Round: 1, Step: 2, Data: "x"},
		{Kind: store.TimerAckOut, Incident: 1, DueAt: at.Add(time.Hour)},
		{Kind: store.TimerDecide, Major: 1, DueAt: at.Add(-time.Second), Partition: 3},
		{Kind: store.TimerStep, Incident: 2, DueAt: at},
	}
	b.update(func(tx *store.Tx) error { return tx.AddTimers(timers) })
	b.view(func(tx *store.Tx) error {
		due, err := tx.DueTimers(at, 10)
		equal(t, "due", len(due), 3)
		equal(t, "the longest due", due[0], timers[2])
		of, _ := tx.Timers(1, 0)
		equal(t, "of the incident", of, timers[:2])
		next, _ := tx.NextTimerDue()
		equal(t, "next", next, at.Add(-time.Second))
		due, _ = tx.DueTimers(at, 10, 3, 7)
		equal(t, "due but for two partitions", len(due), 2)
		next, _ = tx.NextTimerDue(3)
		equal(t, "next but for a partition", next, at)
		next, _ = tx.NextTimerDue(0, 3)
		equal(t, "next of none", next, time.Time{})
		return err
	})
	var mu sync.Mutex
	fired := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var was bool
			err := b.db.Update(context.Background(), store.Paging, func(tx *store.Tx) (err error) {
				was, err = tx.DeleteTimer(timers[0].ID)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if was {
				mu.Lock()
				defer mu.Unlock()
				fired++
			}
		})
	}
	wg.Wait()
	equal(t, "times fired", fired, 1)
	b.update(func(tx *store.Tx) error {
		err := tx.CancelTimers(1, 0, store.TimerStep)
		if err != nil {
			return err
		}
		left, _ := tx.Timers(1, 0)
		equal(t, "left after another kind was cancelled", left, timers[1:2])
		err = tx.CancelTimers(1, 0)
		left, _ = tx.Timers(1, 0)
		equal(t, "left", len(left), 0)
		return err
	})
}
