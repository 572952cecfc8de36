package app

import (
	"context"
	"sync"

	"tocsin/config"
	"tocsin/internal/api"
	outward "tocsin/internal/feed"
	"tocsin/internal/journal/kafka"
)

// A feedTopic publishes changes to a topic beside the journal's own.
type feedTopic struct {
	journal *kafka.Journal
	topic   string
}

// Publish writes messages to the topic.
func (t feedTopic) Publish(ctx context.Context, messages []outward.Message) error {
	out := make([]kafka.Message, len(messages))
	for i, m := range messages {
		out[i] = kafka.Message(m)
	}
	return t.journal.Publish(ctx, t.topic, out)
}

// A publication tells other programs what happens in a partition, for as long as ctx lasts.
type publication interface {
	Run(ctx context.Context, partition int)
}

// openFeed makes the feed for other programs, where the configuration wants one.
func (a *App) openFeed(c *config.Config) error {
	if c.Storage.Kafka == nil || c.Storage.Kafka.Feed == "" {
		return nil
	}
	f, err := outward.New(a.changes, feedTopic{a.kafka, c.Storage.Kafka.Feed}, feedRecords(), outward.Options{Registry: a.registry, Log: a.log})
	if err != nil {
		return err
	}
	a.feed = f
	return nil
}

// feedRecords are what the feed says of incidents and majors: the same as the API.
func feedRecords() outward.Records {
	return outward.Records{Incident: api.IncidentRecord, Major: api.MajorRecord}
}

// tellOthers publishes the changes of a partition for as long as it is this node's, until stop.
func (a *App) tellOthers(ctx context.Context, partition int) (stop func()) {
	if a.feed == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { a.feed.Run(ctx, partition) })
	return func() { cancel(); wg.Wait() }
}
