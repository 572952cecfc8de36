//go:build unix && !race

package app

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"tocsin/parts/partstest"
)

// alone is how the servers run here, so that nobody but tocsin writes.
const alone = "PG_EXTRA=-c autovacuum=off -c wal_retrieve_retry_interval=200ms"

// A server is one of the two, with the stream that another may follow it by.
type server struct {
	*partstest.PostgreSQL
	stream  *partstest.Wire
	through string // host:port of the stream
}

func newServer(t *testing.T, pg *partstest.PostgreSQL) *server {
	t.Helper()
	s := &server{PostgreSQL: pg}
	var at string
	s.stream, at = partstest.NewWire(t, pg.URL, func(to io.Writer, b []byte, _ bool) bool {
		_, err := to.Write(b)
		return err == nil
	})
	s.through = hostOf(t, at)
	return s
}

// hold lets nobody follow the server any more.
func (s *server) hold() { s.stream.Lead("127.0.0.1:1") }

// carryOn lets others follow it.
func (s *server) carryOn() { s.stream.Lead(s.host()) }

func (s *server) host() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

func hostOf(t *testing.T, url string) string {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

// ask asks a server for one row, past tocsin. Nothing is written by that.
func (s *server) ask(t *testing.T, query string, into ...any) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	err = c.QueryRow(t.Context(), query).Scan(into...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// A stand is how far a server's state is: each partition's, and the transactions that ever wrote.
type stand struct {
	Offsets, Seqs, Writes int64
	Parts                 string
}

func (s *server) stand(t *testing.T) (st stand) {
	t.Helper()
	s.ask(t, "SELECT coalesce(sum(next_offset), 0)::int8, coalesce(sum(seq), 0)::int8, pg_snapshot_xmax(pg_current_snapshot())::text::int8, "+
		"coalesce(string_agg(part::text, ' ' ORDER BY partition), '') FROM part", &st.Offsets, &st.Seqs, &st.Writes, &st.Parts)
	return st
}

// pages says how far each page is.
func (s *server) pages(t *testing.T) (out map[string]string) {
	t.Helper()
	s.ask(t, "SELECT coalesce(json_object_agg(id, concat_ws(' ', state, attempts, message)), '{}') FROM page", &out)
	return out
}

// followed reports whether the other follows it to its end.
func (s *server) followed(t *testing.T) (is bool) {
	t.Helper()
	s.ask(t, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND pg_current_wal_lsn() - replay_lsn < 1000000)", &is)
	return is
}

// cutOff ends all connections that tocsin has to the server.
func (s *server) cutOff(t *testing.T) (n int) {
	t.Helper()
	s.ask(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tocsin'", &n)
	return n
}

// A failover is one of a fleet.
type failover struct {
	f        *fleet
	old, new *server
	has      stand             // of the new one, when it took over
	was      stand             // of the old one, when it was back
	last     time.Time         // commit that the new one has
	killed   time.Time         // the old one
	pages    map[string]string // of the new one, when it took over
	known    map[string]bool   // reported pages, before it was held back
	acks     int               // acknowledgements that were forgotten
	took     time.Duration
}

// run lets the new one miss the last commits, ends the old one, and promotes the new one.
func (x *failover) run(t *testing.T, miss time.Duration) {
	t.Helper()
	f, l := x.f, x.f.nodes[0].ledger
	f.until("the standby follows", 30*time.Second, func() bool { return x.old.followed(t) })
	l.mu.Lock()
	x.known = maps.Clone(l.delivered)
	l.mu.Unlock()
	x.old.hold()
	sleepFor(t, miss)
	x.old.Kill()
	x.killed = time.Now()
	x.new.ask(t, "SELECT pg_last_xact_replay_timestamp()", &x.last)
	x.has, x.pages = x.new.stand(t), x.new.pages(t)
	if statuses, _ := f.knock(); slices.ContainsFunc(statuses, func(s int) bool { return s != http.StatusAccepted }) {
		t.Errorf("without a primary the doors answered %v, want 202", statuses)
	}
	x.new.Promote()
	promoted := time.Now()
	f.until("alerts are applied on the new primary", 60*time.Second, func() bool { return x.new.stand(t).Offsets > x.has.Offsets && f.working() })
	x.took = time.Since(promoted)
	f.many.direct = x.new.URL
}

// forget takes out of the ledger what only the lost commits knew.
func (x *failover) forget(t *testing.T) {
	t.Helper()
	knew := x.old.pages(t)
	l := x.f.nodes[0].ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.acks)
	l.acks = slices.DeleteFunc(l.acks, func(a ack) bool {
		return a.at.After(x.last.Add(-underWay())) && a.asked.Before(x.killed.Add(underWay()))
	})
	x.acks = before - len(l.acks)
	for id, p := range knew {
		if x.pages[id] != p {
			l.forgotten[id]++
			if !x.known[id] {
				delete(l.delivered, id)
			}
		}
	}
}

// returns starts the old primary as it was: it holds itself for the only one, and knows more than the new one did.
func (x *failover) returns(t *testing.T) {
	t.Helper()
	x.old.Start()
	x.was = x.old.stand(t)
	if x.was.Offsets <= x.has.Offsets || x.was.Seqs <= x.has.Seqs {
		t.Fatalf("the standby had all that the primary had:\n%+v\n%+v", x.has, x.was)
	}
	x.forget(t)
}

// untouched reports whether anything was written to the old one since it is back.
func (x *failover) untouched(t *testing.T, when string) {
	t.Helper()
	if is := x.old.stand(t); is != x.was {
		t.Errorf("%s the old primary has\n%+v, and had\n%+v: want it as it was", when, is, x.was)
	}
}

// goesOn waits until more is applied on the new primary.
func (x *failover) goesOn(t *testing.T) {
	t.Helper()
	before := x.new.stand(t).Offsets
	x.f.until("alerts are applied on the new primary", 60*time.Second, func() bool { return x.new.stand(t).Offsets > before && x.f.working() })
}

// D2: the database fails over to a standby that missed the last commits, and the old primary comes back as if nothing had been. Neither a node
// that saw it, nor one that slept meanwhile, nor one that is new ever writes to the old one.
func TestFleetWhoseDatabaseFailsOverAppliesAgainWhatTheNewOneMissedAndLeavesTheOldOneAlone(t *testing.T) {
	together(t)
	seed := seedOf(t)
	failovers := 1
	if full() {
		failovers = 5
	}
	old := newServer(t, partstest.StartPostgreSQL(t, alone))
	next := newServer(t, partstest.StandbyOf(t, old.through, alone))
	both := fmt.Sprintf("postgres://parts:parts@%s,%s/parts?sslmode=disable&target_session_attrs=read-write", old.host(), next.host())
	f := newFleet(t, 2, &manyNodes{brokers: partstest.Address(t, "KAFKA_BROKERS"), topic: "fleet-" + uuid.NewString(), dsn: both, direct: old.URL}, killRules)
	f.nodes[0].ledger.lateFor = 90 * time.Second // what stands in a sleeper's sockets arrives when it wakes
	f.begin()
	r := rand.New(rand.NewPCG(seed, 0))
	stop := f.load(seed)
	missed, seqs, forgotten, longest := int64(0), int64(0), 0, time.Duration(0)
	for n := range failovers {
		if n > 0 {
			old, next = next, old
			old.carryOn()
			next.Follow(old.through)
		}
		x := &failover{f: f, old: old, new: next}
		sleepFor(t, 2*time.Second)
		sleeper := f.nodes[r.IntN(len(f.nodes))]
		url := f.freeze(sleeper)
		x.run(t, 2*time.Second)
		x.returns(t)
		f.thaw(sleeper, url)
		sleeper.kills = append(sleeper.kills, time.Now().Add(underWay())) // a request that was being written when it fell asleep arrives now
		x.goesOn(t)
		x.untouched(t, "after a node woke that had slept")
		for range 3 {
			x.new.cutOff(t)
			x.goesOn(t)
		}
		x.untouched(t, "after all connections were cut")
		p := f.nodes[r.IntN(len(f.nodes))]
		p.kill()
		f.start(p)
		x.goesOn(t)
		x.untouched(t, "after a node was started")
		missed, seqs, forgotten, longest = missed+x.was.Offsets-x.has.Offsets, seqs+x.was.Seqs-x.has.Seqs, forgotten+x.acks, max(longest, x.took)
		x.old.Kill()
	}
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	for status := range f.nodes[0].ledger.doors {
		if status != 0 && status/100 != 2 && status != http.StatusServiceUnavailable {
			t.Errorf("doors answered %v (0: not at all), want 2xx and 503", f.nodes[0].ledger.doors)
		}
	}
	t.Logf("%s failovers %d, missed %d records and %d changes, applied again at most %s after the promotion; forgotten acks %d, messages %d (sms %d); doors %v",
		f.figures(seed, sum), failovers, missed, seqs, longest.Round(10*time.Millisecond), forgotten, sum.forgotten, sum.forgottenSMS, f.nodes[0].ledger.doors)
}
