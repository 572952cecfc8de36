package pagerduty

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"tocsin"
	"tocsin/ingest"
)

// The limits that PagerDuty documents, in characters, and for the body in bytes.
const (
	maxSummary  = 1024
	maxDedupKey = 255
	maxBody     = 512 << 10
)

// maxDetails is how many bytes of annotations one event keeps.
const maxDetails = 128 << 10

// maxLabelText is how long a detail may be, in bytes, to be a label; a longer one is for reading.
const maxLabelText = 256

// An invalidError names everything that is wrong with an event.
type invalidError []string

func (e invalidError) Error() string { return strings.Join(e, "; ") }

// An event is what has been read of a body.
type event struct {
	routingKey, action, dedupKey string
	client, clientURL            string
	summary, source, severity    string
	component, group, class      string
	at                           time.Time

	details []detail
	links   []link
	images  []string
	wrong   invalidError

	names [depth]ingest.Names // of the fields of the objects that are being read, the outermost first
	in    int                 // how many those are
}

// depth is how many objects whose fields we know stand in each other at most: the body, its payload, what details that has.
const depth = 3

// keptDetails is how much room for details is kept for the next event.
const keptDetails = 64

// reset empties e, for the next event.
func (e *event) reset() {
	clear(e.details)
	fresh := event{names: e.names}
	for i := range fresh.names {
		fresh.names[i].Reset()
	}
	if cap(e.details) <= keptDetails {
		fresh.details = e.details[:0]
	}
	*e = fresh
}

// enter begins an object, whose fields' names are gathered in the set that it returns; leave ends it.
func (e *event) enter() *ingest.Names {
	n := &e.names[e.in]
	n.Reset()
	e.in++
	return n
}

func (e *event) leave() { e.in-- }

// A detail is one of custom_details.
type detail struct {
	name, value string
	text        bool // something for people: no label
}

type link struct{ href, text string }

func (e *event) refuse(field, why string) { e.wrong = append(e.wrong, field+": "+why) }

// Parse reads one event of POST /v2/enqueue. newKey makes the dedup_key of a trigger that has none.
func Parse(newKey func() (string, error)) ingest.ParserFunc {
	idle := sync.Pool{New: func() any { return new(event) }}
	return func(_ context.Context, m *ingest.Message) error {
		e := idle.Get().(*event)
		defer func() {
			e.reset()
			idle.Put(e)
		}()
		err := e.read(m)
		if err != nil {
			return err
		}
		e.check()
		// Who sends decides what a severity means; nobody learns what else is wrong who is not known.
		if e.routingKey == "" {
			e.refuse("routing_key", "is needed")
			return e.wrong
		}
		if !m.Route(e.routingKey) {
			return ingest.ErrNoKey
		}
		severity := e.severityBy(m.Source)
		if len(e.wrong) > 0 {
			return e.wrong
		}
		if e.dedupKey == "" {
			e.dedupKey, err = newKey()
			if err != nil {
				return fmt.Errorf("dedup_key: %w", err)
			}
		}
		m.Events = append(m.Events, e.event(m, severity))
		return nil
	}
}

// NewKey returns a fresh dedup_key.
func NewKey() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}

// read reads the body; its error is one of the body as a whole.
func (e *event) read(m *ingest.Message) error {
	s := &m.Scan
	if !s.Object() {
		s.Fail("an object is due")
		return s.Err()
	}
	e.object(s, "", topFields, e.readTop)
	s.End()
	return s.Err()
}

// A reader reads the value of the field called name, and is false, and reads nothing, where it does not know the field.
type reader func(s *ingest.Scanner, name string) bool

// object reads the fields of an object that has been entered; at is what stands before their names. Fields that nobody knows
// are left alone, but not known ones in other letters.
func (e *event) object(s *ingest.Scanner, at string, known []string, read reader) {
	names := e.enter()
	defer e.leave()
	for {
		name, ok := s.Field()
		if !ok {
			return
		}
		if !names.Add(name) {
			e.refuse(at+ingest.Cut(name, 64), "stands twice")
		}
		if read(s, name) {
			continue
		}
		for _, k := range known {
			if strings.EqualFold(k, name) {
				e.refuse(at+name, "is called "+k)
			}
		}
		s.Skip()
	}
}

var topFields = []string{"routing_key", "event_action", "dedup_key", "client", "client_url", "payload", "links", "images"}

func (e *event) readTop(s *ingest.Scanner, name string) bool {
	switch name {
	case "routing_key":
		e.routingKey = e.text(s, name)
	case "event_action":
		e.action = e.text(s, name)
	case "dedup_key":
		e.dedupKey = e.text(s, name)
	case "client":
		e.client = e.text(s, name)
	case "client_url":
		e.clientURL = e.text(s, name)
	case "payload":
		e.readPayload(s, name)
	case "links":
		e.readLinks(s, name)
	case "images":
		e.readImages(s, name)
	default:
		return false
	}
	return true
}

// text reads a string; null is none.
func (e *event) text(s *ingest.Scanner, field string) string {
	v, plain, ok := s.Text()
	if !ok {
		if !s.Null() {
			s.Skip()
			e.refuse(field, "a text is due")
		}
		return ""
	}
	if !plain && strings.IndexByte(v, 0) >= 0 {
		e.refuse(field, "has a NUL character")
	}
	return v
}

func (e *event) readPayload(s *ingest.Scanner, at string) {
	if !s.Object() {
		if !s.Null() {
			s.Skip()
			e.refuse(at, "an object is due")
		}
		return
	}
	e.object(s, "payload.", payloadFields, e.readPayloadField)
}

var payloadFields = []string{"summary", "source", "severity", "component", "group", "class", "timestamp", "custom_details"}

func (e *event) readPayloadField(s *ingest.Scanner, name string) bool {
	switch name {
	case "summary":
		e.summary = e.text(s, "payload.summary")
	case "source":
		e.source = e.text(s, "payload.source")
	case "severity":
		e.severity = e.text(s, "payload.severity")
	case "component":
		e.component = e.text(s, "payload.component")
	case "group":
		e.group = e.text(s, "payload.group")
	case "class":
		e.class = e.text(s, "payload.class")
	case "timestamp":
		e.readTime(s, "payload.timestamp")
	case "custom_details":
		e.readDetails(s, "payload.custom_details")
	default:
		return false
	}
	return true
}

func (e *event) readTime(s *ingest.Scanner, at string) {
	v := e.text(s, at)
	if v == "" {
		return
	}
	t, ok := ingest.Time(v)
	if !ok {
		e.refuse(at, fmt.Sprintf("%q is no ISO 8601 time", ingest.Cut(v, 64)))
	}
	e.at = t
}

// readDetails reads custom_details: an object as a rule, but anything is allowed.
func (e *event) readDetails(s *ingest.Scanner, at string) {
	if !s.Object() {
		v, _, ok := s.Text()
		if !ok {
			v = s.Value()
		}
		if v != "" && v != "null" {
			e.details = append(e.details, detail{"custom_details", v, true})
		}
		return
	}
	names := e.enter()
	defer e.leave()
	for {
		name, ok := s.Field()
		if !ok {
			return
		}
		if !names.Add(name) {
			e.refuse(at, fmt.Sprintf("%q stands twice", ingest.Cut(name, 64)))
		}
		if why := ingest.CheckName(name); why != "" {
			e.refuse(at, why)
		}
		d := detail{name: name}
		kind := s.Peek()
		if kind == '"' {
			d.value = e.text(s, at)
			d.text = len(d.value) > maxLabelText || strings.ContainsAny(d.value, "\r\n")
		} else {
			d.value = s.Value()
			d.text = kind == '{' || kind == '['
		}
		if d.value != "" && d.value != "null" {
			e.details = append(e.details, d)
		}
	}
}

func (e *event) readLinks(s *ingest.Scanner, at string) {
	e.list(s, at, func(i int) {
		var l link
		e.object(s, fmt.Sprintf("%s[%d].", at, i), []string{"href", "text"}, func(s *ingest.Scanner, name string) bool {
			switch name {
			case "href":
				l.href = e.text(s, at+".href")
			case "text":
				l.text = e.text(s, at+".text")
			default:
				return false
			}
			return true
		})
		if l.href != "" {
			e.links = append(e.links, l)
		}
	})
}

func (e *event) readImages(s *ingest.Scanner, at string) {
	e.list(s, at, func(i int) {
		e.object(s, fmt.Sprintf("%s[%d].", at, i), []string{"src"}, func(s *ingest.Scanner, name string) bool {
			if name != "src" {
				return false
			}
			e.images = append(e.images, e.text(s, at+".src"))
			return true
		})
	})
}

// list reads an array of objects; null is an empty one.
func (e *event) list(s *ingest.Scanner, at string, read func(i int)) {
	if !s.Array() {
		if !s.Null() {
			s.Skip()
			e.refuse(at, "an array is due")
		}
		return
	}
	for i := 0; s.Element(); i++ {
		if s.Object() {
			read(i)
			continue
		}
		s.Skip()
		e.refuse(fmt.Sprintf("%s[%d]", at, i), "an object is due")
	}
}

// check finds what is missing and what is too long.
func (e *event) check() {
	switch e.action {
	case "trigger":
		e.need("payload.summary", e.summary)
		e.need("payload.source", e.source)
		e.need("payload.severity", e.severity)
		e.most("payload.summary", e.summary, maxSummary)
	case "acknowledge", "resolve":
		e.need("dedup_key", e.dedupKey)
	case "":
		e.need("event_action", "")
	default:
		e.refuse("event_action", fmt.Sprintf("%q: one of trigger, acknowledge, resolve", ingest.Cut(e.action, 64)))
	}
	e.most("dedup_key", e.dedupKey, maxDedupKey)
	e.bytes("payload.source", e.source, ingest.MaxValue)
	e.bytes("payload.component", e.component, ingest.MaxValue)
	e.bytes("payload.group", e.group, ingest.MaxValue)
	e.bytes("payload.class", e.class, ingest.MaxValue)
	e.bytes("payload.severity", e.severity, ingest.MaxValue)
	e.bytes("client", e.client, ingest.MaxValue)
	e.bytes("client_url", e.clientURL, ingest.MaxURL)
	if n := e.labelCount(); n > ingest.MaxLabels {
		e.refuse("payload.custom_details", fmt.Sprintf("%d labels: at most %d", n, ingest.MaxLabels))
	}
	if n := len(e.details) + len(e.links) + len(e.images); n > 4*ingest.MaxLabels {
		e.refuse("payload", fmt.Sprintf("%d details, links and images: at most %d", n, 4*ingest.MaxLabels))
	}
}

func (e *event) need(field, v string) {
	if strings.TrimSpace(v) == "" {
		e.refuse(field, "is needed")
	}
}

func (e *event) bytes(field, v string, most int) {
	if len(v) > most {
		e.refuse(field, fmt.Sprintf("%d bytes: at most %d", len(v), most))
	}
}

func (e *event) most(field, v string, characters int) {
	if n := utf8.RuneCountInString(v); n > characters {
		e.refuse(field, fmt.Sprintf("%d characters: at most %d", n, characters))
	}
}

// labelCount returns how many labels e makes at most.
func (e *event) labelCount() int {
	n := 4 // component, group, class, host
	for _, d := range e.details {
		if !d.text {
			n++
		}
	}
	return n
}

// severityBy returns what the sender's word means to src. Only a trigger has to say it: no resolve is lost for a word.
func (e *event) severityBy(src *ingest.Source) tocsin.Severity {
	severity, known := src.SeverityOf(e.severity)
	switch {
	case !known && e.action != "trigger":
		return tocsin.Info
	case !known && e.severity != "":
		e.refuse("payload.severity", fmt.Sprintf("%q: one of critical, error, warning, info", ingest.Cut(e.severity, 64)))
	}
	return severity
}

// status returns what an action that check has let through says of the alert.
func (e *event) status() tocsin.Status {
	switch e.action {
	case "acknowledge":
		return tocsin.Acknowledged
	case "resolve":
		return tocsin.Resolved
	}
	return tocsin.Firing
}

// event returns what e comes to.
func (e *event) event(m *ingest.Message, severity tocsin.Severity) tocsin.Event {
	ev := tocsin.Event{
		Source:      m.Source.Name,
		Key:         e.dedupKey,
		Fingerprint: tocsin.FingerprintOf(m.Scope, e.dedupKey),
		Status:      e.status(),
		Severity:    severity,
		Word:        e.severity,
		Summary:     ingest.Line(e.summary),
		About:       e.source,
		Labels:      m.Merge(e.labels()),
		Annotations: e.annotations(),
		URL:         e.clientURL,
		StartsAt:    e.at,
	}
	if ev.URL == "" && len(e.links) > 0 && len(e.links[0].href) <= ingest.MaxURL {
		ev.URL = e.links[0].href
	}
	return ev
}

func (e *event) labels() tocsin.Labels {
	ls := make(tocsin.Labels, 0, e.labelCount())
	add := func(name, value string) {
		if value != "" {
			ls = append(ls, tocsin.Label{Name: name, Value: value})
		}
	}
	add("component", e.component)
	add("group", e.group)
	add("class", e.class)
	named := false
	for _, d := range e.details {
		named = named || !d.text && slices.Contains([]string{"host", "node", "hostname", "instance"}, d.name)
	}
	if !named && isHost(e.source) {
		add("host", e.source)
	}
	own := len(ls)
	for _, d := range e.details {
		taken := slices.ContainsFunc(ls[:own], func(l tocsin.Label) bool { return l.Name == d.name })
		if !d.text && !taken {
			add(d.name, d.value)
		}
	}
	slices.SortFunc(ls, func(a, b tocsin.Label) int { return strings.Compare(a.Name, b.Name) })
	return ls
}

// isHost reports whether s looks like a host name or an address: letters, digits, and the marks that stand in one.
func isHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// annotations returns what is for people, as much of it as is kept.
func (e *event) annotations() tocsin.Labels {
	all := map[string]string{}
	for _, d := range e.details {
		if d.text {
			all[d.name] = d.value
		}
	}
	if e.client != "" {
		all["client"] = e.client
	}
	for i, l := range e.links {
		all[fmt.Sprintf("link_%d", i+1)] = strings.TrimSpace(l.text + " " + l.href)
	}
	for i, src := range e.images {
		all[fmt.Sprintf("image_%d", i+1)] = src
	}
	if len(all) == 0 {
		return nil
	}
	ls := tocsin.NewLabels(all)
	left := maxDetails
	var shortened []string
	for i := range ls {
		most := min(ingest.MaxAnnotation, left)
		if len(ls[i].Value) > most {
			shortened = append(shortened, ls[i].Name)
			ls[i].Value = ingest.Cut(ls[i].Value, most)
		}
		left = max(0, left-len(ls[i].Value))
	}
	if len(shortened) == 0 {
		return ls
	}
	ls, _ = ls.With("cut", strings.Join(shortened, ", ")).Normalize() // names stand once: they come from a map
	return ls
}

// ParseChange checks one event of POST /v2/change/enqueue, and takes nothing of it.
func ParseChange(_ context.Context, m *ingest.Message) error {
	s := &m.Scan
	if !s.Object() {
		s.Fail("an object is due")
		return s.Err()
	}
	var e event
	e.object(s, "", topFields, e.readTop)
	s.End()
	if s.Err() != nil {
		return s.Err()
	}
	e.need("payload.summary", e.summary)
	e.most("payload.summary", e.summary, maxSummary)
	switch {
	case e.routingKey == "":
		e.need("routing_key", "")
		return e.wrong
	case !m.Route(e.routingKey):
		return ingest.ErrNoKey
	case len(e.wrong) > 0:
		return e.wrong
	}
	m.Control = "ignore"
	return nil
}

// reasons returns what is wrong with an event, one reason each.
func reasons(p *ingest.Problem) []string {
	if wrong, ok := errors.AsType[invalidError](p.Err); ok {
		return wrong
	}
	return []string{p.Detail}
}
