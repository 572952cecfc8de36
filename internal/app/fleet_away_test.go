//go:build !race

package app

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"tocsin/internal/store"
	"tocsin/parts/partstest"
)

// quietService is one that nobody answers for, and whose alerts go on.
const quietService = services - 1

// knock sends an event about an alert of its own to each node, and returns what they answered. What was accepted counts.
func (f *fleet) knock() (statuses []int, retries []string) {
	f.t.Helper()
	for _, url := range f.urls() {
		status, retry := f.knockAt(url, quietService)
		statuses, retries = append(statuses, status), append(retries, retry)
	}
	return statuses, retries
}

func (f *fleet) knockAt(url string, service int) (status int, retryAfter string) {
	f.t.Helper()
	i := intent{key: fmt.Sprintf("pd-s%d-knock", service), service: service, severity: "critical", says: fires}
	status, retryAfter = f.door(url, i, 20*time.Second)
	f.nodes[0].ledger.said([]intent{i}, status == http.StatusAccepted)
	return status, retryAfter
}

// accepts reports whether all doors answer that they have it.
func (f *fleet) accepts() bool {
	statuses, _ := f.knock()
	return !slices.ContainsFunc(statuses, func(s int) bool { return s != http.StatusAccepted })
}

// refuses reports whether all doors answer that it should be sent again later, and when.
func (f *fleet) refuses() bool {
	f.t.Helper()
	statuses, retries := f.knock()
	if slices.Contains(statuses, http.StatusAccepted) {
		f.t.Errorf("the doors answered %v, want 503: nothing can be kept", statuses)
	}
	return !slices.ContainsFunc(statuses, func(s int) bool { return s != http.StatusServiceUnavailable }) && !slices.Contains(retries, "")
}

// applied is how far the state is, of all partitions; -1 where the database does not say.
func (f *fleet) applied(db store.DB) (sum int64) {
	err := db.View(f.t.Context(), func(tx *store.Tx) error {
		parts, err := tx.Parts()
		for _, p := range parts {
			sum += p.NextOffset
		}
		return err
	})
	if err != nil {
		return -1
	}
	return sum
}

// unanswered are the incidents of services that nobody answers for, as a node tells them, each with its person.
func (f *fleet) unanswered(url string) map[int64]string {
	f.t.Helper()
	var open struct {
		Incidents []struct {
			Number         int64
			State, Service string
		}
	}
	err := getJSON(f.t.Context(), url+"/api/v1/incidents?limit=100", &open)
	if err != nil {
		f.t.Fatal(err)
	}
	out := map[int64]string{}
	for _, i := range open.Incidents {
		service := 0
		_, err = fmt.Sscanf(i.Service, "s%d", &service)
		if err == nil && service >= busy && i.State == "triggered" {
			out[i.Number] = fmt.Sprintf("p%d", service)
		}
	}
	return out
}

// ack acknowledges an incident at one node.
func (f *fleet) ack(url string) {
	f.t.Helper()
	for number, person := range f.unanswered(url) {
		if status, answer, err := f.crowd().says(f.t.Context(), url, number, "ack", person); err != nil || status != http.StatusOK {
			f.t.Errorf("an ack of incident %d is answered %d %s, %v; want 200", number, status, answer, err)
		}
		return
	}
	f.t.Error("there is no incident that nobody has acknowledged")
}

// D1: the database is killed and comes back. The doors go on taking alerts all the while.
func TestFleetWhoseDatabaseIsKilledGoesOnTakingAlerts(t *testing.T) {
	together(t)
	seed := seedOf(t)
	kills, away := 1, 4*time.Second
	if full() {
		kills, away = 5, 20*time.Second
	}
	pg := partstest.StartPostgreSQL(t)
	f := newFleet(t, 2, &manyNodes{brokers: partstest.Address(t, "KAFKA_BROKERS"), topic: "fleet-" + uuid.NewString(), dsn: pg.URL, direct: pg.URL}, killRules)
	f.begin()
	db := f.database()
	stop := f.load(seed)
	longest := time.Duration(0)
	for range kills {
		sleepFor(t, 2*time.Second)
		before := f.applied(db)
		pg.Kill()
		if statuses, _ := f.knock(); !slices.Equal(statuses, []int{http.StatusAccepted, http.StatusAccepted}) {
			t.Errorf("without a database the doors answered %v, want 202", statuses)
		}
		sleepFor(t, away)
		pg.Start()
		longest = max(longest, f.until("alerts are applied again", 60*time.Second, func() bool { return f.applied(db) > before && f.sum("tocsin_journal_lag_events") >= 0 && f.working() }))
	}
	sleepFor(t, 2*time.Second)
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s database killed %d times for %s, worked again at most %s after its return", f.figures(seed, sum), kills, away, longest.Round(10*time.Millisecond))
}

// K1 and H5: the only broker is killed and comes back. No door takes what it cannot keep, with and without a database, and people
// can act meanwhile.
func TestFleetWhoseBrokerIsKilledRefusesAlertsAndLetsPeopleAct(t *testing.T) {
	together(t)
	seed := seedOf(t)
	kills := 1
	if full() {
		kills = 5
	}
	k := partstest.StartKafka(t, 1)
	direct := partstest.Database(t)
	l, through := newLink(t, direct)
	f := newFleet(t, 2, &manyNodes{brokers: k.Brokers, topic: "fleet-" + uuid.NewString(), dsn: through, direct: direct}, killRules)
	f.begin()
	stop := f.load(seed)
	longest := time.Duration(0)
	for range kills {
		sleepFor(t, 2*time.Second)
		f.until("there is something to acknowledge at each node", 60*time.Second, func() bool { return len(f.unanswered(f.urls()[0])) >= 2 })
		k.Kill(1)
		f.until("all doors refuse", 60*time.Second, f.refuses)
		for _, url := range f.urls() {
			f.ack(url)
		}
		l.hold()
		for range 3 {
			if statuses, retries := f.knock(); !slices.Equal(statuses, []int{http.StatusServiceUnavailable, http.StatusServiceUnavailable}) || slices.Contains(retries, "") {
				t.Errorf("doors that reach neither journal nor database answered %v, Retry-After %q; want 503 and a time", statuses, retries)
			}
		}
		l.carryOn()
		k.Start(1)
		longest = max(longest, f.until("all doors accept", 60*time.Second, f.accepts))
		f.until("every partition is worked on", 60*time.Second, f.working)
	}
	sleepFor(t, 2*time.Second)
	stop()
	f.settle()
	f.stop()
	sum := f.audit()
	t.Logf("%s broker killed %d times, all doors accepted at most %s after its return", f.figures(seed, sum), kills, longest.Round(10*time.Millisecond))
}

// dump is what the rows of all partitions say.
func (f *fleet) dump() []byte {
	f.t.Helper()
	var all []byte
	for n := range fleetPartitions {
		d, _, _ := dumpOf(f.t, f.many.open, n)
		all = append(all, d...)
	}
	return all
}
