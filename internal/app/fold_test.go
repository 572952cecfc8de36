package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/config"
	"tocsin/correlate"
	"tocsin/internal/journal"
	"tocsin/internal/journal/disk"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
)

// A fold is a second life of everything a journal and its commands say: the same worker, a fresh domain, a fresh database,
// and nobody who sends. It gets the records in batches of other sizes, and the commands where their after_offset puts them.
type fold struct {
	app      *App
	worker   *correlate.Worker
	source   journal.Journal
	part     int // the partition
	records  *records
	commands []tocsin.Change
	r        *rand.Rand
	oneByOne bool
	newest   time.Time
	given    int64 // the offset up to which records were handed out
	next     int64 // the offset that is handed out next
	end      int64
	rewinds  []int64 // offsets, rising: from each of them on the source is read from its beginning again
	deaths   []int64 // offsets, rising: at each of them the worker loses its partition, and another begins with what stands in the database
	died     chan struct{}
	life     int64              // the generation that the partition was claimed for
	repeats  int64              // records handed out once more
	left     []correlate.Record // read, not yet handed out
	done     chan error
	once     sync.Once
}

// isFold reports whether the plant's state is the fold of its journal and its commands: the rows by digest, and who was paged.
func (p *plant) isFold(live state) bool {
	p.t.Helper()
	if p.many != nil {
		return p.many.isFold(p.t, p.config(), live)
	}
	return foldEquals(p.t, p.config(), p.data(), live, true)
}

// foldEquals folds the data directory of a tocsin that has ended and compares; live is what the directory says. One by one,
// each record has a transaction of its own: then everybody is paged whom a batch would have found not to need it any more.
func foldEquals(t *testing.T, path, data string, live state, oneByOne bool) bool {
	t.Helper()
	source, err := disk.Open(filepath.Join(data, "journal"), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	embedded := func() (store.DB, error) { return sqlite.Open(filepath.Join(data, "tocsin.db"), sqlite.Options{}) }
	return foldsTo(t, embedded, source, live, live.part, oneByOne, func(c *config.Config) {}, path)
}

// foldsTo folds one partition of source, and of the commands that the database has, into a fresh database, and compares. edit makes
// the configuration at path one of as many partitions on storage that is there for nothing else.
func foldsTo(t *testing.T, db func() (store.DB, error), source journal.Journal, live state, part store.Part, oneByOne bool, edit func(*config.Config), path string) bool {
	t.Helper()
	want, rules, commands := dumpOf(t, db, part.Partition)
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, uint64(len(commands))))
	f := newFold(t, path, filepath.Join(dir, "data"), source, part.Partition, edit, rules, commands, r)
	f.end = part.NextOffset // what it had not applied when it ended is for its next start
	f.oneByOne = oneByOne
	f.run(t)
	fresh := func() (store.DB, error) {
		return sqlite.Open(filepath.Join(dir, "data", "tocsin.db"), sqlite.Options{})
	}
	got, _, _ := dumpOf(t, fresh, part.Partition)
	same := true
	if !bytes.Equal(got, want) {
		same = false
		t.Errorf("partition %d of the state is not the fold of %d records and %d commands:\n%s", part.Partition, f.end, len(commands), firstDifferences(want, got))
	}
	again, err := readState(t.Context(), filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	failed := wentOn(live.changes)
	owed := slices.DeleteFunc(slices.Clone(live.pages), func(p tocsin.Page) bool { return failed[about{p.Incident, p.Major}] })
	if more := without(paged(owed, part.Partition), paged(again.pages, part.Partition)); oneByOne && len(more) > 0 {
		same = false
		t.Errorf("%d pages are not owed by the fold:\n%s\nlive:\n%sfold:\n%s", len(more), strings.Join(more[:min(len(more), 5)], "\n"), storyOf(more[0], live), storyOf(more[0], again))
	}
	return same
}

// wentOn are those whose escalation went on because nobody could be reached: no record and no command says that.
func wentOn(changes []tocsin.Change) map[about]bool {
	out := map[about]bool{}
	for _, c := range changes {
		if c.Kind == tocsin.ChangePaged && bytes.Contains(c.Data, []byte("the next step at once")) {
			out[about{c.Incident, c.Major}] = true
		}
	}
	return out
}

// storyOf is what happened about the incident that a line of paged is about.
func storyOf(page string, s state) string {
	var incident int64
	_, _ = fmt.Sscanf(page, "incident %d", &incident) // else there is none
	var out strings.Builder
	for _, c := range s.changes {
		if c.Incident == incident {
			fmt.Fprintf(&out, "  %s after %d: %s by %s %s\n", c.At.Format(time.StampMicro), c.AfterOffset, c.Kind, c.Actor, c.Data)
		}
	}
	for _, p := range s.pages {
		if p.Incident == incident {
			fmt.Fprintf(&out, "  page %s due %s: %s to %s by %s, round %d, step %d, state %d %s\n", p.ID, p.DueAt.Format(time.StampMicro), p.Kind, p.Person, p.Channel, p.Round, p.Step, p.State, p.Error)
		}
	}
	return out.String()
}

// without returns those of a, which is sorted as b is, that b does not have as often.
func without(a, b []string) []string {
	var out []string
	for _, x := range a {
		for len(b) > 0 && b[0] < x {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == x {
			b = b[1:]
			continue
		}
		out = append(out, x)
	}
	return out
}

// paged says who is paged about what in a partition; notices depend on what has been sent by then, so they are left out.
func paged(pages []tocsin.Page, partition int) []string {
	var out []string
	for _, p := range pages {
		if p.Kind != tocsin.KindNotice && p.Partition == partition {
			out = append(out, fmt.Sprintf("incident %d major %d: %s to %s by %s, round %d, step %d", p.Incident, p.Major, p.Kind, p.Person, p.Channel, p.Round, p.Step))
		}
	}
	slices.Sort(out)
	return out
}

// dumpOf returns what store.Digest is the hash of, the rule sets by their hash, and the commands, of one partition.
func dumpOf(t *testing.T, open func() (store.DB, error), partition int) (dump []byte, rules func(string) ([]byte, error), commands []tocsin.Change) {
	t.Helper()
	db, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b bytes.Buffer
	err = store.Dump(t.Context(), db, partition, &b)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(t.Context(), func(tx *store.Tx) error {
		commands, err = tx.Commands(partition, 0, 0, most)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string][]byte{}
	rules = func(hash string) ([]byte, error) {
		if body, ok := kept[hash]; ok {
			return body, nil
		}
		db, err := open()
		if err != nil {
			return nil, err
		}
		defer db.Close()
		err = db.View(context.Background(), func(tx *store.Tx) error {
			kept[hash], err = tx.Rules(hash)
			return err
		})
		return kept[hash], err
	}
	return b.Bytes(), rules, commands
}

// firstDifferences shows the first lines that only one of the two has.
func firstDifferences(want, got []byte) string {
	a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	var out strings.Builder
	shown := 0
	for n := 0; n < max(len(a), len(b)) && shown < 4; n++ {
		x, y := at(a, n), at(b, n)
		if x != y {
			shown++
			fmt.Fprintf(&out, "line %d\n  live %s\n  fold %s\n", n, x, y)
		}
	}
	fmt.Fprintf(&out, "%d lines live, %d of the fold", len(a), len(b))
	return out.String()
}

func at(lines []string, n int) string {
	if n < len(lines) {
		return lines[n]
	}
	return "(nothing)"
}

func newFold(t *testing.T, path, fresh string, source journal.Journal, partition int, edit func(*config.Config), rules func(string) ([]byte, error), commands []tocsin.Change, r *rand.Rand) *fold {
	t.Helper()
	c, problems := config.Load(path)
	if c == nil {
		t.Fatal(problems)
	}
	c.Storage.Dir, c.Server.Listen = fresh, "127.0.0.1:0"
	edit(c)
	a, err := open(t.Context(), c, path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := &fold{app: a, source: source, part: partition, commands: commands, r: r, done: make(chan error, 1), died: make(chan struct{}, 1)}
	f.records = a.records(partition, nil)
	f.records.gap = func(g *journal.GapError) { t.Errorf("gap: %v", g) }
	f.records.dead = func(offset int64, _ []byte, cause error) { t.Errorf("record %d: %v", offset, cause) }
	f.records.rules = func(_ context.Context, hash string) (*correlate.Rules, error) {
		body, err := rules(hash)
		if err != nil {
			return nil, err
		}
		return correlate.ParseRules(body)
	}
	err = f.rewind()
	if err != nil {
		t.Fatal(err)
	}
	copies, err := journal.ParseFold(nil)
	if err != nil {
		t.Fatal(err)
	}
	f.begin(t, func(store.Part) *loaded {
		return &loaded{domain: correlate.NewDomain(partition, a.partitions), fold: copies}
	})
	return f
}

// begin claims the partition, and makes the worker of what load says there is.
func (f *fold) begin(t *testing.T, load func(store.Part) *loaded) {
	t.Helper()
	f.life += 2
	part, err := f.app.claim(t.Context(), journal.Claim{Partition: f.part, Generation: f.life})
	if err != nil {
		t.Fatal(err)
	}
	l := load(part)
	o := correlate.WorkerOptions{FlushEvents: 1 + f.r.IntN(20_000), LastWriter: uint64(part.LastWriter), LastSeq: uint64(part.LastSeq)} //nolint:gosec // as it was stored
	if f.app.kafka != nil {
		o.Copies = l.fold
	}
	b := &book{office: f.app.office, partition: f.part, partitions: f.app.partitions, epoch: part.Epoch}
	f.worker = correlate.NewWorker(l.domain, part.Seq, f, b, o)
}

// rewind reads the source from its beginning.
func (f *fold) rewind() error {
	reader, err := f.source.Read(f.part, 0)
	if err != nil {
		return err
	}
	var old error
	if f.records.reader != nil {
		old = f.records.reader.Close()
	}
	again := *f.records
	again.reader, again.dec, again.passed = reader, journal.Decoder{}, 0
	f.records, f.left, f.next = &again, nil, 0
	return old
}

// run folds to the end.
func (f *fold) run(t *testing.T) {
	t.Helper()
	err := f.live(t)
	for errors.Is(err, errDied) {
		f.revive(t)
		err = f.live(t)
	}
	err = errors.Join(err, f.records.reader.Close(), f.app.listener.Close(), f.app.close())
	if err != nil {
		t.Fatal(err)
	}
}

// errDied means that a fold's worker ended where it was told to.
var errDied = errors.New("ended before the end")

// live runs the worker until it is to end.
func (f *fold) live(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- f.worker.Run(ctx) }()
	select {
	case err := <-f.done:
		cancel()
		return errors.Join(err, <-ran)
	case <-f.died:
		_, err := f.app.claim(t.Context(), journal.Claim{Partition: f.part, Generation: f.life + 1}) // so it cannot write what repeats said
		cancel()
		ended := <-ran
		if ended != nil && !errors.Is(ended, correlate.ErrLost) {
			err = errors.Join(err, ended)
		}
		return cmp.Or(err, errDied)
	case err := <-ran:
		return err
	case <-time.After(foldFor):
		t.Fatalf("the fold has not come to its end after %s: it is at offset %d of %d", foldFor, f.given, f.end)
	}
	return nil
}

// past is a journal whose records are those of another.
type past struct {
	wal
	of journal.Journal
}

// Read reads the other.
func (p past) Read(partition int, offset int64) (journal.Reader, error) {
	return p.of.Read(partition, offset)
}

// revive makes another worker of what stands in the database, as a start does, but reads the source from its beginning.
func (f *fold) revive(t *testing.T) {
	t.Helper()
	f.begin(t, func(part store.Part) *loaded {
		own := f.app.journal
		f.app.journal = past{own, f.source} // what a start reads again stands there
		l, err := f.app.load(t.Context(), part, 0)
		f.app.journal = own
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
	err := f.rewind()
	if err != nil {
		t.Fatal(err)
	}
}

// foldFor bounds a fold; a worker tries for ever.
const foldFor = 3 * time.Minute

// Next hands out the next records, after the commands that stand before them.
func (f *fold) Next(ctx context.Context) ([]correlate.Record, error) {
	reached := int64(-1)
	err := f.worker.Peek(ctx, func(*correlate.Domain) { _, reached = f.worker.Applied() })
	if err != nil {
		return nil, err
	}
	for len(f.commands) > 0 && f.commands[0].AfterOffset <= f.given {
		err = f.command(ctx, f.commands[0])
		if err != nil {
			err = fmt.Errorf("command %d (%s of incident %d, major %d) before offset %d, applied %d: %w", f.commands[0].Seq, f.commands[0].Kind,
				f.commands[0].Incident, f.commands[0].Major, f.commands[0].AfterOffset, reached, err)
			f.done <- err
			return nil, err
		}
		f.commands = f.commands[1:]
	}
	if len(f.deaths) > 0 && f.given >= f.deaths[0] {
		f.deaths = f.deaths[1:]
		f.died <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if len(f.rewinds) > 0 && f.given >= f.rewinds[0] {
		f.rewinds = f.rewinds[1:]
		err = f.rewind()
		if err != nil {
			return nil, err
		}
	}
	if f.next == f.end {
		f.once.Do(func() { close(f.done) })
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if len(f.left) == 0 {
		f.left, err = f.records.Next(ctx)
		if err != nil {
			return nil, err
		}
	}
	f.left = f.left[:min(int64(len(f.left)), f.end-f.left[0].Offset)]
	n := 1
	if !f.oneByOne {
		n += f.r.IntN(len(f.left))
	}
	if len(f.commands) > 0 {
		n = min(n, max(1, int(f.commands[0].AfterOffset-f.left[0].Offset)))
	}
	out := f.left[:n]
	f.left = f.left[n:]
	f.next = out[n-1].Offset + 1
	f.repeats += min(f.next, f.given) - min(out[0].Offset, f.given)
	if f.next > f.given {
		f.given = f.next
		f.turnBack(out[n-1].At)
	}
	return out, nil
}

// Tick says that it was done: in a journal of the past all ticks stand already.
func (f *fold) Tick(context.Context) error { return nil }

// turnBack sets the clock to when something happened, or to what happened after it and was applied before: what was paged last must not depend
// on how long a record had waited.
func (f *fold) turnBack(to time.Time) {
	if to.After(f.newest) {
		f.newest = to
	}
	c := f.app.clock
	c.anchor.Store(f.newest.UnixMicro() - time.Since(c.start).Microseconds())
}

// command carries out what somebody commanded, at the time when they did.
func (f *fold) command(ctx context.Context, c tocsin.Change) error {
	f.turnBack(c.At)
	var data lineData
	err := json.Unmarshal(c.Data, &data)
	if err != nil {
		return err
	}
	return f.app.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		t, err := f.app.office.turn(tx, f.part)
		if err != nil {
			return err
		}
		t.now, t.reserve = c.At, nil
		if c.Major != 0 {
			m, err := tx.Major(c.Major)
			if err != nil {
				return err
			}
			_, _, err = t.major(m, c.Kind, c.Actor, data.Note)
			if err != nil {
				return err
			}
			return t.finish()
		}
		i, err := tx.Incident(c.Incident)
		if err != nil {
			return err
		}
		_, err = t.incident(i, c.Kind, c.Actor, data.Note)
		if err != nil {
			return err
		}
		return t.finish()
	})
}

// soakRules let everything that time does come within seconds: windows, quiet times, ends, holds, rests.
const soakRules = `
rules:
  - {name: pairs, matchers: ['class="pair"'], group_by: [service], window: 1s, reopen: 1s, quiet: 0s, group_wait: 1s, open_when: {alerts: 2}}
  - {name: each, matchers: ['odd="yes"'], group_by: [], window: 1s, reopen: 0s, quiet: 1s, auto_resolve: 1s}
  - {name: all, group_by: [service], window: 2s, reopen: 2s, quiet: 1s, auto_resolve: 2s}
majors:
  - {name: region, scope: [region], window: 1s, any: {incidents: 3}, hold: 1s, priority: 2, decide_within: 1s, on_timeout: expire, cooldown: 1s, escalation: managers}
  - {name: hosts, scope: [region], window: 2s, any: {hosts: 4}, priority: 3, action: promote, cooldown: 1s, escalation: managers}
`

// Whatever was sent and commanded, and however often it was stopped and started: the rows are what a fold of the journal and
// the commands makes, and a start changes nothing.
func TestStateIsTheFoldOfJournalAndCommands(t *testing.T) {
	seed := seedOf(t)
	p := newPlant(t, soakRules)
	rounds, length := 2, 3*time.Second
	if full() {
		rounds, length = 20, 10*time.Second
	}
	r := rand.New(rand.NewPCG(seed, 3))
	for n := range rounds {
		p.start()
		stop := p.load(seed + uint64(n))
		sleepFor(t, length)
		if r.IntN(2) == 0 {
			p.kill()
			p.start()
			sleepFor(t, time.Duration(r.Int64N(int64(time.Second))))
		}
		go stop()
		p.terminate()
		stop()
		p.start() // the one before may have ended before its state was loaded, and what repeats said to the one that was killed is written by the next
		p.whole()
		p.terminate()
		s, err := readState(t.Context(), p.data())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d alerts, %d incidents, %d lines of history, %d pages", n, len(s.alerts), len(s.incidents), len(s.changes), len(s.pages))
		if !foldEquals(t, p.config(), p.data(), s, n%2 == 0) {
			keep(t, p.dir)
			return
		}
	}
}

// A process that was replaced, and does not know it yet, commits nothing more, and its refused writes are counted.
func TestAnOwnerThatWasReplacedCommitsNothing(t *testing.T) {
	r := newRig(t)
	r.until("the state is loaded", func() bool { return r.a.holds.whole() })
	err := r.a.db.Update(t.Context(), store.Commands, func(tx *store.Tx) error {
		const later = 99 // a generation that this process knows nothing of, for as long as the test may take
		_, err := tx.Take(partition, "another", later, r.a.clock.Now().Add(time.Hour), groupIdle)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.event("trigger", "lag", "critical", "db-main")
	r.until("its write was refused", func() bool { return r.metric("tocsin_correlate_fenced_total") >= 2 }) // the commit, and then the claim
	err = r.stop()
	if err != nil {
		t.Error(err)
	}
	s, err := readState(t.Context(), filepath.Join(r.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.incidents) > 0 || len(s.alerts) > 0 || len(s.pages) > 0 {
		t.Errorf("it left %d incidents, %d alerts and %d pages behind, want none", len(s.incidents), len(s.alerts), len(s.pages))
	}
}

func TestAReceiveTimeNeverFallsFromOneRecordToTheNext(t *testing.T) {
	r := newRig(t)
	r.until("the state is loaded", func() bool { return r.a.holds.whole() })
	now := r.a.clock.Now()
	for _, at := range []time.Time{now.Add(time.Minute), now} { // the second was accepted first, and written last
		rec := journal.Record{Kind: journal.Tick, Writer: 1, Seq: 1, At: at}
		_, err := r.a.journal.Append(t.Context(), partition, journal.Entry{At: at, Payload: rec.Append(nil)})
		if err != nil {
			t.Fatal(err)
		}
	}
	reader, err := r.a.journal.Read(partition, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer func() { _ = r.stop() }() // what it says of its end is not what this is about
	records := r.a.records(partition, reader)
	var before time.Time
	for n := 0; n < 3; { // the rules of the start, and these
		rs, err := records.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range rs {
			if rec.At.Before(before) {
				t.Errorf("record %d was received at %s, the one before at %s", n, rec.At, before)
			}
			before = rec.At
			n++
		}
	}
}

// What had ended shortly before the process did is taken back by what was accepted then, however long nobody ran.
func TestALongSilenceDoesNotChangeWhatARecordBeforeItMeans(t *testing.T) {
	r := newRig(t)
	r.event("trigger", "lag", "critical", "db-main")
	r.until("there is an incident", func() bool { return len(r.incidents()) == 1 })
	r.event("resolve", "lag", "critical", "db-main")
	r.until("it has ended", func() bool { return r.incidents()[0].State == "resolved" })
	err := r.stop()
	if err != nil {
		t.Fatal(err)
	}
	s, err := readState(t.Context(), filepath.Join(r.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load(r.config())
	if c == nil {
		t.Fatal(problems)
	}
	a, err := open(t.Context(), c, r.config(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	again := tocsin.Event{Source: "legacy", Key: "lag", Fingerprint: s.alerts[0].Fingerprint, Status: tocsin.Firing, Severity: tocsin.Critical, Summary: "replication lag"}
	_, err = a.intake.Accept(t.Context(), "legacy", []tocsin.Event{again})
	if err != nil {
		t.Fatal(err)
	}
	a.clock.anchor.Add((12 * time.Hour).Microseconds()) // and only then does anybody run
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	r.url = "http://" + a.listener.Addr().String()
	r.until("the record is applied", func() bool { return a.holds.whole() && a.lag() == 0 })
	if is := r.incidents(); len(is) != 1 || is[0].State != "triggered" {
		t.Errorf("incidents %+v, want the one of before, triggered again", is)
	}
	cancel()
	err = <-ended
	if err != nil {
		t.Error(err)
	}
}

// keep copies a data directory that a failed run left to where TOCSIN_KEEP says.
func keep(t *testing.T, dir string) {
	t.Helper()
	to := os.Getenv("TOCSIN_KEEP")
	if to == "" {
		return
	}
	err := os.CopyFS(to, os.DirFS(dir))
	t.Logf("kept in %s: %v", to, err)
}
