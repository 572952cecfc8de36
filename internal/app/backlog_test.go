package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"tocsin/internal/store"
)

// K15: it is said before records are lost, once each time, also while the state does not answer and nobody works on a partition.
func TestAnAlarmIsRaisedWhenABacklogHasUsedHalfOfTheRetention(t *testing.T) {
	var said []string
	var down error
	deaf := false
	spent := map[int]float64{}
	b := &backlog{
		parts: func(context.Context) ([]store.Part, error) {
			return []store.Part{{Partition: 0, NextOffset: 7}, {Partition: 1, NextOffset: 9}}, down
		},
		spent: func(_ context.Context, partition int, next int64) (float64, error) {
			if deaf {
				return 0, errors.New("no broker answers")
			}
			if want := int64(7 + 2*partition); next != want {
				t.Errorf("partition %d is looked at from offset %d on, want %d", partition, next, want)
			}
			return spent[partition], nil
		},
		say:  func(partition int, spent float64) { said = append(said, fmt.Sprintf("%d at %v", partition, spent)) },
		told: map[int]bool{},
	}
	for _, step := range []struct {
		what  string
		now   map[int]float64
		down  error
		deaf  bool
		said  []string
		worst float64
	}{
		{"all is applied", map[int]float64{}, nil, false, nil, 0},
		{"a little waits", map[int]float64{0: 0.49, 1: 0.1}, nil, false, nil, 0.49},
		{"half is used up while the state is away", map[int]float64{0: 0.5, 1: 0.2}, errors.New("away"), false, []string{"0 at 0.5"}, 0.5},
		{"more, which is not said again", map[int]float64{0: 0.6, 1: 0.2}, nil, false, nil, 0.6},
		{"the journal does not answer", nil, nil, true, nil, 0.6},
		{"another partition too", map[int]float64{0: 0.6, 1: 0.9}, nil, false, []string{"1 at 0.9"}, 0.9},
		{"it is caught up with", map[int]float64{}, nil, false, nil, 0},
		{"and left behind again", map[int]float64{0: 0.7}, nil, false, []string{"0 at 0.7"}, 0.7},
	} {
		said, down, deaf, spent = nil, step.down, step.deaf, step.now
		b.look(t.Context())
		if worst := math.Float64frombits(b.worst.Load()); worst != step.worst || !slices.Equal(said, step.said) {
			t.Errorf("%s: said %v, worst %v; want %v, %v", step.what, said, worst, step.said, step.worst)
		}
	}
}
