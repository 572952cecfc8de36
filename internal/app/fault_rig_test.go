package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faultPatience is how long something may take that another process is to bring about.
const faultPatience = 30 * time.Second

// until waits for something that another process brings about.
func (p *plant) until(what string, is func() bool) {
	p.t.Helper()
	p.within(faultPatience, what, is)
}

// within is until with a limit of its own.
func (p *plant) within(limit time.Duration, what string, is func() bool) {
	p.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case err := <-p.exited:
			p.t.Fatalf("the process ended by itself before %s: %v", what, err)
		case <-deadline:
			p.t.Fatalf("after %s still not: %s", limit, what)
		}
	}
}

// ask posts something to the process that runs and returns its whole answer.
func (p *plant) ask(path, token string, body []byte) (status int, header http.Header, answer string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), faultPatience)
	defer cancel()
	var resp *http.Response
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.at(ctx)+path, bytes.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		req.Close = true // a connection that waits may be let go
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err = http.DefaultClient.Do(req)
		if err == nil {
			break
		}
		if p.files == 0 || ctx.Err() != nil {
			p.t.Fatalf("POST %s: %v", path, err)
		} // else it was let go before it was read, for want of files: it tries again, as senders do
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("POST %s: %v", path, err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// fires sends one event that a service's alert fires, notes in the ledger what became of it, and returns the answer.
func (p *plant) fires(service, n int) (status int, header http.Header) {
	p.t.Helper()
	now := time.Now()
	i := intent{key: fmt.Sprintf("pd-s%d-%d", service, n), service: service, says: fires, severity: "critical", starts: now, ends: now.Add(24 * time.Hour)}
	status, header, _ = p.ask("/v2/enqueue", "", eventBody(i))
	p.ledger.said([]intent{i}, status == http.StatusAccepted)
	return status, header
}

// mustFire is fires for an event that is accepted, and returns the number of the service's incident.
func (p *plant) mustFire(service, n int) (incident int64) {
	p.t.Helper()
	status, _ := p.fires(service, n)
	if status != http.StatusAccepted {
		p.t.Fatalf("an event is answered %d, want 202", status)
	}
	p.until("an incident of the service is there", func() bool {
		incident = p.incidentOf(service)
		return incident != 0
	})
	return incident
}

// incidentOf is the number of a service's open incident; 0: it has none.
func (p *plant) incidentOf(service int) int64 {
	p.t.Helper()
	var all struct {
		Incidents []struct {
			Number  int64
			Service string
		}
	}
	p.read(fmt.Sprintf("/api/v1/incidents?service=s%d", service), &all)
	for _, i := range all.Incidents {
		if i.Service == fmt.Sprintf("s%d", service) {
			return i.Number
		}
	}
	return 0
}

// read reads an address of the API.
func (p *plant) read(path string, into any) {
	p.t.Helper()
	url := p.at(p.t.Context()) + path
	err := getJSON(p.t.Context(), url, into)
	if errors.Is(err, syscall.ECONNRESET) { // a connection that waits may be let go
		err = getJSON(p.t.Context(), url, into)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// commands carries out a command that must be done, by somebody.
func (p *plant) commands(incident int64, word, by string) {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"by": by, "note": "said in a test"})
	if err != nil {
		p.t.Fatal(err)
	}
	asked := time.Now()
	status, _, answer := p.ask(fmt.Sprintf("/api/v1/incidents/%d/%s", incident, word), robot, body)
	if status != http.StatusOK {
		p.t.Fatalf("%s is answered %d %s, want 200", word, status, answer)
	}
	if word == "ack" || word == "take" {
		p.ledger.acked(incident, by, asked)
	}
}

// paged reports whether a person was sent a message of a kind, such as CreateMessage.
func (p *plant) paged(person int) bool {
	for _, q := range p.twilio.Taken() {
		if q.Operation == "CreateMessage" && q.To == phoneOf(person) {
			return true
		}
	}
	return false
}

// exists reports whether a file of the data folder is there.
func (p *plant) exists(name string) bool {
	_, err := os.Stat(filepath.Join(p.data(), name))
	return err == nil
}

// said is all that the processes have logged.
func (p *plant) said() []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// noPanic fails the test if a process has said that something panicked.
func (p *plant) noPanic() {
	p.t.Helper()
	if said := p.said(); bytes.Contains(said, []byte("panic")) {
		p.t.Errorf("something panicked:\n%s", said[max(len(said)-4000, 0):])
	}
}

// mkdata makes the data folder before the process does.
func (p *plant) mkdata(t *testing.T) {
	t.Helper()
	err := os.Mkdir(p.data(), 0o700)
	if err != nil {
		t.Fatal(err)
	}
}

// term asks the process to end, and does not wait.
func (p *plant) term() {
	p.t.Helper()
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil {
		p.t.Fatal(err)
	}
}

// hold keeps a request under way, so that a drain does not end by itself: its body comes so slowly that it never ends. end lets
// go of it.
func (p *plant) hold() (end func()) {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.at(p.t.Context()), "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
	if err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n') // it reads the body now
	if err != nil || !strings.Contains(line, "100") {
		p.t.Fatalf("a request whose body is to come is answered %q, %v", line, err)
	}
	return func() { _ = conn.Close() }
}
