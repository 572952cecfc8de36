package paging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin"
)

// ErrStale is Compose's answer for a page that nobody needs any more: its incident was acknowledged, resolved or moved on,
// or a callback has already told what became of it.
var ErrStale = errors.New("nobody needs this page any more")

// ErrNotYet is Compose's answer for a page whose incident has recovered, but perhaps not for good: it is given back.
var ErrNotYet = errors.New("nobody needs this page now, but perhaps again")

// ErrStopped means that the worker has ended.
var ErrStopped = errors.New("the pager has stopped")

// A Book is where pages stand. The Worker asks and tells it; only the Book knows the database.
type Book interface {
	// Claim takes due pages, most urgent lane first, at most free[channel] of each channel, and fences each with a new Token.
	// It re-checks that the incident still wants them. A page that was claimed before and whose claim has lapsed, or that
	// stood unknown, comes with State PageUnknown: its request may have gone out. All others come as PageClaimed.
	Claim(ctx context.Context, free map[string]int, lease time.Duration) ([]tocsin.Page, error)
	// Compose writes the page's text from the present state, and sees to it that the row has Message.Kept as its Body before it
	// returns. What may have gone out already (SentAt is set) keeps its Body as its text.
	// ErrStale: nobody needs it any more, or another has it. ErrNotYet: perhaps again.
	Compose(ctx context.Context, p tocsin.Page) (Message, error)
	// Fold writes one message for several pages to one address, and notes it in their rows as Compose does: Body, and as Message
	// the ID of the first that is still needed, which is Message.ID. gone says why the others are not, as Compose would; where
	// nobody needs any, Message.ID is "". A single one left gets the text that Compose writes.
	Fold(ctx context.Context, pages []tocsin.Page) (m Message, gone map[string]error, err error)
	// Save records fates. A fate with another Token than the row's is skipped, and no fate lowers a state. left are the places of those
	// whose rows somebody else keeps locked: nothing is recorded of them, and they are to be tried again. After an error all are.
	Save(ctx context.Context, fates []Fate) (left []int, err error)
	// ClaimMore takes, as Claim does, up to limit more pages that p's person is due by p's channel to p's address until the given
	// time: after an outage one message says all that still matters. No majors, and notices only where p is one.
	ClaimMore(ctx context.Context, p tocsin.Page, until time.Time, lease time.Duration, limit int) ([]tocsin.Page, error)
	// NextDue is when the earliest page that is not claimed falls due, or a claim lapses; zero: there is none.
	NextDue(ctx context.Context) (time.Time, error)
	// Unconfirmed returns up to limit pages that these providers took before the given time, not longer ago than it matters, and
	// whose fate nobody has told, the oldest first.
	Unconfirmed(ctx context.Context, providers []string, before time.Time, limit int) ([]tocsin.Page, error)
	// FireTimers fires the timers that are due and says when the next one may be; zero: there is none.
	FireTimers(ctx context.Context) (fired int, next time.Time, err error)
}

// A Fate is what became of a page.
type Fate struct {
	// Page is the row as it now stands: State, Provider, ProviderID, Attempts, Tried, SentAt, EndedAt, Error, and for a page
	// given back DueAt, for an unknown one ClaimedTo. Of a reported one only ID, ProviderID, State, EndedAt and Error are set.
	Page     tocsin.Page
	With     []tocsin.Page // rows as they now stand of pages that share Page's message, and its fate
	Contact  bool          // of a failure: the person's number or address itself is at fault
	Opted    bool          // of a failure: the person has opted out at the carrier
	Reported bool          // by a provider: not fenced by Token, found by ID or else ProviderID
}

// A Checker is a Sender whose provider can be asked where a message stands that it took.
type Checker interface {
	Check(ctx context.Context, providerID string) (Report, error)
}

// A Provider is one way out for one channel.
type Provider struct {
	Name     string
	Sender   Sender
	Parallel int     // requests under way at once; 0 means 512
	Rate     float64 // requests a second; 0 means no limit
	Burst    int     // with Rate; 0 means Rate, at least 1
}

// Options tune a Worker; the zero value is ready to use.
type Options struct {
	Lease        time.Duration         // how long a claim holds; 0 means 90 s
	Start        time.Duration         // a request starts within this long of its claim, or the claim is void; 0 means 1 s
	SendTimeout  time.Duration         // of one request; 0 means 20 s: a provider's own limit comes first
	Unknown      time.Duration         // how long a callback may take to tell an outcome; 0 means 10 s
	GiveUp       time.Duration         // how long a page is tried when nothing can be sent at all; 0 means 20 s
	Confirm      time.Duration         // how long an SMS may go without confirmation, a call twice as long; 0 means 60 s; below 0: for ever
	Poll         time.Duration         // the longest sleep between two looks at the Book; 0 means 5 s
	Grace        time.Duration         // for requests under way when Run is told to end; 0 means 20 s
	PersonMost   int                   // messages to one number or address in PersonWindow; 0 means 2. What comes faster is folded into one
	PersonWindow time.Duration         // 0 means 1 min; below 0: no limit, and nothing is folded
	PersonGap    time.Duration         // between two messages to one number or address: what comes meanwhile is one message; 0 means 5 s
	Registry     prometheus.Registerer // nil means no metrics
	Log          *slog.Logger          // nil means discard
}

func (o Options) filled() Options {
	o.Lease = cmp.Or(o.Lease, 90*time.Second)
	o.Start = cmp.Or(o.Start, time.Second)
	o.SendTimeout = cmp.Or(o.SendTimeout, 20*time.Second)
	o.Unknown = cmp.Or(o.Unknown, 10*time.Second)
	o.GiveUp = cmp.Or(o.GiveUp, 20*time.Second)
	o.Confirm = cmp.Or(o.Confirm, 60*time.Second)
	o.Poll = cmp.Or(o.Poll, 5*time.Second)
	o.Grace = cmp.Or(o.Grace, 20*time.Second)
	o.PersonMost = cmp.Or(o.PersonMost, 2)
	o.PersonWindow = cmp.Or(o.PersonWindow, time.Minute)
	o.PersonGap = cmp.Or(o.PersonGap, 5*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// A Worker sends what the Book owes. It claims only what it can start at once, tries the channel's providers in order, and
// says of every page what became of it.
type Worker struct {
	book Book
	opts Options
	obs  *observer

	due    chan struct{} // pages may be due
	timer  chan struct{} // timers may be due
	room   chan struct{} // there is room for more claims
	kick   chan struct{} // the dispatcher has something to do
	idle   chan task     // to goroutines that wait for work
	fates  chan saving
	done   chan struct{} // closed when nothing more is saved
	finish chan struct{} // closed when the saver may end once it has nothing left
	sends  sync.WaitGroup

	claiming sync.RWMutex // a claim ends in our hands before somebody looks what else waits for a person: else it could miss what is on its way
	mu       sync.Mutex
	lines    map[string]*line
	jobs     map[string]*job      // by page id: all this node has in hand
	stops    map[string]time.Time // pages that were ended, by id, and when this was heard of
	persons  *persons
	out      *outbox // what providers took and have not confirmed
	hungry   bool    // the last claim left something behind
	closing  bool
}

// NewWorker returns a worker that pays what book owes through channels: by channel, the providers in order of preference.
func NewWorker(book Book, channels map[string][]Provider, o Options) (*Worker, error) {
	if book == nil {
		return nil, errors.New("paging: no book")
	}
	o = o.filled()
	obs, err := newObserver(o.Registry, o.Log)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		book: book, opts: o, obs: obs,
		due: make(chan struct{}, 1), timer: make(chan struct{}, 1), room: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		idle: make(chan task), fates: make(chan saving, 4096), done: make(chan struct{}), finish: make(chan struct{}),
		lines: make(map[string]*line), jobs: make(map[string]*job), stops: make(map[string]time.Time),
		persons: newPersons(o.PersonMost, o.PersonWindow, o.PersonGap), out: newOutbox(),
	}
	for channel, providers := range channels {
		l, err := newLine(channel, providers)
		if err != nil {
			return nil, fmt.Errorf("paging: channel %s: %w", channel, err)
		}
		w.lines[channel] = l
	}
	if len(w.lines) == 0 {
		return nil, errors.New("paging: no channels")
	}
	return w, nil
}

// Run sends until ctx ends, then gives back what was not started and waits for requests under way, at most Options.Grace.
func (w *Worker) Run(ctx context.Context) error {
	sending, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var loops, saver sync.WaitGroup
	saver.Go(func() { w.save(sending) })
	loops.Go(func() { w.dispatch(ctx, sending) })
	loops.Go(func() { w.claims(ctx) })
	loops.Go(func() { w.timers(ctx) })
	loops.Go(func() { w.confirm(ctx) })
	<-ctx.Done()
	loops.Wait()
	w.close()
	late := time.AfterFunc(w.opts.Grace, abort)
	defer late.Stop()
	w.sends.Wait()
	close(w.finish)
	saver.Wait()
	return nil
}

// Wake says that pages or timers may have fallen due, after a commit that made some.
func (w *Worker) Wake() {
	signal(w.due)
	signal(w.timer)
}

// WakeFor is Wake for what falls due at a time. What is later than the next look at the Book is found by that.
func (w *Worker) WakeFor(at time.Time) {
	if time.Until(at) <= w.opts.Poll {
		w.Wake()
	}
}

// Free says how many more pages of channel this node could start at once.
func (w *Worker) Free(channel string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.free(channel, time.Now())
}

// Reserve keeps room for up to n pages of channel and says for how many: so many may be inserted as already claimed and
// handed over by Offer. What is not offered after all is given back by Release.
func (w *Worker) Reserve(channel string, n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = max(min(n, w.free(channel, time.Now())), 0)
	if n > 0 {
		w.lines[channel].reserved += n
	}
	return n
}

// Release gives back room that Reserve kept.
func (w *Worker) Release(channel string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.lines[channel]; l != nil {
		l.reserved = max(l.reserved-n, 0)
	}
}

// Offer hands over pages that stand in the Book as claimed by this node, with their Token. It uses up what Reserve kept for
// them. It never blocks.
func (w *Worker) Offer(pages []tocsin.Page) {
	w.take(pages, true)
}

func (w *Worker) free(channel string, now time.Time) int {
	l := w.lines[channel]
	if l == nil || w.closing {
		return 0
	}
	return max(l.capacity(now)-l.held-l.reserved, 0)
}

// take makes jobs of claimed pages.
func (w *Worker) take(pages []tocsin.Page, reserved bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return // the claims lapse; another node, or this one's next life, takes them
	}
	for _, p := range pages {
		l := w.lines[p.Channel]
		if l == nil {
			w.obs.failed("send page "+p.ID, fmt.Errorf("channel %s has no provider", p.Channel))
			continue
		}
		if w.jobs[p.ID] != nil {
			continue
		}
		if reserved {
			l.reserved = max(l.reserved-1, 0)
		}
		j := &job{page: p, claimed: now, fresh: true}
		if p.State == tocsin.PageUnknown {
			j.look = l.suspects(p.Provider)
			j.since = p.SentAt
			if j.since.IsZero() {
				j.since = p.DueAt
			}
			j.fresh = false
			j.unknown = min(p.Attempts, 1)
			j.blind = p.Attempts >= 2 // somebody sent it again already
		}
		w.jobs[p.ID] = j
		w.persons.wait(j, now)
		l.held++
		l.push(j)
	}
	signal(w.kick)
}

// claims asks the Book for due pages whenever there may be some and there is room for them.
func (w *Worker) claims(ctx context.Context) {
	pause := backoff{}
	for {
		free, some := w.frees()
		wait := lookAgain
		if some {
			w.claiming.Lock()
			pages, err := w.book.Claim(ctx, free, w.opts.Lease)
			if err == nil || ctx.Err() != nil {
				w.take(pages, false)
			}
			w.claiming.Unlock()
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				w.obs.failed("claim pages", err)
				wait = pause.next()
			default:
				pause.reset()
				w.appetite(len(pages) > 0)
				if len(pages) > 0 {
					wait = 0
					break
				}
				wait = w.until(ctx, w.book.NextDue, &pause)
			}
		}
		if wait == 0 {
			continue
		}
		if !sleep(ctx, wait, w.due, w.room) {
			return
		}
	}
}

// timers fires the Book's timers as they fall due.
func (w *Worker) timers(ctx context.Context) {
	pause := backoff{}
	for {
		fired, next, err := w.book.FireTimers(ctx)
		var wait time.Duration
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.obs.failed("fire timers", err)
			wait = pause.next()
		case fired > 0:
			pause.reset()
			signal(w.due)
			continue
		default:
			pause.reset()
			wait = w.lull(next)
		}
		if !sleep(ctx, wait, w.timer, nil) {
			return
		}
	}
}

const lookAgain = 250 * time.Millisecond // for room, where a provider's limit and not its slots leave none; asks nobody

const minWait = 50 * time.Millisecond // between two looks for something that should be there already

// until is how long to sleep before next says that there is something.
func (w *Worker) until(ctx context.Context, next func(context.Context) (time.Time, error), pause *backoff) time.Duration {
	at, err := next(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.obs.failed("look for the next due page", err)
		}
		return pause.next()
	}
	return w.lull(at)
}

// lull is how long to sleep until at, but no longer than Options.Poll: another node may have left something behind meanwhile.
func (w *Worker) lull(at time.Time) time.Duration {
	if at.IsZero() {
		return w.opts.Poll
	}
	return min(max(time.Until(at), minWait), w.opts.Poll)
}

// frees is the room in every channel; some: whether there is enough of it to be worth a claim.
func (w *Worker) frees() (map[string]int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	free := make(map[string]int, len(w.lines))
	some := false
	for channel, l := range w.lines {
		n := w.free(channel, now)
		if n > 0 {
			free[channel] = n
		}
		some = some || n >= l.chunk(now)
	}
	w.hungry = true
	return free, some
}

// appetite remembers whether the last claim found anything: only then is room worth a signal.
func (w *Worker) appetite(more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hungry = more
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits for a signal, or for wait unless it is negative. It is false when ctx has ended.
func sleep(ctx context.Context, wait time.Duration, a, b <-chan struct{}) bool {
	var at <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		at = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-a:
	case <-b:
	case <-at:
	}
	return ctx.Err() == nil
}

// A backoff grows from 100 ms to 5 s.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 100*time.Millisecond), 5*time.Second)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }
