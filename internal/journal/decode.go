package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tocsin"
)

// ErrMalformed means that a payload is not a record: it was cut, changed, or is something else.
var ErrMalformed = errors.New("journal: not a record")

// A VersionError means that a record was written by a newer tocsin than this one.
type VersionError struct {
	Version uint64
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("journal: record version %d, but this tocsin reads only version %d", e.Version, Version)
}

// A Decoder reads records. The zero value is ready to use; it is for one goroutine at a time.
type Decoder struct {
	// Reuse makes Decode overwrite the events and the labels that it made before, for callers that keep nothing of a record
	// but its strings when they decode the next. Strings may always be kept.
	Reuse bool

	strings []string
	labels  []tocsin.Label
}

// Decode makes r what payload says. r.Raw is a part of payload; everything else is r's own: one piece of memory for all
// strings, one for all labels, one for the events. Keeping one string keeps all of its record.
// The error is ErrMalformed with the reason, or a *VersionError.
func (d *Decoder) Decode(payload []byte, r *Record) error {
	events := r.Events[:0]
	if !d.Reuse {
		events, d.labels = nil, nil
	}
	*r = Record{}
	d.strings = append(d.strings[:0], "")
	d.labels = d.labels[:0]
	num, v, b, err := nextUint(payload)
	switch {
	case err != nil:
		return err
	case num != recVersion:
		return malformed("the version is not first")
	case v != Version:
		return &VersionError{Version: v}
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed("field tag")
		}
		field := b[n:]
		n = protowire.ConsumeFieldValue(num, typ, field)
		if n < 0 {
			return malformed("field %d is cut", num)
		}
		field, b = field[:n], field[n:]
		switch num {
		case recEvent:
			events, err = d.event(events, typ, field, r.Source)
		case recStrings:
			err = d.table(typ, field)
		case recEventCount:
			events, err = room(events, typ, field, len(b)/minEvent)
		case recLabelCount:
			d.labels, err = room(d.labels, typ, field, len(b)/2)
		default:
			err = d.field(r, num, typ, field)
		}
		if err != nil {
			return err
		}
	}
	if r.Kind < Events || r.Kind > Rules {
		return malformed("kind %d", r.Kind)
	}
	r.Events = events
	return nil
}

// minEvent is the fewest bytes of an event: its tag, its length and its fingerprint.
const minEvent = 2 + 2 + 16

// room returns s with room for as many as the hint in field says, but never for more than limit.
func room[T any](s []T, typ protowire.Type, field []byte, limit int) ([]T, error) {
	hint, err := uintOf(typ, field)
	if err != nil {
		return nil, err
	}
	want := int(min(hint, uint64(limit)))
	if cap(s) < want {
		s = make([]T, 0, want)
	}
	return s, nil
}

// field reads one of the single fields of a record.
func (d *Decoder) field(r *Record, num protowire.Number, typ protowire.Type, field []byte) (err error) {
	var v uint64
	switch num {
	case recKind:
		v, err = uintOf(typ, field)
		if err == nil && v > uint64(Rules) {
			err = malformed("kind %d", v)
		}
		r.Kind = Kind(v)
	case recWriter:
		r.Writer, err = fixedOf(typ, field)
	case recSeq:
		r.Seq, err = uintOf(typ, field)
	case recAt:
		r.At, err = timeOf(typ, field)
	case recDomain:
		r.Domain, err = d.text(typ, field)
	case recSource:
		r.Source, err = d.text(typ, field)
	case recRules:
		r.Rules, err = d.text(typ, field)
	case recRaw:
		r.Raw, err = bytesOf(typ, field)
	}
	return err
}

// table reads the string table: one allocation, of which every string is a part.
func (d *Decoder) table(typ protowire.Type, field []byte) error {
	if len(d.strings) > 1 {
		return malformed("two string tables")
	}
	b, err := bytesOf(typ, field)
	if err != nil {
		return err
	}
	all := string(b)
	for pos := 0; pos < len(b); {
		num, typ, n := protowire.ConsumeTag(b[pos:])
		if n < 0 {
			return malformed("tag in the string table")
		}
		pos += n
		if num != strValue || typ != protowire.BytesType {
			n = protowire.ConsumeFieldValue(num, typ, b[pos:])
			if n < 0 {
				return malformed("field %d of the string table is cut", num)
			}
			pos += n
			continue
		}
		size, n := protowire.ConsumeVarint(b[pos:])
		if n < 0 || size > uint64(len(b)-pos-n) {
			return malformed("string %d is cut", len(d.strings))
		}
		pos += n
		d.strings = append(d.strings, all[pos:pos+int(size)])
		pos += int(size)
	}
	return nil
}

// event reads one event and appends it to events. It reads the wire by hand where protowire's calls would be most of the cost.
func (d *Decoder) event(events []tocsin.Event, typ protowire.Type, field []byte, source string) ([]tocsin.Event, error) {
	b, err := bytesOf(typ, field)
	if err != nil {
		return nil, err
	}
	events = append(events, tocsin.Event{})
	ev := &events[len(events)-1]
	ev.Source = source
	identified := false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, malformed("event %d: field tag", len(events)-1)
		}
		value := b[n:]
		n = protowire.ConsumeFieldValue(num, typ, value)
		if n < 0 {
			return nil, malformed("event %d: field %d is cut", len(events)-1, num)
		}
		value, b = value[:n], value[n:]
		if num == evFingerprint {
			identified = true
		}
		err := d.eventField(ev, num, typ, value)
		if err != nil {
			return nil, err
		}
	}
	if !identified {
		return nil, malformed("event %d has no fingerprint", len(events)-1)
	}
	return events, nil
}

func (d *Decoder) eventField(ev *tocsin.Event, num protowire.Number, typ protowire.Type, value []byte) (err error) {
	switch num {
	case evFingerprint:
		var f []byte
		f, err = bytesOf(typ, value)
		if err == nil && len(f) != len(ev.Fingerprint) {
			err = malformed("fingerprint of %d bytes", len(f))
		}
		copy(ev.Fingerprint[:], f)
	case evStatus:
		var v uint8
		v, err = byteOf(typ, value)
		ev.Status = tocsin.Status(v)
	case evSeverity:
		var v uint8
		v, err = byteOf(typ, value)
		ev.Severity = tocsin.Severity(v)
	case evKey:
		ev.Key, err = d.text(typ, value)
	case evWord:
		ev.Word, err = d.text(typ, value)
	case evSummary:
		ev.Summary, err = d.text(typ, value)
	case evAbout:
		ev.About, err = d.text(typ, value)
	case evURL:
		ev.URL, err = d.text(typ, value)
	case evLabels:
		ev.Labels, err = d.pairs(typ, value)
	case evAnnotations:
		ev.Annotations, err = d.pairs(typ, value)
	case evStartsAt:
		ev.StartsAt, err = timeOf(typ, value)
	case evEndsAt:
		ev.EndsAt, err = timeOf(typ, value)
	case evSource:
		ev.Source, err = d.text(typ, value)
	}
	return err
}

// pairs reads packed refs into the arena.
func (d *Decoder) pairs(typ protowire.Type, value []byte) (tocsin.Labels, error) {
	b, err := bytesOf(typ, value)
	if err != nil {
		return nil, err
	}
	start := len(d.labels)
	for len(b) > 0 {
		name, n := refOf(b)
		if n <= 0 {
			return nil, malformed("packed ref is cut")
		}
		b = b[n:]
		val, n := refOf(b)
		if n <= 0 {
			return nil, malformed("a label name without a value")
		}
		b = b[n:]
		if name >= uint64(len(d.strings)) || val >= uint64(len(d.strings)) {
			return nil, malformed("ref %d of %d strings", max(name, val), len(d.strings)-1)
		}
		d.labels = append(d.labels, tocsin.Label{Name: d.strings[name], Value: d.strings[val]})
	}
	if len(d.labels) == start {
		return nil, nil
	}
	return d.labels[start:len(d.labels):len(d.labels)], nil
}

// refOf reads one varint; most are one byte.
func refOf(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// text reads a ref.
func (d *Decoder) text(typ protowire.Type, value []byte) (string, error) {
	ref, err := uintOf(typ, value)
	if err != nil {
		return "", err
	}
	if ref >= uint64(len(d.strings)) {
		return "", malformed("ref %d of %d strings", ref, len(d.strings)-1)
	}
	return d.strings[ref], nil
}

func nextUint(b []byte) (num protowire.Number, v uint64, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || typ != protowire.VarintType {
		return 0, 0, nil, malformed("field tag")
	}
	v, m := protowire.ConsumeVarint(b[n:])
	if m < 0 {
		return 0, 0, nil, malformed("field %d is cut", num)
	}
	return num, v, b[n+m:], nil
}

// The values below are whole already: the caller has measured them by ConsumeFieldValue. Only their type is in question.

func uintOf(typ protowire.Type, value []byte) (uint64, error) {
	if typ != protowire.VarintType {
		return 0, malformed("wire type %d for a number", typ)
	}
	v, _ := refOf(value)
	return v, nil
}

func byteOf(typ protowire.Type, value []byte) (uint8, error) {
	v, err := uintOf(typ, value)
	if err == nil && v > 255 {
		err = malformed("%d in one byte", v)
	}
	return uint8(v), err
}

func fixedOf(typ protowire.Type, value []byte) (uint64, error) {
	if typ != protowire.Fixed64Type {
		return 0, malformed("wire type %d for a fixed number", typ)
	}
	return binary.LittleEndian.Uint64(value), nil
}

func timeOf(typ protowire.Type, value []byte) (time.Time, error) {
	v, err := fixedOf(typ, value)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(int64(v)).UTC(), nil
}

func bytesOf(typ protowire.Type, value []byte) ([]byte, error) {
	if typ != protowire.BytesType {
		return nil, malformed("wire type %d for bytes", typ)
	}
	v, _ := protowire.ConsumeBytes(value)
	return v, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
