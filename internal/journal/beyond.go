package journal

import "fmt"

// A BeyondError says that an offset lies behind the end of its partition: the journal has lost its end, or it is another journal than
// the one that the offset was read from.
type BeyondError struct {
	Partition int
	From      int64 // what was to be read
	End       int64 // the offset that the next entry will have
}

func (e *BeyondError) Error() string {
	return fmt.Sprintf("journal: offset %d of partition %d is behind its end at %d", e.From, e.Partition, e.End)
}
