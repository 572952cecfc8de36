package api

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// oneConn is a listener that brings one connection.
type oneConn struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// talk serves handler to one client inside a bubble, where minutes pass at once.
func talk(t *testing.T, handler http.Handler, client func(c net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ln := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
		ln.conns <- far
		srv := NewHTTPServer(handler, slog.New(slog.DiscardHandler))
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ln) }()
		client(near)
		_ = near.Close()
		close(ln.done)
		_ = srv.Close()
		<-ended
	})
}

func TestASilentClientIsLetGo(t *testing.T) {
	reader := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := takeBody(w, r, maxBody)
		if err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	})
	ignorer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	for name, tc := range map[string]struct {
		handler http.Handler
		sends   string
		within  time.Duration
		want    string
	}{
		"one that never ends its head":             {reader, "GET / HTTP/1.1\r\nHost: x\r\n", readTime, ""},
		"one that never ends its body":             {reader, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", readTime, "HTTP/1.1 408"},
		"one whose body nobody reads":              {ignorer, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", readTime, "HTTP/1.1 401"},
		"one that stays without another request":   {ignorer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", idleTime, "HTTP/1.1 401"},
		"one whose head is too big is told so":     {reader, "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", time.Second, "HTTP/1.1 431"},
		"one that sends a length and chunks":       {reader, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", idleTime, "HTTP/1.1 "},
		"one whose body comes in time is answered": {reader, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", idleTime, "HTTP/1.1 200"},
	} {
		t.Run(name, func(t *testing.T) {
			talk(t, tc.handler, func(c net.Conn) {
				began := time.Now()
				go func() { _, _ = io.WriteString(c, tc.sends) }()
				said, _ := io.ReadAll(bufio.NewReader(c)) // until the server closes it
				if took := time.Since(began); took > tc.within+time.Second {
					t.Errorf("it was let go after %s, want %s", took, tc.within)
				}
				if !strings.HasPrefix(string(said), tc.want) {
					t.Errorf("it was told %q, want %q", said, tc.want)
				}
			})
		})
	}
}

func TestABodyIsReadUpToItsBound(t *testing.T) {
	for size, want := range map[int]string{maxBody: "<nil>", maxBody + 1: errTooBig.Error()} {
		r, _ := http.NewRequest(http.MethodPost, "/", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))})
		b, err := takeBody(nopWriter{}, r, maxBody)
		if fmt.Sprint(err) != want || err == nil && len(b) != size {
			t.Errorf("body of %d bytes: %d, %v, want %s", size, len(b), err, want)
		}
	}
}

// nopWriter is nobody.
type nopWriter struct{ http.ResponseWriter }
