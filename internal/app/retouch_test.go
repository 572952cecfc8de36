package app

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"tocsin/correlate"
	"tocsin/internal/journal"
	"tocsin/internal/journal/kafka"
	"tocsin/internal/store"
)

// A hush is a journal whose brokers do not answer, or that lost what it had.
type hush struct {
	wal
	gap *journal.GapError // is told first; nil: nothing is
}

func (m *hush) Read(int, int64) (journal.Reader, error) { return m, nil }
func (m *hush) Close() error                            { return nil }

func (m *hush) Next(ctx context.Context, _ int) ([]journal.Entry, error) {
	if g := m.gap; g != nil {
		m.gap = nil
		return nil, g
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRepeatsThatKafkaDoesNotShowAgainInTimeAreWaitedForAndNotForgotten(t *testing.T) {
	for name, tc := range map[string]struct {
		gap  *journal.GapError
		want string
	}{
		"brokers that are slow":      {nil, "read journal again up to offset 9: nothing came for 10s"},
		"records that are lost":      {&journal.GapError{From: 3, To: 9, Skipped: true}, ""},
		"some of them that are lost": {&journal.GapError{From: 3, To: 5, Skipped: true}, "read journal again up to offset 9: nothing came for 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &App{journal: &hush{gap: tc.gap}, kafka: new(kafka.Journal)}
				l := &loaded{domain: correlate.NewDomain(0, 1), fold: new(journal.Fold)}
				err := a.retouch(t.Context(), l, store.Part{TouchOffset: 3, NextOffset: 9}, 0)
				switch {
				case tc.want == "" && err != nil:
					t.Errorf("the load ended with %v, want it to go on: nothing can bring them back", err)
				case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)):
					t.Errorf("the load ended with %v, want %s: another try may count them", err, tc.want)
				}
			})
		})
	}
}
