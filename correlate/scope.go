package correlate

import (
	"cmp"
	"strings"

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
	overSince int64  // microseconds; since when it has been over its limit, for hold; 0: it is not
	restUntil int64  // not proposed again before this, unless ...
	restLevel tocsin.Measures
	marked    bool // to be weighed at the end of the record
}

// scopeFor returns the scope of major rule n that an alert with labels ls counts in; nil: it has none there.
func (d *Domain) scopeFor(n int, ls tocsin.Labels) *scope {
	m := d.rules.majors[n]
	if !matches(m.matchers, ls) {
		return nil
	}
	var b strings.Builder
	scoped := make(tocsin.Labels, 0, len(m.Scope))
	for _, name := range m.Scope {
		v := ls.Get(name)
		if v == "" {
			return nil
		}
		b.WriteString(v)
		b.WriteByte(0xff)
		scoped = append(scoped, tocsin.Label{Name: name, Value: v})
	}
	k := scopeKey{n, b.String()}
	sc := d.scopes[k]
	if sc == nil {
		scoped, _ = scoped.Normalize()
		sc = &scope{key: k, rule: m, labels: scoped, hosts: map[uint32]int32{}, services: map[uint32]int32{}, incidents: map[int64]int32{}}
		d.scopes[k] = sc
		d.undo(func() { delete(d.scopes, k) })
	}
	return sc
}

// enterScopes counts the firing alert s of i in every scope; where i did not count, all its firing alerts come in again.
func (d *Domain) enterScopes(i *incident, s *series) {
	if len(d.rules.majors) == 0 || !i.State.Open() {
		return
	}
	for n := range d.rules.majors {
		if i.counted&(1<<n) != 0 {
			if s != nil {
				d.countIn(n, i, s, 1)
			}
			continue
		}
		i.counted |= 1 << n
		for _, m := range i.members {
			if m.status == tocsin.Firing && m.inc == i {
				d.countIn(n, i, m, 1)
			}
		}
	}
	d.push(d.ageDue(i), dueAge, i.ID, i)
}

// uncount takes an alert of i that fired until now out of every scope that i counts in.
func (d *Domain) uncount(i *incident, s *series) {
	for n := range d.rules.majors {
		if i.counted&(1<<n) != 0 {
			d.countIn(n, i, s, -1)
		}
	}
}

// leaveScope lets i count no longer under major rule n.
func (d *Domain) leaveScope(n int, i *incident) {
	if i.counted&(1<<n) == 0 {
		return
	}
	d.saveIncident(i)
	for _, s := range i.members {
		if s.status == tocsin.Firing && s.inc == i {
			d.countIn(n, i, s, -1)
		}
	}
	i.counted &^= 1 << n
}

func (d *Domain) leaveScopes(i *incident) {
	for n := range d.rules.majors {
		d.leaveScope(n, i)
	}
}

func (d *Domain) countIn(n int, i *incident, s *series, by int32) {
	sc := d.scopeFor(n, d.syms.labels(s.labels))
	if sc == nil {
		return
	}
	host, service := s.host, s.service
	add := func(by int32) {
		bump(sc.hosts, host, by)
		bump(sc.services, service, by)
		bump(sc.incidents, i.ID, by)
	}
	add(by)
	d.undo(func() { add(-by) })
	if by > 0 && sc.major != nil {
		d.cover(sc.major, i)
	}
	if !sc.marked {
		sc.marked = true
		d.marked = append(d.marked, sc)
	}
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

// ageDue is when the newest alert of i leaves the next window of a major rule that i counts under; 0: it counts under none.
func (d *Domain) ageDue(i *incident) int64 {
	var due int64
	for n, m := range d.rules.majors {
		if at := i.NewestAt.Add(m.Window).UnixMicro() + 1; i.counted&(1<<n) != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	return due
}

// age lets i leave the windows that its newest alert has left.
func (d *Domain) age(i *incident) {
	for n, m := range d.rules.majors {
		if i.NewestAt.Add(m.Window).UnixMicro() < d.now {
			d.leaveScope(n, i)
		}
	}
	d.push(d.ageDue(i), dueAge, i.ID, i)
}

// rebuildScopes counts everything anew, under the rules now in force. Open majors go on where their rule still exists.
func (d *Domain) rebuildScopes() {
	old, marked := d.scopes, d.marked
	d.scopes, d.marked = map[scopeKey]*scope{}, nil
	d.undo(func() { d.scopes, d.marked = old, marked })
	for _, id := range sorted(d.incidents) {
		i := d.incidents[id]
		if i.counted != 0 {
			was := i.counted
			d.undo(func() { i.counted = was })
			i.counted = 0
		}
		if i.State.Open() {
			d.recount(i)
		}
	}
	for _, id := range sorted(d.majors) {
		d.link(d.majors[id])
	}
}

// recount lets i count under each major rule whose window its newest alert is in.
func (d *Domain) recount(i *incident) {
	for n, m := range d.rules.majors {
		if i.NewestAt.Add(m.Window).UnixMicro() < d.now {
			continue
		}
		was := i.counted
		d.undo(func() { i.counted = was })
		i.counted |= 1 << n
		for _, s := range i.members {
			if s.status == tocsin.Firing && s.inc == i {
				d.countIn(n, i, s, 1)
			}
		}
	}
}
