package app

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

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
