package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"tocsin/internal/journal"
)

const (
	heartbeat      = time.Second
	session        = 6 * time.Second  // without a heartbeat, after which the others share our partitions
	rejoin         = 10 * time.Second // that a member has to come back when the partitions are shared out anew
	joinBackoff    = 500 * time.Millisecond
	groupLimit     = 4 * time.Second // for one answer of the coordinator
	watchEvery     = 5 * time.Second // for added partitions
	commitEvery    = 3 * time.Second
	leaveLimit     = 2 * time.Second // how long a member tries to say good-bye
	ownLate        = 5 * time.Second // after the end of its context, when an own that has not returned is told of
	nothingPassed  = -1
	groupErrorSaid = 30 * time.Second // between two lines in the log of what is still so
)

// Share joins the consumer group and calls own for each of its partitions that falls to this process, as journal.Sharer says. Whatever
// Kafka does, it goes on until ctx ends or the journal is closed.
//
// An own that returns late keeps this process from joining again, not the others: after 10 s they share its partitions among
// themselves. So the state must refuse what comes of an old claim; a generation is no fence.
func (j *Journal) Share(ctx context.Context, own func(ctx context.Context, c journal.Claim) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(j.ctx, cancel)()
	d := &groupDialer{d: j.dialer, leaving: ctx.Done()}
	defer d.drop(true)
	b := &balancer{partitions: j.o.Partitions}
	group, err := kafka.NewConsumerGroup(j.groupConfig(d, b))
	if err != nil {
		return fmt.Errorf("journal: share %s: %w", j.o.Topic, err)
	}
	s := &sharing{j: j, own: own, balancer: b}
	for ctx.Err() == nil {
		gen, err := group.Next(ctx)
		if err == nil {
			s.generation(ctx, gen)
			continue
		}
		s.trouble(ctx, err) // kafka-go waits joinBackoff before it tries again
	}
	s.wg.Wait() // each own has returned: the others may have our partitions
	defer time.AfterFunc(leaveLimit/2, func() { d.drop(false) }).Stop()
	defer time.AfterFunc(leaveLimit, func() { d.drop(true) }).Stop()
	err = group.Close()
	if err != nil {
		return fmt.Errorf("journal: leave group %s: %w", j.o.Group, err)
	}
	return nil
}

func (j *Journal) groupConfig(d *groupDialer, b *balancer) kafka.ConsumerGroupConfig {
	return kafka.ConsumerGroupConfig{
		ID:      j.o.Group,
		Brokers: j.o.Brokers,
		Dialer: &kafka.Dialer{
			ClientID: "tocsin", Timeout: requestLimit, DialFunc: d.dial, TLS: j.o.TLS, SASLMechanism: j.sasl,
		},
		Topics:                 []string{j.o.Topic},
		GroupBalancers:         []kafka.GroupBalancer{b},
		HeartbeatInterval:      heartbeat,
		SessionTimeout:         session,
		RebalanceTimeout:       rejoin,
		JoinGroupBackoff:       joinBackoff,
		Timeout:                groupLimit,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: watchEvery,
		StartOffset:            kafka.FirstOffset, // never used: where to read is the state's to say
	}
}

// sharing is one call of Share.
type sharing struct {
	j        *Journal
	own      func(ctx context.Context, c journal.Claim) error
	balancer *balancer
	wg       sync.WaitGroup // of the owns
	said     time.Time      // when trouble was last told
}

// trouble tells of a group that cannot be joined, at first and now and then.
func (s *sharing) trouble(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, kafka.RebalanceInProgress) || time.Since(s.said) < groupErrorSaid {
		return
	}
	s.said = time.Now()
	s.j.o.Log.Warn("consumer group not joined", "group", s.j.o.Group, "error", err)
}

// generation starts what is ours in gen. It does not wait for the end: kafka-go gives no other generation before that.
func (s *sharing) generation(ctx context.Context, gen *kafka.Generation) {
	s.said = time.Time{}
	s.j.stats.rebalances.Add(1)
	var numbers []int
	passed := map[int]*atomic.Int64{}
	for _, a := range gen.Assignments[s.j.o.Topic] {
		if a.ID >= s.j.o.Partitions {
			continue // strangers raises the alarm
		}
		numbers = append(numbers, a.ID)
		passed[a.ID] = new(atomic.Int64)
		passed[a.ID].Store(nothingPassed)
	}
	s.j.o.Log.Info("partitions shared out", "group", s.j.o.Group, "generation", gen.ID, "mine", numbers)
	s.balancer.keep(numbers)
	for _, n := range numbers {
		mark := passed[n]
		claim := journal.Claim{Partition: n, Generation: int64(gen.ID), Passed: func(next int64) { raise(mark, next) }}
		s.wg.Add(1)
		// The first function of a generation that returns ends it for all partitions of this process, after which kafka-go
		// joins again at once. So none does before the generation has ended.
		gen.Start(func(ended context.Context) {
			s.keep(ctx, ended, claim)
			s.wg.Done()
			<-ended.Done()
		})
	}
	gen.Start(func(ended context.Context) { s.commit(ended, gen, passed) })
}

func raise(mark *atomic.Int64, next int64) {
	for was := mark.Load(); was < next && !mark.CompareAndSwap(was, next); was = mark.Load() {
	}
}

// keep calls own for a claim until the generation or parent ends.
func (s *sharing) keep(parent, ended context.Context, c journal.Claim) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	defer context.AfterFunc(ended, cancel)() // ended's error is ErrGenerationEnded, own's context says Canceled like any other
	c.Keep(ctx, s.j.o.Log, s.call)
}

// call calls own, and tells when it does not end with its context.
func (s *sharing) call(ctx context.Context, c journal.Claim) error {
	returned := make(chan struct{})
	defer close(returned)
	defer context.AfterFunc(ctx, func() {
		late := time.NewTimer(ownLate)
		defer late.Stop()
		select {
		case <-returned:
		case <-late.C:
			s.j.o.Log.Error("partition not given back yet", "partition", c.Partition, "hint", "other nodes may have it already; this one shares in no other before")
		}
	})()
	return s.own(ctx, c)
}

// commit tells the group now and then how far its partitions are applied.
func (s *sharing) commit(ended context.Context, gen *kafka.Generation, passed map[int]*atomic.Int64) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	told := map[int]int64{}
	for {
		select {
		case <-ended.Done():
			return
		case <-tick.C:
		}
		news := map[int]int64{}
		for n, mark := range passed {
			if next := mark.Load(); next != nothingPassed && next != told[n] {
				news[n] = next
			}
		}
		if len(news) == 0 {
			continue
		}
		err := gen.CommitOffsets(map[string]map[int]int64{s.j.o.Topic: news}) // waits for groupLimit at most
		if err != nil {
			s.j.stats.commitErrors.Add(1)
			continue
		}
		for n, next := range news {
			told[n] = next
		}
	}
}
