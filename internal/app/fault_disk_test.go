package app

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tocsin/parts/partstest"
)

// fill takes all the room of the file system of dir, to the last byte, and returns the file that has it.
func fill(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "somebody-elses")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err = f.Write(make([]byte, size))
		if errors.Is(err, syscall.ENOSPC) {
			size /= 2
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// refuses sends events until one is refused as it must be: some fit into what the journal holds already.
func (p *plant) refuses(service int) {
	p.t.Helper()
	const most = 20_000
	for range most {
		status, header := p.fires(service, 0)
		if status == http.StatusAccepted {
			continue
		}
		wait, err := strconv.Atoi(header.Get("Retry-After"))
		if status != http.StatusServiceUnavailable || err != nil || wait < 1 {
			p.t.Fatalf("an event is answered %d with Retry-After %q, want 503 and seconds", status, header.Get("Retry-After"))
		}
		return
	}
	p.t.Fatalf("%d events were accepted on a full disk", most)
}

// F5: the doors close, for what cannot be kept must not be accepted; those who are woken and those who answer go on.
func TestAFullDiskClosesTheDoorsAndNothingElse(t *testing.T) {
	p := newPlant(t, killRules)
	p.mkdata(t)
	partstest.SmallDisk(t, p.data(), 96<<20)
	p.start()
	first, second := p.mustFire(40, 0), p.mustFire(42, 0)
	p.until("both are paged", func() bool { return p.paged(40) && p.paged(42) })
	p.until("the reserve is there", func() bool { return p.exists("tocsin.db-reserve") })

	full := fill(t, p.data())
	p.refuses(44)
	p.commands(first, "ack", "p40")
	for range 300 {
		p.commands(first, "note", "p40")
	}
	if p.exists("tocsin.db-reserve") {
		t.Error("the reserve is still there, want it given back: nothing has tested it")
	}
	p.commands(second, "escalate", "p42")
	p.until("the next step is paged", func() bool { return p.paged(43) })
	if status, _ := p.fires(44, 0); status != http.StatusServiceUnavailable {
		t.Errorf("an event is answered %d while only the reserve is free, want 503: that room is not for events", status)
	}
	var shown detail
	p.read("/api/v1/incidents/"+strconv.FormatInt(first, 10), &shown)
	if shown.State != "acknowledged" || shown.AckedBy != "p40" {
		t.Errorf("while the disk is full it reads as %s by %s, want acknowledged by p40", shown.State, shown.AckedBy)
	}

	err := os.Remove(full)
	if err != nil {
		t.Fatal(err)
	}
	p.until("an event is accepted again, by the same process", func() bool {
		status, _ := p.fires(44, 0)
		return status == http.StatusAccepted
	})
	p.until("the reserve is made again", func() bool { return p.exists("tocsin.db-reserve") })
	p.settle()
	p.kill()
	p.start()
	p.settle()
	p.terminate()
	sum := p.audit()
	p.noPanic()
	t.Logf("accepted %d lost %d doubled %d state=fold %v", sum.accepted, sum.lost, sum.doubled, sum.fold)
}

// waitRules gather for long enough to fill a disk meanwhile.
const waitRules = `
rules:
  - {name: waits, matchers: ['service="s40"'], group_by: [service], window: 24h, reopen: 24h, quiet: 1s, group_wait: 15s}
  - {name: all, group_by: [service], window: 24h, reopen: 24h, quiet: 1s}
`

// F5: time stands still while nothing can be heard (decision 0026), and goes on within two seconds of the journal.
func TestWhatFallsDueWhileTheDiskIsFullDoesSoWhenThereIsRoom(t *testing.T) {
	p := newPlant(t, waitRules)
	p.mkdata(t)
	partstest.SmallDisk(t, p.data(), 96<<20)
	p.start()
	p.until("the reserve is there", func() bool { return p.exists("tocsin.db-reserve") })
	escalated := p.mustFire(42, 0)
	if status, _ := p.fires(40, 0); status != http.StatusAccepted {
		t.Fatalf("an event is answered %d, want 202", status)
	}
	full := fill(t, p.data())
	p.refuses(44)
	p.until("time stands still", func() bool { return p.saidAt("time stands still") != time.Time{} })
	p.commands(escalated, "escalate", "p42")
	p.until("an escalation goes on", func() bool { return p.paged(43) })
	if p.paged(40) {
		t.Error("what waited has come about without a record that says that time has passed: no replay would find the same state")
	}
	err := os.Remove(full)
	if err != nil {
		t.Fatal(err)
	}
	p.until("what waited is paged", func() bool { return p.paged(40) })
	healed, goes := p.saidAt("journal writes again"), p.saidAt("time goes on")
	if wait := goes.Sub(healed); healed.IsZero() || goes.IsZero() || wait > 2*time.Second {
		t.Errorf("the journal wrote again at %s and time went on at %s, want it within 2 s", healed, goes)
	}
	p.settle()
	p.terminate()
	sum := p.audit()
	p.noPanic()
	t.Logf("accepted %d lost %d doubled %d state=fold %v, time went on %s after the journal", sum.accepted, sum.lost, sum.doubled, sum.fold, goes.Sub(healed))
}

// saidAt is when the process first logged a message that begins so; zero: it has not.
func (p *plant) saidAt(message string) time.Time {
	p.t.Helper()
	for line := range bytes.Lines(p.said()) {
		if !bytes.Contains(line, []byte(`msg="`+message)) && !bytes.Contains(line, []byte(`"msg":"`+message)) {
			continue
		}
		stamp := stampOf.FindSubmatch(line)
		if stamp == nil {
			p.t.Fatalf("a line of the log has no time: %s", line)
		}
		at, err := time.Parse(time.RFC3339Nano, string(stamp[1]))
		if err != nil {
			p.t.Fatal(err)
		}
		return at
	}
	return time.Time{}
}

var stampOf = regexp.MustCompile(`time"?[=:]"?([0-9T:.Z+-]+)`)
