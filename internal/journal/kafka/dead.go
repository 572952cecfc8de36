package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"tocsin/internal/journal"
)

const (
	letterVersion = 1
	lettersMost   = 100_000 // letters that are followed while the topic is read
	lettersLimit  = time.Minute
)

// A letterKey is the key of a record in the topic of dead letters: whose letter it is. A record with a value buries it, one without
// settles it.
type letterKey struct {
	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

// A letter is the value: JSON, so that people can read it by any tool.
type letter struct {
	Version int       `json:"version"` // 1
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Tries   int       `json:"tries"`
	Payload []byte    `json:"payload"` // base64
}

// mostReason keeps a reason, which may quote what a sender said, short.
const mostReason = 4 << 10

// Bury keeps d in the topic of dead letters.
func (j *Journal) Bury(ctx context.Context, d journal.DeadLetter) error {
	if len(d.Reason) > mostReason {
		d.Reason = strings.ToValidUTF8(d.Reason[:mostReason], "")
	}
	value, err := json.Marshal(letter{Version: letterVersion, At: d.At.UTC().Truncate(time.Millisecond), Reason: d.Reason, Tries: d.Tries, Payload: d.Payload})
	if err == nil {
		err = j.inDead(ctx, d.Partition, d.Offset, d.At, value)
	}
	if err != nil {
		return fmt.Errorf("bury offset %d of partition %d: %w", d.Offset, d.Partition, err)
	}
	return nil
}

// Settle marks the letter of an entry as dealt with.
func (j *Journal) Settle(ctx context.Context, partition int, offset int64) error {
	err := j.inDead(ctx, partition, offset, time.Time{}, nil)
	if err != nil {
		return fmt.Errorf("settle offset %d of partition %d: %w", offset, partition, err)
	}
	return nil
}

func (j *Journal) inDead(ctx context.Context, partition int, offset int64, at time.Time, value []byte) error {
	key, err := json.Marshal(letterKey{Partition: partition, Offset: offset})
	if err != nil {
		return err
	}
	return j.write(ctx, deadTopic(j.o.Topic), kafka.Message{Key: key, Value: value, Time: at, WriterData: &slot{}})
}

// DeadLetters reads the topic of dead letters from its beginning: what it returns is true as of now, whoever wrote it. Of more than
// 100,000 letters that are not settled, the oldest are not considered.
func (j *Journal) DeadLetters(ctx context.Context, limit int) ([]journal.DeadLetter, error) {
	ctx, cancel := context.WithTimeout(ctx, lettersLimit)
	defer cancel()
	open, err := j.openLetters(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters of %s: %w", j.o.Topic, err)
	}
	places := slices.Sorted(maps.Values(open))
	places = places[max(0, len(places)-max(limit, 0)):]
	var out []journal.DeadLetter
	for _, at := range places {
		records, _, err := j.records(ctx, deadTopic(j.o.Topic), at, leastBytes)
		if err == nil && len(records) == 0 {
			err = errors.New("it is gone")
		}
		var d journal.DeadLetter
		if err == nil {
			d, err = readLetter(records[0])
		}
		if err != nil {
			return nil, fmt.Errorf("read the dead letter at %d of %s: %w", at, deadTopic(j.o.Topic), err)
		}
		out = append(out, d)
	}
	return out, nil
}

// openLetters returns the letters that are not settled, and the offset in their topic of the record that counts for each.
func (j *Journal) openLetters(ctx context.Context) (map[letterKey]int64, error) {
	at, err := j.offset(ctx, deadTopic(j.o.Topic), 0, kafka.FirstOffset)
	if err != nil {
		return nil, err
	}
	end, err := j.offset(ctx, deadTopic(j.o.Topic), 0, kafka.LastOffset)
	if err != nil {
		return nil, err
	}
	open := map[letterKey]int64{}
	for at < end {
		records, to, err := j.records(ctx, deadTopic(j.o.Topic), at, aheadMost)
		if err != nil {
			return nil, err
		}
		if to == at {
			return nil, fmt.Errorf("nothing is read at %d, but the end is at %d", at, end)
		}
		for _, r := range records {
			var key letterKey
			if json.Unmarshal(r.key, &key) != nil {
				continue // somebody else's
			}
			if r.value == nil {
				delete(open, key)
			} else {
				open[key] = r.offset
			}
		}
		forgetOldest(open)
		at = to
	}
	return open, nil
}

// forgetOldest keeps open within its bound.
func forgetOldest(open map[letterKey]int64) {
	if len(open) <= 2*lettersMost {
		return
	}
	places := slices.Sorted(maps.Values(open))
	oldest := places[len(places)-lettersMost]
	maps.DeleteFunc(open, func(_ letterKey, at int64) bool { return at < oldest })
}

// readLetter makes of a record what was buried by it.
func readLetter(r record) (journal.DeadLetter, error) {
	var key letterKey
	err := json.Unmarshal(r.key, &key)
	if err != nil {
		return journal.DeadLetter{}, fmt.Errorf("its key: %w", err)
	}
	var l letter
	err = json.Unmarshal(r.value, &l)
	if err != nil {
		return journal.DeadLetter{}, fmt.Errorf("its value: %w", err)
	}
	if l.Version != letterVersion {
		return journal.DeadLetter{}, fmt.Errorf("its version is %d, but this tocsin reads only %d", l.Version, letterVersion)
	}
	return journal.DeadLetter{Partition: key.Partition, Offset: key.Offset, At: l.At, Reason: l.Reason, Payload: l.Payload, Tries: l.Tries}, nil
}
