package paging

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"tocsin"
)

// fold lets what else waits for j's person go with it, in one message. For who has one page it looks at one job, and that is all.
func (w *Worker) fold(j *job, now time.Time) {
	w.persons.took(j, now)
	w.persons.leave(j)
	w.collect(j, now)
	if w.heldUp(j, now) {
		j.gathers = true
		j.person.lead = j
	}
}

// follows reports whether j will go with one that has started and still looks what else waits for their person.
func (w *Worker) follows(j *job) bool {
	return j.person != nil && j.person.lead != nil && j.fresh && isNotice(j) == isNotice(j.person.lead) && len(j.person.lead.with) < maxFolded
}

// collect puts with j what its person waits for in this node's hands; with Worker.mu held.
func (w *Worker) collect(j *job, now time.Time) {
	if j.person == nil || len(j.person.jobs) == 0 {
		return
	}
	kept := j.person.jobs[:0]
	for _, q := range j.person.jobs {
		if len(j.with) >= maxFolded || !q.fresh || q.running || isNotice(q) != isNotice(j) || w.stopped(q.page) || w.void(q, now) {
			kept = append(kept, q)
			continue
		}
		q.running, q.lead = true, j
		j.with = append(j.with, q)
	}
	clear(j.person.jobs[len(kept):])
	j.person.jobs = kept
}

// compose writes the text of t's job and of all that goes with it. Those that nobody needs any more are settled; where that is the
// first, another one goes before the rest.
func (w *Worker) compose(ctx context.Context, t task) (task, Message, error) {
	j := t.job
	if j.gathers {
		w.gatherMore(ctx, j)
	}
	if len(j.with) == 0 {
		m, err := w.book.Compose(ctx, j.page)
		if err == nil && j.page.State != tocsin.PageUnknown {
			j.page.Body, j.page.Message = m.Kept(), ""
		}
		return t, m, err
	}
	if len(j.look) > 0 {
		return t, j.msg, nil // as it was sent
	}
	pages := []tocsin.Page{j.page}
	for _, q := range j.with {
		pages = append(pages, q.page)
	}
	m, gone, err := w.book.Fold(ctx, pages)
	if err != nil {
		return t, m, err
	}
	t, fates := w.without(t, gone, m)
	for _, f := range fates {
		w.fate(f)
	}
	if m.ID == "" {
		return t, m, gone[t.job.page.ID]
	}
	return t, m, nil
}

// backlog is how late a page is when others of its person may wait in the Book too.
const backlog = 5 * time.Second

// heldUp reports whether j is so late, or has had such trouble, that more may wait for its person than this node has in hand.
func (w *Worker) heldUp(j *job, now time.Time) bool {
	return j.person != nil && j.fresh && len(j.look) == 0 && (j.page.Error != "" || now.Sub(j.page.DueAt) > backlog)
}

// gatherMore lets what waits for j's person in the Book go with it. Where the Book cannot say, it goes by itself later.
func (w *Worker) gatherMore(ctx context.Context, j *job) {
	w.mu.Lock()
	soon := 2 * w.persons.window // what was given back comes so soon again
	w.mu.Unlock()
	w.claiming.RLock()
	defer w.claiming.RUnlock()
	pages, err := w.book.ClaimMore(ctx, j.page, time.Now().Add(soon), w.opts.Lease, maxFolded-len(j.with))
	if err != nil {
		w.obs.failed("look for more pages to one person", err)
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines[j.page.Channel]
	for _, p := range pages {
		if w.jobs[p.ID] != nil || l == nil {
			continue // its claim was void here
		}
		q := &job{page: p, claimed: now, fresh: true, running: true, lead: j, person: j.person}
		w.jobs[p.ID] = q
		l.held++
		j.with = append(j.with, q)
	}
	w.collect(j, now) // what was claimed meanwhile
	j.gathers = false
	if j.person.lead == j {
		j.person.lead = nil
		signal(w.kick)
	}
}

// without settles what is gone of t's message. When nothing is left, the first stays in t, alone.
func (w *Worker) without(t task, gone map[string]error, m Message) (task, []Fate) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := append([]*job{t.job}, t.job.with...)
	first := slices.IndexFunc(all, func(q *job) bool { return q.page.ID == m.ID })
	j := all[max(first, 0)]
	var with []*job
	var fates []Fate
	for _, q := range all {
		q.with = nil
		switch err := gone[q.page.ID]; {
		case q == j:
		case errors.Is(err, ErrNotYet):
			fates = append(fates, w.settle(q, again(q.page, now.Add(notYet))))
		case err != nil:
			fates = append(fates, w.settle(q, cancelled(q.page, now)))
		default:
			with = append(with, q)
		}
	}
	j.lead, j.with, j.counted = nil, with, t.job.counted
	for _, q := range with {
		q.lead = j
	}
	if first >= 0 {
		j.page.Body, j.page.Message = m.Kept(), ""
		if len(with) > 0 {
			j.page.Message = m.ID
		}
	}
	t.job = j
	return t, fates
}

// Kept is the text by which a provider that is asked knows the message again; "" where its text plays no part in that.
func (m Message) Kept() string {
	if m.Channel != SMS {
		return ""
	}
	return m.Text
}

// needless reports whether everything that j's message tells of was stopped; with Worker.mu held.
func (w *Worker) needless(j *job) bool {
	return w.stopped(j.page) && (len(j.with) == 0 || len(w.stoppedOf(j)) == 1+len(j.with))
}

// expired reports whether nothing that j's message tells of is worth sending any more.
func (j *job) expired(now time.Time) bool {
	for _, q := range append([]*job{j}, j.with...) {
		if q.page.Expires.IsZero() || !now.After(q.page.Expires) {
			return false
		}
	}
	return true
}

// share gives what goes with j the same fate.
func (j *job) share(f Fate) Fate {
	f.With = nil
	for _, q := range j.with {
		p, lead := q.page, f.Page
		p.State, p.Provider, p.ProviderID, p.ClaimedTo, p.Attempts, p.Tried = lead.State, lead.Provider, lead.ProviderID, lead.ClaimedTo, lead.Attempts, lead.Tried
		p.SentAt, p.EndedAt, p.Error, p.Body, p.Message = lead.SentAt, lead.EndedAt, lead.Error, lead.Body, lead.Message
		if p.State == tocsin.PageDue {
			p.DueAt = lead.DueAt
		}
		f.With = append(f.With, p)
	}
	return f
}

// messageID is what a provider knows the page's message by.
func messageID(p tocsin.Page) string { return cmp.Or(p.Message, p.ID) }
