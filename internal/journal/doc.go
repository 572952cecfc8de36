// Package journal is the log that alerts are kept in: what is durable there has been accepted, and nothing else has.
//
// The package holds the interface that both implementations meet (disk, kafka), the record that is written, and its codec.
// It knows nothing of what alerts mean. journaltest holds what every implementation must do.
package journal
