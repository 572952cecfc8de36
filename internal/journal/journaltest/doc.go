// Package journaltest is what every journal must do, and a file system that fails on purpose to show it.
//
// Run is the conformance suite: it knows journal.Journal and nothing of files, so that the embedded journal and the one
// on Kafka pass the same tests. Files is a double of disk.FS that knows synced from unsynced data. It is linked into tests only.
package journaltest
