package paging

import (
	"slices"
	"time"

	"tocsin"
)

const (
	maxPersons = 20_000 // numbers and addresses that are remembered
	maxFolded  = 500    // pages in one message
)

// persons bounds how many messages one number or address gets: so many in a window, with a gap between two. What comes faster
// waits, and then shares one message. It counts pages and notices: notices give way to pages, pages never to notices.
type persons struct {
	most   int
	window time.Duration // below 0: no limit, and nothing is folded
	gap    time.Duration
	of     map[string]*person
}

// A person is one number or address.
type person struct {
	pages []time.Time // the last messages with pages, oldest first, at most persons.most
	all   []time.Time // those with notices too
	jobs  []*job      // in hand and not started
	lead  *job        // started, and still looks what else waits: what would start beside it goes with it
	seen  time.Time
}

func newPersons(most int, window, gap time.Duration) *persons {
	return &persons{most: most, window: window, gap: gap, of: make(map[string]*person)}
}

// wait puts j among what its person waits for. Majors wait for nobody and share with nobody.
func (ps *persons) wait(j *job, now time.Time) {
	if ps.window < 0 || j.page.Lane == 0 || !j.fresh {
		return
	}
	key := j.page.Channel + "\x00" + j.page.Address
	one := ps.of[key]
	if one == nil {
		ps.forget(now)
		one = &person{}
		ps.of[key] = one
	}
	one.seen = now
	one.jobs = append(one.jobs, j)
	j.person = one
}

// allow says when a message like j may go; not after now: now.
func (ps *persons) allow(j *job, now time.Time) time.Time {
	if j.person == nil || ps.window < 0 {
		return now
	}
	at := ps.next(j.person.pages)
	if isNotice(j) {
		at = later(at, ps.next(j.person.all))
	}
	return later(at, now)
}

func (ps *persons) next(sent []time.Time) time.Time {
	if len(sent) == 0 {
		return time.Time{}
	}
	at := sent[len(sent)-1].Add(ps.gap)
	if len(sent) >= ps.most {
		at = later(at, sent[len(sent)-ps.most].Add(ps.window))
	}
	return at
}

// took counts a message that starts now.
func (ps *persons) took(j *job, now time.Time) {
	if j.person == nil {
		return
	}
	j.counted = now
	j.person.all = ps.add(j.person.all, now)
	if !isNotice(j) {
		j.person.pages = ps.add(j.person.pages, now)
	}
}

func (ps *persons) add(sent []time.Time, now time.Time) []time.Time {
	if len(sent) >= ps.most {
		sent = slices.Delete(sent, 0, len(sent)-ps.most+1)
	}
	return append(sent, now)
}

// spared takes back a message that was counted and did not go out.
func (ps *persons) spared(j *job) {
	if j.person == nil || j.counted.IsZero() {
		return
	}
	same := func(t time.Time) bool { return t.Equal(j.counted) }
	j.person.all = slices.DeleteFunc(j.person.all, same)
	j.person.pages = slices.DeleteFunc(j.person.pages, same)
	j.counted = time.Time{}
}

// leave takes j from what its person waits for.
func (ps *persons) leave(j *job) {
	if j.person == nil {
		return
	}
	if i := slices.Index(j.person.jobs, j); i >= 0 {
		j.person.jobs = slices.Delete(j.person.jobs, i, i+1)
	}
}

// forget drops those whose messages count no more, when there are too many.
func (ps *persons) forget(now time.Time) {
	if len(ps.of) < maxPersons {
		return
	}
	for key, one := range ps.of {
		if len(one.jobs) == 0 && now.Sub(one.seen) > ps.window {
			delete(ps.of, key)
		}
	}
	if len(ps.of) >= maxPersons { // all are busy: a limit forgotten is better than memory without one
		clear(ps.of)
	}
}

func isNotice(j *job) bool { return j.page.Kind == tocsin.KindNotice }
