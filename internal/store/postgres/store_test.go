package postgres_test

import (
	"net/url"
	"testing"

	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/internal/store/storetest"
	"tocsin/parts/partstest"
)

func TestStore(t *testing.T) {
	run(t, func(t *testing.T) string { return partstest.Database(t) })
}

func TestStoreThroughAPooler(t *testing.T) {
	partstest.Address(t, "POOLED_DATABASE_URL")
	run(t, func(t *testing.T) string { return partstest.Pooled(t, partstest.Database(t)) })
}

// TestStoreInAnotherLanguage has a server whose texts are ordered, and whose times and bytes are written, in other ways than ours.
func TestStoreInAnotherLanguage(t *testing.T) {
	run(t, func(t *testing.T) string {
		dsn := partstest.Database(t, "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true-kc-true' LOCALE 'C.UTF-8'")
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		for name, value := range map[string]string{
			"timezone": "Asia/Kathmandu", "datestyle": "German", "bytea_output": "escape", "extra_float_digits": "-5", "intervalstyle": "iso_8601",
			"standard_conforming_strings": "off", "default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
			"lock_timeout": "1", "statement_timeout": "1000", "client_encoding": "LATIN1", "lc_numeric": "C",
		} {
			q.Set(name, value)
		}
		u.RawQuery = q.Encode()
		return u.String()
	})
}

func run(t *testing.T, database func(t *testing.T) string) {
	t.Helper()
	t.Parallel()
	partstest.Address(t, "DATABASE_URL")
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dsn := database(t)
		return func(t *testing.T) store.DB { return open(t, dsn) }
	})
}

func open(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), dsn, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return db
}
