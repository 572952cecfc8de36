package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tocsin"
	"tocsin/internal/store"
)

const (
	mostMajors = 50  // open ones that are shown at once
	mostRows   = 100 // incidents of one kind that are shown at once
	mostEnded  = 8   // recent resolved ones below the open ones
	mostRead   = 500 // rows that are looked through for those of one person
)

// A listing is the page of everything that is open.
type listing struct {
	Majors   []majorCard
	Groups   []group
	Ended    []row
	Filter   filter
	Services []string // of what is open, for the choice
	Choices  []choice
	Calm     bool // nothing is open, and nothing was left out by a choice
	Older    string
	View     *viewer
	Back     string // where buttons return to
}

// A group is incidents under one heading.
type group struct {
	ID, Head, Hint string
	Count          int
	More           string // address of those that are not shown
	Folded         bool
	Rows           []row
	View           *viewer
	Back           string
}

// A row is an incident in a list.
type row struct {
	N        int64
	Title    string
	State    string
	Open     bool
	Priority int
	Service  string
	Urgency  string // "" : the usual one
	Age      string
	Opened   moment
	Ended    moment
	Owner    string
	Has      string // in words: one has it since, recovered by itself
	Alerts   string
	Rule     string
	Major    int64
	CanAck   bool
	Back     string
}

// A filter is what somebody chose to see.
type filter struct {
	State   string // triggered, acknowledged, resolved; "" : what is open
	Service string
	Mine    bool
	Before  int64
}

// A choice is one link of the choice of states.
type choice struct {
	Text, Href string
	Here       bool
}

func filterOf(q url.Values) filter {
	f := filter{Service: q.Get("service"), Mine: q.Get("mine") == "1"}
	switch s := q.Get("state"); s {
	case "triggered", "acknowledged", "resolved":
		f.State = s
	}
	if len(f.Service) > 200 {
		f.Service = ""
	}
	f.Before, _ = strconv.ParseInt(q.Get("before"), 10, 64) // what is no number means the newest
	f.Before = max(f.Before, 0)
	return f
}

// path is the address of the list under f; fragment asks for its living part alone.
func (f filter) path(fragment bool) string {
	q := url.Values{}
	if f.State != "" {
		q.Set("state", f.State)
	}
	if f.Service != "" {
		q.Set("service", f.Service)
	}
	if f.Mine {
		q.Set("mine", "1")
	}
	if f.Before != 0 {
		q.Set("before", strconv.FormatInt(f.Before, 10))
	}
	if fragment {
		q.Set("fragment", "list")
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

func (f filter) states() []tocsin.IncidentState {
	switch f.State {
	case "triggered":
		return []tocsin.IncidentState{tocsin.Triggered}
	case "acknowledged":
		return []tocsin.IncidentState{tocsin.Acked}
	case "resolved":
		return []tocsin.IncidentState{tocsin.Settled, tocsin.Closed}
	}
	return nil
}

// list draws what is open.
func (c *Console) list(r *http.Request, v *viewer) (*frame, error) {
	l := &listing{Filter: filterOf(r.URL.Query()), View: v}
	l.Back = l.Filter.path(false)
	f := &frame{Title: "Incidents", Nav: "list", Fresh: l.Filter.path(true), Viewer: v, Body: l, template: "list"}
	err := c.db.View(r.Context(), func(tx *store.Tx) error {
		counts, candidates, err := waiting(tx)
		if err != nil {
			return err
		}
		f.Waiting = counts[tocsin.Triggered] + candidates
		l.choices(counts)
		if l.Filter.State == "resolved" || l.Filter.State != "" && l.Filter.Before > 0 {
			return l.flat(tx)
		}
		return l.open(tx, counts)
	})
	return f, err
}

func (l *listing) choices(counts map[tocsin.IncidentState]int) {
	for _, s := range []struct {
		state, text string
		n           int
	}{
		{"", "Open", counts[tocsin.Triggered] + counts[tocsin.Acked]},
		{"triggered", "Waiting", counts[tocsin.Triggered]},
		{"acknowledged", "In hand", counts[tocsin.Acked]},
		{"resolved", "Resolved", -1},
	} {
		f := l.Filter
		f.State, f.Before = s.state, 0
		text := s.text
		if s.n >= 0 {
			text += " " + strconv.Itoa(s.n)
		}
		l.Choices = append(l.Choices, choice{text, f.path(false), l.Filter.State == s.state})
	}
}

// open reads majors, what nobody has, what is in hand, and what ended last.
func (l *listing) open(tx *store.Tx, counts map[tocsin.IncidentState]int) error {
	majors, err := tx.Majors(store.MajorFilter{States: []tocsin.MajorState{tocsin.Proposed, tocsin.Confirmed}, Limit: mostMajors})
	if err != nil {
		return err
	}
	slices.SortStableFunc(majors, func(a, b tocsin.Major) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.ID, a.ID))
	})
	for _, m := range majors {
		l.Majors = append(l.Majors, l.View.card(m, l.Back))
	}
	var joined []tocsin.Incident
	for _, g := range []struct {
		state                tocsin.IncidentState
		name, id, head, hint string
	}{
		{tocsin.Triggered, "triggered", "waiting", "Nobody has these", ""},
		{tocsin.Acked, "acknowledged", "in-hand", "In hand", ""},
	} {
		if l.Filter.State != "" && l.Filter.State != g.name {
			continue
		}
		found, more, err := l.read(tx, []tocsin.IncidentState{g.state})
		if err != nil {
			return err
		}
		l.services(found)
		var own []tocsin.Incident
		for _, i := range found {
			if i.Major != 0 {
				joined = append(joined, i)
			} else {
				own = append(own, i)
			}
		}
		x := group{ID: g.id, Head: g.head, Hint: g.hint, Count: len(own), View: l.View, Back: l.Back, Rows: l.rows(own)}
		if more && len(found) > 0 {
			next := l.Filter
			next.State, next.Before = g.name, found[len(found)-1].ID
			x.More, x.Count = next.path(false), max(counts[g.state]-len(joined), len(own))
		}
		l.add(x)
	}
	l.add(group{ID: "joined", Head: "Joined to majors", Hint: "paged by their major", Count: len(joined), Folded: true, View: l.View, Back: l.Back, Rows: l.rows(joined)})
	l.Calm = len(l.Groups) == 0 && len(l.Majors) == 0 && l.Filter == filter{}
	if l.Filter.State == "" {
		return l.ended(tx)
	}
	return nil
}

func (l *listing) add(g group) {
	if len(g.Rows) > 0 {
		l.Groups = append(l.Groups, g)
	}
}

// read returns the newest incidents of these states that the filter lets through; more says that there are others. The result is
// the newest first.
func (l *listing) read(tx *store.Tx, states []tocsin.IncidentState) (found []tocsin.Incident, more bool, err error) {
	limit := mostRows + 1
	if l.Filter.Mine {
		limit = mostRead
	}
	found, err = tx.Incidents(store.IncidentFilter{States: states, Service: l.Filter.Service, Before: l.Filter.Before, Limit: limit})
	if err != nil {
		return nil, false, err
	}
	if l.Filter.Mine {
		me := l.View.Person.Name
		found = slices.DeleteFunc(found, func(i tocsin.Incident) bool { return me == "" || i.AckedBy != me && i.ResolvedBy != me })
	}
	if more = len(found) > mostRows; more {
		found = found[:mostRows]
	}
	return found, more, nil
}

func (l *listing) services(found []tocsin.Incident) {
	for _, i := range found {
		if i.Service != "" && !slices.Contains(l.Services, i.Service) {
			l.Services = append(l.Services, i.Service)
		}
	}
	slices.Sort(l.Services)
}

// rows draws incidents: the most pressing first, the newest of these first.
func (l *listing) rows(found []tocsin.Incident) []row {
	sorted := slices.SortedStableFunc(slices.Values(found), func(a, b tocsin.Incident) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.ID, a.ID))
	})
	out := make([]row, len(sorted))
	for n, i := range sorted {
		out[n] = l.View.row(i, l.Back)
	}
	return out
}

// ended reads what was resolved last.
func (l *listing) ended(tx *store.Tx) error {
	found, err := tx.Incidents(store.IncidentFilter{States: []tocsin.IncidentState{tocsin.Settled, tocsin.Closed}, Service: l.Filter.Service, Limit: mostEnded})
	for _, i := range found {
		l.Ended = append(l.Ended, l.View.row(i, l.Back))
	}
	return err
}

// flat reads one state, newest first, page by page.
func (l *listing) flat(tx *store.Tx) error {
	found, more, err := l.read(tx, l.Filter.states())
	if err != nil {
		return err
	}
	g := group{ID: "found", Head: map[string]string{"triggered": "Nobody has these", "acknowledged": "In hand", "resolved": "Resolved"}[l.Filter.State], Count: len(found), View: l.View, Back: l.Back}
	for _, i := range found {
		g.Rows = append(g.Rows, l.View.row(i, l.Back))
	}
	if more {
		next := l.Filter
		next.Before = found[len(found)-1].ID
		l.Older = next.path(false)
	}
	l.add(g)
	return nil
}

// row draws one incident.
func (v *viewer) row(i tocsin.Incident, back string) row {
	out := row{
		N: i.ID, Title: titleOf(i), State: i.State.String(), Open: i.State.Open(), Priority: i.Priority, Service: i.Service, Age: v.age(i.OpenedAt),
		Opened: v.at(i.OpenedAt), Rule: i.Rule, Major: i.Major, Back: back, CanAck: v.Act && i.State == tocsin.Triggered && i.Major == 0,
		Alerts: alertsOf(i), Has: v.has(i), Owner: v.owner(i.AckedBy), Urgency: urgencyOf(i.Urgency),
	}
	if !i.State.Open() {
		out.Ended = v.at(i.ResolvedAt)
	}
	return out
}

// titleOf is what is the matter, with the service ahead where the words do not name it.
func titleOf(i tocsin.Incident) string {
	title := cmp.Or(i.Title, i.Key, i.Service, "Incident "+strconv.FormatInt(i.ID, 10))
	if i.Service == "" || strings.Contains(strings.ToLower(title), strings.ToLower(i.Service)) {
		return title
	}
	return i.Service + ": " + title
}

func urgencyOf(u tocsin.Urgency) string {
	switch u {
	case tocsin.UrgencyLow:
		return "low urgency"
	case tocsin.UrgencyNone:
		return "not paged"
	}
	return ""
}

func alertsOf(i tocsin.Incident) string {
	said := count(i.Alerts, "alert")
	if i.State.Open() && i.Open < i.Alerts {
		said += ", " + strconv.Itoa(i.Open) + " firing"
	}
	return said
}

// has says who has i, or how it ended.
func (v *viewer) has(i tocsin.Incident) string {
	switch {
	case i.State == tocsin.Triggered && i.Major != 0:
		return "belongs to major " + strconv.FormatInt(i.Major, 10)
	case i.State == tocsin.Triggered && i.Urgency == tocsin.UrgencyNone:
		return "nobody is paged"
	case i.State == tocsin.Triggered:
		return "nobody has it"
	case i.State == tocsin.Acked && i.AckedBy == v.Person.Name:
		return "yours"
	case i.State == tocsin.Acked:
		return v.called(i.AckedBy) + " has it"
	case i.ResolvedBy == "" || i.ResolvedBy == tocsin.ByItself:
		return "recovered by itself"
	}
	return "resolved by " + v.owner(i.ResolvedBy)
}
