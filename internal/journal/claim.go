package journal

import (
	"context"
	"log/slog"
	"time"
)

// A Claim says that one partition is this process's to apply, until the context that came with it ends.
type Claim struct {
	Partition int
	// Generation rises each time that the partitions are shared out anew. It begins again at 1 when the journal forgets the
	// group; the fence is the state's epoch, not this.
	Generation int64
	// Passed says that everything before offset next is applied and committed. It is advice for tools that watch the lag: it may
	// be lost, comes late, and is never read back. It returns at once and may be called by any goroutine.
	Passed func(next int64)
}

// A Sharer shares the partitions of a journal out to the processes that have it open, each to one of them.
type Sharer interface {
	// Share calls own, in a goroutine of its own, for each partition that is this process's, and ends the context of that call
	// when it no longer is; own must then return within seconds. Where own returns while its context lives, it is called again
	// after 0.2 s, then more, up to 5 s: an error of one partition disturbs no other. Share returns when ctx has ended and each own
	// has returned; its error says why it could not go on.
	Share(ctx context.Context, own func(ctx context.Context, c Claim) error) error
}

// How long is waited before own is called again.
const (
	ownRetryFirst = 200 * time.Millisecond
	ownRetryMost  = 5 * time.Second
)

// Keep calls own for a claim until ctx ends, again and again as Sharer says, and tells log why it returned meanwhile.
func (c Claim) Keep(ctx context.Context, log *slog.Logger, own func(ctx context.Context, c Claim) error) {
	for wait := ownRetryFirst; ctx.Err() == nil; wait = min(2*wait, ownRetryMost) {
		began := time.Now()
		err := own(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > ownRetryMost {
			wait = ownRetryFirst
		}
		log.Error("partition given up for now", "partition", c.Partition, "again_in", wait, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
