package correlate

import "cmp"

// Every timer is derived from the state of the thing that it is about. A queue says only when to look at it: each thing
// stands in it once at most, under a time that is never later than it is due, so that what moves a time further away, as
// each repeat of an alert does, costs nothing.
type queue[T spotted[T]] struct{ slots []slot[T] }

type slot[T any] struct {
	due int64 // microseconds
	x   T
}

// spotted is what a queue can hold: it remembers its place, counted from one, and has a place in line at equal times.
type spotted[T any] interface {
	spot() *int32
	before(T) bool
}

// set sees to it that x is looked at no later than due; 0: not at all.
func (q *queue[T]) set(x T, due int64) {
	at := int(*x.spot()) - 1
	switch {
	case due == 0 && at >= 0:
		q.remove(at)
	case due == 0:
	case at < 0:
		q.slots = append(q.slots, slot[T]{due, x})
		*x.spot() = int32(len(q.slots))
		q.up(len(q.slots) - 1)
	case due < q.slots[at].due:
		q.slots[at].due = due
		q.up(at)
	}
}

// first returns the earliest look; 0: there is none.
func (q *queue[T]) first() (due int64, x T) {
	if len(q.slots) == 0 {
		return 0, x
	}
	return q.slots[0].due, q.slots[0].x
}

// put moves the first look to due; 0 ends it.
func (q *queue[T]) put(due int64) {
	if due == 0 {
		q.remove(0)
		return
	}
	q.slots[0].due = due
	q.down(0)
}

func (q *queue[T]) remove(at int) {
	last := len(q.slots) - 1
	*q.slots[at].x.spot() = 0
	if at != last {
		q.slots[at] = q.slots[last]
		*q.slots[at].x.spot() = int32(at + 1)
	}
	q.slots[last] = slot[T]{}
	q.slots = q.slots[:last]
	if at != last {
		q.up(at)
		q.down(at)
	}
	if cap(q.slots) > 1024 && len(q.slots) < cap(q.slots)/4 {
		q.slots = append(make([]slot[T], 0, 2*len(q.slots)), q.slots...)
	}
}

func (q *queue[T]) less(i, j int) bool {
	a, b := &q.slots[i], &q.slots[j]
	return a.due < b.due || a.due == b.due && a.x.before(b.x)
}

func (q *queue[T]) swap(i, j int) {
	q.slots[i], q.slots[j] = q.slots[j], q.slots[i]
	*q.slots[i].x.spot(), *q.slots[j].x.spot() = int32(i+1), int32(j+1)
}

func (q *queue[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue[T]) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(q.slots); c++ {
			if q.less(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}

// looked is what is rare enough to share one queue: incidents, scopes and majors.
type looked interface {
	spotted[looked]
	rank() (class int, id int64, value string)
	due(*Domain) int64 // microseconds; 0: never
	fire(*Domain)      // due is now
}

func earlier(a, b looked) bool {
	ac, ai, av := a.rank()
	bc, bi, bv := b.rank()
	return cmp.Or(cmp.Compare(ac, bc), cmp.Compare(ai, bi), cmp.Compare(av, bv)) < 0
}

func (s *series) spot() *int32          { return &s.pos }
func (s *series) before(o *series) bool { return s.id < o.id }

func (i *incident) spot() *int32               { return &i.pos }
func (i *incident) before(o looked) bool       { return earlier(i, o) }
func (i *incident) rank() (int, int64, string) { return 1, i.ID, "" }
func (sc *scope) spot() *int32                 { return &sc.pos }
func (sc *scope) before(o looked) bool         { return earlier(sc, o) }
func (sc *scope) rank() (int, int64, string)   { return 2, int64(sc.key.rule), sc.key.value }
func (m *major) spot() *int32                  { return &m.pos }
func (m *major) before(o looked) bool          { return earlier(m, o) }
func (m *major) rank() (int, int64, string)    { return 3, m.ID, "" }

// settle fires what is due at or before to, in due order and each at its own time, so that it makes no difference how often
// anybody looked. Then it is to.
func (d *Domain) settle(to int64) {
	for {
		looks, x := d.looks.first()
		ends, s := d.ends.first()
		switch {
		case looks != 0 && looks <= to && (ends == 0 || looks <= ends):
			due := x.due(d)
			if due != looks {
				d.looks.put(due)
				continue
			}
			d.now, d.decided = max(d.now, due), true
			x.fire(d)
			d.arm(x)
		case ends != 0 && ends <= to:
			due := s.due()
			if due != ends {
				d.ends.put(due)
				continue
			}
			d.now, d.decided = max(d.now, due), true
			d.seriesFires(s)
		default:
			d.now = max(d.now, to)
			return
		}
		d.weigh()
	}
}

// arm sees to it that x is looked at when something of it is due.
func (d *Domain) arm(x looked) { d.looks.set(x, x.due(d)) }
