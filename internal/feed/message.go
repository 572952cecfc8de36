package feed

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tocsin"
)

// Schema is the version of the messages. Fields are added without a new one; what a field means, and that it is there, stays.
const Schema = 1

// MaxMessage is the size in bytes that a message may have: one that would be bigger goes without its records and data.
const MaxMessage = 256 << 10

// A Message is one change as it is published.
type Message struct {
	Key   []byte // id of the incident or major: what has one key stays in order
	Value []byte // JSON
	At    time.Time
}

// A body is the JSON of a message.
type body struct {
	Schema    int             `json:"schema"`
	ID        string          `json:"id"` // the same in every copy
	Partition int             `json:"partition"`
	Seq       int64           `json:"seq"`
	At        time.Time       `json:"at"`
	Kind      string          `json:"kind"`
	Actor     string          `json:"actor"`
	About     string          `json:"about"`
	Incident  any             `json:"incident"`
	Major     any             `json:"major"`
	Data      json.RawMessage `json:"data"`
	Cut       bool            `json:"cut,omitempty"`
}

// Records are what messages say of incidents and majors: each returns what becomes the record's JSON.
type Records struct {
	Incident func(tocsin.Incident) any
	Major    func(tocsin.Major) any
}

// Encode returns the message of a change. The incident and the major are those that the change is about; nil where it is about none, or where
// retention has deleted it.
func Encode(c tocsin.Change, i *tocsin.Incident, m *tocsin.Major, r Records) (Message, error) {
	b := body{
		Schema: Schema, ID: strconv.Itoa(c.Partition) + "-" + strconv.FormatInt(c.Seq, 10), Partition: c.Partition, Seq: c.Seq, At: c.At.UTC(),
		Kind: strings.TrimPrefix(c.Kind, "do-"), Actor: c.Actor, About: about(c),
	}
	if i != nil {
		b.Incident = r.Incident(*i)
	}
	if m != nil {
		b.Major = r.Major(*m)
	}
	var err error
	b.Data, err = public(c.Data)
	if err != nil {
		return Message{}, fmt.Errorf("change %s: its data: %w", b.ID, err)
	}
	value, err := json.Marshal(b)
	if err == nil && len(value) > MaxMessage {
		b.Incident, b.Major, b.Data, b.Cut = nil, nil, nil, true
		value, err = json.Marshal(b)
	}
	if err != nil {
		return Message{}, fmt.Errorf("change %s: %w", b.ID, err)
	}
	key := b.About
	if key == "" {
		key = "partition-" + strconv.Itoa(c.Partition)
	}
	return Message{Key: []byte(key), Value: value, At: c.At}, nil
}

func about(c tocsin.Change) string {
	switch {
	case c.Incident != 0:
		return tocsin.IncidentID(c.Incident)
	case c.Major != 0:
		return tocsin.MajorID(c.Major)
	}
	return ""
}

// public returns a change's data without what only tocsin itself reads.
func public(data json.RawMessage) (json.RawMessage, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	err := json.Unmarshal(data, &fields)
	if err != nil {
		return nil, err
	}
	delete(fields, "stops")
	delete(fields, "before")
	return json.Marshal(fields)
}
