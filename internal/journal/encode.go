package journal

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tocsin"
)

// Version is the record version that Append writes, and the newest that Decode reads.
const Version = 1

// Fields of a Record on the wire, as record.proto has them.
const (
	recVersion    = 1
	recKind       = 2
	recWriter     = 3
	recSeq        = 4
	recAt         = 5
	recEventCount = 6
	recLabelCount = 7
	recStrings    = 8
	recDomain     = 9
	recSource     = 10
	recRules      = 11
	recEvent      = 12
	recRaw        = 13

	strValue = 1
)

// Fields of an Event on the wire.
const (
	evFingerprint = 1
	evStatus      = 2
	evSeverity    = 3
	evKey         = 4
	evWord        = 5
	evSummary     = 6
	evAbout       = 7
	evURL         = 8
	evLabels      = 9
	evAnnotations = 10
	evStartsAt    = 11
	evEndsAt      = 12
	evSource      = 13
)

// encoders keeps the scratch space of Append between calls; it holds nothing that a caller could see.
var encoders = sync.Pool{New: func() any { return new(encoder) }}

// Append appends r as one payload of the record format to b and returns the longer slice. Times keep their microseconds.
// Whether it fits into one entry is the caller's to know: see Split.
func (r *Record) Append(b []byte) []byte {
	e := encoders.Get().(*encoder)
	b = e.append(b, r)
	e.forget()
	encoders.Put(e)
	return b
}

// An encoder is the scratch space of one Append: events and strings are collected apart, because the table stands before
// the events on the wire and is known only after them.
type encoder struct {
	table  table
	events []byte
	labels int // labels and annotations written

	// What the event before had at the same place: names nearly always, and many values, are the same again.
	lastLabels, lastAnnotations []pair
	last                        pair // source and key are not worth it; word and url are
}

// A pair is what the event before referred to at one place.
type pair struct {
	name, value       string
	nameRef, valueRef uint32
}

func (e *encoder) append(b []byte, r *Record) []byte {
	e.reset()
	domain, source, rules := e.table.ref(r.Domain), e.table.ref(r.Source), e.table.ref(r.Rules)
	for i := range r.Events {
		e.event(&r.Events[i], r.Source)
	}
	b = appendUint(b, recVersion, Version)
	b = appendUint(b, recKind, uint64(r.Kind))
	b = protowire.AppendTag(b, recWriter, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, r.Writer)
	b = appendUint(b, recSeq, r.Seq)
	b = appendTime(b, recAt, r.At)
	b = appendUint(b, recEventCount, uint64(len(r.Events)))
	b = appendUint(b, recLabelCount, uint64(e.labels))
	if len(e.table.wire) > 0 {
		b = protowire.AppendTag(b, recStrings, protowire.BytesType)
		b = protowire.AppendBytes(b, e.table.wire)
	}
	b = appendUint(b, recDomain, uint64(domain))
	b = appendUint(b, recSource, uint64(source))
	b = appendUint(b, recRules, uint64(rules))
	b = append(b, e.events...)
	if len(r.Raw) > 0 {
		b = protowire.AppendTag(b, recRaw, protowire.BytesType)
		b = protowire.AppendBytes(b, r.Raw)
	}
	return b
}

func (e *encoder) reset() {
	e.table.reset()
	e.events = e.events[:0]
	e.labels = 0
	e.lastLabels = e.lastLabels[:0]
	e.lastAnnotations = e.lastAnnotations[:0]
	e.last = pair{}
}

// forget drops what points into the caller's memory, and scratch space that one unusually large record has grown.
func (e *encoder) forget() {
	clear(e.table.strings)
	clear(e.lastLabels[:cap(e.lastLabels)])
	clear(e.lastAnnotations[:cap(e.lastAnnotations)])
	e.last = pair{}
	if cap(e.events) > 4*MaxPayload || cap(e.table.wire) > 4*MaxPayload {
		*e = encoder{}
	}
}

// event appends one event to the scratch space.
func (e *encoder) event(ev *tocsin.Event, source string) {
	b := append(e.events, recEvent<<3|byte(protowire.BytesType), 0)
	start := len(b)
	b = append(b, evFingerprint<<3|byte(protowire.BytesType), byte(len(ev.Fingerprint)))
	b = append(b, ev.Fingerprint[:]...)
	b = append(b, evStatus<<3, byte(ev.Status)&0x7f)
	if ev.Status >= 0x80 { // no status is, but nothing may turn into another one
		b = append(b[:len(b)-1], byte(ev.Status), 1)
	}
	b = appendUint(b, evSeverity, uint64(ev.Severity))
	b = appendUint(b, evKey, uint64(e.table.ref(ev.Key)))
	if ev.Word != e.last.name {
		e.last.name, e.last.nameRef = ev.Word, e.table.ref(ev.Word)
	}
	b = appendUint(b, evWord, uint64(e.last.nameRef))
	b = appendUint(b, evSummary, uint64(e.table.ref(ev.Summary)))
	b = appendUint(b, evAbout, uint64(e.table.ref(ev.About)))
	if ev.URL != e.last.value {
		e.last.value, e.last.valueRef = ev.URL, e.table.ref(ev.URL)
	}
	b = appendUint(b, evURL, uint64(e.last.valueRef))
	b, e.lastLabels = e.refs(b, evLabels, ev.Labels, e.lastLabels)
	b, e.lastAnnotations = e.refs(b, evAnnotations, ev.Annotations, e.lastAnnotations)
	b = appendTime(b, evStartsAt, ev.StartsAt)
	b = appendTime(b, evEndsAt, ev.EndsAt)
	if ev.Source != source {
		b = protowire.AppendTag(b, evSource, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(e.table.ref(ev.Source)))
	}
	e.events = setLength(b, start)
}

// refs appends the refs of ls as one packed field; last is what the event before had there.
func (e *encoder) refs(b []byte, field byte, ls tocsin.Labels, last []pair) ([]byte, []pair) {
	if len(ls) == 0 {
		return b, last
	}
	e.labels += len(ls)
	b = append(b, field<<3|byte(protowire.BytesType), 0)
	start := len(b)
	for i := range ls {
		if i == len(last) {
			last = append(last, pair{})
		}
		l, p := &ls[i], &last[i]
		if l.Name != p.name {
			p.name, p.nameRef = l.Name, e.table.ref(l.Name)
		}
		if l.Value != p.value {
			p.value, p.valueRef = l.Value, e.table.ref(l.Value)
		}
		if p.nameRef < 0x80 {
			b = append(b, byte(p.nameRef))
		} else {
			b = protowire.AppendVarint(b, uint64(p.nameRef))
		}
		if p.valueRef < 0x80 {
			b = append(b, byte(p.valueRef))
		} else {
			b = protowire.AppendVarint(b, uint64(p.valueRef))
		}
	}
	return setLength(b, start), last
}

// setLength writes the length of what follows start into the one byte before it, and makes room where one is not enough.
func setLength(b []byte, start int) []byte {
	n := len(b) - start
	if n < 0x80 {
		b[start-1] = byte(n)
		return b
	}
	var v [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(v[:], uint64(n))
	b = append(b, v[:size-1]...) // only to grow it
	copy(b[start+size-1:], b[start:start+n])
	copy(b[start-1:], v[:size])
	return b
}

func appendUint(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, field<<3|byte(protowire.VarintType))
	if v < 0x80 {
		return append(b, byte(v))
	}
	return protowire.AppendVarint(b, v)
}

func appendTime(b []byte, field byte, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(b, field<<3|byte(protowire.Fixed64Type))
	return binary.LittleEndian.AppendUint64(b, uint64(t.UnixMicro()))
}

// A table gives each text of a record a ref, in order of first use. It is an open hash table of its own, because it is
// emptied for each record and asked thirty times an event: emptying costs nothing, and a look-up one hash and one compare.
type table struct {
	seed    maphash.Seed
	slots   []slot
	round   uint32 // a slot of another round is free
	strings []string
	wire    []byte // the Strings message
}

type slot struct {
	round, ref uint32
	hash       uint64
}

func (t *table) reset() {
	if t.slots == nil {
		t.seed = maphash.MakeSeed()
		t.slots = make([]slot, 1024)
	}
	t.round++
	if t.round == 0 {
		clear(t.slots)
		t.round = 1
	}
	t.strings = t.strings[:0]
	t.wire = t.wire[:0]
}

// ref returns the ref of s, 0 for the empty string.
func (t *table) ref(s string) uint32 {
	if s == "" {
		return 0
	}
	hash := maphash.String(t.seed, s)
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for ; t.slots[i].round == t.round; i = (i + 1) & mask {
		if t.slots[i].hash == hash && t.strings[t.slots[i].ref-1] == s {
			return t.slots[i].ref
		}
	}
	t.strings = append(t.strings, s)
	t.wire = append(t.wire, strValue<<3|byte(protowire.BytesType))
	t.wire = protowire.AppendVarint(t.wire, uint64(len(s)))
	t.wire = append(t.wire, s...)
	ref := uint32(len(t.strings))
	t.slots[i] = slot{round: t.round, ref: ref, hash: hash}
	if len(t.strings) > len(t.slots)/2 {
		t.grow()
	}
	return ref
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for _, s := range old {
		if s.round != t.round {
			continue
		}
		i := s.hash & mask
		for t.slots[i].round == t.round {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}
