package journal

import (
	"errors"
	"fmt"
)

// ErrVanished means that a partition was not there for a while. What is there now may be another's, whatever its offsets: who goes on must
// compare it with what was read before.
var ErrVanished = errors.New("journal: the partition had vanished, and may be another now")

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
