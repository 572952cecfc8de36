package store

import (
	"errors"
	"fmt"
	"strconv"
)

// Names of what the installation knows of itself.
const (
	MetaPartitions = "partitions"  // N, in digits
	MetaIsolateBy  = "isolate_by"  // the labels, a JSON list
	MetaJournal    = "journal"     // which one the offsets are of, in words
	MetaSigningKey = "signing key" // for links and sessions, hex
	MetaMigration  = "migration"   // what tocsin migrate is doing with this state, JSON; not there: nothing
	MetaMoved      = "moved"       // where tocsin migrate has moved this state to, JSON; not there: it is the one in use
)

// Meta returns what is kept under name; ErrNotFound where nothing is.
func (t *Tx) Meta(name string) (string, error) {
	return one(t, "meta "+name, func(r Row) (string, error) { return r.Text(0), nil }, "SELECT value FROM meta WHERE name = $1", name)
}

// SetMeta keeps value under name.
func (t *Tx) SetMeta(name, value string) error {
	_, err := t.exec("set meta "+name, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
}

// MetaOnce keeps value under name unless something is kept there already, and returns what is kept: every node that starts
// at the same time comes away with the same one.
func (t *Tx) MetaOnce(name, value string) (string, error) {
	_, err := t.exec("create meta "+name, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, value)
	if err != nil {
		return "", err
	}
	return t.Meta(name)
}

// Partitions returns how many partitions the state has: 1 before anybody said so.
func (t *Tx) Partitions() (int, error) {
	text, err := t.Meta(MetaPartitions)
	if errors.Is(err, ErrNotFound) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("the state says that it has %q partitions", text)
	}
	return n, nil
}

// PutRules keeps the body of a rule set under its hash; one that is there stays.
func (t *Tx) PutRules(hash string, body []byte) error {
	_, err := t.exec("put rules "+hash, "INSERT INTO ruleset (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", hash, body)
	return err
}

// Rules returns the body of a rule set; ErrNotFound where its hash was never put.
func (t *Tx) Rules(hash string) ([]byte, error) {
	return one(t, "rules "+hash, func(r Row) ([]byte, error) { return r.Bytes(0), nil }, "SELECT body FROM ruleset WHERE hash = $1", hash)
}

// HasRules reports whether the rule set with this hash was ever put.
func (t *Tx) HasRules(hash string) (bool, error) {
	n, err := t.number("rules", "SELECT COUNT(*) FROM ruleset WHERE hash = $1", hash)
	return n > 0, err
}
