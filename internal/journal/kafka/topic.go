package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"tocsin/internal/journal"
)

const (
	defaultRetention = 14 * 24 * time.Hour
	deadRetention    = 90 * 24 * time.Hour
	deadBytes        = 1 << 30
	topicBytes       = 1<<20 + 64<<10            // max.message.bytes of a topic that we make
	leastBytes       = journal.MaxPayload + 1024 // of any: one entry with what Kafka adds
	batchBytes       = 1 << 20                   // what we put into one batch at most
	batchExtra       = 512                       // and what of the topic's limit we leave to Kafka
)

func deadTopic(topic string) string { return topic + ".dead" }

// An admin is the connection of Open, which is closed before the journal's own are opened.
type admin struct {
	j *Journal
	g *gate
}

// prepare reaches the cluster, and makes or checks the topics.
func (j *Journal) prepare(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	t := j.transport(j.o.Topic, deadTopic(j.o.Topic), j.o.Feeds...)
	a := &admin{j: j, g: newGate(t, seeds(j.o.Brokers), "", 0)}
	defer func() {
		a.g.close()
		if err == nil {
			j.dialer.live.Wait() // so that no broker sees them beside those that come
		}
	}()
	l, err := a.reach(ctx)
	if err != nil {
		return err
	}
	j.cluster = l.ClusterID
	if j.o.ClusterID != "" && j.o.ClusterID != j.cluster {
		return fmt.Errorf("this is the cluster %s, but the state was built from %s: use the brokers of that one, or migrate", j.cluster, j.o.ClusterID)
	}
	l, err = a.create(ctx, l)
	if err != nil {
		return err
	}
	parts, err := partitionsOf(l, j.o.Topic)
	if err != nil {
		return err
	}
	if len(parts) < j.o.Partitions {
		return fmt.Errorf("the topic has %d partitions, but the state knows %d: add partitions, or use another topic", len(parts), j.o.Partitions)
	}
	j.strangers(len(parts))
	return a.settings(ctx, parts)
}

// reach returns what the cluster looks like, once a broker says so. What no waiting helps with is told at once.
func (a *admin) reach(ctx context.Context) (*metadata.Response, error) {
	for {
		l, err := a.g.layout(ctx)
		if err == nil {
			return l, nil
		}
		if hopeless(err) {
			return nil, err
		}
		if !rest(ctx, 200*time.Millisecond) {
			return nil, fmt.Errorf("no broker answers: %w", a.j.dialer.why(err))
		}
	}
}

// hopeless says whether trying again would only fail again.
func hopeless(err error) bool {
	for _, k := range []kafka.Error{
		kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState, kafka.ClusterAuthorizationFailed,
		kafka.TopicAuthorizationFailed, kafka.UnsupportedVersion, kafka.PolicyViolation, kafka.InvalidReplicationFactor, kafka.InvalidTopic,
	} {
		if errors.Is(err, k) {
			return true
		}
	}
	_, host := errors.AsType[x509.HostnameError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return host || verify || alert || record
}

// create makes the topics that are missing and waits until each partition has a leader.
func (a *admin) create(ctx context.Context, l *metadata.Response) (*metadata.Response, error) {
	copies := a.j.o.Replication
	if copies == 0 {
		copies = 1
		if len(l.Brokers) >= 3 {
			copies = 3
		}
	}
	retention := cmp.Or(a.j.o.Retention, defaultRetention)
	topics := []kafka.TopicConfig{
		topic(a.j.o.Topic, a.j.o.Partitions, copies, retention),
		topic(deadTopic(a.j.o.Topic), 1, copies, max(retention, deadRetention), kafka.ConfigEntry{ConfigName: "retention.bytes", ConfigValue: strconv.Itoa(deadBytes)}),
	}
	for _, f := range a.j.o.Feeds {
		topics = append(topics, topic(f, a.j.o.Partitions, copies, retention))
	}
	for _, t := range topics {
		_, err := partitionsOf(l, t.Topic)
		if err == nil {
			continue
		}
		if !errors.Is(err, kafka.UnknownTopicOrPartition) {
			return nil, err
		}
		err = a.make(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("make topic %s: %w", t.Topic, err)
		}
		a.j.o.Log.Info("topic made", "topic", t.Topic, "partitions", t.NumPartitions, "copies", t.ReplicationFactor)
	}
	return a.led(ctx, topics)
}

func topic(name string, partitions, copies int, retention time.Duration, more ...kafka.ConfigEntry) kafka.TopicConfig {
	return kafka.TopicConfig{
		Topic: name, NumPartitions: partitions, ReplicationFactor: copies,
		ConfigEntries: append([]kafka.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "delete"},
			{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(retention.Milliseconds(), 10)},
			{ConfigName: "min.insync.replicas", ConfigValue: strconv.Itoa(min(copies, 2))},
			{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(topicBytes)},
			{ConfigName: "message.timestamp.type", ConfigValue: "CreateTime"},
			{ConfigName: "unclean.leader.election.enable", ConfigValue: "false"},
		}, more...),
	}
}

// make makes a topic, unless another node was quicker.
func (a *admin) make(ctx context.Context, t kafka.TopicConfig) error {
	c := kafka.Client{Addr: a.g.addr, Transport: a.g, Timeout: requestLimit}
	for {
		res, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{t}})
		if err == nil {
			err = res.Errors[t.Topic]
		}
		if err == nil || errors.Is(err, kafka.TopicAlreadyExists) {
			return nil
		}
		if hopeless(err) || !temporary(err) {
			return err
		}
		if !rest(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// led waits until each partition of topics has a leader.
func (a *admin) led(ctx context.Context, topics []kafka.TopicConfig) (*metadata.Response, error) {
	for {
		l, err := a.g.layout(ctx)
		for _, t := range topics {
			var parts []metadata.ResponsePartition
			if err == nil {
				parts, err = partitionsOf(l, t.Topic)
			}
			for i := 0; err == nil && i < len(parts); i++ {
				_, err = leader(l, t.Topic, parts[i].PartitionIndex)
			}
		}
		if err == nil {
			return l, nil
		}
		if !rest(ctx, 100*time.Millisecond) {
			return nil, err
		}
	}
}

// settings reads the topic's settings and refuses those that would lose alerts.
func (a *admin) settings(ctx context.Context, parts []metadata.ResponsePartition) error {
	got := settings{copies: len(parts[0].ReplicaNodes), retention: -1, maxBytes: batchBytes}
	for _, p := range parts {
		got.copies = min(got.copies, len(p.ReplicaNodes))
	}
	got.minInSync = min(got.copies, 2) // as long as nobody says otherwise
	c := kafka.Client{Addr: a.g.addr, Transport: a.g, Timeout: requestLimit}
	res, err := c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: a.j.o.Topic,
	}}})
	if err == nil && len(res.Resources) == 1 {
		err = res.Resources[0].Error
	}
	switch {
	case err != nil:
		a.j.o.Log.Warn("topic's settings cannot be read", "topic", a.j.o.Topic, "error", err, "hint", "nobody has checked that the topic keeps what it acknowledges")
	case len(res.Resources) == 1:
		err = got.read(res.Resources[0].ConfigEntries)
		if err != nil {
			return err
		}
	}
	problems, doubts := got.judge(a.j.o.Replication, a.j.o.Retention)
	for _, d := range doubts {
		a.j.o.Log.Warn("topic may lose alerts", "topic", a.j.o.Topic, "reason", d)
	}
	a.j.keep = keep{got.retention, got.retentionBytes}
	a.j.needed = min(got.minInSync, got.copies)
	a.j.byteMax = min(batchBytes, got.maxBytes-batchExtra)
	return errors.Join(problems...)
}

// settings are those of a topic that matter.
type settings struct {
	copies         int // replication factor
	minInSync      int
	maxBytes       int           // of one batch
	retention      time.Duration // negative: for ever
	retentionBytes int64         // a partition; negative or 0: any
	compact        bool
	unclean        bool
	brokerTime     bool
}

func (s *settings) read(entries []kafka.DescribeConfigResponseConfigEntry) error {
	for _, e := range entries {
		var err error
		var n int64
		switch e.ConfigName {
		case "min.insync.replicas":
			n, err = strconv.ParseInt(e.ConfigValue, 10, 32)
			s.minInSync = int(n)
		case "max.message.bytes":
			n, err = strconv.ParseInt(e.ConfigValue, 10, 32)
			s.maxBytes = int(n)
		case "retention.ms":
			n, err = strconv.ParseInt(e.ConfigValue, 10, 64)
			s.retention = time.Duration(min(n, int64(1<<63-1)/int64(time.Millisecond))) * time.Millisecond
		case "retention.bytes":
			s.retentionBytes, err = strconv.ParseInt(e.ConfigValue, 10, 64)
		case "cleanup.policy":
			s.compact = strings.Contains(e.ConfigValue, "compact")
		case "unclean.leader.election.enable":
			s.unclean = e.ConfigValue == "true"
		case "message.timestamp.type":
			s.brokerTime = e.ConfigValue == "LogAppendTime"
		}
		if err != nil {
			return fmt.Errorf("setting %s of the topic: %w", e.ConfigName, err)
		}
	}
	return nil
}

// judge says what of s would lose acknowledged alerts, and what might. copies and retention are what is configured; 0 means nothing is.
func (s *settings) judge(copies int, retention time.Duration) (problems []error, doubts []string) {
	refuse := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if copies > s.copies {
		refuse("the topic has a replication factor of %d, but %d is configured", s.copies, copies)
	}
	switch {
	case s.copies == 1:
		doubts = append(doubts, "there is one copy of each alert: they are gone with their broker's disk")
	case s.minInSync < 2:
		refuse("min.insync.replicas is %d: a broker that fails could take acknowledged alerts with it; set it to 2", s.minInSync)
	case s.minInSync >= s.copies:
		doubts = append(doubts, fmt.Sprintf("min.insync.replicas is %d of %d copies: one broker that stops stops the journal", s.minInSync, s.copies))
	}
	if s.unclean && s.copies > 1 {
		refuse("unclean.leader.election.enable is true: a leader that was behind could take acknowledged alerts back; set it to false")
	}
	if s.compact {
		refuse("cleanup.policy has compact, which removes all alerts but the last; set it to delete")
	}
	if s.retention >= 0 && s.retention < retention {
		refuse("retention.ms keeps %v, but %v is configured", s.retention, retention)
	}
	if s.retentionBytes > 0 {
		doubts = append(doubts, fmt.Sprintf("retention.bytes is %d: a storm may push out alerts before they are %v old, or applied", s.retentionBytes, retention))
	}
	if s.maxBytes < leastBytes {
		refuse("max.message.bytes is %d, but an alert may take %d", s.maxBytes, leastBytes)
	}
	if s.brokerTime {
		doubts = append(doubts, "message.timestamp.type is LogAppendTime: alerts have the time of the broker, not of their arrival")
	}
	return problems, doubts
}
