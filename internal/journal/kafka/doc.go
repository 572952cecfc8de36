// Package kafka is the journal on Kafka, by segmentio/kafka-go: a topic of N partitions that all nodes write, and share out among
// themselves to be applied.
//
// It is for servers that are many. It knows no more of the payloads than their length, and keeps no offsets: where a partition is
// read from is the state's to say, and Kafka's offset commits are advice for tools that watch the lag. It has no fence either: two
// processes may believe for a while that a partition is theirs, and the epoch in the state decides.
//
// # Connections
//
// kafka-go's own Reader opens a connection for each partition, and its Transport one for each request that is under way at once: with
// twelve partitions on one broker that would be dozens. Here all requests but the group's go through one gate to one Transport.
// It lets one produce request and one fetch through to each broker at a time; batches that wait for the same broker go
// together in the next produce request, and one fetch asks for all partitions that the broker leads. With the Transport's
// connection for what it asks itself, and the group's to its coordinator, a node has at most four connections to a broker,
// however many partitions there are. The price: a broker that keeps a produce request, because a follower is late, keeps what
// else this node writes to it for as long.
//
// Whoever dials goes through one dialer. An address that fails is tried once a second on average; in between the last error is told at once.
// No connection is without a deadline: where kafka-go clears it, the SASL exchange would wait for ever.
//
// # Writing
//
// There is one Writer a process, with acks=all. It would wait for its batches to fill: a millisecond at least, a second by default.
// So what is appended gathers before it: while a flush of a partition is under way the next one gathers, at most 1 MiB, and the
// Writer is given all of it at once and waits for nothing. One alert alone costs one round trip; many callers share one.
//
// A flush is tried for 10 s: missing followers, leaders on the move and cut connections cost time only. Then the partition is sick, all who wait
// and all who come get ErrSick at once, and what the Writer still has is given up, so that it is not written after its sender
// was told otherwise (what is on the wire may be). A probe each 0.5 s to 5 s asks for a leader that answers with enough copies
// in sync, and ends it. Other partitions do not notice.
//
// Kafka's idempotent producer is not part of kafka-go: a request whose answer was lost is sent again and is then twice in the log. Readers fold
// the copies by writer and sequence number, see journal.Fold.
//
// # Reading
//
// A fetcher polls each broker that leads something that is read, and hands what comes to the readers, which keep at most some
// 2 MiB each. A broker keeps a poll for 100 ms where it has nothing; for 5 ms, then more, while a reader waits that has no place in it.
// Times are milliseconds. Many nodes write one partition, so a reader raises what falls to the highest time before
// it; it begins 64 entries early to know that.
//
// Offsets that are missing are told: as lost when retention has removed them (the error has their first and last), as skipped when
// the topic has a mark of somebody's transaction there. An end before what was read is a journal.BeyondError, and final: the topic
// was made anew, or a leader that was behind took over, and the state must decide. So it must where the topic was not there for a while and
// then has more than was read: the readers of before end with journal.ErrVanished.
//
// # Sharing
//
// One consumer group, a generation after the other; see Journal.Share. Who had a partition keeps it as far as equal shares allow. Partitions beyond
// N, which somebody added, are nobody's, and an alarm.
//
// # Topics
//
// A topic that is missing is made: three copies where there are three brokers, two of them in sync for each write, kept for 14 days, no unclean
// leaders. One whose settings would lose alerts is refused (settings.judge has the list). Dead letters have a topic of their
// own, <topic>.dead, with one partition: the key says whose letter it is, a record with a value buries it, one without settles it.
package kafka
