package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"tocsin/internal/client"
)

// A tempest sends the alerts of a cascade when they are due, and remembers when what was reached.
type tempest struct {
	blows []blow
	door  *client.Client
	rate  int // alerts a second; 0: only what is due
	say   func(format string, args ...any)

	began     time.Time
	begun     int // of blows, from the first
	again     int // the place in blows that is repeated next
	sent      int
	refused   int
	why       string // the first refusal
	posts     int
	took      time.Duration
	slowest   time.Duration
	hosts     map[string]bool
	services  map[string]bool
	hostAt    []time.Time // when the POST went out that made it n+1 hosts
	serviceAt []time.Time // ... services
}

func newTempest(blows []blow, door *client.Client, rate int, say func(string, ...any)) *tempest {
	return &tempest{blows: blows, door: door, rate: rate, say: say, hosts: map[string]bool{}, services: map[string]bool{}}
}

const (
	beat   = 50 * time.Millisecond // what is due together goes together
	report = 2 * time.Second       // between two lines of progress
)

// blow sends the whole cascade, and repeats until over where a rate asks for more.
func (t *tempest) blow(ctx context.Context, over time.Duration) error {
	t.began = time.Now()
	defer func() { t.took = time.Since(t.began) }()
	reported := t.began
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for {
		at := time.Since(t.began)
		err := t.due(ctx, at)
		if err != nil {
			return err
		}
		err = t.repeat(ctx, min(at, over))
		if err != nil {
			return err
		}
		if t.begun == len(t.blows) && (t.rate == 0 || at >= over) {
			return nil
		}
		if time.Since(reported) >= report {
			reported = time.Now()
			t.say("%5.1fs  %d of %d alerts, %s, %s", at.Seconds(), t.begun, len(t.blows), count(len(t.hosts), "host"), count(len(t.services), "service"))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// due sends all that has begun by now.
func (t *tempest) due(ctx context.Context, at time.Duration) error {
	for t.begun < len(t.blows) && t.blows[t.begun].After <= at {
		end := t.begun
		for end < len(t.blows) && end-t.begun < maxBatch && t.blows[end].After <= at {
			end++
		}
		began := time.Now()
		err := t.post(ctx, t.blows[t.begun:end], time.Time{})
		if err != nil {
			return err
		}
		for _, b := range t.blows[t.begun:end] {
			t.count(b, began)
		}
		t.begun = end
	}
	return nil
}

// repeat fills up with what fires already, until as many were sent as the rate asks for by now.
func (t *tempest) repeat(ctx context.Context, at time.Duration) error {
	owed := int(at.Seconds()*float64(t.rate)) - t.sent
	for owed > 0 && t.begun > 0 {
		t.again %= t.begun
		end := min(t.begun, t.again+maxBatch, t.again+owed)
		err := t.post(ctx, t.blows[t.again:end], time.Time{})
		if err != nil {
			return err
		}
		owed -= end - t.again
		t.again = end
	}
	return nil
}

// calm ends all alerts, the newest first.
func (t *tempest) calm(ctx context.Context) error {
	t.say("ending %s", count(t.begun, "alert"))
	for end := t.begun; end > 0; end -= maxBatch {
		err := t.post(ctx, t.blows[max(0, end-maxBatch):end], time.Now().UTC())
		if err != nil {
			return err
		}
	}
	return nil
}

// post sends some alerts at once, as ended where ended is not zero.
func (t *tempest) post(ctx context.Context, blows []blow, ended time.Time) error {
	batch := make([]json.RawMessage, len(blows))
	for i, b := range blows {
		a := b.Alert
		a.StartsAt, a.EndsAt = t.began.Add(b.After).UTC(), ended
		raw, err := json.Marshal(a)
		if err != nil {
			return err
		}
		batch[i] = raw
	}
	began := time.Now()
	r, err := patiently(ctx, func() (client.Receipt, error) { return t.door.SendAlerts(ctx, batch, false) })
	if err != nil {
		return err
	}
	t.slowest = max(t.slowest, time.Since(began))
	t.posts++
	t.sent += r.Accepted
	t.refused += r.Refused
	if t.why == "" {
		t.why = r.Detail
	}
	return nil
}

// count notes what an alert adds to the measures of its region.
func (t *tempest) count(b blow, at time.Time) {
	if h := b.Alert.Labels["host"]; h != "" && !t.hosts[h] {
		t.hosts[h] = true
		t.hostAt = append(t.hostAt, at)
	}
	if s := b.Alert.Labels["service"]; s != "" && !t.services[s] {
		t.services[s] = true
		t.serviceAt = append(t.serviceAt, at)
	}
}

// threshold says when the alert went out by which the storm reached what m's rule asks for, and what that was. It is not known
// where another measure decided, or alerts that are not of this storm.
func (t *tempest) threshold(m client.Major) (reached time.Time, reason string, known bool) {
	for _, x := range []struct {
		limit, was int
		at         []time.Time
		what       string
	}{{m.Limits.Hosts, m.Measures.Hosts, t.hostAt, "host"}, {m.Limits.Services, m.Measures.Services, t.serviceAt, "service"}} {
		if x.limit == 0 || x.was < x.limit || len(x.at) < x.limit {
			continue
		}
		if at := x.at[x.limit-1]; !known || at.Before(reached) {
			reached, reason, known = at, count(x.limit, x.what), true
		}
	}
	return reached, reason, known
}

// A lookout waits for the major that a storm leads to.
type lookout struct {
	desk   *client.Client
	region string
	known  map[string]bool
	open   []string // majors that were open before the storm
	found  *client.Major
	seenAt time.Time // when the API showed it
}

const (
	glance  = 20 * time.Millisecond // between two looks
	looksAt = 100                   // of the newest majors
)

// begin notes what is there already.
func (l *lookout) begin(ctx context.Context) error {
	list, err := l.desk.Majors(ctx, client.Filter{Limit: looksAt})
	if err != nil {
		return err
	}
	l.known = map[string]bool{}
	for _, m := range list.Items {
		l.known[m.ID] = true
		if m.State == "proposed" || m.State == "confirmed" {
			l.open = append(l.open, m.ID)
		}
	}
	return nil
}

// look waits until there is a new major of the region, or for so long after over.
func (l *lookout) look(ctx context.Context, over <-chan struct{}, wait time.Duration) error {
	var late <-chan time.Time
	ticks := time.NewTicker(glance)
	defer ticks.Stop()
	for {
		list, err := l.desk.Majors(ctx, client.Filter{Limit: looksAt})
		if err != nil && !errors.Is(err, client.ErrUnreachable) {
			return fmt.Errorf("wait for the candidate: %w", err)
		}
		for _, m := range list.Items {
			if !l.known[m.ID] && strings.EqualFold(m.Scope["region"], l.region) {
				l.found, l.seenAt = &m, time.Now()
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil // the storm ended otherwise, and says why
		case <-late:
			return nil
		case <-over:
			late, over = time.After(wait), nil
		case <-ticks.C:
		}
	}
}

// whyNot guesses why there is no candidate.
func (l *lookout) whyNot() string {
	if len(l.open) > 0 {
		return ": " + strings.Join(l.open, ", ") + " was open before, and what counts there makes no other one"
	}
	return ": does a rule under majors: have the scope region?"
}
