package app

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"tocsin/config"
	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
)

// K8: however often a journal is read from its beginning, in whatever batches, and whatever of it comes once more, it comes to the
// same tables.
func TestAJournalReadTwiceAndRecordsDeliveredAgainComeToTheSameTables(t *testing.T) {
	seed := seedOf(t)
	length := 3 * time.Second
	if full() {
		length = 15 * time.Second
	}
	p := newPlant(t, soakRules)
	p.start()
	stop := p.load(seed)
	sleepFor(t, length)
	stop()
	p.whole()
	p.terminate()
	source, err := disk.Open(filepath.Join(p.data(), "journal"), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	live := func() (store.DB, error) { return sqlite.Open(filepath.Join(p.data(), "tocsin.db"), sqlite.Options{}) }
	s, err := readState(t.Context(), p.data())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.incidents) == 0 || s.part.NextOffset < 10 {
		t.Fatalf("%d incidents of %d records, want a history", len(s.incidents), s.part.NextOffset)
	}
	foldsAlike(t, live, source, s.part, seed, func(*config.Config) {}, p.config())
}

// foldsAlike folds one partition several times into fresh databases, and compares their digests with the live one's.
func foldsAlike(t *testing.T, live func() (store.DB, error), source journal.Journal, part store.Part, seed uint64, edit func(*config.Config), path string) {
	t.Helper()
	want := digestOf(t, live, part.Partition)
	_, rules, commands := dumpOf(t, live, part.Partition)
	end := part.NextOffset
	for n, again := range []struct {
		name            string
		rewinds, deaths []int64
	}{
		{name: "once"},
		{name: "twice, in other batches"},
		{name: "with all delivered again in the middle", rewinds: []int64{end / 3, end / 2, end}},
		{name: "by three processes, whose offsets were lost outside the database", deaths: []int64{end / 4, 2 * end / 3}},
	} {
		dir := t.TempDir()
		f := newFold(t, path, filepath.Join(dir, "data"), source, part.Partition, edit, rules, commands, rand.New(rand.NewPCG(seed, uint64(n))))
		f.end, f.rewinds, f.deaths = end, again.rewinds, again.deaths
		f.run(t)
		fresh := func() (store.DB, error) {
			return sqlite.Open(filepath.Join(dir, "data", "tocsin.db"), sqlite.Options{})
		}
		got := digestOf(t, fresh, part.Partition)
		said := fmt.Sprintf("partition %d read %s: %d records, %d of them once more, and %d commands", part.Partition, again.name, end, f.repeats, len(commands))
		t.Logf("%s: digest %.16s", said, got)
		if got != want {
			a, _, _ := dumpOf(t, live, part.Partition)
			b, _, _ := dumpOf(t, fresh, part.Partition)
			t.Errorf("%s: digest %.16s, want the live one's %.16s:\n%s", said, got, want, firstDifferences(a, b))
		}
		if once := again.rewinds == nil && again.deaths == nil; once != (f.repeats == 0) {
			t.Errorf("%s: %d records came once more", said, f.repeats)
		}
	}
}

// digestOf is the hash of what one partition came to.
func digestOf(t *testing.T, open func() (store.DB, error), partition int) string {
	t.Helper()
	db, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	digest, err := store.Digest(t.Context(), db, partition)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}
