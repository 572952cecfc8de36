// Package migrate moves a state to another database, to another journal, or to another number of partitions. It copies rows and finds
// the partition of each; it knows no configuration, opens nothing, and does not look into the journal: the caller has applied all of that
// before (drained it), and says where the new one begins.
//
// # How it works
//
// A Job is carried out in steps, in transactions of some thousand rows. The mark, a row of meta in the target, says which step is under
// way and behind which row: it is written in the same transaction as the rows, so a job that was killed goes on exactly there when it is
// run again. While there is a mark, the target refuses to serve (Settled).
//
//	rows     every table but the history, each row with its partition in the new layout; an alert with what repeats said of it
//	history  changes of all partitions, merged by time, numbered anew and without gaps in the partition that each goes to
//	flip     in place only: the history was written to partitions below zero, and comes to those where it belongs
//	parts    where the work on each partition goes on: at the end of the new journal, with counters above every id
//	verify   rows are counted and hashed on both sides
//	switch   the source says where it was moved to and refuses to serve from then on; then the target's mark goes
//
// Where source and target are one database (another number of partitions, or other labels that isolate), the rows are changed in
// place, and what verify compares with was counted before the first of them was.
//
// # What changes
//
// An incident goes where most of its firing alerts belong by their labels, its alerts, pages, timers and history with it; a major goes
// where its scope belongs, an alert without an incident where its labels say. Sequence numbers, epochs and offsets are made anew: a command
// that the old correlator had weighed stands before the first record of the new journal (offset -1), one that waits for the next
// record waits for the new journal's. Ids, codes and the times at which pages and timers are due stay.
package migrate
