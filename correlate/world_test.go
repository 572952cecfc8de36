package correlate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
)

// start is when every test begins.
var start = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// rows is what a database would hold: whole rows by id, moves merged, touches by chunk, and the part.
type rows struct {
	alerts    map[int64]tocsin.Alert
	incidents map[int64]tocsin.Incident
	majors    map[int64]tocsin.Major
	touches   map[int64][]Touch
	held      []Held
	next      Counters
	offset    int64
	touchOff  int64
	seenAt    time.Time
	rules     *Rules
	commands  []tocsin.Change
}

func newRows() *rows {
	return &rows{
		alerts: map[int64]tocsin.Alert{}, incidents: map[int64]tocsin.Incident{}, majors: map[int64]tocsin.Major{}, touches: map[int64][]Touch{},
	}
}

func (r *rows) put(t failer, w Writes, offset int64, rules *Rules) {
	t.Helper()
	for _, a := range w.Alerts {
		r.alerts[a.ID] = a
	}
	for _, m := range w.Moves {
		a, ok := r.alerts[m.Alert]
		if !ok {
			t.Fatalf("alert %d is moved and has no row", m.Alert)
		}
		a.Status, a.Severity, a.Incident, a.Rule, a.Group = m.Status, m.Severity, m.Incident, m.Rule, m.Group
		a.LastAt, a.EndsAt, a.Count, a.AsOf = m.LastAt, m.EndsAt, m.Count, m.AsOf
		if m.Joined != "" {
			a.Why.Joined = m.Joined
		}
		r.alerts[m.Alert] = a
	}
	for _, i := range w.Incidents {
		r.incidents[i.ID] = i
	}
	for _, m := range w.Majors {
		r.majors[m.ID] = m
	}
	if w.HeldNew {
		r.held = w.Held
	}
	r.next, r.offset, r.seenAt, r.rules = w.Next, offset, w.SeenAt, rules
}

// snapshot is what a start would load.
func (r *rows) snapshot() Snapshot {
	s := Snapshot{Rules: r.rules, Next: r.next, Offset: r.offset, SeenAt: r.seenAt, Held: r.held, Codes: map[int]time.Time{}}
	back := r.seenAt.Add(-time.Hour)
	if r.rules != nil {
		back = r.seenAt.Add(-r.rules.LookBack())
	}
	code := func(code int, open bool, ended time.Time) {
		was, is := s.Codes[code]
		switch {
		case code == 0 || !open && !ended.After(r.seenAt.Add(-CodeRest)) || is && was.IsZero():
		case open:
			s.Codes[code] = time.Time{}
		case !is || ended.After(was):
			s.Codes[code] = ended
		}
	}
	for _, i := range r.incidents {
		code(i.Code, i.State.Open(), i.ResolvedAt)
		if i.State.Open() || i.ResolvedAt.After(back) {
			s.Incidents = append(s.Incidents, i)
		}
	}
	for _, m := range r.majors {
		ended := (&major{Major: m}).endedAt()
		code(m.Code, m.State.Open(), ended)
		if m.State.Open() || ended.After(back) {
			s.Majors = append(s.Majors, m)
		}
	}
	if n := len(r.commands); n > 0 {
		s.CommandAt = r.commands[n-1].At
	}
	return s
}

// restart is a domain started anew, and what it said of the records that were not committed.
type restart struct {
	d       *Domain
	effects []Effect
}

// world runs a domain as a worker does, beside its rows and its journal.
type world struct {
	t         failer
	d         *Domain
	rows      *rows
	journal   []Record
	effects   []Effect // of all records
	seq       int64
	absorbed  int // commands that d has taken in
	check     bool
	restarted *restart // as if started anew between the newest command and the next record
}

func newWorld(t failer, rs RuleSet) *world {
	t.Helper()
	r, err := rs.Compile()
	if err != nil {
		t.Fatalf("rules: %v", err)
	}
	w := &world{t: t, d: NewDomain(0, 1), rows: newRows()}
	w.take(Record{At: start, Rules: r})
	return w
}

// take applies one record as a worker does and makes it durable; with check it tries everything else on the way.
func (w *world) take(r Record) []Effect {
	w.t.Helper()
	r.Offset = int64(len(w.journal))
	if r.Rules != nil {
		w.flush()
	}
	w.journal = append(w.journal, r)
	var first []Effect
	if w.check || w.absorbed < len(w.rows.commands) {
		before := dump(w.d, true)
		first = slices.Clone(Apply(w.d, r))
		w.d.Rollback()
		w.same("apply and roll back", before, dump(w.d, true))
	}
	behind := w.absorbed < len(w.rows.commands)
	if behind { // a worker finds out when it commits
		for _, c := range w.rows.commands[w.absorbed:] {
			w.d.Absorb(c)
		}
		w.d.Commit()
		w.absorbed = len(w.rows.commands)
	}
	effects := slices.Clone(Apply(w.d, r))
	if w.check && !behind && !cmp.Equal(first, effects) {
		w.t.Fatalf("applied twice:\n%s", cmp.Diff(first, effects))
	}
	if w.d.Dirty() {
		writes := w.d.Writes()
		w.rows.put(w.t, writes, w.d.offset, w.d.rules)
		w.backed(effects, writes)
	} else if len(effects) > 0 {
		w.t.Fatalf("effects without anything to write: %v", effects)
	}
	w.d.Commit()
	w.effects = append(w.effects, effects...)
	w.t.Logf("offset %d at %s: %s => %s", r.Offset, r.At.Sub(start), came(r), told(effects))
	if x := w.restarted; x != nil {
		again := append(x.effects, Apply(x.d, r)...)
		x.d.Commit()
		w.sameEffects(effects, again)
		w.same("live and restarted after a command", dump(w.d, false), dump(x.d, false))
	}
	w.restarted = nil
	if w.check {
		w.consistent()
		again := w.restored()
		w.sameEffects(nil, again.effects)
		w.same("live and restored", dump(w.d, false), dump(again.d, false))
	}
	return effects
}

// tick lets the next record decide what commands came to.
func (w *world) tick() {
	w.t.Helper()
	at := w.d.now
	for _, c := range w.rows.commands {
		at = max(at, micros(c.At))
	}
	w.take(Record{At: moment(at)})
}

// backed checks that what an effect is about has its row in the same batch.
func (w *world) backed(effects []Effect, writes Writes) {
	w.t.Helper()
	for _, e := range effects {
		i := slices.ContainsFunc(writes.Incidents, func(i tocsin.Incident) bool { return i.ID == e.Incident })
		m := slices.ContainsFunc(writes.Majors, func(m tocsin.Major) bool { return m.ID == e.Major })
		if e.Incident != 0 && !i || e.Incident == 0 && e.Major != 0 && !m {
			w.t.Fatalf("%s of incident %d, major %d: its row is not in the batch", e.Kind, e.Incident, e.Major)
		}
	}
}

func (w *world) same(what, a, b string) {
	w.t.Helper()
	if a != b {
		w.t.Fatalf("%s: not the same\n%s", what, cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")))
	}
}

func (w *world) sameEffects(a, b []Effect) {
	w.t.Helper()
	if !slices.Equal(a, b) {
		w.t.Fatalf("told %s\nand %s\n%s", told(a), told(b), cmp.Diff(a, b))
	}
}

func (w *world) flush() {
	maps.Copy(w.rows.touches, w.d.Touches())
	w.rows.touchOff, w.rows.offset, w.rows.seenAt = w.d.offset, w.d.offset, moment(w.d.now)
	w.d.FlushTouches()
}

// command commits a command in the rows, as its own transaction does; the domain is told, or finds out at its next commit.
func (w *world) command(at time.Time, kind, by string, incident, majorID int64, told bool) error {
	w.t.Helper()
	c := tocsin.Change{AfterOffset: w.rows.offset, At: at, Actor: by, Kind: kind, Incident: incident, Major: majorID}
	if incident != 0 {
		i := w.rows.incidents[incident]
		c.Data, _ = json.Marshal(map[string]any{"before": i})
		err := Command(&i, kind, by, at)
		if err != nil {
			return err
		}
		w.rows.incidents[incident] = i
	} else {
		m := w.rows.majors[majorID]
		var members []*tocsin.Incident
		if kind == tocsin.DoConfirm {
			for _, id := range m.Incidents {
				members = append(members, new(w.rows.incidents[id]))
			}
		}
		err := Decide(&m, members, kind, by, at)
		if err != nil {
			return err
		}
		for _, i := range members {
			w.rows.incidents[i.ID] = *i
		}
		w.rows.majors[majorID] = m
	}
	w.t.Logf("command at %s after offset %d: %s of incident %d, major %d by %s, told %v", at.Sub(start), c.AfterOffset, kind, incident, majorID, by, told)
	w.seq++
	c.Seq = w.seq
	w.rows.commands = append(w.rows.commands, c)
	if !told {
		return nil
	}
	for _, c := range w.rows.commands[w.absorbed:] {
		w.d.Absorb(c)
	}
	w.d.Commit()
	w.absorbed = len(w.rows.commands)
	if w.check {
		w.consistent()
		w.restarted = new(w.restored()) // an earlier one would have written what it had decided, and this command come after
	}
	return nil
}

// restore builds the domain that the rows and the journal since the last touches say.
func (w *world) restore() *Domain {
	d := Restore(0, 1, w.rows.snapshot())
	touches := map[int64]Touch{}
	for _, ts := range w.rows.touches {
		for _, t := range ts {
			touches[t.Alert] = t
		}
	}
	for _, a := range w.rows.alerts { // in any order
		if t, ok := touches[a.ID]; ok && t.AsOf > a.AsOf && a.Status == tocsin.Firing {
			a.LastAt, a.EndsAt, a.Count, a.AsOf = t.LastAt, t.EndsAt, t.Count, t.AsOf
		}
		d.AddAlert(&a)
	}
	d.Ready()
	for _, r := range w.journal[w.rows.touchOff:w.rows.offset] {
		d.Retouch(r)
	}
	return d
}

// restored is what a start now leads to, once it has read what was not committed.
func (w *world) restored() restart {
	w.t.Helper()
	x := restart{d: w.restore()}
	for _, r := range w.journal[w.rows.offset:] {
		x.effects = append(x.effects, Apply(x.d, r)...)
		x.d.Commit()
	}
	consistent(w.t, x.d)
	return x
}

// replay applies the journal and the commands anew, each command before the record at its offset.
func (w *world) replay() *Domain {
	d := NewDomain(0, 1)
	rest := w.rows.commands
	absorb := func(offset int64) {
		for len(rest) > 0 && rest[0].AfterOffset <= offset {
			d.Absorb(rest[0])
			rest = rest[1:]
		}
		d.Commit()
	}
	for _, r := range w.journal {
		absorb(r.Offset)
		Apply(d, r)
		d.Commit()
	}
	absorb(1 << 60)
	return d
}

func (w *world) consistent() { w.t.Helper(); consistent(w.t, w.d) }

// consistent recounts everything that is counted.
func consistent(t failer, d *Domain) {
	t.Helper()
	firing, open, early := 0, 0, 0
	byIncident := map[int64][]int64{}
	for k, c := range d.chunks {
		for n, s := range c {
			if s.id>>chunkBits != k || n > 0 && c[n-1].id >= s.id {
				t.Fatalf("chunk %d holds %d after others", k, s.id)
			}
			if s.gone {
				t.Fatalf("alert %d is gone and in its chunk", s.id)
			}
			if s.status == tocsin.Firing {
				firing++
				if s.inc != nil {
					byIncident[s.inc.ID] = append(byIncident[s.inc.ID], s.id)
				} else if g := d.waiting[s.id]; g == nil || !slices.Contains(g.waiting, s) {
					t.Fatalf("alert %d fires, has no incident and does not wait", s.id)
				}
			} else if s.early() {
				early++
			}
			queued(t, &d.ends, s, s.due())
		}
	}
	for fp, s := range d.series {
		if s.fp != fp || s.gone {
			t.Fatalf("alert %d is gone, or another's", s.id)
		}
	}
	want := map[scopeKey]*scope{}
	fresh := func(k scopeKey) *scope {
		if want[k] == nil {
			want[k] = &scope{hosts: map[uint32]int32{}, services: map[uint32]int32{}, incidents: map[int64]int32{}}
		}
		return want[k]
	}
	for _, i := range d.incidents {
		var ids []int64
		var worst [5]int32
		for n, s := range i.firing {
			if s.status != tocsin.Firing || s.inc != i || int(s.at) != n {
				t.Fatalf("alert %d stands among those firing in %d", s.id, i.ID)
			}
			ids = append(ids, s.id)
			worst[s.severity]++
		}
		slices.Sort(ids)
		slices.Sort(byIncident[i.ID])
		if !slices.Equal(ids, byIncident[i.ID]) || len(ids) != i.Open || worst != i.worst {
			t.Fatalf("incident %d: firing %v, should be %v, open %d, worst %v, should be %v", i.ID, ids, byIncident[i.ID], i.Open, i.worst, worst)
		}
		if i.State.Open() {
			open++
		} else if i.counted != 0 {
			t.Fatalf("incident %d is closed and counts", i.ID)
		}
		for n, m := range d.rules.majors {
			counts := i.State.Open() && d.now <= i.NewestAt.Add(m.Window).UnixMicro()
			if counts != (i.counted&(1<<n) != 0) && len(d.marked) == 0 {
				t.Fatalf("incident %d counts under %s: %v, should be %v", i.ID, m.Name, !counts, counts)
			}
			if i.counted&(1<<n) == 0 {
				continue
			}
			for _, s := range i.firing {
				ls := d.syms.labels(s.labels)
				var values []string
				for _, l := range m.Scope {
					values = append(values, ls.Get(l))
				}
				if slices.Contains(values, "") || !matches(m.matchers, ls) {
					continue
				}
				sc := fresh(scopeKey{n, strings.Join(values, "\xff") + "\xff"})
				bump(sc.hosts, s.host, 1)
				bump(sc.services, s.service, 1)
				bump(sc.incidents, i.ID, 1)
			}
		}
		covers := int32(0)
		for _, m := range d.majors {
			if m.State.Open() && slices.Contains(m.Incidents, i.ID) {
				covers++
			}
		}
		if covers != i.covers {
			t.Fatalf("incident %d is in %d majors, counted %d", i.ID, covers, i.covers)
		}
		queued(t, &d.looks, looked(i), i.due(d))
	}
	for k, sc := range d.scopes {
		w := fresh(k)
		if !maps.Equal(w.hosts, sc.hosts) || !maps.Equal(w.services, sc.services) || !maps.Equal(w.incidents, sc.incidents) {
			t.Fatalf("scope %v counts %v %v %v, should %v %v %v", k, sc.hosts, sc.services, sc.incidents, w.hosts, w.services, w.incidents)
		}
		if !sc.marked {
			queued(t, &d.looks, looked(sc), sc.due(d))
		}
	}
	if len(want) > len(d.scopes) {
		t.Fatalf("%d scopes, should be %d", len(d.scopes), len(want))
	}
	for _, m := range d.majors {
		queued(t, &d.looks, looked(m), m.due(d))
	}
	if firing != d.firing || open != d.open || early != d.early {
		t.Fatalf("%d firing, %d open, %d early; counted %d, %d, %d", firing, open, early, d.firing, d.open, d.early)
	}
}

func queued[T spotted[T]](t failer, q *queue[T], x T, due int64) {
	t.Helper()
	at := int(*x.spot()) - 1
	if due != 0 && (at < 0 || q.slots[at].due > due) {
		t.Fatalf("%v is due at %d and not looked at then", x, due)
	}
	if at >= len(q.slots) {
		t.Fatalf("%v stands at %d of %d", x, at, len(q.slots))
	}
}

// dump writes all that decisions are made of; with volatile, what a rollback must bring back too.
func dump(d *Domain, volatile bool) string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	text := func(m map[uint32]int32) map[string]int32 {
		out := map[string]int32{}
		for k, n := range m {
			out[d.syms.text[k]] = n
		}
		return out
	}
	for _, c := range d.chunks {
		for _, s := range c {
			inc, group := s.incident(), groupKey{}
			if g := d.waiting[s.id]; g != nil {
				group = g.key
			}
			say("alert %03d %s inc %d waits %q %s content %x starts %d first %d last %d ends %d count %d asof %d host %q service %q %s %s newest %v due %d", s.id,
				s.fp, inc, group, d.syms.labels(s.labels), s.content, s.startsAt, s.firstAt, s.lastAt, s.endsAt, s.count, s.asOf,
				d.syms.text[s.host], d.syms.text[s.service], s.status, s.severity, d.series[s.fp] == s, s.due())
		}
	}
	for _, i := range d.incidents {
		var ids []int64
		for _, s := range i.firing {
			ids = append(ids, s.id)
		}
		slices.Sort(ids)
		if !i.State.Open() && i.forgetAt() <= d.now {
			continue // whenever a record comes
		}
		say("incident %03d %+v rule %q group %q firing %v worst %v counted %b covers %d lasting %v current %v due %d", i.ID,
			i.Incident, i.rule.path, i.grp.key, ids, i.worst, i.counted, i.covers, i.lasting, i.grp.current() == i, i.due(d))
	}
	for k, g := range d.groups {
		var ids []int64
		for _, s := range g.waiting {
			ids = append(ids, s.id)
		}
		current := int64(0)
		if i := g.current(); i != nil {
			current = i.ID
		}
		say("group %q current %d waiting %v hosts %v services %v", k, current, ids, text(g.hosts), text(g.services))
	}
	for _, m := range d.majors {
		scope := ""
		if m.scope != nil {
			scope = fmt.Sprint(m.scope.key)
		}
		say("major %03d %+v scope %q due %d", m.ID, m.Major, scope, m.due(d))
	}
	for k, sc := range d.scopes {
		if !volatile && len(sc.incidents) == 0 && sc.major == nil && sc.overSince == 0 && sc.restUntil <= d.now {
			continue // whenever a record comes
		}
		id := int64(0)
		if sc.major != nil {
			id = sc.major.ID
		}
		say("scope %v rule %s %s hosts %v services %v incidents %v major %d over %d rest %d %+v due %d", k, sc.rule.Name, sc.labels, text(sc.hosts),
			text(sc.services), sc.incidents, id, sc.overSince, sc.restUntil, sc.restLevel, sc.due(d))
		if volatile {
			say("scope %v marked %v stale %v", k, sc.marked, sc.stale)
		}
	}
	for code, at := range d.codes.used {
		if at == 0 || d.now-at < CodeRest.Microseconds() {
			say("code %d rests %d", code, at)
		}
	}
	for s, id := range d.syms.ids {
		if s != "" {
			say("symbol %q held %d", s, d.syms.refs[id])
		}
	}
	say("clock now %d offset %d next %+v firing %d open %d early %d rules %s", d.now, d.offset, d.next, d.firing, d.open, d.early, d.rules.hash)
	if volatile {
		var ids []int64
		for _, s := range d.touched {
			ids = append(ids, s.id)
		}
		say("volatile pending %d marked %d decided %v held %v touched %v ends %d", d.pending, len(d.marked), d.decided, d.held, ids, len(d.emptied))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// came writes what is in a record.
func came(r Record) string {
	var out []string
	for _, e := range r.Events {
		x := fmt.Sprintf("%s %s %s %s", e.Key, e.Status, e.Severity, e.Labels)
		if !e.StartsAt.IsZero() {
			x += " since " + r.At.Sub(e.StartsAt).String()
		}
		if !e.EndsAt.IsZero() {
			x += " until " + e.EndsAt.Sub(r.At).String()
		}
		out = append(out, x)
	}
	if r.Rules != nil {
		out = append(out, "rules")
	}
	return strings.Join(out, "; ")
}

// told writes effects as kind and subject.
func told(effects []Effect) string {
	var out []string
	for _, e := range effects {
		switch {
		case e.Major != 0 && e.Incident != 0:
			out = append(out, fmt.Sprintf("%s i%d m%d", e.Kind, e.Incident, e.Major))
		case e.Major != 0:
			out = append(out, fmt.Sprintf("%s m%d", e.Kind, e.Major))
		default:
			out = append(out, fmt.Sprintf("%s i%d", e.Kind, e.Incident))
		}
	}
	return strings.Join(out, ", ")
}

// event reads "NAME fires|ends|is-acked [SEVERITY] label=value ... [until=LENGTH] [since=LENGTH]"; its key is the name.
func event(t *testing.T, at time.Time, line string) tocsin.Event {
	t.Helper()
	words := strings.Fields(line)
	e := tocsin.Event{Source: "prom", Key: words[0], Severity: tocsin.Critical, Summary: words[0] + " is bad"}
	e.Fingerprint = tocsin.FingerprintOf(e.Source, e.Key)
	switch words[1] {
	case "fires":
		e.Status = tocsin.Firing
	case "ends":
		e.Status = tocsin.Resolved
	case "is-acked":
		e.Status = tocsin.Acknowledged
	default:
		t.Fatalf("event %q", line)
	}
	ls := map[string]string{}
	for _, w := range words[2:] {
		k, v, labelled := strings.Cut(w, "=")
		length, _ := time.ParseDuration(v)
		switch {
		case !labelled:
			sev, ok := tocsin.ParseSeverity(w)
			if !ok {
				t.Fatalf("severity %q", w)
			}
			e.Severity = sev
		case k == "until":
			e.EndsAt = at.Add(length)
		case k == "since":
			e.StartsAt = at.Add(-length)
		default:
			ls[k] = v
		}
	}
	e.Labels = tocsin.NewLabels(ls)
	return e
}

// run plays a story: each line a time since start, "|", what comes (events joined by ";", "tick", a command "ack 1 by one"),
// "|", and the effects that are wanted.
func (w *world) run(t *testing.T, story string) {
	t.Helper()
	for line := range strings.Lines(story) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		parts := strings.Split(line, "|")
		if len(parts) != 3 {
			t.Fatalf("line %q", line)
		}
		length, err := time.ParseDuration(strings.TrimSpace(parts[0]))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		at, what, want := start.Add(length), strings.TrimSpace(parts[1]), strings.TrimSpace(parts[2])
		var got string
		var id int64
		var do, by string
		if n, _ := fmt.Sscanf(what, "do-%s %d by %s", &do, &id, &by); n == 3 {
			incident, m := id, int64(0)
			switch "do-" + do {
			case tocsin.DoConfirm, tocsin.DoReject, tocsin.DoExpire, tocsin.DoLooking, tocsin.DoPassOn, tocsin.DoResolveMajor:
				incident, m = 0, id
			}
			err := w.command(at, "do-"+do, by, incident, m, true)
			if err != nil {
				got = err.Error()
			}
		} else {
			r := Record{At: at}
			if what != "tick" {
				for e := range strings.SplitSeq(what, ";") {
					r.Events = append(r.Events, event(t, at, e))
				}
			}
			got = told(w.take(r))
		}
		if got != want {
			t.Errorf("at %s %s:\n got %s\nwant %s", parts[0], what, got, want)
		}
	}
}
