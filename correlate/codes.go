package correlate

import (
	"container/heap"
	"time"
)

// codes hands out the short numbers that people answer with: always the smallest that is free, so that what is handed out
// follows from what is in use, and none again before CodeRest has passed since its incident ended.
type codes struct {
	partition, partitions int
	used                  map[int]int64 // code -> microseconds since which it rests; 0: in use
	rest                  restHeap      // may name codes that were taken up again since
	free                  [10]intHeap   // by number of digits: given back; may name codes that are used again
	fresh                 [10]int       // by number of digits: from here on none was ever taken
}

type resting struct {
	at   int64
	code int
}

const mostDigits = 9

func newCodes(partition, partitions int) codes {
	c := codes{partition: partition, partitions: max(partitions, 1), used: map[int]int64{}}
	for n, low := 2, 10; n <= mostDigits; n, low = n+1, low*10 {
		c.fresh[n] = c.mine(low)
	}
	return c
}

// mine returns the smallest code from low on that belongs to this partition.
func (c *codes) mine(low int) int {
	return low + ((c.partition-low)%c.partitions+c.partitions)%c.partitions
}

func digits(code int) int {
	n := 1
	for ; code >= 10; code /= 10 {
		n++
	}
	return n
}

// take returns the smallest code that nobody had since CodeRest; 0 when all are taken.
func (c *codes) take(now int64, undo func(func())) int {
	for len(c.rest) > 0 && now-c.rest[0].at >= CodeRest.Microseconds() {
		r := heap.Pop(&c.rest).(resting)
		undo(func() { heap.Push(&c.rest, r) })
		if at, is := c.used[r.code]; is && at == r.at { // else it was taken up again meanwhile
			delete(c.used, r.code)
			if r.code%c.partitions == c.partition { // else it came from another partition, which gives it again
				heap.Push(&c.free[digits(r.code)], r.code)
			}
			undo(func() { c.used[r.code] = r.at })
		}
	}
	for n, high := 2, 100; n <= mostDigits; n, high = n+1, high*10 {
		code := c.lowest(n)
		if code >= high {
			continue
		}
		c.used[code] = 0
		undo(func() {
			delete(c.used, code)
			heap.Push(&c.free[n], code)
		})
		return code
	}
	return 0
}

// lowest takes the smallest free code of n digits out of the free ones; it may be one with a digit more: then there is none.
func (c *codes) lowest(n int) int {
	free := &c.free[n]
	for len(*free) > 0 {
		code := heap.Pop(free).(int)
		if _, used := c.used[code]; !used {
			return code // in used from now on, or in free again after a rollback
		}
	}
	code := c.fresh[n]
	if digits(code) == n {
		c.fresh[n] = code + c.partitions
	}
	return code
}

// ended lets a code rest from at on; again takes it back into use.
func (c *codes) ended(code int, at time.Time, undo func(func())) {
	us := at.UnixMicro()
	c.set(code, us, undo)
	if code != 0 {
		heap.Push(&c.rest, resting{us, code})
	}
}

func (c *codes) again(code int, undo func(func())) { c.set(code, 0, undo) }

func (c *codes) set(code int, to int64, undo func(func())) {
	if code == 0 {
		return
	}
	was, is := c.used[code]
	c.used[code] = to
	undo(func() {
		if is {
			c.used[code] = was
		} else {
			delete(c.used, code)
		}
	})
}

// load takes over which codes are in use (zero) or rest since when.
func (c *codes) load(codes map[int]time.Time) {
	for code, ended := range codes {
		if code < 10 || digits(code) > mostDigits {
			continue
		}
		c.used[code] = micros(ended)
		if !ended.IsZero() {
			heap.Push(&c.rest, resting{micros(ended), code})
		}
		if n := digits(code); code >= c.fresh[n] {
			for x := c.fresh[n]; x < code; x += c.partitions {
				c.free[n] = append(c.free[n], x)
			}
			c.fresh[n] = c.mine(code + 1)
		}
	}
	for n := range c.free {
		heap.Init(&c.free[n])
	}
}

type restHeap []resting

func (h restHeap) Len() int { return len(h) }
func (h restHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].code < h[j].code
}
func (h restHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *restHeap) Push(x any)   { *h = append(*h, x.(resting)) }
func (h *restHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
