package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tocsin"
	"tocsin/internal/store"
)

func twoOwners(t *testing.T, open Opener) {
	b := begin(t, open)
	old := b.claim("one")
	now := b.claim("two")
	equal(t, "epochs", []int64{old.Epoch, now.Epoch}, []int64{1, 2})

	zombie := func(tx *store.Tx) error {
		p := old
		p.NextOffset = 99
		err := tx.AddChanges(&p, []tocsin.Change{{At: at, Actor: "rule", Kind: tocsin.ChangeOpened, Incident: 1}})
		if err != nil {
			return err
		}
		err = tx.PutAlerts([]tocsin.Alert{alert(1)})
		if err != nil {
			return err
		}
		return tx.SavePart(p)
	}
	err := b.db.Update(t.Context(), store.Correlation, zombie)
	if !errors.Is(err, store.ErrFenced) {
		t.Errorf("the old owner's update = %v, want ErrFenced", err)
	}
	b.view(func(tx *store.Tx) error {
		p, err := tx.Part(0)
		if err != nil {
			return err
		}
		equal(t, "the part", p, now)
		changes, err := tx.Changes(0, 0, 10)
		equal(t, "changes", changes, []tocsin.Change(nil))
		_, missing := tx.Alert(1)
		if !gone(t, missing) {
			t.Error("the old owner's alert has stayed")
		}
		return err
	})
	now.NextOffset = 7
	b.update(func(tx *store.Tx) error { return tx.SavePart(now) })
}

func gaplessSeq(t *testing.T, open Opener) {
	b := begin(t, open)
	b.claim("one")
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				err := b.db.Update(context.Background(), store.Lane(w%3), func(tx *store.Tx) error {
					p, err := tx.Lock(0)
					if err != nil {
						return err
					}
					err = tx.AddChanges(&p, []tocsin.Change{{At: at, Kind: tocsin.DoNote}, {At: at, Kind: tocsin.ChangePaged}})
					if err != nil {
						return err
					}
					if i%5 == 4 {
						return errGiveUp
					}
					return tx.SavePart(p)
				})
				if err != nil && !errors.Is(err, errGiveUp) {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	b.view(func(tx *store.Tx) error {
		changes, err := tx.Changes(0, 0, 10_000)
		if len(changes) != writers*each*4/5*2 {
			t.Errorf("%d changes, want %d", len(changes), writers*each*4/5*2)
		}
		for i, c := range changes {
			if c.Seq != int64(i+1) {
				t.Fatalf("change %d has seq %d", i, c.Seq)
			}
		}
		p, _ := tx.Part(0)
		equal(t, "seq of the part", p.Seq, int64(len(changes)))
		return err
	})
}

var errGiveUp = errors.New("given up")

func allOrNothing(t *testing.T, open Opener) {
	b := begin(t, open)
	err := b.db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{incident(1)})
		if err != nil {
			return err
		}
		return errGiveUp
	})
	if !errors.Is(err, errGiveUp) {
		t.Errorf("update = %v, want the function's own error", err)
	}
	b.view(func(tx *store.Tx) error {
		if _, err := tx.Incident(1); !gone(t, err) {
			t.Error("the incident of a failed update is there")
		}
		return nil
	})
}

func panics(t *testing.T, open Opener) {
	b := begin(t, open)
	err := b.db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{incident(1)})
		if err != nil {
			return err
		}
		panic("on purpose")
	})
	if !errors.Is(err, store.ErrRefused) {
		t.Errorf("update that panics = %v, want ErrRefused: it would panic again", err)
	}
	b.view(func(tx *store.Tx) error {
		if _, err := tx.Incident(1); !gone(t, err) {
			t.Error("the incident of an update that panicked is there")
		}
		return nil
	})
	b.update(func(tx *store.Tx) error { return tx.PutIncidents([]tocsin.Incident{incident(1)}) })
}

// failsAlone runs updates at once, so that an engine that lets them share a commit does so; every third one fails.
func failsAlone(t *testing.T, open Opener) {
	b := begin(t, open)
	const n = 60
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := b.db.Update(context.Background(), store.Lane(i%3), func(tx *store.Tx) error {
				err := tx.PutIncidents([]tocsin.Incident{incident(int64(i + 1))})
				if err == nil && i%3 == 2 {
					err = errGiveUp
				}
				return err
			})
			if want := i%3 == 2; errors.Is(err, errGiveUp) != want {
				t.Errorf("update %d = %v", i, err)
			}
		})
	}
	wg.Wait()
	b.view(func(tx *store.Tx) error {
		for i := range n {
			_, err := tx.Incident(int64(i + 1))
			if gone(t, err) != (i%3 == 2) {
				t.Errorf("incident %d: %v", i+1, err)
			}
		}
		return nil
	})
}

// refusals runs updates at once, of which every third one breaks a rule of a table.
func refusals(t *testing.T, open Opener) {
	b := begin(t, open)
	note := func(tx *store.Tx, after int64) error { // as change after+1 of the history, which has one of each number
		return tx.AddChanges(&store.Part{Seq: after}, []tocsin.Change{{At: at, Kind: tocsin.DoNote}})
	}
	b.update(func(tx *store.Tx) error { return note(tx, 0) })
	const n = 60
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			after := int64(i + 1)
			if i%3 == 2 {
				after = 0
			}
			err := b.db.Update(context.Background(), store.Lane(i%3), func(tx *store.Tx) error {
				err := tx.PutIncidents([]tocsin.Incident{incident(int64(i + 1))})
				if err != nil {
					return err
				}
				return note(tx, after)
			})
			if refused := errors.Is(err, store.ErrRefused); refused != (i%3 == 2) || !refused && err != nil || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("update %d = %v, want ErrRefused: %t", i, err, i%3 == 2)
			}
		})
	}
	wg.Wait()
	b.view(func(tx *store.Tx) error {
		for i := range n {
			_, err := tx.Incident(int64(i + 1))
			if gone(t, err) != (i%3 == 2) {
				t.Errorf("incident %d: %v", i+1, err)
			}
		}
		return nil
	})
	for what, fail := range map[string]func(*store.Tx) error{
		"the function's own error": func(*store.Tx) error { return errGiveUp },
		"a fenced owner":           func(tx *store.Tx) error { return tx.SavePart(store.Part{Partition: 0, Epoch: 99}) },
		"a row that is missing":    func(tx *store.Tx) error { return tx.MoveAlerts([]store.AlertMove{{ID: 99}}) },
	} {
		err := b.db.Update(t.Context(), store.Correlation, fail)
		if err == nil || errors.Is(err, store.ErrRefused) {
			t.Errorf("%s = %v, want an error that is not ErrRefused", what, err)
		}
	}
}

func viewIsOneState(t *testing.T, open Opener) {
	b := begin(t, open)
	b.update(func(tx *store.Tx) error { return tx.PutIncidents([]tocsin.Incident{incident(1)}) })
	b.view(func(tx *store.Tx) error {
		before, err := tx.Incident(1)
		if err != nil {
			return err
		}
		b.update(func(tx *store.Tx) error {
			changed := incident(1)
			changed.State = tocsin.Acked
			return tx.PutIncidents([]tocsin.Incident{changed, incident(2)})
		})
		after, err := tx.Incident(1)
		equal(t, "the incident, read again", after, before)
		open, _ := tx.OpenIncidents(0)
		equal(t, "open incidents", open, []tocsin.Incident{before})
		return err
	})
	b.view(func(tx *store.Tx) error {
		i, err := tx.Incident(1)
		equal(t, "the state in a later view", i.State, tocsin.Acked)
		return err
	})
}

func reopens(t *testing.T, open Opener) {
	db := open(t)
	for i := range 50 {
		err := db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error {
			return tx.PutAlerts([]tocsin.Alert{alert(int64(i + 1))})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := db.Close()
	if err != nil {
		t.Fatalf("close: %v", err)
	}
	err = db.Update(t.Context(), store.Commands, func(*store.Tx) error { return nil })
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("update after Close = %v, want ErrClosed", err)
	}
	err = db.View(t.Context(), func(*store.Tx) error { return nil })
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("view after Close = %v, want ErrClosed", err)
	}
	b := begin(t, open)
	b.view(func(tx *store.Tx) error {
		for i := range 50 {
			got, err := tx.Alert(int64(i + 1))
			if err != nil {
				return err
			}
			equal(t, "alert", got, alert(int64(i+1)))
		}
		return nil
	})
}

func callerGone(t *testing.T, open Opener) {
	b := begin(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := b.db.Update(ctx, store.Commands, func(tx *store.Tx) error { return tx.SetMeta("x", "y") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("update = %v, want context.Canceled", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = b.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		err := tx.SetMeta("x", "y")
		if err != nil {
			return err
		}
		cancel()
		return tx.SetMeta("x", "z")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("update whose caller goes = %v, want context.Canceled", err)
	}
	b.view(func(tx *store.Tx) error {
		if v, err := tx.Meta("x"); !gone(t, err) {
			t.Errorf("meta = %q, want nothing", v)
		}
		return nil
	})
}

func announces(t *testing.T, open Opener) {
	b := begin(t, open)
	c := b.db.Committed()
	b.update(func(tx *store.Tx) error { return tx.SetMeta("x", "y") })
	<-c
	select {
	case <-b.db.Committed():
		t.Error("a channel taken after the commit is closed already")
	default:
	}
}

func metaOnce(t *testing.T, open Opener) {
	b := begin(t, open)
	var mu sync.Mutex
	keys := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			err := b.db.Update(context.Background(), store.Commands, func(tx *store.Tx) error {
				key, err := tx.MetaOnce(store.MetaSigningKey, fmt.Sprint("key ", i))
				mu.Lock()
				defer mu.Unlock()
				keys[key] = true
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(keys) != 1 {
		t.Errorf("signing keys = %v, want one", keys)
	}
	b.update(func(tx *store.Tx) error {
		err := tx.PutRules("hash", []byte("rules"))
		if err != nil {
			return err
		}
		err = tx.PutRules("hash", []byte("others"))
		if err != nil {
			return err
		}
		body, err := tx.Rules("hash")
		equal(t, "rules", string(body), "rules")
		has, _ := tx.HasRules("hash")
		hasNot, _ := tx.HasRules("other")
		equal(t, "has rules", []bool{has, hasNot}, []bool{true, false})
		return err
	})
}
