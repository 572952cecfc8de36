//go:build unix

package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/internal/store"
	"tocsin/internal/store/storetest"
	"tocsin/parts/partstest"
)

// childOpens says to the test binary that it only opens the file of this path, and says before and after that it does.
const childOpens = "TOCSIN_TEST_OPENS"

// openAndSay is the child of TestAMigrationThatIsKilledIsFinishedByTheNextStart.
func openAndSay(path string) int {
	fmt.Println("opens")
	db, err := Open(path, Options{})
	if err == nil {
		fmt.Println("open")
		err = db.Close()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// full reports whether the release's counts are asked for.
func full() bool { return os.Getenv("TOCSIN_FULL") != "" }

// schemaOf is all that a database file says of itself, and whether it is the whole schema.
func schemaOf(t *testing.T, path string) string {
	t.Helper()
	std, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	rows, err := std.QueryContext(t.Context(), "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// C13: what a kill leaves of a migration is nothing or all of each file, and the next start goes on from there.
func TestAMigrationThatIsKilledIsFinishedByTheNextStart(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	began := time.Now()
	if err := open(t, whole).Close(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	want := schemaOf(t, whole)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	kills, early, half := 10, 0, 0
	if full() {
		kills = 50
	}
	for n := range kills {
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childOpens+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, err = out.Read(make([]byte, len("opens\n")))
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-time.After(time.Duration(r.Int64N(int64(took)))):
		case <-t.Context().Done():
		}
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			early++
		} else if schemaOf(t, path) != want {
			half++
		}
		db, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("seed %d, kill %d: the next start: %v", seed, n, err)
		}
		put(t, db, storetest.Many(1, 10))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if got := schemaOf(t, path); got != want {
			t.Fatalf("seed %d, kill %d: after the next start the schema is\n%s\nwant\n%s", seed, n, got, want)
		}
	}
	t.Logf("seed %d kills %d before anything was there %d half way %d", seed, kills, early, half)
}

// F13: somebody reads one snapshot for long while others write.
func TestALongReadIsInNobodysWayAndTheLogShrinksAfterIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tocsin.db")
	var logged bytes.Buffer
	var mu sync.Mutex
	db, err := Open(path, Options{Log: slog.New(slog.NewTextHandler(locked{&mu, &logged}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	write := func(n int) {
		t.Helper()
		for i := range n {
			err := db.Update(t.Context(), store.Lane(i%3), func(tx *store.Tx) error { return tx.SetMeta("big", strings.Repeat(string(rune('a'+i%26)), 1<<20)) })
			if err != nil {
				t.Fatalf("an update beside a long read: %v", err)
			}
		}
	}
	write(1)
	reading, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- db.View(context.Background(), func(tx *store.Tx) error {
			was, err := tx.Meta("big")
			close(reading)
			if err != nil {
				return err
			}
			<-release
			is, err := tx.Meta("big")
			if err == nil && was != is {
				err = errors.New("it sees what was written after it began")
			}
			return err
		})
	}()
	<-reading
	grown := int64(40 << 20)
	if full() {
		grown = walWarn + 2*walSoft
	}
	write(int(grown >> 20))
	if got := size(); got < grown {
		t.Fatalf("the log has %d bytes, want it to grow beyond %d: the test tests nothing otherwise", got, grown)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the long read: %v", err)
	}
	waitFor(t, func() bool { write(2); db.writer.wal.nudge <- struct{}{}; return size() <= walSoft+(4<<20) })
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if warned := strings.Contains(logged.String(), "log of the state database grows"); warned != full() {
		t.Errorf("warned of the log's growth: %t, want %t\n%s", warned, full(), &logged)
	}
	if strings.Contains(logged.String(), "level=ERROR") || strings.Contains(logged.String(), "locked") {
		t.Error(logged.String())
	}
}

// locked is a writer that many may use.
type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// F5, of the state alone.
func TestAFullDiskIsWorkedOnInAReserveThatIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	partstest.SmallDisk(t, dir, 40<<20)
	db := open(t, filepath.Join(dir, "tocsin.db"))
	kept := filepath.Join(dir, "tocsin.db-reserve")
	exists := func() bool {
		info, err := os.Stat(kept)
		return err == nil && info.Size() == reserveBytes
	}
	waitFor(t, exists)
	other := filepath.Join(dir, "somebody-elses")
	f, err := os.Create(other)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	const many = 10_000 // with a row each that stays, more than the room of the reserve if the log took it all
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := n; i < many; i += 8 {
				err := db.Update(t.Context(), store.Lane(i%3), func(tx *store.Tx) error { return tx.SetMeta(fmt.Sprint("key ", i), "value") })
				if err != nil {
					t.Errorf("update %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if exists() {
		t.Error("the reserve is there, want it given back")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	waitFor(t, exists)
	err = db.View(t.Context(), func(tx *store.Tx) error {
		for i := range many {
			if v, err := tx.Meta(fmt.Sprint("key ", i)); err != nil || v != "value" {
				return fmt.Errorf("key %d is %q: %w", i, v, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
