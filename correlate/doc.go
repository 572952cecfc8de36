// Package correlate works out which alerts belong together: events to alerts, alerts to incidents, incidents to majors.
//
// Apply is all of it: a pure function of a Domain and a Record, without clock, I/O or randomness, so that the live worker,
// a replay and a rule test come to the same. Rules (RuleSet) are data in the order of events. Worker is the shell around
// Apply: it reads the journal, absorbs what people commanded meanwhile, and commits state, history, pages due and the
// offset read to in one transaction.
//
// It does not decide who is told (paging), and reads no configuration file (config).
//
// # How it works
//
// A Domain is a cache of rows. Whatever a decision reads is in a row, or follows from rows: Restore, AddAlert, Ready and
// Retouch build the same Domain again, and what it then does is the same (property_test.go). So
//
//   - timers are no state: each thing says when something of it is due, and fires at its own time, in order, however late
//     the next record or tick comes;
//   - to weigh a scope twice is to weigh it once, so a start may weigh all of them;
//   - short codes are always the smallest that are free.
//
// Every change leaves a step back in Domain.log, or a saved value, until Commit. Seal sets what was applied apart, so that a Worker can
// apply one batch while another is committed; a Rollback undoes both. What Absorb takes in is decided upon by the
// next record, as of the command's time, so that it makes no difference how many records that came to nothing the worker
// had applied before it heard of the command; whatever a command could have changed makes a batch Dirty, and so found out.
//
// # What is not kept
//
// A change of rules that lengthens quiet, reopen or cooldown, or that brings a rule back, does not bring back what was
// forgotten or say that a recovery has not lasted after all; a start within that length may remember it from the rows.
package correlate
