package sqlite

import (
	"path/filepath"
	"testing"

	"tocsin/internal/store"
	"tocsin/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		path := filepath.Join(t.TempDir(), "tocsin.db")
		return func(t *testing.T) store.DB {
			t.Helper()
			db, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			return db
		}
	})
}
