package config

import (
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"tocsin"
)

// A Person may be paged.
type Person struct {
	tocsin.Person // TimeZone is UTC and Role responder where the file says nothing
	At            Place
}

// A Team owns services.
type Team struct {
	Name       string
	Members    []string // names of people
	Escalation string   // "" is the default escalation
	At         Place
}

// Notify says how a person is paged, unless they chose otherwise.
type Notify struct {
	High []NotifyStep // default: sms and email at once, voice after 2m
	Low  []NotifyStep // default: email at once
}

// A NotifyStep is taken After the page was made, if nobody has acknowledged until then.
type NotifyStep struct {
	After Duration // default 0s
	By    []string // channels
	At    Place
}

// Channels that a page may go by.
const (
	SMS   = "sms"
	Voice = "voice"
	Email = "email"
)

var channels = []string{SMS, Voice, Email}

var roles = []string{"reporter", "responder", "manager", "comms", "owner", "analyst", "auditor", "admin"}

func (r *reader) person(name string, s *section) Person {
	out := Person{At: s.n.at}
	out.Name = name
	out.Full = s.text("name", name)
	if n, ok := s.get("email"); ok {
		out.Email = r.mail(n)
	}
	if n, ok := s.get("phone"); ok {
		out.Phone = r.phone(n)
	}
	out.TimeZone = s.zone("UTC")
	out.Role = s.word("role", "role", "responder", roles...)
	out.Skills = s.texts("skills")
	return out
}

func (r *reader) team(name string, s *section) Team {
	return Team{Name: name, Members: s.refs("members", "person"), Escalation: s.ref("escalation", "escalation"), At: s.n.at}
}

// mail returns the bare mail address that n holds.
func (r *reader) mail(n *node) string {
	v, ok := r.filled(n)
	if !ok {
		return ""
	}
	a, err := mail.ParseAddress(v)
	if err != nil || a.Address != v || !strings.Contains(v, "@") {
		hint := "such as one@example.org"
		if err == nil && a.Address != v {
			hint = "the address alone: " + a.Address
		}
		r.problem(n, fmt.Sprintf("%q is no mail address", clip(v)), hint)
		return ""
	}
	return v
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// phone returns the number in E.164 that n holds.
func (r *reader) phone(n *node) string {
	if n.kind == number {
		r.problem(n, "a phone number is a text, "+n.said+" is a number", fmt.Sprintf("quote it: %q", "+"+strings.TrimPrefix(n.said, "+")))
		return ""
	}
	v, ok := r.filled(n)
	if !ok || e164.MatchString(v) {
		return v
	}
	hint := `in E.164: + and the country's code first, such as "+15005550001"`
	bare := strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", "/", "", ".", "").Replace(v)
	if zeros, ok := strings.CutPrefix(bare, "00"); ok {
		bare = "+" + zeros
	}
	if e164.MatchString(bare) {
		hint = fmt.Sprintf("in E.164: %q", bare)
	}
	r.problem(n, fmt.Sprintf("%q is no phone number", clip(v)), hint)
	return ""
}

// zone returns the name of the time zone at time_zone.
func (s *section) zone(without string) string {
	n, ok := s.get("time_zone")
	if !ok {
		return without
	}
	v, ok := s.filled(n)
	if !ok {
		return without
	}
	_, err := time.LoadLocation(v)
	if err != nil || v == "Local" {
		s.problem(n, fmt.Sprintf("%q is no time zone", clip(v)), "an IANA name such as Europe/Berlin, or UTC")
		return without
	}
	return v
}

// notify reads both urgencies. Channels that nobody provides are complained of where they were asked for, and left out of
// the defaults.
func (r *reader) notify(s *section, provided map[string][]string, any bool) Notify {
	defer s.done()
	steps := func(key string, without ...NotifyStep) []NotifyStep {
		n, ok := s.get(key)
		if !ok {
			return usable(without, provided, s.place(key))
		}
		out := []NotifyStep{}
		for _, item := range r.elements(n) {
			out = append(out, r.notifyStep(item, provided, any))
		}
		if n.kind == list && len(out) == 0 {
			r.problem(n, "without a step nobody is paged", "such as [{after: 0s, by: [email]}]")
		}
		return out
	}
	return Notify{
		High: steps("high", NotifyStep{By: []string{SMS, Email}}, NotifyStep{After: 2 * Minute, By: []string{Voice}}),
		Low:  steps("low", NotifyStep{By: []string{Email}}),
	}
}

func (r *reader) notifyStep(item *node, provided map[string][]string, any bool) NotifyStep {
	s := r.section(item)
	defer s.done()
	step := NotifyStep{After: s.duration("after", 0), At: item.at}
	n, ok := s.get("by")
	if !ok {
		s.missing("by", "such as [sms, email]")
		return step
	}
	for _, x := range r.elements(n) {
		ch, ok := r.word(x, "channel", channels...)
		if !ok {
			continue
		}
		if any && len(provided[ch]) == 0 {
			r.problem(x, "no provider serves "+ch, "add one under providers:, or leave the channel out")
		}
		step.By = append(step.By, ch)
	}
	if n.kind == list && len(n.items) == 0 {
		r.problem(n, "a step needs a channel", "such as [sms, email]")
	}
	return step
}

// usable is what of steps can be done with the channels that are provided.
func usable(steps []NotifyStep, provided map[string][]string, at Place) []NotifyStep {
	var out []NotifyStep
	for _, s := range steps {
		var by []string
		for _, ch := range s.By {
			if len(provided[ch]) > 0 {
				by = append(by, ch)
			}
		}
		if len(by) > 0 {
			out = append(out, NotifyStep{After: s.After, By: by, At: at})
		}
	}
	return out
}
