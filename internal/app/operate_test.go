package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/journal"
)

type nodesJSON struct {
	Journal, State string
	Nodes          []struct {
		Name, Address, State string
		Self                 bool
		Alerts, Incidents    int
		Pages                int
		Partitions           []struct {
			Partition int
			State     string
			Lag       int64
			Alerts    int
			Offset    int64
			Incidents int
		}
	}
	Unheld []struct{ Partition int }
}

func (r *rig) nodes() (n nodesJSON) {
	r.t.Helper()
	r.get("/api/v1/nodes", &n)
	return n
}

// held returns the partitions that living nodes work on, as the nodes say, by their place in the list.
func (n nodesJSON) held() (said []string) {
	for i, x := range n.Nodes {
		for _, p := range x.Partitions {
			said = append(said, fmt.Sprintf("%d by %d %s", p.Partition, i, p.State))
		}
	}
	return said
}

func TestOnAnyStorageANodeTellsWhatItWorksOn(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		r.event("trigger", "lag", "critical", "db-main")
		partitions := 1
		if g.brokers != nil {
			partitions = 4
		}
		r.until("the alert stands at the node that has it", func() bool {
			n := r.nodes()
			return len(n.Nodes) == 1 && len(n.Nodes[0].Partitions) == partitions && n.Nodes[0].Alerts == 1 && n.Nodes[0].Incidents == 1
		})
		n := r.nodes()
		want := map[bool]string{false: "embedded", true: "kafka"}[g.brokers != nil] + " " + map[bool]string{false: "embedded", true: "postgres"}[g.postgres]
		if got := n.Journal + " " + n.State; got != want || !n.Nodes[0].Self || n.Nodes[0].State != "ok" || len(n.Unheld) != 0 {
			t.Errorf("nodes %+v, want storage %s, the only node, and nothing that nobody holds", n, want)
		}
	})
}

func TestOfTwoNodesEachTellsWhatBothDoAndWhatOneLeaves(t *testing.T) {
	for name, g := range shared() {
		t.Run(name, func(t *testing.T) {
			one := newRigOn(t, g)
			two := one.join()
			one.until("both nodes share the partitions, and say so to both", func() bool {
				return len(one.nodes().held()) == 4 && fmt.Sprint(one.nodes().held()) == fmt.Sprint(two.nodes().held()) && len(one.nodes().Nodes[1].Partitions) > 0 &&
					!strings.Contains(fmt.Sprint(one.nodes().held()), "loading")
			})
			if err := two.stop(); err != nil {
				t.Fatal(err)
			}
			one.until("the one that is left has all, and the other is stopped", func() bool {
				n := one.nodes()
				return len(n.Nodes) == 2 && n.Nodes[1].State == "stopped" && len(n.Nodes[0].Partitions) == 4 && len(n.Unheld) == 0
			})
		})
	}
}

type letterJSON struct {
	ID, Reason string
	Tries      int
	Size       int
}

func (r *rig) letters() []letterJSON {
	r.t.Helper()
	var out struct {
		Letters []letterJSON `json:"dead_letters"`
	}
	r.get("/api/v1/dead-letters", &out)
	return out.Letters
}

func TestOnAnyStorageWhatCannotBeAppliedIsListedDrivenAgainAndDropped(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		broken, err := r.a.journal.Append(t.Context(), 0, journal.Entry{At: r.a.clock.Now(), Payload: []byte("no record")})
		if err != nil {
			t.Fatal(err)
		}
		r.until("it is set aside", func() bool { return len(r.letters()) == 1 })
		l := r.letters()[0]
		if want := (letterJSON{fmt.Sprintf("0/%d", broken), l.Reason, 1, 9}); l != want || !strings.Contains(l.Reason, "not a record") {
			t.Errorf("letter %+v, want %+v with its reason", l, want)
		}
		status, answer := r.post("/api/v1/dead-letters/"+l.ID+"/redrive", robot, "")
		if status != http.StatusConflict || !strings.Contains(answer, "cannot be applied by this version either") {
			t.Errorf("driven again while it cannot be read: %d %s, want 409 that says so", status, answer)
		}
		r.event("trigger", "lag", "critical", "db-main") // its partition goes on
		r.until("what came behind it is applied", func() bool { return len(r.incidents()) == 1 })

		fixed := tocsin.Event{
			Source: "legacy", Key: "disk", Fingerprint: tocsin.FingerprintOf("legacy", "disk"), Status: tocsin.Firing, Severity: tocsin.Critical,
			Summary: "disk full", Labels: tocsin.NewLabels(map[string]string{"service": "archive"}),
		}
		rec := journal.Record{Kind: journal.Events, Writer: 1, Seq: 1, Source: "legacy", At: r.a.clock.Now().Add(-time.Hour), Events: []tocsin.Event{fixed}}
		r.a.bury(journal.DeadLetter{Partition: 0, Offset: 1 << 40, At: r.a.clock.Now(), Reason: "it panicked", Payload: rec.Append(nil), Tries: 3})
		status, answer = r.post(fmt.Sprintf("/api/v1/dead-letters/0/%d/redrive", 1<<40), robot, "")
		if status != http.StatusOK || !strings.Contains(answer, `"redriven_as":"0/`) {
			t.Fatalf("driven again: %d %s", status, answer)
		}
		r.until("what was driven again is applied", func() bool { return len(r.incidents()) == 2 })
		if n := len(r.letters()); n != 1 {
			t.Errorf("%d letters, want the one that cannot be read", n)
		}
		status, answer = r.post("/api/v1/dead-letters/"+l.ID+"/drop", robot, "")
		if status != http.StatusOK || len(r.letters()) != 0 {
			t.Errorf("dropped: %d %s, and %d letters are left; want none", status, answer, len(r.letters()))
		}
		status, _ = r.post("/api/v1/dead-letters/"+l.ID+"/drop", robot, "")
		if status != http.StatusNotFound {
			t.Errorf("dropped twice: %d, want 404", status)
		}
		if got := r.metric("tocsin_journal_dead_letters_total"); got != 4 { // two buried, one driven again, one dropped
			t.Errorf("tocsin_journal_dead_letters_total %v, want 4 in all", got)
		}
	})
}

// What the correlator gives up on is kept as it was written, with one sentence of why.
func TestARecordThatTheCorrelatorGivesUpIsKeptAsItWasWritten(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		r.event("trigger", "lag", "critical", "db-main")
		r.until("it is applied", func() bool { return len(r.incidents()) == 1 })
		part := r.a.intake.of("")
		_, next, err := r.a.journal.Bounds(part)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		offset := next
		var rec journal.Record
		for rec.Kind != journal.Events { // ticks and rules stand there, too
			offset--
			want, err = r.a.payload(part, offset)
			if err == nil {
				err = new(journal.Decoder).Decode(want, &rec)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r.a.aside(part)(correlate.Record{Offset: offset}, 3, fmt.Errorf("applying it panicked: out of range\ngoroutine 1 [running]"))
		found, err := r.a.graves().DeadLetters(t.Context(), 10)
		if err != nil || len(found) != 1 {
			t.Fatalf("letters %+v, %v, want one", found, err)
		}
		got := found[0]
		if got.Partition != part || got.Offset != offset || got.Reason != "applying it panicked: out of range" || got.Tries != 3 || string(got.Payload) != string(want) {
			t.Errorf("letter %+v, want record %d/%d as it was written, 3 tries, and the first line of why", got, part, offset)
		}
	})
}
