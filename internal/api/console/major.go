package console

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
	"tocsin/paging"
)

// A majorCard is a major as the list shows it, and the head of its own page.
type majorCard struct {
	N         int64
	Title     string
	State     string
	Candidate bool
	Confirmed bool
	Priority  int
	Phase     string
	Age       string
	Since     moment
	Measures  []measure
	Incidents int
	Led       string // who leads it, in words
	Undecided string // what happens if nobody decides
	Code      int
	Decided   string
	Buttons   []button
	Action    string
	Back      string
}

// A measure is one number against what the rule asked for.
type measure struct {
	Name  string
	N     string
	Peak  string // the largest seen; "" where that is N
	Limit string // "" : not asked
	Over  bool
}

// majorPage is the page of one major.
type majorPage struct {
	majorCard
	Why      string
	Facts    []fact
	Joined   group
	Timeline []entry
	Pages    []pageLine
	View     *viewer
}

// card draws m.
func (v *viewer) card(m tocsin.Major, back string) majorCard {
	n := strconv.FormatInt(m.ID, 10)
	out := majorCard{
		N: m.ID, Title: cmp.Or(m.Title, scopeOf(m), "Major "+n), State: m.State.String(), Candidate: m.State == tocsin.Proposed, Confirmed: m.State == tocsin.Confirmed,
		Priority: m.Priority, Phase: m.Phase, Age: v.age(m.ProposedAt), Since: v.at(cmp.Or(m.Measures.Since, m.ProposedAt)), Measures: v.measures(m),
		Incidents: len(m.Incidents), Code: m.Code, Action: "/majors/" + n + "/do", Back: back,
	}
	switch m.State {
	case tocsin.Proposed:
		then := "it goes to the next manager"
		switch correlate.OnTimeout(m) {
		case tocsin.DoConfirm:
			then = "it is confirmed"
		case tocsin.DoExpire:
			then = "it is dropped"
		}
		out.Undecided = "Undecided " + v.at(m.DecideBy).Text + ", " + then + "."
	case tocsin.Confirmed:
		out.Led = "nobody leads it yet"
		if m.LedBy == v.Person.Name && m.LedBy != "" {
			out.Led = "you lead it"
		} else if m.LedBy != "" {
			out.Led = v.called(m.LedBy) + " leads it"
		}
	}
	if !m.DecidedAt.IsZero() {
		word := m.State.String()
		if m.State == tocsin.MajorResolved {
			word = tocsin.Confirmed.String()
		}
		out.Decided = word + " " + v.at(m.DecidedAt).Text
		if m.DecidedBy != "" {
			out.Decided += " by " + v.owner(m.DecidedBy)
		}
	}
	out.Buttons = majorButtons(m, v)
	return out
}

func scopeOf(m tocsin.Major) string {
	values := make([]string, len(m.Scope))
	for n, l := range m.Scope {
		values[n] = l.Value
	}
	return strings.Join(values, ", ")
}

func majorButtons(m tocsin.Major, v *viewer) (out []button) {
	switch {
	case m.State == tocsin.Proposed && v.Decide:
		out = []button{{"confirm", "Confirm", true}, {"reject", "Reject", false}, {"looking", "I am looking", false}}
	case m.State == tocsin.Proposed && v.Act:
		out = []button{{"looking", "I am looking", true}, {"escalate", "Next manager", false}}
	case m.State == tocsin.Confirmed && v.Act:
		if m.LedBy == "" || m.LedBy != v.Person.Name {
			out = append(out, button{"lead", "I lead it", m.LedBy == ""})
		}
		if v.Decide {
			out = append(out, button{"resolve", "Resolve the major", m.LedBy == v.Person.Name})
		}
	}
	return out
}

// measures are what counts: those the rule asked for, then the others that are not zero.
func (v *viewer) measures(m tocsin.Major) (out []measure) {
	for _, x := range []struct {
		name              string
		n, peak, limitFor int
	}{
		{"host", m.Measures.Hosts, m.Peak.Hosts, m.Limits.Hosts},
		{"service", m.Measures.Services, m.Peak.Services, m.Limits.Services},
		{"incident", m.Measures.Incidents, m.Peak.Incidents, m.Limits.Incidents},
		{"user", m.Measures.Users, m.Peak.Users, m.Limits.Users},
	} {
		n := max(x.n, x.peak)
		if n == 0 && x.limitFor == 0 {
			continue
		}
		name := x.name
		if n != 1 {
			name += "s"
		}
		shown := measure{Name: name, N: grouped(x.n), Over: x.limitFor > 0 && n >= x.limitFor}
		if n > x.n {
			shown.Peak = grouped(n)
		}
		if x.limitFor > 0 {
			shown.Limit = grouped(x.limitFor)
		}
		out = append(out, shown)
	}
	return out
}

// major draws one major.
func (c *Console) major(r *http.Request, v *viewer) (*frame, error) {
	id, ok := idOf(r, 'm')
	if !ok {
		return nil, notFound("major " + r.PathValue("id"))
	}
	n := strconv.FormatInt(id, 10)
	d := &majorPage{View: v}
	f := &frame{Nav: "list", Subject: tocsin.MajorID(id), Fresh: "/majors/" + n + "?fragment=body", Viewer: v, Body: d, template: "major"}
	err := c.db.View(r.Context(), func(tx *store.Tx) error {
		m, err := tx.Major(id)
		if err != nil {
			return err
		}
		counts, candidates, err := waiting(tx)
		if err != nil {
			return err
		}
		f.Waiting = counts[tocsin.Triggered] + candidates
		d.majorCard = v.card(m, "/m/"+n)
		f.Title = "Major " + n + " " + d.Title
		d.fill(m)
		return d.read(tx, m)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("major " + n)
	}
	return f, err
}

func (d *majorPage) fill(m tocsin.Major) {
	v := d.View
	d.Why = "Rule " + m.Rule + " counts the open incidents of one scope."
	for _, l := range m.Scope {
		d.Facts = append(d.Facts, fact{l.Name, l.Value, ""})
	}
	d.Facts = append(d.Facts, fact{"Proposed", v.since(m.ProposedAt), ""})
	if d.Decided != "" {
		d.Facts = append(d.Facts, fact{"Decided", d.Decided, ""})
	}
	if !m.ResolvedAt.IsZero() {
		d.Facts = append(d.Facts, fact{"Resolved", v.at(m.ResolvedAt).Text, ""})
	}
	for _, x := range []fact{{"Rule", m.Rule, ""}, {"Escalation", m.Escalation, ""}, {"Phase", m.Phase, ""}} {
		if x.Text != "" {
			d.Facts = append(d.Facts, x)
		}
	}
	if m.Escalated > 0 {
		d.Facts = append(d.Facts, fact{"Passed on", count(m.Escalated, "time"), ""})
	}
	if m.Code != 0 && m.State == tocsin.Proposed {
		code := strconv.Itoa(m.Code)
		d.Facts = append(d.Facts, fact{"Code", "reply 7 " + code + " confirm, 8 " + code + " reject", ""})
	}
}

func (d *majorPage) read(tx *store.Tx, m tocsin.Major) error {
	v := d.View
	var found []tocsin.Incident
	for _, id := range slices.Backward(m.Incidents) {
		if len(found) == mostRows {
			break
		}
		i, err := tx.Incident(id)
		if errors.Is(err, store.ErrNotFound) {
			continue // retention took it
		}
		if err != nil {
			return err
		}
		found = append(found, i)
	}
	slices.SortStableFunc(found, func(a, b tocsin.Incident) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Priority, b.Priority))
	})
	d.Joined = group{ID: "joined", Head: "Incidents", Count: len(m.Incidents), View: v, Back: d.Back}
	if m.State == tocsin.Proposed {
		d.Joined.Hint = "they join it once it is confirmed, and stop paging on their own"
	}
	if len(m.Incidents) > len(found) && len(found) == mostRows {
		d.Joined.Hint = "the newest " + strconv.Itoa(mostRows)
	}
	for _, i := range found {
		d.Joined.Rows = append(d.Joined.Rows, v.row(i, d.Back))
	}
	changes, err := tx.ChangesOfMajor(m.ID, mostChanges)
	if err != nil {
		return err
	}
	d.Timeline = v.timeline(changes)
	pages, err := tx.Pages(store.PageFilter{Major: m.ID, Limit: mostPages})
	d.Pages = v.pages(pages)
	return err
}

// majorDo are the words of buttons, and whether they decide.
var majorDo = map[string]struct {
	do      string
	decides bool
}{
	"confirm": {tocsin.DoConfirm, true}, "reject": {tocsin.DoReject, true}, "resolve": {tocsin.DoResolveMajor, true},
	"looking": {tocsin.DoLooking, false}, "escalate": {tocsin.DoPassOn, false}, "lead": {tocsin.DoLead, false}, "note": {tocsin.DoNote, false},
}

// doMajor carries out a button.
func (c *Console) doMajor(r *http.Request, v *viewer) (string, said, error) {
	id, ok := idOf(r, 'm')
	x, known := majorDo[r.PostForm.Get("do")]
	switch {
	case !ok:
		return "", said{}, notFound("major " + r.PathValue("id"))
	case !known:
		return "", said{}, &fault{http.StatusBadRequest, "Not understood", "There is no such button.", nil}
	case !v.Act || x.decides && !v.Decide:
		return "", said{}, errMayNot
	}
	back := local(r.PostForm.Get("back"), "/m/"+strconv.FormatInt(id, 10))
	note, refusal := noteOf(r, x.do)
	if refusal != "" {
		return back, said{refusal, true}, nil
	}
	s, err := c.commandMajor(r, v, id, x.do, note)
	return back, s, err
}

// commandMajor has the desk carry out do, and says what it came to once it is committed.
func (c *Console) commandMajor(r *http.Request, v *viewer, id int64, do, note string) (said, error) {
	m, err := c.desk.Major(r.Context(), id, do, v.Person.Name, note)
	if errors.Is(err, store.ErrNotFound) {
		return said{}, notFound("major " + strconv.FormatInt(id, 10))
	}
	if refused, ok := errors.AsType[*correlate.StateError](err); ok {
		return c.lateText(r, v, id, refused)
	}
	if err != nil {
		return said{}, err
	}
	view := paging.MajorViewOf(m)
	view.Now = v.now
	switch do {
	case tocsin.DoConfirm:
		return said{Text: paging.ConfirmedText(view, len(m.Incidents))}, nil
	case tocsin.DoReject:
		return said{Text: paging.RejectedText(view, v.Person, time.Time{})}, nil
	case tocsin.DoLooking:
		return said{Text: paging.LookingText(view, v.Person)}, nil
	case tocsin.DoPassOn:
		return said{Text: paging.PassedOnText(view)}, nil
	case tocsin.DoLead:
		return said{Text: paging.MajorYoursText(view)}, nil
	case tocsin.DoNote:
		return said{Text: "Noted."}, nil
	}
	return said{Text: "The major is resolved. Its incidents stay as they are."}, nil
}

// lateText says who decided first.
func (c *Console) lateText(r *http.Request, v *viewer, id int64, refused *correlate.StateError) (s said, err error) {
	err = c.db.View(r.Context(), func(tx *store.Tx) error {
		m, err := tx.Major(id)
		view := paging.MajorViewOf(m)
		view.Now = v.now
		s = said{paging.DecidedText(view, m.State, tocsin.Person{Name: v.called(refused.By)}, v.Person, refused.Since), true}
		return err
	})
	return s, err
}
