package correlate

import (
	"encoding/binary"
	"strings"

	"tocsin"
)

// symbols keeps each string that labels are made of once, with the number of its holders, so that a million alerts share
// their clusters, namespaces and jobs.
type symbols struct {
	ids  map[string]uint32
	text []string
	refs []int32
	free []uint32

	unpacked tocsin.Labels // room for one set
}

func newSymbols() symbols {
	return symbols{ids: map[string]uint32{"": 0}, text: []string{""}, refs: []int32{1}}
}

// hold returns the number of s and counts one holder more.
func (y *symbols) hold(s string) uint32 {
	if id, ok := y.ids[s]; ok {
		y.refs[id]++
		return id
	}
	s = strings.Clone(s) // s may be a piece of a whole record
	var id uint32
	if n := len(y.free); n > 0 {
		id = y.free[n-1]
		y.free = y.free[:n-1]
		y.text[id], y.refs[id] = s, 1
	} else {
		id = uint32(len(y.text))
		y.text = append(y.text, s)
		y.refs = append(y.refs, 1)
	}
	y.ids[s] = id
	return id
}

func (y *symbols) drop(id uint32) {
	if id == 0 {
		return
	}
	y.refs[id]--
	if y.refs[id] == 0 {
		delete(y.ids, y.text[id])
		y.text[id] = ""
		y.free = append(y.free, id)
	}
}

// pack holds every name and value of ls and writes their numbers as varints.
func (y *symbols) pack(ls tocsin.Labels) string {
	buf := make([]byte, 0, 64)
	for _, l := range ls {
		buf = binary.AppendUvarint(buf, uint64(y.hold(l.Name)))
		buf = binary.AppendUvarint(buf, uint64(y.hold(l.Value)))
	}
	return string(buf)
}

// labels unpacks a set; what it returns is overwritten by the next call.
func (y *symbols) labels(packed string) tocsin.Labels {
	ls := y.unpacked[:0]
	for i := 0; i < len(packed); {
		name, n := uvarint(packed[i:])
		value, m := uvarint(packed[i+n:])
		i += n + m
		ls = append(ls, tocsin.Label{Name: y.text[name], Value: y.text[value]})
	}
	y.unpacked = ls
	return ls
}

func (y *symbols) release(packed string) {
	for i := 0; i < len(packed); {
		id, n := uvarint(packed[i:])
		i += n
		y.drop(id)
	}
}

func uvarint(s string) (v uint32, n int) {
	for shift := 0; n < len(s); shift += 7 {
		b := s[n]
		n++
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	return v, n
}
