package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tocsin"
	"tocsin/config"
	"tocsin/correlate"
	"tocsin/ingest"
	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/internal/store/sqlite"
	"tocsin/parts/partstest"
)

// rule gives the table of alerts a rule of somebody else's: no alert may be of the service poison. free takes it away.
func (r *rig) rule(g ground) (free func()) {
	r.t.Helper()
	if g.postgres {
		r.sql(g, "ALTER TABLE alert ADD CONSTRAINT no_poison CHECK (service <> 'poison')")
		return func() { r.sql(g, "ALTER TABLE alert DROP CONSTRAINT no_poison") }
	}
	r.sql(g, "CREATE TRIGGER no_poison BEFORE INSERT ON alert WHEN NEW.service = 'poison' BEGIN SELECT RAISE(ABORT, 'no poison here'); END")
	return func() { r.sql(g, "DROP TRIGGER no_poison") }
}

// sql runs a statement beside the server.
func (r *rig) sql(g ground, statement string) {
	r.t.Helper()
	var err error
	if g.postgres {
		var c *config.Config
		var conn *pgx.Conn
		c, _ = config.Load(r.config())
		conn, err = pgx.Connect(r.t.Context(), c.Storage.Postgres.DSN)
		if err == nil {
			defer conn.Close(r.t.Context())
			_, err = conn.Exec(r.t.Context(), statement)
		}
	} else {
		var db *sql.DB
		db, err = sql.Open("sqlite", "file:"+filepath.Join(r.dir, "data", "tocsin.db")+"?_pragma=busy_timeout(10000)")
		if err == nil {
			defer db.Close()
			_, err = db.ExecContext(r.t.Context(), statement)
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// K9: what the state can never hold is no reason to stand still.
func TestOnAnyStorageARecordThatTheStateCannotHoldIsSetAsideAndItsPartitionGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		r.lag("a", "critical", "db-main", "lag 340s")
		r.until("the first is applied", func() bool { return len(r.incidents()) == 1 })
		free := r.rule(g)
		r.lag("b", "critical", "checkout", "no orders for 5m")
		r.lag("c", "critical", "poison", "nobody can hold this")
		behind := r.lag("d", "critical", "archive", "disk full")
		r.until("what came around it is applied", func() bool { return len(r.incidents()) == 3 })
		r.until("it is set aside", func() bool { return len(r.letters()) == 1 })
		l := r.letters()[0]
		if l.Tries != 3 || !strings.Contains(l.Reason, "cannot hold this") || !strings.Contains(l.Reason, "poison") {
			t.Errorf("letter %+v, want 3 tries and why the state refuses it", l)
		}
		r.prometheus(behind.ends())
		r.until("the partition goes on", func() bool { return r.metric("tocsin_correlate_open_alerts") == 2 && r.a.lag() == 0 })

		err := r.stop()
		if err != nil {
			t.Fatal(err)
		}
		r.start()
		r.until("the state is loaded", func() bool { return r.a.holds.whole() && len(r.a.holds.all()) > 0 })
		if got := r.letters(); len(got) != 1 || got[0] != l {
			t.Errorf("letters after a start %+v, want the same one: %+v", got, l)
		}
		free()
		status, answer := r.post("/api/v1/dead-letters/"+l.ID+"/redrive", robot, "")
		if status != http.StatusOK {
			t.Fatalf("driven again: %d %s", status, answer)
		}
		r.until("what was driven again is applied", func() bool { return len(r.incidents()) == 4 })
		if got := r.letters(); len(got) != 0 {
			t.Errorf("letters %+v, want none", got)
		}
	})
}

// What the doors take the state holds and finds, however long it is and however little it can be packed: an index of PostgreSQL takes 2,704 bytes.
func TestOnAnyStorageALabelAsLongAsTheDoorsTakeIsHeldFoundAndPaged(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		long := func() string {
			b := make([]byte, ingest.MaxValue-50) // a filter has room for it
			for i := range b {
				b[i] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[rand.IntN(64)]
			}
			return string(b)
		}
		service := long()
		r.prometheus(am{Labels: map[string]string{"alertname": long(), "host": long(), "service": service, "severity": "critical"}})
		r.prometheus(am{Labels: map[string]string{"alertname": "Other", "service": service[:len(service)-1] + "!", "severity": "critical"}})
		r.until("both are incidents", func() bool { return len(r.incidents()) == 2 })
		r.until("both are paged", func() bool { return len(r.sent("CreateMessage")) > 0 && r.a.lag() == 0 })
		var found struct{ Incidents []incidentJSON }
		r.get("/api/v1/incidents?service="+service, &found)
		if len(found.Incidents) != 1 {
			t.Errorf("%d incidents are found by the whole service, want one", len(found.Incidents))
		}
		var listed struct {
			Alerts []struct{ Labels map[string]string }
		}
		r.get("/api/v1/alerts?filter="+url.QueryEscape(`service="`+service+`"`), &listed)
		if len(listed.Alerts) != 1 || listed.Alerts[0].Labels["service"] != service {
			t.Errorf("%d alerts are found by the whole service, want one that has it", len(listed.Alerts))
		}
		if l := r.letters(); len(l) != 0 {
			t.Errorf("letters %+v, want none", l)
		}
	})
}

// D2: after a failover to a copy that had not heard the last commits the offset has fallen back, and the journal is applied again from there.
func TestOnAnyStorageAStateThatFellBackIsLoadedAgainAndCaughtUp(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		partition := r.a.intake.of("")
		r.lag("a", "critical", "db-main", "lag 340s")
		r.until("the first is paged", func() bool { return len(r.sent("CreateMessage")) == 1 && r.a.lag() == 0 })
		was := r.part(partition)
		r.lag("b", "critical", "checkout", "no orders for 5m")
		r.until("the second is applied", func() bool { return len(r.incidents()) == 2 && r.a.lag() == 0 })
		r.fallBack(g, was)
		r.until("it is forgotten", func() bool { return len(r.incidents()) == 1 })
		r.lag("c", "critical", "archive", "disk full")
		r.until("all three are there", func() bool { return len(r.incidents()) == 3 && r.a.lag() == 0 })
		if is := r.part(partition); is.Epoch <= was.Epoch {
			t.Errorf("the epoch is %d, and was %d; want the partition claimed and loaded anew", is.Epoch, was.Epoch)
		}
		if l := r.letters(); len(l) != 0 {
			t.Errorf("letters %+v, want none", l)
		}
	})
}

// part is where a partition stands.
func (r *rig) part(partition int) (p store.Part) {
	r.t.Helper()
	err := r.a.db.View(r.t.Context(), func(tx *store.Tx) (err error) {
		p, err = tx.Part(partition)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// fallBack makes the state what it was when a partition stood at was and had one alert in one incident, in one transaction.
func (r *rig) fallBack(g ground, was store.Part) {
	r.t.Helper()
	r.sql(g, fmt.Sprintf(`BEGIN;
		DELETE FROM alert WHERE id > (SELECT min(id) FROM alert);
		DELETE FROM incident WHERE id > (SELECT min(id) FROM incident);
		DELETE FROM page WHERE incident NOT IN (SELECT id FROM incident);
		DELETE FROM timer WHERE incident NOT IN (SELECT id FROM incident);
		DELETE FROM change WHERE partition = %[1]d AND seq > %[2]d;
		UPDATE part SET seq = %[2]d, next_offset = %[3]d, touch_offset = %[4]d, next_alert = %[5]d, next_incident = %[6]d, last_writer = %[7]d, last_seq = %[8]d
			WHERE partition = %[1]d;
		COMMIT`, was.Partition, was.Seq, was.NextOffset, was.TouchOffset, was.NextAlert, was.NextIncident, was.LastWriter, was.LastSeq))
}

// What stands in the way of a new alert is no fault of the record that brought it: nothing is set aside, and it is applied once the way is free.
func TestOnAnyStorageARowThatNobodyKnewOfSetsNoRecordAside(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		r.lag("a", "critical", "db-main", "lag 340s")
		r.until("the first is applied", func() bool { return len(r.incidents()) == 1 })
		r.sql(g, "CREATE TABLE first AS SELECT id FROM alert")
		r.sql(g, "CREATE TABLE twin AS SELECT * FROM alert")
		for id := 1; id <= 40; id++ { // those of the next alerts of each partition
			r.sql(g, "UPDATE twin SET id = "+strconv.Itoa(id))
			r.sql(g, "INSERT INTO alert SELECT * FROM twin WHERE id NOT IN (SELECT id FROM first)")
		}
		r.lag("b", "critical", "checkout", "no orders for 5m")
		r.until("they stand in the way", func() bool { return r.metric("tocsin_correlate_stops_total") >= 1 })
		r.sql(g, "DELETE FROM alert WHERE id NOT IN (SELECT id FROM first)")
		r.until("the second is applied", func() bool { return len(r.incidents()) == 2 })
		if l := r.letters(); len(l) > 0 {
			t.Errorf("set aside: %+v", l)
		}
	})
}

// forgetful is a database whose first answer to a commit is lost.
type forgetful struct {
	store.DB
	lost bool
}

func (f *forgetful) Update(ctx context.Context, lane store.Lane, fn func(*store.Tx) error) error {
	err := f.DB.Update(ctx, lane, fn)
	if err == nil && !f.lost {
		f.lost = true
		return store.ErrUnknown
	}
	return err
}

// D6: a batch whose commit nobody heard of is found where it stands, or written as it was. Otherwise it would break a rule of a table, and a
// record be set aside that is applied.
func TestABatchWhoseCommitWasNotHeardOfChangesNothingWhenItIsWrittenAgain(t *testing.T) {
	r := newRig(t)
	for engine, open := range map[string]func(t *testing.T) (store.DB, error){
		"SQLite": func(t *testing.T) (store.DB, error) {
			return sqlite.Open(filepath.Join(t.TempDir(), "state.db"), sqlite.Options{})
		},
		"PostgreSQL": func(t *testing.T) (store.DB, error) {
			return postgres.Open(t.Context(), partstest.Database(t), postgres.Options{})
		},
	} {
		t.Run(engine, func(t *testing.T) {
			db, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			part := changed(t, db, func(tx *store.Tx) (store.Part, error) { return tx.Claim(0, "one") })
			at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
			for n, effects := range [][]correlate.Effect{
				{{Kind: correlate.Opened, At: at, Incident: 1, Alert: 1}}, // with a line of history
				nil, // without: an alert that waits for its group
			} {
				o := r.a.office
				b := &book{partition: 0, partitions: 1, epoch: part.Epoch, office: &office{
					db: &forgetful{DB: db}, clock: o.clock, setup: o.setup, pager: o.pager, node: o.node, alone: o.alone, nudge: o.nudge, log: o.log, secret: o.secret, receipts: o.receipts,
				}}
				id := int64(n + 1)
				batch := correlate.Batch{Next: id, Seq: part.Seq, Effects: effects, Writes: correlate.Writes{
					Next: correlate.Counters{Alert: id + 1, Incident: 2, Major: 1}, SeenAt: at,
					Alerts:    []tocsin.Alert{{ID: id, Status: tocsin.Firing, Fingerprint: tocsin.FingerprintOf("x", strconv.Itoa(n)), Incident: 1}},
					Incidents: []tocsin.Incident{{ID: 1, State: tocsin.Triggered, OpenedAt: at, NewestAt: at}},
				}}
				_, _, err := b.Commit(t.Context(), batch)
				if !errors.Is(err, store.ErrUnknown) || errors.Is(err, correlate.ErrRefused) {
					t.Fatalf("batch %d: a commit whose answer is lost = %v, want ErrUnknown", n, err)
				}
				once := sumOfState(t, db)
				_, commands, err := b.Commit(t.Context(), batch)
				if err != nil || len(commands) != 0 {
					t.Errorf("batch %d: the same again = %v, %v; want none", n, commands, err)
				}
				if twice := sumOfState(t, db); twice != once {
					t.Errorf("batch %d: the state is %s, and once more %s, want the same", n, once, twice)
				}
				part = changed(t, db, func(tx *store.Tx) (store.Part, error) { return tx.Lock(0) })
			}
		})
	}
}

// failedOver is a database that has failed over so often.
type failedOver struct {
	store.DB
	times int64
}

func (f *failedOver) History() int64 { return 1 + f.times }

// D2: after a failover others may have brought the history to where it was before, with other things in it.
func TestABatchOfAStateThatWasLoadedBeforeAFailoverIsRefusedHoweverFarTheHistoryIs(t *testing.T) {
	r := newRig(t)
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "state.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	part := changed(t, db, func(tx *store.Tx) (store.Part, error) { return tx.Claim(0, "one") })
	f, o := &failedOver{DB: db}, r.a.office
	b := &book{partition: 0, partitions: 1, epoch: part.Epoch, history: historyOf(f), office: &office{
		db: f, clock: o.clock, setup: o.setup, pager: o.pager, node: o.node, alone: o.alone, nudge: o.nudge, log: o.log, secret: o.secret, receipts: o.receipts,
	}}
	_, _, err = b.Commit(t.Context(), correlate.Batch{Next: 1, Seq: part.Seq})
	if err != nil {
		t.Fatal(err)
	}
	once := sumOfState(t, db)
	f.times++
	_, _, err = b.Commit(t.Context(), correlate.Batch{Next: 2, Seq: part.Seq})
	if !errors.Is(err, correlate.ErrStale) {
		t.Errorf("a batch of before the failover: %v, want ErrStale", err)
	}
	if is := sumOfState(t, db); is != once {
		t.Errorf("the state is %s, and was %s", is, once)
	}
}

// sumOfState is a hash of what correlation has written of partition 0, and how long its history is.
func sumOfState(t *testing.T, db store.DB) string {
	t.Helper()
	sum, err := store.Digest(t.Context(), db, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(sum, " with seq ", changed(t, db, func(tx *store.Tx) (store.Part, error) { return tx.Lock(0) }).Seq)
}

// changed runs f in a transaction.
func changed(t *testing.T, db store.DB, f func(*store.Tx) (store.Part, error)) (p store.Part) {
	t.Helper()
	err := db.Update(t.Context(), store.Commands, func(tx *store.Tx) (err error) {
		p, err = f(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
