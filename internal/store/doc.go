// Package store is the state: what is true now, and the history of how it came about.
//
// The tables (migrations) and every statement (the methods of Tx) stand here once, in SQL that both engines take: $1 placeholders, times
// as unix microseconds with 0 for none, booleans as 0 and 1. An engine (sqlite, postgres) brings a Conn for the time of a
// transaction, and a DB that begins and ends them. storetest holds what every engine must do. The package decides nothing: correlate
// and paging do.
//
// A transaction that decides something locks its part first (Claim or Lock), appends to its history (AddChanges), and writes it back
// (SavePart), which fails with ErrFenced for whoever is not the owner any more: the whole transaction is then undone.
//
// What repeats of an alert change is not in its row but packed in touches; Alert, Alerts and RawAlerts merge them, LoadAlerts does not.
// A page is claimed with a lease and a token; see ClaimPages and SavePages for what becomes of it. A timer fires for whoever
// deletes it.
package store
