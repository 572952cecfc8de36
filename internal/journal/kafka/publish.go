package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// errGivenUp ends the Writer's attempts at what nobody waits for any more.
var errGivenUp = errors.New("given up")

// A Message is one record of a feed.
type Message struct {
	Key   []byte // messages of one key keep their order; nil goes anywhere
	Value []byte
	At    time.Time // cut to milliseconds; zero means now
}

// A feed is a topic that is written by one call at a time, so that what is sent again stays in order.
type feed struct {
	turn    chan struct{}
	givenUp atomic.Bool
}

func newFeed() *feed { return &feed{turn: make(chan struct{}, 1)} }

// Publish writes messages to one of Options.Feeds, in order, and returns once all in-sync copies have them. The partition follows
// from the key as it does with Java's clients (murmur2). After an error some may have been written: send all again, which may double
// some. Calls for one topic wait for each other; one takes 10 s at most.
func (j *Journal) Publish(ctx context.Context, topic string, messages []Message) error {
	if topic == deadTopic(j.o.Topic) || j.feeds[topic] == nil {
		return fmt.Errorf("publish: topic %s is none of the feeds that the journal was opened with", topic)
	}
	out := make([]kafka.Message, len(messages))
	for i, m := range messages {
		out[i] = kafka.Message{Key: m.Key, Value: m.Value, Time: m.At}
	}
	err := j.write(ctx, topic, out...)
	if err != nil {
		return fmt.Errorf("publish %d messages to %s: %w", len(messages), topic, err)
	}
	return nil
}

// write writes messages to a topic that is not the journal's own.
func (j *Journal) write(ctx context.Context, topic string, messages ...kafka.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.flushLimit)
	defer cancel()
	defer context.AfterFunc(j.ctx, cancel)()
	f := j.feeds[topic]
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.turn }()
	for i := range messages {
		messages[i].Topic = topic
	}
	f.givenUp.Store(false)
	for {
		err := j.writer.WriteMessages(ctx, messages...)
		errs, tried := errors.AsType[kafka.WriteErrors](err)
		switch {
		case tried:
			return firstOf(errs)
		case err == nil:
			return nil
		case ctx.Err() != nil:
			f.givenUp.Store(true)
			return fmt.Errorf("%w: %w", ctx.Err(), j.gate.lastError(err))
		case !temporary(err):
			return err
		}
		rest(ctx, retryFirst) // the topic is not known yet
	}
}
