package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/internal/store/sqlite"
	"tocsin/paging/providertest"
)

// says is what an event says of its alert. Together they are a set: what an alert may be by all that is known.
type says uint8

const (
	fires says = 1 << iota
	resolves
	firesShortly // and ends by itself, soon
	acks
	never // nothing is known to have arrived
)

// An account is what a sender knows of one of its alerts.
type account struct {
	least, most int64 // events that must, and that may, have been folded into it
	may         says
	late        says      // what may still arrive of what was not answered: a node wrote it, and was not heard of again
	lateUntil   time.Time // and no longer
}

// A ledger is what senders, people and providers know: what was accepted, confirmed and sent.
type ledger struct {
	mu        sync.Mutex
	accepted  int
	accounts  map[string]*account
	acks      []ack
	firing    map[int]map[string]time.Time // by sender
	reported  int                          // of those that the provider took: looked at so far
	delivered map[string]bool              // pages whose report was answered 2xx
	lateFor   time.Duration                // how long what one node was sent may arrive behind what another was sent after it
	doors     map[int]int                  // what senders were answered, by status; 0 is nothing
	forgotten map[string]int               // how often the state forgot what it knew of a page, in a failover
}

// An ack is an acknowledgement that somebody was told is theirs.
type ack struct {
	incident int64
	by       string
	asked    time.Time // when they began to ask: a page that is made later may be for a reason of its own
	at       time.Time // when they were told
}

func newLedger() *ledger {
	return &ledger{accounts: map[string]*account{}, firing: map[int]map[string]time.Time{}, delivered: map[string]bool{}, doors: map[int]int{}, forgotten: map[string]int{}}
}

// answered notes what a door said; 0 where it said nothing.
func (l *ledger) answered(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors[status]++
}

// fires is what sender n holds to fire; only it uses the map.
func (l *ledger) fires(n int) map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.firing[n] == nil {
		l.firing[n] = map[string]time.Time{}
	}
	return l.firing[n]
}

// said notes what was sent, and whether it was answered by 2xx. What was not may have arrived all the same.
func (l *ledger) said(batch []intent, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range batch {
		a := l.accounts[i.key]
		if a == nil {
			a = &account{may: never}
			l.accounts[i.key] = a
		}
		if accepted {
			l.accepted++
		}
		if i.says == acks {
			continue
		}
		a.most++
		switch {
		case !accepted:
			a.may |= i.says
			if l.lateFor > 0 {
				a.late, a.lateUntil = a.late|i.says, time.Now().Add(l.lateFor)
			}
			continue
		case i.says == fires, a.may&(resolves|firesShortly) == 0, i.says == firesShortly && time.Until(i.ends) > clockSkew:
			a.least++ // the end of what has ended counts for nothing
		}
		if a.late != 0 && time.Now().After(a.lateUntil) {
			a.late = 0
		}
		a.may = i.says | a.late
	}
}

// clockSkew is how far a node's clock may be ahead: to it an alert has ended that arrives so shortly before its end.
const clockSkew = 100 * time.Millisecond

func (l *ledger) acked(incident int64, by string, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, ack{incident, by, asked, time.Now()})
}

// unreported returns what the provider took since the last call.
func (l *ledger) unreported(taken []providertest.Request) []providertest.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := taken[min(l.reported, len(taken)):]
	l.reported = len(taken)
	return fresh
}

func (l *ledger) confirmed(page string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[page] = true
}

// An audit is what the oracle found.
type audit struct {
	accepted, lost, doubled               int
	acks, taken, extra, extraSMS, unknown int
	forgotten, forgottenSMS               int // messages that went out for pages which the state forgot in a failover
	fold                                  bool
}

// state is all that a data directory, or a database, says.
type state struct {
	part      store.Part   // the first, which is the only one of embedded storage
	parts     []store.Part // all of them
	alerts    []tocsin.Alert
	incidents map[int64]tocsin.Incident
	pages     []tocsin.Page
	changes   []tocsin.Change
}

// most is more rows than any of these tests makes.
const most = 10_000_000

// readState reads the database of a data directory that nobody serves.
func readState(ctx context.Context, data string) (s state, err error) {
	db, err := sqlite.Open(filepath.Join(data, "tocsin.db"), sqlite.Options{})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return stateOf(ctx, db)
}

// stateOf reads a database that nobody writes.
func stateOf(ctx context.Context, db store.DB) (s state, err error) {
	s.incidents = map[int64]tocsin.Incident{}
	err = db.View(ctx, func(tx *store.Tx) error {
		var err error
		s.parts, err = tx.Parts()
		if err != nil {
			return err
		}
		if len(s.parts) == 0 {
			return fmt.Errorf("partition %d: %w", partition, store.ErrNotFound)
		}
		s.part = s.parts[0]
		for a, err := range tx.Alerts(store.AlertFilter{}) {
			if err != nil {
				return err
			}
			s.alerts = append(s.alerts, a)
		}
		is, err := tx.Incidents(store.IncidentFilter{Limit: most})
		if err != nil {
			return err
		}
		for _, i := range is {
			s.incidents[i.ID] = i
		}
		s.pages, err = tx.Pages(store.PageFilter{Limit: most})
		if err != nil {
			return err
		}
		for _, p := range s.parts {
			changes, err := tx.Changes(p.Partition, 0, most)
			if err != nil {
				return err
			}
			s.changes = append(s.changes, changes...)
		}
		return err
	})
	return s, err
}

// state reads what the process has left behind.
func (p *plant) state() (state, error) {
	if p.many != nil {
		return p.many.state(p.t)
	}
	return readState(p.t.Context(), p.data())
}

// audit holds what the data says against what everybody outside knows. The process has ended.
func (p *plant) audit() audit {
	p.t.Helper()
	s, err := p.state()
	if err != nil {
		p.t.Fatal(err)
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	out := audit{accepted: p.ledger.accepted, acks: len(p.ledger.acks)}
	fail := func(n *int, format string, args ...any) {
		*n++
		if *n <= 10 {
			p.t.Errorf(format, args...)
		}
	}
	p.auditAlerts(s, &out, fail)
	p.auditIncidents(s, &out, fail)
	p.auditPages(s, &out, fail)
	out.fold = p.isFold(s)
	return out
}

type failing func(n *int, format string, args ...any)

// auditAlerts: each accepted alert is known, as the last accepted event says, and every event counts once.
func (p *plant) auditAlerts(s state, out *audit, fail failing) {
	counts, newest := map[string]int64{}, map[string]tocsin.Alert{}
	firing := map[string]int{}
	for _, a := range s.alerts {
		key := a.Labels.Get("key")
		counts[key] += a.Count
		if a.Status == tocsin.Firing {
			firing[key]++
		}
		if a.ID > newest[key].ID {
			newest[key] = a
		}
	}
	for key, n := range firing {
		if n > 1 {
			fail(&out.doubled, "alert %s fires %d times over", key, n)
		}
	}
	for key, a := range p.ledger.accounts {
		got, known := newest[key]
		switch {
		case !known && a.may&never == 0:
			fail(&out.lost, "alert %s is not known, but was accepted", key)
			continue
		case !known:
			continue
		case counts[key] < a.least:
			fail(&out.lost, "alert %s counts %d events, at least %d were accepted", key, counts[key], a.least)
		case counts[key] > a.most:
			fail(&out.doubled, "alert %s counts %d events, only %d were ever sent", key, counts[key], a.most)
		}
		may := got.Status == tocsin.Firing && a.may&fires != 0 || got.Status == tocsin.Resolved && a.may&(resolves|firesShortly) != 0
		if !may {
			fail(&out.lost, "alert %s is %s, its sender knows that it is %03b (1 fires, 2 resolved, 4 ended by itself)", key, got.Status, a.may)
		}
	}
}

// auditIncidents: one incident a group, whose alerts are those that it counts; no confirmed ack is lost.
func (p *plant) auditIncidents(s state, out *audit, fail failing) {
	groups := map[string]int64{}
	for id, i := range s.incidents {
		key := i.Rule + " " + i.Group
		if other := groups[key]; other != 0 {
			fail(&out.doubled, "incidents %d and %d are both of group %q", other, id, key)
		}
		groups[key] = id
	}
	open := map[int64]int{}
	for _, a := range s.alerts {
		if a.Incident != 0 && a.Status == tocsin.Firing {
			open[a.Incident]++
		}
		if i, ok := s.incidents[a.Incident]; a.Incident != 0 && (!ok || i.Service != a.Labels.Get("service")) {
			fail(&out.doubled, "alert %d of service %s is in incident %d of service %s", a.ID, a.Labels.Get("service"), a.Incident, i.Service)
		}
	}
	done, byHand := map[string]int{}, map[int64]bool{}
	for _, c := range s.changes {
		switch c.Kind {
		case tocsin.DoAck, tocsin.DoTake:
			done[fmt.Sprint(c.Incident, c.Actor)]++
		case tocsin.DoReopen:
			byHand[c.Incident] = true // a person may hold it open whose alerts ended while they wrote
		}
	}
	for id, i := range s.incidents {
		if i.Open != open[id] {
			fail(&out.lost, "incident %d says that %d alerts fire, %d do", id, i.Open, open[id])
		}
		if i.Open == 0 && i.State.Open() && !byHand[id] {
			fail(&out.lost, "incident %d is %s, but none of its alerts fires", id, i.State)
		}
	}
	for _, a := range p.ledger.acks {
		if done[fmt.Sprint(a.incident, a.by)] == 0 {
			fail(&out.lost, "%s was told that incident %d is theirs, but the history does not know of it", a.by, a.incident)
		}
	}
}

// underWay is how long before a kill a request may have gone out whose outcome nobody wrote down.
func underWay() time.Duration {
	if raced {
		return 3 * time.Second // everything takes longer
	}
	return time.Second
}

// unheard reports whether who wrote a request that a provider read then may have been killed before it heard the answer. What is read while no
// process runs was written by the one before.
func (p *plant) unheard(at time.Time) bool {
	return slices.ContainsFunc(p.kills, func(k time.Time) bool {
		if !k.Before(at) {
			return k.Sub(at) < underWay()
		}
		next := slices.IndexFunc(p.born, func(b time.Time) bool { return b.After(k) })
		return next >= 0 && at.Before(p.born[next])
	})
}

// auditPages: whoever must be paged was, nobody more often than unknown outcomes explain, and nobody after an ack.
func (p *plant) auditPages(s state, out *audit, fail failing) {
	sent := map[string][]providertest.Request{}
	for _, q := range append(p.twilio.Requests(), p.sendgrid.Requests()...) {
		if strings.HasPrefix(q.Operation, "Create") || q.Operation == "SendMail" {
			sent[q.Page] = append(sent[q.Page], q)
		}
	}
	rows := map[string]tocsin.Page{}
	newest := map[int64]time.Time{}
	for _, row := range s.pages {
		rows[row.ID] = row
		if row.Kind == tocsin.KindPage && madeAt(row.ID).After(newest[row.Incident]) {
			newest[row.Incident] = madeAt(row.ID)
		}
		if p.ledger.delivered[row.ID] && row.State < tocsin.PageDelivered {
			fail(&out.lost, "page %s is %s, but its provider's report of the delivery was answered 2xx", row.ID, row.State)
		}
	}
	for id, qs := range sent {
		_, ok := rows[id]
		if !ok && p.ledger.forgotten[id] > 0 {
			out.forgotten += len(qs)
			if qs[0].Operation != "SendMail" {
				out.forgottenSMS += len(qs)
			}
			continue
		}
		if !ok {
			fail(&out.lost, "a message went out for page %q, which nobody knows", id)
			continue
		}
		p.auditSends(id, qs, out, fail)
	}
	for id, i := range s.incidents {
		if i.State != tocsin.Triggered || i.Major != 0 || i.Urgency == tocsin.UrgencyNone {
			continue
		}
		paged, fates := false, ""
		for _, row := range s.pages {
			if row.Incident == id && row.Kind == tocsin.KindPage && newest[id].Sub(madeAt(row.ID)) < 50*time.Millisecond {
				fates += fmt.Sprintf("; %s %s made %s: %s %s", row.Channel, row.ID, madeAt(row.ID).Format(time.TimeOnly), row.State, row.Error)
				paged = paged || slices.ContainsFunc(sent[cmp.Or(row.Message, row.ID)], func(q providertest.Request) bool { return q.ID != "" })
			}
		}
		if !paged {
			fail(&out.lost, "incident %d (%s, urgency %s) is %s, and nobody was sent a page when it last should have been, at %s%s", id, i.Key, i.Urgency, i.State, newest[id].Format(time.TimeOnly), fates)
		}
	}
	for _, a := range p.ledger.acks {
		for _, row := range s.pages {
			if row.Incident != a.incident || row.Kind != tocsin.KindPage || madeAt(row.ID).After(a.asked) {
				continue
			}
			for _, q := range sent[row.ID] {
				if late := q.At.Sub(a.at); late > 2*time.Second {
					fail(&out.doubled, "page %s about incident %d was sent %s after %s was told that it is theirs", row.ID, a.incident, late, a.by)
				}
			}
		}
	}
}

// auditSends: a page goes out once, and once more only where what became of it was not known.
func (p *plant) auditSends(id string, qs []providertest.Request, out *audit, fail failing) {
	taken, unknown := 0, 0
	for _, q := range qs {
		if q.ID != "" {
			taken++
		}
		if q.Status == 0 || p.unheard(q.At) {
			unknown++
		}
	}
	out.taken += taken
	out.unknown += unknown
	if taken < 2 {
		return
	}
	out.extra += taken - 1
	if qs[0].Operation != "SendMail" {
		out.extraSMS += taken - 1
	}
	unknown += p.ledger.forgotten[id]
	if taken-1 > unknown {
		fail(&out.doubled, "page %s was sent %d times, the last time at %s, and only %d of them had an unknown outcome", id, taken, qs[len(qs)-1].At.Format(time.StampMilli), unknown)
	}
}

// madeAt is when a page was decided on, in whole milliseconds: its id says so.
func madeAt(page string) time.Time {
	id, err := uuid.Parse(page)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(id.Time().UnixTime())
}

// partition is the only one that embedded storage has.
const partition = 0
