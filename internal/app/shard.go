package app

import (
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"tocsin"
)

// shards share events out to the partitions of the journal, by the labels that isolate them.
type shards struct {
	partitions int
	isolateBy  []string // sorted
}

func newShards(partitions int, isolateBy []string) shards {
	return shards{partitions, slices.Sorted(slices.Values(isolateBy))}
}

// of returns the partition of a domain: xxhash64 of its name, mod N.
func (s shards) of(domain string) int {
	if s.partitions == 1 {
		return 0
	}
	return int(xxhash.Sum64String(domain) % uint64(s.partitions)) //nolint:gosec // less than partitions
}

// domain names what an event relates to at most: its values of the isolating labels, each behind its length. It is "" where no
// label isolates.
func (s shards) domain(b []byte, ls tocsin.Labels) (name []byte, some bool) {
	for _, label := range s.isolateBy {
		v := ls.Get(label)
		some = some || v != ""
		b = strconv.AppendInt(b, int64(len(v)), 10)
		b = append(append(b, ':'), v...)
	}
	return b, some
}

// each calls do for the events of each domain, in their order: of one partition at a time. What ends or acknowledges an alert and
// says nothing of where it belongs, as PagerDuty's resolve events may, goes to every partition: the one that has the alert knows it
// by its key.
func (s shards) each(events []tocsin.Event, do func(partition int, domain string, events []tocsin.Event) error) error {
	if len(s.isolateBy) == 0 {
		return do(s.of(""), "", events)
	}
	var names []string
	of := map[string][]tocsin.Event{}
	var everywhere []tocsin.Event
	var b []byte
	for i := range events {
		e := &events[i]
		var some bool
		b, some = s.domain(b[:0], e.Labels)
		if !some && e.Status != tocsin.Firing {
			everywhere = append(everywhere, *e)
			continue
		}
		if _, known := of[string(b)]; !known {
			names = append(names, string(b))
		}
		of[string(b)] = append(of[string(b)], *e)
	}
	for _, name := range names {
		err := do(s.of(name), name, of[name])
		if err != nil {
			return err
		}
	}
	for partition := range s.partitions {
		if len(everywhere) == 0 {
			break
		}
		err := do(partition, "", everywhere)
		if err != nil {
			return err
		}
	}
	return nil
}
