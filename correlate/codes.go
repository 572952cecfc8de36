package correlate

import "time"

// codes hands out the short numbers that people answer with: the fewest digits that have one free, and none again before
// CodeRest has passed since its incident ended.
type codes struct {
	partition, partitions int
	used                  map[int]int64 // code -> microseconds since which it rests; 0: in use
	rest                  []resting     // in the order in which they came to rest
	next                  [10]int       // by number of digits: where to look first
	count                 [10]int       // by number of digits: how many are used or rest
}

type resting struct {
	code int
	at   int64
}

func newCodes(partition, partitions int) codes {
	return codes{partition: partition, partitions: max(partitions, 1), used: map[int]int64{}}
}

func digits(code int) int {
	n := 1
	for ; code >= 10; code /= 10 {
		n++
	}
	return n
}

// take returns a code that nobody had since CodeRest.
func (c *codes) take(now int64) int {
	for len(c.rest) > 0 && now-c.rest[0].at >= CodeRest.Microseconds() {
		if r := c.rest[0]; c.used[r.code] == r.at { // not taken up again meanwhile
			c.forget(r.code)
		}
		c.rest = c.rest[1:]
	}
	low := 10
	for d := 2; d < 10; d, low = d+1, low*10 {
		high := low * 10
		mine := (high - low) / c.partitions
		if c.count[d] >= mine {
			continue
		}
		code := max(c.next[d], low)
		for range high - low {
			if code >= high {
				code = low
			}
			_, taken := c.used[code]
			if !taken && code%c.partitions == c.partition {
				c.mark(code)
				c.next[d] = code + 1
				return code
			}
			code++
		}
	}
	return 0
}

func (c *codes) mark(code int) {
	if _, is := c.used[code]; !is {
		c.count[digits(code)]++
	}
	c.used[code] = 0
}

func (c *codes) forget(code int) {
	if _, is := c.used[code]; is {
		c.count[digits(code)]--
		delete(c.used, code)
	}
}

// ended lets a code rest from now on.
func (c *codes) ended(code int, at time.Time) {
	if code == 0 {
		return
	}
	c.mark(code)
	c.used[code] = at.UnixMicro()
	c.rest = append(c.rest, resting{code, at.UnixMicro()})
}

// again takes a code that rests back into use, for an incident that came back.
func (c *codes) again(code int) {
	if code != 0 {
		c.mark(code)
	}
}
