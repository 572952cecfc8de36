package disk

import (
	"context"
	"sync"
	"time"

	"tocsin/internal/journal"
)

// retryFirst and retryMost bound the wait before own is called again.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Share calls own for every partition: this process is the only one. The generation is 1.
func (j *Journal) Share(ctx context.Context, own func(ctx context.Context, c journal.Claim) error) error {
	var wg sync.WaitGroup
	for n := range j.parts {
		wg.Go(func() {
			j.own(ctx, own, journal.Claim{Partition: n, Generation: 1, Passed: func(int64) {}})
		})
	}
	wg.Wait()
	return nil
}

// own calls own until ctx ends.
func (j *Journal) own(ctx context.Context, own func(ctx context.Context, c journal.Claim) error, c journal.Claim) {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		began := time.Now()
		err := own(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retryMost {
			wait = retryFirst
		}
		j.o.Log.Error("partition given up for now", "partition", c.Partition, "again_in", wait, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
