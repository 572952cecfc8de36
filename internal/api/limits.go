package api

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

const (
	readTime  = 10 * time.Second // in which a request has to be there, head and body: the largest need 100 KiB a second
	writeTime = 60 * time.Second // in which an answer has to be taken; streams ask for more while they move
	idleTime  = 2 * time.Minute
	maxHeader = 32 << 10
	maxBody   = 64 << 10 // bytes of a body that is no sender's
)

// NewHTTPServer returns a server of handler that no slow, big or silent client can hold up. It speaks HTTP/1 only: HTTP/2 comes with
// TLS alone, which a proxy before it ends, and that bounds its streams.
func NewHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return newServer(handler, log, connsFor(openFiles()))
}

func newServer(handler http.Handler, log *slog.Logger, most int) *http.Server {
	return &http.Server{
		Handler: bounded(handler), ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ConnState: newConns(most, log).state,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong with their connections
	}
}

// bounded lifts the limit of time for reading from a request that is there already: it would end what takes long to answer. A body
// keeps it, also where nobody reads it, for the server drops what is left of it before the next request; who reads one lifts it.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		if len(r.TransferEncoding) > 0 {
			// With chunks a length may have been sent too, which net/http hides. Nothing behind such a request is taken for another one.
			w.Header().Set("Connection", "close")
		}
		if r.ContentLength == 0 {
			// A writer without deadlines (a test's recorder) has nobody slow at its other end.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		}
		next.ServeHTTP(w, r)
	})
}

// errTooBig means that a body has more bytes than its route takes.
var errTooBig = errors.New("the body is too big")

// takeBody reads the whole body of r, at most most bytes, and puts what it read in its place. After it the request waits for us, so
// it has all the time there is.
func takeBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, errTooBig
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, errTooBig
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}
