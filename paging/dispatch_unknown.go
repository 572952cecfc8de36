package paging

import (
	"context"
	"fmt"
	"time"

	"tocsin"
)

// unknown: the request went out and no usable answer came. It is written down at once; a callback may tell what became of it,
// and after Options.Unknown it is looked up.
func (w *Worker) unknown(j *job, r *route, began time.Time, err error) *Fate {
	p := &j.page
	p.State, p.SentAt, p.Error = tocsin.PageUnknown, began.UTC(), r.Name+": "+err.Error()
	p.ClaimedTo = time.Now().Add(w.opts.Lease).UTC()
	j.claimed = time.Now()
	j.look, j.since, j.avoid = []*route{r}, began, r.Name
	j.unknown++
	f := j.share(Fate{Page: *p})
	if j.report != nil || w.closing {
		if w.closing {
			f.Page.ClaimedTo = time.Now().UTC()
		}
		f = w.settle(j, f) // a callback has told already, and was saved by itself
		return &f
	}
	w.park(j, w.opts.Unknown)
	return &f
}

// lookUp asks the first suspect whether it has the page.
func (w *Worker) lookUp(ctx context.Context, t task, m Message) {
	j, r := t.job, t.route
	if j.msg.ID != "" {
		m = j.msg // as it was sent, not as it would be sent now
	}
	m.ID = messageID(j.page)
	began := time.Now()
	var receipt Receipt
	var found bool
	var err error
	finder, can := r.Sender.(Finder)
	if can {
		fctx, cancel := context.WithTimeout(ctx, w.opts.SendTimeout)
		receipt, found, err = finder.Find(fctx, m, j.since)
		cancel()
	}
	w.mu.Lock()
	r.flight--
	j.running = false
	fate := w.looked(j, r, receipt, found, can && err == nil)
	w.makeRoom(j.page.Channel)
	page := j.page // from here on another goroutine may have the job
	w.mu.Unlock()
	signal(w.kick)
	w.obs.lookedUp(page, r.Name, found, time.Since(began), err)
	if fate != nil {
		w.fate(*fate)
	}
}

// looked decides after a look-up; sure: the provider could be asked and answered.
func (w *Worker) looked(j *job, r *route, receipt Receipt, found, sure bool) *Fate {
	p := &j.page
	switch {
	case j.report != nil: // a callback came meanwhile, and was saved by itself
		f := w.settle(j, Fate{Page: *p})
		return &f
	case found:
		p.Provider = r.Name
		f := w.settle(j, accepted(*p, receipt, j.since))
		w.out.add(f, r, w.opts.Confirm, time.Now())
		return &f
	case !sure && isFinder(r) && j.lookups < 1:
		j.lookups++
		return w.park(j, w.opts.Unknown)
	}
	doubt := !sure
	j.look = j.look[1:]
	if doubt && j.blind || j.unknown >= maxUnknown {
		f := w.settle(j, failure(*p, time.Now(), fmt.Sprintf("outcome unknown after %d attempts; %s", p.Attempts, p.Error)))
		return &f
	}
	j.blind = j.blind || doubt
	if len(j.look) > 0 {
		return w.requeue(j)
	}
	j.lookups = 0
	p.State = tocsin.PageClaimed
	if p.Message != "" && len(j.with) == 0 { // it shared a message that another process sent: it may share another one
		f := w.settle(j, again(*p, time.Now()))
		return &f
	}
	return w.requeue(j)
}

func isFinder(r *route) bool {
	_, ok := r.Sender.(Finder)
	return ok
}

// Report takes what a provider's callback says and returns once it is durable: only then may the provider be answered 2xx.
// A callback may come twice, late, before the answer to the send it is about, or for a page of another node.
func (w *Worker) Report(ctx context.Context, r Report) error {
	f := Fate{Reported: true, Contact: r.Contact, Opted: r.Opted, Page: tocsin.Page{ID: r.PageID, ProviderID: r.ProviderID, State: r.State, Error: r.Reason}}
	if r.State.Final() {
		f.Page.EndedAt = time.Now().UTC()
	}
	if err := w.saved(ctx, f); err != nil {
		return fmt.Errorf("report on page %s: %w", r.PageID, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.State.Final() {
		w.out.confirmed(r.PageID)
	}
	j := w.jobs[r.PageID]
	if j == nil {
		return nil
	}
	j.report = &r
	if !j.running && !j.since.IsZero() { // it waits to be looked up or sent again: that is not needed any more
		if j.timer != nil {
			j.timer.Stop()
		}
		for i, q := range w.lines[j.page.Channel].lanes {
			for k, other := range q {
				if other == j {
					w.lines[j.page.Channel].lanes[i] = append(q[:k:k], q[k+1:]...)
					break
				}
			}
		}
		w.settle(j, Fate{})
		w.makeRoom(j.page.Channel)
	}
	return nil
}
