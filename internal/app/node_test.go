package app

import (
	"slices"
	"testing"
	"time"

	"tocsin/internal/store"
)

func TestNodesOfLongAgoAreForgottenAtAStart(t *testing.T) {
	r := newStory(t)
	now := time.Now()
	err := r.a.db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
		for id, ago := range map[int64]time.Duration{1: forgetAfter + time.Minute, 2: forgetAfter - time.Minute} {
			at := now.Add(-ago)
			err := tx.PutNode(store.Node{ID: id, Name: "one", Address: "127.0.0.1:1", StartedAt: at, SeenAt: at, Detail: []byte("{}")})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	before := r.a.node.id
	r.restart()
	var got []int64
	err = r.a.db.View(t.Context(), func(tx *store.Tx) error {
		nodes, err := tx.Nodes()
		for _, n := range nodes {
			got = append(got, n.ID)
		}
		return err
	})
	want := []int64{2, before, r.a.node.id}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("after a start the nodes are %v, %v, want %v: this one, the one before, and who was seen within a day", got, err, want)
	}
}
