package api

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// listen opens a live feed on a real listener and returns a function that reads its next event.
func (b *bench) listen(last string) (next func() string, status int) {
	b.t.Helper()
	srv := httptest.NewServer(b.Handler())
	b.t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	b.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/v1/events", http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer viewer-secret")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := srv.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	read := func() string {
		var event []string
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return "end"
			}
			line = strings.TrimSuffix(line, "\n")
			if line == "" {
				return strings.Join(event, "|")
			}
			event = append(event, line)
		}
	}
	if resp.StatusCode == http.StatusOK && read() != "retry: 2000" {
		b.t.Error("a feed does not begin with the time to wait")
	}
	return read, resp.StatusCode
}

func (b *bench) change(n int) {
	b.t.Helper()
	b.update(func(tx *store.Tx) error {
		changes := make([]tocsin.Change, n)
		for i := range changes {
			changes[i] = tocsin.Change{At: start, Actor: "one", Kind: tocsin.DoAck, Incident: 42}
		}
		return addChange(tx, changes...)
	})
}

func eventAt(seq int) string {
	return fmt.Sprintf(`id: %d|event: change|data: {"seq":%d,"at":"2026-03-02T08:00:00Z","actor":"one","kind":"ack","incident":"i42","major":null}`, seq, seq)
}

func TestEveryChangeIsToldOnceAndInOrder(t *testing.T) {
	b := newBench(t, nil)
	b.change(3)
	next, _ := b.listen("")
	late, _ := b.listen("1")
	for seq := 2; seq <= 3; seq++ {
		if got := late(); got != eventAt(seq) {
			t.Fatalf("who comes back is told %s, want %s", got, eventAt(seq))
		}
	}
	b.change(700)
	b.change(1)
	for seq := 4; seq <= 704; seq++ {
		if got := next(); got != eventAt(seq) {
			t.Fatalf("told %s, want %s", got, eventAt(seq))
		}
		if got := late(); got != eventAt(seq) {
			t.Fatalf("who came back is told %s, want %s", got, eventAt(seq))
		}
	}
	b.EndStreams()
	if got := next(); got != "end" {
		t.Errorf("told %s after the end", got)
	}
	if _, status := b.listen(""); status != http.StatusServiceUnavailable {
		t.Errorf("a feed after the end: %d", status)
	}
}

func TestWhoMissedTooMuchIsToldToBeginAnew(t *testing.T) {
	b := newBench(t, nil)
	b.change(resumeMost + 2)
	next, _ := b.listen("1")
	if got, want := next(), fmt.Sprintf("id: %d|event: reset|data: {}", resumeMost+2); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	b.change(1)
	if got := next(); got != eventAt(resumeMost+3) {
		t.Errorf("told %s", got)
	}
	ahead, _ := b.listen("99999999") // of a state that is gone, such as before a restore
	if got, want := ahead(), fmt.Sprintf("id: %d|event: reset|data: {}", resumeMost+3); got != want {
		t.Errorf("who knows more than there is is told %s, want %s", got, want)
	}
	if _, status := b.listen("x"); status != http.StatusBadRequest {
		t.Errorf("an id that is none: %d", status)
	}
}

func TestASlowReaderIsCutOffAndTheOthersAreNot(t *testing.T) {
	b := newBench(t, nil)
	slow, err := b.hub.join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	quick, err := b.hub.join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.change(streamRoom + 1)
	for n := range streamRoom + 1 {
		e, ok := <-quick.events
		if !ok || e.seq != int64(n+1) {
			t.Fatalf("event %d is %d, %t", n+1, e.seq, ok)
		}
	}
	told := 0
	for range slow.events {
		told++
	}
	if told != streamRoom || b.hub.open() != 1 {
		t.Errorf("the slow one was told %d, %d feeds are left", told, b.hub.open())
	}
	b.hub.leave(quick)
}

func TestFeedsAreBounded(t *testing.T) {
	b := newBench(t, nil)
	for range maxStreams {
		if _, err := b.hub.join(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.robot("GET", "/api/v1/events", ""); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("one feed too many: %d", got.status)
	}
}

// D2: a failover has lost changes that were told.
func TestAfterAFailoverWhatHappensIsToldFromWhereTheStateIs(t *testing.T) {
	b := newBench(t, nil)
	b.change(3)
	h := newHub(b.DB)
	s := &stream{events: make(chan event, 10)}
	h.streams[s] = struct{}{}
	at := cursor{0: 7}
	_, err := h.pass(t.Context(), at)
	if err != nil || at[0] != 3 {
		t.Fatalf("it looks for changes behind %d, %v; want 3: the state ends there", at[0], err)
	}
	b.change(1)
	_, err = h.pass(t.Context(), at)
	if err != nil || at[0] != 4 || len(s.events) != 1 {
		t.Errorf("told were %d changes, it looks behind %d, %v; want one and 4", len(s.events), at[0], err)
	}
}
