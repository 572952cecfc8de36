// Package sqlite keeps the state in one SQLite file, for one process.
//
// One goroutine, the writer, owns the one connection that writes. Updates wait for it in lanes, the urgent ones first, and those
// that wait at the same time share one commit: each in a savepoint, so that one that fails takes nothing else with it, and
// each answered after the commit. A lone update is never held back for company. Views run on connections of their own, which only read, each on a
// snapshot, and disturb nobody. A third connection moves the write-ahead log into the file while others go on.
//
// A commit is durable (synchronous FULL) when it is answered. After an I/O error, or when the disk was full, the writer goes on, with a new
// connection where the old one cannot be trusted. When the disk is full, the file NAME-reserve is deleted, and what failed for want of room is
// done in the room that it had; it is made again when there is more. The file NAME-lock beside the database is locked (flock) while it is open,
// so a second process is refused; it is empty and may stay.
//
// It speaks to the driver without database/sql: that halves the cost of a row.
package sqlite
