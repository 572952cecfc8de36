package kafka

import "sync/atomic"

// Stats count what happened since the journal was opened. They are the journal's own counts: kafka-go's begin anew
// each time that somebody reads them, and nobody does.
type Stats struct {
	Flushes       int64 // rounds of entries that were written together
	Entries       int64
	Bytes         int64 // of their payloads
	Requests      int64 // produce requests
	RequestErrors int64 // batches that a produce request did not write; each is tried again while there is time
	Failures      int64 // times a partition could not be written in time
	Fetches       int64
	FetchErrors   int64
	Read          int64 // entries that were fetched
	Gaps          int64 // holes that readers met
	Lost          int64 // offsets in them that retention had removed
	Rebalances    int64 // times the partitions were shared out anew
	CommitErrors  int64 // offsets that the group did not take; they are advice only
}

type counters struct {
	flushes, entries, bytes, failures, fetches, fetchErrors, read, gaps, lost, rebalances, commitErrors atomic.Int64
}

// Stats returns the counts so far.
func (j *Journal) Stats() Stats {
	c := &j.stats
	return Stats{
		Flushes: c.flushes.Load(), Entries: c.entries.Load(), Bytes: c.bytes.Load(), Requests: j.gate.requests.Load(), RequestErrors: j.gate.failures.Load(),
		Failures: c.failures.Load(), Fetches: c.fetches.Load(), FetchErrors: c.fetchErrors.Load(), Read: c.read.Load(),
		Gaps: c.gaps.Load(), Lost: c.lost.Load(), Rebalances: c.rebalances.Load(), CommitErrors: c.commitErrors.Load(),
	}
}
