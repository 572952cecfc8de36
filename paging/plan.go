package paging

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin"
)

// A Plan is everything the configuration says about who is told. It is read only: make a new one to change it. A Walk goes
// through it one Take at a time, and finds its way also where the Plan was changed in between.
type Plan struct {
	Escalations map[string]Escalation
	Default     string // the escalation of whatever has none, and the last resort of all; the contract's file calls it catch-all
	Notify      map[tocsin.Urgency][]NotifyStep
	Own         map[string]map[tocsin.Urgency][]NotifyStep // by person: instead of Notify
	People      map[string]tocsin.Person
	Teams       map[string]Team
	Owners      map[string]string // service to the team that owns it
	OnCall      OnCall            // nil: no schedules
	Channels    []string          // those that a provider serves; nil: all
	Off         Off               // nil: no contact is turned off
	NewID       func() string     // of pages; must never repeat
}

// OnCall answers who carries a schedule's pager.
type OnCall interface {
	// At returns the people on call at t, first to be paged first, and why, in words. What has a slash is a target: the
	// schedule's fallback. None is an answer, and why says the reason.
	At(schedule string, t time.Time) (people []string, why string)
}

// Off says since when and why nothing is sent to an address by a channel, in words; "" where it is on.
type Off func(channel, address string) (why string)

// An Escalation says who is paged, and who if nobody answers.
type Escalation struct {
	Name   string
	Steps  []Step
	Repeat int    // rounds after the first one
	Then   string // the escalation after the last round; "": the default one
}

// A Step pages all its targets at once.
type Step struct {
	Page          []Target
	EscalateAfter time.Duration // how long an answer is waited for before the next step
}

// A Target is whom to page: schedule/x, person/x, team/x (all members) or skill/x (all who have it).
type Target string

// A NotifyStep is one of a person's ways to be paged.
type NotifyStep struct {
	After time.Duration // after the escalation's step
	By    []string      // channels
}

// A Team is paged as a whole, and may own services.
type Team struct {
	Members    []string
	Escalation string // "": the default one
}

// A Walk is where an escalation stands for one incident or major. It is kept in a timer, as JSON, between two steps.
type Walk struct {
	Escalation string         `json:"escalation"`
	Round      int            `json:"round,omitempty"` // from 0
	Step       int            `json:"step,omitempty"`  // from 0; the step to take, or one behind the last
	Urgency    tocsin.Urgency `json:"urgency"`
	Kind       string         `json:"kind,omitempty"` // tocsin.KindPage where it is empty
	Lane       int            `json:"lane,omitempty"`
	Incident   int64          `json:"incident,omitempty"`
	Major      int64          `json:"major,omitempty"`
	Partition  int            `json:"partition,omitempty"`
	Hops       int            `json:"hops,omitempty"`   // how often it went on to another escalation
	Caught     bool           `json:"caught,omitempty"` // it has been through the default escalation
	Nag        int            `json:"nag,omitempty"`    // from 1, once all escalations have ended; 0 before
	Has        string         `json:"has,omitempty"`    // who has it already, and so is not paged before everybody else was
}

// A Taken is what one step came to.
type Taken struct {
	Pages []tocsin.Page // state due; personal steps later than now are among them
	Next  *Next         // nil: nothing more will happen by itself, and Said says why
	Said  []string      // for the timeline: who is paged by what, or why nobody
}

// A Next is the step that follows if nobody has answered by then.
type Next struct {
	Walk Walk
	At   time.Time // UTC
}

// Bounds of a walk.
const (
	maxHops  = 3 // from one escalation to another; then it is a loop
	maxNest  = 3 // from one schedule's fallback to another's
	leastAge = 2 * time.Minute
)

// NagStep is the Step of pages that are sent again and again once all escalations have ended.
const NagStep = -1

// nags says how often an unanswered incident comes back, and how many times: for a day.
func nags(u tocsin.Urgency) (every time.Duration, most int) {
	if u == tocsin.UrgencyHigh {
		return 15 * time.Minute, 96
	}
	return 4 * time.Hour, 6
}

// Choose says which escalation is walked: the rule's, else that of the team the alert names, else that of the service's
// owner, else the default; and why. A name that is defined no more is passed over.
func (p *Plan) Choose(rule, team, service string) (name, why string) {
	gone := ""
	try := func(name, of string) bool {
		if name == "" {
			return false
		}
		if _, ok := p.Escalations[name]; !ok {
			gone += fmt.Sprintf("; %s %s is not defined any more", of, name)
			return false
		}
		return true
	}
	if try(rule, "the rule's") {
		return rule, "escalation " + rule + ": the rule says so"
	}
	if e := p.Teams[team].Escalation; team != "" && try(e, "team "+team+"'s") {
		return e, fmt.Sprintf("escalation %s: of team %s, which the alert names%s", e, team, gone)
	}
	if owner := p.Owners[service]; service != "" && owner != "" {
		if e := p.Teams[owner].Escalation; try(e, "team "+owner+"'s") {
			return e, fmt.Sprintf("escalation %s: of team %s, which owns service %s%s", e, owner, service, gone)
		}
	}
	return p.Default, "escalation " + p.Default + ": the default" + gone
}

// Take takes the step that w stands before, at the instant at. Where a step has nobody who can be paged, the next one is
// taken at once; where no escalation has anybody, it is said, and tried again later.
func (p *Plan) Take(w Walk, at time.Time) Taken {
	at = at.UTC()
	w.Kind = cmp.Or(w.Kind, tocsin.KindPage)
	if w.Urgency == tocsin.UrgencyNone {
		return Taken{Said: []string{"urgency none: nobody is paged"}}
	}
	t := &taking{plan: p, at: at}
	silent := 0
	for {
		before := w.Escalation
		w = t.settle(w)
		if w.Nag > 0 {
			return t.nag(w)
		}
		if w.Escalation != before {
			silent = 0
		}
		e := p.Escalations[w.Escalation]
		s := e.Steps[w.Step]
		t.page(w, s.Page, s.EscalateAfter)
		next := w
		next.Step++
		if len(t.pages) > 0 {
			return Taken{Pages: t.pages, Next: &Next{Walk: next, At: at.Add(s.EscalateAfter)}, Said: t.said}
		}
		w = next
		silent++
		if silent < len(e.Steps) {
			t.say("nobody can be paged by step %d of escalation %s: the next step at once", next.Step, w.Escalation)
			continue
		}
		t.say("nobody can be paged by any step of escalation %s", w.Escalation)
		w.Round, w.Step = e.Repeat, len(e.Steps) // another round now would find nobody either
	}
}

// A taking is one Take under way.
type taking struct {
	plan  *Plan
	at    time.Time
	pages []tocsin.Page
	said  []string
}

// maxSaid bounds what one step tells the timeline.
const maxSaid = 200

func (t *taking) say(format string, args ...any) {
	if len(t.said) < maxSaid {
		t.said = append(t.said, fmt.Sprintf(format, args...))
	}
}

// settle moves w to a step that there is: of the next round, of the escalation that follows, or to the nagging after all of them.
func (t *taking) settle(w Walk) Walk {
	p := t.plan
	for w.Nag == 0 {
		e, ok := p.Escalations[w.Escalation]
		switch {
		case ok && w.Round <= e.Repeat && w.Step >= 0 && w.Step < len(e.Steps):
			return w
		case ok && w.Round < e.Repeat && len(e.Steps) > 0:
			w.Round, w.Step = w.Round+1, 0
			t.say("nobody has answered: escalation %s, round %d of %d", w.Escalation, w.Round+1, e.Repeat+1)
			return w
		case !ok:
			t.say("escalation %s is not defined any more", w.Escalation)
		}
		to := e.Then
		w.Caught = w.Caught || w.Escalation == p.Default
		if to == "" && !w.Caught {
			to = p.Default
		}
		switch {
		case to == "":
			t.say("escalation %s has ended", w.Escalation)
			w.Nag = 1
		case w.Hops >= maxHops:
			t.say("escalation %s has ended, and %d escalations followed on each other already: no further one", w.Escalation, w.Hops)
			w.Nag = 1
		default:
			t.say("escalation %s has ended: on to %s", w.Escalation, to)
			w.Escalation, w.Round, w.Step, w.Hops = to, 0, 0, w.Hops+1
		}
	}
	return w
}

// nag pages everybody of the default escalation once more, and comes back until a day is over.
func (t *taking) nag(w Walk) Taken {
	every, most := nags(w.Urgency)
	if w.Nag > most {
		t.say("unanswered after %d more calls for help: paging ends here; it stays open until somebody takes it", most)
		return Taken{Said: t.said}
	}
	e := t.plan.Escalations[t.plan.Default]
	t.say("unanswered: escalation %s is paged again, %d of %d, every %s", t.plan.Default, w.Nag, most, short(every))
	var all []Target
	for _, s := range e.Steps {
		all = append(all, s.Page...)
	}
	now := w
	now.Round, now.Step = w.Nag-1, NagStep
	t.page(now, all, every)
	switch {
	case len(t.pages) > 0:
	case w.Has != "":
		t.say("nobody else can be paged: tried again in %s, %s too", short(every), w.Has)
	default:
		t.say("nobody can be paged at all: tried again in %s", short(every))
	}
	w.Has = "" // having it and doing nothing is like not having it, by then
	w.Nag++
	return Taken{Pages: t.pages, Next: &Next{Walk: w, At: t.at.Add(every)}, Said: t.said}
}

// page makes the pages for everybody that targets come to, each person once.
func (t *taking) page(w Walk, targets []Target, patience time.Duration) {
	seen := map[string]bool{}
	for _, target := range targets {
		for _, f := range t.find(target, 0) {
			if !seen[f.person.Name] {
				seen[f.person.Name] = true
				if f.person.Name == w.Has {
					t.say("%s has it already (%s)", f.person.Name, f.why)
					continue
				}
				t.reach(w, f, patience)
			}
		}
	}
}

// A found is a person and the reason why it is them.
type found struct {
	person tocsin.Person
	why    string
}

func (t *taking) find(target Target, nest int) (out []found) {
	p := t.plan
	kind, name, _ := strings.Cut(string(target), "/")
	var names []string
	why := string(target)
	switch kind {
	case "person":
		names = []string{name}
	case "team":
		names = p.Teams[name].Members
	case "skill":
		for _, person := range slices.Sorted(maps.Keys(p.People)) {
			if slices.Contains(p.People[person].Skills, name) {
				names = append(names, person)
			}
		}
	case "schedule":
		if p.OnCall == nil {
			t.say("there is no schedule %s", name)
			return nil
		}
		if names, why = p.OnCall.At(name, t.at); len(names) == 0 {
			t.say("%s", why)
			return nil
		}
	}
	if len(names) == 0 {
		t.say("%s is nobody", target)
	}
	for _, name := range names {
		if strings.Contains(name, "/") {
			if nest == maxNest {
				t.say("%s: fallbacks follow on each other without end", target)
				continue
			}
			for _, f := range t.find(Target(name), nest+1) {
				out = append(out, found{f.person, why})
			}
			continue
		}
		person, ok := p.People[name]
		if !ok {
			t.say("person %s is not known any more (%s)", name, why)
			continue
		}
		person.Name = name
		out = append(out, found{person, why})
	}
	return out
}

// reach makes the pages for one person. What they have no address for is left out; where that is all of their first steps,
// the ones behind them move up, so that nobody waits for nothing.
func (t *taking) reach(w Walk, f found, patience time.Duration) {
	steps, own := t.plan.Own[f.person.Name][w.Urgency]
	if !own {
		steps = t.plan.Notify[w.Urgency]
	}
	var ways, lacks []string
	var early time.Duration
	for _, n := range steps {
		var by []string
		for _, channel := range n.By {
			address, lack := t.plan.address(f.person, channel)
			if lack != "" {
				if !slices.Contains(lacks, lack) {
					lacks = append(lacks, lack)
				}
				continue
			}
			if len(ways) == 0 && len(by) == 0 {
				early = n.After - steps[0].After
			}
			due := t.at.Add(n.After - early)
			by = append(by, channel)
			t.pages = append(t.pages, tocsin.Page{
				ID: t.plan.NewID(), Partition: w.Partition, Kind: w.Kind, Incident: w.Incident, Major: w.Major,
				Person: f.person.Name, Channel: channel, Address: address, State: tocsin.PageDue, Lane: w.Lane, Round: w.Round, Step: w.Step,
				DueAt: due, Expires: later(t.at.Add(patience), due.Add(leastAge)),
			})
		}
		if len(by) > 0 {
			ways = append(ways, strings.Join(by, " and ")+" "+when(n.After-early))
		}
	}
	lacking := ""
	if len(lacks) > 0 {
		lacking = "; " + strings.Join(lacks, ", ")
	}
	switch {
	case len(ways) > 0:
		t.say("%s is paged by %s (%s)%s", f.person.Name, strings.Join(ways, ", "), f.why, lacking)
	case len(steps) == 0:
		t.say("%s cannot be paged (%s): no notify steps for urgency %s", f.person.Name, f.why, w.Urgency)
	default:
		t.say("%s cannot be paged (%s)%s", f.person.Name, f.why, lacking)
	}
}

// Ways are the channels by which person can be paged at all.
func (p *Plan) Ways(person tocsin.Person) []string {
	var out []string
	for _, channel := range []string{SMS, Voice, Email} {
		if _, lack := p.address(person, channel); lack == "" {
			out = append(out, channel)
		}
	}
	return out
}

// Behind returns the people whom all steps of an escalation come to at an instant, by name.
func (p *Plan) Behind(escalation string, at time.Time) []string {
	t := &taking{plan: p, at: at.UTC()}
	var out []string
	for _, s := range p.Escalations[escalation].Steps {
		for _, target := range s.Page {
			for _, f := range t.find(target, 0) {
				out = append(out, f.person.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Colleagues returns who shares a team with the person, by name; where nobody does, everybody of the default escalation else.
func (p *Plan) Colleagues(name string, at time.Time) []string {
	var out []string
	for _, t := range p.Teams {
		if slices.Contains(t.Members, name) {
			out = append(out, t.Members...)
		}
	}
	slices.Sort(out)
	other := func(all []string) []string {
		return slices.DeleteFunc(slices.Compact(all), func(n string) bool { return n == name })
	}
	if out = other(out); len(out) > 0 {
		return out
	}
	return other(p.Behind(p.Default, at))
}

// address is where person gets what goes by channel; lack says why they cannot.
func (p *Plan) address(person tocsin.Person, channel string) (address, lack string) {
	if p.Channels != nil && !slices.Contains(p.Channels, channel) {
		return "", "no provider for " + channel
	}
	switch channel {
	case SMS, Voice:
		address, lack = person.Phone, "no phone number"
	case Email:
		address, lack = person.Email, "no mail address"
	default:
		lack = "no channel " + channel
	}
	if address == "" {
		return "", lack
	}
	if p.Off != nil {
		if why := p.Off(channel, address); why != "" {
			return "", channel + " is off: " + why
		}
	}
	return address, ""
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func when(after time.Duration) string {
	if after <= 0 {
		return "at once"
	}
	return "after " + short(after)
}

// short writes 2m0s as 2m, and 1h0m0s as 1h.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
