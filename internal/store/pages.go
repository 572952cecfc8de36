package store

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin"
)

var pageColumns = cols(`id partition kind incident major person channel address provider provider_id state lane round step text
	due_at expires claimed_to token attempts tried sent_at ended_at error body message node`)

var insertPage = pageColumns.insert("page") + " ON CONFLICT (id) DO NOTHING"

// InsertPages adds pages; one whose ID is there already stays as it is. A page may be inserted as claimed, by the node that is
// about to send it: State PageClaimed, with ClaimedTo, Token and Attempts 1.
func (t *Tx) InsertPages(pages []tocsin.Page) error {
	var bad error
	err := t.conn.Each(insertPage, len(pageColumns), len(pages), func(n int, c []any) {
		p := &pages[n]
		tried, err := triedText(p.Tried)
		if err != nil {
			bad = err
		}
		c[0], c[1], c[2], c[3], c[4], c[5] = p.ID, int64(p.Partition), p.Kind, p.Incident, p.Major, p.Person
		c[6], c[7], c[8], c[9], c[10] = p.Channel, p.Address, p.Provider, p.ProviderID, int64(p.State)
		c[11], c[12], c[13], c[14], c[15] = int64(p.Lane), int64(p.Round), int64(p.Step), p.Text, micros(p.DueAt)
		c[16], c[17], c[18], c[19], c[20] = micros(p.Expires), micros(p.ClaimedTo), p.Token, int64(p.Attempts), tried
		c[21], c[22], c[23], c[24], c[25] = micros(p.SentAt), micros(p.EndedAt), p.Error, p.Body, p.Message
		c[26] = int64(0)
		if p.State == tocsin.PageClaimed {
			c[26] = t.node
		}
	}, nil)
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("insert %d pages: %w", len(pages), err)
	}
	return nil
}

func triedText(tried []string) (string, error) {
	if len(tried) == 0 {
		return "", nil
	}
	return toJSON(tried)
}

func scanPage(r Row) (tocsin.Page, error) {
	p := tocsin.Page{
		ID: r.Text(0), Partition: int(r.Int(1)), Kind: r.Text(2), Incident: r.Int(3), Major: r.Int(4), Person: r.Text(5),
		Channel: r.Text(6), Address: r.Text(7), Provider: r.Text(8), ProviderID: r.Text(9), State: tocsin.PageState(r.Int(10)),
		Lane: int(r.Int(11)), Round: int(r.Int(12)), Step: int(r.Int(13)), Text: r.Text(14), DueAt: r.Time(15),
		Expires: r.Time(16), ClaimedTo: r.Time(17), Token: r.Int(18), Attempts: int(r.Int(19)),
		SentAt: r.Time(21), EndedAt: r.Time(22), Error: r.Text(23), Body: r.Text(24), Message: r.Text(25),
	}
	return p, fromJSON(r.Text(20), &p.Tried)
}

// Page returns one page; ErrNotFound where there is none.
func (t *Tx) Page(id string) (tocsin.Page, error) {
	return one(t, "page "+id, scanPage, "SELECT "+pageColumns.list("")+" FROM page WHERE id = $1", id)
}

// PageByProviderID returns the page that a provider calls id; ErrNotFound where there is none.
func (t *Tx) PageByProviderID(provider, id string) (tocsin.Page, error) {
	return one(t, "page "+id+" of provider "+provider, scanPage, "SELECT "+pageColumns.list("")+
		" FROM page WHERE provider_id = $1 AND provider_id <> '' AND provider = $2 LIMIT 1", id, provider)
}

// A PageFilter chooses pages; the zero value is all of them, the newest due first.
type PageFilter struct {
	Incident  int64
	Major     int64
	Person    string
	States    []tocsin.PageState
	BeforeDue time.Time // with BeforeID: pages behind the one that is due then; zero: from the newest
	BeforeID  string    // of pages due at the same time those whose ID is greater come later
	Limit     int       // 0: 100
}

// Pages returns the pages that f chooses, the newest due first.
func (t *Tx) Pages(f PageFilter) ([]tocsin.Page, error) {
	w := &where{}
	if f.Incident != 0 {
		w.add("incident = ? AND incident > 0", f.Incident)
	}
	if f.Major != 0 {
		w.add("major = ? AND major > 0", f.Major)
	}
	if f.Person != "" {
		w.add("person = ?", f.Person)
	}
	among(w, "state", numbers(f.States))
	if !f.BeforeDue.IsZero() {
		due := micros(f.BeforeDue)
		w.add("due_at <= ? AND (due_at < ? OR id > ?)", due, due, f.BeforeID)
	}
	w.args = append(w.args, cmp.Or(f.Limit, 100))
	return all(t, "pages", scanPage, fmt.Sprintf("SELECT %s FROM page%s ORDER BY due_at DESC, id LIMIT $%d", pageColumns.list(""), w, len(w.args)), w.args...)
}

// WokenFor returns the people who were sent a page about the incident or the major (the other is 0), by name.
func (t *Tx) WokenFor(incident, major int64) ([]string, error) {
	column, id := "incident", incident
	if major != 0 {
		column, id = "major", major
	}
	return all(t, "people woken", func(r Row) (string, error) { return r.Text(0), nil }, fmt.Sprintf(
		"SELECT DISTINCT person FROM page WHERE %[1]s = $1 AND %[1]s > 0 AND sent_at > 0 AND kind <> 'notice' ORDER BY person", column), id)
}

// Lanes is how many lanes pages have: 0 to Lanes-1.
const Lanes = 4

// maxDrop bounds how many pages that nobody needs one claim cancels on its way.
const maxDrop = 500

// A candidate is a page that may be claimed, with what decides whether it is still needed.
type candidate struct {
	page          tocsin.Page
	incident      tocsin.IncidentState
	incidentMajor int64
	major         tocsin.MajorState
	resolvedBy    string
	resolvedAt    time.Time
}

func scanCandidate(r Row) (candidate, error) {
	p, err := scanPage(r)
	n := len(pageColumns)
	return candidate{p, tocsin.IncidentState(r.Int(n)), r.Int(n + 1), tocsin.MajorState(r.Int(n + 2)), r.Text(n + 3), r.Time(n + 4)}, err
}

// RecoveryLasts is how long after it recovered by itself an incident's pages are kept back, not cancelled: it may come back as if
// nothing had been. When the rule's own quiet is over, which is sooner, they are cancelled.
const RecoveryLasts = 10 * time.Minute

// keepBack is for how long a page is kept back at a time.
const keepBack = 5 * time.Second

// recovering reports whether the page's incident has recovered, but perhaps not for good.
func (c *candidate) recovering(now time.Time) bool {
	return c.page.Kind == tocsin.KindPage && c.incident == tocsin.Settled && c.resolvedBy == tocsin.ByItself && now.Sub(c.resolvedAt) < RecoveryLasts
}

// needless says why nobody needs the page any more at the time now, and "" when somebody does.
func (c *candidate) needless(now time.Time) string {
	switch p := &c.page; {
	case !p.Expires.IsZero() && p.Expires.Before(now):
		return "it expired before it could be sent"
	case p.Kind == tocsin.KindPage && c.incident != tocsin.Triggered:
		return "the incident is not triggered any more"
	case p.Kind == tocsin.KindPage && c.incidentMajor != 0:
		return "the incident is part of a confirmed major"
	case p.Kind == tocsin.KindCandidate && c.major != tocsin.Proposed:
		return "the candidate is decided"
	case p.Kind == tocsin.KindMajor && c.major != tocsin.Confirmed:
		return "the major is not under way any more"
	}
	return ""
}

var (
	selectCandidates = "SELECT " + pageColumns.list("p") + `, i.state, i.major, m.state, i.resolved_by, i.resolved_at
		FROM page p LEFT JOIN incident i ON i.id = p.incident LEFT JOIN major m ON m.id = p.major `
	selectDue    = selectCandidates + `WHERE p.state = 1 AND p.channel = $1 AND p.lane = $2 AND p.due_at <= $3 ORDER BY p.due_at LIMIT $4`
	selectLapsed = selectCandidates + `WHERE p.state IN (2, 3) AND p.channel = $1 AND p.claimed_to < $2 ORDER BY p.claimed_to LIMIT $3`
)

const claimPage = `UPDATE page SET state = $1, claimed_to = $2, token = $3, attempts = $4, node = $5 WHERE id = $6 AND token = $7 AND state = $8`

const keepBackPage = `UPDATE page SET due_at = CASE WHEN state = 1 THEN $1 ELSE due_at END, claimed_to = CASE WHEN state = 1 THEN claimed_to ELSE $1 END
	WHERE id = $2 AND token = $3 AND state = $4`

const dropPage = `UPDATE page SET state = 8, ended_at = $1, error = $2 WHERE id = $3 AND token = $4 AND state = $5`

// ClaimPages takes up to limit[channel] pages of each channel that are due at now, for lease: the urgent lanes first, in each
// the longest due first. Before these come pages whose claim has lapsed: their worker died or was too slow.
//
// A page that nobody needs any more, or that has expired, is cancelled on the way, with the reason as its Error; one whose incident
// has recovered, but perhaps not for good, is kept back. A claimed page has
// state PageClaimed, and Attempts counts this attempt already. One whose claim lapsed after an attempt has state PageUnknown, in the row too: it may
// have gone out, so look it up at its provider before anything is sent. Tokens are token, or the page's last token plus one where that is greater.
func (t *Tx) ClaimPages(now time.Time, lease time.Duration, limit map[string]int, token int64) ([]tocsin.Page, error) {
	now = now.Truncate(time.Microsecond)
	due, err := t.dueLanes(now)
	if err != nil {
		return nil, err
	}
	b := pageClaim{now: now, to: now.Add(lease), token: token, drops: maxDrop}
	for _, channel := range slices.Sorted(maps.Keys(limit)) {
		left := limit[channel]
		for lane := lapsedLane; lane < Lanes && left > 0; lane++ {
			if !due[channelLane{channel, lane}] {
				continue
			}
			got, err := t.claimLane(&b, channel, lane, left)
			if err != nil {
				return nil, err
			}
			left -= got
		}
	}
	return b.claimed, nil
}

var selectMore = selectCandidates + `WHERE p.person = $1 AND p.due_at > $2 AND p.due_at <= $3 AND p.state = 1 AND p.channel = $4 AND p.address = $5
	AND p.lane > 0 AND (p.kind = 'notice') = (CAST($6 AS BIGINT) = 1) ORDER BY p.due_at, p.id LIMIT $7`

// moreSince is how long ago a page may have fallen due that ClaimMore still looks for.
const moreSince = 24 * time.Hour

// ClaimMore takes up to limit more pages of the same person as of, by its channel to its address, that are due until the given time,
// for one message: no majors, and notices only where it is one. All else is as with ClaimPages.
func (t *Tx) ClaimMore(now time.Time, of tocsin.Page, until time.Time, lease time.Duration, limit int, token int64) ([]tocsin.Page, error) {
	now = now.Truncate(time.Microsecond)
	found, err := all(t, "more pages to one person", scanCandidate, selectMore, of.Person, micros(now.Add(-moreSince)), micros(until),
		of.Channel, of.Address, flag(of.Kind == tocsin.KindNotice), limit)
	if err != nil {
		return nil, err
	}
	b := pageClaim{now: now, to: now.Add(lease), token: token, drops: maxDrop}
	_, _, err = t.claimEach(&b, found)
	return b.claimed, err
}

// pageClaim is one call of ClaimPages under way.
type pageClaim struct {
	now, to time.Time
	token   int64
	drops   int
	claimed []tocsin.Page
}

// lapsedLane stands for the lapsed claims of all lanes: they come first.
const lapsedLane = -1

type channelLane struct {
	channel string
	lane    int
}

// dueLanes tells in one trip in which lanes something is due, so that only those are asked.
func (t *Tx) dueLanes(now time.Time) (map[channelLane]bool, error) {
	found, err := all(t, "lanes with pages due", func(r Row) (channelLane, error) { return channelLane{r.Text(0), int(r.Int(1))}, nil }, selectLanes, micros(now))
	due := make(map[channelLane]bool, len(found))
	for _, l := range found {
		due[l] = true
	}
	return due, err
}

// claimLane claims up to left pages of one lane.
func (t *Tx) claimLane(b *pageClaim, channel string, lane, left int) (got int, err error) {
	for got < left && b.drops > 0 {
		want := left - got
		query, args := selectDue, []any{channel, lane, micros(b.now), want}
		if lane == lapsedLane {
			query, args = selectLapsed, []any{channel, micros(b.now), want}
		}
		found, err := all(t, "due pages", scanCandidate, query+t.conn.SkipLocked("p"), args...)
		if err != nil {
			return got, err
		}
		n, dropped, err := t.claimEach(b, found)
		got += n
		b.drops -= dropped
		if err != nil || len(found) < want || dropped == 0 {
			return got, err
		}
	}
	return got, nil
}

// claimEach claims those of found that are needed and cancels the others.
func (t *Tx) claimEach(b *pageClaim, found []candidate) (claimed, dropped int, err error) {
	var wanted, back, drop []*candidate
	var reasons []string
	for i := range found {
		c := &found[i]
		reason := ""
		if !c.recovering(b.now) {
			reason = c.needless(b.now)
		}
		switch {
		case c.recovering(b.now):
			back = append(back, c)
		case reason != "":
			if c.page.State != tocsin.PageDue && c.page.Attempts > 0 {
				reason += "; what became of its last attempt is not known"
			}
			drop, reasons = append(drop, c), append(reasons, reason)
		default:
			wanted = append(wanted, c)
		}
	}
	count := func(_ int, changed int64) { dropped += int(changed) }
	err = t.conn.Each(keepBackPage, 4, len(back), func(i int, a []any) {
		p := &back[i].page
		a[0], a[1], a[2], a[3] = micros(b.now.Add(keepBack)), p.ID, p.Token, int64(p.State)
	}, count)
	if err != nil {
		return claimed, dropped, fmt.Errorf("keep back %d pages: %w", len(back), err)
	}
	err = t.conn.Each(dropPage, 5, len(drop), func(i int, a []any) {
		p := &drop[i].page
		a[0], a[1], a[2], a[3], a[4] = micros(b.now), reasons[i], p.ID, p.Token, int64(p.State)
	}, count)
	if err != nil {
		return claimed, dropped, fmt.Errorf("cancel %d pages: %w", len(drop), err)
	}
	got := make([]tocsin.Page, len(wanted))
	for i, c := range wanted {
		got[i] = b.claim(c.page)
	}
	err = t.conn.Each(claimPage, 8, len(wanted), func(i int, a []any) {
		before, p := &wanted[i].page, &got[i]
		a[0], a[1], a[2], a[3], a[4] = int64(p.State), micros(p.ClaimedTo), p.Token, int64(p.Attempts), t.node
		a[5], a[6], a[7] = p.ID, before.Token, int64(before.State)
	}, func(i int, changed int64) {
		if changed == 1 {
			b.claimed = append(b.claimed, got[i])
			claimed++
		}
	})
	if err != nil {
		return claimed, dropped, fmt.Errorf("claim %d pages: %w", len(wanted), err)
	}
	return claimed, dropped, nil
}

// claim returns p as it is once it is claimed.
func (b *pageClaim) claim(p tocsin.Page) tocsin.Page {
	before := p.State
	p.State, p.ClaimedTo, p.Token = tocsin.PageClaimed, b.to, max(b.token, p.Token+1)
	if before != tocsin.PageDue && p.Attempts > 0 {
		p.State = tocsin.PageUnknown
	} else {
		p.Attempts++
	}
	return p
}

// PageSave is what SavePages made of one page.
type PageSave int

// What SavePages may make of a page.
const (
	PageSaved PageSave = iota // the row is as it was given
	PageEnded                 // it had ended meanwhile (answered, cancelled, delivered, failed) and stays so; what the provider gave for it was noted
	PageLost                  // another claim has it, or it is gone: nothing was changed
)

const savePage = `UPDATE page SET state = $1, provider = $2, provider_id = $3, due_at = $4, claimed_to = $5, attempts = $6, tried = $7,
	sent_at = $8, ended_at = $9, error = $10, body = $11, message = $12 WHERE id = $13 AND token = $14 AND state < 5`

const notePage = `UPDATE page SET provider = $1, provider_id = $2, attempts = $3, tried = $4, sent_at = $5 WHERE id = $6 AND token = $7`

const answerPage = `UPDATE page SET state = 7, ended_at = $1 WHERE id = $2 AND token = $3 AND state <> 7`

// SavePages writes what became of pages, as read or claimed and then changed: State, Provider, ProviderID, DueAt, ClaimedTo, Attempts, Tried, SentAt,
// EndedAt, Error, Body and Message. Token is the fence. Of a page that has ended only PageAnswered is taken. The result has one entry for each page.
func (t *Tx) SavePages(pages []tocsin.Page) ([]PageSave, error) {
	fates, tried := make([]PageSave, len(pages)), make([]string, len(pages))
	for i := range pages {
		text, err := triedText(pages[i].Tried)
		if err != nil {
			return nil, err
		}
		tried[i] = text
	}
	var ended []int // or lost
	err := t.conn.Each(savePage, 14, len(pages), func(i int, a []any) {
		p := &pages[i]
		a[0], a[1], a[2], a[3], a[4] = int64(p.State), p.Provider, p.ProviderID, micros(p.DueAt), micros(p.ClaimedTo)
		a[5], a[6], a[7], a[8], a[9] = int64(p.Attempts), tried[i], micros(p.SentAt), micros(p.EndedAt), p.Error
		a[10], a[11], a[12], a[13] = p.Body, p.Message, p.ID, p.Token
	}, func(i int, changed int64) {
		if changed == 0 {
			ended = append(ended, i)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("save %d pages: %w", len(pages), err)
	}
	for _, i := range ended {
		fates[i], err = t.saveEnded(&pages[i], tried[i])
		if err != nil {
			return nil, err
		}
	}
	return fates, nil
}

// LockedPages returns those of the pages with these ids whose rows another transaction keeps locked; the others' are locked for the rest of
// this one, where the engine locks rows.
func (t *Tx) LockedPages(ids []string) (locked map[string]bool, err error) {
	skip := t.conn.SkipLocked("p")
	if skip == "" || len(ids) == 0 {
		return nil, nil
	}
	w := &where{}
	among(w, "p.id", ids)
	query := fmt.Sprintf("SELECT p.id FROM page p%s ORDER BY p.id", w)
	scan := func(r Row) (string, error) { return r.Text(0), nil }
	free, err := all(t, "pages that are not locked", scan, query+skip, w.args...)
	if err != nil || len(free) == len(ids) {
		return nil, err
	}
	there, err := all(t, "pages", scan, query, w.args...)
	if err != nil {
		return nil, err
	}
	locked = map[string]bool{}
	for _, id := range there {
		locked[id] = true
	}
	for _, id := range free {
		delete(locked, id)
	}
	return locked, nil
}

// saveEnded saves what may be saved of a page that is not under way in the database.
func (t *Tx) saveEnded(p *tocsin.Page, tried string) (PageSave, error) {
	what := "save page " + p.ID
	if p.State == tocsin.PageAnswered {
		n, err := t.exec(what, answerPage, micros(p.EndedAt), p.ID, p.Token)
		if err != nil || n == 1 {
			return PageSaved, err
		}
	}
	n, err := t.exec(what, notePage, p.Provider, p.ProviderID, p.Attempts, tried, micros(p.SentAt), p.ID, p.Token)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return PageLost, nil
	}
	return PageEnded, nil
}

// CancelPages cancels what is not sent yet of the pages about the incident or the major (the other is 0), and the calls that
// a carrier may still hold; notices go on. A sent SMS or mail stays as it is: it cannot be taken back, and its fate is still
// learned. It returns those it ended, as they were. Calls that have a ProviderID the carrier may hold: cancel them there, after the commit.
func (t *Tx) CancelPages(incident, major int64, reason string, at time.Time) (ended []tocsin.Page, err error) {
	column, id := "incident", incident
	if major != 0 {
		column, id = "major", major
	}
	found, err := all(t, "pages to cancel", scanPage, fmt.Sprintf(`SELECT %s FROM page WHERE %[2]s = $1 AND %[2]s > 0
		AND kind <> 'notice' AND (state < 4 OR state = 4 AND channel = 'voice') ORDER BY id`, pageColumns.list(""), column), id)
	if err != nil {
		return nil, err
	}
	err = t.conn.Each(cancelPage, 3, len(found), func(n int, c []any) {
		c[0], c[1], c[2] = micros(at), reason, found[n].ID
	}, func(n int, changed int64) {
		if changed == 1 {
			ended = append(ended, found[n])
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cancel %d pages: %w", len(found), err)
	}
	return ended, nil
}

const cancelPage = `UPDATE page SET state = 8, ended_at = $1, error = $2 WHERE id = $3 AND state < 5`

const bodyPage = `UPDATE page SET body = $1, message = $2 WHERE id = $3 AND token = $4 AND state < 4`

// NotePages writes down Body and Message of claimed pages, before they are handed to a provider. lost are those that another claim
// has, or that have been sent or have ended meanwhile: they must not go out now.
func (t *Tx) NotePages(pages []tocsin.Page) (lost []string, err error) {
	err = t.conn.Each(bodyPage, 4, len(pages), func(n int, c []any) {
		p := &pages[n]
		c[0], c[1], c[2], c[3] = p.Body, p.Message, p.ID, p.Token
	}, func(n int, changed int64) {
		if changed == 0 {
			lost = append(lost, pages[n].ID)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("note the texts of %d pages: %w", len(pages), err)
	}
	return lost, nil
}

// PagesOf returns the pages that share the message of page id, without that page, by id.
func (t *Tx) PagesOf(id string) ([]tocsin.Page, error) {
	return all(t, "pages of message "+id, scanPage, "SELECT "+pageColumns.list("")+
		" FROM page WHERE message = $1 AND message <> '' AND id <> $1 ORDER BY id", id)
}

// UnconfirmedPages returns up to limit pages that these providers took before the time given and have not said the fate of; those
// that fell due before since are not looked for any more. The longest due come first.
func (t *Tx) UnconfirmedPages(providers []string, since, before time.Time, limit int) ([]tocsin.Page, error) {
	if len(providers) == 0 {
		return nil, nil
	}
	w := &where{}
	w.add("due_at > ? AND state = 4 AND sent_at < ?", micros(since), micros(before))
	among(w, "provider", providers)
	w.args = append(w.args, limit)
	return all(t, "pages without a receipt", scanPage, fmt.Sprintf("SELECT %s FROM page%s ORDER BY due_at, id LIMIT $%d", pageColumns.list(""), w, len(w.args)), w.args...)
}

// PagesTo returns up to limit pages that are due, now or later, by a channel to an address, the first due first.
func (t *Tx) PagesTo(channel, address string, limit int) ([]tocsin.Page, error) {
	return all(t, "pages to an address", scanPage, "SELECT "+pageColumns.list("")+
		" FROM page WHERE state = 1 AND channel = $1 AND address = $2 ORDER BY due_at, id LIMIT $3", channel, address, limit)
}

// nextPageDue finds the first page of each lane of each channel by its place in page_due, in one trip. Each is the first of an order, not a
// minimum: where many fall due that PostgreSQL's statistics do not know of yet, it would read them all for one.
var nextPageDue = dueChannels + `
	SELECT MIN(at) FROM (
		SELECT (SELECT claimed_to FROM page WHERE state IN (2, 3) ORDER BY claimed_to LIMIT 1) AS at
		UNION ALL SELECT (` + firstDue + `) FROM channels c CROSS JOIN lanes l
	) AS next`

// selectLanes finds the lanes that have a page due, and the channels that have a lapsed claim.
var selectLanes = dueChannels + fmt.Sprintf(`
	SELECT c.channel, l.lane FROM channels c CROSS JOIN lanes l WHERE c.channel IS NOT NULL AND (`+firstDue+`) <= $1
	UNION ALL SELECT DISTINCT p.channel, %d FROM page p WHERE p.state IN (2, 3) AND p.claimed_to < $1`, lapsedLane)

// dueChannels begins a statement over the channels that have pages waiting, and the lanes.
var dueChannels = fmt.Sprintf(`WITH RECURSIVE channels (channel) AS (
		SELECT (SELECT channel FROM page WHERE state = 1 ORDER BY channel LIMIT 1)
		UNION ALL SELECT (SELECT p.channel FROM page p WHERE p.state = 1 AND p.channel > c.channel ORDER BY p.channel LIMIT 1) FROM channels c WHERE c.channel IS NOT NULL
	), lanes (lane) AS (SELECT 0 UNION ALL SELECT lane + 1 FROM lanes WHERE lane < %d)`, Lanes-1)

const firstDue = `SELECT p.due_at FROM page p WHERE p.state = 1 AND p.channel = c.channel AND p.lane = l.lane ORDER BY p.due_at LIMIT 1`

// NextPageDue returns when the next page is due, or the next claim lapses; the zero time where there is none.
func (t *Tx) NextPageDue() (time.Time, error) {
	next, err := t.number("when the next page is due", nextPageDue)
	return timeOf(next), err
}
