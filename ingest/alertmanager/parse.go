package alertmanager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin"
	"tocsin/ingest"
)

// DefaultResolveTimeout is after which time an alert without an end resolves unless it is sent again.
const DefaultResolveTimeout = 5 * time.Minute

// Parse returns a parser of the body of POST /api/v2/alerts. Alerts without an end get one after timeout, which is
// DefaultResolveTimeout if 0.
func Parse(timeout time.Duration) ingest.ParserFunc {
	timeout = cmp.Or(timeout, DefaultResolveTimeout)
	return func(_ context.Context, m *ingest.Message) error {
		b := batch{Message: m, timeout: timeout}
		b.parse()
		return m.Scan.Err()
	}
}

// A batch is one body while it is read.
type batch struct {
	*ingest.Message
	timeout time.Duration
	item    int // the alert that is read, from 0

	// What the alerts of a batch nearly always have in common is looked up once.
	lastTime     string
	lastTimeRead time.Time
	lastWord     string
	lastSeverity tocsin.Severity
}

func (b *batch) parse() {
	s := &b.Scan
	if !s.Array() {
		s.Fail("an array of alerts is due")
		return
	}
	for s.Element() {
		b.alert()
		b.item++
	}
	s.End()
}

// An alert is what has been read of one item. Its first mistake is why it is refused; reading goes on, for the others' sake.
type alert struct {
	labels, annotations   tocsin.Labels
	plain                 bool // no label value needs quoting
	startsAt, endsAt      time.Time
	url                   string
	wrongField, wrongText string
}

func (a *alert) wrong(field, text string) {
	if a.wrongText == "" {
		a.wrongField, a.wrongText = field, text
	}
}

// The fields of an alert that are read.
var fields = [...]string{"labels", "annotations", "startsAt", "endsAt", "generatorURL"}

// alert reads one item and appends the event that it makes, or refuses it.
func (b *batch) alert() {
	s := &b.Scan
	if s.Peek() != '{' {
		s.Skip()
		b.Refuse(b.item, "", "an object is due")
		return
	}
	start := s.Offset()
	a := alert{plain: true}
	b.read(&a)
	if s.Err() != nil {
		return
	}
	if size := s.Offset() - start; size > ingest.MaxAlert {
		a.wrong("", fmt.Sprintf("%d bytes: at most %d", size, ingest.MaxAlert))
	}
	if a.wrongText == "" && len(a.labels) == 0 {
		a.wrong("labels", "at least one label with a value is needed")
	}
	b.times(&a)
	if a.wrongText != "" {
		b.Refuse(b.item, a.wrongField, a.wrongText)
		return
	}
	b.event(&a)
}

// read reads the fields of a.
func (b *batch) read(a *alert) {
	s := &b.Scan
	names := b.Names()
	s.Object()
	for {
		name, ok := s.Field()
		if !ok {
			return
		}
		if !names.Add(name) {
			a.wrong(name, "the field stands twice")
		}
		switch name {
		case "labels":
			a.labels = b.labels(a, name, ingest.MaxValue, &a.plain)
		case "annotations":
			var plain bool
			a.annotations = b.labels(a, name, ingest.MaxAnnotation, &plain)
		case "startsAt":
			a.startsAt = b.time(a, name)
		case "endsAt":
			a.endsAt = b.time(a, name)
		case "generatorURL":
			a.url = b.url(a, name)
		default:
			i := slices.IndexFunc(fields[:], func(f string) bool { return strings.EqualFold(f, name) })
			if i >= 0 {
				a.wrong(name, "the field is called "+fields[i])
			}
			s.Skip()
		}
	}
}

// labels reads an object of strings: sorted, without empty values. plain becomes false if a value needs quoting.
func (b *batch) labels(a *alert, field string, most int, plain *bool) tocsin.Labels {
	s := &b.Scan
	if !s.Object() {
		if !s.Null() {
			s.Skip()
			a.wrong(field, "an object is due")
		}
		return nil
	}
	ls := b.Room(ingest.MaxLabels)
	n, sorted := 0, true
	for {
		name, ok := s.Field()
		if !ok {
			break
		}
		plainName := s.PlainName()
		v, plainValue, ok := s.Text()
		if !ok {
			s.Skip()
			a.wrong(field, fmt.Sprintf("value of %q: a text is due", ingest.Cut(name, 64)))
			continue
		}
		if n++; n > ingest.MaxLabels {
			continue
		}
		if len(name) == 0 || len(name) > ingest.MaxName || len(v) > most || !plainName || !plainValue {
			*plain = *plain && plainValue
			check(a, field, name, v, most)
		}
		sorted = sorted && (len(ls) == 0 || ls[len(ls)-1].Name < name)
		ls = append(ls, tocsin.Label{Name: name, Value: v})
	}
	if n > ingest.MaxLabels {
		a.wrong(field, fmt.Sprintf("%d of them: at most %d", n, ingest.MaxLabels))
	}
	if !sorted {
		slices.SortFunc(ls, func(x, y tocsin.Label) int { return strings.Compare(x.Name, y.Name) })
		for i := 1; i < len(ls); i++ {
			if ls[i].Name == ls[i-1].Name {
				a.wrong(field, fmt.Sprintf("%q stands twice", ls[i].Name))
			}
		}
	}
	return b.Fit(slices.DeleteFunc(ls, func(l tocsin.Label) bool { return l.Value == "" }))
}

// check refuses a label that is not within the limits.
func check(a *alert, field, name, v string, most int) {
	if why := ingest.CheckName(name); why != "" {
		a.wrong(field, why)
	}
	if why := ingest.CheckText(v, most); why != "" {
		a.wrong(field, fmt.Sprintf("value of %q: %s", ingest.Cut(name, 64), why))
	}
}

// time reads a time; null is none.
func (b *batch) time(a *alert, field string) time.Time {
	v, _, ok := b.Scan.Text()
	if !ok {
		if !b.Scan.Null() {
			b.Scan.Skip()
			a.wrong(field, "a text is due")
		}
		return time.Time{}
	}
	if v == b.lastTime {
		return b.lastTimeRead
	}
	t, ok := ingest.Time(v)
	if !ok && v != "" {
		a.wrong(field, fmt.Sprintf("%q is no RFC 3339 time", ingest.Cut(v, 64)))
		return time.Time{}
	}
	b.lastTime, b.lastTimeRead = v, t
	return t
}

func (b *batch) url(a *alert, field string) string {
	v, _, ok := b.Scan.Text()
	if !ok {
		if !b.Scan.Null() {
			b.Scan.Skip()
			a.wrong(field, "a text is due")
		}
		return ""
	}
	if why := ingest.CheckText(v, ingest.MaxURL); why != "" {
		a.wrong(field, why)
	}
	return v
}

// times fills in what was not said of start and end.
func (b *batch) times(a *alert) {
	if a.startsAt.IsZero() {
		a.startsAt = cmp.Or(a.endsAt, b.Now)
	}
	if a.endsAt.IsZero() {
		a.endsAt = b.Now.Add(b.timeout)
	}
	if a.endsAt.Before(a.startsAt) {
		a.wrong("endsAt", "the end is before the start")
	}
}

// event appends what a comes to.
func (b *batch) event(a *alert) {
	name, word, about := telling(a.labels)
	status := tocsin.Firing
	if !a.endsAt.After(b.Now) {
		status = tocsin.Resolved
	}
	if word != b.lastWord || b.lastSeverity == 0 {
		b.lastWord = word
		b.lastSeverity, _ = b.Source.SeverityOf(word)
	}
	key := b.LabelKey(a.labels, a.plain)
	b.Events = append(b.Events, tocsin.Event{
		Source:      b.Source.Name,
		Key:         key,
		Fingerprint: tocsin.FingerprintOf(b.Scope, key),
		Status:      status,
		Severity:    b.lastSeverity,
		Word:        word,
		Summary:     summary(a.annotations, name, about),
		About:       about,
		Labels:      b.Merge(a.labels),
		Annotations: a.annotations,
		URL:         a.url,
		StartsAt:    a.startsAt,
		EndsAt:      a.endsAt,
	})
}

// telling returns the alert's name, its severity in the sender's word, and what it is about.
func telling(ls tocsin.Labels) (name, word, about string) {
	best := 10 // greater than every rank below
	for i := range ls {
		rank := best
		switch v := ls[i].Value; ls[i].Name {
		case "severity":
			word = v
		case "alertname":
			name, rank = v, 9
		case "host":
			rank = 0
		case "node":
			rank = 1
		case "hostname":
			rank = 2
		case "pod":
			rank = 3
		case "instance":
			rank = 4
		case "service":
			rank = 5
		case "app":
			rank = 6
		case "namespace":
			rank = 7
		case "job":
			rank = 8
		}
		if rank < best {
			best, about = rank, ls[i].Value
		}
	}
	return name, word, about
}

// summary returns one line for a person.
func summary(annotations tocsin.Labels, name, about string) string {
	for _, n := range [...]string{"summary", "description", "message"} {
		if line := ingest.Line(annotations.Get(n)); line != "" {
			return line
		}
	}
	switch {
	case name == "" || name == about:
		return ingest.Line(cmp.Or(name, about, "an alert without a name"))
	case about == "":
		return ingest.Line(name)
	}
	return ingest.Line(name + ": " + about)
}
