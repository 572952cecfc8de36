package app

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve starts what the rig's file says as the command does, and returns how that ended and what was printed.
func (r *rig) serve() (said string, err error) {
	r.t.Helper()
	var out bytes.Buffer
	err = Serve(r.t.Context(), ServeOptions{Config: r.config(), Stdout: &out, Stderr: &out, Ready: func(addr string) {
		r.t.Errorf("it serves on %s, want it to refuse", addr)
	}})
	return out.String(), err
}

func TestAStartThatCannotBeSaysWhy(t *testing.T) {
	t.Run("a second server on the same folder", func(t *testing.T) {
		r := newStory(t)
		_, err := r.serve()
		if err == nil || !strings.Contains(err.Error(), filepath.Join(r.dir, "data")) || !strings.Contains(err.Error(), "another") {
			t.Errorf("it says %v, want the folder, and that another has it", err)
		}
		r.lag("a", "critical", "db-main", "replication lag 340s") // the first one goes on
		r.phone("one").waits("db-main")
	})
	t.Run("a port that is taken", func(t *testing.T) {
		r := newStory(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		r.edit("listen: 127.0.0.1:0", "listen: "+ln.Addr().String(), filepath.Join(r.dir, "data"), filepath.Join(r.dir, "other"))
		_, err = r.serve()
		if err == nil || !strings.Contains(err.Error(), "server.listen") || !strings.Contains(err.Error(), ln.Addr().String()) {
			t.Errorf("it says %v, want the setting and the address", err)
		}
		// And it has let go of its folder: with a free port it starts.
		r.edit("listen: "+ln.Addr().String(), "listen: 127.0.0.1:0")
		r.restart()
	})
	t.Run("a folder that cannot be made", func(t *testing.T) {
		r := newStory(t)
		file := filepath.Join(r.dir, "file")
		err := os.WriteFile(file, nil, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		r.edit(filepath.Join(r.dir, "data"), filepath.Join(file, "data"))
		_, err = r.serve()
		if err == nil || !strings.Contains(err.Error(), "storage.dir") || !strings.Contains(err.Error(), file) {
			t.Errorf("it says %v, want the setting and the folder", err)
		}
	})
	t.Run("a database that is none", func(t *testing.T) {
		r := newStory(t)
		dir := filepath.Join(r.dir, "other")
		err := os.MkdirAll(dir, 0o700)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "tocsin.db"), bytes.Repeat([]byte("no database "), 1000), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.edit(filepath.Join(r.dir, "data"), dir)
		_, err = r.serve()
		if err == nil || !strings.Contains(err.Error(), "tocsin.db") {
			t.Errorf("it says %v, want the file", err)
		}
	})
	t.Run("a configuration with mistakes", func(t *testing.T) {
		r := newStory(t)
		r.edit("escalation: platform}", "escalation: nowhere}", "repeat: 2", `repeat: "2"`)
		said, err := r.serve()
		if !errors.Is(err, ErrConfig) || strings.Count(said, "tocsin.yaml:") < 2 {
			t.Errorf("it says %v and prints %q, want every mistake with its line", err, said)
		}
	})
}

func TestWhatWasOpenIsAnsweredAfterARestart(t *testing.T) {
	r := newStory(t)
	one := r.phone("one")
	r.lag("a", "critical", "db-main", "replication lag 340s")
	page := one.waits("db-main")
	r.restart()
	r.until("the state is loaded", func() bool { return r.a.holds.whole() })
	d := r.one()
	if d.State != "triggered" || len(owed(d.Pages)) != 1 || len(r.timers(r.number(d.ID), 0)) != 1 {
		t.Errorf("after the restart it is %s, owes %+v, timers %+v; want the call and the next step", d.State, owed(d.Pages), r.timers(r.number(d.ID), 0))
	}
	r.lag("b", "critical", "db-main", "replication lag 350s")
	r.until("the alert has joined it", func() bool { return r.one().Open == 2 })
	one.answers(t, "4 "+r.codeIn(page), "10 db-main is yours. Done? 6 10. Cannot? 5 10.")
	if n := len(one.texts()); n != 1 {
		t.Errorf("%d SMS, want the one page", n)
	}
}
