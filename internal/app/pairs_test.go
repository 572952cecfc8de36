package app

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/config"
	"tocsin/parts/partstest"
)

// A ground is the storage under a rig; the zero value is the embedded one.
type ground struct {
	brokers  func(t *testing.T) string // of Kafka, or of its double; nil: the embedded journal
	postgres bool
}

// edits are what the contract's file must say for it.
func (g ground) edits(t *testing.T) (edits []string) {
	t.Helper()
	if g.brokers != nil {
		edits = append(edits, "# journal: {kafka: {brokers: [127.0.0.1:9092], topic: tocsin.alerts, partitions: 12}}",
			fmt.Sprintf("journal: {kafka: {brokers: [%s], topic: t-%s, partitions: 4}}", g.brokers(t), uuid.NewString()))
	}
	if g.postgres {
		edits = append(edits, "# state: {postgres: {dsn_file: /run/secrets/dsn}}", fmt.Sprintf("state: {postgres: {dsn: %q}}", partstest.Database(t)))
	}
	return edits
}

// doubled is a Kafka cluster in this process.
func doubled(t *testing.T) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return strings.Join(c.ListenAddrs(), ", ")
}

// real is the Kafka that parts/kafka.sh started.
func real(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(partstest.Address(t, "KAFKA_BROKERS"), ",", ", ")
}

// pairs are all storages that a tocsin can stand on.
func pairs() map[string]ground {
	return map[string]ground{
		"embedded journal and SQLite":     {},
		"embedded journal and PostgreSQL": {postgres: true},
		"Kafka's double and SQLite":       {brokers: doubled},
		"Kafka's double and PostgreSQL":   {brokers: doubled, postgres: true},
		"Kafka and SQLite":                {brokers: real},
		"Kafka and PostgreSQL":            {brokers: real, postgres: true},
	}
}

// onEach runs a story on every storage.
func onEach(t *testing.T, story func(t *testing.T, g ground)) {
	t.Helper()
	for name, g := range pairs() {
		t.Run(name, func(t *testing.T) { story(t, g) })
	}
}

func TestOnAnyStorageAnAlertPagesIsAcknowledgedByReplyAndResolves(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		r.event("trigger", "lag", "critical", "db-main")
		r.until("an SMS was asked for", func() bool { return len(r.sent("CreateMessage")) == 1 })
		sms := r.sent("CreateMessage")[0]
		status, answer := r.callback(r.twilio.SMS(public+"/twilio/twilio/sms", sms.Form.Get("To"), sms.Form.Get("From"), "4 "+r.codeIn(sms.Form.Get("Body"))))
		if status != http.StatusOK || !strings.Contains(answer, "is yours") {
			t.Fatalf("reply answered %d %s, want the incident to be theirs", status, answer)
		}
		if i := r.incidents()[0]; i.State != "acknowledged" || i.AckedBy == "" {
			t.Errorf("incident %+v, want it acknowledged by somebody", i)
		}
		r.event("resolve", "lag", "critical", "db-main")
		r.until("the incident is resolved", func() bool { return r.incidents()[0].State == "resolved" })
		if n := len(r.sent("CreateMessage")); n != 1 {
			t.Errorf("%d SMS, want the one page", n)
		}
	})
}

func TestOnAnyStorageAStartGoesOnWhereTheLastOneStopped(t *testing.T) {
	onEach(t, func(t *testing.T, g ground) {
		r := newRigOn(t, g)
		r.event("trigger", "lag", "critical", "db-main")
		r.until("an SMS was asked for", func() bool { return len(r.sent("CreateMessage")) == 1 })
		before := r.incidents()
		err := r.stop()
		if err != nil {
			t.Fatal(err)
		}
		r.start()
		r.until("the state is loaded", func() bool { return r.a.holds.whole() && len(r.a.holds.all()) > 0 })
		if after := r.incidents(); len(after) != 1 || after[0].ID != before[0].ID || after[0].State != "triggered" {
			t.Errorf("incidents %+v, want those of before: %+v", after, before)
		}
		r.event("trigger", "lag", "critical", "db-main") // a repeat
		r.event("trigger", "disk", "critical", "db-main")
		r.until("the second alert has joined", func() bool { return r.a.lag() == 0 && r.metric("tocsin_correlate_open_alerts") == 2 })
		r.event("resolve", "lag", "critical", "db-main")
		r.event("resolve", "disk", "critical", "db-main")
		r.until("it is resolved", func() bool { return r.incidents()[0].State == "resolved" })
		if n := len(r.sent("CreateMessage")); n != 1 {
			t.Errorf("%d SMS, want the one page of before the start", n)
		}
	})
}

// A second node could take alerts that the first never sees, or the other way round.
func TestTheEmbeddedStorageRefusesASecondNodeAndSaysWhatToUse(t *testing.T) {
	for name, g := range map[string]ground{"SQLite": {}, "PostgreSQL": {postgres: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRigOn(t, g)
			c, problems := config.Load(r.config())
			if c == nil {
				t.Fatal(problems)
			}
			if g.postgres {
				c.Storage.Dir = filepath.Join(r.dir, "another")
			}
			a, err := open(t.Context(), c, r.config(), slog.New(slog.DiscardHandler))
			if err == nil {
				_ = a.close()
			}
			if err == nil || !strings.Contains(err.Error(), "storage.journal.kafka") {
				t.Errorf("a second node starts with error %v, want one that names storage.journal.kafka", err)
			}
		})
	}
}

// Each would know only the alerts of its own partitions.
func TestSQLiteOnKafkaRefusesASecondProcessWithAStateOfItsOwn(t *testing.T) {
	r := newRigOn(t, ground{brokers: doubled})
	r.until("it has its partitions", func() bool { return len(r.a.holds.all()) > 0 })
	c, problems := config.Load(r.config())
	if c == nil {
		t.Fatal(problems)
	}
	c.Storage.Dir = filepath.Join(r.dir, "another")
	a, err := open(t.Context(), c, r.config(), slog.New(slog.DiscardHandler))
	if err == nil {
		_ = a.close()
	}
	if err == nil || !strings.Contains(err.Error(), "storage.state.postgres") {
		t.Errorf("a second process starts with error %v, want one that names storage.state.postgres", err)
	}
}

// shared are the storages that many nodes can work on.
func shared() map[string]ground {
	return map[string]ground{
		"Kafka's double and PostgreSQL": {brokers: doubled, postgres: true},
		"Kafka and PostgreSQL":          {brokers: real, postgres: true},
	}
}

// isolated are the edits that make each customer a domain of its own.
func isolated() []string {
	return []string{"isolate_by: [] ", "isolate_by: [customer] ", "scope: [region]", "scope: [region, customer]"}
}

// A feed is a console's live view.
type feed struct {
	t     *testing.T
	lines chan string
}

// feed opens the live view of a node.
func (r *rig) feed() *feed {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/api/v1/events", http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+robot)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	f := &feed{r.t, make(chan string, 1000)}
	first := make(chan struct{})
	go func() {
		defer close(f.lines)
		in := bufio.NewScanner(resp.Body)
		for n := 0; in.Scan(); n++ {
			if n == 0 {
				close(first)
			}
			f.lines <- in.Text()
		}
	}()
	<-first // what is committed from now on is told
	return f
}

// until waits for a change of this kind.
func (f *feed) until(kind string) {
	f.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case line, open := <-f.lines:
			if !open {
				f.t.Fatalf("the feed ended before a change %s", kind)
			}
			if strings.HasPrefix(line, "data: ") && strings.Contains(line, fmt.Sprintf("%q", kind)) {
				return
			}
		case <-deadline:
			f.t.Fatalf("after 30 s still no change %s", kind)
		}
	}
}

func TestAReplyAtOneNodeIsSeenAtTheOthersAndStopsTheirPages(t *testing.T) {
	for name, g := range shared() {
		t.Run(name, func(t *testing.T) {
			one := newRigOn(t, g)
			two := one.join()
			one.event("trigger", "lag", "critical", "db-main")
			one.until("an SMS was asked for", func() bool { return len(one.sent("CreateMessage")) == 1 })
			two.until("the other node has it too", func() bool { is := two.incidents(); return len(is) == 1 && is[0].State == "triggered" })
			for _, r := range []*rig{one, two} {
				feed := r.feed()
				other := one
				if r == one {
					other = two
				}
				before := r.incidents()[0].State
				command := map[string]string{"triggered": "ack", "acknowledged": "unack"}[before]
				status, answer := other.post("/api/v1/incidents/"+r.incidents()[0].ID+"/"+command, robot, `{"by":"one"}`)
				if status != http.StatusOK {
					t.Fatalf("%s: %d %s", command, status, answer)
				}
				feed.until(command)
			}
		})
	}
}

// everyCustomer sends an alert of this name for each of n customers.
func (r *rig) everyCustomer(alertname string, n int) {
	r.t.Helper()
	for customer := range n {
		r.prometheus(burning("alertname", alertname, "customer", fmt.Sprint("c", customer), "host", "db-1", "service", "db-main"))
	}
}

func TestWhenANodeStopsAnotherTakesItsPartitionsAndNothingIsLost(t *testing.T) {
	for name, g := range shared() {
		t.Run(name, func(t *testing.T) {
			one := newRigOn(t, g, isolated()...)
			two := one.join()
			one.until("both work", func() bool {
				return len(one.a.holds.all()) > 0 && len(two.a.holds.all()) > 0 && one.a.holds.whole() && two.a.holds.whole() &&
					len(one.a.holds.all())+len(two.a.holds.all()) == 4
			})
			const customers = 12
			one.everyCustomer("Down", customers)
			one.until("every customer has an incident", func() bool { return len(one.incidents()) == customers })
			err := one.stop()
			if err != nil {
				t.Fatal(err)
			}
			two.until("it has all partitions", func() bool { return len(two.a.holds.all()) == 4 && two.a.holds.whole() })
			two.everyCustomer("Slow", customers)
			two.until("the second alerts have joined", func() bool { return two.metric("tocsin_correlate_open_alerts") == 2*customers })
			if n := len(two.incidents()); n != customers {
				t.Errorf("%d incidents, want one for each of %d customers", n, customers)
			}
		})
	}
}
