package paging

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"tocsin"
)

const (
	stopFor  = 10 * time.Minute // longer than any claim lives
	maxStops = 100_000
	maxOut   = 50_000
	checks   = 16 // look-ups of unconfirmed messages at once
)

// A target is what a page is about.
type target struct{ incident, major int64 }

func targetOf(p tocsin.Page) target { return target{p.Incident, p.Major} }

// Stop drops every page that owes an answer about the incident, or the major, and was due by at: nobody needs them any more.
// Calls that a provider still holds are cancelled. Pages due later, and notices, go on. Call it after the commit.
func (w *Worker) Stop(ctx context.Context, incident, major int64, at time.Time) {
	t := target{incident, major}
	now := time.Now()
	w.mu.Lock()
	if len(w.stops) >= maxStops {
		for k, when := range w.stops {
			if now.Sub(when) > stopFor {
				delete(w.stops, k)
			}
		}
	}
	if len(w.stops) < maxStops && at.After(w.stops[t]) { // beyond: the text's own re-check stops them
		w.stops[t] = at
	}
	w.mu.Unlock()
	signal(w.kick)
	w.cancelCalls(ctx, t)
}

// stopped reports whether p was stopped; with Worker.mu held.
func (w *Worker) stopped(p tocsin.Page) bool {
	if p.Kind == tocsin.KindNotice {
		return false
	}
	at, ok := w.stops[targetOf(p)]
	return ok && !p.DueAt.After(at)
}

// cancelCalls tells providers to drop what they hold about t.
func (w *Worker) cancelCalls(ctx context.Context, t target) {
	w.mu.Lock()
	var calls []unconfirmed
	for _, u := range w.out.of {
		if u.about == t && u.canceller != nil && u.channel == Voice {
			calls = append(calls, u)
		}
	}
	w.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.opts.SendTimeout)
	var g errgroup.Group
	g.SetLimit(checks)
	go func() {
		defer cancel()
		for _, u := range calls {
			g.Go(func() error {
				if err := u.canceller.Cancel(ctx, u.providerID); err != nil {
					w.obs.failed("cancel a call that nobody needs any more", err)
				}
				return nil
			})
		}
		_ = g.Wait() // each error was told where it came up
	}()
}

// An outbox remembers what providers took and have not confirmed.
type outbox struct {
	of   map[string]unconfirmed
	fifo []string // page ids in the order of sending
	wake chan struct{}
}

type unconfirmed struct {
	page, providerID, channel string
	about                     target
	checker                   Checker
	canceller                 Canceller
	due                       time.Time // zero: kept only to be cancelled
	until                     time.Time // forgotten then
}

func newOutbox() *outbox {
	return &outbox{of: make(map[string]unconfirmed), wake: make(chan struct{}, 1)}
}

// add remembers p where its provider can be asked about it, or can still drop it.
func (o *outbox) add(p tocsin.Page, r *route, confirm time.Duration, now time.Time) {
	u := unconfirmed{page: p.ID, providerID: p.ProviderID, channel: p.Channel, about: targetOf(p), until: now.Add(stopFor)}
	u.checker, _ = r.Sender.(Checker)
	if p.Channel == Voice {
		u.canceller, _ = r.Sender.(Canceller)
	}
	if u.checker != nil && confirm > 0 {
		u.due = now.Add(confirm)
		if p.Channel == Voice {
			u.due = now.Add(2 * confirm)
		}
		u.until = u.due
	}
	if u.due.IsZero() && u.canceller == nil || len(o.of) >= maxOut {
		return
	}
	o.of[p.ID] = u
	o.fifo = append(o.fifo, p.ID)
	signal(o.wake)
}

func (o *outbox) confirmed(page string) { delete(o.of, page) }

// overdue takes out what should have been confirmed by now, and says when to look again.
func (o *outbox) overdue(now time.Time) (late []unconfirmed, next time.Time) {
	kept := o.fifo[:0]
	for _, id := range o.fifo {
		u, ok := o.of[id]
		switch {
		case !ok:
		case u.until.After(now):
			kept = append(kept, id)
			next = earliest(next, u.until)
		default:
			delete(o.of, id)
			if !u.due.IsZero() {
				late = append(late, u)
			}
		}
	}
	clear(o.fifo[len(kept):])
	o.fifo = kept
	return late, next
}

// confirm asks providers about messages that no callback confirmed in time. What is still not confirmed counts as not delivered.
func (w *Worker) confirm(ctx context.Context) {
	for {
		w.mu.Lock()
		late, next := w.out.overdue(time.Now())
		w.mu.Unlock()
		var g errgroup.Group
		g.SetLimit(checks)
		for _, u := range late {
			g.Go(func() error {
				w.check(ctx, u)
				return nil
			})
		}
		_ = g.Wait() // check tells its own errors
		wait, wake := time.Duration(-1), w.out.wake
		if !next.IsZero() {
			wait, wake = min(max(time.Until(next), 250*time.Millisecond), 2*time.Second), nil // not woken by every send
		}
		if !sleep(ctx, wait, wake, nil) {
			return
		}
	}
}

func (w *Worker) check(ctx context.Context, u unconfirmed) {
	cctx, cancel := context.WithTimeout(ctx, w.opts.SendTimeout)
	r, err := u.checker.Check(cctx, u.providerID)
	cancel()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.obs.failed("ask about a message that was not confirmed", err)
	}
	if err != nil || !r.State.Final() {
		r = Report{State: tocsin.PageFailed, Reason: "not confirmed in time"}
	}
	r.PageID, r.ProviderID = u.page, u.providerID
	if err = w.Report(ctx, r); err != nil {
		w.obs.failed("record what became of a message", err)
	}
}
