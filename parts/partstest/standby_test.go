package partstest_test

import (
	"io"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"tocsin/parts/partstest"
)

func TestTwoPostgreSQLsTakeTurnsAsPrimaryAndStandby(t *testing.T) {
	primary := partstest.StartPostgreSQL(t)
	standby := partstest.StandbyOf(t, streamOf(t, primary))
	for range 2 {
		if timeline(t, standby) != "standby" {
			t.Fatal("the second server is no standby")
		}
		primary.Kill()
		standby.Promote()
		was := timeline(t, standby)
		primary, standby = standby, primary
		standby.Start()
		if old := timeline(t, standby); old >= was {
			t.Errorf("the old primary is on timeline %s, the new one on %s: want a newer one", old, was)
		}
		standby.Follow(streamOf(t, primary))
	}
}

// streamOf returns host:port of a wire before a server.
func streamOf(t *testing.T, p *partstest.PostgreSQL) string {
	t.Helper()
	_, through := partstest.NewWire(t, p.URL, func(to io.Writer, b []byte, _ bool) bool {
		_, err := to.Write(b)
		return err == nil
	})
	u, err := url.Parse(through)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// timeline says which one a server is the primary of, as text that sorts.
func timeline(t *testing.T, p *partstest.PostgreSQL) (is string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), p.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }() // it was only asked
	err = c.QueryRow(t.Context(), "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END").Scan(&is)
	if err != nil {
		t.Fatal(err)
	}
	return is
}
