package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// Nodes is who works on the state of an installation.
type Nodes struct {
	At      time.Time `json:"at"`
	Journal string    `json:"journal"` // embedded or kafka
	State   string    `json:"state"`   // embedded or postgres
	Nodes   []Node    `json:"nodes"`
	Unheld  []Unheld  `json:"unheld"`

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads the answer and keeps its text in Raw.
func (n *Nodes) UnmarshalJSON(b []byte) error {
	type plain Nodes
	return readKeeping(b, (*plain)(n), &n.Raw)
}

// A Node is one process that works on the state.
type Node struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Address    string    `json:"address"`
	Version    string    `json:"version"`
	State      string    `json:"state"` // ok, stopped or gone
	Self       bool      `json:"self"`  // it is the one that answered
	StartedAt  time.Time `json:"started_at"`
	SeenAt     time.Time `json:"seen_at"`
	EndedAt    time.Time `json:"ended_at"`
	Lag        int64     `json:"lag"` // records that wait
	Alerts     int64     `json:"alerts"`
	Incidents  int64     `json:"incidents"`
	Pages      int       `json:"pages"` // in hand
	Partitions []Holding `json:"partitions"`
}

// A Holding is one partition that a node works on.
type Holding struct {
	Partition int    `json:"partition"`
	State     string `json:"state"`
	Offset    int64  `json:"offset"` // applied next
	Lag       int64  `json:"lag"`
	Alerts    int64  `json:"alerts"`
	Incidents int64  `json:"incidents"`
}

// Unheld is a partition that no node works on.
type Unheld struct {
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Lag       *int64 `json:"lag"` // nil: the journal does not say now
}

// Nodes says who works on the state, and what nobody works on.
func (c *Client) Nodes(ctx context.Context) (Nodes, error) {
	var n Nodes
	return n, c.get(ctx, "/api/v1/nodes", nil, &n)
}

// A DeadLetter is a record of the journal that could not be applied.
type DeadLetter struct {
	ID     string    `json:"id"` // partition/offset
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Tries  int       `json:"tries"`
	Size   int       `json:"size"` // bytes

	Payload []byte      `json:"payload"` // of one letter; a list has none
	Record  *DeadRecord `json:"record"`  // what can be read of it

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads a letter and keeps its text in Raw.
func (d *DeadLetter) UnmarshalJSON(b []byte) error {
	type plain DeadLetter
	return readKeeping(b, (*plain)(d), &d.Raw)
}

// A DeadRecord is what can be read of a dead letter.
type DeadRecord struct {
	Kind   string    `json:"kind"`
	Source string    `json:"source"`
	Domain string    `json:"domain"`
	At     time.Time `json:"at"` // when it was received
	Rules  string    `json:"rules"`
	Events []struct {
		Key      string            `json:"key"`
		Status   string            `json:"status"`
		Severity string            `json:"severity"`
		Summary  string            `json:"summary"`
		Labels   map[string]string `json:"labels"`
	} `json:"events"`
}

// DeadLetters lists the newest records that could not be applied, newest last; limit is at most 1,000.
func (c *Client) DeadLetters(ctx context.Context, limit int) (List[DeadLetter], error) {
	var said struct {
		Letters []DeadLetter `json:"dead_letters"`
		More    bool         `json:"more"`
	}
	err := c.get(ctx, "/api/v1/dead-letters", url.Values{"limit": {strconv.Itoa(limit)}}, &said)
	return List[DeadLetter]{Items: said.Letters, More: said.More}, err
}

// DeadLetter returns one letter with its payload.
func (c *Client) DeadLetter(ctx context.Context, partition int, offset int64) (DeadLetter, error) {
	var d DeadLetter
	return d, c.get(ctx, letterPath(partition, offset), nil, &d)
}

// SettleDeadLetter carries out redrive or drop.
func (c *Client) SettleDeadLetter(ctx context.Context, partition int, offset int64, word string) (Settled, error) {
	var s Settled
	return s, c.post(ctx, letterPath(partition, offset)+"/"+word, struct{}{}, &s)
}

// Settled is what became of a dead letter.
type Settled struct {
	ID         string `json:"id"`
	RedrivenAs string `json:"redriven_as"` // partition/offset where its record is now; "": it was dropped

	Raw json.RawMessage `json:"-"` // as the server wrote it
}

// UnmarshalJSON reads the answer and keeps its text in Raw.
func (s *Settled) UnmarshalJSON(b []byte) error {
	type plain Settled
	return readKeeping(b, (*plain)(s), &s.Raw)
}

func letterPath(partition int, offset int64) string {
	return "/api/v1/dead-letters/" + strconv.Itoa(partition) + "/" + strconv.FormatInt(offset, 10)
}
