package journal

import (
	"context"
	"time"
)

// A DeadLetter is an entry that could not be applied and was set aside, so that its partition could go on.
type DeadLetter struct {
	Partition int
	Offset    int64     // of the entry in its partition; both are the letter's identity
	At        time.Time // UTC, milliseconds: when it was set aside
	Reason    string    // why, as one sentence
	Payload   []byte    // the entry's, as it was read
	Tries     int       // how often it was tried
}

// A Graveyard keeps dead letters until somebody has dealt with them.
type Graveyard interface {
	// Bury keeps d and returns when it is durable. A letter that is buried twice is listed once, as it was last.
	Bury(ctx context.Context, d DeadLetter) error
	// DeadLetters returns the newest letters that are not settled, newest last, at most limit.
	DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error)
	// Settle says that the letter of that entry was driven again, or needs no more: it is not listed again unless it is buried again.
	Settle(ctx context.Context, partition int, offset int64) error
}
