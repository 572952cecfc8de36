package app

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"tocsin/config"
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
