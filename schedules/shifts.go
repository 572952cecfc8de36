package schedules

import (
	"iter"
	"time"
)

// A Shift is a stretch of time in which the same people of one layer are on call.
type Shift struct {
	People   []string // first to be paged first
	Layer    string
	From, To time.Time // UTC; To is the first instant that is no more in it
}

// A Gap is a stretch of time in which no layer has anybody, whether there is a fallback or not.
type Gap struct {
	From, To time.Time // UTC; To is the first instant that is no more in it
}

// Shifts yields the shifts from one time to another, in order, the first and last cut to that window. Turns of the same person
// that follow on each other in one layer are one shift.
func (r *Rota) Shifts(from, to time.Time) iter.Seq[Shift] {
	return func(yield func(Shift) bool) {
		for p := range r.pieces(from, to) {
			if p.who == nobody {
				continue
			}
			l := &r.layers[p.layer]
			if !yield(Shift{People: l.people[p.who : p.who+1 : p.who+1], Layer: l.name, From: p.from, To: p.to}) {
				return
			}
		}
	}
}

// Gaps yields the stretches from one time to another in which nobody is on call, in order, the first and last cut to that window.
func (r *Rota) Gaps(from, to time.Time) iter.Seq[Gap] {
	return func(yield func(Gap) bool) {
		for p := range r.pieces(from, to) {
			if p.who == nobody && !yield(Gap{From: p.from, To: p.to}) {
				return
			}
		}
	}
}

// A piece is a stretch of time in which lookup has one answer, up to the name of the person.
type piece struct {
	layer, who int
	from, to   time.Time
}

// pieces cuts [from, to) into the longest stretches in which the layer and the person stay the same.
func (r *Rota) pieces(from, to time.Time) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		w := walk{r: r, seen: make([]standing, len(r.layers))}
		for i := range w.seen {
			w.seen[i].until = always // to be asked first of all
		}
		var last piece
		for t := from; t.Before(to); {
			p := piece{from: t.UTC(), to: to.UTC()}
			layer, who, until := w.step(t)
			p.layer, p.who = layer, who
			if until != never {
				if end := time.Unix(until, 0); end.Before(to) {
					p.to = end.UTC()
				}
			}
			t = p.to
			switch {
			case last.to.IsZero():
				last = p
			case r.same(last, p):
				last.to = p.to
			default:
				if !yield(last) {
					return
				}
				last = p
			}
		}
		if !last.to.IsZero() {
			yield(last)
		}
	}
}

// same reports whether b goes on where a ends: nobody stays nobody, or the same person of the same layer stays.
func (r *Rota) same(a, b piece) bool {
	if a.who == nobody || b.who == nobody {
		return a.who == b.who
	}
	return a.layer == b.layer && r.layers[a.layer].people[a.who] == r.layers[b.layer].people[b.who]
}

// A walk goes through time and asks a layer again only when its answer may have changed.
type walk struct {
	r    *Rota
	seen []standing // by layer
}

// standing is what a layer answered.
type standing struct {
	who   int
	until int64 // Unix second at which it must be asked again
}

// step returns lookup's answer at t, and the Unix second up to which it surely stays. Layers that are covered need not be asked.
func (w *walk) step(t time.Time) (covering, who int, until int64) {
	now := t.Unix()
	until = never
	for i := len(w.seen) - 1; i >= 0; i-- {
		l, s := &w.r.layers[i], &w.seen[i]
		if s.until <= now {
			c := reached(l.zone, t)
			s.who, s.until = l.at(c), never
			if edge := l.next(c); edge != never {
				s.until = max(instant(l.zone, edge), now+1) // always on, so that no mistake can make a loop of it
			}
		}
		until = min(until, s.until)
		if s.who != nobody {
			return i, s.who, until
		}
	}
	return 0, nobody, until
}
