// Package partstest is how a test gets at the real programs that the scripts of parts/ start: Prometheus, Alertmanager,
// Chromium, the providers' mocks and the sinks.
//
// Where a part is absent the test is skipped with a line that says what would make it run; where TOCSIN_REQUIRE_PARTS=1 is
// set, as in CI, it fails instead, so that no check is lost in silence. It installs nothing and starts only what is already
// on the machine.
package partstest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Address returns what parts/all.sh printed for name, such as TWILIO_MOCK or SINK_SMTP, from the environment.
func Address(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		absent(t, name+" is not set", "export what `bash parts/all.sh up` prints")
	}
	return v
}

// Program returns the path of an executable, such as chromium.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, name+" is not installed", "run `bash parts/all.sh up`")
	}
	return path
}

// Start brings up a part of this test's own by parts/<script>.sh, with a data folder of its own and the given NAME=value
// settings (its ports among them), and stops it when the test ends. It returns what the script printed, by name. program is
// what must be installed for it.
func Start(t testing.TB, script, program string, settings ...string) map[string]string {
	t.Helper()
	Program(t, program)
	file := filepath.Join(root(t), "parts", script+".sh")
	env := append(os.Environ(), "PARTS_RUN="+t.TempDir())
	env = append(env, settings...)

	up := exec.CommandContext(t.Context(), "bash", file, "up")
	up.Env = env
	var said bytes.Buffer
	up.Stderr = &said
	printed, err := up.Output()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		down := exec.CommandContext(ctx, "bash", file, "down")
		down.Env = env
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("stop %s: %v\n%s", script, err, out)
		}
	})
	if err != nil {
		t.Fatalf("start %s: %v\n%s", script, err, said.Bytes())
	}
	vars := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(printed)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listened on a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatalf("give back port %d: %v", port, err)
	}
	return port
}

// absent skips the test out loud, or fails it where parts are required.
func absent(t testing.TB, what, cure string) {
	t.Helper()
	if os.Getenv("TOCSIN_REQUIRE_PARTS") == "1" {
		t.Fatalf("PART ABSENT: %s, and TOCSIN_REQUIRE_PARTS=1: %s", what, cure)
	}
	t.Skipf("SKIPPED, PART ABSENT: %s: %s", what, cure)
}

// root returns the folder of go.mod above the test.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			t.Fatal(fmt.Errorf("find the module: %w", err))
		}
		dir = filepath.Dir(dir)
	}
}
