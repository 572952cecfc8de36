package paging

import (
	"context"
	"maps"
	"slices"
	"strings"
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

// Stop drops pages, by their ids, that owe an answer about the incident, or the major: a commit has ended them. Which they are is
// not told by times, which are of as many clocks as there are nodes: one that was made after the stop is not to be dropped with
// them. Calls about it that a provider still holds are cancelled. Notices go on. Call it after the commit.
func (w *Worker) Stop(ctx context.Context, incident, major int64, pages []string) {
	now := time.Now()
	w.mu.Lock()
	if len(w.stops)+len(pages) > maxStops {
		for id, when := range w.stops {
			if now.Sub(when) > stopFor {
				delete(w.stops, id)
			}
		}
	}
	for _, id := range pages {
		if len(w.stops) < maxStops { // beyond: the text's own re-check stops them
			w.stops[id] = now
		}
	}
	w.mu.Unlock()
	signal(w.kick)
	w.cancelCalls(ctx, target{incident, major})
}

// stoppedOf is what j's message tells of that was stopped; with Worker.mu held.
func (w *Worker) stoppedOf(j *job) (out []target) {
	for _, q := range append([]*job{j}, j.with...) {
		if w.stopped(q.page) {
			out = append(out, targetOf(q.page))
		}
	}
	return out
}

// stopped reports whether p was stopped; with Worker.mu held.
func (w *Worker) stopped(p tocsin.Page) bool {
	if p.Kind == tocsin.KindNotice {
		return false
	}
	_, is := w.stops[p.ID]
	return is
}

// cancelCalls tells providers to drop what they hold about t.
func (w *Worker) cancelCalls(ctx context.Context, t target) {
	w.mu.Lock()
	var calls []unconfirmed
	for _, u := range w.out.of {
		i := slices.Index(u.about, t)
		if i < 0 || u.canceller == nil || u.channel != Voice {
			continue
		}
		u.about = slices.Delete(slices.Clone(u.about), i, i+1)
		w.out.of[u.page] = u
		if len(u.about) == 0 { // a call that tells of more goes on
			calls = append(calls, u)
		}
	}
	w.mu.Unlock()
	w.drop(ctx, calls)
}

// Cancel tells providers to drop calls that they may still hold, whichever process made them. Call it after the commit that ended
// the pages.
func (w *Worker) Cancel(ctx context.Context, pages []tocsin.Page) {
	var calls []unconfirmed
	w.mu.Lock()
	for _, p := range pages {
		l := w.lines[p.Channel]
		if l == nil || p.ProviderID == "" {
			continue
		}
		for _, r := range l.routes {
			if c, can := r.Sender.(Canceller); can && r.Name == p.Provider {
				calls = append(calls, unconfirmed{page: messageID(p), providerID: p.ProviderID, canceller: c})
				w.out.confirmed(messageID(p))
			}
		}
	}
	w.mu.Unlock()
	w.drop(ctx, calls)
}

// drop cancels calls, without waiting for it.
func (w *Worker) drop(ctx context.Context, calls []unconfirmed) {
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
	about                     []target
	checker                   Checker
	canceller                 Canceller
	due                       time.Time // zero: kept only to be cancelled
	until                     time.Time // forgotten then
}

func newOutbox() *outbox {
	return &outbox{of: make(map[string]unconfirmed), wake: make(chan struct{}, 1)}
}

// add remembers what f says was taken, where its provider can be asked about it or can still drop it.
func (o *outbox) add(f Fate, r *route, confirm time.Duration, now time.Time) {
	p := f.Page
	u := unconfirmed{page: messageID(p), providerID: p.ProviderID, channel: p.Channel, about: []target{targetOf(p)}, until: now.Add(stopFor)}
	for _, q := range f.With {
		u.about = append(u.about, targetOf(q))
	}
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
	if _, known := o.of[u.page]; !known {
		o.fifo = append(o.fifo, u.page)
	}
	o.of[u.page] = u
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
// What is asked about stands in the rows: memory is only the quickest way to know what is next, and forgets with the process.
func (w *Worker) confirm(ctx context.Context) {
	pause := backoff{}
	look := time.Now() // at the start: all that the processes before this one left behind
	adopted := look
	for {
		if now := time.Now(); w.opts.Confirm > 0 && !now.Before(look) {
			n, err := w.adopt(ctx, adopted)
			switch {
			case err != nil && ctx.Err() == nil:
				w.obs.failed("look for messages without a receipt", err)
				look = now.Add(pause.next())
			case n == adopts: // there may be more, once these have been asked about
				look = now.Add(w.opts.Poll)
			default:
				pause.reset()
				look, adopted = now.Add(adoptEvery), now.Add(adoptEvery-4*w.opts.Confirm)
			}
		}
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
		if w.opts.Confirm > 0 {
			wait = max(time.Until(look), 0)
		}
		if !next.IsZero() {
			wait, wake = min(max(time.Until(next), 250*time.Millisecond), 2*time.Second), nil // not woken by every send
		}
		if !sleep(ctx, wait, wake, nil) {
			return
		}
	}
}

const (
	adopts     = 1000        // messages in one look
	adoptEvery = time.Minute // of nodes that are gone
)

// adopt takes in what was sent before the given time, is not confirmed, and is not known to this process; n is how much it saw.
func (w *Worker) adopt(ctx context.Context, before time.Time) (n int, err error) {
	routes := map[string]*route{}
	w.mu.Lock()
	for _, l := range w.lines {
		for _, r := range l.routes {
			if _, can := r.Sender.(Checker); can {
				routes[l.channel+"\x00"+r.Name] = r
			}
		}
	}
	room := min(adopts, maxOut-len(w.out.of))
	w.mu.Unlock()
	names := map[string]bool{}
	for key := range routes {
		_, name, _ := strings.Cut(key, "\x00")
		names[name] = true
	}
	if len(names) == 0 || room <= 0 {
		return 0, nil
	}
	pages, err := w.book.Unconfirmed(ctx, slices.Sorted(maps.Keys(names)), before, room)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range pages {
		r := routes[p.Channel+"\x00"+p.Provider]
		if _, has := w.out.of[messageID(p)]; has || r == nil || p.ProviderID == "" || w.jobs[p.ID] != nil {
			continue
		}
		w.out.add(Fate{Page: p}, r, w.opts.Confirm, p.SentAt)
	}
	return len(pages), nil
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
