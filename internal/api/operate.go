package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tocsin"
	"tocsin/internal/journal"
	"tocsin/internal/store"
)

// An Operator shows those who run the installation what it is made of, and mends what only they can.
type Operator interface {
	// Nodes returns who works on the state, and what nobody works on.
	Nodes(ctx context.Context) (Nodes, error)
	// DeadLetters returns the newest records that could not be applied, newest last, at most limit.
	DeadLetters(ctx context.Context, limit int) ([]journal.DeadLetter, error)
	// Redrive puts the record of a letter into the journal again and settles the letter. It returns where the record is now. A letter
	// that is not there is store.ErrNotFound; a record that would be refused again is ErrStillDead.
	Redrive(ctx context.Context, partition int, offset int64, by string) (toPartition int, toOffset int64, err error)
	// Drop settles a letter whose record nobody needs; store.ErrNotFound where there is none.
	Drop(ctx context.Context, partition int, offset int64, by string) error
}

// ErrStillDead means that a dead letter would be set aside again if it were driven now.
var ErrStillDead = errors.New("it cannot be applied by this version either")

// Nodes is who works on one state.
type Nodes struct {
	Journal string // embedded or kafka
	State   string // embedded or postgres
	Nodes   []Node // the longest running first
	Unheld  []Unheld
}

// A Node is one process that works on the state, as of when it was seen. Times are UTC.
type Node struct {
	ID         string // of this start of the process
	Name       string // of its host
	Address    string // where it listens
	Version    string
	State      string // ok, stopped or gone
	Self       bool   // it is the one that answers
	StartedAt  time.Time
	SeenAt     time.Time
	EndedAt    time.Time // zero: it has not said that it stops
	Pages      int       // claimed and not finished
	Partitions []Holding // of a node that is stopped or gone: none
}

// A Holding is one partition that a node works on.
type Holding struct {
	Partition int    `json:"partition"`
	State     string `json:"state"`  // loading or ok
	Offset    int64  `json:"offset"` // applied next
	Lag       int64  `json:"lag"`    // records that wait
	Alerts    int64  `json:"alerts"` // that fire
	Incidents int64  `json:"incidents"`
}

// Unheld is a partition that no node works on: its alerts are accepted, and wait.
type Unheld struct {
	Partition int
	Offset    int64 // to be applied next
	Lag       int64 // records that wait; -1: the journal does not say now
}

// A nodeRecord is a node as answers have it.
type nodeRecord struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Address    string    `json:"address"`
	Version    string    `json:"version"`
	State      string    `json:"state"`
	Self       bool      `json:"self"`
	StartedAt  stamp     `json:"started_at"`
	SeenAt     stamp     `json:"seen_at"`
	EndedAt    stamp     `json:"ended_at"`
	Lag        int64     `json:"lag"`
	Alerts     int64     `json:"alerts"`
	Incidents  int64     `json:"incidents"`
	Pages      int       `json:"pages"`
	Partitions []Holding `json:"partitions"`
}

func nodeRecordOf(n Node) nodeRecord {
	out := nodeRecord{
		ID: n.ID, Name: n.Name, Address: n.Address, Version: n.Version, State: n.State, Self: n.Self, StartedAt: stamp(n.StartedAt),
		SeenAt: stamp(n.SeenAt), EndedAt: stamp(n.EndedAt), Pages: n.Pages, Partitions: some(n.Partitions),
	}
	for _, p := range n.Partitions {
		out.Lag += p.Lag
		out.Alerts += p.Alerts
		out.Incidents += p.Incidents
	}
	return out
}

// operated returns a handler that needs an operator.
func (s *Server) operated(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return s.do(func(w http.ResponseWriter, r *http.Request) error {
		if s.Operator == nil {
			return refuse(http.StatusNotImplemented, "this server has nothing that knows of its parts")
		}
		return f(w, r)
	})
}

// nodes answers who does what, and how far behind.
func (s *Server) nodes(w http.ResponseWriter, r *http.Request) error {
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	n, err := s.Operator.Nodes(r.Context())
	if err != nil {
		return err
	}
	type unheld struct {
		Partition int    `json:"partition"`
		Offset    int64  `json:"offset"`
		Lag       *int64 `json:"lag"`
	}
	return answer(w, struct {
		At      stamp        `json:"at"`
		Journal string       `json:"journal"`
		State   string       `json:"state"`
		Nodes   []nodeRecord `json:"nodes"`
		Unheld  []unheld     `json:"unheld"`
	}{stamp(s.Now()), n.Journal, n.State, each(n.Nodes, nodeRecordOf), each(n.Unheld, func(u Unheld) unheld {
		out := unheld{u.Partition, u.Offset, &u.Lag}
		if u.Lag < 0 {
			out.Lag = nil
		}
		return out
	})})
}

// A letterRecord is a dead letter as answers have it.
type letterRecord struct {
	ID        string `json:"id"` // partition/offset
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	At        stamp  `json:"at"`
	Reason    string `json:"reason"`
	Tries     int    `json:"tries"`
	Size      int    `json:"size"` // bytes of the payload
}

func letterRecordOf(d journal.DeadLetter) letterRecord {
	return letterRecord{
		ID: strconv.Itoa(d.Partition) + "/" + strconv.FormatInt(d.Offset, 10), Partition: d.Partition, Offset: d.Offset, At: stamp(d.At), Reason: d.Reason,
		Tries: d.Tries, Size: len(d.Payload),
	}
}

// deadLetters answers the newest records that could not be applied, newest last.
func (s *Server) deadLetters(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "limit")
	limit := q.limit()
	if q.err() != nil {
		return q.err()
	}
	found, err := s.Operator.DeadLetters(r.Context(), limit+1)
	if err != nil {
		return err
	}
	more := len(found) > limit
	if more {
		found = found[len(found)-limit:]
	}
	return answer(w, struct {
		Letters []letterRecord `json:"dead_letters"`
		More    bool           `json:"more"`
	}{each(found, letterRecordOf), more})
}

// pathLetter returns whose letter the path of r names.
func pathLetter(r *http.Request) (partition int, offset int64, err error) {
	p, err := strconv.ParseUint(r.PathValue("partition"), 10, 31)
	if err != nil {
		return 0, 0, bad("path", "partition", fmt.Sprintf("%q is no partition such as 0", r.PathValue("partition")))
	}
	o, err := strconv.ParseUint(r.PathValue("offset"), 10, 63)
	if err != nil {
		return 0, 0, bad("path", "offset", fmt.Sprintf("%q is no offset such as 42", r.PathValue("offset")))
	}
	return int(p), int64(o), nil
}

// mostLetters is how many letters, the newest, are looked through for one.
const mostLetters = 1000

// deadLetter answers one letter with its payload, and what can be read of it.
func (s *Server) deadLetter(w http.ResponseWriter, r *http.Request) error {
	partition, offset, err := pathLetter(r)
	if err != nil {
		return err
	}
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	found, err := s.Operator.DeadLetters(r.Context(), mostLetters)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found, func(d journal.DeadLetter) bool { return d.Partition == partition && d.Offset == offset })
	if i < 0 {
		return store.ErrNotFound
	}
	return answer(w, struct {
		letterRecord
		Payload []byte         `json:"payload"`
		Record  *journalRecord `json:"record"`
	}{letterRecordOf(found[i]), found[i].Payload, journalRecordOf(found[i].Payload)})
}

// A journalRecord is what can be read of a dead letter's payload.
type journalRecord struct {
	Kind   string        `json:"kind"` // events, tick or rules
	Source orNull        `json:"source"`
	Domain orNull        `json:"domain"`
	At     stamp         `json:"at"` // when it was received
	Rules  orNull        `json:"rules"`
	Events []eventRecord `json:"events"`
}

// An eventRecord is one event of it.
type eventRecord struct {
	Key      string          `json:"key"`
	Status   tocsin.Status   `json:"status"`
	Severity tocsin.Severity `json:"severity"`
	Summary  string          `json:"summary"`
	Labels   tocsin.Labels   `json:"labels"`
}

// journalRecordOf reads a payload; nil where it is no record that this version knows.
func journalRecordOf(payload []byte) *journalRecord {
	var dec journal.Decoder
	var rec journal.Record
	err := dec.Decode(payload, &rec)
	if err != nil {
		return nil
	}
	kind := map[journal.Kind]string{journal.Events: "events", journal.Tick: "tick", journal.Rules: "rules"}[rec.Kind]
	return &journalRecord{
		Kind: kind, Source: orNull(rec.Source), Domain: orNull(rec.Domain), At: stamp(rec.At), Rules: orNull(rec.Rules),
		Events: each(rec.Events, func(e tocsin.Event) eventRecord {
			return eventRecord{Key: e.Key, Status: e.Status, Severity: e.Severity, Summary: e.Summary, Labels: e.Labels}
		}),
	}
}

// redrive puts a record into the journal again.
func (s *Server) redrive(w http.ResponseWriter, r *http.Request) error {
	partition, offset, err := pathLetter(r)
	if err != nil {
		return err
	}
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	to, at, err := s.Operator.Redrive(r.Context(), partition, offset, whoIs(r).name)
	switch {
	case errors.Is(err, ErrStillDead):
		return refuse(http.StatusConflict, err.Error())
	case errors.Is(err, journal.ErrSick):
		return &problem{Status: http.StatusServiceUnavailable, Detail: "the journal cannot be written now", wait: busySeconds, cause: err}
	case err != nil:
		return err
	}
	return answer(w, struct {
		ID  string `json:"id"`
		Now string `json:"redriven_as"`
	}{fmt.Sprintf("%d/%d", partition, offset), fmt.Sprintf("%d/%d", to, at)})
}

// dropLetter settles a letter whose record nobody needs.
func (s *Server) dropLetter(w http.ResponseWriter, r *http.Request) error {
	partition, offset, err := pathLetter(r)
	if err != nil {
		return err
	}
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	err = s.Operator.Drop(r.Context(), partition, offset, whoIs(r).name)
	if err != nil {
		return err
	}
	return answer(w, struct {
		ID string `json:"id"`
	}{fmt.Sprintf("%d/%d", partition, offset)})
}
