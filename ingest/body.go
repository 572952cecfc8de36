package ingest

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// errTooBig means that a body has more bytes, once unpacked, than a door takes.
var errTooBig = errors.New("body too big")

// errCoding means a Content-Encoding that nobody here can undo.
var errCoding = errors.New("content coding")

// readBody appends the body of r to b[:0], unpacked if it is packed; it is at most most bytes.
func (rc *Receiver) readBody(r *http.Request, b []byte, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return b[:0], errTooBig
	}
	coding := r.Header.Get("Content-Encoding")
	if coding == "" || strings.EqualFold(coding, "identity") {
		return readUpTo(r.Body, b[:0], most, r.ContentLength)
	}
	if !strings.EqualFold(coding, "gzip") && !strings.EqualFold(coding, "x-gzip") {
		return b[:0], errCoding
	}
	// What is packed is bounded too: a body may unpack to nothing for ever.
	packed := &io.LimitedReader{R: r.Body, N: most + 1}
	zr, err := rc.unpack.get(packed)
	if err != nil {
		return b[:0], fmt.Errorf("gzip: %w", err)
	}
	defer rc.unpack.put(zr)
	b, err = readUpTo(zr, b[:0], most, 0)
	if packed.N <= 0 {
		return b[:0], errTooBig
	}
	if err != nil && !errors.Is(err, errTooBig) {
		return b[:0], fmt.Errorf("gzip: %w", err)
	}
	return b, err
}

// readUpTo appends what in holds to b until its end; expected is a guess at how much that is, which may be a lie.
func readUpTo(in io.Reader, b []byte, most, expected int64) ([]byte, error) {
	const step = 16 << 10
	if want := min(expected+1, 64<<10); int64(cap(b)) < want {
		b = make([]byte, 0, want)
	}
	for {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, max(step, 2*cap(b))), b...)
		}
		n, err := in.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > most:
			return b[:0], errTooBig
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b[:0], err
		}
	}
}

// unpackers are gzip readers at rest.
type unpackers struct{ pool sync.Pool }

func (u *unpackers) get(r io.Reader) (*gzip.Reader, error) {
	zr, ok := u.pool.Get().(*gzip.Reader)
	if !ok {
		return gzip.NewReader(r)
	}
	err := zr.Reset(r)
	if err != nil {
		u.put(zr)
		return nil, err
	}
	return zr, nil
}

func (u *unpackers) put(zr *gzip.Reader) { u.pool.Put(zr) }
