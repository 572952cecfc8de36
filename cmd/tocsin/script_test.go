package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tocsin/internal/app"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tocsin": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "Europe/Berlin")
			s := &canned{dir: filepath.Join(env.WorkDir, "server"), log: filepath.Join(env.WorkDir, "requests")}
			srv := httptest.NewServer(s)
			env.Defer(srv.Close)
			env.Setenv("TOCSIN_URL", srv.URL)
			env.Values["env"] = env
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "serve": serveReal, "until": until},
	})
}

// A canned server answers what lies in a folder, under the method and path of the request: the status in the first line of
// the file, the body below it; what comes next in a list lies in the file PATH@NEXT. What it was asked is written to a log.
type canned struct {
	dir, log string
	mu       sync.Mutex
}

func (s *canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	line := fmt.Sprintf("%s %s %s %s\n", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), body)
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	name := filepath.FromSlash(r.URL.Path)
	if next := r.URL.Query().Get("next"); next != "" {
		name += "@" + next
	}
	text, err := os.ReadFile(filepath.Join(s.dir, r.Method, name+".http"))
	if err != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"type":"about:blank","title":"Not Found","status":404,"detail":"there is none by this id"}`)
		return
	}
	status, answer, _ := bytes.Cut(text, []byte("\n"))
	n, _ := strconv.Atoi(string(status))
	w.WriteHeader(n)
	w.Write(answer)
}

// code runs a command and wants its exit code: code 2 tocsin ...
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code NUMBER COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// serveReal starts the product with a configuration, in which $WORK is the script's folder.
func serveReal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve FILE")
	}
	work := ts.Getenv("WORK")
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "$WORK", work)
	path := filepath.Join(work, "served.yaml")
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	var log bytes.Buffer
	go func() {
		ended <- app.Serve(ctx, app.ServeOptions{Config: path, Stdout: io.Discard, Stderr: &log, Ready: func(addr string) { ready <- addr }})
	}()
	stop := func() error { cancel(); return <-ended }
	select {
	case addr := <-ready:
		ts.Setenv("TOCSIN_URL", "http://"+addr)
	case err := <-ended:
		cancel()
		ts.Fatalf("serve: %v\n%s", err, log.String())
	case <-time.After(30 * time.Second):
		err := stop()
		ts.Fatalf("not ready after 30 s: %v\n%s", err, log.String())
	}
	ts.Defer(func() {
		if err := stop(); err != nil {
			ts.Logf("stop: %v\n%s", err, log.String())
		}
	})
}

// until runs a command again and again until it prints what matches: until PATTERN COMMAND...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	late := time.Now().Add(15 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(late) {
			ts.Fatalf("never printed %s: %v", args[0], err)
		}
	}
}
