package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

const (
	tolerated  = 0.2 // cores that others may use in a run that counts
	tries      = 3
	quietCheck = 400 * time.Millisecond
)

// undisturbed does a run, again while others use the machine and there is patience left. When none of the tries was undisturbed, the least disturbed one
// counts, and the row says so.
func undisturbed[T any](ctx context.Context, b *bench, name string, run func() (T, share, error)) (best T, err error) {
	least := share{other: -1}
	for try := range tries {
		b.awaitQuiet(ctx)
		got, s, err := run()
		if err != nil {
			return best, fmt.Errorf("%s: %w", name, err)
		}
		if err := ctx.Err(); err != nil {
			return best, err
		}
		if least.other < 0 || s.other < least.other {
			best, least = got, s
		}
		if s.other <= tolerated {
			break
		}
		if try == tries-1 || b.quick || b.patience <= 0 {
			b.say("   %s: others used %.2f cores: the least disturbed of %d runs counts", name, s.other, try+1)
			break
		}
		b.say("   %s: others used %.2f cores: dropped, done again", name, s.other)
	}
	b.disturbed = max(b.disturbed, least.other)
	return best, nil
}

// awaitQuiet waits until nobody but us uses the machine, as long as there is patience left.
func (b *bench) awaitQuiet(ctx context.Context) {
	began := time.Now()
	for b.patience > 0 && ctx.Err() == nil {
		from := time.Now()
		before, _ := machineCPU()
		own := cpuOf(os.Getpid(), true)
		pause(ctx, quietCheck)
		after, _ := machineCPU()
		took := time.Since(from)
		if (after-before-cpuOf(os.Getpid(), true)+own)/took.Seconds() < tolerated {
			break
		}
		b.patience -= took
		if time.Since(began) > 30*time.Second {
			break
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
