// Package ingest is where alerts come in: it finds out who sends, bounds what is read, has it parsed once, and answers 2xx
// only after somebody else has made it durable.
//
// A Receiver does what every door needs: authentication, limits on size and rate, gzip, dry runs, counting, pooled memory.
// A Door says what is its own: where the credential stands, what a body means (a Parser), how answers are worded. One folder
// below this one holds each door (alertmanager, pagerduty, webhook). Sources is who may send; it is replaced whole when the
// configuration is read again. An Acceptor takes the events; package ingest neither knows nor cares where they are kept.
//
// It is not for deciding anything about alerts: what belongs together, what is suppressed and who is told comes later, from
// the journal. It knows no clock but the Receiver's.
//
// # Memory
//
// A body is read into a pooled buffer and copied once into one string; names and values are parts of that string unless
// they were escaped. So there is no table of interned names: looking a name up costs more than pointing at it. The slices
// (events, labels) belong to the pooled Message and are used again as soon as the request is answered: an Acceptor that
// wants to keep an event must copy its label slices. The strings may be kept, at the price of keeping the whole body.
//
// # Strictness
//
// Scanner reads JSON as jsontext does (RFC 8259 and 7493: UTF-8 only, no doubled names, at most 10,000 levels), and leaves
// to jsontext all that is rare: escapes, numbers, values nobody asked for. It exists because tokens were the limit: see
// alertmanager's benchmarks, which run both on the same batch; a fuzz test holds the two together.
package ingest
