package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/paging"
)

// contacts is a copy of the rows about numbers that are turned off, as long as their version is the same.
type contacts struct {
	version int64
	off     map[[2]string]store.ContactOff // by channel and address
}

// off returns the contacts that are off, as the transaction sees them. Mostly that is one look at their version.
func (o *office) off(tx *store.Tx) (*contacts, error) {
	version, err := tx.ContactsVersion()
	if err != nil {
		return nil, err
	}
	known := o.contacts.Load()
	if known != nil && known.version == version {
		return known, nil
	}
	rows, err := tx.ContactsOff()
	if err != nil {
		return nil, err
	}
	c := &contacts{version: version, off: make(map[[2]string]store.ContactOff, len(rows))}
	for _, row := range rows {
		c.off[[2]string{row.Channel, row.Address}] = row
	}
	if known == nil || version > known.version { // a transaction that is rolled back leaves a version behind that comes again
		o.contacts.CompareAndSwap(known, c)
	}
	return c, nil
}

// reach makes the plan of this turn pass over contacts that are off. Who pages nobody need not ask.
func (t *turn) reach() error {
	if t.reached || t.off == nil {
		return nil
	}
	c, err := t.off(t.tx)
	if err != nil {
		return err
	}
	t.reached = true
	if len(c.off) == 0 {
		return nil
	}
	plan := *t.plan
	plan.Off = func(channel, address string) string { return c.off[[2]string{channel, address}].Why }
	t.plan = &plan
	return nil
}

// Why a number is off, in words.
const (
	saidStop = "the number answered STOP"
	optedOut = "the carrier says that the number answered STOP"
)

// home is the partition whose history and transactions have what is about people and not about incidents.
const home = 0

// stopSMS turns a number off because its owner said so.
func (o *office) stopSMS(ctx context.Context, address string) error {
	err := o.do(ctx, store.Commands, home, func(t *turn) error { return t.turnOff(address, saidStop) })
	if err != nil {
		return err
	}
	return o.passOver(ctx, address)
}

// startSMS turns a number on again, and reports whether it was off.
func (o *office) startSMS(ctx context.Context, address string) (was bool, err error) {
	err = o.db.Update(ctx, store.Commands, func(tx *store.Tx) error {
		was, err = tx.TurnOn(paging.SMS, address)
		return err
	})
	return was, err
}

// turnOff sees to it that no SMS goes to a number any more, and says so to those who have it, by another way, and to those who
// work with them.
func (t *turn) turnOff(address, why string) error {
	was, err := t.tx.TurnOff(store.ContactOff{Channel: paging.SMS, Address: address, Since: t.now, Why: why})
	if err != nil || !was {
		return err
	}
	t.reached, t.plan = false, t.setup.plan
	err = t.reach()
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, name := range slices.Sorted(keys(t.plan.People)) {
		p := t.plan.People[name]
		if p.Phone != address {
			continue
		}
		ways := ways(t.plan.Ways(p))
		if p.Email != "" && slices.Contains(t.plan.Channels, paging.Email) {
			t.notifyBy(paging.Email, p.Email, name, about{}, paging.OffText(address, why, ways))
		}
		for _, colleague := range t.plan.Colleagues(name, t.now) {
			if colleague != name && !told[colleague+" "+name] {
				told[colleague+" "+name] = true
				t.notify([]string{colleague}, about{}, paging.OffToTeamText(p, why, ways))
			}
		}
	}
	return nil
}

// ways names channels as people do.
func ways(channels []string) []string {
	out := make([]string, len(channels))
	for i, c := range channels {
		out[i] = map[string]string{paging.SMS: "SMS", paging.Voice: "call", paging.Email: "mail"}[c]
	}
	return out
}

// mostWaiting bounds how many pages of one number are passed over at once.
const mostWaiting = 500

// passOver ends what still waits to be sent to a number that is off, and takes each person's next way instead.
func (o *office) passOver(ctx context.Context, address string) error {
	var waiting []tocsin.Page
	err := o.db.View(ctx, func(tx *store.Tx) error {
		var err error
		waiting, err = tx.PagesTo(paging.SMS, address, mostWaiting)
		return err
	})
	if err != nil {
		return err
	}
	by := map[int][]paging.Fate{}
	for _, p := range waiting {
		p.State, p.EndedAt, p.Error = tocsin.PageFailed, o.clock.Now(), "SMS to this number is off"
		by[p.Partition] = append(by[p.Partition], paging.Fate{Page: p})
	}
	for _, partition := range slices.Sorted(maps.Keys(by)) {
		err = o.fail(ctx, store.Commands, partition, by[partition])
		if err != nil {
			return err
		}
	}
	return nil
}

// fail writes down what failed in a partition, and goes on with the next way of each person at once, or with the next step where
// nobody is left who was reached.
func (o *office) fail(ctx context.Context, lane store.Lane, partition int, fates []paging.Fate) error {
	err := o.do(ctx, lane, partition, func(t *turn) error {
		for _, f := range fates {
			err := t.fail(f)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("pages of partition %d that failed: %w", partition, err)
	}
	return nil
}

func (t *turn) fail(f paging.Fate) error {
	var pages []tocsin.Page
	if f.Reported {
		var err error
		pages, err = reported(t.tx, f)
		if err != nil {
			return err
		}
	} else {
		pages = append([]tocsin.Page{f.Page}, f.With...)
	}
	saves, err := t.tx.SavePages(pages)
	if err != nil {
		return err
	}
	for i, p := range pages {
		if f.Opted && p.Channel == paging.SMS {
			err = t.turnOff(p.Address, optedOut)
			if err != nil {
				return err
			}
		}
		if saves[i] == store.PageSaved && p.Kind != tocsin.KindNotice {
			err = t.nextWay(p)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// nextWay goes on where a page has failed: the person's next one about the same thing is due now; where there is none, and nobody
// else was reached by that step, the next step is taken.
func (t *turn) nextWay(p tocsin.Page) error {
	a := about{p.Incident, p.Major}
	_, wanted, _, err := openOf(t.tx, a)
	if err != nil || !wanted {
		return err
	}
	pages, err := t.tx.Pages(store.PageFilter{Incident: p.Incident, Major: p.Major, Limit: mostWaiting})
	if err != nil {
		return err
	}
	var next []tocsin.Page
	reached := false
	for _, q := range pages {
		if q.Kind == tocsin.KindNotice || q.Round != p.Round || q.Step != p.Step || q.State == tocsin.PageFailed || q.State == tocsin.PageCancelled {
			continue
		}
		reached = true
		if q.Person != p.Person || q.State != tocsin.PageDue || !q.DueAt.After(t.now) || len(next) > 0 && q.DueAt.After(next[0].DueAt) {
			continue
		}
		if len(next) > 0 && q.DueAt.Before(next[0].DueAt) {
			next = nil
		}
		next = append(next, q)
	}
	l := t.line(a, tocsin.ChangePaged, "pager")
	said := fmt.Sprintf("%s to %s failed: %s", p.Channel, p.Person, p.Error)
	switch {
	case len(next) > 0:
		said += ": "
		for i := range next {
			next[i].DueAt = t.now
			said += map[bool]string{true: "", false: " and "}[i == 0] + next[i].Channel
		}
		l.paging([]string{said + " at once"})
		_, err = t.tx.SavePages(next)
		t.woke = true
		return err
	case reached:
		l.paging([]string{said})
		return nil
	}
	return t.nextStep(a, l, said)
}

// nextStep takes the step that waits for its time at once.
func (t *turn) nextStep(a about, l *line, said string) error {
	w, timer, err := t.pending(a)
	if err != nil {
		return err
	}
	if w == nil || w.Nag > 1 { // nobody is left, or everybody was asked for help already: again when it is time
		l.paging([]string{said})
		return nil
	}
	_, err = t.tx.DeleteTimer(timer)
	if err != nil {
		return err
	}
	l.paging([]string{said + ", and nobody else was reached: the next step at once"})
	return t.walk(*w, l)
}

// notifyBy tells a person something by a channel of our choice.
func (t *turn) notifyBy(channel, address, person string, a about, text string) {
	t.pages = append(t.pages, tocsin.Page{
		ID: newID(), Partition: t.part.Partition, Kind: tocsin.KindNotice, Incident: a.incident, Major: a.major, Person: person,
		Channel: channel, Address: address, State: tocsin.PageDue, Lane: 3, Text: text, DueAt: t.now, Expires: t.now.Add(noticeGood),
	})
}

// noticeGood is how long a notice is worth sending.
const noticeGood = 30 * time.Minute
