package storetest

import (
	"testing"
	"time"

	"tocsin/internal/store"
)

// letter is a dead letter that was set aside so many seconds after at.
func letter(partition int, offset int64, second int) store.DeadLetter {
	return store.DeadLetter{
		Partition: partition, Offset: offset, At: at.Add(time.Duration(second) * time.Second), Reason: `it has "version" 9`, Payload: []byte{0, 1, 0xff}, Tries: 3,
	}
}

func deadLetters(t *testing.T, open Opener) {
	b := begin(t, open)
	first, second, elsewhere := letter(0, 5, 2), letter(0, 7, 1), letter(3, 5, 3)
	empty := letter(1, 1, 0)
	empty.Payload = []byte{}
	list := func(what string, limit int, want ...store.DeadLetter) {
		t.Helper()
		b.view(func(tx *store.Tx) error {
			got, err := tx.DeadLetters(limit)
			for i := range got {
				if len(got[i].Payload) == 0 {
					got[i].Payload = []byte{} // an engine may say nil
				}
			}
			equal(t, what, got, want)
			return err
		})
	}
	b.view(func(tx *store.Tx) error {
		none, err := tx.DeadLetters(10)
		equal(t, "letters of a new state", len(none), 0)
		return err
	})
	b.update(func(tx *store.Tx) error {
		for _, d := range []store.DeadLetter{first, second, elsewhere, empty} {
			if err := tx.BuryDead(d); err != nil {
				return err
			}
		}
		return nil
	})
	list("all, newest last", 10, empty, second, first, elsewhere)
	list("the newest two", 2, first, elsewhere)
	second.At, second.Reason, second.Tries = at.Add(time.Minute), "still not", 4
	b.update(func(tx *store.Tx) error { return tx.BuryDead(second) })
	list("buried again", 10, empty, first, elsewhere, second)
	b.update(func(tx *store.Tx) error {
		was, err := tx.SettleDead(0, 5)
		equal(t, "settled", was, true)
		if err != nil {
			return err
		}
		was, err = tx.SettleDead(0, 5)
		equal(t, "settled twice", was, false)
		return err
	})
	list("what is left", 10, empty, elsewhere, second)
	b.update(func(tx *store.Tx) error { return tx.BuryDead(first) })
	list("buried after it was settled", 10, empty, first, elsewhere, second)
}

func deadLettersBounded(t *testing.T, open Opener) {
	b := begin(t, open)
	b.update(func(tx *store.Tx) error {
		for n := range 1003 {
			if err := tx.BuryDead(letter(0, int64(n), n)); err != nil {
				return err
			}
		}
		return nil
	})
	b.view(func(tx *store.Tx) error {
		got, err := tx.DeadLetters(2000)
		if err != nil {
			return err
		}
		equal(t, "kept", len(got), 1000)
		equal(t, "the oldest", got[0], letter(0, 3, 3))
		equal(t, "the newest", got[999], letter(0, 1002, 1002))
		return nil
	})
}

func pagesInHand(t *testing.T, open Opener) {
	b := withPages(t, open, page("a"), page("b"), page("c"), page("d"))
	b.update(func(tx *store.Tx) error {
		tx.Hold(7)
		_, err := tx.ClaimPages(at, time.Minute, map[string]int{"sms": 1}, 1)
		return err
	})
	b.update(func(tx *store.Tx) error {
		tx.Hold(9)
		_, err := tx.ClaimPages(at, time.Minute, map[string]int{"sms": 2}, 1)
		return err
	})
	b.view(func(tx *store.Tx) error {
		held, err := tx.PagesInHand(at)
		equal(t, "in hand", held, map[int64]int{7: 1, 9: 2})
		if err != nil {
			return err
		}
		held, err = tx.PagesInHand(at.Add(2 * time.Minute))
		equal(t, "in hand after the claims have lapsed", held, map[int64]int{})
		return err
	})
}
