package paging_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tocsin"
	"tocsin/paging"
)

// A book in memory does what the real one must: claims by lane with a token, fences, and never lowers a state.
type book struct {
	mu     sync.Mutex
	rows   map[string]*tocsin.Page
	token  int64
	stale  map[int64]bool // incidents that nobody needs pages of
	saves  int
	broken error
	locked map[string]bool // pages whose rows somebody else keeps
	slow   time.Duration   // of Compose
}

func newBook(pages ...tocsin.Page) *book {
	b := &book{rows: make(map[string]*tocsin.Page), stale: make(map[int64]bool)}
	for _, p := range pages {
		b.add(p)
	}
	return b
}

func (b *book) add(p tocsin.Page) {
	p.State = cmp.Or(p.State, tocsin.PageDue)
	p.Channel = cmp.Or(p.Channel, paging.SMS)
	p.Kind = cmp.Or(p.Kind, tocsin.KindPage)
	p.Address = cmp.Or(p.Address, "+4915100000"+p.ID)
	if p.DueAt.IsZero() {
		p.DueAt = time.Now()
	}
	b.rows[p.ID] = &p
}

func (b *book) due(p *tocsin.Page, now time.Time) bool {
	return p.State == tocsin.PageDue && !p.DueAt.After(now) ||
		(p.State == tocsin.PageClaimed || p.State == tocsin.PageUnknown) && !p.ClaimedTo.After(now)
}

func (b *book) Claim(_ context.Context, free map[string]int, lease time.Duration) ([]tocsin.Page, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return nil, b.broken
	}
	now := time.Now()
	rows := []*tocsin.Page{}
	for _, p := range b.rows {
		if b.due(p, now) && !b.stale[p.Incident] {
			rows = append(rows, p)
		}
	}
	slices.SortFunc(rows, func(x, y *tocsin.Page) int {
		return cmp.Or(cmp.Compare(x.Lane, y.Lane), x.DueAt.Compare(y.DueAt), cmp.Compare(x.ID, y.ID))
	})
	left := map[string]int{}
	for c, n := range free {
		left[c] = n
	}
	var out []tocsin.Page
	for _, p := range rows {
		if left[p.Channel] == 0 {
			continue
		}
		left[p.Channel]--
		out = append(out, b.claim(p, now, lease))
	}
	return out, nil
}

func (b *book) claim(p *tocsin.Page, now time.Time, lease time.Duration) tocsin.Page {
	b.token++
	was := p.State
	p.State, p.Token, p.ClaimedTo = tocsin.PageClaimed, b.token, now.Add(lease)
	c := *p
	if was != tocsin.PageDue {
		c.State = tocsin.PageUnknown
	}
	return c
}

func (b *book) Compose(_ context.Context, p tocsin.Page) (paging.Message, error) {
	time.Sleep(b.slow)
	b.mu.Lock()
	defer b.mu.Unlock()
	row := b.rows[p.ID]
	if b.stale[p.Incident] || row.State >= tocsin.PageSent {
		return paging.Message{}, paging.ErrStale
	}
	m := paging.Message{ID: p.ID, Kind: p.Kind, Channel: p.Channel, To: p.Address, Text: "page " + p.ID}
	if p.Body != "" && p.State == tocsin.PageUnknown {
		m.Text = p.Body
	}
	return m, nil
}

func (b *book) ClaimMore(_ context.Context, of tocsin.Page, until time.Time, lease time.Duration, limit int) (out []tocsin.Page, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.rows {
		if p.State == tocsin.PageDue && !p.DueAt.After(until) && p.Address == of.Address && p.Channel == of.Channel && p.Lane > 0 && len(out) < limit &&
			(p.Kind == tocsin.KindNotice) == (of.Kind == tocsin.KindNotice) && !b.stale[p.Incident] {
			out = append(out, b.claim(p, time.Now(), lease))
		}
	}
	return out, b.broken
}

// Fold writes all that is still needed into one text, and notes it.
func (b *book) Fold(ctx context.Context, pages []tocsin.Page) (paging.Message, map[string]error, error) {
	var m paging.Message
	gone := map[string]error{}
	var kept []string
	for _, p := range pages {
		one, err := b.Compose(ctx, p)
		if err != nil {
			gone[p.ID] = err
			continue
		}
		if len(kept) == 0 {
			m = one
		}
		kept = append(kept, p.ID)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(kept) > 1 {
		m.Text = "pages " + strings.Join(kept, " ")
		for _, id := range kept {
			b.rows[id].Body, b.rows[id].Message = m.Text, m.ID
		}
	}
	return m, gone, nil
}

func (b *book) Unconfirmed(_ context.Context, providers []string, before time.Time, limit int) ([]tocsin.Page, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []tocsin.Page
	for _, p := range b.rows {
		if p.State == tocsin.PageSent && p.SentAt.Before(before) && slices.Contains(providers, p.Provider) && len(out) < limit {
			out = append(out, *p)
		}
	}
	return out, nil
}

func (b *book) Save(_ context.Context, fates []paging.Fate) (left []int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return nil, b.broken
	}
	b.saves++
	var all []paging.Fate
	for i, f := range fates {
		if b.locked[f.Page.ID] {
			left = append(left, i)
			continue
		}
		all = append(all, f)
		for _, p := range f.With {
			all = append(all, paging.Fate{Page: p})
		}
		if f.Reported { // of all that share the message
			for id, p := range b.rows {
				if p.Message == f.Page.ID && id != f.Page.ID {
					q := f
					q.Page.ID = id
					all = append(all, q)
				}
			}
		}
	}
	for _, f := range all {
		row := b.rows[f.Page.ID]
		if row == nil {
			continue
		}
		if f.Reported {
			if row.State < f.Page.State && !row.State.Final() {
				row.State, row.Error, row.EndedAt = f.Page.State, f.Page.Error, f.Page.EndedAt
			}
			row.ProviderID = cmp.Or(row.ProviderID, f.Page.ProviderID)
			continue
		}
		if row.Token != f.Page.Token {
			continue
		}
		state := row.State
		if f.Page.State > state || f.Page.State == tocsin.PageDue && state < tocsin.PageSent {
			state = f.Page.State
		}
		ended := row.EndedAt
		*row = f.Page
		row.State = state
		row.EndedAt = cmpTime(ended, row.EndedAt)
	}
	return left, nil
}

func cmpTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

func (b *book) NextDue(context.Context) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var next time.Time
	for _, p := range b.rows {
		at := p.DueAt
		switch p.State {
		case tocsin.PageDue:
		case tocsin.PageClaimed, tocsin.PageUnknown:
			at = p.ClaimedTo
		default:
			continue
		}
		if !b.stale[p.Incident] && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, nil
}

func (b *book) FireTimers(context.Context) (int, time.Time, error) { return 0, time.Time{}, nil }

func (b *book) states() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]string{}
	for id, p := range b.rows {
		out[id] = p.State.String()
	}
	return out
}

func (b *book) page(id string) tocsin.Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.rows[id]
}

// A gateway in memory answers as it is told and remembers when each request began.
type gateway struct {
	mu      sync.Mutex
	name    string
	answer  func(n int, m paging.Message) (string, error) // n counts from 1; "" means an id of its own
	delay   time.Duration
	begun   []request
	taken   map[string]int // page id: messages that a person got
	flight  int
	most    int
	dropped []string
}

type request struct {
	page string
	at   time.Time
}

func (g *gateway) Send(ctx context.Context, m paging.Message) (paging.Receipt, error) {
	g.mu.Lock()
	g.begun = append(g.begun, request{m.ID, time.Now()})
	n := len(g.begun)
	g.flight++
	g.most = max(g.most, g.flight)
	delay := g.delay
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.flight--
		g.mu.Unlock()
	}()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return paging.Receipt{}, fmt.Errorf("%w: %w", paging.ErrUnknown, ctx.Err())
		}
	}
	id, err := "", error(nil)
	if g.answer != nil {
		id, err = g.answer(n, m)
	}
	if err == nil || errors.Is(err, errTaken) {
		g.took(m.ID)
	}
	return paging.Receipt{ID: cmp.Or(id, g.name+"-"+m.ID)}, err
}

// errTaken is an unknown outcome whose message went out all the same.
var errTaken = fmt.Errorf("%w: stalled after it was taken", paging.ErrUnknown)

func (g *gateway) took(page string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken == nil {
		g.taken = map[string]int{}
	}
	g.taken[page]++
}

func (g *gateway) count(page string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken[page]
}

func (g *gateway) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, r := range g.begun {
		out = append(out, r.page)
	}
	return out
}

// A finder is a gateway that can be asked.
type finder struct{ *gateway }

func (f finder) Find(_ context.Context, m paging.Message, _ time.Time) (paging.Receipt, bool, error) {
	return paging.Receipt{ID: f.name + "-" + m.ID}, f.count(m.ID) > 0, nil
}

// start runs a worker inside a bubble until the test ends.
func start(t *testing.T, b paging.Book, channels map[string][]paging.Provider, o paging.Options) *paging.Worker {
	t.Helper()
	w, end := begin(t, b, channels, o)
	t.Cleanup(end)
	return w
}

// begin runs a worker until end, which waits for its end.
func begin(t *testing.T, b paging.Book, channels map[string][]paging.Provider, o paging.Options) (w *paging.Worker, end func()) {
	t.Helper()
	w, err := paging.NewWorker(b, channels, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func sms(providers ...paging.Provider) map[string][]paging.Provider {
	return map[string][]paging.Provider{paging.SMS: providers}
}

func via(name string, s paging.Sender) paging.Provider { return paging.Provider{Name: name, Sender: s} }

func wantStates(t *testing.T, b *book, want map[string]string) {
	t.Helper()
	synctest.Wait()
	if diff := gocmp.Diff(want, b.states()); diff != "" {
		t.Errorf("states at %s (-want +got):\n%s", time.Now().Format("15:04:05.000"), diff)
	}
}

func wantRequests(t *testing.T, g *gateway, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := gocmp.Diff(want, g.requests()); diff != "" {
		t.Errorf("requests to %s (-want +got):\n%s", g.name, diff)
	}
}

func pages(n int, each func(i int, p *tocsin.Page)) []tocsin.Page {
	out := make([]tocsin.Page, n)
	for i := range out {
		out[i] = tocsin.Page{ID: fmt.Sprintf("p%05d", i), Incident: int64(i + 1)}
		if each != nil {
			each(i, &out[i])
		}
	}
	return out
}

var errRefusedDial = errors.New("nothing was sent: connection refused")

func TestADuePageIsSentOnceAndKeepsTheProvidersID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1", Incident: 7})
		g := &gateway{name: "a"}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(time.Second)
		wantRequests(t, g, "1")
		got := b.page("1")
		if got.State != tocsin.PageSent || got.Provider != "a" || got.ProviderID != "a-1" || got.Attempts != 1 || !slices.Equal(got.Tried, []string{"a"}) {
			t.Errorf("page = %+v", got)
		}
	})
}

func TestAPageThatFallsDueLaterIsSentThenWithoutAWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := time.Now().Add(90 * time.Second)
		b := newBook(tocsin.Page{ID: "1", DueAt: due})
		g := &gateway{name: "a"}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(91 * time.Second)
		wantRequests(t, g, "1")
		if late := g.begun[0].at.Sub(due); late < 0 || late > 100*time.Millisecond {
			t.Errorf("sent %s after it was due", late)
		}
	})
}

func TestMajorsOvertakeNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(40, func(i int, p *tocsin.Page) { p.Lane = 3 - i/10 })...)
		g := &gateway{name: "a", delay: 10 * time.Millisecond}
		p := via("a", g)
		p.Parallel = 1
		start(t, b, sms(p), paging.Options{})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		lanes := []int{}
		for _, r := range g.requests() {
			lanes = append(lanes, b.page(r).Lane)
		}
		if len(lanes) != 40 || !slices.IsSorted(lanes) {
			t.Errorf("lanes in the order of sending: %v", lanes)
		}
	})
}

func TestRateLimitedPagesAreSentOnceAfterTheWaitAndNotFaster(t *testing.T) { // P1
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(200, nil)...)
		begin := time.Now()
		g := &gateway{name: "a"}
		limited := 0
		g.answer = func(_ int, m paging.Message) (string, error) {
			if time.Since(begin) < 3*time.Second {
				limited++
				return "", &paging.RateError{Wait: time.Second}
			}
			return "", nil
		}
		p := via("a", g)
		p.Parallel = 16
		start(t, b, sms(p), paging.Options{})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		for id, state := range b.states() {
			if state != "sent" || g.count(id) != 1 {
				t.Errorf("page %s is %s, sent %d times", id, state, g.count(id))
			}
		}
		if limited > 16+8+4+2+4 {
			t.Errorf("%d requests while the provider asked to wait", limited)
		}
	})
}

func TestALongWaitGoesByTheOtherProvider(t *testing.T) { // P1
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		one := &gateway{name: "one", answer: func(int, paging.Message) (string, error) {
			return "", &paging.RateError{Wait: time.Minute}
		}}
		two := &gateway{name: "two"}
		start(t, b, sms(via("one", one), via("two", two)), paging.Options{})
		time.Sleep(time.Second)
		wantRequests(t, one, "1")
		wantRequests(t, two, "1")
		wantStates(t, b, map[string]string{"1": "sent"})
	})
}

func TestAnUnknownOutcomeThatWentOutIsNotSentAgain(t *testing.T) { // P2, C6
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		g := &gateway{name: "a", answer: func(int, paging.Message) (string, error) { return "", errTaken }}
		start(t, b, sms(via("a", finder{g})), paging.Options{})
		time.Sleep(time.Second)
		wantStates(t, b, map[string]string{"1": "unknown"})
		time.Sleep(time.Minute)
		wantRequests(t, g, "1")
		wantStates(t, b, map[string]string{"1": "sent"})
		if got := b.page("1").ProviderID; got != "a-1" {
			t.Errorf("provider id = %q, want the one that was looked up", got)
		}
	})
}

func TestAnUnknownOutcomeThatIsSurelyLostIsSentAgainByTheOtherProvider(t *testing.T) { // P2
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		one := &gateway{name: "one", answer: func(int, paging.Message) (string, error) { return "", paging.ErrUnknown }}
		two := &gateway{name: "two"}
		start(t, b, sms(via("one", finder{one}), via("two", finder{two})), paging.Options{})
		time.Sleep(9 * time.Second)
		wantRequests(t, two)
		time.Sleep(2 * time.Second)
		wantRequests(t, one, "1")
		wantRequests(t, two, "1")
		wantStates(t, b, map[string]string{"1": "sent"})
	})
}

func TestACallbackSettlesAnUnknownOutcomeWithoutALookUp(t *testing.T) { // C6, C7
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		g := &gateway{name: "a", answer: func(int, paging.Message) (string, error) { return "", errTaken }}
		w := start(t, b, sms(via("a", g), via("b", &gateway{name: "b"})), paging.Options{})
		time.Sleep(5 * time.Second)
		if err := w.Report(t.Context(), paging.Report{PageID: "1", ProviderID: "SM1", State: tocsin.PageDelivered}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		wantRequests(t, g, "1")
		wantStates(t, b, map[string]string{"1": "delivered"})
	})
}

func TestACallbackThatComesBeforeTheAnswerSettlesALostAnswer(t *testing.T) { // C7
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		g := &gateway{name: "a", delay: 5 * time.Second, answer: func(int, paging.Message) (string, error) { return "", errTaken }}
		w := start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(time.Second)
		if err := w.Report(t.Context(), paging.Report{PageID: "1", ProviderID: "SM1", State: tocsin.PageSent}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		wantRequests(t, g, "1")
		wantStates(t, b, map[string]string{"1": "sent"})
	})
}

func TestWithoutALookUpAnUnknownOutcomeIsSentOnceMoreOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		g := &gateway{name: "mail", answer: func(int, paging.Message) (string, error) { return "", errTaken }}
		start(t, b, sms(via("mail", g)), paging.Options{})
		time.Sleep(10 * time.Minute)
		wantRequests(t, g, "1", "1")
		wantStates(t, b, map[string]string{"1": "failed"})
	})
}

func TestAClaimThatLapsedIsLookedUpBeforeItIsSent(t *testing.T) { // C5, C6: the process before this one was killed
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{name: "a"}
		g.took("1") // its request went out
		lapsed := time.Now().Add(2 * time.Second)
		b := newBook(
			tocsin.Page{ID: "1", State: tocsin.PageClaimed, ClaimedTo: lapsed},
			tocsin.Page{ID: "2", State: tocsin.PageClaimed, ClaimedTo: lapsed},
		)
		start(t, b, sms(via("a", finder{g})), paging.Options{})
		time.Sleep(7 * time.Second)
		wantRequests(t, g, "2")
		wantStates(t, b, map[string]string{"1": "sent", "2": "sent"})
	})
}

func TestWhenNothingCanBeSentTheNextProviderIsUsedWithinSeconds(t *testing.T) { // P3
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		one := &gateway{name: "one", answer: func(int, paging.Message) (string, error) { return "", errRefusedDial }}
		two := &gateway{name: "two"}
		start(t, b, sms(via("one", one), via("two", two)), paging.Options{})
		time.Sleep(time.Second)
		wantRequests(t, one, "1", "1")
		wantRequests(t, two, "1")
		wantStates(t, b, map[string]string{"1": "sent"})
	})
}

func TestWhenNothingCanBeSentAtAllThePageFailsWithin30Seconds(t *testing.T) { // P3: the next contact is told
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		g := &gateway{name: "a", answer: func(int, paging.Message) (string, error) { return "", errRefusedDial }}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(30 * time.Second)
		wantStates(t, b, map[string]string{"1": "failed"})
		if got := b.page("1").Error; !strings.Contains(got, "connection refused") {
			t.Errorf("error = %q", got)
		}
	})
}

func TestASlowProviderDoesNotDelayOtherChannels(t *testing.T) { // P4
	synctest.Test(t, func(t *testing.T) {
		all := pages(2000, func(i int, p *tocsin.Page) {
			if i%2 == 0 {
				p.Channel = paging.Email
			}
		})
		b := newBook(all...)
		slow := &gateway{name: "slow", delay: 14 * time.Second}
		quick := &gateway{name: "quick", delay: 100 * time.Millisecond}
		begin := time.Now()
		start(t, b, map[string][]paging.Provider{paging.SMS: {via("slow", slow)}, paging.Email: {via("quick", quick)}}, paging.Options{})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(quick.requests()); n != 1000 {
			t.Errorf("%d of 1000 mails in %s", n, time.Since(begin))
		}
		if slow.most > 512 {
			t.Errorf("%d requests under way at the slow one", slow.most)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(slow.requests()); n != 1000 {
			t.Errorf("%d of 1000 messages by the slow one", n)
		}
	})
}

func TestAContactAtFaultFailsAtOnceAndIsNotRetried(t *testing.T) { // P5
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		one := &gateway{name: "one", answer: func(int, paging.Message) (string, error) {
			return "", &paging.RefusedError{Code: "21610", Reason: "opted out", Contact: true}
		}}
		two := &gateway{name: "two"}
		start(t, b, sms(via("one", one), via("two", two)), paging.Options{})
		time.Sleep(time.Second)
		wantRequests(t, one, "1")
		wantRequests(t, two)
		wantStates(t, b, map[string]string{"1": "failed"})
	})
}

func TestOurOwnSetUpAtFaultGoesByTheNextProviderAtOnce(t *testing.T) { // P5
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		one := &gateway{name: "one", answer: func(int, paging.Message) (string, error) {
			return "", &paging.RefusedError{Code: "20003", Reason: "bad key"}
		}}
		two := &gateway{name: "two"}
		start(t, b, sms(via("one", one), via("two", two)), paging.Options{})
		time.Sleep(100 * time.Millisecond)
		wantRequests(t, one, "1")
		wantRequests(t, two, "1")
	})
}

// A checker is a gateway whose provider says where a message stands.
type checker struct {
	*gateway
	state tocsin.PageState
}

func (c checker) Check(context.Context, string) (paging.Report, error) {
	return paging.Report{State: c.state}, nil
}

func TestAMessageThatNobodyConfirmsCountsAsNotDelivered(t *testing.T) { // P6
	for name, tc := range map[string]struct {
		state tocsin.PageState
		want  string
	}{
		"still on its way after a minute": {tocsin.PageSent, "failed"},
		"the callback was lost":           {tocsin.PageDelivered, "delivered"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook(tocsin.Page{ID: "1"})
				start(t, b, sms(via("a", checker{&gateway{name: "a"}, tc.state})), paging.Options{})
				time.Sleep(59 * time.Second)
				wantStates(t, b, map[string]string{"1": "sent"})
				time.Sleep(6 * time.Second)
				wantStates(t, b, map[string]string{"1": tc.want})
			})
		})
	}
}

func TestAnAnswerThatNeverComesIsUnknownAfterItsTime(t *testing.T) { // P13: dripped or stalled
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1"})
		g := &gateway{name: "a", delay: time.Hour}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(21 * time.Second)
		wantStates(t, b, map[string]string{"1": "unknown"})
	})
}

func TestAProviderThatFailsHalfItsCallsIsLeftForTheOther(t *testing.T) { // P15
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		one := &gateway{name: "one", answer: func(n int, _ paging.Message) (string, error) {
			if n%2 == 0 {
				return "", paging.ErrUnknown
			}
			return "", nil
		}}
		two := &gateway{name: "two"}
		w := start(t, b, sms(via("one", finder{one}), via("two", finder{two})), paging.Options{})
		for i := range 200 {
			b.mu.Lock()
			b.add(tocsin.Page{ID: fmt.Sprintf("p%03d", i), Incident: int64(i)})
			b.mu.Unlock()
			w.Wake()
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(one.requests()); n > 30 {
			t.Errorf("%d requests to a provider that fails half of them, want the switch within 30 s", n)
		}
		for id, state := range b.states() {
			if state != "sent" || one.count(id)+two.count(id) != 1 {
				t.Errorf("page %s is %s, sent %d times", id, state, one.count(id)+two.count(id))
			}
		}
	})
}

func TestTheOnlyProviderIsTriedEvenWhenItsBreakerIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(40, nil)...)
		down := true
		g := &gateway{name: "a", answer: func(int, paging.Message) (string, error) {
			if down {
				return "", &paging.RefusedError{Code: "20003", Reason: "bad key"}
			}
			return "", nil
		}}
		w := start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(time.Second)
		synctest.Wait()
		down = false
		b.mu.Lock()
		b.add(tocsin.Page{ID: "last"})
		b.mu.Unlock()
		w.Wake()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := b.page("last").State; got != tocsin.PageSent {
			t.Errorf("page is %s", got)
		}
	})
}

func TestOfferedPagesAreSentAtOnceWithoutAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		g := &gateway{name: "a"}
		w := start(t, b, sms(via("a", g)), paging.Options{})
		synctest.Wait()
		if n := w.Reserve(paging.SMS, 5000); n != 1024 {
			t.Errorf("reserved %d, want what is under way and as many again", n)
		}
		if n := w.Free(paging.SMS); n != 0 {
			t.Errorf("free %d after everything was reserved", n)
		}
		w.Release(paging.SMS, 1023)
		b.mu.Lock()
		b.add(tocsin.Page{ID: "1"})
		p := b.claim(b.rows["1"], time.Now(), time.Minute)
		b.mu.Unlock()
		begin := time.Now()
		w.Offer([]tocsin.Page{p})
		wantRequests(t, g, "1")
		time.Sleep(time.Second)
		wantStates(t, b, map[string]string{"1": "sent"})
		if took := g.begun[0].at.Sub(begin); took != 0 {
			t.Errorf("took %s", took)
		}
		if n := w.Free(paging.SMS); n != 1024 {
			t.Errorf("free %d after all is done, want 1024", n)
		}
	})
}

func TestARequestStartsWithinASecondOfItsClaimOrTheClaimIsVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(64, nil)...)
		g := &gateway{name: "a", delay: 700 * time.Millisecond}
		p := via("a", g)
		p.Parallel = 8
		claims := map[string]time.Time{}
		start(t, claimClock{b, claims}, sms(p), paging.Options{})
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, r := range g.begun {
			if wait := r.at.Sub(claims[r.page]); wait > time.Second {
				t.Errorf("page %s began %s after its claim", r.page, wait)
			}
		}
		if len(g.begun) != 64 {
			t.Errorf("%d requests for 64 pages", len(g.begun))
		}
	})
}

type claimClock struct {
	*book
	claims map[string]time.Time
}

func (c claimClock) Claim(ctx context.Context, free map[string]int, lease time.Duration) ([]tocsin.Page, error) {
	got, err := c.book.Claim(ctx, free, lease)
	for _, p := range got {
		c.claims[p.ID] = time.Now()
	}
	return got, err
}

func TestNoRequestStartsAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(100, func(_ int, p *tocsin.Page) { p.Incident = 1 })...)
		b.add(tocsin.Page{ID: "other", Incident: 2, DueAt: time.Now().Add(time.Millisecond)})
		b.add(tocsin.Page{ID: "tell", Incident: 1, Kind: tocsin.KindNotice, DueAt: time.Now().Add(time.Millisecond)})
		g := &gateway{name: "a", delay: 50 * time.Millisecond}
		p := via("a", g)
		p.Parallel = 8
		w := start(t, b, sms(p), paging.Options{})
		time.Sleep(120 * time.Millisecond)
		at := time.Now()
		var ended []string
		b.mu.Lock()
		for _, row := range b.rows { // what the acknowledgement's own transaction does
			if row.Incident != 1 || row.Kind == tocsin.KindNotice || row.State >= tocsin.PageSent {
				continue
			}
			ended = append(ended, row.ID)
			if row.State == tocsin.PageDue {
				row.State = tocsin.PageCancelled
			}
		}
		b.mu.Unlock()
		w.Stop(t.Context(), 1, 0, ended)
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, r := range g.begun {
			if r.at.After(at) && r.page != "other" && r.page != "tell" {
				t.Errorf("page %s began %s after the stop", r.page, r.at.Sub(at))
			}
		}
		if got := b.states(); got["other"] != "sent" || got["tell"] != "sent" {
			t.Errorf("other incident's page is %s, the notice is %s", got["other"], got["tell"])
		}
	})
}

func TestAPageMadeAfterAStopIsSent(t *testing.T) { // escalated again after an acknowledgement, by a node whose clock is behind
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		g := &gateway{name: "a"}
		w := start(t, b, sms(via("a", g)), paging.Options{})
		w.Stop(t.Context(), 1, 0, []string{"0"})
		b.mu.Lock()
		b.add(tocsin.Page{ID: "1", Incident: 1, DueAt: time.Now().Add(-time.Minute)})
		b.mu.Unlock()
		w.Wake()
		time.Sleep(time.Second)
		wantRequests(t, g, "1")
	})
}

// A caller is a gateway that can drop what it took.
type caller struct{ *gateway }

func (c caller) Cancel(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = append(c.dropped, id)
	return nil
}

func TestCallsThatAProviderStillHoldsAreCancelledByAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1", Incident: 1, Channel: paging.Voice}, tocsin.Page{ID: "2", Incident: 2, Channel: paging.Voice})
		g := &gateway{name: "a"}
		w := start(t, b, map[string][]paging.Provider{paging.Voice: {via("a", caller{g})}}, paging.Options{})
		time.Sleep(time.Second)
		w.Stop(t.Context(), 1, 0, nil)
		synctest.Wait()
		if diff := gocmp.Diff([]string{"a-1"}, g.dropped); diff != "" {
			t.Errorf("cancelled (-want +got):\n%s", diff)
		}
	})
}

func TestPagesThatNobodyNeedsAnyMoreAreCancelledNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1", Incident: 1})
		b.slow = 10 * time.Millisecond
		g := &gateway{name: "a"}
		w := start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(5 * time.Millisecond)
		b.mu.Lock()
		b.stale[1] = true
		b.mu.Unlock()
		w.Wake()
		time.Sleep(time.Second)
		wantRequests(t, g)
		wantStates(t, b, map[string]string{"1": "cancelled"})
	})
}

func TestAPageThatExpiredIsShownAsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1", Expires: time.Now().Add(-time.Second)})
		g := &gateway{name: "a"}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(time.Second)
		wantRequests(t, g)
		wantStates(t, b, map[string]string{"1": "failed"})
	})
}

func TestAConfiguredRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(60, nil)...)
		g := &gateway{name: "a"}
		p := via("a", g)
		p.Rate, p.Burst = 5, 5
		start(t, b, sms(p), paging.Options{})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := len(g.requests()); n < 28 || n > 36 {
			t.Errorf("%d messages in 6 s at 5 a second with a burst of 5", n)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(g.requests()); n != 60 {
			t.Errorf("%d of 60 messages", n)
		}
	})
}

func TestManyFatesShareFewCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(10000, nil)...)
		g := &gateway{name: "a", delay: 100 * time.Millisecond}
		begin := time.Now()
		start(t, b, sms(via("a", g)), paging.Options{})
		for len(g.requests()) < 10000 && time.Since(begin) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		took := time.Since(begin)
		time.Sleep(time.Second)
		synctest.Wait()
		if took > 2500*time.Millisecond {
			t.Errorf("10,000 pages took %s, want 4,000 a second", took)
		}
		if b.saves > 400 {
			t.Errorf("%d commits for 10,000 pages", b.saves)
		}
		if g.most > 512 {
			t.Errorf("%d requests under way at once", g.most)
		}
	})
}

func TestABrokenBookLosesNoFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(20, nil)...)
		g := &gateway{name: "a", delay: 10 * time.Millisecond}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(5 * time.Millisecond)
		b.mu.Lock()
		b.broken = errors.New("disk full")
		b.mu.Unlock()
		time.Sleep(30 * time.Second)
		b.mu.Lock()
		b.broken = nil
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for id, state := range b.states() {
			if state != "sent" || g.count(id) != 1 {
				t.Errorf("page %s is %s, sent %d times", id, state, g.count(id))
			}
		}
	})
}

func TestAPageWhoseRowIsLockedHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(20, nil)...)
		g := &gateway{name: "a", delay: 10 * time.Millisecond}
		b.locked = map[string]bool{"p00003": true, "p00004": true}
		start(t, b, sms(via("a", g)), paging.Options{})
		time.Sleep(time.Second)
		for id, state := range b.states() {
			if want := map[bool]string{true: "claimed", false: "sent"}[b.locked[id]]; state != want || g.count(id) != 1 {
				t.Errorf("page %s is %s, sent %d times, want it %s after a second, sent once", id, state, g.count(id), want)
			}
		}
		b.mu.Lock()
		b.locked = nil
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		for id, state := range b.states() {
			if state != "sent" || g.count(id) != 1 {
				t.Errorf("page %s is %s, sent %d times, want it sent once its row is free", id, state, g.count(id))
			}
		}
	})
}

func TestAWorkerEndsWhileARowIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(2, nil)...)
		b.locked = map[string]bool{"p00000": true}
		w, end := begin(t, b, sms(via("a", &gateway{name: "a"})), paging.Options{})
		time.Sleep(time.Second)
		reported := make(chan error, 1)
		go func() {
			reported <- w.Report(t.Context(), paging.Report{PageID: "p00000", State: tocsin.PageDelivered})
		}()
		time.Sleep(time.Second)
		end()
		if err := <-reported; err == nil {
			t.Error("a report of the locked page is answered as if it were durable")
		}
		if got := b.states(); got["p00001"] != "sent" {
			t.Errorf("the other page is %s, want it sent", got["p00001"])
		}
	})
}

func TestAStoppedWorkerGivesBackWhatItDidNotStartAndFinishesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(30, nil)...)
		g := &gateway{name: "a", delay: 600 * time.Millisecond}
		p := via("a", g)
		p.Parallel = 8
		_, end := begin(t, b, sms(p), paging.Options{})
		time.Sleep(100 * time.Millisecond)
		end()
		count := map[string]int{}
		for _, state := range b.states() {
			count[state]++
		}
		if diff := gocmp.Diff(map[string]int{"sent": 8, "due": 22}, count); diff != "" {
			t.Errorf("states after the end (-want +got):\n%s", diff)
		}
	})
}

func TestAReportIsDurableBeforeItReturns(t *testing.T) { // C8
	synctest.Test(t, func(t *testing.T) {
		b := newBook(tocsin.Page{ID: "1", State: tocsin.PageSent})
		w := start(t, b, sms(via("a", &gateway{name: "a"})), paging.Options{})
		b.mu.Lock()
		b.broken = errors.New("disk full")
		b.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := w.Report(ctx, paging.Report{PageID: "1", State: tocsin.PageDelivered}); err == nil {
			t.Error("Report = nil while nothing can be saved")
		}
		b.mu.Lock()
		b.broken = nil
		b.mu.Unlock()
		if err := w.Report(t.Context(), paging.Report{PageID: "1", State: tocsin.PageDelivered}); err != nil {
			t.Error(err)
		}
		if got := b.page("1").State; got != tocsin.PageDelivered {
			t.Errorf("state = %s", got)
		}
	})
}

func TestAWorkerWithoutProvidersIsRefused(t *testing.T) {
	for name, channels := range map[string]map[string][]paging.Provider{
		"no channel":               {},
		"a channel with none":      {paging.SMS: {}},
		"one that stands twice":    sms(via("a", &gateway{}), via("a", &gateway{})),
		"one that cannot send":     sms(paging.Provider{Name: "a"}),
		"one with a negative rate": sms(paging.Provider{Name: "a", Sender: &gateway{}, Rate: -1}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := paging.NewWorker(newBook(), channels, paging.Options{}); err == nil {
				t.Error("NewWorker = nil, want an error")
			}
		})
	}
}
