package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin/internal/store"
)

const (
	anchorEvery  = 10 * time.Second // how often the clock is corrected by the database's
	anchorWithin = time.Second      // what took longer to say is left out: half of it may be wrong
)

// A clock tells receive times: the machine's monotonic clock, anchored to the database's, so that a jump of the wall clock
// between two corrections moves nothing, and all nodes that share a database agree.
type clock struct {
	start  time.Time    // carries the monotonic reading
	anchor atomic.Int64 // microseconds: the database's clock at start
}

func newClock(now time.Time) *clock {
	c := &clock{start: time.Now()}
	c.anchor.Store(now.UnixMicro())
	return c
}

// Now is the time, UTC, in whole microseconds.
func (c *clock) Now() time.Time {
	return time.UnixMicro(c.anchor.Load() + time.Since(c.start).Microseconds()).UTC()
}

// run corrects the clock until ctx ends.
func (c *clock) run(ctx context.Context, db store.DB, log *slog.Logger) error {
	return every(ctx, anchorEvery, func() {
		asked := time.Now()
		now, err := db.Now(ctx)
		if err != nil {
			log.Warn("clock not corrected", "error", err)
			return
		}
		if took := time.Since(asked); took < anchorWithin {
			c.anchor.Store(now.Add(took/2).UnixMicro() - time.Since(c.start).Microseconds())
		}
	})
}
