package correlate

import (
	"cmp"
	"container/heap"
)

// What falls due. Every timer is derived from the state of the thing it is about: an entry says only when to look again,
// so entries may be stale or doubled, and a reload makes them anew.
type dueKind uint8

const (
	duePage   dueKind = iota + 1 // an incident's group_wait is over
	dueQuiet                     // a recovery has lasted
	dueReopen                    // resolved by hand, still firing
	dueAge                       // an incident's newest alert leaves a major rule's window
	dueHold                      // a scope has been over its limit for long enough
	dueWeigh                     // a command changed what a scope counts
	dueForget                    // nothing can come back to the incident any more
	dueEnds                      // an alert was not repeated
)

// An entry is one look: at due, at what obj is.
type entry struct {
	due  int64 // microseconds
	id   int64 // of the alert, incident or scope, for ties
	kind dueKind
	obj  any // *series, *incident or *scope
}

type dueHeap []entry

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	a, b := &h[i], &h[j]
	return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id)) < 0
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(entry)) }
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = entry{}
	*h = old[:len(old)-1]
	return e
}

func (d *Domain) push(due int64, kind dueKind, id int64, obj any) {
	if due > 0 {
		heap.Push(&d.due, entry{due, id, kind, obj})
	}
}

// pop takes the next entry at or before at; rolled back, it is there again.
func (d *Domain) pop(at int64) (entry, bool) {
	if len(d.due) == 0 || d.due[0].due > at {
		return entry{}, false
	}
	e := heap.Pop(&d.due).(entry)
	d.undo(func() { heap.Push(&d.due, e) })
	return e, true
}
