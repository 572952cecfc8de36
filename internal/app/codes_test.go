package app

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// Each partition gives codes of its own, and goes on doing so when there are more of them: an answer by SMS names one incident.
func TestACodeIsOneIncidentsInAllPartitionsAlsoAfterAMoveToMore(t *testing.T) {
	r := newRigOn(t, ground{brokers: doubled}, append(slices.Clone(oneAlways), isolated()...)...)
	const customers = 12
	fire := func(from int) {
		for n := from; n < from+customers; n++ {
			r.prometheus(burning("alertname", "Down", "customer", fmt.Sprint("c", n), "host", "db-1", "service", "db-main"))
		}
		r.until("every customer has an incident", func() bool { return len(r.incidents()) == from+customers })
	}
	fire(0)
	var ended []int
	for _, d := range r.incidents()[:customers/2] { // what has ended keeps its code for a week
		ended = append(ended, r.detail(d.ID).Code)
		status, answer := r.post("/api/v1/incidents/"+d.ID+"/resolve", robot, `{"by":"one"}`)
		if status != 200 {
			t.Fatalf("resolve %s: %d %s", d.ID, status, answer)
		}
	}
	before := r.codes()
	err := r.stop()
	if err != nil {
		t.Fatal(err)
	}
	to := r.elsewhere("partitions: 4", "partitions: 7", "topic: t-", "topic: t-more-")
	said, err := r.moves(to)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	r.serveOn(to)
	r.until("it has its partitions", func() bool { return len(r.a.holds.all()) == 7 && r.a.holds.whole() })
	fire(customers)
	after := r.codes()
	if len(after) != 2*customers {
		t.Errorf("%d codes for %d incidents: %v", len(after), 2*customers, after)
	}
	for code, incident := range before {
		if after[code] != incident {
			t.Errorf("code %d was of incident %d, and is of %d", code, incident, after[code])
		}
	}
	for _, code := range ended {
		if before[code] == 0 {
			t.Errorf("code %d of an incident that has ended is nobody's", code)
		}
	}
}

// codes are the incidents by their codes; the test fails where two have the same.
func (r *rig) codes() map[int]int64 {
	r.t.Helper()
	by := map[int]int64{}
	err := r.a.db.View(r.t.Context(), func(tx *store.Tx) error {
		all, err := tx.Incidents(store.IncidentFilter{Limit: 1000})
		for _, i := range all {
			if other, twice := by[i.Code]; twice || i.Code == 0 {
				r.t.Errorf("incidents %d and %d, of partition %d, have the code %d", other, i.ID, i.Partition, i.Code)
			}
			by[i.Code] = i.ID
			found, err := tx.IncidentByCode(i.Code, time.Now())
			if err != nil || found.ID != i.ID {
				r.t.Errorf("code %d finds %s, %v, want %s", i.Code, tocsin.IncidentID(found.ID), err, tocsin.IncidentID(i.ID))
			}
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return by
}
