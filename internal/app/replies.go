package app

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/api"
	"tocsin/internal/store"
	"tocsin/paging"
)

// errSeen means that a message has been acted on before.
var errSeen = errors.New("this message was acted on before")

// view is what texts say of i, with what only this installation knows.
func (s *setup) view(i tocsin.Incident, channel string, now time.Time) paging.IncidentView {
	v := paging.IncidentViewOf(i)
	v.Link, v.CanReply, v.Now = s.link("/i/", i.ID), s.canReply[channel], now
	return v
}

// heard makes what is answered to a key fit to be heard: whoever is on the phone has no use for codes.
func heard(v paging.IncidentView, channel string) paging.IncidentView {
	if channel == paging.Voice {
		v.Code, v.CanReply, v.Link = 0, false, ""
	}
	return v
}

func heardMajor(v paging.MajorView, channel string) paging.MajorView {
	if channel == paging.Voice {
		v.Code, v.CanReply, v.Link = 0, false, ""
	}
	return v
}

func (s *setup) majorView(m tocsin.Major, channel string, now time.Time) paging.MajorView {
	v := paging.MajorViewOf(m)
	v.Link, v.CanReply, v.Now = s.link("/m/", m.ID), s.canReply[channel], now
	return v
}

// byPhone finds who has the number or mail address; the first by name where several share it.
func (s *setup) byPhone(from string) (tocsin.Person, bool) {
	var names []string
	for name, p := range s.plan.People {
		if from != "" && (p.Phone == from || strings.EqualFold(p.Email, from)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return tocsin.Person{}, false
	}
	return s.plan.People[slices.Min(names)], true
}

// Reply acts on a message from a phone or mailbox and returns what to answer.
func (o *office) Reply(ctx context.Context, provider string, r paging.Reply) (string, error) {
	s := o.setup.Load()
	person, ok := s.byPhone(r.From)
	if !ok {
		o.log.Warn("message from an unknown number", "provider", provider)
		return "", nil
	}
	c := paging.ParseReply(r.Text)
	open, mine, err := o.openFor(ctx, person.Name)
	if err != nil {
		return "", err
	}
	switch c.Verb {
	case paging.VerbStop:
		o.log.Warn("person has stopped messages", "person", person.Name, "provider", provider)
		return "", o.stopSMS(ctx, r.From) // the carrier has answered, and lets nothing through any more
	case paging.VerbStart:
		_, err = o.startSMS(ctx, r.From)
		return paging.StartedText(), err
	case paging.VerbHelp:
		return paging.HelpText(), nil
	case paging.VerbUnknown, paging.VerbList:
		return listed(open, mine, paging.VerbAck), nil
	}
	in := inbound{provider, r.ID}
	targets, ambiguous := paging.Pick(c, open)
	switch {
	case ambiguous:
		return listed(open, mine, c.Verb), nil
	case len(targets) == 0 && c.Code != 0:
		target, theirs, err := o.byCode(ctx, c.Code, person)
		if errors.Is(err, store.ErrNotFound) {
			return paging.UnknownCodeText(c.Code, open), nil
		}
		if err != nil {
			return "", err
		}
		switch {
		case theirs:
		case target.Candidate:
			return paging.ForbiddenText(paging.MajorView{Scope: target.About, Code: target.Code}), nil
		case c.Verb != paging.VerbTake:
			return paging.NotYoursText(target), nil // a code mistyped must not hit what nobody would then look at
		}
		return o.act(ctx, person, c, target, in, paging.SMS)
	case len(targets) == 0:
		return listed(nil, mine, c.Verb), nil
	case len(targets) == 1:
		return o.act(ctx, person, c, targets[0], in, paging.SMS)
	}
	var done []paging.Open
	for _, t := range targets {
		_, err := o.act(ctx, person, c, t, in, paging.SMS)
		if err != nil {
			return "", err
		}
		done = append(done, t)
	}
	return paging.AllYoursText(done), nil
}

// inbound names a message, so that a repeat of it does not act twice.
type inbound struct{ provider, id string }

// listed says what is open for a person: what wants an answer of them, else what they have acknowledged.
func listed(open, mine []paging.Open, verb paging.Verb) string {
	if len(open) == 0 && len(mine) > 0 {
		return paging.MineText(mine)
	}
	if verb == paging.VerbResolve || verb == paging.VerbEscalate {
		open = slices.Concat(open, mine)
		slices.SortFunc(open, byCode)
	}
	return paging.ListText(open, verb)
}

func byCode(a, b paging.Open) int { return a.Code - b.Code }

// openFor lists what a person was paged about and still wants an answer of them, and of it what they have acknowledged.
func (o *office) openFor(ctx context.Context, person string) (open, mine []paging.Open, err error) {
	err = o.db.View(ctx, func(tx *store.Tx) error {
		pages, err := tx.Pages(store.PageFilter{Person: person, Limit: 500})
		if err != nil {
			return err
		}
		seen := map[about]bool{}
		for _, p := range pages {
			a := about{p.Incident, p.Major}
			if p.Kind == tocsin.KindNotice || seen[a] || p.State == tocsin.PageDue {
				continue
			}
			seen[a] = true
			x, wants, owner, err := openOf(tx, a)
			if err != nil {
				return err
			}
			switch {
			case wants:
				open = append(open, x)
			case owner == person:
				mine = append(mine, x)
			}
		}
		return nil
	})
	slices.SortFunc(open, byCode)
	slices.SortFunc(mine, byCode)
	return open, mine, err
}

// openOf says what a is, whether it wants an answer, and who has it by now.
func openOf(tx *store.Tx, a about) (x paging.Open, wants bool, owner string, err error) {
	if a.major != 0 {
		m, err := tx.Major(a.major)
		if errors.Is(err, store.ErrNotFound) {
			return x, false, "", nil
		}
		if m.State == tocsin.Confirmed {
			owner = m.LedBy
		}
		return majorOpen(m), m.State == tocsin.Proposed || m.State == tocsin.Confirmed && m.LedBy == "", owner, err
	}
	i, err := tx.Incident(a.incident)
	if errors.Is(err, store.ErrNotFound) {
		return x, false, "", nil
	}
	if i.State == tocsin.Acked {
		owner = i.AckedBy
	}
	return incidentOpen(i), i.State == tocsin.Triggered && i.Major == 0, owner, err
}

func incidentOpen(i tocsin.Incident) paging.Open {
	v := paging.IncidentViewOf(i)
	return paging.Open{Code: i.Code, Incident: i.ID, About: v.About, Summary: v.Summary}
}

func majorOpen(m tocsin.Major) paging.Open {
	v := paging.MajorViewOf(m)
	return paging.Open{Code: m.Code, Major: m.ID, Candidate: m.State == tocsin.Proposed, About: v.Scope, Summary: "major"}
}

// byCode finds what a code means, and whether it concerns the person: they were paged about it, they have it, or they decide
// about majors. store.ErrNotFound where nothing has the code.
func (o *office) byCode(ctx context.Context, code int, person tocsin.Person) (x paging.Open, theirs bool, err error) {
	err = o.db.View(ctx, func(tx *store.Tx) error {
		i, err := tx.IncidentByCode(code, o.clock.Now())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		there := err == nil
		x, theirs = incidentOpen(i), i.AckedBy == person.Name
		if !there || !i.State.Open() {
			m, err := tx.MajorByCode(code, o.clock.Now())
			switch {
			case err == nil:
				_, decides := api.May(person.Role)
				x, theirs = majorOpen(m), decides || m.LedBy == person.Name
			case !errors.Is(err, store.ErrNotFound) || !there:
				return err
			}
		}
		if theirs {
			return nil
		}
		theirs, err = woken(tx, about{x.Incident, x.Major}, person.Name)
		return err
	})
	return x, theirs, err
}

func woken(tx *store.Tx, a about, person string) (bool, error) {
	people, err := tx.WokenFor(a.incident, a.major)
	return slices.Contains(people, person), err
}

// act carries out c on one target for a person, and says what became of it. Nothing is said before it is committed.
func (o *office) act(ctx context.Context, person tocsin.Person, c paging.Command, x paging.Open, in inbound, channel string) (string, error) {
	verb, ok := paging.VerbFor(c.Verb, x)
	if !ok {
		return paging.NotForText(x), nil
	}
	if x.Major != 0 {
		return o.actMajor(ctx, person, verb, c.Note, x, in, channel)
	}
	do := map[paging.Verb]string{
		paging.VerbAck: tocsin.DoAck, paging.VerbTake: tocsin.DoTake, paging.VerbResolve: tocsin.DoResolve, paging.VerbEscalate: tocsin.DoEscalate,
	}[verb]
	var before tocsin.Incident
	var woken []string
	var paged []string
	i, err := o.incident(ctx, x.Incident, do, person.Name, c.Note, in, func(t *turn, was tocsin.Incident) error {
		before = was
		paged = t.paged()
		var err error
		woken, err = t.tx.WokenFor(x.Incident, 0)
		return err
	})
	s, now := o.setup.Load(), o.clock.Now()
	v := heard(s.view(i, channel, now), channel)
	others := slices.ContainsFunc(woken, func(n string) bool { return n != person.Name })
	if refused, is := errors.AsType[*correlate.StateError](err); is {
		return o.refusedText(ctx, i, person, refused, channel)
	}
	switch {
	case errors.Is(err, errSeen) && i.AckedBy != person.Name && (verb == paging.VerbAck || verb == paging.VerbTake):
		// It came a second time, and is somebody else's by now, or over.
		return o.refusedText(ctx, i, person, &correlate.StateError{By: cmp.Or(i.ResolvedBy, i.AckedBy)}, channel)
	case errors.Is(err, errSeen):
	case err != nil:
		return paging.FailedText(), err
	}
	switch verb {
	case paging.VerbAck:
		if before.State == tocsin.Acked && before.AckedBy == person.Name {
			return paging.AlreadyYoursText(v, person), nil
		}
		return paging.YoursText(v, others), nil
	case paging.VerbTake:
		return paging.YoursText(v, others || before.AckedBy != ""), nil
	case paging.VerbEscalate:
		return paging.EscalatedText(v, paged), nil
	}
	if i.Open > 0 {
		return paging.StillFiringText(v, person, i.Open, i.ResolvedAt.Add(correlate.HandReopen)), nil
	}
	return paging.ResolvedText(v), nil
}

// refusedText says why a command changed nothing.
func (o *office) refusedText(ctx context.Context, i tocsin.Incident, person tocsin.Person, refused *correlate.StateError, channel string) (string, error) {
	s, now := o.setup.Load(), o.clock.Now()
	v := heard(s.view(i, channel, now), channel)
	by := s.plan.People[refused.By]
	if by.Name == "" && refused.By != tocsin.ByItself {
		by.Name = refused.By
	}
	switch {
	case i.Major != 0 && i.State.Open():
		var m tocsin.Major
		err := o.db.View(ctx, func(tx *store.Tx) error {
			var err error
			m, err = tx.Major(i.Major)
			return err
		})
		return paging.JoinedText(v, heardMajor(s.majorView(m, channel, now), channel)), err
	case i.State == tocsin.Acked && refused.By == person.Name:
		return paging.AlreadyYoursText(v, person), nil
	case i.State == tocsin.Acked:
		return paging.TakenText(v, by, person), nil
	}
	return paging.OverText(v, by, person), nil
}

func (o *office) actMajor(ctx context.Context, person tocsin.Person, verb paging.Verb, note string, x paging.Open, in inbound, channel string) (string, error) {
	s := o.setup.Load()
	do := map[paging.Verb]string{
		paging.VerbConfirm: tocsin.DoConfirm, paging.VerbReject: tocsin.DoReject, paging.VerbLooking: tocsin.DoLooking,
		paging.VerbEscalate: tocsin.DoPassOn, paging.VerbAck: tocsin.DoLead, paging.VerbTake: tocsin.DoLead, paging.VerbResolve: tocsin.DoResolveMajor,
	}[verb]
	if verb == paging.VerbConfirm || verb == paging.VerbReject || verb == paging.VerbResolve {
		may, err := o.decides(ctx, person, x.Major)
		if err != nil {
			return paging.FailedText(), err
		}
		if !may {
			return paging.ForbiddenText(heardMajor(paging.MajorView{Scope: x.About, Code: x.Code}, channel)), nil
		}
	}
	m, joined, err := o.major(ctx, x.Major, do, person.Name, note, in)
	v := heardMajor(s.majorView(m, channel, o.clock.Now()), channel)
	if refused, is := errors.AsType[*correlate.StateError](err); is {
		by := s.plan.People[refused.By]
		if by.Name == "" {
			by.Name = refused.By
		}
		return paging.DecidedText(v, m.State, by, person, refused.Since), nil
	}
	if err != nil && !errors.Is(err, errSeen) {
		return paging.FailedText(), err
	}
	switch verb {
	case paging.VerbConfirm:
		return paging.ConfirmedText(v, joined), nil
	case paging.VerbReject:
		return paging.RejectedText(v, person, m.DecidedAt.Add(s.cooldown(m.Rule))), nil
	case paging.VerbLooking:
		return paging.LookingText(v, person), nil
	case paging.VerbEscalate:
		return paging.PassedOnText(v), nil
	case paging.VerbResolve:
		return paging.MajorResolvedText(v), nil
	}
	return paging.MajorYoursText(v), nil
}

// decides reports whether a person may decide about a major: by their role, or because they were asked to, by a page about it.
func (o *office) decides(ctx context.Context, person tocsin.Person, major int64) (may bool, err error) {
	if _, decides := api.May(person.Role); decides {
		return true, nil
	}
	err = o.db.View(ctx, func(tx *store.Tx) error {
		may, err = woken(tx, about{major: major}, person.Name)
		return err
	})
	return may, err
}

// cooldown is how long a scope rests after a major rule's candidate was rejected.
func (s *setup) cooldown(rule string) time.Duration {
	for _, m := range s.file.Majors {
		if m.Name == rule {
			return time.Duration(m.Cooldown)
		}
	}
	return 0
}

// Key acts on a key press and says what is to be spoken, and whether more keys are listened for.
func (o *office) Key(ctx context.Context, _ string, k paging.KeyPress) (say string, more bool, err error) {
	var p tocsin.Page
	var x paging.Open
	err = o.db.View(ctx, func(tx *store.Tx) error {
		var err error
		p, err = tx.Page(k.PageID)
		if err != nil {
			return err
		}
		x, _, _, err = openOf(tx, about{p.Incident, p.Major})
		return err
	})
	if err != nil {
		return "", false, err
	}
	s := o.setup.Load()
	person := s.plan.People[p.Person]
	verb := paging.ParseKey(k.Digits, k.First)
	if verb == paging.VerbNone {
		return "No key was pressed. Goodbye.", false, nil
	}
	if p.Message != "" {
		return o.keyForAll(ctx, p, person, verb, k)
	}
	meant := verb
	if verb == paging.VerbAgain {
		meant = paging.VerbResolve
	}
	meant, ok := paging.VerbFor(meant, x)
	switch {
	case !ok: // also the keys to repeat: the choices are spoken again
		m, err := (&pagebook{office: o}).Compose(ctx, p)
		if errors.Is(err, paging.ErrStale) {
			return "Nobody needs this page any more. Goodbye.", false, nil
		}
		return m.Text, err == nil, err
	case verb == paging.VerbAgain:
		return paging.AgainText(), true, nil
	}
	say, err = o.act(ctx, person, paging.Command{Verb: meant}, x, inbound{"call", k.CallID + ":" + k.First + k.Digits}, paging.Voice)
	return paging.Speakable(say, longestAnswer), false, err
}

// keyForAll acts on a key of a call that told of several pages: on all of them that still want an answer, or on none.
func (o *office) keyForAll(ctx context.Context, p tocsin.Page, person tocsin.Person, verb paging.Verb, k paging.KeyPress) (say string, more bool, err error) {
	var open []paging.Open
	var pages []tocsin.Page
	var m paging.Message
	b := &pagebook{office: o}
	err = o.db.View(ctx, func(tx *store.Tx) error {
		pages, err = folded(tx, p)
		if err != nil {
			return err
		}
		for _, q := range pages {
			x, wants, _, err := openOf(tx, about{q.Incident, q.Major})
			if err != nil {
				return err
			}
			if wants {
				open = append(open, x)
			}
		}
		_, m, err = b.fold(tx, o.setup.Load(), pages, map[string]error{})
		return err
	})
	if err != nil {
		return "", false, err
	}
	if verb != paging.VerbAck && verb != paging.VerbEscalate {
		if len(open) == 0 {
			return "Nobody needs this page any more. Goodbye.", false, nil
		}
		return m.Text, true, nil // also the keys to repeat: the choices are spoken again
	}
	for _, x := range open {
		_, err = o.act(ctx, person, paging.Command{Verb: verb}, x, inbound{"call", k.CallID + ":" + k.First + k.Digits}, paging.Voice)
		if err != nil {
			return paging.FailedText(), false, err
		}
	}
	if verb == paging.VerbEscalate {
		return paging.AllEscalatedSpoken(len(open)), false, nil
	}
	return paging.AllYoursSpoken(len(open)), false, nil
}

// longestAnswer is how many characters of an answer are spoken.
const longestAnswer = 300

// Report takes in what a provider says became of a page.
func (o *office) Report(ctx context.Context, provider string, r paging.Report) error {
	return o.receipts.once(receiptKey(provider, r), func() error { return o.pager.Report(ctx, r) })
}

// OnCall says who is on call at t, by schedule.
func (o *office) OnCall(t time.Time) []api.Duty {
	s := o.setup.Load()
	var out []api.Duty
	for _, name := range slices.Sorted(keys(s.rotas.now)) {
		c := s.rotas.rota(name, t).OnCall(t)
		d := api.Duty{Schedule: name, Team: s.teamOf(name), People: c.People, Why: c.Layer, Until: c.Until}
		if len(c.People) == 0 && c.Fallback != "" {
			d.People, d.Why = []string{strings.TrimPrefix(c.Fallback, "person/")}, "fallback"
		}
		out = append(out, d)
	}
	return out
}

// teamOf is the first team whose escalation pages the schedule.
func (s *setup) teamOf(schedule string) string {
	for _, team := range slices.Sorted(keys(s.plan.Teams)) {
		for _, step := range s.plan.Escalations[s.plan.Teams[team].Escalation].Steps {
			if slices.Contains(step.Page, paging.Target("schedule/"+schedule)) {
				return team
			}
		}
	}
	return ""
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// longestShow is the longest stretch of a schedule that is shown at once.
const longestShow = 370 * 24 * time.Hour

// Shifts says who has a schedule's pager from one time to another.
func (o *office) Shifts(schedule string, from, to time.Time) ([]api.Shift, bool) {
	r := o.setup.Load().rotas.rota(schedule, from)
	if r == nil || to.Sub(from) > longestShow {
		return nil, r != nil
	}
	var out []api.Shift
	at := from
	for s := range r.Shifts(from, to) {
		if s.From.After(at) {
			out = append(out, api.Shift{From: at, To: s.From})
		}
		out = append(out, api.Shift{From: s.From, To: s.To, People: s.People, Layer: s.Layer})
		at = s.To
	}
	if at.Before(to) {
		out = append(out, api.Shift{From: at, To: to})
	}
	return out, true
}

// Person returns a person of the configuration.
func (o *office) Person(name string) (tocsin.Person, bool) {
	p, ok := o.setup.Load().plan.People[name]
	return p, ok
}

// People returns all people, by name.
func (o *office) People() []tocsin.Person {
	s := o.setup.Load()
	var out []tocsin.Person
	for _, name := range slices.Sorted(keys(s.plan.People)) {
		out = append(out, s.plan.People[name])
	}
	return out
}

// paged is who this turn pages now, in words.
func (t *turn) paged() []string {
	var out []string
	for _, p := range t.pages {
		if p.Kind != tocsin.KindNotice && !slices.Contains(out, p.Person) {
			out = append(out, p.Person)
		}
	}
	return out
}
