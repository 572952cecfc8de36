// Package store is the state: what is true now, and the history of how it came about.
//
// The tables and every statement stand here once, in SQL that both engines take ($1 placeholders); sqlite and postgres
// bring only connections, transactions and bulk writes. storetest holds what every engine must do.
// It decides nothing: correlate and paging do.
package store
