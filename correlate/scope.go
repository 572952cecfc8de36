package correlate

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// maxMajorRules is how many major rules a rule set may have: an incident keeps one bit for each.
const maxMajorRules = 64

// scopeKey is one value of one major rule's scope.
type scopeKey struct {
	rule  int
	value string
}

func (k scopeKey) compare(o scopeKey) int {
	return cmp.Or(cmp.Compare(k.rule, o.rule), cmp.Compare(k.value, o.value))
}

// A scope counts what the open incidents of one scope, within the rule's window, are made of.
type scope struct {
	key       scopeKey
	rule      *majorRule
	labels    tocsin.Labels
	hosts     map[uint32]int32 // firing alerts by host
	services  map[uint32]int32
	incidents map[int64]int32
	major     *major // open for this scope; nil: none
	stale     bool   // major may not list all incidents
	overSince int64  // microseconds; since when it has been over its limit, where hold is asked; 0: it is not
	heldOut   bool   // it has been for long enough
	restUntil int64  // not proposed again before this, unless it grew over restLevel
	restLevel tocsin.Measures
	marked    bool // to be weighed
	pos       int32
}

// Held is a scope that is over the limit of a rule with hold, but not yet for long enough.
type Held struct {
	Rule  string        `json:"rule"`
	Scope tocsin.Labels `json:"scope"`
	Since time.Time     `json:"since"`
}

// scopeFor returns the scope of major rule n that an alert with labels ls counts in; nil: it has none there.
func (d *Domain) scopeFor(n int, ls tocsin.Labels) *scope {
	m := d.rules.majors[n]
	if !matches(m.matchers, ls) {
		return nil
	}
	return d.scopeOf(n, ls)
}

// scopeOf returns the scope of major rule n that has the values that ls has; nil where a label is missing.
func (d *Domain) scopeOf(n int, ls tocsin.Labels) *scope {
	m := d.rules.majors[n]
	var b strings.Builder
	for _, name := range m.Scope {
		v := ls.Get(name)
		if v == "" {
			return nil
		}
		b.WriteString(v)
		b.WriteByte(0xff)
	}
	k := scopeKey{n, b.String()}
	sc := d.scopes[k]
	if sc == nil {
		sc = &scope{key: k, rule: m, hosts: map[uint32]int32{}, services: map[uint32]int32{}, incidents: map[int64]int32{}}
		for _, name := range m.Scope {
			sc.labels = append(sc.labels, tocsin.Label{Name: name, Value: ls.Get(name)})
		}
		slices.SortFunc(sc.labels, func(a, b tocsin.Label) int { return cmp.Compare(a.Name, b.Name) })
		d.scopes[k] = sc
		d.undo(func() { delete(d.scopes, k); d.looks.set(sc, 0) })
	}
	return sc
}

// enter lets i count under each major rule whose window its newest alert is in: all its firing alerts come in.
func (d *Domain) enter(i *incident) {
	if !i.State.Open() {
		return
	}
	entered := uint64(0)
	for n, m := range d.rules.majors {
		if i.counted&(1<<n) == 0 && d.now <= i.NewestAt.Add(m.Window).UnixMicro() {
			entered |= 1 << n
		}
	}
	if entered == 0 {
		return
	}
	d.keepIncident(i)
	i.counted |= entered
	for _, s := range i.firing {
		d.count(i, s, entered, 1)
	}
}

// leave lets i count no longer under the major rules of the bits of which.
func (d *Domain) leave(i *incident, which uint64) {
	which &= i.counted
	if which == 0 {
		return
	}
	d.keepIncident(i)
	for _, s := range i.firing {
		d.count(i, s, which, -1)
	}
	i.counted &^= which
}

// count adds a firing alert of i to its scopes under the major rules of the bits of which, or takes it out.
func (d *Domain) count(i *incident, s *series, which uint64, by int32) {
	if which == 0 {
		return
	}
	ls := d.syms.labels(s.labels)
	for n := range d.rules.majors {
		if which&(1<<n) == 0 {
			continue
		}
		sc := d.scopeFor(n, ls)
		if sc == nil {
			continue
		}
		host, service := s.host, s.service
		sc.bump(host, service, i.ID, by)
		if !d.rebuilding { // then the whole scope goes at a rollback
			d.undo(func() { sc.bump(host, service, i.ID, -by) })
		}
		if by > 0 && sc.major != nil {
			d.covers(sc, i)
		}
		d.mark(sc)
	}
}

func (sc *scope) bump(host, service uint32, incident int64, by int32) {
	bump(sc.hosts, host, by)
	bump(sc.services, service, by)
	bump(sc.incidents, incident, by)
}

func bump[K comparable](m map[K]int32, k K, n int32) {
	var none K
	if k == none {
		return
	}
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}

// covers lets the open major of sc list i; while a command is taken in, the next record does.
func (d *Domain) covers(sc *scope, i *incident) {
	if d.absorbing {
		d.setStale(sc, true)
		return
	}
	d.cover(sc.major, i)
}

func (d *Domain) setStale(sc *scope, stale bool) {
	if was := sc.stale; was != stale {
		sc.stale = stale
		d.undo(func() { sc.stale = was })
	}
}

func (d *Domain) mark(sc *scope) {
	if !sc.marked {
		sc.marked = true
		d.marked = append(d.marked, sc)
	}
}

// markAll marks every scope: what covered them may have gone.
func (d *Domain) markAll() {
	for _, sc := range d.scopes {
		d.mark(sc)
		if sc.major != nil {
			d.setStale(sc, true)
		}
	}
}

// ageDue is when the newest alert of i leaves the next window of a major rule that i counts under; 0: it counts under none.
func (d *Domain) ageDue(i *incident) int64 {
	var due int64
	for n, m := range d.rules.majors {
		if i.counted&(1<<n) == 0 {
			continue
		}
		due = sooner(due, i.NewestAt.Add(m.Window).UnixMicro()+1)
	}
	return due
}

// age lets i leave the windows that its newest alert has left.
func (d *Domain) age(i *incident) {
	var which uint64
	for n, m := range d.rules.majors {
		if i.NewestAt.Add(m.Window).UnixMicro() < d.now {
			which |= 1 << n
		}
	}
	d.leave(i, which)
}

// rebuildScopes counts everything anew, under the rules now in force. Open majors go on where their rule still exists.
func (d *Domain) rebuildScopes() {
	old, marked := d.scopes, d.marked
	for _, sc := range old {
		d.looks.set(sc, 0)
		d.held = d.held || sc.overSince != 0 // that it was is not to be found again by a start
	}
	for _, sc := range marked {
		sc.marked = false
	}
	d.scopes, d.marked = map[scopeKey]*scope{}, nil
	d.undo(func() { d.scopes = old })
	d.rebuilding = true
	for _, id := range sorted(d.incidents) {
		i := d.incidents[id]
		if i.counted != 0 {
			d.keepIncident(i)
			i.counted = 0
		}
		d.enter(i)
	}
	d.rebuilding = false
	for _, id := range sorted(d.majors) {
		d.link(d.majors[id])
	}
	d.markAll()
}

// link finds the scope of m among those of the rules in force.
func (d *Domain) link(m *major) {
	was := m.scope
	m.scope = nil
	d.undo(func() { m.scope = was })
	n := slices.IndexFunc(d.rules.majors, func(r *majorRule) bool { return r.Name == m.Rule })
	if n < 0 || len(m.Scope) != len(d.rules.majors[n].Scope) {
		return
	}
	sc := d.scopeOf(n, m.Scope)
	if sc == nil {
		return
	}
	m.scope = sc
	if m.State.Open() {
		sc.major = m // sc is new: it goes at a rollback
		return
	}
	if until := m.restUntil(); until > d.now {
		sc.restUntil, sc.restLevel = until, m.Peak
	}
}

// due is when the outcome of weighing sc changes by itself.
func (sc *scope) due(d *Domain) int64 {
	if d.scopes[sc.key] != sc {
		return 0
	}
	due := sc.restUntil
	if sc.overSince != 0 && !sc.heldOut {
		due = sooner(due, sc.overSince+sc.rule.Hold.Microseconds())
	}
	return due
}

// sooner returns the earlier of two times, of which 0 is never.
func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (sc *scope) fire(d *Domain) { d.mark(sc) }

// held returns the scopes that are over their limit but not for long enough, in order.
func (d *Domain) heldNow() []Held {
	var out []Held
	for _, k := range d.scopeKeys() {
		if sc := d.scopes[k]; sc.overSince != 0 {
			out = append(out, Held{sc.rule.Name, sc.labels, moment(sc.overSince)})
		}
	}
	return out
}

// scopeKeys returns the keys of all scopes in order.
func (d *Domain) scopeKeys() []scopeKey {
	keys := make([]scopeKey, 0, len(d.scopes))
	for k := range d.scopes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, scopeKey.compare)
	return keys
}
