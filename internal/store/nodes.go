package store

import (
	"cmp"
	"fmt"
	"time"
)

// A Node is one process that works on this state.
type Node struct {
	ID        int64
	Name      string    // as people know it: the host's name
	Address   string    // where it listens
	Version   string    // of tocsin
	StartedAt time.Time // UTC, by the database's clock, as the others
	SeenAt    time.Time // when it renewed its row
	EndedAt   time.Time // when it said that it stops; zero: it did not
	Detail    []byte    // what it says of itself, JSON
}

var nodeColumns = cols("id name address version started_at seen_at ended_at detail")

func scanNode(r Row) (Node, error) {
	return Node{
		ID: r.Int(0), Name: r.Text(1), Address: r.Text(2), Version: r.Text(3), StartedAt: r.Time(4), SeenAt: r.Time(5), EndedAt: r.Time(6), Detail: []byte(r.Text(7)),
	}, nil
}

var upsertNode = nodeColumns.upsert("node", 1)

// PutNode writes what a node says of itself.
func (t *Tx) PutNode(n Node) error {
	_, err := t.exec("put node "+n.Name, upsertNode, n.ID, n.Name, n.Address, n.Version, micros(n.StartedAt), micros(n.SeenAt), micros(n.EndedAt), string(n.Detail))
	return err
}

// Nodes returns all nodes that are known, the longest running first.
func (t *Tx) Nodes() ([]Node, error) {
	return all(t, "nodes", scanNode, "SELECT "+nodeColumns.list("")+" FROM node ORDER BY started_at, id")
}

// ForgetNodes removes the nodes that were not seen since before.
func (t *Tx) ForgetNodes(before time.Time) error {
	_, err := t.exec("forget nodes", "DELETE FROM node WHERE seen_at < $1", micros(before))
	return err
}

// TakeBack ends, at the time at, the claims on pages of every node but self that has stopped or was not seen since before: others
// find out what became of them. It returns how many there were.
func (t *Tx) TakeBack(self int64, before, at time.Time) (int64, error) {
	return t.exec("take back the pages of nodes that are gone", takeBack, micros(at), self, micros(before))
}

const takeBack = `UPDATE page SET claimed_to = $1 WHERE state IN (2, 3) AND claimed_to > $1 AND node <> $2
	AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = page.node AND n.seen_at >= $3 AND n.ended_at = 0)`

// PagesInHand returns how many pages each node has claimed at the time now, and not finished.
func (t *Tx) PagesInHand(now time.Time) (map[int64]int, error) {
	held := make(map[int64]int)
	for r, err := range t.conn.Query("SELECT node, COUNT(*) FROM page WHERE state IN (2, 3) AND claimed_to > $1 GROUP BY node", micros(now)) {
		if err != nil {
			return nil, fmt.Errorf("count pages in hand: %w", err)
		}
		held[r.Int(0)] = int(r.Int(1))
	}
	return held, nil
}

// Hold marks the pages that this transaction inserts or claims as those of node.
func (t *Tx) Hold(node int64) { t.node = cmp.Or(node, t.node) }
