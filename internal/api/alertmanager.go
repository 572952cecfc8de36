package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// amVersion is the Alertmanager whose API this is: its tools compare it with their own.
const amVersion = "0.34.2"

// How many alerts are read before they are written: no look at the store waits for a client. The first ones come at once.
const (
	amFirst = 512
	amChunk = 4096
)

// maxListings is how many listings may be under way at once: each holds two chunks in memory.
const maxListings = 8

// amWrite is how many bytes are gathered before they are written.
const amWrite = 64 << 10

// amResolve is how far in the future an alert without an end of its own is said to end: a client that reads a time in the past takes it for resolved.
const amResolve = 5 * time.Minute

// An amQuery is what a request for alerts asks for.
type amQuery struct {
	filter
	receiver *regexp.Regexp // nil: any
	nothing  bool           // only states are wanted in which no alert is
}

// amQueryOf reads the parameters that Alertmanager knows. Others are passed over, as it does.
func amQueryOf(r *http.Request) (q amQuery, err error) {
	if len(r.URL.RawQuery) > maxQuery {
		return q, fmt.Errorf("query longer than %d bytes", maxQuery)
	}
	values := &query{values: r.URL.Query()}
	// Every alert that fires is active: silences and inhibition are not in force yet, and nothing waits to be processed.
	q.nothing = !values.flag("active", true)
	for _, name := range []string{"silenced", "inhibited", "unprocessed", "muted"} {
		values.flag(name, true)
	}
	if err := values.err(); err != nil {
		return q, err
	}
	q.filter, err = parseFilter(values.values["filter"])
	if err != nil {
		return q, err
	}
	q.index.Status = tocsin.Firing
	if text := values.text("receiver"); text != "" {
		q.receiver, err = regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return q, fmt.Errorf("receiver: %w", err)
		}
	}
	return q, nil
}

// amBad answers as Alertmanager does: a JSON string.
func amBad(w http.ResponseWriter, err error) error {
	text := err.Error()
	if p, ok := errors.AsType[*problem](err); ok && len(p.Errors) > 0 {
		text = p.Errors[0].Field + ": " + p.Errors[0].Detail
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	writeJSON(w, text)
	return nil
}

// amAlerts answers all alerts that fire now, in the order of their ids, some at a time.
func (s *Server) amAlerts(w http.ResponseWriter, r *http.Request) error {
	q, err := amQueryOf(r)
	if err != nil {
		return amBad(w, err)
	}
	return s.listings(r.Context(), func(ctx context.Context) error {
		l := s.listing(ctx, q)
		next, stop := l.ahead()
		defer stop()
		return l.stream(w, next)
	})
}

// amGroups answers the alerts that fire now by their open incidents, newest first.
func (s *Server) amGroups(w http.ResponseWriter, r *http.Request) error {
	q, err := amQueryOf(r)
	if err != nil {
		return amBad(w, err)
	}
	return s.listings(r.Context(), func(ctx context.Context) error {
		g := &grouping{listing: s.listing(ctx, q)}
		return g.stream(w, g.next)
	})
}

// listings runs one listing if there are not too many under way; those for whom there is no room are told as Alertmanager tells them.
func (s *Server) listings(ctx context.Context, list func(context.Context) error) error {
	select {
	case s.lists <- struct{}{}:
	default:
		return &problem{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d listings are under way already", maxListings), wait: busySeconds}
	}
	defer func() { <-s.lists }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return list(ctx)
}

// stream writes an array of what next puts into l.out, as it comes.
func (l *listing) stream(w http.ResponseWriter, next func() (more bool, err error)) error {
	l.out = append(l.out[:0], '[')
	control := http.NewResponseController(w)
	for begun := false; ; {
		more, err := next()
		if err != nil && !begun {
			return err
		}
		if err != nil {
			l.s.Log.Error("listing of alerts broken off", "error", err)
			return nil // the array stays open: nobody takes it for all of them
		}
		if !more {
			l.out = append(l.out, "]\n"...)
		}
		if more && len(l.out) < amWrite {
			continue
		}
		w.Header().Set("Content-Type", "application/json")
		_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // a test's recorder has no deadlines
		begun = true
		_, err = w.Write(l.out)
		if err != nil || !more {
			return nil //nolint:nilerr // the client has gone away
		}
		l.out = l.out[:0]
	}
}

// A listing turns alerts into JSON, some at a time.
type listing struct {
	s         *Server
	ctx       context.Context //nolint:containedctx // lives as long as its request
	q         amQuery
	now       time.Time
	after     int64            // the id of the last alert that was read
	receivers map[paged]string // names of receivers
	some      bool             // whether any alert has been written
	parsed    []tocsin.Label
	out       []byte
	clock     clockText
}

func (s *Server) listing(ctx context.Context, q amQuery) *listing {
	return &listing{s: s, ctx: ctx, q: q, now: s.Now(), receivers: map[paged]string{}}
}

// A chunk is some alerts as they were read, each with its receiver.
type chunk struct {
	rows      []store.RawAlert
	receivers []string
	more      bool
	err       error
}

// ahead returns what writes the next alerts into l.out while those behind them are being read already. stop ends the reading.
func (l *listing) ahead() (next func() (more bool, err error), stop func()) {
	if l.q.nothing {
		return func() (bool, error) { return false, nil }, func() {}
	}
	ctx, cancel := context.WithCancel(l.ctx)
	l.ctx = ctx
	chunks := make(chan chunk)
	var reader sync.WaitGroup
	reader.Go(func() {
		for most := amFirst; ; most = min(2*most, amChunk) {
			c := l.read(most)
			select {
			case chunks <- c:
			case <-ctx.Done():
				return
			}
			if !c.more || c.err != nil {
				return
			}
		}
	})
	next = func() (bool, error) {
		select {
		case c := <-chunks:
			l.write(c)
			return c.more, c.err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return next, func() {
		cancel()
		reader.Wait()
	}
}

// read returns the next most alerts that the index finds.
func (l *listing) read(most int) (c chunk) {
	f := l.q.index
	f.After, f.Limit = l.after, most
	if l.after > 0 {
		c.rows = make([]store.RawAlert, 0, most) // it goes on, so there are many
	}
	c.err = l.s.view(l.ctx, func(tx *store.Tx) error {
		for a, err := range tx.RawAlerts(f) {
			if err != nil {
				return err
			}
			c.rows = append(c.rows, a)
		}
		return nil
	})
	l.learn(&c)
	if c.err != nil || len(c.rows) == 0 {
		return c
	}
	l.refresh(c.rows)
	l.after, c.more = c.rows[len(c.rows)-1].ID, len(c.rows) == most
	return c
}

// knownReceivers bounds how many names a listing remembers.
const knownReceivers = 20_000

// learn finds out which escalations the incidents of the rows are paged by.
func (l *listing) learn(c *chunk) {
	if len(l.receivers) > knownReceivers {
		clear(l.receivers)
	}
	c.receivers = make([]string, len(c.rows))
	for n := range c.rows {
		row := &c.rows[n]
		if row.Incident == 0 {
			c.receivers[n] = receiverName("")
			continue
		}
		by := paged{row.Escalation, row.Team, row.Service}
		name, known := l.receivers[by]
		if !known {
			name = receiverName(l.s.Receiving(tocsin.Incident{ID: row.Incident, Escalation: by.escalation, Team: by.team, Service: by.service}))
			l.receivers[by] = name
		}
		c.receivers[n] = name
	}
}

// paged is what decides by which escalation an incident is paged.
type paged struct{ escalation, team, service string }

// refresh takes in what repeats said that the store does not know yet.
func (l *listing) refresh(rows []store.RawAlert) {
	if l.s.Live == nil {
		return
	}
	ids := make([]int64, len(rows))
	for n := range rows {
		ids[n] = rows[n].ID
	}
	l.s.Live.Touched(ids, func(place int, lastAt, endsAt time.Time) {
		rows[place].LastAt, rows[place].EndsAt = lastAt, endsAt
	})
}

// write adds the alerts of a chunk that are wanted.
func (l *listing) write(c chunk) {
	for n := range c.rows {
		l.add(&c.rows[n], c.receivers[n])
	}
}

// A grouping writes the firing alerts of one open incident after the other.
type grouping struct {
	*listing
	waiting []tocsin.Incident // the next ones, newest first
	before  int64             // the last incident that was read
	current int64             // the incident under way; 0: none
	room    int               // how many of its alerts are read at once
	head    []byte            // what stands before its first alert; empty once that is written
	groups  bool              // whether any group has been written
}

// groupsAtOnce is how many incidents are read at once.
const groupsAtOnce = 64

// groupRoom is how many alerts of an incident are read at once where it has few.
const groupRoom = 32

// next writes some of the alerts of the incident under way, or begins the next one.
func (g *grouping) next() (more bool, err error) {
	if g.q.nothing {
		return false, nil
	}
	if g.current == 0 {
		return g.begin()
	}
	g.some = len(g.head) == 0
	before := len(g.out)
	g.out = append(g.out, g.head...)
	c := g.read(g.room)
	if c.err != nil {
		return false, c.err
	}
	g.write(c)
	if g.some {
		g.head, g.groups = g.head[:0], true
	} else {
		g.out = g.out[:before]
	}
	if !c.more {
		if g.some {
			g.out = append(g.out, "]}"...)
		}
		g.current = 0
	}
	return true, nil
}

// begin makes the next incident that is wanted the one under way; it is false when there is none.
func (g *grouping) begin() (bool, error) {
	if len(g.waiting) == 0 {
		f := store.IncidentFilter{States: []tocsin.IncidentState{tocsin.Triggered, tocsin.Acked}, Before: g.before, Limit: groupsAtOnce}
		err := g.s.view(g.ctx, func(tx *store.Tx) (err error) {
			g.waiting, err = tx.Incidents(f)
			return err
		})
		if err != nil || len(g.waiting) == 0 {
			return false, err
		}
	}
	i := g.waiting[0]
	g.waiting, g.before = g.waiting[1:], i.ID
	name := receiverName(g.s.Receiving(i))
	if g.q.receiver != nil && !g.q.receiver.MatchString(name) {
		return true, nil
	}
	labels, err := json.Marshal(i.Labels)
	if err != nil {
		return false, fmt.Errorf("labels of incident %s: %w", tocsin.IncidentID(i.ID), err)
	}
	b := g.head[:0]
	if g.groups {
		b = append(b, ',')
	}
	b = append(b, `{"labels":`...)
	b = append(b, labels...)
	b = append(b, `,"routeLabels":{},"receiver":{"name":`...)
	b = appendText(b, name)
	g.head = append(b, `},"alerts":[`...)
	g.current, g.after, g.room = i.ID, 0, min(max(i.Open+1, groupRoom), amChunk)
	// The incident's own index finds fewer than those of the filter.
	g.q.index = store.AlertFilter{Status: tocsin.Firing, Incident: i.ID}
	g.receivers = map[paged]string{{i.Escalation, i.Team, i.Service}: name}
	return true, nil
}

// receiverName is what Alertmanager's clients are told where nobody says an escalation: a receiver always has a name.
func receiverName(escalation string) string {
	if escalation == "" {
		return "default"
	}
	return escalation
}

// add writes one alert if it is wanted.
func (l *listing) add(a *store.RawAlert, receiver string) {
	labels, print := scanLabels(l.parsed[:0], a.Labels)
	l.parsed = labels
	get := func(name string) string { return tocsin.Labels(labels).Get(name) }
	if !l.q.matches(a.Source, get) {
		return
	}
	if l.q.receiver != nil && !l.q.receiver.MatchString(receiver) {
		return
	}
	ends := a.EndsAt
	if ends.IsZero() {
		ends = l.now.Add(amResolve)
	}
	b := l.out
	if l.some {
		b = append(b, ',')
	}
	b = append(b, `{"annotations":`...)
	b = append(b, a.Annotations...)
	b = append(b, `,"endsAt":"`...)
	b = l.clock.append(b, ends)
	b = append(b, `","fingerprint":"`...)
	b = appendHex(b, print)
	b = append(b, `","receivers":[{"name":`...)
	b = appendText(b, receiver)
	b = append(b, `}],"startsAt":"`...)
	b = l.clock.append(b, a.StartsAt)
	b = append(b, `","status":{"inhibitedBy":[],"mutedBy":[],"silencedBy":[],"state":"active"},"updatedAt":"`...)
	b = l.clock.append(b, a.LastAt)
	b = append(b, '"')
	if a.URL != "" {
		b = append(b, `,"generatorURL":`...)
		b = appendText(b, a.URL)
	}
	b = append(b, `,"labels":`...)
	b = append(b, a.Labels...)
	l.out, l.some = append(b, '}'), true
}

// amStatus answers what Alertmanager's tools want to know before they talk.
func (s *Server) amStatus(w http.ResponseWriter, _ *http.Request) error {
	type version struct {
		Branch    string `json:"branch"`
		BuildDate string `json:"buildDate"`
		BuildUser string `json:"buildUser"`
		GoVersion string `json:"goVersion"`
		Revision  string `json:"revision"`
		Version   string `json:"version"`
	}
	type config struct {
		Original string `json:"original"`
	}
	type cluster struct {
		Name   string     `json:"name"`
		Peers  []struct{} `json:"peers"`
		Status string     `json:"status"`
	}
	return answer(w, struct {
		Cluster cluster `json:"cluster"`
		Config  config  `json:"config"`
		Uptime  stamp   `json:"uptime"`
		Version version `json:"versionInfo"`
	}{
		cluster{"tocsin", []struct{}{}, "disabled"},
		config{amConfig(s.receiverNames())},
		stamp(s.began),
		version{Branch: "tocsin", GoVersion: runtime.Version(), Revision: "tocsin " + s.Version, Version: amVersion},
	})
}

// receiverNames returns the escalations as receivers, the default first.
func (s *Server) receiverNames() []string {
	names := s.Receivers()
	if len(names) == 0 {
		return []string{receiverName("")}
	}
	return names
}

// amConfig is a configuration that Alertmanager's own tools can read: our escalations as its receivers. JSON strings are YAML.
func amConfig(receivers []string) string {
	var b strings.Builder
	b.WriteString("# Made by tocsin, for Alertmanager's tools: its rules stand in its own configuration.\nroute:\n  receiver: ")
	b.Write(appendText(nil, receivers[0]))
	b.WriteString("\nreceivers:\n")
	for _, name := range receivers {
		b.WriteString("  - name: ")
		b.Write(appendText(nil, name))
		b.WriteByte('\n')
	}
	return b.String()
}

// amReceivers answers the escalations.
func (s *Server) amReceivers(w http.ResponseWriter, _ *http.Request) error {
	type receiver struct {
		Name string `json:"name"`
	}
	return answer(w, each(s.receiverNames(), func(name string) receiver { return receiver{name} }))
}

// amSilences answers that there are none: silences are not in force yet.
func (s *Server) amSilences(w http.ResponseWriter, r *http.Request) error {
	_, err := amQueryOf(r)
	if err != nil {
		return amBad(w, err)
	}
	return answer(w, []struct{}{})
}

// amGone answers senders for the API before this one, which Alertmanager itself has taken away.
func (s *Server) amGone(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusGone)
	writeJSON(w, struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}{"deprecated", "The Alertmanager v1 API was deprecated in version 0.16.0 and is removed as of version 0.27.0 - please use the equivalent route in the v2 API"})
	return nil
}
