package store

import (
	"context"
	"errors"
	"time"

	"tocsin"
)

// Lane is the queue that an update waits in where updates are done one after the other.
type Lane int

// The lanes, most urgent first.
const (
	Commands Lane = iota // people's decisions
	Paging               // pages and timers
	Correlation
)

// ErrFenced means that another owner has taken the partition: the caller is a zombie and must stop.
var ErrFenced = errors.New("store: the partition has another owner now")

// ErrUnavailable means that the database cannot be written now (disk full, an I/O error, too many callers waiting): nothing stays
// of the call, and it may be tried again later.
var ErrUnavailable = errors.New("store: cannot be written now")

// ErrLocked means, beside ErrUnavailable, that another session keeps a row or a table locked for longer than is waited for it: the
// database is well, and other rows can be written.
var ErrLocked = errors.New("store: somebody else keeps it locked")

// ErrRefused means that the database is well and will never take this write: a value that it cannot hold, a rule of a table that the write
// breaks, or a function that panicked. Nothing stays of the call, and the same again is refused again.
var ErrRefused = errors.New("store: cannot hold this")

// ErrExists means, beside ErrRefused, that a row with the same key is there already: what the caller knows is not what the database has.
var ErrExists = errors.New("store: it is there already")

// ErrUnknown means that the commit was sent and no answer came: it may have happened, or happen yet. Lock the part and read it
// back to know: a View may come too soon.
var ErrUnknown = errors.New("store: outcome of the commit is unknown")

// ErrClosed means that Close was called before.
var ErrClosed = errors.New("store: closed")

// ErrNotFound means that the row that was asked for by its key is not there.
var ErrNotFound = errors.New("store: not found")

// DB is one engine.
type DB interface {
	// Update runs fn in one transaction that is durable when Update returns nil. When fn returns an error nothing it wrote
	// stays. fn may run more than once where the engine retries, so it keeps no state outside of the transaction but what it sets anew.
	Update(ctx context.Context, lane Lane, fn func(*Tx) error) error
	// View runs fn on one consistent snapshot.
	View(ctx context.Context, fn func(*Tx) error) error
	// Now is the database's clock, UTC.
	Now(ctx context.Context) (time.Time, error)
	// Committed is closed, and replaced, at the next commit after the call: a hint to look for new changes.
	Committed() <-chan struct{}
	Close() error
}

// A Part is where the work on one partition stands. Every transaction that decides something locks it first.
type Part struct {
	Partition    int
	Epoch        int64 // of the owner: a commit with an older one is refused
	Owner        string
	NextOffset   int64     // the journal offset to apply next
	TouchOffset  int64     // touches are written up to here; what repeats say since is read again at start
	Seq          int64     // of the newest change
	SeenAt       time.Time // highest receive time applied
	NextAlert    int64     // counters that ids are made of
	NextIncident int64
	NextMajor    int64
	Rules        string // hash of the rule set in force
	Fold         []byte // windows that fold doubled records, as of TouchOffset

	Gen        int64     // of the group that gave the partition to the owner
	ClaimedAt  time.Time // when it did
	LastWriter int64     // writer and number of the record before NextOffset: it must still stand there
	LastSeq    int64
}

// A Touch is what repeats of a firing alert changed: no row is written for them one by one.
type Touch struct {
	Alert  int64
	LastAt time.Time
	EndsAt time.Time
	Count  int64
	AsOf   int64
}

// A Timer is a step of a process that is due at a time of the database's clock. It fires once, as a command.
type Timer struct {
	ID        int64
	Partition int
	Kind      string // TimerX
	Incident  int64
	Major     int64
	DueAt     time.Time
	Round     int
	Step      int
	Data      string
}

// Kinds of timers.
const (
	TimerStep     = "step"      // the next step of an escalation
	TimerDecide   = "decide"    // a candidate has waited long enough
	TimerAckOut   = "ack-out"   // an acknowledged incident was not touched again
	TimerNudge    = "nudge"     // tells the owner before TimerAckOut
	TimerAllClear = "all-clear" // tells those woken that it recovered
)

// IncidentFilter chooses incidents; the zero value is all of them, newest first.
type IncidentFilter struct {
	States  []tocsin.IncidentState
	Service string
	Major   int64
	Before  int64 // ids below this; 0: from the newest
	Limit   int   // 0: 100
}

// AlertFilter chooses alerts. Incident and Service use an index; so do Host, Alertname and Source among firing alerts, and among others only
// in SQLite.
type AlertFilter struct {
	Status    tocsin.Status // 0: any
	Incident  int64         // 0: any
	Service   string        // label service
	Host      string        // as tocsin.HostOf finds it
	Alertname string        // label alertname
	Source    string
	After     int64 // ids above this
	Limit     int   // 0: no limit
	partition *int  // nil: any
}
