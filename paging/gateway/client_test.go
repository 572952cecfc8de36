package gateway_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/paging"
	"tocsin/paging/gateway"
)

func client(t *testing.T, o gateway.Options) *gateway.Client {
	t.Helper()
	c, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c *gateway.Client) (gateway.Answer, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://api.example.org/v1/send?x=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(t.Context(), req)
}

func TestABaseAddressReplacesTheProvidersAndKeepsThePath(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+r.RequestURI)
	}))
	defer srv.Close()
	got, err := get(t, client(t, gateway.Options{BaseURL: srv.URL + "/mock/"}))
	if want := strings.TrimPrefix(srv.URL, "http://") + "/mock/v1/send?x=1"; err != nil || string(got.Body) != want {
		t.Errorf("answer = %s %v, want %s", got.Body, err, want)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	hits := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	got, err := get(t, client(t, gateway.Options{BaseURL: srv.URL}))
	if err != nil || got.Status != http.StatusTemporaryRedirect || hits != 1 {
		t.Errorf("status %d after %d requests, %v", got.Status, hits, err)
	}
}

func TestAnAnswerWithoutAnEndIsNotRead(t *testing.T) { // P13
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for range 1 << 14 { // 1 GiB
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	began := time.Now()
	_, err := get(t, client(t, gateway.Options{BaseURL: srv.URL}))
	if !errors.Is(err, paging.ErrUnknown) || time.Since(began) > 5*time.Second {
		t.Errorf("Do = %v after %s", err, time.Since(began))
	}
}

func TestAnAnswerInDripsEndsWithTheTime(t *testing.T) { // P13
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				io.WriteString(w, ".")
				w.(http.Flusher).Flush()
			}
		}
	}))
	defer srv.Close()
	defer close(stop)
	_, err := get(t, client(t, gateway.Options{BaseURL: srv.URL, Timeout: 200 * time.Millisecond}))
	if !errors.Is(err, paging.ErrUnknown) {
		t.Errorf("Do = %v, want unknown", err)
	}
}

func TestConnectionsAreKeptForABurst(t *testing.T) {
	var mu sync.Mutex
	dialled := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		dialled[r.RemoteAddr] = true
	}))
	defer srv.Close()
	c := client(t, gateway.Options{BaseURL: srv.URL, Flight: 64})
	for range 5 {
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if _, err := get(t, c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if len(dialled) > 128 {
		t.Errorf("%d connections for 64 requests under way", len(dialled))
	}
}

func TestAWaitIsReadAsSecondsOrAsADateAndNeverLongerThanAnHour(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 0, "soon": 0, "-3": 0, "999999999999": time.Hour,
		"Mon, 23 Nov 2099 00:00:00 GMT": time.Hour, "Mon, 23 Nov 2009 00:00:00 GMT": 0,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		got, err := get(t, client(t, gateway.Options{BaseURL: srv.URL}))
		if err != nil || got.RetryAfter != want {
			t.Errorf("Retry-After %q = %s %v, want %s", header, got.RetryAfter, err, want)
		}
		srv.Close()
	}
}
