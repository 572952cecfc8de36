package disk_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/journal/journaltest"
)

var _ journal.Sharer = (*disk.Journal)(nil)

func TestTheOneProcessOwnsEachPartitionUntilItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, err := disk.Open("data", disk.Options{Partitions: 2, FS: journaltest.NewFiles()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		type call struct {
			partition  int
			generation int64
			at         time.Duration
		}
		calls := make(chan call, 100)
		done := make(chan error)
		go func() {
			done <- j.Share(ctx, func(ctx context.Context, c journal.Claim) error {
				calls <- call{c.Partition, c.Generation, time.Since(began)}
				c.Passed(1)
				if c.Partition == 0 {
					return errors.New("the database is away")
				}
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		time.Sleep(12 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		close(calls)
		got := map[int][]time.Duration{}
		for c := range calls {
			if c.generation != 1 {
				t.Errorf("generation %d, want 1", c.generation)
			}
			got[c.partition] = append(got[c.partition], c.at)
		}
		ms := func(all ...int) (out []time.Duration) {
			for _, n := range all {
				out = append(out, time.Duration(n)*time.Millisecond)
			}
			return out
		}
		want := map[int][]time.Duration{0: ms(0, 200, 600, 1400, 3000, 6200, 11200), 1: ms(0)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}
