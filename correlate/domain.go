package correlate

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"tocsin"
)

// A Domain is the state of correlation of one partition, in memory: a cache of what the database owns. It remembers how to
// undo what was applied since the last Commit.
type Domain struct {
	partition, partitions int
	rules                 *Rules
	now                   int64 // microseconds: highest receive time applied
	offset                int64 // of the record being applied, plus one
	next                  Counters
	series                map[tocsin.Fingerprint]*series
	incidents             map[int64]*incident
	groups                map[groupKey]*group
	majors                map[int64]*major
	scopes                map[scopeKey]*scope
	syms                  symbols
	codes                 codes
	due                   dueHeap
	firing                int
	open                  int

	log     []undo // newest last
	batch   uint32 // entities saved in this batch carry it
	out     []Effect
	changed changed
	marked  []*scope
	chunks  map[int64][]*series
	emptied []int64   // chunks that lost their last alert since the last flush of touches
	touched []*series // repeated since the last flush of touches
}

// series is one alert in memory, without what only people read.
type series struct {
	id       int64
	fp       tocsin.Fingerprint
	inc      *incident // nil while it waits in its group
	grp      *group
	labels   string // packed; after enrichment
	content  uint64 // hash of the labels and severity as sent: what tells a plain repeat
	startsAt int64  // microseconds, all of them
	firstAt  int64
	lastAt   int64
	endsAt   int64 // firing: resolves by itself then; resolved: ended then; 0: never
	count    int64
	asOf     int64
	host     uint32
	service  uint32
	batch    uint32
	status   tocsin.Status
	severity tocsin.Severity
	touched  bool
	dirty    bool
}

type incident struct {
	tocsin.Incident
	rule      *rule
	grp       *group
	members   []*series
	worst     [5]int32 // firing alerts by severity
	counted   uint64   // a bit for each major rule in whose scopes its alerts count now
	candidate int64    // the open major or candidate that covers it; 0: none
	batch     uint32
	dirty     bool
}

type groupKey struct{ rule, key string }

type group struct {
	key     groupKey
	current *incident // the newest; nil before the first
	waiting []*series // until open_when holds
	batch   uint32
}

type major struct {
	tocsin.Major
	batch uint32
	dirty bool
}

// changed collects what must be written at the next commit, each thing once, in the order of first change.
type changed struct {
	series    []*series
	full      map[*series]*tocsin.Alert // new or wholly rewritten rows, with what memory does not keep
	incidents []*incident
	majors    []*major
	forgotten []*series
}

// undo is one step back: a function, or, on the hot path, the touched fields of a series.
type undo struct {
	fn                          func()
	s                           *series
	lastAt, endsAt, count, asOf int64
	touched                     bool
}

// NewDomain returns the empty state of one of so many partitions, with no rules: every alert is an incident of its own.
func NewDomain(partition, partitions int) *Domain {
	none, _ := RuleSet{}.Compile()
	return &Domain{
		partition: partition, partitions: max(partitions, 1), rules: none, batch: 1,
		series: map[tocsin.Fingerprint]*series{}, incidents: map[int64]*incident{}, groups: map[groupKey]*group{},
		majors: map[int64]*major{}, scopes: map[scopeKey]*scope{},
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
	for len(d.due) > 0 {
		e := d.due[0]
		s, ok := e.obj.(*series)
		if !ok || s.dueEnds() == e.due {
			return moment(e.due)
		}
		heap.Pop(&d.due) // it was repeated since: look again when it would end now
		d.push(s.dueEnds(), e.kind, e.id, s)
	}
	return time.Time{}
}

// number makes an id that is unique among all partitions of a counter that is unique in this one.
func (d *Domain) number(counter *int64) int64 {
	*counter++
	return (*counter-1)*int64(d.partitions) + int64(d.partition) + 1
}

func (d *Domain) undo(fn func()) { d.log = append(d.log, undo{fn: fn}) }

// Commit makes everything applied since the last Commit or Rollback final.
func (d *Domain) Commit() {
	for _, s := range d.changed.forgotten {
		if s.id != 0 {
			d.dropChunk(s)
		}
		d.syms.release(s.labels)
		d.syms.drop(s.host)
		d.syms.drop(s.service)
	}
	d.endBatch()
}

// Rollback undoes everything applied since the last Commit or Rollback.
func (d *Domain) Rollback() {
	for i := len(d.log) - 1; i >= 0; i-- {
		u := &d.log[i]
		if u.fn != nil {
			u.fn()
			continue
		}
		u.s.lastAt, u.s.endsAt, u.s.count, u.s.asOf, u.s.touched = u.lastAt, u.endsAt, u.count, u.asOf, u.touched
		if !u.touched {
			d.touched = d.touched[:len(d.touched)-1]
		}
	}
	d.endBatch()
}

func (d *Domain) endBatch() {
	for _, s := range d.changed.series {
		s.dirty = false
	}
	for _, i := range d.changed.incidents {
		i.dirty = false
	}
	for _, m := range d.changed.majors {
		m.dirty = false
	}
	clear(d.log)
	d.log = d.log[:0]
	d.out = nil
	d.changed = changed{}
	d.batch++
}

// saveSeries marks s as changed; its present value comes back at a rollback.
func (d *Domain) saveSeries(s *series) {
	if s.batch != d.batch {
		old := *s
		s.batch = d.batch
		d.undo(func() { touched := s.touched; *s = old; s.touched = touched })
	}
	if !s.dirty {
		s.dirty = true
		d.changed.series = append(d.changed.series, s)
	}
}

func (d *Domain) saveIncident(i *incident) {
	if i.batch != d.batch {
		old := *i
		i.batch = d.batch
		d.undo(func() { *i = old })
	}
	if !i.dirty {
		i.dirty = true
		d.changed.incidents = append(d.changed.incidents, i)
	}
}

func (d *Domain) saveMajor(m *major) {
	if m.batch != d.batch {
		old := *m
		old.Incidents = slices.Clone(m.Incidents)
		m.batch = d.batch
		d.undo(func() { *m = old })
	}
	if !m.dirty {
		m.dirty = true
		d.changed.majors = append(d.changed.majors, m)
	}
}

func (d *Domain) saveGroup(g *group) {
	if g.batch != d.batch {
		old := *g
		old.waiting = slices.Clone(g.waiting)
		g.batch = d.batch
		d.undo(func() { *g = old })
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

// touch counts a repeat. It writes no row: touches are saved packed, now and then.
func (d *Domain) touch(s *series, at, ends int64) {
	d.log = append(d.log, undo{s: s, lastAt: s.lastAt, endsAt: s.endsAt, count: s.count, asOf: s.asOf, touched: s.touched})
	if !s.touched {
		s.touched = true
		d.touched = append(d.touched, s)
	}
	if ends != 0 && (s.endsAt == 0 || ends < s.endsAt) {
		d.push(ends, dueEnds, s.id, s)
	}
	s.lastAt, s.endsAt, s.asOf = at, ends, d.offset
	s.count++
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
