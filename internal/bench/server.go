package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A server is a process under test, on a port of its own.
type server struct {
	url     string
	command []string
	ready   string // path that answers 200 once it takes alerts
	log     string // file that its output goes to
	headers []string
	beside  []int // processes that work for it: brokers and a database
	cmd     *exec.Cmd
	exited  chan struct{} // closed once it has ended; then ended says how
	ended   error
}

// settings make a configuration of an address to listen on and the words of the section storage: file names and texts, of which
// tocsin.yaml is the main one.
type settings func(address, storage string) map[string]string

// tocsin writes settings to a folder of its own under name and returns the server they are for, on embedded storage; it does not
// run yet.
func (b *bench) tocsin(name string, of settings) (*server, error) {
	return b.tocsinAt(home{}, name, of)
}

// tocsinAt is tocsin with its storage at h.
func (b *bench) tocsinAt(h home, name string, of settings) (*server, error) {
	dir := filepath.Join(b.dir, name)
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	err = os.MkdirAll(dir, 0o750)
	if err != nil {
		return nil, fmt.Errorf("folder of %s: %w", name, err)
	}
	for file, text := range of(address, h.storage(filepath.Join(dir, "data"))) {
		err = os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600)
		if err != nil {
			return nil, fmt.Errorf("settings of %s: %w", name, err)
		}
	}
	return &server{
		url: "http://" + address, ready: "/readyz", log: filepath.Join(dir, "log"), headers: []string{"Authorization: Bearer " + token}, beside: h.beside,
		command: []string{b.binary, "serve", "--config", filepath.Join(dir, "tocsin.yaml")},
	}, nil
}

// alertmanager is the peer with these settings; it does not run yet.
func (b *bench) alertmanager(name, settings string) (*server, error) {
	dir := filepath.Join(b.dir, name)
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	err = os.MkdirAll(dir, 0o750)
	if err != nil {
		return nil, fmt.Errorf("folder of %s: %w", name, err)
	}
	file := filepath.Join(dir, "alertmanager.yml")
	err = os.WriteFile(file, []byte(settings), 0o600)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", name, err)
	}
	return &server{
		url: "http://" + address, ready: "/-/ready", log: filepath.Join(dir, "log"),
		command: []string{b.peer, "--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--cluster.listen-address=", "--log.level=warn"},
	}, nil
}

// freePort returns a loopback address that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs the server and returns how long it took until it was ready.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := s.launch(ctx)
	if err != nil {
		return 0, err
	}
	err = s.await(ctx, time.Minute, func() bool {
		status, _, err := fetch(s.url+s.ready, time.Second)
		return err == nil && status == http.StatusOK
	})
	if err != nil {
		return 0, errors.Join(fmt.Errorf("wait until it is ready: %w", err), s.stop())
	}
	return time.Since(began), nil
}

// launch runs the server and waits for nothing.
func (s *server) launch(ctx context.Context) error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer log.Close() // the child has its own
	s.cmd = nil
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	if err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(s.command[0]), err)
	}
	exited := make(chan struct{})
	go func() { s.ended = cmd.Wait(); close(exited) }()
	s.cmd, s.exited = cmd, exited
	return nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// used takes stock of who has used the machine.
func (s *server) used() usage { return used(s.pid(), s.beside...) }

// lives returns nil, or how the server has ended.
func (s *server) lives() error {
	select {
	case <-s.exited:
		return fmt.Errorf("%s has ended: %w\n%s", filepath.Base(s.command[0]), errors.Join(s.ended, errEnded), s.lastWords())
	default:
		return nil
	}
}

// await polls until done says so. It fails when the server has ended, or after at most d.
func (s *server) await(ctx context.Context, d time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		if done() {
			return nil
		}
		select {
		case <-s.exited:
			return s.lives()
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w\n%s", d, ctx.Err(), s.lastWords())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

var errEnded = errors.New("it was not told to")

// lastWords returns the end of the log.
func (s *server) lastWords() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-2000):])
}

// stop ends the server as an operator does, and by force where it does not end.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	defer func() { s.cmd = nil }()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.exited:
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s did not end within 30 s of SIGTERM", filepath.Base(s.command[0])), s.kill())
	}
}

// kill ends the server without a word and waits until it is gone.
func (s *server) kill() error {
	err := s.cmd.Process.Kill()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err)
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("it outlives SIGKILL by 30 s")
	}
}

// metric returns the value of a metric without labels; false where it cannot be had.
func (s *server) metric(name string) (float64, bool) {
	status, body, err := fetch(s.url+"/metrics", 10*time.Second)
	if err != nil || status != http.StatusOK {
		return 0, false
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), name+" ")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		return v, err == nil
	}
	return 0, false
}

const (
	lagMetric        = "tocsin_journal_lag_events"
	openMetric       = "tocsin_correlate_open_alerts"
	partitionsMetric = "tocsin_correlate_partitions"
)

// caughtUp waits until everything accepted has been applied and returns how long that took.
func (s *server) caughtUp(ctx context.Context, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	wait := 5 * time.Millisecond
	err := s.await(ctx, patience, func() bool {
		lag, ok := s.metric(lagMetric)
		if ok && lag == 0 {
			return true
		}
		time.Sleep(wait)
		wait = min(2*wait, 50*time.Millisecond)
		return false
	})
	if err != nil {
		return 0, fmt.Errorf("wait until what was accepted is applied: %w", err)
	}
	return time.Since(began), nil
}
