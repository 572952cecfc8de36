// Package migrations brings a state database to the schema that this binary knows.
//
// One numbered file a step, forward only, never edited once released, the same for both engines, run by goose each in a
// transaction of its own, so that a kill in the middle leaves the step undone. A step must be safe while the version before
// it still runs. The files use PostgreSQL's types; For gives each engine the one spelling that it needs: SQLite its fast integer
// keys (BYTEA and BIGINT it takes as they are), PostgreSQL an order of texts that does not hang on the server's language.
//
// The table meta holds min_reader: the lowest schema version that a binary must know to read this database. A step that
// older binaries cannot live with raises it; they then refuse to open the database, by name. Any other newer schema they use.
package migrations
