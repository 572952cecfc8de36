package app

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"tocsin/internal/store"
)

const (
	backlogEvery = 30 * time.Second
	backlogAlarm = 0.5 // of the retention: from here on it is said
)

// A backlog knows how much of the journal's retention has been used up by records that wait to be applied: what is removed before
// it is applied is lost. All nodes look at all partitions, for there may be none that works on one.
type backlog struct {
	parts func(ctx context.Context) ([]store.Part, error)
	spent func(ctx context.Context, partition int, next int64) (float64, error)
	say   func(partition int, spent float64) // is called when the alarm begins
	known []store.Part                       // as they were when the state last answered
	told  map[int]bool
	worst atomic.Uint64 // bits of a float64: the share in the partition where it is highest
}

// run looks until ctx ends.
func (b *backlog) run(ctx context.Context) error {
	return every(ctx, backlogEvery, func() { b.look(ctx) })
}

func (b *backlog) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, backlogEvery)
	defer cancel()
	parts, err := b.parts(ctx)
	if err == nil {
		b.known = parts // else they stand still, and the journal does not
	}
	worst := 0.0
	for _, p := range b.known {
		spent, err := b.spent(ctx, p.Partition, p.NextOffset)
		if err != nil {
			return // the journal does not answer, and says so itself: what was last known stands
		}
		worst = max(worst, spent)
		if spent >= backlogAlarm && !b.told[p.Partition] {
			b.say(p.Partition, spent)
		}
		b.told[p.Partition] = spent >= backlogAlarm
	}
	b.worst.Store(math.Float64bits(worst))
}

// watchBacklog says how near the records that wait are to being removed; the embedded journal keeps them until they are applied.
func (a *App) watchBacklog(ctx context.Context) error {
	if a.kafka == nil {
		return nil
	}
	return a.backlog.run(ctx)
}

func (a *App) newBacklog() *backlog {
	return &backlog{
		parts: func(ctx context.Context) (parts []store.Part, err error) {
			err = a.db.View(ctx, func(tx *store.Tx) error {
				parts, err = tx.Parts()
				return err
			})
			return parts, err
		},
		spent: a.kafka.Spent,
		say: func(partition int, spent float64) {
			a.log.Error("records may be removed before they are applied", "partition", partition, "retention_spent", spent)
		},
		told: map[int]bool{},
	}
}
