package migrate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
)

var at = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// homeOf is the layout of n partitions, isolated by customer.
func homeOf(n int) func(tocsin.Labels) (int, bool) {
	return func(ls tocsin.Labels) (int, bool) {
		h := fnv.New32a()
		_, _ = h.Write([]byte(ls.Get("customer")))
		return int(h.Sum32() % uint32(n)), ls.Get("customer") != ""
	}
}

func openAt(t testing.TB, path string) store.DB {
	t.Helper()
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func fresh(t testing.TB) store.DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "state.db"))
}

// size says how big a world is.
type size struct{ partitions, incidents, alerts int }

// customer is whose the incident of this number is.
func customer(incident int) string { return fmt.Sprintf("customer-%d", incident%23) }

// fill writes a state of so many partitions as a server leaves it: incidents in all states with running escalations, alerts of which some
// have repeated since their rows were written, history, pages, and everything else that there is a table for.
func fill(t testing.TB, db store.DB, z size) {
	t.Helper()
	home := homeOf(z.partitions)
	parts := make([]store.Part, z.partitions)
	update(t, db, func(tx *store.Tx) error {
		for p := range parts {
			part, err := tx.Claim(p, "one")
			if err != nil {
				return err
			}
			part.NextOffset, part.TouchOffset, part.SeenAt, part.Rules = int64(1000+p), int64(900+p), at.Add(time.Duration(p)*time.Second), "abc"
			parts[p] = part
		}
		return fillRest(tx, z.partitions)
	})
	for from := 0; from < z.incidents; from += 500 {
		update(t, db, func(tx *store.Tx) error {
			for n := from; n < min(from+500, z.incidents); n++ {
				p, _ := home(tocsin.NewLabels(map[string]string{"customer": customer(n)}))
				err := fillIncident(tx, &parts[p], z, n)
				if err != nil {
					return err
				}
			}
			for _, p := range parts {
				err := tx.SavePart(p)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func id(counter *int64, p *store.Part, n int) int64 {
	*counter++
	return (*counter-1)*int64(n) + int64(p.Partition) + 1
}

func fillIncident(tx *store.Tx, p *store.Part, z size, n int) error {
	ls := tocsin.NewLabels(map[string]string{"customer": customer(n), "service": fmt.Sprintf("s%d", n)})
	opened := at.Add(time.Duration(n) * time.Second)
	i := tocsin.Incident{
		ID: id(&p.NextIncident, p, z.partitions), Partition: p.Partition, State: tocsin.IncidentState(1 + n%3), Title: "disk full", Rule: "disks", Key: "disk",
		Group: "disk\x1f", Labels: ls, Severity: tocsin.Critical, Priority: 3, Urgency: tocsin.UrgencyHigh, Code: 10 + n, OpenedAt: opened, NewestAt: opened,
		Paged: true, PageAt: opened, Open: z.alerts,
	}
	var alerts []tocsin.Alert
	touches := map[int64][]store.Touch{}
	for k := range z.alerts {
		a := tocsin.Alert{
			ID: id(&p.NextAlert, p, z.partitions), Partition: p.Partition, Status: tocsin.Status(1 + k%4/3), Incident: i.ID, Severity: tocsin.Critical,
			Fingerprint: tocsin.FingerprintOf("prom", fmt.Sprint(n, "/", k)), Source: "prom", Labels: ls.With("host", fmt.Sprintf("h%d", k)),
			Annotations: tocsin.NewLabels(map[string]string{"summary": "ü\"<\n"}), Summary: "full", StartsAt: opened, FirstAt: opened, LastAt: opened, Count: 1,
			AsOf: 5, Rule: "disks", Group: "disk\x1f", Why: tocsin.Why{Rule: "disks", Joined: "opened"}, Content: 1<<63 + uint64(k),
		}
		alerts = append(alerts, a)
		if a.Status == tocsin.Firing && k%2 == 0 {
			c := store.ChunkOf(a.ID)
			touches[c] = append(touches[c], store.Touch{Alert: a.ID, LastAt: opened.Add(time.Minute), EndsAt: opened.Add(time.Hour), Count: 7, AsOf: 800})
		}
	}
	err := errors.Join(tx.PutAlerts(alerts), tx.PutIncidents([]tocsin.Incident{i}))
	if err != nil {
		return err
	}
	err = addTouches(tx, p.Partition, touches)
	if err != nil {
		return err
	}
	changes := []tocsin.Change{
		{AfterOffset: int64(n), At: opened, Actor: "rule", Kind: tocsin.ChangeOpened, Incident: i.ID, Data: []byte(`{"a":1}`)},
		{AfterOffset: p.NextOffset - int64(n%2), At: opened.Add(time.Second), Actor: "one", Kind: tocsin.DoAck, Incident: i.ID},
		{AfterOffset: int64(n), At: opened.Add(-time.Second), Actor: "rule", Kind: tocsin.ChangeJoined, Incident: i.ID},
	}
	if n%5 == 0 {
		changes = append(changes, tocsin.Change{At: opened, Actor: "pager", Kind: tocsin.ChangeNotified})
		m := tocsin.Major{
			ID: id(&p.NextMajor, p, z.partitions), Partition: p.Partition, State: tocsin.Proposed, Title: "big", Rule: "all", Incidents: []int64{i.ID},
			Scope: tocsin.NewLabels(map[string]string{"customer": customer(n)}), Code: 50_000 + n, ProposedAt: opened, DecideBy: opened.Add(time.Hour),
		}
		err = tx.PutMajors([]tocsin.Major{m})
		if err != nil {
			return err
		}
		changes = append(changes, tocsin.Change{At: opened, Actor: "rule", Kind: tocsin.ChangeProposed, Major: m.ID})
	}
	return errors.Join(tx.AddChanges(p, changes), fillPaging(tx, p.Partition, i.ID, n))
}

// addTouches adds to the chunks that other incidents have filled.
func addTouches(tx *store.Tx, partition int, touches map[int64][]store.Touch) error {
	for to, err := range tx.LoadTouches(partition) {
		if err != nil {
			return err
		}
		c := store.ChunkOf(to.Alert)
		if _, is := touches[c]; is {
			touches[c] = append(touches[c], to)
		}
	}
	for c, ts := range touches {
		err := tx.PutTouches(partition, c, ts)
		if err != nil {
			return err
		}
	}
	return nil
}

func fillPaging(tx *store.Tx, partition int, incident int64, n int) error {
	due := at.Add(time.Duration(n) * time.Minute)
	return errors.Join(
		tx.AddTimers([]store.Timer{{ID: 1<<62 + int64(n), Partition: partition, Kind: store.TimerStep, Incident: incident, DueAt: due, Round: 1, Step: 2, Data: `{"step":2}`}}),
		tx.InsertPages([]tocsin.Page{{
			ID: fmt.Sprintf("page-%06d", n), Partition: partition, Kind: tocsin.KindPage, Incident: incident, Person: "one", Channel: "sms", Address: "+15005550001",
			State: tocsin.PageState(1 + n%6), Lane: 1, DueAt: due, Token: int64(n % 2), Tried: []string{"twilio"},
		}}))
}

// fillRest writes what belongs to no incident.
func fillRest(tx *store.Tx, partitions int) error {
	errs := []error{
		tx.SetMeta(store.MetaPartitions, fmt.Sprint(partitions)), tx.SetMeta(store.MetaIsolateBy, `["customer"]`), tx.SetMeta(store.MetaJournal, "the old journal"),
		tx.SetMeta(store.MetaSigningKey, "00ff"), tx.SetMeta("published rules abc", "1"), tx.PutRules("abc", []byte("{}")),
		tx.AddLoginLink("h1", "one", at), tx.AddSession(store.Session{Hash: "h2", Person: "one", Since: at, Expires: at}),
		tx.BuryDead(store.DeadLetter{Partition: 0, Offset: 7, At: at, Reason: "no record", Payload: []byte{0, 1}, Tries: 1}),
		tx.PutNode(store.Node{ID: 1, Name: "one", StartedAt: at, SeenAt: at, Detail: []byte("{}")}),
	}
	for p := range partitions {
		errs = append(errs, tx.SetMeta(fmt.Sprintf("held %d", p), fmt.Sprintf(`[{"rule":"all","scope":{"customer":"customer-%d"},"since":"2026-11-23T03:00:00Z"}]`, p)))
	}
	_, err := tx.TurnOff(store.ContactOff{Channel: "sms", Address: "+15005550009", Since: at, Why: "STOP"})
	_, err2 := tx.AddSandbox(store.SandboxMessage{Page: "page-1", Channel: "sms", To: "one", Person: "one", Text: "hello", At: at})
	_, err3 := tx.FirstInbound("twilio", "SM1", at)
	return errors.Join(append(errs, err, err2, err3)...)
}

func update(t testing.TB, db store.DB, fn func(*store.Tx) error) {
	t.Helper()
	err := db.Update(context.Background(), store.Commands, fn)
	if err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db store.DB, fn func(*store.Tx) error) {
	t.Helper()
	err := db.View(context.Background(), fn)
	if err != nil {
		t.Fatal(err)
	}
}

// told is everything that a state tells people, in words: alerts, incidents, majors, pages, timers, and the history of each. Partitions and what
// follows from them are left out.
type told struct {
	Alerts    []tocsin.Alert
	Incidents []tocsin.Incident
	Majors    []tocsin.Major
	Lines     map[string][]tocsin.Change
	Rest      map[string][]string // rows as text
}

func tell(t testing.TB, db store.DB) (w told) {
	t.Helper()
	w = told{Lines: map[string][]tocsin.Change{}, Rest: map[string][]string{}}
	view(t, db, func(tx *store.Tx) (err error) {
		for a, err := range tx.Alerts(store.AlertFilter{}) {
			if err != nil {
				return err
			}
			a.Partition, a.AsOf = 0, 0
			w.Alerts = append(w.Alerts, a)
		}
		w.Incidents, err = tx.Incidents(store.IncidentFilter{Limit: 1 << 20})
		if err != nil {
			return err
		}
		for n := range w.Incidents {
			i := &w.Incidents[n]
			i.Partition = 0
			lines, err := tx.ChangesOfIncident(i.ID, 1000)
			if err != nil {
				return err
			}
			w.Lines[tocsin.IncidentID(i.ID)] = lines
		}
		w.Majors, err = tx.Majors(store.MajorFilter{Limit: 1 << 20})
		if err != nil {
			return err
		}
		for n := range w.Majors {
			m := &w.Majors[n]
			m.Partition = 0
			w.Lines[tocsin.MajorID(m.ID)], err = tx.ChangesOfMajor(m.ID, 1000)
			if err != nil {
				return err
			}
		}
		return w.rest(tx)
	})
	for _, lines := range w.Lines {
		for n := range lines {
			lines[n].Partition, lines[n].Seq, lines[n].AfterOffset = 0, 0, 0
		}
	}
	return w
}

// rest tells the tables that have no words of their own here.
func (w *told) rest(tx *store.Tx) error {
	for _, name := range []string{"meta", "ruleset", "page", "timer", "contact_off", "sandbox", "inbound", "login_link", "login_session"} {
		b := table(name)
		rows, err := tx.Export(b, "", 1<<20)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if name == "meta" && !moves(r.Text(0)) {
				continue
			}
			if p := b.Column("partition"); p >= 0 {
				r[p] = int64(0)
			}
			w.Rest[name] = append(w.Rest[name], fmt.Sprint(r))
		}
	}
	parts, err := tx.Parts()
	if err != nil {
		return err
	}
	for _, p := range parts {
		lines, err := tx.Changes(p.Partition, 0, 1<<20)
		if err != nil {
			return err
		}
		for _, c := range lines {
			if c.Incident == 0 && c.Major == 0 {
				w.Rest["lines"] = append(w.Rest["lines"], fmt.Sprint(c.At, c.Actor, c.Kind))
			}
		}
	}
	sort.Strings(w.Rest["lines"])
	return nil
}

// layout checks what must hold of every partition of a state in a layout of n, and returns its parts.
func layout(t testing.TB, db store.DB, ends []int64) []store.Part {
	t.Helper()
	n := len(ends)
	home := homeOf(n)
	var parts []store.Part
	view(t, db, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		if err != nil {
			return err
		}
		for a, err := range tx.Alerts(store.AlertFilter{}) {
			if err != nil {
				return err
			}
			if want, _ := home(a.Labels); a.Partition != want || a.AsOf != 0 {
				return fmt.Errorf("alert %d is in partition %d as of %d, want %d as of 0", a.ID, a.Partition, a.AsOf, want)
			}
			if p := parts[a.Partition]; p.NextAlert*int64(n)+int64(p.Partition)+1 <= a.ID {
				return fmt.Errorf("the next alert of partition %d gets an id below %d", p.Partition, a.ID)
			}
		}
		for _, p := range parts {
			lines, err := tx.Changes(p.Partition, 0, 1<<20)
			if err != nil {
				return err
			}
			if int64(len(lines)) != p.Seq || len(lines) > 0 && lines[len(lines)-1].Seq != p.Seq {
				return fmt.Errorf("partition %d has %d changes and seq %d", p.Partition, len(lines), p.Seq)
			}
			err = checkLines(tx, p, lines, home)
			if err != nil {
				return err
			}
		}
		return nil
	})
	var got []int64
	for _, p := range parts {
		got = append(got, p.NextOffset)
		if p.TouchOffset != p.NextOffset || p.Rules != "abc" || p.Owner != "" || p.LastWriter != 0 || p.LastSeq != 0 || p.Gen != 0 || p.Fold != nil {
			t.Errorf("partition %d begins as %+v", p.Partition, p)
		}
	}
	if !slices.Equal(got, ends) {
		t.Errorf("partitions go on at %v, want %v", got, ends)
	}
	return parts
}

// checkLines checks that lines are where their incidents are, and that only commands that wait for a record are still to be weighed.
func checkLines(tx *store.Tx, p store.Part, lines []tocsin.Change, home func(tocsin.Labels) (int, bool)) error {
	for _, c := range lines {
		if c.Incident == 0 {
			continue
		}
		i, err := tx.Incident(c.Incident)
		if err != nil {
			return err
		}
		want, _ := home(i.Labels)
		if i.Partition != want || c.Partition != want {
			return fmt.Errorf("incident %d is in partition %d and its line %d in %d, want both in %d", i.ID, i.Partition, c.Seq, c.Partition, want)
		}
		// fill lets the commands of every other incident wait.
		after := int64(-1)
		if c.Kind == tocsin.DoAck && (i.Code-10)%2 == 0 {
			after = p.NextOffset
		}
		if c.AfterOffset != after {
			return fmt.Errorf("line %d of partition %d (%s) stands after offset %d, want %d", c.Seq, c.Partition, c.Kind, c.AfterOffset, after)
		}
	}
	return nil
}

// same fails the test where two states do not tell the same.
func same(t testing.TB, got, want told) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the state tells something else (-before +after):\n%.4000s", diff)
	}
}
