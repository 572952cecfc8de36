package app

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/internal/store"
)

// A distant database says what its clock is when it is asked, and is heard later.
type distant struct {
	store.DB
	ahead, late time.Duration
}

func (d distant) Now(context.Context) (time.Time, error) {
	time.Sleep(d.late / 2)
	now := time.Now().Add(d.ahead)
	time.Sleep(d.late - d.late/2)
	return now, nil
}

func TestTheClockIsTheDatabasesHoweverLongItsAnswerTook(t *testing.T) {
	for name, tc := range map[string]struct {
		ahead, late, want time.Duration
	}{
		"an answer at once":                     {time.Hour, 0, time.Hour},
		"an answer that was under way":          {time.Hour, 400 * time.Millisecond, time.Hour},
		"an answer that was read much too late": {time.Hour, 8 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock(time.Now())
				ctx, cancel := context.WithTimeout(t.Context(), 3*anchorEvery)
				defer cancel()
				err := c.run(ctx, distant{ahead: tc.ahead, late: tc.late}, slog.New(slog.DiscardHandler))
				if got := time.Until(c.Now()); err != nil || got != tc.want {
					t.Errorf("the clock is %s ahead of this machine's, %v; want %s", got, err, tc.want)
				}
			})
		})
	}
}
