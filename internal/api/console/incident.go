package console

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin"
	"tocsin/correlate"
	"tocsin/internal/store"
	"tocsin/paging"
)

const (
	fewAlerts    = 25   // shown at first
	mostAlerts   = 1000 // shown at all
	mostChanges  = 200
	mostPages    = 200
	longestNote  = 2000               // bytes of a note
	reopenWithin = 7 * 24 * time.Hour // by hand; after that its code is another's
)

// A dossier is the page of one incident.
type dossier struct {
	row
	ID         string
	Code       int
	Next       string // what happens if nobody answers
	Since      string
	Facts      []fact
	Buttons    []button
	Hint       string // what resolving means now
	Alerts     []alertLine
	AllAlerts  string // address with all of them; "" : they are all there
	AlertCount int
	Timeline   []entry
	Pages      []pageLine
	View       *viewer
	Action     string // where buttons post to
	Back       string
}

// A fact is a name and what stands behind it; with Href it is a link.
type fact struct{ Name, Text, Href string }

// A button is one thing that may be done now.
type button struct {
	Do, Text string
	Primary  bool
}

// An alertLine is one alert, with why it is where it is.
type alertLine struct {
	ID       string
	Firing   bool
	Severity string
	Word     string // the sender's own, where it is another
	Summary  string
	About    string
	Source   string
	Count    int64
	Since    moment
	Last     moment
	Ended    moment
	Why      string
	Rule     string
	Matchers []string
	Group    []fact
	Set      []fact
	Labels   []fact
	Notes    []fact // annotations
	URL      string // http and https only
}

// A pageLine is one page and its fate.
type pageLine struct {
	Person   string
	Channel  string
	State    string // the word
	Tone     string
	Text     string // in words
	Provider string
	Due      moment
	Sent     moment
	Ended    moment
	Attempts int
	Error    string
	Kind     string
}

// idOf reads the number of the address: i17, or 17 alone.
func idOf(r *http.Request, kind byte) (int64, bool) { return tocsin.ParseID(kind, r.PathValue("id")) }

// incident draws one incident.
func (c *Console) incident(r *http.Request, v *viewer) (*frame, error) {
	id, ok := idOf(r, 'i')
	if !ok {
		return nil, notFound("incident " + r.PathValue("id"))
	}
	n := strconv.FormatInt(id, 10)
	d := &dossier{ID: tocsin.IncidentID(id), View: v, Action: "/incidents/" + n + "/do", Back: "/i/" + n}
	all := r.URL.Query().Get("alerts") == "all"
	f := &frame{Nav: "list", Subject: tocsin.IncidentID(id), Fresh: "/incidents/" + n + "?fragment=body", Viewer: v, Body: d, template: "incident"}
	if all {
		f.Fresh += "&alerts=all"
		d.Back += "?alerts=all"
	}
	err := c.db.View(r.Context(), func(tx *store.Tx) error {
		i, err := tx.Incident(id)
		if err != nil {
			return err
		}
		counts, candidates, err := waiting(tx)
		if err != nil {
			return err
		}
		f.Waiting = counts[tocsin.Triggered] + candidates
		f.Title = "#" + n + " " + titleOf(i)
		d.fill(i, v)
		return d.read(tx, i, all)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("incident " + n)
	}
	return f, err
}

// fill draws what the incident itself knows.
func (d *dossier) fill(i tocsin.Incident, v *viewer) {
	d.row = v.row(i, d.Back)
	d.Code, d.AlertCount = i.Code, i.Alerts
	if i.State == tocsin.Acked {
		d.Since = v.at(i.AckedAt).Text
	}
	if v.Act {
		d.Buttons = buttons(i, v)
	}
	if i.State.Open() && i.Open > 0 && v.Act {
		d.Hint = "Resolve while " + firing(i.Open) + ", and it opens again and pages if they still do " + long(correlate.HandReopen) + " later."
	}
	d.Facts = append(d.Facts, fact{"Opened", v.since(i.OpenedAt), ""})
	if !i.State.Open() {
		d.Facts = append(d.Facts, fact{"Ended", v.at(i.ResolvedAt).Text + ", after " + long(i.ResolvedAt.Sub(i.OpenedAt)), ""})
	}
	if i.Service != "" {
		d.Facts = append(d.Facts, fact{"Service", i.Service, filter{Service: i.Service}.path(false)})
	}
	if i.Major != 0 {
		n := strconv.FormatInt(i.Major, 10)
		d.Facts = append(d.Facts, fact{"Major", "Major " + n, "/m/" + n})
	}
	for _, f := range []fact{
		{"Rule", i.Rule, ""}, {"Grouped by", i.Key, ""}, {"Escalation", i.Escalation, ""}, {"Team", i.Team, ""}, {"Severity", i.Severity.String(), ""},
	} {
		if f.Text != "" {
			d.Facts = append(d.Facts, f)
		}
	}
	if i.Code != 0 && i.State.Open() {
		d.Facts = append(d.Facts, fact{"Code", "reply 4 " + strconv.Itoa(i.Code), ""})
	}
	if i.Reopened > 0 {
		d.Facts = append(d.Facts, fact{"Came back", count(i.Reopened, "time"), ""})
	}
}

func firing(n int) string {
	if n == 1 {
		return "1 alert fires"
	}
	return strconv.Itoa(n) + " alerts fire"
}

// buttons are what the state table of incidents allows, the likeliest first.
func buttons(i tocsin.Incident, v *viewer) []button {
	switch {
	case i.State == tocsin.Triggered:
		return []button{{"ack", "Acknowledge", true}, {"resolve", "Resolve", false}, {"escalate", "Escalate", false}}
	case i.State == tocsin.Acked && i.AckedBy == v.Person.Name:
		return []button{{"resolve", "Resolve", true}, {"escalate", "Escalate", false}, {"unack", "Give it back", false}}
	case i.State == tocsin.Acked:
		return []button{{"take", "Take it over", true}, {"resolve", "Resolve", false}, {"escalate", "Escalate", false}}
	case i.State == tocsin.Settled && v.now.Sub(i.ResolvedAt) < reopenWithin:
		return []button{{"reopen", "Open again", false}}
	}
	return nil
}

// read draws alerts, timeline and pages.
func (d *dossier) read(tx *store.Tx, i tocsin.Incident, all bool) error {
	var found []tocsin.Alert
	for a, err := range tx.Alerts(store.AlertFilter{Incident: i.ID, Limit: mostAlerts}) {
		if err != nil {
			return err
		}
		found = append(found, a)
	}
	slices.SortStableFunc(found, func(a, b tocsin.Alert) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Severity, b.Severity), cmp.Compare(b.ID, a.ID))
	})
	if len(found) > fewAlerts && !all {
		found = found[:fewAlerts]
		d.AllAlerts = "/i/" + strconv.FormatInt(i.ID, 10) + "?alerts=all"
	}
	for _, a := range found {
		d.Alerts = append(d.Alerts, d.View.alert(a))
	}
	changes, err := tx.ChangesOfIncident(i.ID, mostChanges)
	if err != nil {
		return err
	}
	d.Timeline = d.View.timeline(changes)
	pages, err := tx.Pages(store.PageFilter{Incident: i.ID, Limit: mostPages})
	if err != nil {
		return err
	}
	d.Pages = d.View.pages(pages)
	timers, err := tx.Timers(i.ID, 0)
	d.Next = d.View.next(timers, i.State)
	return err
}

// next says what happens by itself if nobody does anything.
func (v *viewer) next(timers []store.Timer, state tocsin.IncidentState) string {
	for _, t := range timers {
		switch {
		case t.Kind == store.TimerStep && state == tocsin.Triggered:
			return "If nobody answers, the next step is paged " + v.at(t.DueAt).Text + "."
		case t.Kind == store.TimerAckOut && state == tocsin.Acked:
			return "Without a sign of life it is paged again " + v.at(t.DueAt).Text + "."
		}
	}
	return ""
}

func (v *viewer) alert(a tocsin.Alert) alertLine {
	l := alertLine{
		ID: tocsin.AlertID(a.ID), Firing: a.Status == tocsin.Firing, Severity: a.Severity.String(), Summary: cmp.Or(a.Summary, a.About, a.Key), About: a.About,
		Source: a.Source, Count: a.Count, Since: v.at(a.StartsAt), Last: v.at(a.LastAt), Why: a.Why.Joined, Rule: a.Why.Rule, Matchers: a.Why.Matchers,
		Group: facts(tocsin.NewLabels(a.Why.Group)), Set: facts(tocsin.NewLabels(a.Why.Set)), Labels: facts(a.Labels), Notes: facts(a.Annotations), URL: web(a.URL),
	}
	if a.Word != "" && !strings.EqualFold(a.Word, l.Severity) {
		l.Word = a.Word
	}
	if !l.Firing {
		l.Ended = v.at(a.EndsAt)
	}
	return l
}

func facts(ls tocsin.Labels) []fact {
	out := make([]fact, len(ls))
	for n, l := range ls {
		out[n] = fact{l.Name, l.Value, web(l.Value)}
	}
	return out
}

// web returns address where it is one that a browser may be sent to, else "".
func web(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return address
}

// fates are people's words for the states of a page.
var fates = map[tocsin.PageState]struct{ text, tone string }{
	tocsin.PageDue:       {"waits", ""},
	tocsin.PageClaimed:   {"on its way", ""},
	tocsin.PageUnknown:   {"no answer from the provider, being looked up", "bad"},
	tocsin.PageSent:      {"sent", "hand"},
	tocsin.PageDelivered: {"delivered", "good"},
	tocsin.PageFailed:    {"not delivered", "bad"},
	tocsin.PageAnswered:  {"answered", "good"},
	tocsin.PageCancelled: {"not needed any more", ""},
}

var channels = map[string]string{paging.SMS: "SMS", paging.Voice: "Call", paging.Email: "Mail"}

func (v *viewer) pages(pages []tocsin.Page) []pageLine {
	out := make([]pageLine, len(pages))
	for n, p := range pages {
		fate := fates[p.State]
		out[n] = pageLine{
			Person: v.called(p.Person), Channel: cmp.Or(channels[p.Channel], p.Channel), State: p.State.String(), Tone: fate.tone, Text: cmp.Or(fate.text, p.State.String()),
			Provider: p.Provider, Due: v.at(p.DueAt), Sent: v.at(p.SentAt), Ended: v.at(p.EndedAt), Attempts: p.Attempts, Error: p.Error,
		}
		if p.Kind == tocsin.KindNotice {
			out[n].Kind = "notice"
		}
	}
	return out
}

// incidentDo are the words of buttons.
var incidentDo = map[string]string{
	"ack": tocsin.DoAck, "take": tocsin.DoTake, "unack": tocsin.DoUnack, "resolve": tocsin.DoResolve, "reopen": tocsin.DoReopen,
	"escalate": tocsin.DoEscalate, "note": tocsin.DoNote,
}

// doIncident carries out a button.
func (c *Console) doIncident(r *http.Request, v *viewer) (string, said, error) {
	id, ok := idOf(r, 'i')
	do, known := incidentDo[r.PostForm.Get("do")]
	switch {
	case !v.Act:
		return "", said{}, errMayNot
	case !ok:
		return "", said{}, notFound("incident " + r.PathValue("id"))
	case !known:
		return "", said{}, &fault{http.StatusBadRequest, "Not understood", "There is no such button.", nil}
	}
	back := local(r.PostForm.Get("back"), "/i/"+strconv.FormatInt(id, 10))
	note, refusal := noteOf(r, do)
	if refusal != "" {
		return back, said{refusal, true}, nil
	}
	s, err := c.commandIncident(r, v, id, do, note)
	return back, s, err
}

// noteOf returns the note of a form, or why it is none.
func noteOf(r *http.Request, do string) (note, refusal string) {
	note = strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(r.PostForm.Get("note"), "\x00", ""), "\uFFFD"))
	switch {
	case len(note) > longestNote:
		return "", "The note is too long: at most " + strconv.Itoa(longestNote) + " characters. Nothing was done."
	case do == tocsin.DoNote && note == "":
		return "", "A note needs some words."
	}
	return note, ""
}

// commandIncident has the desk carry out do, and says what it came to once it is committed.
func (c *Console) commandIncident(r *http.Request, v *viewer, id int64, do, note string) (said, error) {
	i, err := c.desk.Incident(r.Context(), id, do, v.Person.Name, note)
	refused, isRefused := errors.AsType[*correlate.StateError](err)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return said{}, notFound("incident " + strconv.FormatInt(id, 10))
	case err != nil && !isRefused:
		return said{}, err
	}
	others := false
	err = c.db.View(r.Context(), func(tx *store.Tx) error {
		if isRefused {
			i, err = tx.Incident(id)
			return err
		}
		woken, err := tx.WokenFor(id, 0)
		others = slices.ContainsFunc(woken, func(name string) bool { return name != v.Person.Name })
		return err
	})
	if err != nil {
		c.Log.Warn("command was carried out, but not what it came to could be read", "incident", id, "error", err)
		return said{Text: "Done."}, nil
	}
	view := paging.IncidentViewOf(i)
	view.Now = v.now
	if isRefused {
		return said{v.refusedText(i, view, refused), true}, nil
	}
	switch do {
	case tocsin.DoAck, tocsin.DoTake:
		return said{Text: paging.YoursText(view, others)}, nil
	case tocsin.DoUnack:
		return said{Text: "You gave it back: paging starts again."}, nil
	case tocsin.DoReopen:
		return said{Text: "It is open again: paging starts again."}, nil
	case tocsin.DoEscalate:
		return said{Text: paging.EscalatedText(view, nil)}, nil
	case tocsin.DoNote:
		return said{Text: paging.NotedText(view)}, nil
	}
	if i.Open > 0 {
		return said{Text: paging.StillFiringText(view, v.Person, i.Open, i.ResolvedAt.Add(correlate.HandReopen))}, nil
	}
	return said{Text: paging.ResolvedText(view)}, nil
}

// refusedText says who was first.
func (v *viewer) refusedText(i tocsin.Incident, view paging.IncidentView, refused *correlate.StateError) string {
	by := tocsin.Person{Name: v.called(refused.By)}
	switch {
	case i.State == tocsin.Acked && i.AckedBy == v.Person.Name:
		return paging.AlreadyYoursText(view, v.Person)
	case i.State == tocsin.Acked:
		return v.called(i.AckedBy) + " has it since " + v.at(i.AckedAt).Text + ". To have it, take it over."
	case !i.State.Open():
		if refused.By == tocsin.ByItself {
			by = tocsin.Person{}
		}
		return paging.OverText(view, by, v.Person)
	}
	return "Nobody has it: it is " + i.State.String() + "."
}
