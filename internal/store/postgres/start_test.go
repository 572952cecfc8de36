package postgres_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"tocsin/internal/store"
	"tocsin/internal/store/migrations"
	"tocsin/internal/store/postgres"
	"tocsin/parts/partstest"
)

func TestNodesThatStartTogetherMakeOneSchema(t *testing.T) {
	t.Parallel()
	dsn := partstest.Database(t)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			db, err := postgres.Open(t.Context(), dsn, postgres.Options{})
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			err = db.Update(t.Context(), store.Commands, func(tx *store.Tx) error { _, err := tx.Claim(0, "one"); return err })
			if err = errors.Join(err, db.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var p store.Part
	err := opened(t, dsn).View(t.Context(), func(tx *store.Tx) (err error) { p, err = tx.Part(0); return err })
	if err != nil || p.Epoch != 3 {
		t.Errorf("part = %+v, %v, want epoch 3", p, err)
	}
}

func TestANewerSchemaIsRefusedByName(t *testing.T) {
	t.Parallel()
	dsn := partstest.Database(t)
	err := open(t, dsn).Close()
	if err != nil {
		t.Fatal(err)
	}
	c := raw(t, dsn)
	exec(t, c, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)")
	opened(t, dsn) // it is newer, and says that we may
	exec(t, c, "UPDATE meta SET value = '99' WHERE name = 'min_reader'")
	db, err := postgres.Open(t.Context(), dsn, postgres.Options{})
	if err == nil {
		_ = db.Close()
	}
	want := migrations.NewerError{Schema: 99, MinReader: 99}
	if newer, ok := errors.AsType[*migrations.NewerError](err); !ok || *newer != want {
		t.Errorf("open = %v, want %v", err, &want)
	}
}

func TestOpenSaysWhatIsWrongWithTheServer(t *testing.T) {
	t.Parallel()
	good := partstest.Database(t)
	change := func(fn func(*url.URL)) string {
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		fn(u)
		return u.String()
	}
	option := func(name, value string) string {
		return change(func(u *url.URL) {
			q := u.Query()
			q.Set(name, value)
			u.RawQuery = q.Encode()
		})
	}
	const secret = "s3cr3t+"
	for name, tc := range map[string]struct{ dsn, want string }{
		"nobody listens":                 {change(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "nobody listens there"},
		"a wrong password":               {change(func(u *url.URL) { u.User = url.UserPassword("parts", secret) }), `does not let user "parts" in`},
		"an unknown user":                {change(func(u *url.URL) { u.User = url.UserPassword("nobody", secret) }), `does not let user "nobody" in`},
		"a database that is not there":   {change(func(u *url.URL) { u.Path = "/no_such" }), `there is no database "no_such"`},
		"a server without TLS":           {option("sslmode", "require"), "does not speak TLS"},
		"a schema that is not there":     {option("search_path", "nowhere"), "none of the schemas in search_path (nowhere) is there"},
		"another encoding":               {partstest.Database(t, "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"), "has the encoding LATIN1"},
		"an unknown way of TLS":          {option("sslmode", "sometimes"), "sslmode is invalid"},
		"an address that is none":        {"postgres://parts:" + secret + "/x@127.0.0.1:5432/db", "cannot be read"},
		"an address that is no URL":      {"password=" + secret + " host=127.0.0.1 port=x", "cannot be read"},
		"an address with a broken %":     {"postgres://parts:" + secret + "%zz@127.0.0.1:5432/db", "cannot be read"},
		"an address with a port of text": {"postgres://parts:" + secret + "@127.0.0.1:port/db", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := postgres.Open(t.Context(), tc.dsn, postgres.Options{})
			if err == nil {
				_ = db.Close()
				t.Fatal("open = nil, want an error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("open = %v, want it to say %q", err, tc.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("open = %v, which tells the password", err)
			}
			if strings.Count(err.Error(), "\n") > 2 {
				t.Errorf("open = %v, want a sentence", err)
			}
		})
	}
}

func TestAServerThatIsTooOldIsRefused(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"13.14": "the server is PostgreSQL 13.14: 14 is the oldest that tocsin works with", "14.0": ""} {
		dsn := partstest.Database(t)
		major, minor, _ := strings.Cut(version, ".")
		c := raw(t, dsn)
		exec(t, c, "CREATE SCHEMA elder")
		exec(t, c, fmt.Sprintf(`CREATE FUNCTION elder.current_setting(name text) RETURNS text LANGUAGE sql AS $$
			SELECT CASE name WHEN 'server_version' THEN '%s' WHEN 'server_version_num' THEN '%s%04s' ELSE pg_catalog.current_setting(name) END $$`, version, major, minor))
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("search_path", "elder,pg_catalog") // what is asked of the server is first looked for there
		u.RawQuery = q.Encode()
		db, err := postgres.Open(t.Context(), u.String(), postgres.Options{})
		if err == nil {
			err = db.Close()
		}
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.HasSuffix(got, cmp.Or(want, got)) {
			t.Errorf("a server that says it is PostgreSQL %s: %v, want %q", version, err, want)
		}
		var tables int
		err = c.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'elder'").Scan(&tables)
		if err != nil || (tables > 0) != (want == "") {
			t.Errorf("PostgreSQL %s has %d tables of ours, %v", version, tables, err)
		}
	}
}
