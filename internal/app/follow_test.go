package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
)

// A firstFails is a store whose first View fails. looks has one for each that begins.
type firstFails struct {
	store.DB
	once  sync.Once
	looks chan struct{}
}

func (f *firstFails) View(ctx context.Context, fn func(*store.Tx) error) (err error) {
	f.looks <- struct{}{}
	f.once.Do(func() { err = errors.New("not now") })
	if err != nil {
		return err
	}
	return f.DB.View(ctx, fn)
}

func TestHistoryOfBeforeTheStartIsNoNewsWhenTheFirstLookFailed(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "tocsin.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := func() {
		err := db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
			part, err := tx.Claim(0, "another node")
			if err != nil {
				return err
			}
			err = tx.AddChanges(&part, []tocsin.Change{{Kind: tocsin.ChangeOpened, Incident: 1}})
			if err != nil {
				return err
			}
			return tx.SavePart(part)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change()
	slow := &firstFails{DB: db, looks: make(chan struct{})}
	seen := &moved{DB: slow}
	a := &App{db: slow, changes: seen, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	news := seen.Committed()
	var follows sync.WaitGroup
	follows.Go(func() { _ = a.follow(ctx) })
	for range 4 {
		<-slow.looks // by then the second look has ended, which found out where things stand, had it read any history, too
	}
	select {
	case <-news:
		t.Error("what was there before the start was told as news")
	default:
	}
	change()
	for told := false; !told; {
		select {
		case <-news:
			told = true
		case <-slow.looks:
		}
	}
	cancel()
	go func() {
		for range slow.looks { // until nobody looks any more
		}
	}()
	follows.Wait()
	close(slow.looks)
}
