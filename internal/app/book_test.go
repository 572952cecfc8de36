package app

import (
	"path/filepath"
	"testing"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
)

func TestAnAlertThatIsWrittenAgainIsNoNewOneInAnyLayout(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		const partition, given = 0, 3
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "tocsin.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		b := &book{partition: partition, partitions: partitions}
		write := func(next int64, summary string, ids ...int64) error {
			return db.Update(t.Context(), store.Correlation, func(tx *store.Tx) error {
				part, err := tx.Claim(partition, "one")
				if err != nil {
					return err
				}
				var batch correlate.Batch
				batch.Writes.Next.Alert = next
				for _, id := range ids {
					batch.Writes.Alerts = append(batch.Writes.Alerts, tocsin.Alert{ID: id, Status: tocsin.Firing, Summary: summary})
				}
				return b.write(&turn{tx: tx, part: part}, batch)
			})
		}
		var ids []int64 // as the correlator gives them
		for counter := range int64(given) {
			ids = append(ids, counter*int64(partitions)+partition+1)
		}
		err = write(given, "new", ids...)
		if err == nil {
			err = write(given+1, "said again", append(ids, given*int64(partitions)+partition+1)...)
		}
		if err != nil {
			t.Errorf("of %d partitions: %v", partitions, err)
		}
	}
}
