package tocsin

import (
	"encoding/json"
	"time"
)

// A Change is one line of the history: timeline, feed and command log in one. Seq has no gaps and rises in commit order
// within its partition.
type Change struct {
	Partition   int             `json:"-"`
	Seq         int64           `json:"seq"`
	AfterOffset int64           `json:"-"` // a command stands before the journal record at this offset
	At          time.Time       `json:"at"`
	Actor       string          `json:"actor"` // a person's or robot's name, or rule, pager, timer
	Kind        string          `json:"kind"`  // ChangeX below, or one of the commands
	Incident    int64           `json:"incident,omitempty"`
	Major       int64           `json:"major,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// Kinds of changes. Those that begin with "do-" are commands: they are decided outside the correlator, and a replay merges
// them into the journal at AfterOffset. All others follow from the journal and the commands.
const (
	ChangeOpened   = "opened"
	ChangeJoined   = "joined" // alerts joined, resolved, returned: a batch's sum in Data
	ChangeRose     = "urgency-rose"
	ChangeResolved = "resolved"
	ChangeReopened = "reopened"
	ChangeProposed = "proposed"
	ChangePaged    = "paged"     // an escalation step was taken: who, how, or why nobody
	ChangePageFate = "page-fate" // a page was sent, delivered, failed
	ChangeNotified = "notified"

	DoAck          = "do-ack"
	DoTake         = "do-take" // acknowledge, from whoever has it
	DoUnack        = "do-unack"
	DoResolve      = "do-resolve"
	DoReopen       = "do-reopen"
	DoEscalate     = "do-escalate"
	DoNote         = "do-note"
	DoConfirm      = "do-confirm" // a major
	DoReject       = "do-reject"
	DoLooking      = "do-looking"
	DoExpire       = "do-expire"
	DoPassOn       = "do-pass-on" // an undecided candidate goes to the next manager
	DoLead         = "do-lead"    // a confirmed major has its manager
	DoResolveMajor = "do-resolve-major"
)

// IsCommand reports whether a change of this kind is replayed as a command.
func IsCommand(kind string) bool { return len(kind) > 3 && kind[:3] == "do-" }
