// Package feed tells users' own data platforms what happens: every change of the history becomes one JSON message, published at least
// once, and in order for each incident and major.
//
// It decides nothing, and nothing waits for it: it reads what is committed. Run belongs to the node that works on a partition. It
// publishes what stands behind the partition's cursor, a row of meta, and moves the cursor after the publisher has said that the
// messages are durable. A crash between the two repeats them; so does a change of the node, for as long as the old one is not aware
// of it. What is published for the first time never stands before an older change of the same partition, and all changes of an
// incident are of one partition: a reader that drops what it has seen (by id) gets each change once, in order.
//
// docs/feed.md describes the message, whose Schema rises with every change that could break a reader.
package feed
