package postgres_test

import (
	"testing"

	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/internal/store/storetest"
	"tocsin/parts/partstest"
)

func TestStore(t *testing.T) {
	partstest.Address(t, "DATABASE_URL")
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dsn := partstest.Database(t)
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
