package app

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/internal/journal"
	"tocsin/internal/journal/kafka"
)

// A club is a journal that notes when it is shared, and since when no more.
type club struct {
	wal
	began time.Time
	terms []time.Duration
}

func (c *club) Share(ctx context.Context, _ func(context.Context, journal.Claim) error) error {
	c.terms = append(c.terms, time.Since(c.began))
	<-ctx.Done()
	c.terms = append(c.terms, time.Since(c.began))
	return nil
}

func TestANodeThatDoesNotHearTheStateLeavesItsPartitionsToOthersUntilItDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		kafka *kafka.Journal
		alone bool
		want  []time.Duration // when it began and ended to share
	}{
		"one of many":              {new(kafka.Journal), false, []time.Duration{0, 30*time.Second + silentEvery, 60*time.Second + silentEvery, 70 * time.Second}},
		"one that is alone":        {new(kafka.Journal), true, []time.Duration{0, 70 * time.Second}},
		"one that has the journal": {nil, false, []time.Duration{0, 70 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &club{began: time.Now()}
				a := &App{journal: c, kafka: tc.kafka, log: slog.New(slog.DiscardHandler)}
				a.node.alone = tc.alone
				a.node.heard.Store(new(time.Now()))
				ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
				defer cancel()
				go func() {
					for _, at := range []time.Duration{10 * time.Second, 60*time.Second + silentEvery/2, 65 * time.Second} {
						time.Sleep(time.Until(c.began.Add(at)))
						a.node.heard.Store(new(time.Now()))
					}
				}()
				err := a.share(ctx)
				synctest.Wait()
				if err != nil {
					t.Errorf("it ended with %v, want nil", err)
				}
				if diff := cmp.Diff(tc.want, c.terms); diff != "" {
					t.Errorf("shared from and to (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestANodeThatWasSilentItselfDoesNotTakeOthersForGone(t *testing.T) {
	began := time.Now()
	n := new(node)
	n.heard.Store(&began)
	for _, step := range []struct {
		at       time.Duration // since it began
		answered bool
		want     bool // whether it judges before it knows that
	}{
		{2 * time.Second, true, true},
		{4 * time.Second, false, true},
		{8 * time.Second, false, false},
		{17 * time.Second, true, false},
		{19 * time.Second, true, false},
		{22 * time.Second, true, false},
		{26 * time.Second, true, false},
		{28 * time.Second, true, true},
	} {
		now := began.Add(step.at)
		if got := n.judges(now); got != step.want {
			t.Errorf("after %s it judges: %v, want %v", step.at, got, step.want)
		}
		if step.answered {
			n.answered(now)
		}
	}
}
