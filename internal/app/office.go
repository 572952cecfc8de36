package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
	"tocsin/paging"
)

// An office is where decisions of all kinds become turns: the correlator's, people's, and those that time brings.
type office struct {
	db       store.DB
	clock    *clock
	setup    *atomic.Pointer[setup] // what the configuration in force says
	pager    *paging.Worker
	node     int64               // whose the pages are that are claimed here
	alone    bool                // no other node works on this state
	nudge    func(partition int) // tells the correlator that a command was committed
	log      *slog.Logger
	secret   []byte    // signs links
	receipts *receipts // of providers
	turns    turns

	contacts atomic.Pointer[contacts] // a copy; nil: not read yet
}

// lease is how long a page belongs to the node that claimed it.
const lease = 90 * time.Second

// turn begins a turn in tx: it locks the partition and asks for the time.
func (o *office) turn(tx *store.Tx, partition int) (*turn, error) {
	tx.Hold(o.node)
	part, err := tx.Lock(partition)
	if err != nil {
		return nil, err
	}
	s := o.setup.Load()
	return &turn{tx: tx, part: part, now: o.clock.Now(), setup: s, plan: s.plan, off: o.off, reserve: o.pager.Reserve, lease: lease, alone: o.alone}, nil
}

// do runs one decision as a turn of its own: all of it is committed, or nothing.
func (o *office) do(ctx context.Context, lane store.Lane, partition int, decide func(t *turn) error) error {
	done, err := o.turns.wait(ctx, lane, partition)
	if err != nil {
		return err
	}
	defer done()
	var t *turn
	err = o.db.Update(ctx, lane, func(tx *store.Tx) error {
		if t != nil {
			t.release(o.pager) // the engine tries again
		}
		var err error
		t, err = o.turn(tx, partition)
		if err != nil {
			return err
		}
		err = decide(t)
		if err != nil {
			return err
		}
		return t.finish()
	})
	if t == nil {
		return err
	}
	if err != nil {
		t.release(o.pager)
		return err
	}
	t.after(ctx, o.pager)
	for _, l := range t.changes {
		if tocsin.IsCommand(l.Kind) {
			o.nudge(partition)
			break
		}
	}
	return nil
}

// turns lets one turn of a partition begin after the other, by lane: all wait for its row anyway, and one connection is enough for that. Who
// decides something in another partition finds one free.
type turns struct {
	mu   sync.Mutex
	busy map[turnOf]chan struct{}
}

type turnOf struct {
	lane      store.Lane
	partition int
}

// How long a turn waits for those before it: behind one of the pager, others wait.
const (
	turnWait = 5 * time.Second
	pageWait = 300 * time.Millisecond
)

// wait waits until the partition's turn is the caller's, which ends it by done.
func (q *turns) wait(ctx context.Context, lane store.Lane, partition int) (done func(), err error) {
	of := turnOf{lane, partition}
	q.mu.Lock()
	if q.busy == nil {
		q.busy = map[turnOf]chan struct{}{}
	}
	busy := q.busy[of]
	if busy == nil {
		busy = make(chan struct{}, 1)
		q.busy[of] = busy
	}
	q.mu.Unlock()
	limit := turnWait
	if lane == store.Paging {
		limit = pageWait
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case busy <- struct{}{}:
		return func() { <-busy }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other decisions in partition %d: %w", partition, ctx.Err())
	case <-late.C:
		return nil, fmt.Errorf("%w: %w: other decisions in partition %d have not come to an end within %s", store.ErrUnavailable, store.ErrLocked, partition, limit)
	}
}

// newID returns an id for a page: it rises with time, and nobody can guess the next one.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Incident carries out a command by a person, a robot or a timer.
func (o *office) Incident(ctx context.Context, id int64, do, by, note string) (tocsin.Incident, error) {
	return o.incident(ctx, id, do, by, note, inbound{}, nil)
}

// incident carries out a command that came by a message, unless that message has been acted on before: then the incident is
// returned as it is, with errSeen. also, if not nil, is told inside of the turn what the incident was before, and may look around.
func (o *office) incident(ctx context.Context, id int64, do, by, note string, in inbound, also func(t *turn, before tocsin.Incident) error) (tocsin.Incident, error) {
	partition, err := o.partitionOf(ctx, func(tx *store.Tx) (int, error) {
		i, err := tx.Incident(id)
		return i.Partition, err
	})
	if err != nil {
		return tocsin.Incident{}, err
	}
	var out tocsin.Incident
	err = o.do(ctx, store.Commands, partition, func(t *turn) error {
		i, err := t.tx.Incident(id)
		if err != nil {
			return err
		}
		out = i
		err = t.once(in, tocsin.IncidentID(id))
		if err != nil {
			return err
		}
		out, err = t.incident(i, do, by, note)
		if err == nil && also != nil {
			err = also(t, i)
		}
		return err
	})
	return out, err
}

// once refuses with errSeen what a message asked of a thing before. A command without a message is never refused.
func (t *turn) once(in inbound, of string) error {
	if in.id == "" {
		return nil
	}
	first, err := t.tx.FirstInbound(in.provider, in.id+" "+of, t.now)
	if err == nil && !first {
		err = errSeen
	}
	return err
}

func (o *office) partitionOf(ctx context.Context, find func(*store.Tx) (int, error)) (partition int, err error) {
	err = o.db.View(ctx, func(tx *store.Tx) error {
		partition, err = find(tx)
		return err
	})
	return partition, err
}

// incident decides one command about i and all that follows from it.
func (t *turn) incident(i tocsin.Incident, do, by, note string) (tocsin.Incident, error) {
	before := i
	if do == tocsin.DoAck && i.State == tocsin.Acked && i.AckedBy == by {
		return i, t.renewed(i, by, note)
	}
	err := correlate.Command(&i, do, by, t.now)
	if err != nil {
		return i, err
	}
	a := about{incident: i.ID}
	l := t.line(a, do, by)
	l.data.Note = note
	if do == tocsin.DoReopen {
		l.data.Before = &before
	}
	err = t.tx.PutIncidents([]tocsin.Incident{i})
	if err == nil && do != tocsin.DoNote {
		err = t.answered(a, by)
	}
	if err != nil {
		return i, err
	}
	switch do {
	case tocsin.DoAck, tocsin.DoTake:
		err = t.acked(i, before, by)
	case tocsin.DoResolve:
		err = t.closed(i, by)
	case tocsin.DoUnack, tocsin.DoReopen:
		err = t.page(i, l, false)
	case tocsin.DoEscalate:
		err = t.passOn(before, i, l)
	}
	return i, err
}

// acked stops everything for i, starts the time after which an ack must be renewed, and tells the others who have been woken.
func (t *turn) acked(i, before tocsin.Incident, by string) error {
	a := about{incident: i.ID}
	err := t.stop(a, "acknowledged by "+by)
	if err != nil {
		return err
	}
	t.ackTimers(i)
	woken, err := t.tx.WokenFor(i.ID, 0)
	if err != nil {
		return err
	}
	seen := map[string]bool{by: true}
	if before.AckedBy != "" && before.AckedBy != by {
		seen[before.AckedBy] = true
		t.notify([]string{before.AckedBy}, a, paging.TakenOverText(t.view(i), t.plan.People[by], t.plan.People[before.AckedBy]))
	}
	for _, name := range woken {
		if !seen[name] {
			seen[name] = true
			t.notify([]string{name}, a, paging.TakenText(t.view(i), t.plan.People[by], t.plan.People[name]))
		}
	}
	return nil
}

// saidAgain is how soon after an acknowledgement its repeat is only a repeat, such as of a request whose answer was lost.
const saidAgain = time.Minute

// renewed takes an owner's second acknowledgement as a sign of life, which is what the nudge asks for: the time-out begins anew.
// A mere repeat changes nothing, but no note is lost.
func (t *turn) renewed(i tocsin.Incident, by, note string) error {
	if note == "" && t.now.Sub(i.AckedAt) < saidAgain {
		return nil
	}
	err := t.tx.CancelTimers(i.ID, 0, store.TimerNudge, store.TimerAckOut)
	if err != nil {
		return err
	}
	t.ackTimers(i)
	l := t.line(about{incident: i.ID}, tocsin.DoNote, by)
	l.data.Note, l.data.Why = note, "still on it"
	return nil
}

// ackTimers starts the time after which an acknowledgement is no longer believed.
func (t *turn) ackTimers(i tocsin.Incident) {
	after := ackTimeout(i)
	if after == 0 {
		return
	}
	due := t.now.Add(after)
	t.timers = append(t.timers,
		store.Timer{Partition: i.Partition, Kind: store.TimerNudge, Incident: i.ID, DueAt: due.Add(-nudgeBefore)},
		store.Timer{Partition: i.Partition, Kind: store.TimerAckOut, Incident: i.ID, DueAt: due})
}

// answered notes on the pages that a person got about a that they answered.
func (t *turn) answered(a about, by string) error {
	if _, is := t.plan.People[by]; !is {
		return nil // a robot or a timer
	}
	pages, err := t.tx.Pages(store.PageFilter{
		Incident: a.incident, Major: a.major, Person: by, Limit: 100, States: []tocsin.PageState{tocsin.PageSent, tocsin.PageDelivered},
	})
	if err != nil {
		return err
	}
	pages = slices.DeleteFunc(pages, func(p tocsin.Page) bool { return p.Kind == tocsin.KindNotice })
	for i := range pages {
		pages[i].State, pages[i].EndedAt = tocsin.PageAnswered, t.now
	}
	_, err = t.tx.SavePages(pages)
	return err
}

// Ack time-outs by priority (process model, section 7). SEV4 and SEV5 have none.
const (
	ackTimeoutMajor = 30 * time.Minute
	ackTimeoutSEV3  = 4 * time.Hour
	nudgeBefore     = 5 * time.Minute
)

func ackTimeout(i tocsin.Incident) time.Duration {
	switch {
	case i.Priority <= 2:
		return ackTimeoutMajor
	case i.Priority == 3:
		return ackTimeoutSEV3
	}
	return 0
}

// closed ends paging for an incident that a person resolved.
func (t *turn) closed(i tocsin.Incident, by string) error {
	woken, err := t.tx.WokenFor(i.ID, 0)
	if err != nil {
		return err
	}
	a := about{incident: i.ID}
	err = t.stop(a, "resolved by "+by)
	if err != nil {
		return err
	}
	for _, name := range woken {
		if name != by && name != i.AckedBy {
			t.notify([]string{name}, a, paging.ClosedText(t.view(i), t.plan.People[by], t.plan.People[name]))
		}
	}
	return nil
}

// passOn takes the next step of the escalation at once.
func (t *turn) passOn(before, i tocsin.Incident, l *line) error {
	a := about{incident: i.ID}
	next, _, err := t.pending(a)
	if err != nil {
		return err
	}
	if next != nil {
		err = t.stop(a, "passed on")
		if err != nil {
			return err
		}
		return t.walk(*next, l)
	}
	// Acknowledged before, so no step is pending: go on behind the one that was paged last.
	pages, err := t.tx.Pages(store.PageFilter{Incident: i.ID, Limit: 100})
	if err != nil {
		return err
	}
	pages = slices.DeleteFunc(pages, func(p tocsin.Page) bool { return p.Kind == tocsin.KindNotice || p.Step == paging.NagStep })
	err = t.stop(a, "passed on")
	if err != nil {
		return err
	}
	name, why := t.plan.Choose(i.Escalation, i.Team, i.Service)
	l.paging([]string{why})
	w := paging.Walk{Escalation: name, Urgency: i.Urgency, Kind: tocsin.KindPage, Lane: laneOf(i.Urgency), Incident: i.ID}
	if len(pages) > 0 && before.AckedBy != "" {
		w.Round, w.Step = pages[0].Round, pages[0].Step+1
	}
	return t.walk(w, l)
}

// Major carries out a decision about a candidate or major.
func (o *office) Major(ctx context.Context, id int64, do, by, note string) (tocsin.Major, error) {
	m, _, err := o.major(ctx, id, do, by, note, inbound{})
	return m, err
}

// major carries out a decision that came by a message; see incident. joined is how many incidents belong to the major by it.
func (o *office) major(ctx context.Context, id int64, do, by, note string, in inbound) (out tocsin.Major, joined int, err error) {
	partition, err := o.partitionOf(ctx, func(tx *store.Tx) (int, error) {
		m, err := tx.Major(id)
		return m.Partition, err
	})
	if err != nil {
		return out, 0, err
	}
	err = o.do(ctx, store.Commands, partition, func(t *turn) error {
		m, err := t.tx.Major(id)
		if err != nil {
			return err
		}
		out = m
		err = t.once(in, tocsin.MajorID(id))
		if err != nil {
			return err
		}
		out, joined, err = t.major(m, do, by, note)
		return err
	})
	return out, joined, err
}

// major decides one command about m and all that follows from it.
func (t *turn) major(m tocsin.Major, do, by, note string) (_ tocsin.Major, joined int, err error) {
	members, err := t.members(m, do)
	if err != nil {
		return m, 0, err
	}
	err = correlate.Decide(&m, members, do, by, t.now)
	if err != nil {
		return m, 0, err
	}
	a := about{major: m.ID}
	l := t.line(a, do, by)
	l.data.Note = note
	err = t.tx.PutMajors([]tocsin.Major{m})
	if err == nil && do != tocsin.DoNote {
		err = t.answered(a, by)
	}
	if err != nil {
		return m, 0, err
	}
	switch do {
	case tocsin.DoConfirm:
		joined, err = t.confirmed(m, members, by, l)
	case tocsin.DoLooking, tocsin.DoPassOn:
		err = t.looking(m, do, l)
	case tocsin.DoLead:
		err = t.stop(a, "led by "+by)
	case tocsin.DoReject, tocsin.DoExpire, tocsin.DoResolveMajor:
		err = t.stop(a, m.State.String()+" by "+by)
	}
	return m, joined, err
}

func (t *turn) members(m tocsin.Major, do string) ([]*tocsin.Incident, error) {
	if do != tocsin.DoConfirm {
		return nil, nil
	}
	var out []*tocsin.Incident
	for _, id := range m.Incidents {
		i, err := t.tx.Incident(id)
		if errors.Is(err, store.ErrNotFound) {
			continue // retention took it
		}
		if err != nil {
			return nil, err
		}
		out = append(out, &i)
	}
	return out, nil
}

// confirmed lets the major take over its incidents: their own pages stop, and the majors' escalation is paged.
func (t *turn) confirmed(m tocsin.Major, members []*tocsin.Incident, by string, l *line) (joined int, err error) {
	err = t.stop(about{major: m.ID}, "confirmed by "+by)
	if err != nil {
		return 0, err
	}
	for _, i := range members {
		if i.Major != m.ID {
			continue
		}
		joined++
		t.joins(*i, m)
		err = t.tx.PutIncidents([]tocsin.Incident{*i})
		if err != nil {
			return 0, err
		}
		err = t.stop(about{incident: i.ID}, "it belongs to a major now")
		if err != nil {
			return 0, err
		}
	}
	return joined, t.review(m, tocsin.KindMajor, by, l)
}

// looking gives a candidate more time. Passed on, a candidate or major goes to the next manager.
func (t *turn) looking(m tocsin.Major, do string, l *line) error {
	a := about{major: m.ID}
	if do == tocsin.DoLooking {
		err := t.stop(a, "somebody is looking")
		if err != nil {
			return err
		}
		t.timers = append(t.timers, t.decideTimer(m))
		return nil
	}
	next, _, err := t.pending(a)
	if err != nil {
		return err
	}
	pages, err := t.tx.Pages(store.PageFilter{Major: m.ID, Limit: 100})
	if err != nil {
		return err
	}
	err = t.stop(a, "passed on")
	if err != nil {
		return err
	}
	kind := tocsin.KindMajor
	if m.State == tocsin.Proposed {
		kind = tocsin.KindCandidate
		t.timers = append(t.timers, t.decideTimer(m))
	}
	if next != nil {
		return t.walk(*next, l)
	}
	name, why := t.plan.Choose(m.Escalation, "", "")
	l.paging([]string{why})
	w := paging.Walk{Escalation: name, Urgency: tocsin.UrgencyHigh, Kind: kind, Major: m.ID}
	for _, p := range pages { // somebody had it, so no step is pending: go on behind the one that was paged last
		if p.Kind == kind && p.Step != paging.NagStep {
			w.Round, w.Step = p.Round, p.Step+1
			break
		}
	}
	return t.walk(w, l)
}
