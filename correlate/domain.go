package correlate

import (
	"cmp"
	"slices"
	"time"

	"tocsin"
)

// A Domain is the state of correlation of one partition, in memory: a cache of what the database owns. It remembers how to
// undo what was applied since the last Commit.
type Domain struct {
	partition, partitions int
	rules                 *Rules
	clock
	series     map[tocsin.Fingerprint]*series
	incidents  map[int64]*incident
	groups     map[groupKey]*group
	waiting    map[int64]*group // of the alerts that wait for open_when, by id
	majors     map[int64]*major
	scopes     map[scopeKey]*scope
	syms       symbols
	codes      codes
	ends       queue[*series] // when alerts end by themselves, and when those that ended are forgotten
	looks      queue[looked]
	chunks     map[int64][]*series // by id, for touches
	emptied    []int64             // chunks that lost their last alert since the last flush of touches
	touched    []*series           // repeated since the last flush of touches
	absorbing  bool                // a command is taken in: nothing is decided before the next record
	rebuilding bool                // scopes are counted anew
	batch      uint32              // what was saved since the last Seal, Commit or Rollback carries its number

	layer  // since the last Seal, Commit or Rollback
	out    []Effect
	sealed *layer // what was applied before that, and is not final yet; nil: nothing is
	spare  layer  // room
}

// layer is how to undo what was applied, and what of it must be written.
type layer struct {
	log      []undo // newest last
	before   *clock
	saved    []looked // whose timers a rollback must set again
	rearmAll bool     // rules changed: all of them
	changed  changed
}

// clock is what each batch moves on.
type clock struct {
	now     int64 // microseconds: highest receive time applied
	offset  int64 // of the record being applied, plus one
	next    Counters
	firing  int
	open    int
	early   int      // ends kept that came before their alerts fired
	pending int64    // microseconds: the newest command whose scopes are to be weighed at the next record; 0: none
	marked  []*scope // to be weighed
	decided bool     // something was looked at that a command may change, though nothing came of it
	held    bool     // Held changed
}

// series is one alert in memory, without what only people read. Its size is that of an allocation class, 128 bytes.
type series struct {
	id       int64
	fp       tocsin.Fingerprint
	inc      *incident // nil while it waits in its group, when it ended there, and for an end that came early
	labels   string    // packed; after enrichment
	content  uint64    // hash of the labels and severity as sent: what tells a plain repeat
	startsAt int64     // microseconds, all of them
	firstAt  int64
	lastAt   int64
	endsAt   int64 // firing: resolves by itself then; resolved: ended then; 0: never
	asOf     int64
	count    uint32
	host     uint32
	service  uint32
	batch    uint32
	dirty    int32 // place in changed.series, from one; 0: not there
	pos      int32 // place in the queue of ends, from one
	at       int32 // place among the firing alerts of inc; or isEarly
	status   tocsin.Status
	severity tocsin.Severity
	touched  bool
	gone     bool // from memory, or never there
}

type incident struct {
	tocsin.Incident
	rule    *rule
	grp     *group
	firing  []*series // in no order
	worst   [5]int32  // firing alerts by severity
	counted uint64    // a bit for each major rule in whose scopes its alerts count now
	covers  int32     // how many open majors and candidates list it
	lasting bool      // it has recovered, and that has lasted
	batch   uint32
	dirty   bool
	pos     int32
}

type groupKey struct{ rule, key string }

type group struct {
	key      groupKey
	episodes []*incident // those remembered, by their ids
	waiting  []*series   // until open_when holds; oldest first
	hosts    map[uint32]int32
	services map[uint32]int32 // of those that wait
}

type major struct {
	tocsin.Major
	scope *scope // nil where its rule is gone
	batch uint32
	dirty bool
	pos   int32
}

// changed collects what must be written at the next commit, each thing once, in the order of first change.
type changed struct {
	series    []rewrite
	incidents []*incident
	majors    []*major
	forgotten []*series
}

// rewrite is the row of one alert.
type rewrite struct {
	s      *series
	full   *tocsin.Alert // a new or wholly rewritten row, with what memory does not keep; nil: a Move is enough
	key    groupKey      // of a Move, where it has no incident to say so
	joined string        // what is new about why it is where it is
}

// undo is one step back: a function, or, on the hot path, the touched fields of a series.
type undo struct {
	fn                   func()
	s                    *series
	lastAt, endsAt, asOf int64
	count                uint32
	touched              bool
}

// NewDomain returns the empty state of one of so many partitions, with no rules: every alert is an incident of its own.
func NewDomain(partition, partitions int) *Domain {
	none, _ := RuleSet{}.Compile() // it has nothing in it that could be wrong
	return &Domain{
		partition: partition, partitions: max(partitions, 1), rules: none, batch: 1,
		series: map[tocsin.Fingerprint]*series{}, incidents: map[int64]*incident{}, groups: map[groupKey]*group{},
		waiting: map[int64]*group{}, majors: map[int64]*major{}, scopes: map[scopeKey]*scope{}, chunks: map[int64][]*series{},
		syms: newSymbols(), codes: newCodes(partition, partitions),
	}
}

// Firing returns how many alerts fire now.
func (d *Domain) Firing() int { return d.firing }

// OpenIncidents returns how many incidents are open now.
func (d *Domain) OpenIncidents() int { return d.open }

// RulesHash returns the hash of the rules in force.
func (d *Domain) RulesHash() string { return d.rules.hash }

// NextDue returns when Apply should be given a tick at the latest; zero: never.
func (d *Domain) NextDue() time.Time {
	if d.pending != 0 {
		return moment(d.pending)
	}
	looks, x := d.looks.first()
	for looks != 0 && x.due(d) != looks {
		d.looks.put(x.due(d))
		looks, x = d.looks.first()
	}
	ends, s := d.ends.first()
	for ends != 0 && s.due() != ends {
		d.ends.put(s.due())
		ends, s = d.ends.first()
	}
	if looks == 0 || ends != 0 && ends < looks {
		return moment(ends)
	}
	return moment(looks)
}

// number makes an id that is unique among all partitions of a counter that is unique in this one.
func (d *Domain) number(counter *int64) int64 {
	*counter++
	return (*counter-1)*int64(d.partitions) + int64(d.partition) + 1
}

func (d *Domain) undo(fn func()) { d.log = append(d.log, undo{fn: fn}) }

// begin remembers the clock, once a batch.
func (d *Domain) begin() {
	if d.before == nil {
		was := d.clock
		was.marked = slices.Clone(d.marked)
		d.before = &was
	}
}

// Commit makes everything applied since the last Commit or Rollback final.
func (d *Domain) Commit() {
	d.CommitSealed()
	d.finish(&d.layer)
	d.decided, d.held = false, false
	d.endBatch()
}

// Seal sets what was applied since the last Commit or Rollback apart, and more can be applied on top of it: CommitSealed makes it final,
// and a Rollback undoes both. Until then there must be no other Seal. Writes and Effects are those since the Seal.
func (d *Domain) Seal() {
	d.clean(&d.layer)
	sealed := d.layer
	d.layer, d.spare = d.spare, layer{}
	d.sealed = &sealed
	d.decided, d.held, d.out = false, false, nil
	d.nextBatch()
}

// CommitSealed makes final what was sealed; where nothing was, it does nothing.
func (d *Domain) CommitSealed() {
	if d.sealed == nil {
		return
	}
	d.finish(d.sealed)
	d.unseal()
}

// unseal lets the sealed layer go, and keeps its room.
func (d *Domain) unseal() {
	d.spare = d.sealed.emptied()
	d.sealed = nil
}

// finish forgets what l has taken out of memory.
func (d *Domain) finish(l *layer) {
	for _, s := range l.changed.forgotten {
		if s.id != 0 {
			d.dropChunk(s)
		}
		d.syms.release(s.labels)
		d.syms.drop(s.host)
		d.syms.drop(s.service)
	}
}

// Rollback undoes everything applied since the last Commit or CommitSealed, and what is sealed.
func (d *Domain) Rollback() {
	layers := []*layer{&d.layer}
	if d.sealed != nil {
		layers = append(layers, d.sealed)
	}
	var before *clock
	for _, l := range layers {
		d.unwind(l.log)
		if l.before != nil {
			before = l.before
		}
	}
	if before != nil {
		for _, sc := range d.marked {
			sc.marked = false
		}
		d.clock = *before
		for _, sc := range d.marked {
			sc.marked = true
		}
	}
	for _, l := range layers {
		for _, c := range l.changed.series {
			d.ends.set(c.s, c.s.due())
		}
		for _, x := range l.saved {
			d.arm(x)
		}
		if l.rearmAll {
			d.armAll()
		}
	}
	if d.sealed != nil {
		d.unseal()
	}
	d.absorbing, d.rebuilding = false, false // a panic may have left them
	d.endBatch()
}

// unwind takes the steps of log back, the newest first.
func (d *Domain) unwind(log []undo) {
	for i := len(log) - 1; i >= 0; i-- {
		u := &log[i]
		if u.fn != nil {
			u.fn()
			continue
		}
		u.s.lastAt, u.s.endsAt, u.s.asOf, u.s.count = u.lastAt, u.endsAt, u.asOf, u.count
		if !u.touched {
			u.s.touched = false
			d.touched = d.touched[:len(d.touched)-1]
		}
		d.ends.set(u.s, u.s.due())
	}
}

func (d *Domain) endBatch() {
	d.clean(&d.layer)
	d.layer, d.out = d.layer.emptied(), nil
	d.nextBatch()
}

// clean lets what changed in l be noted again.
func (d *Domain) clean(l *layer) {
	for _, c := range l.changed.series {
		c.s.dirty = 0
	}
	for _, i := range l.changed.incidents {
		i.dirty = false
	}
	for _, m := range l.changed.majors {
		m.dirty = false
	}
}

// emptied returns l's room.
func (l *layer) emptied() layer {
	clear(l.log)
	clear(l.saved)
	clear(l.changed.series)
	room := layer{log: l.log[:0], saved: l.saved[:0], changed: changed{series: l.changed.series[:0]}}
	if cap(room.log) > mostKept {
		room.log = nil
	}
	if cap(room.changed.series) > mostKept {
		room.changed.series = nil
	}
	return room
}

func (d *Domain) nextBatch() {
	d.batch++
	if d.batch == 0 {
		d.renumber()
	}
}

// mostKept is for how many steps of undo, or rows, room is kept from batch to batch.
const mostKept = 1 << 16

// renumber begins the numbers of batches anew.
func (d *Domain) renumber() {
	for _, c := range d.chunks {
		for _, s := range c {
			s.batch = 0
		}
	}
	for _, i := range d.incidents {
		i.batch = 0
	}
	for _, m := range d.majors {
		m.batch = 0
	}
	d.batch = 1
}

// saveSeries marks s as changed; its present value comes back at a rollback.
func (d *Domain) saveSeries(s *series) *rewrite {
	if s.batch != d.batch {
		old := *s
		s.batch = d.batch
		d.undo(func() {
			// What has an undo of its own stays as that left it.
			pos, at, touched, dirty := s.pos, s.at, s.touched, s.dirty
			*s = old
			s.pos, s.at, s.touched, s.dirty = pos, at, touched, dirty
		})
	}
	if s.dirty == 0 {
		d.changed.series = append(d.changed.series, rewrite{s: s})
		s.dirty = int32(len(d.changed.series))
	}
	return &d.changed.series[s.dirty-1]
}

// saveIncident marks i as changed; its present value comes back at a rollback.
func (d *Domain) saveIncident(i *incident) {
	d.keepIncident(i)
	if !i.dirty {
		i.dirty = true
		d.changed.incidents = append(d.changed.incidents, i)
	}
}

// keepIncident lets the present value of i come back at a rollback; what follows changes nothing that stands in its row.
func (d *Domain) keepIncident(i *incident) {
	if i.batch == d.batch {
		return
	}
	old := *i
	i.batch = d.batch
	d.saved = append(d.saved, i)
	d.undo(func() {
		pos, firing, dirty := i.pos, i.firing, i.dirty
		*i = old
		i.pos, i.firing, i.dirty = pos, firing, dirty
	})
}

func (d *Domain) saveMajor(m *major) {
	if m.batch != d.batch {
		old := *m
		old.Incidents = slices.Clone(m.Incidents)
		m.batch = d.batch
		d.saved = append(d.saved, m)
		d.undo(func() {
			pos, dirty := m.pos, m.dirty
			*m = old
			m.pos, m.dirty = pos, dirty
		})
	}
	if !m.dirty {
		m.dirty = true
		d.changed.majors = append(d.changed.majors, m)
	}
}

func (d *Domain) group(k groupKey) *group {
	g := d.groups[k]
	if g == nil {
		g = &group{key: k}
		d.groups[k] = g
		d.undo(func() { delete(d.groups, k) })
	}
	return g
}

// current returns the newest episode; nil where none is remembered.
func (g *group) current() *incident {
	if len(g.episodes) == 0 {
		return nil
	}
	return g.episodes[len(g.episodes)-1]
}

func (g *group) remember(i *incident) {
	at, _ := slices.BinarySearchFunc(g.episodes, i.ID, compareIncident)
	g.episodes = slices.Insert(g.episodes, at, i)
}

func (g *group) forget(i *incident) {
	at, _ := slices.BinarySearchFunc(g.episodes, i.ID, compareIncident)
	g.episodes = slices.Delete(g.episodes, at, at+1)
}

func compareIncident(i *incident, id int64) int { return cmp.Compare(i.ID, id) }

// dropGroup forgets g when nothing is left of it.
func (d *Domain) dropGroup(g *group) {
	if len(g.episodes) == 0 && len(g.waiting) == 0 && d.groups[g.key] == g {
		delete(d.groups, g.key)
		d.undo(func() { d.groups[g.key] = g })
	}
}

// touch counts a repeat. It writes no row: touches are saved packed, now and then.
func (d *Domain) touch(s *series, at, ends int64) {
	d.log = append(d.log, undo{s: s, lastAt: s.lastAt, endsAt: s.endsAt, count: s.count, asOf: s.asOf, touched: s.touched})
	d.repeated(s, at, ends, d.offset)
	s.count++
}

func (d *Domain) repeated(s *series, at, ends, asOf int64) {
	if !s.touched {
		s.touched = true
		d.touched = append(d.touched, s)
	}
	sooner := ends != 0 && (s.endsAt == 0 || ends < s.endsAt)
	s.lastAt, s.endsAt, s.asOf = at, ends, asOf
	if sooner {
		d.ends.set(s, ends)
	}
}

func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// sorted returns the keys of m in order, for decisions must not depend on the order of a map.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
