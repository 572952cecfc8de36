package api

import (
	"context"
	"time"

	"tocsin"
	"tocsin/paging"
)

// A Desk carries out what people and robots decide, each in one transaction. What it answers is committed.
// A command that the present state refuses is a *correlate.StateError; an unknown id is store.ErrNotFound.
type Desk interface {
	// Incident carries out a command (tocsin.DoAck, DoTake, DoUnack, DoResolve, DoReopen, DoEscalate, DoNote) by a person or robot.
	Incident(ctx context.Context, id int64, do, by, note string) (tocsin.Incident, error)
	// Major carries out DoConfirm, DoReject, DoLooking, DoResolveMajor or DoNote.
	Major(ctx context.Context, id int64, do, by, note string) (tocsin.Major, error)
	// Reply acts on a message from a phone or mailbox and returns the text to answer with; "" : no answer is owed.
	Reply(ctx context.Context, provider string, r paging.Reply) (string, error)
	// Key acts on a key press and returns what is to be spoken, and whether the call goes on listening for keys.
	Key(ctx context.Context, provider string, k paging.KeyPress) (say string, more bool, err error)
	// Report takes in what a provider says became of a page.
	Report(ctx context.Context, provider string, r paging.Report) error
	// OnCall says who is on call at t.
	OnCall(t time.Time) []Duty
	// Shifts says who has a schedule's pager from one time to another; ok is false for an unknown schedule.
	Shifts(schedule string, from, to time.Time) (shifts []Shift, ok bool)
	// Person returns a person of the configuration.
	Person(name string) (tocsin.Person, bool)
	// People returns all of them, by name.
	People() []tocsin.Person
	// Linked reads a signed link that a page carried: whom it was sent to and what it is about. Expired or forged: an error.
	Linked(ctx context.Context, token string) (Link, error)
}

// Duty is who carries the pager of one schedule.
type Duty struct {
	Schedule string
	Team     string // that pages this schedule; "" where none does
	People   []string
	Why      string // the layer, or that it is the fallback
	Until    time.Time
}

// Shift is one stretch of a schedule; nobody in it is a gap.
type Shift struct {
	From, To time.Time
	People   []string
	Layer    string
}

// A Link is what a signed link of a page says.
type Link struct {
	Page     string
	Person   string
	Incident int64
	Major    int64
}
