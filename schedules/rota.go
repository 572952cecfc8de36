package schedules

import (
	"fmt"
	"time"
)

// A Rota answers who is on call by one schedule. Make it with New.
type Rota struct {
	name     string
	fallback string
	layers   []layer
}

// A layer is a Layer that was checked and read.
type layer struct {
	name   string
	people []string
	zone   *time.Location
	start  int64 // civil; always where it has none
	shift  int64 // seconds of civil time; 0 where one person has it all
	only   []Span
}

// nobody is what layer.at answers while a layer has nobody.
const nobody = -1

// at is the index of the person whose turn it is once the clocks of l's zone have reached civil second c, or nobody.
func (l *layer) at(c int64) int {
	if c < l.start {
		return nobody
	}
	if len(l.only) > 0 {
		open := false
		for _, s := range l.only {
			open = open || s.holds(c)
		}
		if !open {
			return nobody
		}
	}
	if len(l.people) == 1 {
		return 0
	}
	return int((c - l.start) / l.shift % int64(len(l.people)))
}

// next is a civil second after c up to which at answers as it does for c, or never.
func (l *layer) next(c int64) int64 {
	if c < l.start {
		return l.start
	}
	edge := int64(never)
	if len(l.people) > 1 {
		edge = l.start + ((c-l.start)/l.shift+1)*l.shift
	}
	for _, s := range l.only {
		edge = min(edge, s.next(c))
	}
	return edge
}

// Name of the schedule.
func (r *Rota) Name() string { return r.name }

// Fallback is the target to page while nobody is on call, such as person/three, or "".
func (r *Rota) Fallback() string { return r.fallback }

// At returns the people on call at t, first to be paged first; none where no layer has somebody. The fallback is not among
// them. The caller must not change the slice.
func (r *Rota) At(t time.Time) []string {
	i, who := r.lookup(t)
	if who == nobody {
		return nil
	}
	return r.layers[i].people[who : who+1 : who+1]
}

// lookup finds the layer that has somebody at t and covers all others, and the index of its person there; who is nobody where there is none.
func (r *Rota) lookup(t time.Time) (i, who int) {
	var zone *time.Location
	var c int64
	for i := len(r.layers) - 1; i >= 0; i-- {
		l := &r.layers[i]
		if l.zone != zone { // layers of one zone mostly stand together
			zone, c = l.zone, reached(l.zone, t)
		}
		if who := l.at(c); who != nobody {
			return i, who
		}
	}
	return 0, nobody
}

// OnCall is who is on call at an instant, and why.
type OnCall struct {
	People   []string  // first to be paged first; none: nobody
	Layer    string    // the layer that has them; "" for nobody
	Since    time.Time // UTC: the answer is the same since then; zero: for more than a year
	Until    time.Time // UTC: the answer is the same up to then; zero: for more than a year
	Fallback string    // whom to page instead; only where People is empty
}

// horizon is how far OnCall looks for the beginning and the end of an answer.
const horizon = 370 * 24 * time.Hour

// OnCall returns who is on call at t, in which layer, since when and until when. It looks up to a year back and forth, so where
// only the people are asked for, At is cheaper.
func (r *Rota) OnCall(t time.Time) OnCall {
	i, who := r.lookup(t)
	o := OnCall{Fallback: r.fallback}
	if who != nobody {
		o = OnCall{People: r.layers[i].people[who : who+1 : who+1], Layer: r.layers[i].name}
	}
	for p := range r.pieces(t, t.Add(horizon)) {
		if p.to.Before(t.Add(horizon)) {
			o.Until = p.to
		}
		break
	}
	for _, back := range []time.Duration{24 * time.Hour, 8 * 24 * time.Hour, 35 * 24 * time.Hour, horizon} {
		from := t.Add(-back)
		var last piece
		for p := range r.pieces(from, t.Add(time.Second)) {
			if !p.from.After(t) {
				last = p
			}
		}
		if last.from.After(from) {
			o.Since = last.from
			break
		}
	}
	return o
}

// A Set is all schedules, by name.
type Set map[string]*Rota

// At returns the people on call by the named schedule at t, first to be paged first, and the reason in words. While nobody is
// on call it returns the fallback instead, as the target it was written as (person/three): names have no slash.
func (s Set) At(schedule string, t time.Time) (people []string, why string) {
	r := s[schedule]
	if r == nil {
		return nil, fmt.Sprintf("there is no schedule %s", schedule)
	}
	i, who := r.lookup(t)
	switch {
	case who != nobody:
		return r.layers[i].people[who : who+1 : who+1], fmt.Sprintf("on call in schedule %s, layer %s", schedule, r.layers[i].name)
	case r.fallback != "":
		return []string{r.fallback}, fmt.Sprintf("nobody is on call in schedule %s, so its fallback %s", schedule, r.fallback)
	}
	return nil, fmt.Sprintf("nobody is on call in schedule %s", schedule)
}
