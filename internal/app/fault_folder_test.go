package app

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is a user who owns nothing but what a test gives them.
const nobody = 65534

// asNobody lets the plant's processes run as a user for whom files can be read-only, who owns the plant's folder.
func (p *plant) asNobody() {
	p.t.Helper()
	if os.Geteuid() != 0 {
		return // the runner is such a user already
	}
	if runtime.GOOS != "linux" {
		p.t.Skip("SKIPPED: nothing is read-only for root, and only on Linux can this test run a process as somebody else")
	}
	p.exe = "/proc/self/exe" // for the path of the test program leads through folders of root's
	p.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	for dir := p.dir; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			p.t.Fatal(err)
		}
		if info.Mode().Perm()&0o001 != 0 && dir != p.dir {
			break
		}
		p.chmod(dir, 0o711)
	}
	p.own()
}

// own gives nobody all that is in the plant's folder.
func (p *plant) own() {
	p.t.Helper()
	if p.as == nil {
		return
	}
	err := filepath.WalkDir(p.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) chmod(path string, mode fs.FileMode) {
	p.t.Helper()
	err := os.Chmod(path, mode)
	if err != nil {
		p.t.Fatal(err)
	}
}

// refusesToStart starts a process that must end by itself, soon, with an error, and returns what it said.
func (p *plant) refusesToStart() string {
	p.t.Helper()
	cmd := p.command()
	_, err := cmd.StdinPipe() // it ends with us
	if err != nil {
		p.t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Start()
	if err != nil {
		p.t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); err == nil || code != 1 {
		p.t.Errorf("it ends with %v (code %d), want code 1\n%s", err, code, &said)
	}
	return said.String()
}

// F6, at the start.
func TestAFolderThatCannotBeWrittenIsRefusedAtTheStartByName(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil string // of the data folder, after a run that made it
		mode  fs.FileMode
		says  []string
	}{
		"the folder is somebody else's":       {"", 0o500, []string{"storage.dir", "data", "must be writable by this user"}},
		"the folder cannot be looked into":    {"", 0, []string{"storage.dir", "data", "permission denied"}},
		"the journal's folder is read-only":   {"journal/partition-0000", 0o500, []string{"storage.dir", "partition-0000", "permission denied"}},
		"the journal's lock cannot be opened": {"journal/LOCK", 0o400, []string{"storage.dir", "LOCK", "permission denied"}},
		"the database is read-only":           {"tocsin.db", 0o400, []string{"storage.dir", "tocsin.db", "must be writable by this user"}},
		"the database cannot be read":         {"tocsin.db", 0, []string{"storage.dir", "tocsin.db", "must be writable by this user"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, killRules)
			p.asNobody()
			p.start()
			p.mustFire(40, 0)
			p.terminate()
			path := filepath.Join(p.data(), tc.spoil)
			was, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			p.chmod(path, tc.mode)
			said := p.refusesToStart()
			for _, want := range tc.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			p.chmod(path, was.Mode().Perm())
			p.start() // and with the cause goes the refusal, with nothing lost
			p.settle()
			p.terminate()
			p.audit()
			p.noPanic()
		})
	}
	t.Run("the folder is new, and somebody else's", func(t *testing.T) {
		t.Parallel()
		p := newPlant(t, killRules)
		p.mkdata(t)
		p.asNobody()
		p.chmod(p.data(), 0o500)
		said := p.refusesToStart()
		if !strings.Contains(said, "storage.dir") || !strings.Contains(said, p.data()) || !strings.Contains(said, "permission denied") {
			t.Errorf("it does not say which folder cannot be written, and why:\n%s", said)
		}
		p.chmod(p.data(), 0o700)
		p.start()
		p.mustFire(40, 0)
		p.settle()
		p.terminate()
		p.audit()
		p.noPanic()
	})
	t.Run("the folder cannot be made", func(t *testing.T) {
		p := newPlant(t, killRules)
		p.asNobody()
		p.chmod(p.dir, 0o511)
		said := p.refusesToStart()
		if !strings.Contains(said, "storage.dir") || !strings.Contains(said, p.data()) || !strings.Contains(said, "permission denied") {
			t.Errorf("it does not say what cannot be made, and why:\n%s", said)
		}
		p.chmod(p.dir, 0o711)
	})
}

// F6, while it runs: what is open stays open, so nothing that was accepted may be lost by it, and people go on.
func TestAFolderThatTurnsReadOnlyWhileItRunsLosesNothing(t *testing.T) {
	p := newPlant(t, killRules)
	p.asNobody()
	p.start()
	first := p.mustFire(40, 0)
	p.until("it is paged", func() bool { return p.paged(40) })
	set := func(dirs, files fs.FileMode) {
		t.Helper()
		err := filepath.WalkDir(p.data(), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.Chmod(path, dirs)
			}
			return os.Chmod(path, files)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(0o500, 0o400)
	for n := range 200 {
		status, header := p.fires(42+2*(n%10), n%perEvents)
		if status != http.StatusAccepted && (status != http.StatusServiceUnavailable || header.Get("Retry-After") == "") {
			t.Fatalf("an event is answered %d, want 202, or 503 with Retry-After", status)
		}
	}
	p.commands(first, "ack", "p40")
	var shown detail
	p.read("/api/v1/incidents/1", &shown)
	if shown.State != "acknowledged" {
		t.Errorf("it reads as %s, want acknowledged", shown.State)
	}
	p.kill()
	if said := p.refusesToStart(); !strings.Contains(said, "permission denied") {
		t.Errorf("a start on the read-only folder says:\n%s", said)
	}
	set(0o700, 0o600)
	p.start()
	p.settle()
	p.terminate()
	sum := p.audit()
	p.noPanic()
	t.Logf("accepted %d lost %d doubled %d state=fold %v", sum.accepted, sum.lost, sum.doubled, sum.fold)
}
