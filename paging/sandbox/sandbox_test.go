package sandbox_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/sandbox"
)

type box struct {
	kept   []sandbox.Entry
	broken error
}

func (b *box) Keep(_ context.Context, e sandbox.Entry) error {
	b.kept = append(b.kept, e)
	return b.broken
}

func TestAMessageIsKeptWithAllThatAPersonWouldSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{}
		s, err := sandbox.New(b)
		if err != nil {
			t.Fatal(err)
		}
		m := paging.Message{ID: "p-1", Channel: paging.SMS, To: "+491", Person: tocsin.Person{Name: "one"}, Text: "t", Link: "l", Subject: "s", CanAnswer: true}
		got, err := s.Send(t.Context(), m)
		if err != nil || got.ID != "sandbox-p-1" {
			t.Errorf("send = %v %v", got, err)
		}
		want := []sandbox.Entry{{Page: "p-1", Channel: paging.SMS, Person: "one", To: "+491", Subject: "s", Text: "t", Link: "l", CanAnswer: true, At: time.Now().UTC()}}
		if diff := gocmp.Diff(want, b.kept); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
	})
}

func TestAMessageThatCannotBeKeptWasNotSent(t *testing.T) {
	s, err := sandbox.New(&box{broken: errors.New("disk full")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Send(t.Context(), paging.Message{ID: "p-1"}); err == nil || errors.Is(err, paging.ErrUnknown) {
		t.Errorf("send = %v, want a plain error", err)
	}
	if _, err = sandbox.New(nil); err == nil {
		t.Error("New(nil) = nil, want an error")
	}
}
