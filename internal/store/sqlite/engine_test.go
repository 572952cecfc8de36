//go:build unix

package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/migrations"
	"tocsin/internal/store/storetest"
)

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func TestASecondOpenIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tocsin.db")
	db := open(t, path)
	_, err := Open(path, Options{})
	if err == nil || !strings.Contains(err.Error(), "another tocsin has it open") {
		t.Errorf("second Open = %v, want a refusal that says why", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestOpenSaysWhatIsWrongWithThePlace(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct{ path, want string }{
		"a folder that is not there":     {filepath.Join(dir, "no", "tocsin.db"), "no such file or directory"},
		"a file where the folder is":     {filepath.Join(write("file", "x"), "tocsin.db"), "not a directory"},
		"a folder where the file is":     {dir, "must exist, and it and the files in it must be writable"},
		"a file that is no database":     {write("text.db", strings.Repeat("no database ", 1000)), "damaged or no database of ours"},
		"a database whose head is zeros": {write("zeros.db", strings.Repeat("\x00", 8192)), "damaged or no database of ours"},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(tc.path, Options{})
			if err == nil {
				_ = db.Close()
				t.Fatal("Open = nil, want an error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open = %v, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestAPathWithAnyCharactersIsOneFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&e")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tocsin.db")
	put(t, open(t, path), storetest.Many(1, 1))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestAFullDiskIsAnErrorUntilThereIsRoomAgain(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "tocsin.db"))
	ctx := t.Context()
	limit := func(pages string) { // stands in for a disk: SQLite answers SQLITE_FULL for both
		t.Helper()
		err := db.Update(ctx, store.Commands, func(*store.Tx) error { return db.writer.conn.run("PRAGMA max_page_count=" + pages) })
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, db, storetest.Many(1, 100))
	limit("1")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := db.Update(ctx, store.Lane(i%3), func(tx *store.Tx) error {
				if i%2 == 0 {
					return tx.SetMeta("small", "fits in what is there")
				}
				return tx.PutAlerts(storetest.Many(1000*(i+1), 200))
			})
			if i%2 == 0 && err != nil {
				t.Errorf("an update that needs no room = %v, want none", err)
			}
			if i%2 == 1 && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("an update that needs room = %v, want ErrUnavailable", err)
			}
		})
	}
	wg.Wait()
	err := db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		_ = tx.PutAlerts(storetest.Many(5000, 200)) // passes the error over
		return tx.SetMeta("after", "must not stay")
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an update that passes the error over = %v, want ErrUnavailable", err)
	}
	limit("1000000")
	put(t, db, storetest.Many(1000, 100))
	count := 0
	err = db.View(ctx, func(tx *store.Tx) error {
		for _, err := range tx.Alerts(store.AlertFilter{}) {
			if err != nil {
				return err
			}
			count++
		}
		_, err := tx.Meta("after")
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what was written after the failure: %v, want it gone", err)
		}
		return nil
	})
	if err != nil || count != 200 {
		t.Errorf("%d alerts, %v; want the 200 of before and after", count, err)
	}
}

func TestAFailureThatTakesTheTransactionLetsTheOthersRunAgain(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "tocsin.db"))
	ctx := t.Context()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // holds the writer, so that the others share the next commit
		_ = db.Update(ctx, store.Commands, func(*store.Tx) error { close(held); <-release; return nil })
	})
	<-held
	runs := 0
	errs := make([]error, 2)
	wg.Go(func() {
		errs[0] = db.Update(ctx, store.Commands, func(tx *store.Tx) error { runs++; return tx.SetMeta("good", "stays") })
	})
	waitFor(t, func() bool { return len(db.writer.queue[store.Commands]) == 1 })
	wg.Go(func() {
		errs[1] = db.Update(ctx, store.Correlation, func(tx *store.Tx) error {
			err := tx.SetMeta("bad", "goes")
			if err != nil {
				return err
			}
			return db.writer.conn.run("ROLLBACK") // as SQLite does by itself after some failures
		})
	})
	waitFor(t, func() bool { return len(db.writer.queue[store.Correlation]) == 1 })
	close(release)
	wg.Wait()
	if errs[0] != nil || runs != 2 {
		t.Errorf("the good update = %v after %d runs, want none after 2", errs[0], runs)
	}
	if errs[1] == nil {
		t.Error("the bad update = nil, want an error")
	}
	err := db.View(ctx, func(tx *store.Tx) error {
		_, good := tx.Meta("good")
		_, bad := tx.Meta("bad")
		if good != nil || !errors.Is(bad, store.ErrNotFound) {
			t.Errorf("good: %v, bad: %v; want the good one there and the bad one gone", good, bad)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// waitFor waits until the other goroutines have come that far.
func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for too long")
		}
	}
}

func TestUrgentLanesGoFirstAndNoLaneStarves(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "tocsin.db"))
	ctx := t.Context()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.Update(ctx, store.Commands, func(*store.Tx) error { close(held); <-release; return nil })
	})
	<-held
	var order []store.Lane
	for _, lane := range []store.Lane{store.Correlation, store.Paging, store.Commands, store.Correlation, store.Commands} {
		before := len(db.writer.queue[lane])
		wg.Go(func() {
			err := db.Update(ctx, lane, func(tx *store.Tx) error { order = append(order, lane); return tx.SetMeta("x", "y") })
			if err != nil {
				t.Error(err)
			}
		})
		waitFor(t, func() bool { return len(db.writer.queue[lane]) == before+1 })
	}
	close(release)
	wg.Wait()
	if got, want := fmt.Sprint(order), "[0 0 1 2 2]"; got != want {
		t.Errorf("order of lanes = %s, want %s", got, want)
	}

	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = db.Update(ctx, store.Commands, func(tx *store.Tx) error { time.Sleep(batchTime); return tx.SetMeta("x", "y") })
			}
		})
	}
	err := db.Update(ctx, store.Correlation, func(tx *store.Tx) error { return tx.SetMeta("y", "z") })
	close(stop)
	wg.Wait()
	if err != nil {
		t.Errorf("correlation under a storm of commands = %v", err)
	}
}

func TestAnUpdateThatWaitsEndsWithItsCaller(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "tocsin.db"))
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.Update(context.Background(), store.Commands, func(*store.Tx) error { close(held); <-release; return nil })
	})
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := db.Update(ctx, store.Commands, func(tx *store.Tx) error { t.Error("it runs"); return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("update = %v, want context.DeadlineExceeded", err)
	}
	close(release)
	wg.Wait()
	put(t, db, storetest.Many(1, 1))
}

func TestTheLogDoesNotGrowWithoutBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tocsin.db")
	var logged bytes.Buffer
	db, err := Open(path, Options{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	worst := int64(0)
	for i := range 60 {
		put(t, db, storetest.Many(i*1000+1, 1000))
		if info, err := os.Stat(path + "-wal"); err == nil {
			worst = max(worst, info.Size())
		}
	}
	if worst > walHard+walSoft {
		t.Errorf("log grew to %d MiB, want %d at most", worst>>20, (walHard+walSoft)>>20)
	}
	t.Logf("log of 60,000 alerts: at most %d MiB", worst>>20)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("log after a clean end: %v, want it gone", err)
	}
	if strings.Contains(logged.String(), "level=ERROR") {
		t.Error(logged.String())
	}
}

func TestANewerSchemaIsRefusedOnlyWhenItSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tocsin.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	change := func(statement string) {
		t.Helper()
		std, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = std.ExecContext(t.Context(), statement)
		if err := errors.Join(err, std.Close()); err != nil {
			t.Fatal(err)
		}
	}
	change("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	change("UPDATE meta SET value = '98' WHERE name = 'min_reader'")
	_, err := Open(path, Options{})
	newer, ok := errors.AsType[*migrations.NewerError](err)
	if !ok || *newer != (migrations.NewerError{Schema: 99, MinReader: 98}) {
		t.Errorf("Open = %v, want a NewerError that names schema 99 and its min_reader 98", err)
	}
}

// The statements that must be fast use the index that was made for them, whatever the tables hold.
func TestQueriesUseTheirIndexes(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "tocsin.db"))
	plan := func(query string) string {
		t.Helper()
		var steps []string
		err := db.View(t.Context(), func(*store.Tx) error {
			c, err := connect(db.path)
			if err != nil {
				return err
			}
			args := make([]any, strings.Count(query, "$"))
			for i := range args {
				args[i] = 1
			}
			err = c.query("EXPLAIN QUERY PLAN "+query, args, func(r store.Row) bool { steps = append(steps, r.Text(3)); return true })
			return errors.Join(err, c.close())
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(steps, "; ")
	}
	for name, tc := range map[string]struct{ query, want string }{
		"firing alerts":      {"SELECT * FROM alert a WHERE a.status = 1 AND a.id > $1 ORDER BY a.id LIMIT $2", "SEARCH a USING INDEX alert_firing (status=? AND id>?)"},
		"alerts of a source": {"SELECT * FROM alert a WHERE a.status = 1 AND a.source = $1 AND a.id > $2 ORDER BY a.id LIMIT $3", "SEARCH a USING INDEX alert_source (source=? AND status=? AND rowid>?)"},
		"due pages":          {"SELECT * FROM page p WHERE p.state = 1 AND p.channel = $1 AND p.lane = $2 AND p.due_at <= $3 ORDER BY p.due_at LIMIT $4", "SEARCH p USING INDEX page_due (channel=? AND lane=? AND due_at<?)"},
		"next lapse":         {"SELECT MIN(claimed_to) FROM page WHERE state IN (2, 3)", "SEARCH page USING INDEX page_claimed"},
		"lapsed claims":      {"SELECT * FROM page p WHERE p.state IN (2, 3) AND p.channel = $1 AND p.claimed_to < $2 ORDER BY p.claimed_to LIMIT $3", "SEARCH p USING INDEX page_claimed (claimed_to<?)"},
		"next channel":       {"SELECT channel FROM page WHERE state = 1 AND channel > $1 ORDER BY channel LIMIT 1", "SEARCH page USING COVERING INDEX page_due (channel>?)"},
		"next page":          {"SELECT MIN(due_at) FROM page WHERE state = 1 AND channel = $1 AND lane = $2", "SEARCH page USING COVERING INDEX page_due (channel=? AND lane=?)"},
		"commands":           {"SELECT * FROM change WHERE command = 1 AND partition = $1 AND seq > $2 AND after_offset >= $3 ORDER BY seq LIMIT $4", "SEARCH change USING INDEX change_command (partition=? AND seq>?)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := plan(tc.query); got != tc.want {
				t.Errorf("plan = %s, want %s", got, tc.want)
			}
		})
	}
}

// childPath says to the test binary that it is the child of TestWhatWasAnsweredOutlivesAKill.
const childPath = "TOCSIN_TEST_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		writeUntilKilled(path)
	}
	if path := os.Getenv(childOpens); path != "" {
		os.Exit(openAndSay(path))
	}
	os.Exit(m.Run())
}

// writeUntilKilled says each id after its alert was answered for.
func writeUntilKilled(path string) {
	db, err := Open(path, Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := int64(i*4 + w + 1)
				a := tocsin.Alert{ID: id, Status: tocsin.Firing, Source: fmt.Sprint(id)}
				err := db.Update(context.Background(), store.Correlation, func(t *store.Tx) error { return t.PutAlerts([]tocsin.Alert{a}) })
				if err != nil {
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestWhatWasAnsweredOutlivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tocsin.db")
	answered := map[int64]bool{}
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childPath+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		err = cmd.Start()
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var id int64
			if _, err := fmt.Sscan(lines.Text(), &id); err != nil {
				t.Fatalf("child says %q", lines.Text())
			}
			answered[id] = true
			if n == 50+round*37 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
	}
	db := open(t, path)
	err := db.View(t.Context(), func(tx *store.Tx) error {
		for id := range answered {
			a, err := tx.Alert(id)
			if err != nil || a.Source != fmt.Sprint(id) {
				t.Errorf("alert %d, answered before the kill: %+v, %v", id, a, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d alerts answered for over 5 kills, all there", len(answered))
}
