// Package correlate works out which alerts belong together: events to alerts, alerts to incidents, incidents to majors.
//
// Apply is all of it: a pure function of a Domain and a Record, without clock, I/O or randomness, so that the live worker,
// a replay and a rule test come to the same. Rules (RuleSet) are data in the order of events. Worker is the shell around
// Apply: it reads the journal, absorbs what people commanded meanwhile, and commits state, history, pages due and the
// offset read to in one transaction.
//
// It does not decide who is told (paging), and reads no configuration file (config).
package correlate
