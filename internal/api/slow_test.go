package api

import (
	"context"
	"net/http"
	"sync"
	"testing"
)

// A stuck writer is a client that has stopped reading.
type stuck struct {
	header  http.Header
	waiting chan struct{}
	release chan struct{}
	once    sync.Once
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.waiting) })
	<-s.release
	return len(b), nil
}

func TestClientsThatStopReadingAreInNobodysWay(t *testing.T) {
	b := newBench(t, nil)
	b.many(10_000, 10)
	release := make(chan struct{})
	var clients sync.WaitGroup
	for range maxListings {
		w := &stuck{header: http.Header{}, waiting: make(chan struct{}), release: release}
		clients.Go(func() {
			r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "/api/v2/alerts", http.NoBody)
			r.Header.Set("Authorization", "Bearer prom-secret")
			b.Handler().ServeHTTP(w, r)
		})
		<-w.waiting
	}
	if got := b.robot("GET", "/api/v1/alerts?filter=service%3Dservice-7", ""); got.status != 200 {
		t.Errorf("another client is answered %d", got.status)
	}
	if got := b.robot("GET", "/api/v2/alerts", ""); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("one listing too many is answered %d", got.status)
	}
	close(release)
	clients.Wait()
	if got := b.robot("GET", "/api/v2/alerts", ""); got.status != 200 {
		t.Errorf("after they have gone: %d", got.status)
	}
}
