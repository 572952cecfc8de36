// Package postgres keeps the state in a PostgreSQL database (14 or newer) that any number of nodes share.
//
// Each lane has a small pool of connections of its own, and so have Views and the clock, so that a slow report takes nothing from those who
// page. An Update is READ COMMITTED: whoever decides something has locked its part first, and the statements of store are written so that
// each is right by itself. A View is REPEATABLE READ and read only. An Update that PostgreSQL ends because of others (a deadlock, a
// serialization failure) or whose connection breaks before its commit is run again, a few times; whatever else says "not now" is
// store.ErrUnavailable. When the commit was sent and no answer came, that is store.ErrUnknown and nothing is run again.
//
// Nothing waits without a limit: for a connection, a dial, a lock, a statement. The limits, like everything else that a transaction
// wants of its session, are set by the transaction itself (SET LOCAL), and statements have no names, so a pooler that gives each
// transaction another connection may stand between. A transaction whose node sleeps is ended by the server, which frees its locks.
//
// Each makes one statement of many rows, by arrays: bulk.go says which and how.
//
// Only a primary is used: a standby is refused when a connection is made, and so is an old primary once a newer one was seen (by its timeline):
// each time that a connection is made all servers of the address are asked, and connections to a server that was replaced are used no more.
//
// Other nodes' commits are noticed by whoever polls; hint.go makes that sooner where NOTIFY works, and nothing rests on it.
package postgres
