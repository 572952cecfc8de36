package disk_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
)

// journalEnv names the folder whose journal a copy of this test program opens and writes to.
const journalEnv = "TOCSIN_TEST_JOURNAL"

func TestMain(m *testing.M) {
	dir := os.Getenv(journalEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	err := writeWhileAsked(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// writeWhileAsked appends each line of the standard input and prints its offset once it is durable.
func writeWhileAsked(dir string) error {
	j, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		at, err := j.Append(context.Background(), 0, journal.Entry{At: time.Now(), Payload: lines.Bytes()})
		if err != nil {
			return err
		}
		fmt.Println(at)
	}
	return j.Close()
}

// A child is another process with a journal.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	acked []string
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	c := &child{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), journalEnv+"="+dir)
	var err error
	c.in, err = c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	err = c.cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says is the next line that the child prints.
func (c *child) says() string {
	c.out.Scan()
	return c.out.Text()
}

// append lets the child append one entry more, which must get the offset that follows.
func (c *child) append(t *testing.T) {
	t.Helper()
	payload := fmt.Sprintf("entry %d", len(c.acked))
	_, err := fmt.Fprintln(c.in, payload)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.says(), fmt.Sprint(len(c.acked)); got != want {
		t.Fatalf("the child says %q to an entry, want offset %s", got, want)
	}
	c.acked = append(c.acked, payload)
}

// F12, by processes: the lock is the kernel's, so it goes with its holder however that ends.
func TestASecondProcessOnOneJournalIsRefusedAndTheFirstIsUnharmed(t *testing.T) {
	dir := t.TempDir()
	first := startChild(t, dir)
	if said := first.says(); said != "open" {
		t.Fatalf("the first process says %q, want it to open", said)
	}
	first.append(t)
	for range 3 {
		second := startChild(t, dir)
		said := second.says()
		err := errors.Join(second.in.Close(), second.cmd.Wait())
		if err == nil || !strings.Contains(said, dir) || !strings.Contains(said, disk.ErrLocked.Error()) {
			t.Errorf("the second process says %q and ends with %v, want the folder, that another has it, and an error", said, err)
		}
		first.append(t)
	}
	_, err := disk.Repair(dir, disk.Options{})
	if !errors.Is(err, disk.ErrLocked) {
		t.Errorf("a repair of a journal in use = %v, want ErrLocked", err)
	}
	first.append(t)
	err = first.cmd.Process.Kill()
	if err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait() // it says that it was killed

	j := mustOpen(t, dir, disk.Options{})
	r, err := j.Read(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for len(got) < len(first.acked) {
		entries, err := r.Next(t.Context(), 1<<20)
		if err != nil {
			t.Fatalf("after %d entries: %v", len(got), err)
		}
		for _, e := range entries {
			got = append(got, string(e.Payload))
		}
	}
	if strings.Join(got, ",") != strings.Join(first.acked, ",") {
		t.Errorf("the journal has %q, want %q", got, first.acked)
	}
	if s := j.Stats(); s.DamagedSpots != 0 || s.Lost != 0 {
		t.Errorf("the journal counts damage: %+v", s)
	}
}
