package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"tocsin"
)

// An entry is one line of a timeline, in words.
type entry struct {
	At     moment
	Tone   string // bad, good, hand or nothing: its mark
	Who    string // a person or robot; "" : it came by itself
	Text   string
	Why    string
	Note   string   // a person's own words
	Steps  []string // what else happened in the same moment
	More   int      // steps that were not kept
	Paging []string // who is paged, or why nobody
}

// data is what a change carries: what happened at one moment, and who was paged for it.
type data struct {
	Steps []struct {
		Kind    string `json:"kind"`
		Summary string `json:"summary"`
		Why     string `json:"why"`
	} `json:"steps"`
	More   int      `json:"more"`
	Alerts int      `json:"alerts"`
	Ended  int      `json:"ended"`
	Paging []string `json:"paging"`
	Note   string   `json:"note"`
	Why    string   `json:"why"`
}

// timeline tells changes, the newest first.
func (v *viewer) timeline(changes []tocsin.Change) []entry {
	out := make([]entry, 0, len(changes))
	for _, c := range slices.Backward(changes) {
		out = append(out, v.told(c))
	}
	return out
}

func (v *viewer) told(c tocsin.Change) entry {
	e := entry{At: v.at(c.At)}
	var d data
	if len(c.Data) > 0 && json.Unmarshal(c.Data, &d) != nil {
		d = data{} // a newer version wrote it: the line itself still stands
	}
	e.Note, e.Why, e.Paging, e.More = d.Note, d.Why, d.Paging, d.More
	if tocsin.IsCommand(c.Kind) {
		v.command(&e, c)
	} else {
		event(&e, c.Kind, d)
	}
	return e
}

// People's words for commands: what a person did, and what it means when a timer does it.
var commands = map[string]struct{ did, timed, tone string }{
	tocsin.DoAck:          {"acknowledged it", "Acknowledged", "hand"},
	tocsin.DoTake:         {"took it over", "Taken over", "hand"},
	tocsin.DoUnack:        {"gave it back", "The acknowledgement was not renewed", "bad"},
	tocsin.DoResolve:      {"resolved it", "Resolved", "good"},
	tocsin.DoReopen:       {"opened it again", "Opened again", "bad"},
	tocsin.DoEscalate:     {"escalated it", "Escalated", "hand"},
	tocsin.DoNote:         {"noted", "Noted", ""},
	tocsin.DoConfirm:      {"confirmed it: a major", "Nobody decided in time: confirmed", "bad"},
	tocsin.DoReject:       {"rejected it: no major", "Rejected", "good"},
	tocsin.DoLooking:      {"is looking", "Somebody is looking", "hand"},
	tocsin.DoExpire:       {"let it expire", "Nobody decided in time: it expired", ""},
	tocsin.DoPassOn:       {"passed it on to the next manager", "Nobody decided in time: on to the next manager", "hand"},
	tocsin.DoLead:         {"leads it", "It is led", "hand"},
	tocsin.DoResolveMajor: {"resolved the major", "The major is resolved", "good"},
}

// byItself are the actors that are no person.
var byItself = []string{"", "rule", "timer", "pager"}

func (v *viewer) command(e *entry, c tocsin.Change) {
	said, ok := commands[c.Kind]
	if !ok {
		said.did = strings.ReplaceAll(strings.TrimPrefix(c.Kind, "do-"), "-", " ")
		said.timed = said.did
	}
	e.Tone = said.tone
	if slices.Contains(byItself, c.Actor) {
		e.Text = said.timed
		return
	}
	e.Who, e.Text = v.called(c.Actor), said.did
	if c.Actor == v.Person.Name {
		e.Who = "You"
		switch c.Kind {
		case tocsin.DoLooking:
			e.Text = "are looking"
		case tocsin.DoLead:
			e.Text = "lead it"
		}
	}
}

// A kind is how one kind of event is told.
type kind struct {
	name, text, tone string
	weight           int // the heaviest of what happened in one moment gives the line its words
}

// heaviest is the weight of what begins something.
const heaviest = 9

// kinds of events, those of package correlate and of the root package.
var kinds = []kind{
	{"opened", "Opened", "bad", heaviest},
	{"proposed", "A major candidate", "bad", heaviest},
	{"promoted", "A major, by rule", "bad", heaviest},
	{"reopened", "Opened again", "bad", 8},
	{"recovered", "Recovered", "good", 8},
	{"lapsed", "Nothing is left of it", "good", 8},
	{"resolved", "Resolved", "good", 8},
	{"returned", "It fires again", "bad", 7},
	{"joined-major", "Joined a major", "hand", 7},
	{"urgency-rose", "More urgent", "bad", 6},
	{"acknowledged-by-sender", "Acknowledged at the sender", "hand", 6},
	{"recovery-lasted", "The recovery lasted", "good", 6},
	{"grew", "It grew", "bad", 5},
	{"joined", "An alert joined", "", 4},
	{"eased", "An alert ended", "", 3},
	{"paged", "Paging", "", 2},
	{"page-now", "Paging begins", "", 2},
	{"page-fate", "A page", "", 1},
	{"notified", "Told", "", 1},
}

func kindOf(name string) kind {
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name }); i >= 0 {
		return kinds[i]
	}
	return kind{name, strings.ReplaceAll(name, "-", " "), "", 0}
}

// event tells what came by itself: the most telling of what happened in that moment first, the rest below it.
func event(e *entry, name string, d data) {
	head, best := kindOf(name), -1
	for n, s := range d.Steps {
		if k := kindOf(s.Kind); best < 0 && s.Kind == name || k.weight > head.weight {
			head, best = k, n
		}
	}
	e.Text, e.Tone = head.text, head.tone
	switch {
	case head.name == "joined" && d.Alerts > 1:
		e.Text = fmt.Sprintf("%d alerts joined", d.Alerts)
	case head.name == "eased" && d.Ended > 1:
		e.Text = fmt.Sprintf("%d alerts ended", d.Ended)
	case best >= 0 && (head.weight == heaviest || head.name == "joined") && d.Steps[best].Summary != "":
		e.Text += ": " + d.Steps[best].Summary
	}
	if best >= 0 && e.Why == "" {
		e.Why = d.Steps[best].Why
	}
	rest(e, d, best, head.weight == heaviest)
}

// rest tells the steps beside the best. Where something began, those that joined it at once are told by their sum.
func rest(e *entry, d data, best int, began bool) {
	if began && d.Alerts > 0 {
		e.Steps, e.More = append(e.Steps, count(d.Alerts, "more alert")+" in the same moment"), 0
	}
	for n, s := range d.Steps {
		if n == best || began && s.Kind == "joined" {
			continue
		}
		k := kindOf(s.Kind)
		text := k.text
		if s.Summary != "" && k.name == "joined" {
			text += ": " + s.Summary
		}
		if s.Why != "" {
			text += " (" + s.Why + ")"
		}
		e.Steps = append(e.Steps, text)
	}
}
