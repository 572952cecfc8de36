package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
	"tocsin/paging"
)

// pagebook is the store as the pager sees it.
type pagebook struct {
	*office

	resting map[int]rest // partitions that somebody kept locked when their timers were due last
}

// Claim takes due pages.
func (b *pagebook) Claim(ctx context.Context, free map[string]int, lease time.Duration) (pages []tocsin.Page, err error) {
	err = b.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		tx.Hold(b.node)
		pages, err = tx.ClaimPages(b.clock.Now(), lease, free, 1)
		return err
	})
	uncounted(pages)
	return pages, err
}

// uncounted takes back the attempt that a claim counts in the row, for the case that nobody lives to tell: the pager counts
// each as it is made.
func uncounted(pages []tocsin.Page) {
	for i := range pages {
		if pages[i].State == tocsin.PageClaimed && pages[i].Attempts > 0 {
			pages[i].Attempts--
		}
	}
}

func (b *pagebook) composeIncident(tx *store.Tx, s *setup, p tocsin.Page, m *paging.Message) error {
	i, err := tx.Incident(p.Incident)
	if err != nil {
		return err
	}
	if i.State == tocsin.Settled && i.ResolvedBy == tocsin.ByItself && b.clock.Now().Sub(i.ResolvedAt) < store.RecoveryLasts {
		return paging.ErrNotYet
	}
	if i.State != tocsin.Triggered || i.Major != 0 {
		return paging.ErrStale
	}
	v := s.view(i, p.Channel, b.clock.Now())
	v.Unanswered = p.Step == paging.NagStep
	m.Priority, m.CanAnswer = i.Priority, v.CanReply
	if p.Channel == paging.Email {
		v.Alerts, err = alertLines(tx, i.ID)
		if err != nil {
			return err
		}
		_, why := s.plan.Choose(i.Escalation, i.Team, i.Service)
		v.Why = fmt.Sprintf("rule %s grouped it by %s; %s.", i.Rule, i.Key, why)
		m.Link = s.signed(b.secret, p)
		v.Link, v.CanReply = "", false // answered by that link: nobody reads what is mailed back
	}
	written := paging.IncidentText(p.Channel, v, m.Person)
	m.Subject, m.Text = written.Subject, written.Text
	return nil
}

func (b *pagebook) composeMajor(tx *store.Tx, s *setup, p tocsin.Page, m *paging.Message) error {
	x, err := tx.Major(p.Major)
	if err != nil {
		return err
	}
	if p.Kind == tocsin.KindCandidate && x.State != tocsin.Proposed || p.Kind == tocsin.KindMajor && x.State != tocsin.Confirmed {
		return paging.ErrStale
	}
	v := s.majorView(x, p.Channel, b.clock.Now())
	m.Priority, m.CanAnswer = x.Priority, v.CanReply
	if p.Channel == paging.Email {
		v.Incidents, err = incidentLines(tx, x)
		if err != nil {
			return err
		}
		v.Why = fmt.Sprintf("rule %s asks for %s.", x.Rule, correlate.Said(x.Limits))
		m.Link = s.signed(b.secret, p)
		v.Link, v.CanReply = "", false
	}
	written := paging.MajorText(p.Channel, p.Kind, v, m.Person)
	m.Subject, m.Text = written.Subject, written.Text
	return nil
}

// mailAlerts is how many alerts a mail lists.
const mailAlerts = 10

func alertLines(tx *store.Tx, incident int64) ([]string, error) {
	var lines []string
	for a, err := range tx.Alerts(store.AlertFilter{Incident: incident, Status: tocsin.Firing, Limit: mailAlerts}) {
		if err != nil {
			return nil, err
		}
		lines = append(lines, a.Summary)
	}
	return lines, nil
}

// incidentLines is what a mail lists of a major's incidents; those that retention took are only counted.
func incidentLines(tx *store.Tx, m tocsin.Major) ([]string, error) {
	lines := make([]string, 0, len(m.Incidents))
	for n, id := range m.Incidents {
		if n >= mailAlerts {
			lines = append(lines, tocsin.IncidentID(id)) // counted by the mail, not shown
			continue
		}
		i, err := tx.Incident(id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		lines = append(lines, strings.Trim(i.Service+": "+i.Title, ": "))
	}
	return lines, nil
}

// Save records what became of pages. What failed is a turn of its own: somebody's next way is due then. left are those whose rows, or whose
// partition, somebody else keeps locked.
func (b *pagebook) Save(ctx context.Context, fates []paging.Fate) (left []int, err error) {
	var failed map[int][]int
	err = b.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		rows := make([][]tocsin.Page, len(fates))
		var ids []string
		for i, f := range fates {
			rows[i] = append([]tocsin.Page{f.Page}, f.With...)
			if f.Reported {
				var err error
				rows[i], err = reported(tx, f)
				if err != nil {
					return err
				}
			}
			for n := range rows[i] {
				ids = append(ids, rows[i][n].ID)
			}
		}
		locked, err := tx.LockedPages(ids)
		if err != nil {
			return err
		}
		left, failed = nil, map[int][]int{}
		var pages []tocsin.Page
		for i, f := range fates {
			switch {
			case slices.ContainsFunc(rows[i], func(p tocsin.Page) bool { return locked[p.ID] }):
				left = append(left, i)
			case f.Page.State != tocsin.PageFailed:
				pages = append(pages, rows[i]...)
			case len(rows[i]) > 0:
				partition := rows[i][0].Partition
				failed[partition] = append(failed[partition], i)
			}
		}
		_, err = tx.SavePages(pages)
		return err
	})
	if err != nil {
		return nil, err
	}
	for partition, of := range failed {
		some := make([]paging.Fate, len(of))
		for n, i := range of {
			some[n] = fates[i]
		}
		err = b.fail(ctx, store.Paging, partition, some)
		if errors.Is(err, store.ErrLocked) {
			left, err = append(left, of...), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// reported finds the pages that a provider's report is about, and raises their states; those that it says nothing new of are left out.
func reported(tx *store.Tx, f paging.Fate) (news []tocsin.Page, err error) {
	var p tocsin.Page
	if f.Page.ID != "" {
		p, err = tx.Page(f.Page.ID)
	} else {
		p, err = tx.PageByProviderID(f.Page.Provider, f.Page.ProviderID)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // of another installation, or retention took it
	}
	if err != nil {
		return nil, err
	}
	pages := []tocsin.Page{p}
	if p.Message == p.ID {
		shared, err := tx.PagesOf(p.ID)
		if err != nil {
			return nil, err
		}
		pages = append(pages, shared...)
	}
	for _, p := range pages {
		if p.State.Final() || f.Page.State <= p.State {
			continue
		}
		p.State, p.EndedAt, p.Error = f.Page.State, f.Page.EndedAt, f.Page.Error
		if p.ProviderID == "" {
			p.ProviderID = f.Page.ProviderID
		}
		news = append(news, p)
	}
	return news, nil
}

// NextDue is when there may be something to claim.
func (b *pagebook) NextDue(ctx context.Context) (due time.Time, err error) {
	err = b.db.View(ctx, func(tx *store.Tx) error {
		due, err = tx.NextPageDue()
		return err
	})
	return due, err
}

// timersAtOnce bounds how many timers one round fires.
const timersAtOnce = 200

// How many timers of one partition fire in one turn.
const timersInTurn = 50

// For how long the timers of a partition are left alone that somebody kept locked: meanwhile nobody waits for it. Each time twice as long.
const (
	restFirst = 250 * time.Millisecond
	restMost  = 4 * time.Second
)

// A rest is that of one partition.
type rest struct {
	until time.Time
	last  time.Duration
}

// FireTimers fires what is due, in turns of one partition each. It is not for several at once.
func (b *pagebook) FireTimers(ctx context.Context) (fired int, next time.Time, err error) {
	resting, until := b.rests()
	var due []store.Timer
	err = b.db.View(ctx, func(tx *store.Tx) error {
		due, err = tx.DueTimers(b.clock.Now(), timersAtOnce, resting...)
		if err != nil || len(due) > 0 {
			return err
		}
		next, err = tx.NextTimerDue(resting...)
		return err
	})
	if err != nil {
		return 0, time.Time{}, err
	}
	if len(due) == 0 {
		if !until.IsZero() && (next.IsZero() || until.Before(next)) {
			next = until
		}
		return 0, next, nil
	}
	var failed error
	for most := timersInTurn; len(due) > 0; {
		turn, later := inOneTurn(due, most)
		partition := turn[0].Partition
		err = b.fireTurn(ctx, partition, turn)
		switch {
		case errors.Is(err, store.ErrLocked):
			b.letRest(partition)
			b.log.Warn("timers of a partition wait: somebody keeps it locked", "partition", partition, "error", err)
			later = slices.DeleteFunc(later, func(m store.Timer) bool { return m.Partition == partition })
		case err == nil:
			delete(b.resting, partition)
			fired += len(turn)
		case errors.Is(err, store.ErrUnavailable), ctx.Err() != nil:
			return fired, time.Time{}, err
		case len(turn) > 1: // one of them cannot be fired: it is in nobody's way
			most = 1
			continue
		default:
			failed = errors.Join(failed, err)
		}
		due = later
	}
	return fired, time.Now(), failed // there may be more, also where all that was due rests now
}

// inOneTurn returns the first of due and up to most in all that fire in one turn with it: of its partition, each about an incident of its own,
// for what a turn says of one is one line of its history. What is about a major stands alone.
func inOneTurn(due []store.Timer, most int) (turn, later []store.Timer) {
	first := due[0]
	seen := map[int64]bool{}
	for i, m := range due {
		with := i == 0 || len(turn) < most && m.Partition == first.Partition && first.Major == 0 && m.Major == 0 && !seen[m.Incident]
		if m.Partition == first.Partition {
			seen[m.Incident] = true
		}
		if with {
			turn = append(turn, m)
		} else {
			later = append(later, m)
		}
	}
	return turn, later
}

// fireTurn fires timers of one partition in one turn.
func (b *pagebook) fireTurn(ctx context.Context, partition int, timers []store.Timer) error {
	return b.do(ctx, store.Paging, partition, func(t *turn) error {
		for _, m := range timers {
			there, err := t.tx.DeleteTimer(m.ID)
			if err == nil && there {
				err = t.fire(m)
			}
			if err != nil {
				return fmt.Errorf("timer %s of incident %d, major %d: %w", m.Kind, m.Incident, m.Major, err)
			}
		}
		return nil
	})
}

// letRest lets a partition's timers rest.
func (b *pagebook) letRest(partition int) {
	r := b.resting[partition]
	r.last = min(max(2*r.last, restFirst), restMost)
	r.until = time.Now().Add(r.last)
	b.resting[partition] = r
}

// rests returns which partitions are left alone, and until when the first of them is.
func (b *pagebook) rests() (partitions []int, until time.Time) {
	if b.resting == nil {
		b.resting = map[int]rest{}
	}
	for p, r := range b.resting {
		if !time.Now().Before(r.until) {
			continue // it is tried
		}
		partitions = append(partitions, p)
		if until.IsZero() || r.until.Before(until) {
			until = r.until
		}
	}
	return partitions, until
}

// fire does what one timer is for, if it is still wanted.
func (t *turn) fire(m store.Timer) error {
	if m.Major != 0 {
		return t.fireMajor(m)
	}
	i, err := t.tx.Incident(m.Incident)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if i.State == tocsin.Settled && i.ResolvedBy == tocsin.ByItself && t.now.Sub(i.ResolvedAt) < store.RecoveryLasts {
		m.ID, m.DueAt = 0, t.now.Add(looksAgain) // it may come back as if nothing had been, and be somebody's still
		t.timers = append(t.timers, m)
		return nil
	}
	switch m.Kind {
	case store.TimerStep:
		return t.fireStep(m, i)
	case store.TimerAckOut:
		if i.State != tocsin.Acked { // whoever renews or takes it replaces this timer
			return nil
		}
		_, err = t.incident(i, tocsin.DoUnack, "timer", "the acknowledgement was not renewed")
		return err
	case store.TimerNudge:
		if i.State == tocsin.Acked {
			owner := t.plan.People[i.AckedBy]
			t.notify([]string{i.AckedBy}, about{incident: i.ID}, paging.NudgeText(t.view(i), owner, m.DueAt.Add(nudgeBefore)))
		}
	}
	return nil
}

func (t *turn) fireStep(m store.Timer, i tocsin.Incident) error {
	if i.State != tocsin.Triggered || i.Major != 0 {
		return nil
	}
	w, err := walkOf(m)
	if err != nil {
		return err
	}
	w.Urgency, w.Lane = i.Urgency, laneOf(i.Urgency)
	return t.walk(w, t.line(about{incident: i.ID}, tocsin.ChangePaged, "timer"))
}

// looksAgain is how soon a timer that came due during a recovery is looked at again.
const looksAgain = 5 * time.Second

// walkOf reads the walk that a step's timer keeps.
func walkOf(m store.Timer) (w paging.Walk, err error) {
	err = json.Unmarshal([]byte(m.Data), &w)
	if err != nil {
		err = fmt.Errorf("timer %d: %w", m.ID, err)
	}
	return w, err
}

func (t *turn) fireMajor(m store.Timer) error {
	x, err := t.tx.Major(m.Major)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch m.Kind {
	case store.TimerDecide:
		if x.State != tocsin.Proposed || x.DecideBy.After(t.now) {
			return nil
		}
		_, _, err = t.major(x, correlate.OnTimeout(x), "timer", "undecided for "+x.DecideAfter.String())
		return err
	case store.TimerStep:
		if !x.State.Open() {
			return nil
		}
		w, err := walkOf(m)
		if err != nil {
			return err
		}
		return t.walk(w, t.line(about{major: x.ID}, tocsin.ChangePaged, "timer"))
	}
	return nil
}
