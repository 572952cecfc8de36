package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin"
	"tocsin/internal/journal/kafka"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
)

var at = time.Date(2026, 3, 2, 2, 58, 0, 0, time.UTC)

// titles are records that say only what tells them apart.
func titles() Records {
	return Records{
		Incident: func(i tocsin.Incident) any { return map[string]string{"title": i.Title} },
		Major:    func(m tocsin.Major) any { return map[string]string{"title": m.Title} },
	}
}

// openState returns a state of two partitions without any change.
func openState(t *testing.T) store.DB {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "tocsin.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	update(t, db, func(tx *store.Tx) error { return tx.Found(2) })
	return db
}

func update(t *testing.T, db store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), store.Commands, fn); err != nil {
		t.Fatal(err)
	}
}

// happen commits changes of a partition; each is about the incident of its number modulo incidents.
func happen(t *testing.T, db store.DB, partition, changes, incidents int) {
	t.Helper()
	happenAt(t, db, at, partition, changes, incidents)
}

func happenAt(t *testing.T, db store.DB, at time.Time, partition, changes, incidents int) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		part, err := tx.Lock(partition)
		if err != nil {
			return err
		}
		list := make([]tocsin.Change, changes)
		for n := range list {
			list[n] = tocsin.Change{At: at, Actor: "rule", Kind: tocsin.ChangeJoined, Incident: int64(n%incidents) + 1}
		}
		err = tx.AddChanges(&part, list)
		if err != nil {
			return err
		}
		return tx.SavePart(part)
	})
}

// A ledger is a publisher that keeps what it was given.
type ledger struct {
	mu   sync.Mutex
	got  []Message
	fail error
	told chan struct{} // one for each call
}

func newLedger() *ledger { return &ledger{told: make(chan struct{}, 10_000)} }

func (l *ledger) Publish(_ context.Context, messages []Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.told <- struct{}{} }()
	if l.fail != nil {
		return l.fail
	}
	l.got = append(l.got, messages...)
	return nil
}

func (l *ledger) is(fail error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

func (l *ledger) seqs(t *testing.T) (out []int64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.got {
		out = append(out, bodyOf(t, m.Value).Seq)
	}
	return out
}

func bodyOf(t *testing.T, value []byte) (b body) {
	t.Helper()
	if err := json.Unmarshal(value, &b); err != nil {
		t.Fatalf("%v in %s", err, value)
	}
	return b
}

// begin runs a feed until stop.
func begin(t *testing.T, db store.DB, to Publisher, o Options) (stop func()) {
	t.Helper()
	f, err := New(db, to, titles(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx, 0) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// until waits for what another goroutine brings about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

func upTo(n int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i) + 1
	}
	return out
}

func TestWhatHappensIsPublishedInOrderAndGoesOnAfterAStop(t *testing.T) {
	db, to := openState(t), newLedger()
	happen(t, db, 0, 25, 3)
	happen(t, db, 1, 5, 3) // another partition's: not this run's
	stop := begin(t, db, to, Options{Batch: 10})
	until(t, "all that had happened is published", func() bool { return len(to.seqs(t)) == 25 })
	happen(t, db, 0, 5, 3)
	until(t, "what happens then is published", func() bool { return len(to.seqs(t)) == 30 })
	stop()
	happen(t, db, 0, 5, 3)
	begin(t, db, to, Options{})
	until(t, "what happened meanwhile is published", func() bool { return len(to.seqs(t)) >= 35 })
	if got := to.seqs(t); !slices.Equal(got, upTo(35)) {
		t.Errorf("published %v, want 1 to 35, each once: nothing was killed", got)
	}
}

// fallen is a state that is another one from some time on.
type fallen struct {
	store.DB
	now atomic.Pointer[store.DB]
}

func (f *fallen) View(ctx context.Context, fn func(*store.Tx) error) error {
	return (*f.now.Load()).View(ctx, fn)
}

func (f *fallen) Update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	return (*f.now.Load()).Update(ctx, lane, fn)
}

// D2: a failover has lost changes that were published, and others get their numbers.
func TestWhatHappensAfterAFailoverIsPublishedThoughItsNumbersWereAnothers(t *testing.T) {
	for name, more := range map[string]int{"fewer changes than before": 8, "more changes than before": 20} {
		t.Run(name, func(t *testing.T) {
			was, is, to := openState(t), openState(t), newLedger()
			happen(t, was, 0, 20, 3)
			happen(t, is, 0, 5, 3)
			update(t, is, func(tx *store.Tx) error { return tx.SetMeta(CursorName(0), "5") })
			db := &fallen{DB: was}
			db.now.Store(&was)
			stop := begin(t, db, to, Options{})
			until(t, "all that had happened is published", func() bool { return len(to.seqs(t)) == 20 })
			happenAt(t, is, at.Add(time.Minute), 0, more, 3)
			db.now.Store(&is)
			until(t, "what happened after the failover is published", func() bool { return len(to.seqs(t)) >= 20+more })
			stop()
			want := upTo(20)
			for n := range more {
				want = append(want, int64(6+n))
			}
			if got := to.seqs(t); !slices.Equal(got, want) {
				t.Errorf("published %v, want %v", got, want)
			}
			update(t, is, func(tx *store.Tx) error {
				c, err := cursor(tx, 0)
				if c != int64(5+more) {
					t.Errorf("the cursor is %d, want %d", c, 5+more)
				}
				return err
			})
		})
	}
}

func TestAFeedThatEndsAfterAFailoverKeepsNoCursorPastWhatTheStateHas(t *testing.T) {
	was, is, to := openState(t), openState(t), newLedger()
	happen(t, was, 0, 20, 3)
	happen(t, is, 0, 5, 3)
	f, err := New(was, to, titles(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Feed: f, at: -1, keptAt: time.Now()}
	_, err = r.step(t.Context())
	if err != nil || r.at != 20 {
		t.Fatalf("published up to %d, %v", r.at, err)
	}
	f.db = is
	r.stop(t.Context())
	update(t, is, func(tx *store.Tx) error {
		c, err := cursor(tx, 0)
		if c != 0 {
			t.Errorf("the cursor is %d, want none: the state ends at 5", c)
		}
		return err
	})
}

func TestWhatCannotBePublishedIsTriedAgainAndNothingElseWaits(t *testing.T) {
	db, to := openState(t), newLedger()
	to.is(errors.New("no broker"))
	f, err := New(db, to, titles(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx, 0) }()
	defer func() { cancel(); <-done }()
	happen(t, db, 0, 7, 2)
	<-to.told
	<-to.told              // it was tried again
	happen(t, db, 0, 3, 2) // who decides does not wait
	until(t, "the lag is told", func() bool { return f.behind.Load() == 10 })
	to.is(nil)
	until(t, "all is published", func() bool { return len(to.seqs(t)) == 10 && f.behind.Load() == 0 })
	if got := to.seqs(t); !slices.Equal(got, upTo(10)) {
		t.Errorf("published %v, want 1 to 10", got)
	}
}

func TestAMessageSaysWhatItsIncidentIsAndHidesWhatIsOurs(t *testing.T) {
	db, to := openState(t), newLedger()
	update(t, db, func(tx *store.Tx) error {
		err := tx.PutIncidents([]tocsin.Incident{{ID: 42, State: tocsin.Acked, Title: "db-main", OpenedAt: at}})
		if err == nil {
			err = tx.PutMajors([]tocsin.Major{{ID: 3, State: tocsin.Proposed, Title: "eu-west", ProposedAt: at}})
		}
		if err != nil {
			return err
		}
		part, err := tx.Lock(0)
		if err != nil {
			return err
		}
		err = tx.AddChanges(&part, []tocsin.Change{
			{At: at, Actor: "one", Kind: tocsin.DoAck, Incident: 42, Data: []byte(`{"note":"looking <b>","stops":[{"i":42}],"before":{"ID":42}}`)},
			{At: at.Add(time.Second), Actor: "rule", Kind: tocsin.ChangeProposed, Major: 3},
			{At: at, Actor: "rule", Kind: tocsin.ChangeResolved, Incident: 7, Data: []byte(`{"alerts":1}`)}, // retention has deleted it
			{At: at, Actor: "timer", Kind: tocsin.ChangeNotified},
			{At: at, Actor: "rule", Kind: tocsin.ChangeOpened, Incident: 42, Data: []byte(`not JSON`)},
		})
		if err != nil {
			return err
		}
		return tx.SavePart(part)
	})
	begin(t, db, to, Options{})
	until(t, "all is published", func() bool { return len(to.seqs(t)) == 5 })
	want := []string{
		`i42 {"schema":1,"id":"0-1","partition":0,"seq":1,"at":"2026-03-02T02:58:00Z","kind":"ack","actor":"one","about":"i42","incident":{"title":"db-main"},"major":null,"data":{"note":"looking \u003cb\u003e"}}`,
		`m3 {"schema":1,"id":"0-2","partition":0,"seq":2,"at":"2026-03-02T02:58:01Z","kind":"proposed","actor":"rule","about":"m3","incident":null,"major":{"title":"eu-west"},"data":null}`,
		`i7 {"schema":1,"id":"0-3","partition":0,"seq":3,"at":"2026-03-02T02:58:00Z","kind":"resolved","actor":"rule","about":"i7","incident":null,"major":null,"data":{"alerts":1}}`,
		`partition-0 {"schema":1,"id":"0-4","partition":0,"seq":4,"at":"2026-03-02T02:58:00Z","kind":"notified","actor":"timer","about":"","incident":null,"major":null,"data":null}`,
		`i42 {"schema":1,"id":"0-5","partition":0,"seq":5,"at":"2026-03-02T02:58:00Z","kind":"opened","actor":"rule","about":"i42","incident":{"title":"db-main"},"major":null,"data":null}`,
	}
	for i, m := range to.got {
		if got := string(m.Key) + " " + string(m.Value); got != want[i] {
			t.Errorf("message %d\n got %s\nwant %s", i, got, want[i])
		}
	}
}

func TestAMessageThatWouldBeTooBigGoesWithoutItsRecords(t *testing.T) {
	i := tocsin.Incident{ID: 1, Title: strings.Repeat("x", MaxMessage)}
	m, err := Encode(tocsin.Change{Partition: 2, Seq: 9, At: at, Kind: tocsin.ChangeOpened, Actor: "rule", Incident: 1, Data: []byte(`{"note":"n"}`)}, &i, nil, titles())
	want := `{"schema":1,"id":"2-9","partition":2,"seq":9,"at":"2026-03-02T02:58:00Z","kind":"opened","actor":"rule","about":"i1","incident":null,"major":null,"data":null,"cut":true}`
	if err != nil || string(m.Value) != want {
		t.Errorf("message %.300s, %v\nwant %s", m.Value, err, want)
	}
}

func TestAFeedWithoutWhatItNeedsIsRefused(t *testing.T) {
	db := openState(t)
	for name, make := range map[string]func() (*Feed, error){
		"no store":          func() (*Feed, error) { return New(nil, newLedger(), titles(), Options{}) },
		"no publisher":      func() (*Feed, error) { return New(db, nil, titles(), Options{}) },
		"no records":        func() (*Feed, error) { return New(db, newLedger(), Records{}, Options{}) },
		"a batch below one": func() (*Feed, error) { return New(db, newLedger(), titles(), Options{Batch: -1}) },
	} {
		if f, err := make(); f != nil || err == nil {
			t.Errorf("%s: %v, %v, want an error", name, f, err)
		}
	}
}

// mortal is a state that can be written until the process is killed.
type mortal struct {
	store.DB
	mu   sync.Mutex
	dead bool
}

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func (m *mortal) Update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errors.New("the process is dead")
	}
	return m.DB.Update(ctx, lane, fn)
}

// topic publishes to a topic, and dies after so many messages: in the middle of a call, of which the second half is not even sent.
type topic struct {
	j    *kafka.Journal
	left int // messages before it dies; negative: it lives
	die  func()
}

const feedTopic = "tocsin.incidents"

func (p *topic) Publish(ctx context.Context, messages []Message) error {
	out := make([]kafka.Message, len(messages))
	for i, m := range messages {
		out[i] = kafka.Message(m)
	}
	if p.left >= 0 && p.left < len(out) {
		err := p.j.Publish(ctx, feedTopic, out[:p.left])
		p.left = 0
		p.die()
		return errors.Join(err, errors.New("killed"))
	}
	if p.left >= 0 {
		p.left -= len(out)
	}
	return p.j.Publish(ctx, feedTopic, out)
}

func TestOfAThousandChangesAKillInTheMiddleLosesNoneAndKeepsTheOrderOfEachIncident(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	j, err := kafka.Open(t.Context(), kafka.Options{Brokers: c.ListenAddrs(), Topic: "tocsin.alerts", Partitions: 4, Feeds: []string{feedTopic}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	db := openState(t)
	happen(t, db, 0, 1000, 37)

	first := &mortal{DB: db}
	killed := make(chan struct{})
	stop := begin(t, first, &topic{j: j, left: 530, die: func() { first.kill(); close(killed) }}, Options{Batch: 100})
	<-killed
	stop()
	f, err := New(db, &topic{j: j, left: -1}, titles(), Options{Batch: 100})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx, 0) }()
	until(t, "the cursor is at the end", func() bool {
		var n int64
		err := db.View(t.Context(), func(tx *store.Tx) (err error) {
			n, err = cursor(tx, 0)
			return err
		})
		return err == nil && n == 1000
	})
	cancel()
	<-done

	seen, newest, copies := map[int64]bool{}, map[string]int64{}, 0
	for partition := range 4 {
		for _, m := range consume(t, c.ListenAddrs()[0], partition) {
			b := bodyOf(t, m.Value)
			key := string(m.Key)
			if want := fmt.Sprintf("i%d", (b.Seq-1)%37+1); key != want || b.About != want {
				t.Fatalf("change %d has key %s and is about %s, want %s", b.Seq, key, b.About, want)
			}
			if seen[b.Seq] {
				copies++
				continue
			}
			seen[b.Seq] = true
			if b.Seq <= newest[key] {
				t.Errorf("change %d of %s comes first after change %d", b.Seq, key, newest[key])
			}
			newest[key] = b.Seq
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d changes of 1000 were published", len(seen))
	}
	if copies == 0 || copies > 530 {
		t.Errorf("%d copies, want those that had been published when it was killed, and were not noted", copies)
	}
	t.Logf("%d copies", copies)
}

// consume reads one partition of the feed as another program would.
func consume(t *testing.T, broker string, partition int) (out []kafkago.Message) {
	t.Helper()
	conn, err := kafkago.DialLeader(t.Context(), "tcp", broker, feedTopic, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	end, err := conn.ReadLastOffset()
	if err != nil {
		t.Fatal(err)
	}
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{broker}, Topic: feedTopic, Partition: partition, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	for int64(len(out)) < end {
		m, err := r.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}
