package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tocsin"
	"tocsin/config"
	"tocsin/internal/migrate"
	"tocsin/internal/store"
)

// elsewhere writes the rig's configuration anew with other words, beside the old one, and returns its path.
func (r *rig) elsewhere(edits ...string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.config())
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(text), edits[i]) {
			r.t.Fatalf("the configuration has no %q", edits[i])
		}
	}
	path := filepath.Join(r.dir, "new-"+uuid.NewString()+".yaml")
	err = os.WriteFile(path, []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// serveOn starts the rig on another configuration.
func (r *rig) serveOn(path string) {
	r.t.Helper()
	err := os.Rename(path, r.config())
	if err != nil {
		r.t.Fatal(err)
	}
	r.start()
}

// moves moves the state and returns what was printed.
func (r *rig) moves(to string) (said string, err error) {
	r.t.Helper()
	var out bytes.Buffer
	err = Migrate(context.Background(), MigrateOptions{From: r.config(), To: to, Stdout: &out, Stderr: r.t.Output(), chunk: 7})
	return out.String(), err
}

// unapplied lets the doors accept what no correlator applies before the process ends: it has no owner for its partitions.
func (r *rig) unapplied(do func(a *App)) {
	r.t.Helper()
	c, problems := config.Load(r.config())
	if c == nil {
		r.t.Fatal(problems)
	}
	a := unserved(warnings(r.t.Output()))
	err := a.openState(r.t.Context(), c)
	if err == nil {
		err = a.openJournal(r.t.Context(), c)
	}
	if err == nil {
		a.intake = newIntake(a.journal, a.clock, a.partitions, c.IsolateBy)
		do(a)
	}
	err = errors.Join(err, a.close())
	if err != nil {
		r.t.Fatal(err)
	}
}

// burns is an event that no correlator has seen.
func burns(key string, labels map[string]string) tocsin.Event {
	return tocsin.Event{Fingerprint: tocsin.FingerprintOf("pagerduty", key), Status: tocsin.Firing, Severity: tocsin.Critical, Summary: key, Labels: tocsin.NewLabels(labels)}
}

// steps are the timers of escalations, by incident.
func steps(timers []store.Timer) (due []time.Time) {
	for _, t := range timers {
		if t.Kind == store.TimerStep {
			due = append(due, t.DueAt)
		}
	}
	return due
}

// hasten makes the running escalation's next step due now.
func (r *rig) hasten(incident int64) {
	r.t.Helper()
	_, err := onState(r.t.Context(), r.config(), r.t.Output(), func(ctx context.Context, db store.DB) (timers []store.Timer, err error) {
		err = db.Update(ctx, store.Commands, func(tx *store.Tx) error {
			timers, err = tx.Timers(incident, 0)
			if err != nil || len(timers) == 0 {
				return errors.Join(err, fmt.Errorf("%d timers", len(timers)))
			}
			err = tx.CancelTimers(incident, 0)
			for i := range timers {
				timers[i].DueAt = timers[i].DueAt.Add(-time.Hour)
			}
			return errors.Join(err, tx.AddTimers(timers))
		})
		return timers, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestAMoveFromEmbeddedStorageAppliesWhatWaitsAndTheNextStepIsTakenOnce(t *testing.T) {
	for name, g := range map[string]ground{
		"to PostgreSQL":                 {postgres: true},
		"to Kafka's double":             {brokers: doubled},
		"to Kafka's double, PostgreSQL": {brokers: doubled, postgres: true},
		"to Kafka and PostgreSQL":       {brokers: real, postgres: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, oneAlways...)
			edits := g.edits(t)
			r.event("trigger", "lag", "critical", "db-main")
			r.until("an SMS was asked for", func() bool { return len(r.sent("CreateMessage")) == 1 })
			one := r.one()
			due := steps(r.timers(r.number(one.ID), 0))
			if len(due) == 0 {
				t.Fatal("the incident has no next step")
			}
			err := r.stop()
			if err != nil {
				t.Fatal(err)
			}
			r.unapplied(func(a *App) {
				_, err := a.intake.Accept(t.Context(), "pagerduty", []tocsin.Event{burns("disk", map[string]string{"service": "billing", "component": "billing"})})
				if err != nil {
					t.Fatal(err)
				}
			})
			r.hasten(r.number(one.ID))
			to := r.elsewhere(edits...)
			said, err := r.moves(to)
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if !strings.Contains(said, "still to be applied: 1 of the old journal") {
				t.Errorf("it does not say that a record waits:\n%s", said)
			}
			sent := len(r.sent("CreateMessage")) + len(r.sent("CreateCall"))
			if sent != 1 {
				t.Errorf("%d messages went out before the new storage is served, want the one of before", sent)
			}
			old := r.config() + ".old"
			text, err := os.ReadFile(r.config())
			if err == nil {
				err = os.WriteFile(old, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			why := "was moved to"
			if !g.postgres {
				why = "the state has 4 partitions" // it is the same database
			}
			refused(t, old, why)
			r.serveOn(to)
			r.until("the record that waited became an incident", func() bool { return len(r.incidents()) == 2 })
			taken := func() (n int) {
				for _, l := range r.detail(one.ID).Timeline {
					if l.Kind == tocsin.ChangePaged {
						n++
					}
				}
				return n
			}
			r.until("the next step was taken", func() bool { return taken() == 1 })
			r.never("the step was taken twice", func() bool { return taken() != 1 })
		})
	}
}

// refused wants that a configuration is not served, and why.
func refused(t *testing.T, path, why string) {
	t.Helper()
	c, problems := config.Load(path)
	if c == nil {
		t.Fatal(problems)
	}
	a, err := open(t.Context(), c, path, warnings(t.Output()))
	if err == nil {
		_ = errors.Join(a.listener.Close(), a.close())
	}
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("served with error %v, want one with %q", err, why)
	}
}

func TestAMoveToMorePartitionsLetsNewAlertsJoinTheirIncidents(t *testing.T) {
	for name, g := range map[string]ground{
		"SQLite in place": {brokers: doubled}, "PostgreSQL in place": {brokers: doubled, postgres: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigOn(t, g, append(slices.Clone(oneAlways), isolated()...)...)
			const customers = 9
			r.everyCustomer("Down", customers)
			r.until("every customer has an incident", func() bool { return len(r.incidents()) == customers })
			err := r.stop()
			if err != nil {
				t.Fatal(err)
			}
			before := ids(r.storedIncidents())
			text, err := os.ReadFile(r.config())
			if err != nil {
				t.Fatal(err)
			}
			_, topic, _ := strings.Cut(string(text), "topic: ")
			topic, _, _ = strings.Cut(topic, ",")
			to := r.elsewhere("topic: "+topic+", partitions: 4", "topic: "+topic+"-more, partitions: 12")
			said, err := r.moves(to)
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			old := r.config() + ".old"
			err = os.WriteFile(old, text, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, old, "12 partitions")
			r.serveOn(to)
			r.until("it has its partitions", func() bool { return len(r.a.holds.all()) == 12 && r.a.holds.whole() })
			r.everyCustomer("Slow", customers)
			r.until("the second alerts have joined", func() bool { return r.metric("tocsin_correlate_open_alerts") == 2*customers })
			if got := ids(r.incidents()); !slices.Equal(got, before) {
				t.Errorf("incidents %v, want those of before: %v", got, before)
			}
		})
	}
}

func ids(is []incidentJSON) (out []string) {
	for _, i := range is {
		out = append(out, i.ID)
	}
	slices.Sort(out)
	return out
}

// storedIncidents reads the rows while nobody serves them.
func (r *rig) storedIncidents() (out []incidentJSON) {
	r.t.Helper()
	all, err := onState(r.t.Context(), r.config(), r.t.Output(), func(ctx context.Context, db store.DB) (all []tocsin.Incident, err error) {
		err = db.View(ctx, func(tx *store.Tx) error {
			all, err = tx.Incidents(store.IncidentFilter{Limit: 1000})
			return err
		})
		return all, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, i := range all {
		out = append(out, incidentJSON{ID: tocsin.IncidentID(i.ID)})
	}
	return out
}

func TestAMoveThatWasKilledRefusesServiceAndGoesOnWhenItIsRunAgain(t *testing.T) {
	r := newRig(t, oneAlways...)
	for n := range 12 {
		r.prometheus(burning("alertname", "Down", "host", fmt.Sprint("db-", n), "service", fmt.Sprint("s", n)))
	}
	r.until("all are applied", func() bool { return r.metric("tocsin_correlate_open_alerts") == 12 })
	err := r.stop()
	if err != nil {
		t.Fatal(err)
	}
	to := r.elsewhere("dir: "+filepath.Join(r.dir, "data"), "dir: "+filepath.Join(r.dir, "other"))
	ctx, kill := context.WithCancel(t.Context())
	died := &atLine{part: "  alert: ", then: kill}
	err = Migrate(ctx, MigrateOptions{From: r.config(), To: to, Stdout: died, Stderr: t.Output(), chunk: 5})
	if err == nil {
		t.Fatal("it was not killed")
	}
	refused(t, to, "run the same tocsin migrate again")
	said, err := r.moves(to)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if !strings.Contains(said, "it goes on where it stopped") {
		t.Errorf("it does not say that it goes on:\n%s", said)
	}
	refused(t, r.config(), "was moved to")
	moved, err := TakeBack(t.Context(), r.config(), t.Output())
	if err != nil || !strings.Contains(moved, "other") {
		t.Errorf("taken back from %q with error %v", moved, err)
	}
	_, err = r.moves(to)
	if !errors.Is(err, migrate.ErrNotEmpty) {
		t.Errorf("moved to a state in use with error %v, want ErrNotEmpty", err)
	}
	r.serveOn(to)
	r.until("the state is loaded", func() bool { return r.metric("tocsin_correlate_open_alerts") == 12 })
}

// atLine calls then when a line with part is written.
type atLine struct {
	part string
	then func()
}

func (a *atLine) Write(b []byte) (int, error) {
	if strings.Contains(string(b), a.part) {
		a.then()
	}
	return len(b), nil
}

func TestADryRunLeavesTheNewStorageAlone(t *testing.T) {
	r := newRig(t)
	r.event("trigger", "lag", "critical", "db-main")
	r.until("an incident", func() bool { return len(r.incidents()) == 1 })
	err := r.stop()
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(r.dir, "other")
	to := r.elsewhere("dir: "+filepath.Join(r.dir, "data"), "dir: "+other)
	var out bytes.Buffer
	err = Migrate(t.Context(), MigrateOptions{From: r.config(), To: to, DryRun: true, Stdout: &out, Stderr: t.Output()})
	if err != nil || !strings.Contains(out.String(), "nothing was moved") {
		t.Fatalf("error %v, said %s", err, out.String())
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("the dry run made the new folder")
	}
	err = Migrate(t.Context(), MigrateOptions{From: r.config(), To: to, Confirm: func() bool { return false }, Stdout: &out, Stderr: t.Output()})
	if !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("unconfirmed it ends with %v", err)
	}
	_, err = r.moves(r.config())
	if err == nil || !strings.Contains(err.Error(), "there is nothing to move") {
		t.Errorf("moved to itself with error %v", err)
	}
	r.start()
	r.until("the old one is served as before", func() bool { return len(r.incidents()) == 1 })
}

func TestAStateGoesOnWithATopicThatWasMadeAnewOnceToldWhere(t *testing.T) {
	r := newRigOn(t, ground{brokers: doubled}, oneAlways...)
	r.event("trigger", "lag", "critical", "db-main")
	r.until("an incident", func() bool { return len(r.incidents()) == 1 })
	err := r.stop()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(r.config())
	if err != nil {
		t.Fatal(err)
	}
	_, topic, _ := strings.Cut(string(text), "topic: ")
	topic, _, _ = strings.Cut(topic, ",")
	to := r.elsewhere("topic: "+topic+",", "topic: "+topic+"-anew,")
	refused(t, to, "move it with tocsin migrate")
	var out bytes.Buffer
	err = Rejoin(t.Context(), RejoinOptions{Config: to, Partition: -1, At: "earliest", Stdout: &out, Stderr: t.Output()})
	if err != nil || !strings.Contains(out.String(), "It goes on at 0") {
		t.Fatalf("error %v, said %s", err, out.String())
	}
	r.serveOn(to)
	r.until("the state is loaded", func() bool { return len(r.a.holds.all()) == 4 && r.a.holds.whole() })
	r.event("resolve", "lag", "critical", "db-main")
	r.until("the incident resolves by a record of the new topic", func() bool { return r.incidents()[0].State == "resolved" })
}

func TestWhereARejoinedStateGoesOn(t *testing.T) {
	for name, tc := range map[string]struct {
		at, fault string
		want      int64
	}{
		"at the first that is kept":  {"earliest", "", 5},
		"behind the last":            {"latest", "", 9},
		"at an offset":               {"7", "", 7},
		"not before what is kept":    {"4", "offset 4 is not in the journal, which has 5 to 9", 0},
		"not behind the end":         {"10", "offset 10 is not in the journal, which has 5 to 9", 0},
		"nor at what is no offset":   {"soon", `"soon" is neither earliest, latest nor an offset`, 0},
		"behind the last, by number": {"9", "", 9},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := offset(tc.at, 5, 9)
			fault := ""
			if err != nil {
				fault = err.Error()
			}
			if got != tc.want || fault != tc.fault {
				t.Errorf("%d, %q; want %d, %q", got, fault, tc.want, tc.fault)
			}
		})
	}
}
