package correlate

import (
	"slices"
	"time"
)

// Seen tells, of those of the alerts ids that are in memory, when each was last seen and ends by itself (zero: never), with its
// place in ids. Rows say so only some seconds later.
func (d *Domain) Seen(ids []int64, seen func(place int, lastAt, endsAt time.Time)) {
	for place, id := range ids {
		c := d.chunks[id>>chunkBits]
		at, is := slices.BinarySearchFunc(c, id, compareID)
		if is {
			seen(place, moment(c[at].lastAt), moment(c[at].endsAt))
		}
	}
}
