//go:build !race

package app

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// A herd is many incidents of many alerts each, every one with a service, an escalation and people of its own, so that no person's
// limit holds a page back. Nobody ever answers.
type herd struct {
	t               *testing.T
	p               *plant
	shared          *manyNodes
	incidents, each int
	wait            time.Duration // between two steps of an escalation
}

// herdCells is by how many values the alerts are isolated.
const herdCells = 60

func newHerd(t *testing.T, incidents, each int, wait time.Duration) *herd {
	t.Helper()
	h := &herd{t: t, p: newPlant(t, killRules), shared: sharedStorage(t), incidents: incidents, each: each, wait: wait}
	world, err := os.ReadFile(h.p.config())
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(world), "notify:") // where it listens, who may, and the providers' doubles
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("isolate_by: [cell]\nnotify: {high: [{after: 0s, by: [sms]}], low: [{after: 0s, by: [sms]}]}\ndefaults: {escalation: e0}\npeople:\n")
	for n := range incidents {
		fmt.Fprintf(&b, "  p%d: {name: Person %d, phone: %q, role: responder}\n", n, n, phoneOf(n))
	}
	b.WriteString("services:\n")
	for n := range incidents {
		fmt.Fprintf(&b, "  s%d: {owner: t%d, users: 10}\n", n, n)
	}
	b.WriteString("teams:\n")
	for n := range incidents {
		fmt.Fprintf(&b, "  t%d: {members: [p%d], escalation: e%d}\n", n, n, n)
	}
	b.WriteString("escalations:\n")
	for n := range incidents {
		fmt.Fprintf(&b, "  e%d: {steps: [{page: [person/p%d], escalate_after: %s}, {page: [person/p%d], escalate_after: %s}, {page: [person/p%d], escalate_after: 4h}]}\n",
			n, n, wait, (n+1)%incidents, wait, (n+2)%incidents)
	}
	b.WriteString("rules:\n  - {name: all, group_by: [service], window: 24h, reopen: 24h, quiet: 1s}\n")
	h.write(h.p.config(), b.String())
	return h
}

func (h *herd) write(path, text string) {
	h.t.Helper()
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *herd) metric(name string) float64 {
	text, err := get(h.t.Context(), h.p.at(h.t.Context())+"/metrics", "")
	if err != nil {
		return -1
	}
	return sumOf(text, name)
}

// fire sends all alerts, and returns once all are applied and everybody of the first step has been sent their page.
func (h *herd) fire() {
	h.t.Helper()
	c := &crowd{t: h.t, client: &http.Client{Timeout: 30 * time.Second}}
	url := h.p.at(h.t.Context()) + "/api/v2/alerts"
	ends := time.Now().Add(24 * time.Hour).UTC()
	var wg sync.WaitGroup
	for sender := range 4 {
		wg.Go(func() {
			for n := sender; n < h.incidents; n += 4 {
				var batch []am
				for k := range h.each {
					a := burning("alertname", "Down", "host", fmt.Sprint("h", k), "service", fmt.Sprint("s", n), "cell", fmt.Sprint("c", n%herdCells), "instance", fmt.Sprintf("%d-%d", n, k))
					a.EndsAt = &ends
					batch = append(batch, a)
				}
				status, answer, err := c.post(h.t.Context(), url, promToken, []byte(amJSON(h.t, batch...)))
				if err != nil || status != http.StatusOK {
					h.t.Errorf("%d %s %v", status, answer, err)
					return
				}
			}
		})
	}
	wg.Wait()
	h.p.within(time.Minute, "all are applied", func() bool { return h.metric("tocsin_correlate_open_alerts") == float64(h.incidents*h.each) })
	h.p.within(time.Minute, "the first step was sent", func() bool { return len(h.p.twilio.Taken()) == h.incidents })
	h.report()
}

// report lets the provider report that everything was delivered: else the next step would be taken as soon as that is missed.
func (h *herd) report() {
	h.t.Helper()
	c := &crowd{t: h.t, client: &http.Client{Timeout: 30 * time.Second}}
	url := h.p.at(h.t.Context())
	for _, q := range h.p.ledger.unreported(h.p.twilio.Taken()) {
		req, err := h.p.twilio.Status(q.ID, "delivered", 0)
		if err != nil {
			h.t.Fatal(err)
		}
		status, answer, err := c.callback(h.t.Context(), url, req)
		if err != nil || status/100 != 2 {
			h.t.Fatalf("the report about %s was answered %d %s, %v", q.ID, status, answer, err)
		}
		h.p.ledger.confirmed(q.Page)
	}
}

// due returns when each incident's next step is due, as the rows say it.
func (h *herd) due() map[int64]time.Time {
	h.t.Helper()
	timers, err := onState(h.t.Context(), h.p.config(), h.t.Output(), func(ctx context.Context, db store.DB) (timers []store.Timer, err error) {
		err = db.View(ctx, func(tx *store.Tx) error {
			timers, err = tx.DueTimers(time.Now().Add(24*time.Hour), most)
			return err
		})
		return timers, err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	due := map[int64]time.Time{}
	for _, m := range timers {
		if m.Kind == store.TimerStep {
			due[m.Incident] = m.DueAt
		}
	}
	if len(due) != h.incidents {
		h.t.Fatalf("%d of %d incidents have a next step", len(due), h.incidents)
	}
	return due
}

var movedRows = regexp.MustCompile(`(?m)^  (\w+) +(\d+) rows  [0-9a-f]{16}$`)

// move carries the state to Kafka with so many partitions, and to PostgreSQL, as the command does.
func (h *herd) move(partitions int) (took time.Duration) {
	h.t.Helper()
	text, err := os.ReadFile(h.p.config())
	if err != nil {
		h.t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^storage: .*$`)
	to := filepath.Join(h.p.dir, fmt.Sprintf("to-%d.yaml", partitions))
	h.write(to, line.ReplaceAllLiteralString(string(text), fmt.Sprintf("storage: {journal: {kafka: {brokers: [%s], topic: %s-%d, partitions: %d}}, state: {postgres: {dsn: %q}}}",
		strings.ReplaceAll(h.shared.brokers, ",", ", "), h.shared.topic, partitions, partitions, h.shared.dsn)))
	var out bytes.Buffer
	began := time.Now()
	err = Migrate(h.t.Context(), MigrateOptions{From: h.p.config(), To: to, Stdout: &out, Stderr: h.t.Output()})
	took = time.Since(began)
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out.String())
	}
	_, compared, same := strings.Cut(out.String(), "both sides are the same:")
	rows := map[string]int{}
	for _, m := range movedRows.FindAllStringSubmatch(compared, -1) {
		rows[m[1]], _ = strconv.Atoi(m[2]) // digits
	}
	if !same || rows["alert"] != h.incidents*h.each || rows["incident"] != h.incidents || rows["timer"] < h.incidents {
		h.t.Errorf("it does not say that all was moved and is the same:\n%s", out.String())
	}
	h.p.file, h.p.many = to, h.shared
	return took
}

// serve starts on what was moved, and returns when it works on all of it.
func (h *herd) serve(partitions int) (whole time.Time) {
	h.t.Helper()
	h.p.start()
	h.p.within(time.Minute, "it works on all partitions", func() bool {
		return h.metric("tocsin_correlate_partitions") == float64(partitions) && h.metric("tocsin_correlate_open_alerts") == float64(h.incidents*h.each)
	})
	return time.Now()
}

// stepped waits until the step that was due has been taken everywhere and nothing is unsent.
func (h *herd) stepped(due map[int64]time.Time, whole time.Time) {
	h.t.Helper()
	db, err := h.shared.open()
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	last := whole
	for _, at := range due {
		if at.After(last) {
			last = at
		}
	}
	h.p.within(time.Until(last)+time.Minute, "every next step was taken, and sent", func() bool {
		var first time.Time
		err := db.View(h.t.Context(), func(tx *store.Tx) error {
			timers, err := tx.DueTimers(last, 1)
			if len(timers) > 0 {
				first = timers[0].DueAt
			}
			return err
		})
		if err != nil || !first.IsZero() || time.Now().Before(last) {
			return false
		}
		left, err := h.p.unsettled(h.p.at(h.t.Context()))
		return err == nil && left == ""
	})
	h.report()
}

// A delay is how long after it was due, or after there was a node again, the last of many steps was taken, and its page sent.
type delay struct{ taken, sent time.Duration }

// once checks that each incident's step was taken once, not early, and says how late the last one was.
func (h *herd) once(step int, due map[int64]time.Time, whole time.Time) (late delay) {
	h.t.Helper()
	s, err := h.p.state()
	if err != nil {
		h.t.Fatal(err)
	}
	sent := map[string]time.Time{}
	for _, q := range h.p.twilio.Taken() {
		sent[q.Page] = q.At
	}
	got := map[int64][]tocsin.Page{}
	for _, row := range s.pages {
		if row.Kind == tocsin.KindPage && row.Step == step && row.Round == 0 {
			got[row.Incident] = append(got[row.Incident], row)
		}
	}
	lines := map[int64]int{}
	for _, c := range s.changes {
		if c.Kind == tocsin.ChangePaged {
			lines[c.Incident]++
		}
	}
	wrong := 0
	fail := func(format string, args ...any) {
		wrong++
		if wrong <= 5 {
			h.t.Errorf(format, args...)
		}
	}
	for id, i := range s.incidents {
		n, _ := strconv.Atoi(strings.TrimPrefix(i.Service, "s"))
		want := fmt.Sprintf("p%d", (n+step)%h.incidents)
		rows := got[id]
		if len(rows) != 1 || rows[0].Person != want || lines[id] != step {
			fail("step %d of incident %d was taken by %d pages, %+v, and %d lines of its history say so; want one to %s, and %d lines", step, id, len(rows), rows, lines[id], want, step)
			continue
		}
		made := madeAt(rows[0].ID)
		if made.Before(due[id].Truncate(time.Millisecond)) {
			fail("step %d of incident %d was taken %s early", step, id, due[id].Sub(made))
		}
		at, is := sent[rows[0].ID]
		if !is && rows[0].Message == "" {
			fail("the page of step %d of incident %d is %s and was never sent: %s", step, id, rows[0].State, rows[0].Error)
			continue
		}
		from := due[id]
		if whole.After(from) {
			from = whole
		}
		late.taken = max(late.taken, made.Sub(from))
		if is {
			late.sent = max(late.sent, at.Sub(from))
		}
	}
	if late.taken > mostLate {
		h.t.Errorf("step %d was taken up to %s late, want at most %s", step, late.taken, mostLate)
	}
	return late
}

// mostLate bounds how late a step may be taken on a machine that has other things to do.
const mostLate = 15 * time.Second

// 2,000 incidents of 100,000 alerts, whose escalations run, go from SQLite and the embedded journal to PostgreSQL and Kafka with 4
// partitions, and from there to 12. The next step of each comes due while they are moved or after it.
func TestEscalationsThatRunWhileTheirStateIsMovedTakeEachStepOnceAndOnTime(t *testing.T) {
	together(t)
	incidents, each, wait := 100, 20, 10*time.Second
	if full() {
		incidents, each, wait = 2000, 50, time.Minute
	}
	h := newHerd(t, incidents, each, wait)
	h.p.start()
	h.fire()
	for n, partitions := range []int{4, 12} {
		stopped := time.Now()
		h.p.terminate()
		due := h.due()
		took := h.move(partitions)
		whole := h.serve(partitions)
		waited := 0
		for _, at := range due {
			if at.Before(whole) {
				waited++
			}
		}
		h.stepped(due, whole)
		late := h.once(n+1, due, whole)
		t.Logf("to %d partitions: %d alerts, %d incidents moved in %s, hashes equal %v; nobody served for %s; %d steps taken once, %d of them were due before all was loaded; the latest was taken %s and sent %s after it was due or could be",
			partitions, incidents*each, incidents, took.Round(10*time.Millisecond), !t.Failed(), whole.Sub(stopped).Round(10*time.Millisecond), incidents, waited,
			late.taken.Round(time.Millisecond), late.sent.Round(time.Millisecond))
	}
	h.p.terminate()
	s, err := h.p.state()
	if err != nil {
		t.Fatal(err)
	}
	out := audit{}
	h.p.auditPages(s, &out, func(n *int, format string, args ...any) { *n++; t.Errorf(format, args...) })
	if len(s.parts) != 12 || out.extra > 0 {
		t.Errorf("%d partitions, %d messages more than there should be", len(s.parts), out.extra)
	}
	used := map[int]int{}
	for _, i := range s.incidents {
		used[i.Partition]++
	}
	if len(used) < 12 {
		t.Errorf("incidents by partition %v, want some in each", used)
	}
}
