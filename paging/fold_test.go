package paging_test

import (
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

// A mailbox is what one person got: when, since the start, and what.
type mailbox struct {
	mu    sync.Mutex
	began time.Time
	got   []string
	fail  func(n int, m paging.Message) error // n counts from 1
	asked int
}

func newMailbox() *mailbox { return &mailbox{began: time.Now()} }

func (b *mailbox) Send(_ context.Context, m paging.Message) (paging.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.fail != nil {
		if err := b.fail(b.asked, m); err != nil {
			return paging.Receipt{}, err
		}
	}
	b.got = append(b.got, fmt.Sprintf("%s %s", time.Since(b.began).Round(time.Second), m.Text))
	return paging.Receipt{ID: "sid-" + m.ID}, nil
}

func (b *mailbox) want(t *testing.T, want ...string) {
	t.Helper()
	settle()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := gocmp.Diff(want, b.got); diff != "" {
		t.Errorf("messages at %s (-want +got):\n%s", time.Since(b.began), diff)
	}
}

// settle lets all that is under way be written down; it takes a moment of the bubble's time.
func settle() {
	time.Sleep(20 * time.Millisecond)
	synctest.Wait()
}

// to are n pages for one person, one incident each; names are p00000 and so on.
func to(address string, n int) []tocsin.Page {
	return pages(n, func(_ int, p *tocsin.Page) { p.Address, p.Lane = address, 1 })
}

func text(ids ...int) string {
	var names []string
	for _, id := range ids {
		names = append(names, fmt.Sprintf("p%05d", id))
	}
	if len(names) == 1 {
		return "page " + names[0]
	}
	return "pages " + strings.Join(names, " ")
}

func upTo(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestFiftyIncidentsAtOnceAreOneMessageToTheirPersonAndNoneIsMissing(t *testing.T) { // S8
	synctest.Test(t, func(t *testing.T) {
		b := newBook(to("+49151", 50)...)
		box := newMailbox()
		start(t, b, sms(via("a", box)), paging.Options{})
		box.want(t, "0s "+text(upTo(0, 50)...))
		for id, state := range b.states() {
			if p := b.page(id); state != "sent" || p.ProviderID != "sid-p00000" || p.Message != "p00000" {
				t.Errorf("page %s is %s as %s in message %q, want sent with the first", id, state, p.ProviderID, p.Message)
			}
		}
		if b.saves > 1 {
			t.Errorf("%d commits for one message", b.saves)
		}
	})
}

func TestAPersonGetsAtMostTwoMessagesAMinuteAndThenOneWithAllTheRest(t *testing.T) { // S8
	synctest.Test(t, func(t *testing.T) {
		all := to("+49151", 50)
		b := newBook()
		box := newMailbox()
		w := start(t, b, sms(via("a", box)), paging.Options{})
		for _, p := range all { // about one a second
			b.mu.Lock()
			b.add(p)
			b.mu.Unlock()
			w.Wake()
			time.Sleep(1100 * time.Millisecond)
		}
		time.Sleep(70 * time.Second)
		box.want(t, "0s "+text(0), "5s "+text(upTo(1, 5)...), "1m0s "+text(upTo(5, 50)...))
	})
}

func TestAMajorOvertakesAndIsNeverFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(to("+49151", 9)...)
		for _, id := range []string{"major 1", "major 2"} {
			b.add(tocsin.Page{ID: id, Address: "+49151", Lane: 0, Kind: tocsin.KindMajor})
		}
		box := newMailbox()
		start(t, b, sms(via("a", box)), paging.Options{})
		settle()
		slices.Sort(box.got)
		box.want(t, "0s page major 1", "0s page major 2", "0s "+text(upTo(0, 9)...))
	})
}

func TestNoticesWaitForPagesAndPagesForNoNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		box := newMailbox()
		w := start(t, b, sms(via("a", box)), paging.Options{})
		put := func(ids ...string) {
			b.mu.Lock()
			for _, id := range ids {
				p := tocsin.Page{ID: id, Address: "+49151", Lane: 1}
				if strings.HasPrefix(id, "notice") {
					p.Kind, p.Lane = tocsin.KindNotice, 3
				}
				b.add(p)
			}
			b.mu.Unlock()
			w.Wake()
		}
		put("notice 1", "notice 2")
		time.Sleep(10 * time.Second)
		put("notice 3")
		time.Sleep(10 * time.Second)
		put("notice 4", "page 1")
		time.Sleep(2 * time.Minute)
		box.want(t, "0s pages notice 1 notice 2", "10s page notice 3", "20s page page 1", "1m10s page notice 4")
	})
}

func TestOthersAreNotHeldUpByOnePersonsFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(to("+49151", 400)...)
		b.add(tocsin.Page{ID: "other", Address: "+49152", Lane: 2})
		box := newMailbox()
		start(t, b, sms(via("a", box)), paging.Options{})
		synctest.Wait()
		if len(box.got) != 2 || !slices.Contains(box.got, "0s page other") {
			t.Errorf("%d messages, want the flood in one and the other's", len(box.got))
		}
	})
}

func TestWhatIsNotNeededAnyMoreIsNotTold(t *testing.T) {
	for name, tc := range map[string]struct {
		stale []int64
		want  []string
		sent  int
	}{
		"one in the middle":   {[]int64{2}, []string{"0s " + text(0, 2, 3)}, 3},
		"the first":           {[]int64{1}, []string{"0s " + text(1, 2, 3)}, 3},
		"all but one":         {[]int64{1, 2, 4}, []string{"0s " + text(2)}, 1},
		"all":                 {[]int64{1, 2, 3, 4}, nil, 0},
		"the first and third": {[]int64{1, 3}, []string{"0s " + text(1, 3)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &gateBook{book: newBook(to("+49151", 4)...), stale: tc.stale}
				box := newMailbox()
				start(t, b, sms(via("a", box)), paging.Options{})
				box.want(t, tc.want...)
				want := map[string]string{}
				for i := range 4 {
					want[fmt.Sprintf("p%05d", i)] = "sent"
					if slices.Contains(tc.stale, int64(i+1)) {
						want[fmt.Sprintf("p%05d", i)] = "cancelled"
					}
				}
				wantStates(t, b.book, want)
			})
		})
	}
}

// A gateBook learns that incidents are over just after their pages were claimed.
type gateBook struct {
	*book
	stale []int64
}

func (b *gateBook) Claim(ctx context.Context, free map[string]int, lease time.Duration) ([]tocsin.Page, error) {
	got, err := b.book.Claim(ctx, free, lease)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.stale {
		b.book.stale[i] = true
	}
	return got, err
}

func TestAMessageThatNobodyNeededCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &gateBook{book: newBook(to("+49151", 4)...), stale: []int64{1, 2, 3, 4}}
		box := newMailbox()
		w := start(t, b, sms(via("a", box)), paging.Options{})
		time.Sleep(time.Second)
		b.mu.Lock()
		b.add(tocsin.Page{ID: "new", Address: "+49151", Lane: 1, Incident: 9})
		b.mu.Unlock()
		w.Wake()
		box.want(t, "1s page new")
	})
}

func TestAFoldedMessageThatIsRefusedGoesByTheNextProviderWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(to("+49151", 3)...)
		first, second := newMailbox(), newMailbox()
		first.fail = func(int, paging.Message) error { return &paging.RefusedError{Code: "1", Reason: "no"} }
		start(t, b, sms(via("a", first), via("b", second)), paging.Options{})
		first.want(t)
		second.want(t, "0s "+text(0, 1, 2))
		for i := range 3 {
			if p := b.page(fmt.Sprintf("p%05d", i)); p.Provider != "b" || p.Attempts != 2 || p.State != tocsin.PageSent {
				t.Errorf("page %d is %s by %s after %d attempts", i, p.State, p.Provider, p.Attempts)
			}
		}
	})
}

func TestAFoldedMessageOfUnknownOutcomeIsLookedUpOnceAndNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(to("+49151", 3)...)
		box := &foldFinder{mailbox: newMailbox()}
		box.fail = func(n int, _ paging.Message) error {
			box.got = append(box.got, "lost")
			return paging.ErrUnknown
		}
		start(t, b, sms(via("a", box)), paging.Options{})
		settle()
		wantStates(t, b, map[string]string{"p00000": "unknown", "p00001": "unknown", "p00002": "unknown"})
		time.Sleep(11 * time.Second)
		wantStates(t, b, map[string]string{"p00000": "sent", "p00001": "sent", "p00002": "sent"})
		if diff := gocmp.Diff([]string{"p00000 " + text(0, 1, 2)}, box.found); diff != "" {
			t.Errorf("look-ups (-want +got):\n%s", diff)
		}
	})
}

// A foldFinder has whatever it is asked for.
type foldFinder struct {
	*mailbox
	found []string
}

func (f *foldFinder) Find(_ context.Context, m paging.Message, _ time.Time) (paging.Receipt, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = append(f.found, m.ID+" "+m.Text)
	return paging.Receipt{ID: "sid-" + m.ID}, true, nil
}

func TestTheNextProcessLooksAFoldedMessageUpByItsOwnTextAndName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		for i := range 3 {
			b.add(tocsin.Page{
				ID: fmt.Sprintf("p%05d", i), Address: "+49151", Lane: 1, State: tocsin.PageClaimed, ClaimedTo: time.Now(), Provider: "a", Attempts: 1,
				Body: text(0, 1, 2), Message: "p00000",
			})
		}
		box := &foldFinder{mailbox: newMailbox()}
		start(t, b, sms(via("a", box)), paging.Options{})
		time.Sleep(time.Second)
		wantStates(t, b, map[string]string{"p00000": "sent", "p00001": "sent", "p00002": "sent"})
		slices.Sort(box.found)
		same := "p00000 " + text(0, 1, 2)
		if diff := gocmp.Diff([]string{same, same, same}, box.found); diff != "" {
			t.Errorf("look-ups (-want +got):\n%s", diff)
		}
	})
}

func TestAReportOfAFoldedMessageIsTrueForAllOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(to("+49151", 3)...)
		box := newMailbox()
		w := start(t, b, sms(via("a", box)), paging.Options{})
		settle()
		err := w.Report(t.Context(), paging.Report{PageID: "p00000", ProviderID: "sid-p00000", State: tocsin.PageDelivered})
		if err != nil {
			t.Fatal(err)
		}
		wantStates(t, b, map[string]string{"p00000": "delivered", "p00001": "delivered", "p00002": "delivered"})
	})
}

func TestACallAboutManyIsCancelledOnlyWhenNobodyNeedsAnyOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(pages(3, func(_ int, p *tocsin.Page) { p.Address, p.Lane, p.Channel = "+49151", 1, paging.Voice })...)
		g := &gateway{name: "a"}
		w := start(t, b, map[string][]paging.Provider{paging.Voice: {via("a", caller{g})}}, paging.Options{})
		wantRequests(t, g, "p00000")
		for _, tc := range []struct {
			incident int64
			want     []string
		}{{1, nil}, {3, nil}, {1, nil}, {2, []string{"a-p00000"}}} {
			w.Stop(t.Context(), tc.incident, 0, nil)
			synctest.Wait()
			g.mu.Lock()
			if diff := gocmp.Diff(tc.want, g.dropped); diff != "" {
				t.Errorf("calls cancelled after incident %d (-want +got):\n%s", tc.incident, diff)
			}
			g.mu.Unlock()
		}
	})
}

func TestARestartAsksAgainAboutWhatWasSentAndNotConfirmed(t *testing.T) { // P6
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		for id, ago := range map[string]time.Duration{"long ago": 3 * time.Minute, "just now": 10 * time.Second} {
			b.add(tocsin.Page{ID: id, State: tocsin.PageSent, Provider: "a", ProviderID: "sid " + id, SentAt: time.Now().Add(-ago)})
		}
		b.add(tocsin.Page{ID: "of another", State: tocsin.PageSent, Provider: "b", ProviderID: "sid", SentAt: time.Now().Add(-time.Hour)})
		b.add(tocsin.Page{ID: "delivered", State: tocsin.PageDelivered, Provider: "a", ProviderID: "sid", SentAt: time.Now().Add(-time.Hour)})
		g := &gateway{name: "a"}
		c := &asked{gateway: g}
		start(t, b, sms(via("a", c)), paging.Options{})
		time.Sleep(time.Second)
		c.want(t, "sid long ago")
		time.Sleep(52 * time.Second)
		c.want(t, "sid long ago", "sid just now")
		wantStates(t, b, map[string]string{"long ago": "delivered", "just now": "delivered", "of another": "sent", "delivered": "delivered"})
	})
}

func TestMessagesOfANodeThatIsGoneAreAskedAboutByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		c := &asked{gateway: &gateway{name: "a"}}
		start(t, b, sms(via("a", c)), paging.Options{})
		time.Sleep(10 * time.Second)
		b.mu.Lock()
		b.add(tocsin.Page{ID: "1", State: tocsin.PageSent, Provider: "a", ProviderID: "sid 1", SentAt: time.Now()})
		b.mu.Unlock()
		time.Sleep(4 * time.Minute)
		c.want(t)
		time.Sleep(time.Minute)
		c.want(t, "sid 1")
	})
}

// asked is a provider that remembers what it was asked about, and has delivered all of it.
type asked struct {
	*gateway
	of []string
}

func (a *asked) Check(_ context.Context, id string) (paging.Report, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of = append(a.of, id)
	return paging.Report{State: tocsin.PageDelivered}, nil
}

func (a *asked) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := gocmp.Diff(want, a.of); diff != "" {
		t.Errorf("asked about (-want +got):\n%s", diff)
	}
}

func TestAfterAnHourOfOutageOneMessagePerPersonSaysWhatStillMatters(t *testing.T) { // P14
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		const people, each = 500, 10
		for i := range people * each {
			b.add(tocsin.Page{ID: fmt.Sprintf("p%05d", i), Incident: int64(i + 1), Address: fmt.Sprintf("+49151%d", i%people), Lane: 1})
		}
		box := newMailbox()
		down := true
		box.fail = func(int, paging.Message) error {
			if down {
				return &paging.RateError{Wait: time.Minute}
			}
			return nil
		}
		start(t, b, sms(via("a", box)), paging.Options{})
		time.Sleep(time.Hour)
		box.mu.Lock()
		down, box.began = false, time.Now()
		box.mu.Unlock()
		b.mu.Lock()
		for i := range int64(people * each) {
			if i/people%2 == 1 { // half of everybody's have ended meanwhile
				b.stale[i+1] = true
			}
		}
		b.mu.Unlock()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		box.mu.Lock()
		defer box.mu.Unlock()
		messages := map[int]int{}
		for _, m := range box.got {
			n := 0
			_, _ = fmt.Sscanf(strings.Fields(m)[2], "p%d", &n) // the test named them
			messages[n%people]++
		}
		twice := 0
		for who, n := range messages {
			if n > 1 {
				twice++ // what was just put back was not found while the first message was written
			}
			if n > 2 {
				t.Errorf("person %d got %d messages", who, n)
			}
		}
		if len(messages) != people || twice > people/10 {
			t.Errorf("%d people got a message, %d of them two, want one for each of %d", len(messages), twice, people)
		}
		told := map[string]bool{}
		for _, m := range box.got {
			for _, id := range strings.Fields(m)[2:] {
				told[id] = true
			}
		}
		if len(told) != people*each/2 {
			t.Errorf("%d pages told of, want the %d that still matter", len(told), people*each/2)
		}
	})
}

var errNoFold = errors.New("the database is away")

// A shaky book cannot fold at first.
type shaky struct {
	*book
	left int
}

func (b *shaky) Fold(ctx context.Context, pages []tocsin.Page) (paging.Message, map[string]error, error) {
	b.left--
	if b.left >= 0 {
		return paging.Message{}, nil, errNoFold
	}
	return b.book.Fold(ctx, pages)
}

func TestAFoldThatCannotBeWrittenIsTriedAgainAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &shaky{newBook(to("+49151", 3)...), 6}
		box := newMailbox()
		start(t, b, sms(via("a", box)), paging.Options{})
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(box.got) != 1 || !strings.HasSuffix(box.got[0], text(0, 1, 2)) {
			t.Errorf("messages %q, want one about all three", box.got)
		}
	})
}
