package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const maxValue = 8 << 20 // bytes of one JSON value of a file

// errTooLong means that one value of a file is too long to be an alert.
var errTooLong = fmt.Errorf("a value of more than %d bytes", maxValue)

// A stream reads JSON values that stand one after the other, such as JSON lines. It holds one of them at a time.
type stream struct {
	in      *meter
	dec     *json.Decoder
	flatten bool              // an array stands for its items
	items   []json.RawMessage // of an array that has been begun
	read    int               // values read
	ahead   json.RawMessage   // did not fit into the last batch
}

func newStream(r io.Reader, flatten bool) *stream {
	in := &meter{r: r}
	return &stream{in: in, dec: json.NewDecoder(in), flatten: flatten}
}

// A meter ends a reader that gives too much for one value.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLong
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// next returns the next value; io.EOF after the last one.
func (s *stream) next() (json.RawMessage, error) {
	for len(s.items) == 0 {
		s.in.left = maxValue
		var v json.RawMessage
		err := s.dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		s.read++
		if err != nil {
			return nil, wrongUse("value %d of the input: %s", s.read, err)
		}
		if !s.flatten || !bytes.HasPrefix(v, []byte("[")) {
			return v, nil
		}
		err = json.Unmarshal(v, &s.items)
		if err != nil {
			return nil, wrongUse("value %d of the input: %s", s.read, err)
		}
	}
	v := s.items[0]
	s.items = s.items[1:]
	return v, nil
}

// batch returns the next values, at most n and, where that is more than one, at most size bytes; none after the last one.
func (s *stream) batch(n, size int) ([]json.RawMessage, error) {
	var out []json.RawMessage
	sum := 0
	for len(out) < n {
		v := s.ahead
		s.ahead = nil
		if v == nil {
			var err error
			v, err = s.next()
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			if err != nil {
				return nil, err
			}
		}
		if sum += len(v) + 1; sum > size && len(out) > 0 {
			s.ahead = v
			return out, nil
		}
		out = append(out, v)
	}
	return out, nil
}
