package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	"tocsin"
	"tocsin/internal/store"
)

// ackPage is what a signed link shows, before and after its button.
type ackPage struct {
	Token   string
	To      string // whom the link was sent to
	Head    string // what it is about, in a word
	Title   string
	Facts   []fact
	State   string // in words: nobody has it
	Tone    string
	Yours   bool
	Buttons []button
	More    string // address of the whole story, for those who are logged in
	Prio    int
}

// link reads the token of r, and draws for whom it was sent.
func (c *Console) link(r *http.Request) (Link, *viewer, error) {
	token := r.PathValue("token")
	l, err := c.desk.Linked(r.Context(), token)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrUnavailable):
		return l, nil, err
	case err != nil:
		return l, nil, &fault{http.StatusNotFound, "This link is not valid", "It may be older than seven days, or cut short by a mail program. Open the incident in the console instead.", nil}
	}
	p, ok := c.desk.Person(l.Person)
	if !ok {
		return l, nil, &fault{http.StatusNotFound, "This link is not valid any more", "Whom it was sent to is not known here any more.", nil}
	}
	return l, c.viewerOf(p.Name, p.Role), nil
}

// showLink shows what a link is about. It changes nothing: mail programs follow links before people do.
func (c *Console) showLink(r *http.Request, _ *viewer) (*frame, error) {
	l, v, err := c.link(r)
	if err != nil {
		return nil, err
	}
	a := &ackPage{Token: r.PathValue("token"), To: v.called(l.Person)}
	f := &frame{Bare: true, Viewer: v, Body: a, template: "ack"}
	err = c.db.View(r.Context(), func(tx *store.Tx) error {
		if l.Major != 0 {
			m, err := tx.Major(l.Major)
			a.aboutMajor(m, v)
			return err
		}
		i, err := tx.Incident(l.Incident)
		a.aboutIncident(i, v)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("such incident")
	}
	f.Title = a.Title
	return f, err
}

func (a *ackPage) aboutIncident(i tocsin.Incident, v *viewer) {
	n := strconv.FormatInt(i.ID, 10)
	a.Head, a.Title, a.Prio, a.More = "Incident "+n, titleOf(i), i.Priority, "/i/"+n
	a.Facts = []fact{{"Since", v.since(i.OpenedAt), ""}, {"Alerts", alertsOf(i), ""}}
	if i.Service != "" {
		a.Facts = append(a.Facts, fact{"Service", i.Service, ""})
	}
	me := v.Person.Name
	switch {
	case !i.State.Open():
		a.State, a.Tone = "It is over: "+v.has(i)+" "+v.at(i.ResolvedAt).Text+". Nothing to do.", "good"
	case i.Major != 0:
		a.State, a.Tone = "It belongs to a major now: its people have it. Nothing to do here.", "hand"
		a.More = "/m/" + strconv.FormatInt(i.Major, 10)
	case i.State == tocsin.Acked && i.AckedBy == me:
		a.State, a.Tone, a.Yours = "It is yours, since "+v.at(i.AckedAt).Text+".", "good", true
		a.Buttons = []button{{"resolve", "It is done: resolve", false}, {"escalate", "I cannot: escalate", false}}
	case i.State == tocsin.Acked:
		a.State, a.Tone = v.called(i.AckedBy)+" has it, since "+v.at(i.AckedAt).Text+". Nothing to do.", "hand"
		a.Buttons = []button{{"take", "Take it over", false}}
	default:
		a.State, a.Tone = "Nobody has it yet.", "bad"
		a.Buttons = []button{{"ack", "Acknowledge: it is mine", true}, {"escalate", "I cannot: escalate", false}}
	}
}

func (a *ackPage) aboutMajor(m tocsin.Major, v *viewer) {
	n := strconv.FormatInt(m.ID, 10)
	card := v.card(m, "")
	a.Title, a.Prio, a.More = "Major "+card.Title, m.Priority, "/m/"+n
	a.Head = "Major " + n
	for _, x := range card.Measures {
		text := x.N
		if x.Limit != "" {
			text += ", the rule asks for " + x.Limit
		}
		a.Facts = append(a.Facts, fact{x.Name, text, ""})
	}
	a.Facts = append(a.Facts, fact{"Since", card.Since.Text, ""})
	switch m.State {
	case tocsin.Proposed:
		a.Title, a.State, a.Tone = "Major? "+card.Title, card.Undecided, "warn"
		a.Buttons = []button{{"confirm", "Confirm: it is a major", true}, {"looking", "I am looking: more time", false}, {"reject", "Reject: it is none", false}}
	case tocsin.Confirmed:
		a.State, a.Tone = "It is a major, and "+card.Led+".", "bad"
		if a.Yours = m.LedBy == v.Person.Name; a.Yours {
			a.Tone = "good"
		} else {
			a.Buttons = []button{{"lead", "I lead it", m.LedBy == ""}}
		}
	default:
		a.State, a.Tone = "It is over: "+cmp.Or(card.Decided, card.State)+". Nothing to do.", "good"
	}
}

// useLink carries out a button of a link. Who was sent the page may decide what it asks, whatever their role: as by SMS.
func (c *Console) useLink(r *http.Request, _ *viewer) (string, said, error) {
	l, v, err := c.link(r)
	if err != nil {
		return "", said{}, err
	}
	back := "/ack/" + r.PathValue("token")
	word := r.PostForm.Get("do")
	if l.Major != 0 {
		x, ok := majorDo[word]
		if !ok || word == "resolve" || word == "note" {
			return "", said{}, &fault{http.StatusBadRequest, "Not understood", "There is no such button.", nil}
		}
		s, err := c.commandMajor(r, v, l.Major, x.do, "")
		return back, s, err
	}
	do, ok := incidentDo[word]
	if !ok || word == "note" || word == "reopen" {
		return "", said{}, &fault{http.StatusBadRequest, "Not understood", "There is no such button.", nil}
	}
	s, err := c.commandIncident(r, v, l.Incident, do, "")
	return back, s, err
}
