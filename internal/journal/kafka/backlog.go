package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// A keep is how much of a partition the topic promises to keep, as its settings said when the journal was opened.
type keep struct {
	age   time.Duration // 0 or less: for ever
	bytes int64         // 0 or less: any
}

// recordExtra is what Kafka adds to a small entry, in bytes, roughly.
const recordExtra = 16

// Spent returns how much of the topic's retention the entry next of a partition, the first that is not applied, has used up: 0 where
// there is no such entry or it is kept for ever, 1 where it may be removed at any moment, or is gone. By age it is exact. By size (retention.bytes) it
// reckons with the mean size of the entries from next on.
func (j *Journal) Spent(ctx context.Context, partition int, next int64) (share float64, err error) {
	_, err = j.partition(partition)
	if err != nil || j.keep.age <= 0 && j.keep.bytes <= 0 {
		return 0, err
	}
	end, err := j.offset(ctx, j.o.Topic, partition, kafka.LastOffset)
	if err != nil || next >= end {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	entries, _, err := j.fetchOnce(ctx, partition, next)
	switch {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return 1, nil // a part of what was not applied has been removed
	case err != nil:
		return 0, fmt.Errorf("journal: entry %d of partition %d: %w", next, partition, err)
	case len(entries) == 0:
		return 0, nil // only marks of transactions are left
	}
	if j.keep.age > 0 {
		share = time.Since(entries[0].At).Seconds() / j.keep.age.Seconds()
	}
	if j.keep.bytes > 0 {
		size := 0
		for i := range entries {
			size += len(entries[i].Payload) + recordExtra
		}
		waits := float64(size) / float64(len(entries)) * float64(end-next)
		share = max(share, waits/float64(j.keep.bytes))
	}
	return min(max(share, 0), 1), nil
}
