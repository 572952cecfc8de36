package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
	"tocsin/paging"
)

// A turn is one transaction that decides something: what follows for people (pages, timers, history) is gathered and written
// at its end, with the decision.
type turn struct {
	tx      *store.Tx
	part    store.Part
	now     time.Time // the database's clock
	setup   *setup
	plan    *paging.Plan
	reserve func(channel string, n int) int // room for pages that are handed over in memory; nil: none
	lease   time.Duration
	alone   bool // no other node works on this state

	changes []*line
	pages   []tocsin.Page
	timers  []store.Timer
	stopped []stop // nothing more may be sent about these, once it is committed
	claimed []tocsin.Page
	held    []tocsin.Page // calls that a carrier may still hold, and nobody needs once it is committed
	woke    bool          // pages fall due that stood in the database already

	off     func(*store.Tx) (*contacts, error) // nil: none is off
	reached bool                               // plan passes over what is off
	known   map[int64]tocsin.Incident          // rows that this turn writes
	joined  []joiner
}

// about is what pages and timers are about: an incident, or a major.
type about struct{ incident, major int64 }

// A line is a change under way: everything that one turn says of one incident or major becomes one row of the history.
type line struct {
	tocsin.Change
	data lineData
}

// lineData is the data of a change, as the API and the console show it.
type lineData struct {
	Steps  []lineStep `json:"steps,omitempty"`  // what happened, at most maxSteps of it
	More   int        `json:"more,omitempty"`   // steps that are not listed
	Alerts int        `json:"alerts,omitempty"` // alerts that joined
	Ended  int        `json:"ended,omitempty"`  // alerts that ended
	Paging []string   `json:"paging,omitempty"` // who is paged, or why nobody
	Note   string     `json:"note,omitempty"`   // a person's words
	Why    string     `json:"why,omitempty"`

	Stops  []stop           `json:"stops,omitempty"`  // for the other nodes: whose pages are not wanted any more
	Before *tocsin.Incident `json:"before,omitempty"` // of a re-opened incident: its row, for a correlator that has forgotten it
}

type lineStep struct {
	Kind    string `json:"kind"`
	Alert   string `json:"alert,omitempty"`
	Summary string `json:"summary,omitempty"`
	Why     string `json:"why,omitempty"`
}

const (
	maxSteps  = 10
	maxPaging = 20
)

// line returns the line of a, a new one of this kind where there is none yet in this turn.
func (t *turn) line(a about, kind, actor string) *line {
	for _, l := range t.changes {
		if l.Incident == a.incident && l.Major == a.major && l.Actor == actor {
			return l
		}
	}
	l := &line{Change: tocsin.Change{At: t.now, Actor: actor, Kind: kind, Incident: a.incident, Major: a.major, AfterOffset: t.part.NextOffset}}
	t.changes = append(t.changes, l)
	return l
}

func (l *line) paging(said []string) {
	room := max(maxPaging-len(l.data.Paging), 0)
	l.data.Paging = append(l.data.Paging, said[:min(room, len(said))]...)
}

// pending returns the walk about a whose next step waits for its time, and the id of its timer; nil: none does.
func (t *turn) pending(a about) (w *paging.Walk, timer int64, err error) {
	timers, err := t.tx.Timers(a.incident, a.major)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(timers, func(m store.Timer) bool { return m.Kind == store.TimerStep })
	if i < 0 {
		return nil, 0, nil
	}
	next, err := walkOf(timers[i])
	return &next, timers[i].ID, err
}

// walk starts or goes on with an escalation: pages for the people of one step, and a timer for the next.
func (t *turn) walk(w paging.Walk, l *line) error {
	err := t.reach()
	if err != nil {
		return err
	}
	taken := t.plan.Take(w, t.now)
	for _, p := range taken.Pages {
		p.Partition = t.part.Partition
		t.pages = append(t.pages, p)
	}
	l.paging(taken.Said)
	if taken.Next == nil {
		return nil
	}
	data, err := json.Marshal(taken.Next.Walk)
	if err != nil {
		return fmt.Errorf("escalation %s: %w", w.Escalation, err)
	}
	t.timers = append(t.timers, store.Timer{
		Partition: t.part.Partition, Kind: store.TimerStep, Incident: w.Incident, Major: w.Major, DueAt: taken.Next.At,
		Round: taken.Next.Walk.Round, Step: taken.Next.Walk.Step, Data: string(data),
	})
	return nil
}

// stop ends everything that is under way about a: timers go, pages that were not sent are cancelled.
func (t *turn) stop(a about, reason string) error {
	err := t.tx.CancelTimers(a.incident, a.major)
	if err != nil {
		return err
	}
	ended, err := t.tx.CancelPages(a.incident, a.major, reason, t.now)
	if err != nil {
		return err
	}
	s := stop{Incident: a.incident, Major: a.major}
	for _, p := range ended {
		s.Pages = append(s.Pages, p.ID)
	}
	err = t.hold(ended)
	if err != nil {
		return err
	}
	same := func(i, m int64) bool { return i == a.incident && m == a.major }
	t.pages = slices.DeleteFunc(t.pages, func(p tocsin.Page) bool { return p.Kind != tocsin.KindNotice && same(p.Incident, p.Major) })
	t.timers = slices.DeleteFunc(t.timers, func(m store.Timer) bool { return same(m.Incident, m.Major) })
	t.stopped = append(t.stopped, s)
	return nil
}

// page starts the escalation of an incident from its first step; what was under way for it ends. For a fresh one nothing is.
func (t *turn) page(i tocsin.Incident, l *line, fresh bool) error {
	a := about{incident: i.ID}
	if !fresh {
		err := t.stop(a, "the escalation starts again")
		if err != nil {
			return err
		}
	}
	name, why := t.plan.Choose(i.Escalation, i.Team, i.Service)
	l.paging([]string{why})
	return t.walk(paging.Walk{Escalation: name, Urgency: i.Urgency, Kind: tocsin.KindPage, Lane: laneOf(i.Urgency), Incident: i.ID}, l)
}

func laneOf(u tocsin.Urgency) int {
	if u == tocsin.UrgencyHigh {
		return 1
	}
	return 2
}

// review pages the managers about a candidate, or those of a confirmed major: all but the one who has it already.
func (t *turn) review(m tocsin.Major, kind, has string, l *line) error {
	name, why := t.plan.Choose(m.Escalation, "", "")
	l.paging([]string{why})
	if _, is := t.plan.People[has]; !is {
		has = "" // a robot or a timer
	}
	return t.walk(paging.Walk{Escalation: name, Urgency: tocsin.UrgencyHigh, Kind: kind, Major: m.ID, Has: has}, l)
}

// view is what an SMS of this turn says of i.
func (t *turn) view(i tocsin.Incident) paging.IncidentView { return t.setup.view(i, paging.SMS, t.now) }

// notify tells people something that owes no answer, by SMS or mail, never by voice.
func (t *turn) notify(people []string, a about, text string) {
	_ = t.reach() // where it cannot be known that a number is off, the provider says so
	for _, name := range people {
		p, ok := t.plan.People[name]
		if !ok {
			continue
		}
		switch ways := t.plan.Ways(p); {
		case slices.Contains(ways, paging.SMS):
			t.notifyBy(paging.SMS, p.Phone, name, a, text)
		case slices.Contains(ways, paging.Email):
			t.notifyBy(paging.Email, p.Email, name, a, text)
		}
	}
}

// finish writes everything that the turn came to. The caller must do what after says once it is committed, or release it.
func (t *turn) finish() error {
	err := t.tellJoined()
	if err == nil {
		err = t.write()
	}
	if err != nil {
		return err
	}
	t.claim()
	if len(t.pages) > 0 {
		err = t.tx.InsertPages(t.pages)
	}
	if err == nil && len(t.timers) > 0 {
		err = t.tx.AddTimers(t.timers)
	}
	if err != nil {
		return err
	}
	t.tellStops()
	changes := make([]tocsin.Change, len(t.changes))
	for i, l := range t.changes {
		changes[i] = l.Change
		changes[i].Data, err = json.Marshal(l.data)
		if err != nil {
			return fmt.Errorf("history of incident %d: %w", l.Incident, err)
		}
	}
	err = t.tx.AddChanges(&t.part, changes)
	if err != nil {
		return err
	}
	return t.tx.SavePart(t.part)
}

// tellStops puts what the turn stopped into the history, for the other nodes: they may have pages of it in their hands.
func (t *turn) tellStops() {
	if t.alone || len(t.stopped) == 0 {
		return
	}
	if len(t.changes) == 0 {
		t.line(about{t.stopped[0].Incident, t.stopped[0].Major}, tocsin.ChangePaged, "rule")
	}
	l := t.changes[0]
	l.data.Stops = append(l.data.Stops, t.stopped...)
}

// claim marks the pages due now that this node sends at once, as many as it has room for.
func (t *turn) claim() {
	if t.reserve == nil {
		return
	}
	want := map[string]int{}
	for _, p := range t.pages {
		if !p.DueAt.After(t.now) {
			want[p.Channel]++
		}
	}
	for channel := range want {
		want[channel] = t.reserve(channel, want[channel])
	}
	for i := range t.pages {
		p := &t.pages[i]
		if want[p.Channel] > 0 && !p.DueAt.After(t.now) {
			want[p.Channel]--
			p.State, p.ClaimedTo, p.Token, p.Attempts = tocsin.PageClaimed, t.now.Add(t.lease), 1, 1
			t.claimed = append(t.claimed, *p)
		}
	}
}

// after does, in memory, what a committed turn calls for.
func (t *turn) after(ctx context.Context, pager *paging.Worker) {
	pager.Cancel(ctx, t.held)
	for _, s := range t.stopped {
		pager.Stop(ctx, s.Incident, s.Major, s.Pages)
	}
	uncounted(t.claimed)
	pager.Offer(t.claimed)
	if at, some := t.soonest(); some {
		pager.WakeFor(at)
	}
}

// soonest is when the first falls due of what the turn leaves to be claimed, or to fire.
func (t *turn) soonest() (at time.Time, some bool) {
	if t.woke {
		return t.now, true
	}
	earlier := func(due time.Time) {
		if !some || due.Before(at) {
			at, some = due, true
		}
	}
	for i := range t.pages {
		if t.pages[i].State == tocsin.PageDue {
			earlier(t.pages[i].DueAt)
		}
	}
	for i := range t.timers {
		earlier(t.timers[i].DueAt)
	}
	return at, some
}

// release gives the room back that a turn had reserved which was not committed.
func (t *turn) release(pager *paging.Worker) {
	for _, p := range t.claimed {
		pager.Release(p.Channel, 1)
	}
	t.claimed = nil
}

// effects writes what the correlator decided about people into the turn.
func (t *turn) effects(effects []correlate.Effect, w correlate.Writes) error {
	incidents := make(map[int64]tocsin.Incident, len(w.Incidents))
	for _, i := range w.Incidents {
		incidents[i.ID] = i
	}
	t.known = incidents
	majors := make(map[int64]tocsin.Major, len(w.Majors))
	for _, m := range w.Majors {
		majors[m.ID] = m
	}
	lines := make(map[about]*line, len(effects))
	fresh := map[int64]bool{} // incidents that opened in this turn, and were not paged in it
	for _, e := range effects {
		a := about{e.Incident, e.Major}
		if e.Incident != 0 {
			a.major = 0
		}
		l := lines[a]
		if l == nil {
			l = &line{Change: tocsin.Change{At: e.At, Actor: "rule", Kind: e.Kind.String(), Incident: a.incident, Major: a.major, AfterOffset: t.part.NextOffset}}
			lines[a] = l
			t.changes = append(t.changes, l)
		}
		l.step(e)
		if e.Kind == correlate.Opened {
			fresh[e.Incident] = true
		}
		err := t.effect(e, incidents[e.Incident], majors[e.Major], l, fresh[e.Incident])
		if err != nil {
			return err
		}
		if e.Kind == correlate.PageNow {
			delete(fresh, e.Incident)
		}
	}
	return nil
}

func (l *line) step(e correlate.Effect) {
	switch e.Kind {
	case correlate.Joined:
		l.data.Alerts++
	case correlate.Eased:
		l.data.Ended++
	}
	if len(l.data.Steps) == maxSteps {
		l.data.More++
		return
	}
	s := lineStep{Kind: e.Kind.String(), Summary: e.Summary, Why: e.Why}
	if e.Alert != 0 {
		s.Alert = tocsin.AlertID(e.Alert)
	}
	l.data.Steps = append(l.data.Steps, s)
}

func (t *turn) effect(e correlate.Effect, i tocsin.Incident, m tocsin.Major, l *line, fresh bool) error {
	switch e.Kind {
	case correlate.PageNow:
		return t.page(i, l, fresh)
	case correlate.AckedBySender:
		return t.stop(about{incident: e.Incident}, "acknowledged at the sender")
	case correlate.Subsumed:
		if m.ID == 0 {
			var err error
			m, err = t.tx.Major(e.Major)
			if err != nil {
				return err
			}
		}
		t.joins(i, m)
		return t.stop(about{incident: e.Incident}, "it belongs to a major now")
	case correlate.LastingEnd:
		return t.allClear(i)
	case correlate.Proposed:
		t.timers = append(t.timers, t.decideTimer(m))
		return t.review(m, tocsin.KindCandidate, "", l)
	case correlate.Promoted:
		return t.review(m, tocsin.KindMajor, "", l)
	case correlate.Lapsed:
		woken, err := t.tx.WokenFor(0, m.ID)
		if err != nil {
			return err
		}
		t.notify(woken, about{major: m.ID}, paging.MajorLapsedText(t.setup.majorView(m, paging.SMS, t.now)))
		return t.stop(about{major: m.ID}, "nothing is left of it")
	}
	return nil
}

func (t *turn) decideTimer(m tocsin.Major) store.Timer {
	return store.Timer{Partition: t.part.Partition, Kind: store.TimerDecide, Major: m.ID, DueAt: m.DecideBy}
}

// allClear ends the paging of an incident that recovered for good, and tells those who were woken.
func (t *turn) allClear(i tocsin.Incident) error {
	if !i.Paged {
		return nil
	}
	woken, err := t.tx.WokenFor(i.ID, 0)
	if err != nil {
		return err
	}
	for _, name := range woken {
		t.notify([]string{name}, about{incident: i.ID}, paging.RecoveredText(t.view(i), t.plan.People[name]))
	}
	return t.stop(about{incident: i.ID}, "recovered by itself")
}
