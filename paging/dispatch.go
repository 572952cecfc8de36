package paging

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"tocsin"
)

const (
	lanes      = 4
	quickRetry = 200 * time.Millisecond // after nothing was sent, before the same provider is tried once more
	patience   = 2 * time.Second        // a preferred provider that is ready within this long is waited for
	notYet     = 5 * time.Second        // a page that is perhaps needed again is looked at again
	inMemory   = 10 * time.Second       // a wait longer than this goes back to the Book
	maxUnknown = 3                      // sends of one page whose outcome was unknown, before it is shown as failed
	idleFor    = 5 * time.Second        // a goroutine without work ends after this long
)

// A job is one claimed page in this node's hands. Worker.mu guards it while no goroutine runs it.
type job struct {
	page    tocsin.Page
	claimed time.Time // when this node got it
	first   time.Time // when it was first tried
	fresh   bool      // nothing was tried under this claim
	running bool
	timer   *time.Timer

	refused []string // providers that will never take it
	missed  []string // providers that nothing could be sent to this time around
	avoid   string   // the provider whose outcome was unknown: another one is better
	tries   int      // at the same provider, nothing sent
	laps    int      // times that all providers were missed
	fumbles int      // texts that could not be written

	look    []*route  // where to look for a send of unknown outcome, before anything is sent
	since   time.Time // when that send may have started
	msg     Message   // as it was sent
	lookups int       // that failed
	unknown int       // sends whose outcome was unknown
	blind   bool      // sent again without being sure that the first was lost
	report  *Report   // a callback that came while this was in hand

	person  *person   // whose messages are counted; nil: nobody's
	counted time.Time // when it was counted as a message of theirs
	lead    *job      // the one whose message this goes with
	with    []*job    // those that go with this one's message
	gathers bool      // it looks what else waits for its person, before its message is written
}

// A task is one job with the provider that has a slot for it.
type task struct {
	job    *job
	route  *route
	forced bool // the breaker is open, and there is no other provider
}

// A line is what waits for one channel.
type line struct {
	channel  string
	routes   []*route
	lanes    [lanes][]*job
	held     int // jobs in hand: waiting, running or parked
	reserved int
}

func (l *line) push(j *job) {
	n := min(max(j.page.Lane, 0), lanes-1)
	if j.fresh {
		l.lanes[n] = append(l.lanes[n], j)
		return
	}
	l.lanes[n] = slices.Insert(l.lanes[n], 0, j) // what was tried before has waited already
}

// capacity is how many jobs this line may hold: what its first usable provider can have under way, and what it will start
// within half a second by how fast it has been.
func (l *line) capacity(now time.Time) int {
	for _, r := range l.routes {
		if n := r.room(now); n > 0 {
			return n
		}
	}
	if l.routes[0].paused.After(now) {
		return 0
	}
	return probes // all breakers are open: a few may try
}

// chunk is how much room is worth a claim of its own.
func (l *line) chunk(now time.Time) int { return max(1, min(64, l.capacity(now)/8)) }

// suspects are the providers that may have a page whose claim lapsed.
func (l *line) suspects(provider string) []*route {
	for _, r := range l.routes {
		if r.Name == provider {
			return []*route{r}
		}
	}
	return slices.Clone(l.routes)
}

// dispatch starts jobs as providers have room for them, until ctx ends; sending is the context of the requests themselves.
func (w *Worker) dispatch(ctx, sending context.Context) {
	for {
		w.mu.Lock()
		tasks, over, next := w.ready(time.Now())
		w.mu.Unlock()
		for _, t := range tasks {
			w.start(ctx, sending, t)
		}
		for _, f := range over {
			w.fate(f)
		}
		wait := time.Duration(-1)
		if !next.IsZero() {
			wait = max(time.Until(next), time.Millisecond)
		}
		if !sleep(ctx, wait, w.kick, nil) {
			return
		}
	}
}

// ready takes from the lines what can start now, most urgent first, and what is over before it started. next is when
// something that waits for a limit may go on.
func (w *Worker) ready(now time.Time) (tasks []task, over []Fate, next time.Time) {
	for _, l := range w.lines {
		for lane := range l.lanes {
			kept := l.lanes[lane][:0]
			queue := l.lanes[lane]
			for i, j := range queue {
				if j.lead != nil {
					continue // it goes with that one
				}
				if f, ok := w.ended(j, now); ok {
					over = append(over, f)
					continue
				}
				if w.follows(j) {
					kept = append(kept, j)
					continue
				}
				t, at, full := l.pick(j, lane, now)
				if t.route != nil {
					j.running = true
					w.fold(j, now)
					tasks = append(tasks, t)
					continue
				}
				next = earliest(next, at)
				if full {
					kept = append(kept, queue[i:]...)
					break
				}
				kept = append(kept, j)
			}
			clear(queue[len(kept):])
			l.lanes[lane] = kept
		}
		if len(over) > 0 {
			w.makeRoom(l.channel)
		}
	}
	return tasks, over, next
}

// ended reports what became of a job that must not start: it was stopped, it expired, its claim is void, or its person has
// had enough for this second.
func (w *Worker) ended(j *job, now time.Time) (Fate, bool) {
	p := j.page
	switch {
	case w.needless(j):
		return w.settle(j, cancelled(p, now)), true
	case len(j.look) == 0 && j.expired(now):
		return w.settle(j, failure(p, now, cmp.Or(p.Error, "it expired before it could be sent"))), true
	case w.void(j, now):
		return w.settle(j, again(p, now)), true
	}
	if j.fresh && !w.follows(j) {
		if at := w.persons.allow(j, now); at.After(now) {
			return w.settle(j, again(p, at)), true
		}
	}
	return Fate{}, false
}

// void reports whether the claim no longer covers a request: not started in time, or the lease would end during it.
func (w *Worker) void(j *job, now time.Time) bool {
	held := now.Sub(j.claimed)
	return j.fresh && held > w.opts.Start || !j.fresh && len(j.look) == 0 && held+w.opts.SendTimeout > w.opts.Lease
}

// pick chooses the provider for j. Without one, at is when to look again, where that is known; full: nobody else in this
// lane will find one either.
func (l *line) pick(j *job, lane int, now time.Time) (t task, at time.Time, full bool) {
	if len(j.look) > 0 {
		if r := j.look[0]; r.flight < r.Parallel {
			r.flight++
			return task{job: j, route: r}, time.Time{}, false
		}
		return task{}, time.Time{}, false
	}
	choice := l.choice(j)
	open := 0
	for _, r := range choice {
		if r.resting() {
			open++
			continue
		}
		if wait := r.wait(now); wait > 0 {
			at = earliest(at, now.Add(wait))
			if wait <= patience {
				return task{}, at, false
			}
			continue
		}
		if r.flight >= r.slots(lane) { // one that works is waited for: the next provider is for trouble, not for load
			return task{}, at, len(choice) == len(l.routes)
		}
		if !r.breaker.TryAcquirePermit() {
			open++
			continue
		}
		r.take(now)
		return task{job: j, route: r}, time.Time{}, false
	}
	if open > 0 && open == len(choice) && choice[0].flight < probes {
		choice[0].take(now)
		return task{job: j, route: choice[0], forced: true}, time.Time{}, false
	}
	if open > 0 {
		at = earliest(at, now.Add(time.Second))
	}
	return task{}, at, false
}

// choice are the providers that may take j, best first.
func (l *line) choice(j *job) []*route {
	if len(j.refused) == 0 && len(j.missed) == 0 && j.avoid == "" {
		return l.routes
	}
	var best, rest []*route
	for _, r := range l.routes {
		switch {
		case slices.Contains(j.refused, r.Name) || slices.Contains(j.missed, r.Name):
		case r.Name == j.avoid:
			rest = append(rest, r)
		default:
			best = append(best, r)
		}
	}
	if len(best) > 0 {
		return best
	}
	return rest
}

// start hands t to a goroutine that waits for work, or to a new one; their number is bounded by the providers' slots.
func (w *Worker) start(ctx, sending context.Context, t task) {
	select {
	case w.idle <- t:
	default:
		w.sends.Go(func() { w.labour(ctx, sending, t) })
	}
}

func (w *Worker) labour(ctx, sending context.Context, t task) {
	rest := time.NewTimer(idleFor)
	defer rest.Stop()
	for {
		w.attempt(sending, t)
		rest.Reset(idleFor)
		select {
		case t = <-w.idle:
		case <-rest.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// attempt writes the page's text from the present state, looks once more whether it is still wanted, and makes one request.
func (w *Worker) attempt(ctx context.Context, t task) {
	t, m, err := w.compose(ctx, t)
	if err != nil {
		w.unwritten(t, err)
		return
	}
	j, now := t.job, time.Now()
	w.mu.Lock()
	late := j.fresh && len(j.with) == 0 && now.Sub(j.claimed) > w.opts.Start // what is folded was fenced by the Book just now
	stop := w.needless(j)
	told := j.report != nil && !j.since.IsZero()
	w.mu.Unlock()
	switch {
	case stop:
		w.skip(t, cancelled(j.page, now))
		return
	case told: // a callback came after all; it was saved by itself
		w.skip(t, Fate{Page: j.page})
		return
	case late:
		w.skip(t, again(j.page, now))
		return
	case len(j.look) > 0:
		w.lookUp(ctx, t, m)
		return
	}
	if j.first.IsZero() {
		j.first = now
		w.obs.delay(j.page, now)
	}
	j.fresh, j.msg = false, m
	sctx, cancel := context.WithTimeout(ctx, w.opts.SendTimeout)
	receipt, err := t.route.Sender.Send(sctx, m)
	cancel()
	w.answered(ctx, t, now, receipt, err)
}

// answered decides what the outcome of one request means for the page.
func (w *Worker) answered(ctx context.Context, t task, began time.Time, receipt Receipt, err error) {
	j, r := t.job, t.route
	took := time.Since(began)
	refused, isRefused := errors.AsType[*RefusedError](err)
	limited, isLimited := errors.AsType[*RateError](err)
	w.mu.Lock()
	r.release(took, t.forced, err == nil || isLimited || isRefused && refused.Contact)
	j.running = false
	p := &j.page
	p.Provider = r.Name
	if !isLimited {
		p.Attempts++
		p.Tried = append(slices.Clip(p.Tried), r.Name)
	}
	var fate *Fate
	switch {
	case err == nil:
		f := w.settle(j, accepted(*p, receipt, began))
		w.out.add(f, r, w.opts.Confirm, time.Now())
		fate = &f
	case isRefused:
		fate = w.refusal(j, r, refused)
	case isLimited:
		fate = w.limited(j, r, limited)
	case errors.Is(err, ErrUnknown):
		fate = w.unknown(j, r, began, err)
	default:
		fate = w.missed(j, r, err)
	}
	var stopped []target
	if err == nil {
		stopped = w.stoppedOf(j)
	}
	w.makeRoom(p.Channel)
	page := *p // from here on another goroutine may have the job
	w.mu.Unlock()
	signal(w.kick)
	w.obs.attempt(page, took, err)
	if fate != nil {
		w.fate(*fate)
	}
	for _, about := range stopped {
		w.cancelCalls(ctx, about)
	}
}

// refusal: the provider will never take it. Another may, unless it is the person's number that is at fault.
func (w *Worker) refusal(j *job, r *route, e *RefusedError) *Fate {
	j.page.Error = r.Name + ": " + e.Error()
	j.refused = append(j.refused, r.Name)
	j.tries = 0
	if !e.Contact {
		return w.another(j)
	}
	f := failure(j.page, time.Now(), j.page.Error)
	f.Contact, f.Opted = true, e.Opted
	f = w.settle(j, f)
	return &f
}

// another sends j by the next provider that may still take it. When all that are left were missed, they are tried once more
// after a while, until GiveUp.
func (w *Worker) another(j *job) *Fate {
	l := w.lines[j.page.Channel]
	if len(l.choice(j)) > 0 {
		return w.requeue(j)
	}
	j.missed = nil
	if len(l.choice(j)) == 0 || time.Since(j.first) >= w.opts.GiveUp {
		f := w.settle(j, failure(j.page, time.Now(), j.page.Error))
		return &f
	}
	j.laps++
	return w.park(j, jitter(time.Second<<min(j.laps, 2)))
}

// limited: it was not processed, so it may go again without doubt. The provider rests for all pages.
func (w *Worker) limited(j *job, r *route, e *RateError) *Fate {
	now := time.Now()
	wait := jitter(max(e.Wait, 100*time.Millisecond))
	r.rest(now, wait)
	j.page.Error = r.Name + ": " + e.Error()
	if wait > inMemory && len(w.lines[j.page.Channel].choice(j)) < 2 {
		f := w.settle(j, again(j.page, now.Add(wait)))
		return &f
	}
	return w.requeue(j)
}

// missed: nothing was sent. The same provider gets one quick retry, then the next one; when all were missed, they are tried
// again until GiveUp.
func (w *Worker) missed(j *job, r *route, err error) *Fate {
	j.page.Error = r.Name + ": " + err.Error()
	j.tries++
	if j.tries < 2 {
		return w.park(j, jitter(quickRetry))
	}
	j.tries = 0
	j.missed = append(j.missed, r.Name)
	return w.another(j)
}

// unwritten: the page's text could not be written.
func (w *Worker) unwritten(t task, err error) {
	now := time.Now()
	j := t.job
	if errors.Is(err, ErrNotYet) {
		w.skip(t, again(j.page, now.Add(notYet)))
		return
	}
	if errors.Is(err, ErrStale) {
		w.skip(t, cancelled(j.page, now))
		return
	}
	w.obs.failed("write page "+j.page.ID, err)
	j.fumbles++
	if j.fumbles > 3 || w.isClosing() {
		w.skip(t, again(j.page, now.Add(time.Second)))
		return
	}
	w.mu.Lock()
	t.route.unused(t.forced)
	j.running, j.fresh = false, false // it was looked at in time; every later look re-checks too
	f := w.park(j, 250*time.Millisecond)
	w.mu.Unlock()
	if f != nil {
		w.fate(*f)
	}
}

// skip settles a job whose provider was not asked after all.
func (w *Worker) skip(t task, f Fate) {
	w.mu.Lock()
	t.route.unused(t.forced)
	t.job.running = false
	f = w.settle(t.job, f)
	w.makeRoom(f.Page.Channel)
	w.mu.Unlock()
	signal(w.kick)
	w.fate(f)
}

// requeue puts j back to be dispatched at once. While the worker closes it gives a fate instead.
func (w *Worker) requeue(j *job) *Fate {
	if w.closing {
		return w.abandon(j)
	}
	w.lines[j.page.Channel].push(j)
	return nil
}

// park puts j back after wait.
func (w *Worker) park(j *job, wait time.Duration) *Fate {
	if w.closing {
		return w.abandon(j)
	}
	j.timer = time.AfterFunc(wait, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.jobs[j.page.ID] == j && !w.closing {
			w.lines[j.page.Channel].push(j)
			signal(w.kick)
		}
	})
	return nil
}

// abandon is the fate of a job that is not running when the worker closes: it is due again at once, or stays unknown.
func (w *Worker) abandon(j *job) *Fate {
	f := again(j.page, time.Now())
	if len(j.look) > 0 {
		f = Fate{Page: j.page}
		f.Page.State = tocsin.PageUnknown
		f.Page.ClaimedTo = time.Now().UTC()
	}
	f = w.settle(j, f)
	return &f
}

// close stops starting anything and gives back what was not started.
func (w *Worker) close() {
	w.mu.Lock()
	w.closing = true
	var fates []Fate
	for _, j := range w.jobs {
		if j.running {
			continue
		}
		if j.timer != nil {
			j.timer.Stop()
		}
		fates = append(fates, *w.abandon(j))
	}
	w.mu.Unlock()
	for _, f := range fates {
		w.fate(f) // the saver runs until Run has ended
	}
}

func (w *Worker) isClosing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

// settle takes j out of hand, with all that shares its message; f is its fate, and becomes theirs.
func (w *Worker) settle(j *job, f Fate) Fate {
	f = j.share(f)
	if f.Page.State != tocsin.PageSent && f.Page.State != tocsin.PageUnknown && j.page.SentAt.IsZero() {
		w.persons.spared(j) // it did not go out
	}
	for _, q := range append([]*job{j}, j.with...) {
		if w.jobs[q.page.ID] == q {
			delete(w.jobs, q.page.ID)
			w.lines[q.page.Channel].held--
		}
		w.persons.leave(q)
	}
	return f
}

// makeRoom tells the claims loop that there is room again, where there is enough of it and anything may be left to claim.
func (w *Worker) makeRoom(channel string) {
	l := w.lines[channel]
	if now := time.Now(); w.hungry && w.free(channel, now) >= l.chunk(now) {
		signal(w.room)
	}
}

func accepted(p tocsin.Page, r Receipt, at time.Time) Fate {
	p.State, p.ProviderID, p.SentAt, p.Error = tocsin.PageSent, r.ID, at.UTC(), ""
	return Fate{Page: p}
}

func failure(p tocsin.Page, at time.Time, why string) Fate {
	p.State, p.EndedAt, p.Error = tocsin.PageFailed, at.UTC(), why
	return Fate{Page: p}
}

func cancelled(p tocsin.Page, at time.Time) Fate {
	p.State, p.EndedAt = tocsin.PageCancelled, at.UTC()
	return Fate{Page: p}
}

// again gives a page back to the Book, due at at.
func again(p tocsin.Page, at time.Time) Fate {
	p.State, p.DueAt, p.ClaimedTo, p.Message = tocsin.PageDue, at.UTC(), time.Time{}, ""
	return Fate{Page: p}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// jitter spreads d up to a quarter later.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/4+1) }
