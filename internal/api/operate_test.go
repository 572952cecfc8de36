package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/journal"
	"tocsin/internal/store"
)

// A fakeOperator has two nodes, and two letters, of which the first cannot be read.
type fakeOperator struct {
	letters []journal.DeadLetter
	done    []string
	fail    error
}

func newFakeOperator() *fakeOperator {
	rec := journal.Record{
		Kind: journal.Events, Writer: 1, Seq: 2, Source: "prometheus", At: start,
		Events: []tocsin.Event{{Source: "prometheus", Key: "k", Status: tocsin.Firing, Severity: tocsin.Critical, Summary: "lag", Labels: tocsin.NewLabels(map[string]string{"service": "db"})}},
	}
	return &fakeOperator{letters: []journal.DeadLetter{
		{Partition: 0, Offset: 41, At: start, Reason: "journal: not a record: field tag", Payload: []byte("x"), Tries: 1},
		{Partition: 3, Offset: 7, At: start.Add(time.Second), Reason: "it failed three times", Payload: rec.Append(nil), Tries: 3},
	}}
}

func (f *fakeOperator) Nodes(context.Context) (Nodes, error) {
	return Nodes{Journal: "kafka", State: "postgres", Nodes: []Node{
		{
			ID: "one-1", Name: "one", Address: "10.0.0.1:8080", Version: "v1", State: "ok", Self: true, StartedAt: start, SeenAt: start.Add(time.Minute), Pages: 2,
			Partitions: []Holding{
				{Partition: 0, State: "ok", Offset: 90, Lag: 10, Alerts: 5, Incidents: 1},
				{Partition: 1, State: "loading", Offset: 7, Lag: 3, Alerts: 2, Incidents: 2},
			},
		},
		{ID: "two-2", Name: "two", Address: "10.0.0.2:8080", Version: "v1", State: "stopped", StartedAt: start, SeenAt: start, EndedAt: start},
	}, Unheld: []Unheld{{Partition: 2, Offset: 11, Lag: 100}, {Partition: 3, Offset: 12, Lag: -1}}}, f.fail
}

func (f *fakeOperator) DeadLetters(_ context.Context, limit int) ([]journal.DeadLetter, error) {
	return f.letters[max(0, len(f.letters)-limit):], f.fail
}

func (f *fakeOperator) Redrive(_ context.Context, partition int, offset int64, by string) (int, int64, error) {
	if partition == 0 {
		return 0, 0, fmt.Errorf("record 0/41: %w: it is no record", ErrStillDead)
	}
	f.done = append(f.done, fmt.Sprintf("redrive %d/%d by %s", partition, offset, by))
	return partition, 99, f.fail
}

func (f *fakeOperator) Drop(_ context.Context, partition int, offset int64, by string) error {
	if partition > 3 {
		return store.ErrNotFound
	}
	f.done = append(f.done, fmt.Sprintf("drop %d/%d by %s", partition, offset, by))
	return f.fail
}

func TestNodesTellWhoDoesWhatAndWhatNobodyDoes(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Operator = newFakeOperator() })
	wantJSON(t, b.robot("GET", "/api/v1/nodes", ""), 200, `{"at":"2026-03-02T08:00:00Z","journal":"kafka","state":"postgres","nodes":[
		{"id":"one-1","name":"one","address":"10.0.0.1:8080","version":"v1","state":"ok","self":true,"started_at":"2026-03-02T08:00:00Z","seen_at":"2026-03-02T08:01:00Z","ended_at":null,
		"lag":13,"alerts":7,"incidents":3,"pages":2,"partitions":[{"partition":0,"state":"ok","offset":90,"lag":10,"alerts":5,"incidents":1},{"partition":1,"state":"loading","offset":7,"lag":3,"alerts":2,"incidents":2}]},
		{"id":"two-2","name":"two","address":"10.0.0.2:8080","version":"v1","state":"stopped","self":false,"started_at":"2026-03-02T08:00:00Z","seen_at":"2026-03-02T08:00:00Z","ended_at":"2026-03-02T08:00:00Z",
		"lag":0,"alerts":0,"incidents":0,"pages":0,"partitions":[]}],
		"unheld":[{"partition":2,"offset":11,"lag":100},{"partition":3,"offset":12,"lag":null}]}`)
}

func TestDeadLettersAreListedShownDrivenAgainAndDropped(t *testing.T) {
	op := newFakeOperator()
	b := newBench(t, func(o *Options) { o.Operator = op })
	const unread = `{"id":"0/41","partition":0,"offset":41,"at":"2026-03-02T08:00:00Z","reason":"journal: not a record: field tag","tries":1,"size":1`
	failed := fmt.Sprintf(`{"id":"3/7","partition":3,"offset":7,"at":"2026-03-02T08:00:01Z","reason":"it failed three times","tries":3,"size":%d`, len(op.letters[1].Payload))
	wantJSON(t, b.robot("GET", "/api/v1/dead-letters", ""), 200, `{"dead_letters":[`+unread+`},`+failed+`}],"more":false}`)
	wantJSON(t, b.robot("GET", "/api/v1/dead-letters?limit=1", ""), 200, `{"dead_letters":[`+failed+`}],"more":true}`)
	wantJSON(t, b.robot("GET", "/api/v1/dead-letters/0/41", ""), 200, unread+`,"payload":"eA==","record":null}`)
	wantJSON(t, b.robot("GET", "/api/v1/dead-letters/3/7", ""), 200, failed+`,"payload":"`+base64.StdEncoding.EncodeToString(op.letters[1].Payload)+`","record":
		{"kind":"events","source":"prometheus","domain":null,"at":"2026-03-02T08:00:00Z","rules":null,"events":[
		{"key":"k","status":"firing","severity":"critical","summary":"lag","labels":{"service":"db"}}]}}`)
	wantJSON(t, b.robot("POST", "/api/v1/dead-letters/3/7/redrive", ""), 200, `{"id":"3/7","redriven_as":"3/99"}`)
	wantJSON(t, b.robot("POST", "/api/v1/dead-letters/3/7/drop", ""), 200, `{"id":"3/7"}`)
	wantJSON(t, b.robot("POST", "/api/v1/dead-letters/0/41/redrive", ""), 409,
		`{"type":"about:blank","title":"Conflict","status":409,"detail":"record 0/41: it cannot be applied by this version either: it is no record"}`)
	if want := "[redrive 3/7 by robot drop 3/7 by robot]"; fmt.Sprint(op.done) != want {
		t.Errorf("done %v, want %s", op.done, want)
	}
}

func TestDeadLettersThatAreAskedForWronglyAreRefused(t *testing.T) {
	op := newFakeOperator()
	b := newBench(t, func(o *Options) { o.Operator = op })
	for path, want := range map[string]int{
		"GET /api/v1/dead-letters/0/42":           404,
		"GET /api/v1/dead-letters/x/42":           400,
		"GET /api/v1/dead-letters/0/-1":           400,
		"GET /api/v1/dead-letters/0/1?x=1":        400,
		"GET /api/v1/dead-letters?limit=0":        400,
		"POST /api/v1/dead-letters/9/1/drop":      404,
		"POST /api/v1/dead-letters/a/1/drop":      400,
		"POST /api/v1/dead-letters/0/b/redrive":   400,
		"POST /api/v1/dead-letters/3/7/redrive?x": 400,
		"GET /api/v1/nodes?x=1":                   400,
	} {
		var method, address string
		fmt.Sscan(path, &method, &address)
		if got := b.robot(method, address, ""); got.status != want {
			t.Errorf("%s = %d %s, want %d", path, got.status, got.body, want)
		}
	}
	for _, path := range []string{"/api/v1/dead-letters", "/api/v1/dead-letters/0/41"} {
		if got := b.send("GET", path, "", "Cookie", b.session("three")); got.status != http.StatusForbidden {
			t.Errorf("a manager asks for %s = %d, want 403", path, got.status)
		}
	}
	op.fail = fmt.Errorf("append: %w", journal.ErrSick)
	if got := b.robot("POST", "/api/v1/dead-letters/3/7/redrive", ""); got.status != 503 || got.header.Get("Retry-After") != "5" {
		t.Errorf("redriven while the journal cannot write = %d, Retry-After %q, want 503 and 5", got.status, got.header.Get("Retry-After"))
	}
}

func TestAServerWithoutAnOperatorSaysSo(t *testing.T) {
	b := newBench(t, nil)
	if got := b.robot("GET", "/api/v1/nodes", ""); got.status != http.StatusNotImplemented {
		t.Errorf("nodes of nobody = %d %s, want 501", got.status, got.body)
	}
}
