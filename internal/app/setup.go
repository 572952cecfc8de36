package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin"
	"tocsin/config"
	"tocsin/ingest"
	"tocsin/ingest/webhook"
	"tocsin/internal/api"
	"tocsin/internal/store"
	"tocsin/paging"
	"tocsin/paging/sandbox"
	"tocsin/paging/sendgrid"
	"tocsin/paging/smtp"
	"tocsin/paging/twilio"
	"tocsin/schedules"
)

// A setup is what one configuration file says, made ready. It never changes: a reload makes another one.
type setup struct {
	file      *config.Config // only what kept keeps
	rules     []byte         // the rule set as it is kept in the database
	hash      string
	plan      *paging.Plan
	rotas     *duties
	sources   []ingest.Source
	channels  map[string][]paging.Provider
	callbacks map[string]any  // by provider: *twilio.Provider, *sendgrid.Provider
	canReply  map[string]bool // by channel: whether an answer to a message finds its way back
	tokens    []api.Token
	public    string
	sandbox   bool
}

// build makes a setup of c, or says every mistake that config could not see.
func (a *App) build(c *config.Config) (*setup, error) {
	s := &setup{file: kept(c), public: c.Server.PublicURL, callbacks: map[string]any{}, canReply: map[string]bool{}}
	var errs []error
	rs := ruleSet(c)
	_, err := rs.Compile()
	errs = append(errs, err)
	s.hash, s.rules, err = rs.Hash()
	errs = append(errs, err)
	set, err := rotas(c)
	errs = append(errs, err)
	s.rotas = &duties{now: set}
	s.sources, err = sources(c)
	errs = append(errs, err)
	errs = append(errs, s.providers(c, &keeper{a.db}))
	s.plan = plan(c, s)
	errs = append(errs, s.plan.Validate(func(name string) bool { return s.rotas.now[name] != nil }))
	for _, t := range c.Access.Tokens {
		s.tokens = append(s.tokens, api.Token{Name: t.Name, Role: t.Role, Hash: ingest.HashToken(t.Token)})
	}
	return s, errors.Join(errs...)
}

// kept is the part of c that is looked up in it later. People, teams and what belongs to them are in the plan, and the rest may go: of
// an installation with ten thousand people it is tens of megabytes.
func kept(c *config.Config) *config.Config {
	return &config.Config{Server: c.Server, Storage: c.Storage, Sources: c.Sources, Majors: c.Majors, Providers: c.Providers}
}

func rotas(c *config.Config) (schedules.Set, error) {
	set := schedules.Set{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Schedules)) {
		x := c.Schedules[name]
		s := schedules.Schedule{Name: name, Zone: x.TimeZone}
		if x.Fallback.Name != "" {
			s.Fallback = x.Fallback.String()
		}
		for _, l := range x.Layers {
			layer := schedules.Layer{Name: l.Name, Rotation: l.Rotation, Shift: time.Duration(l.Shift), Start: l.Start, Zone: l.TimeZone}
			for _, span := range l.Only {
				layer.Only = append(layer.Only, span.Said)
			}
			s.Layers = append(s.Layers, layer)
		}
		rota, err := schedules.New(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("schedules.%s: %w", name, err))
			continue
		}
		set[name] = rota
	}
	return set, errors.Join(errs...)
}

// sources are the senders whose doors exist; the others are named as not in force.
func sources(c *config.Config) ([]ingest.Source, error) {
	var out []ingest.Source
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		x := c.Sources[name]
		s := ingest.Source{Name: name, Kind: ingest.Kind(x.Kind), Labels: tocsin.NewLabels(x.Labels), Severity: x.Severity}
		if x.Token != "" {
			s.Tokens = []ingest.Token{ingest.HashToken(x.Token)}
		}
		switch x.Kind {
		case config.KindAlertmanager:
			for _, g := range x.Grants {
				s.Grants = append(s.Grants, ingest.Grant(g))
			}
		case config.KindPagerDuty:
			for _, k := range x.Keys {
				s.Keys = append(s.Keys, ingest.RoutingKey{Hash: ingest.HashToken(k.Key), Labels: tocsin.NewLabels(k.Labels)})
			}
		case config.KindJSON:
			m := x.Map
			p, err := webhook.Compile(webhook.Mapping{
				Key: m.Key, Status: m.Status, Severity: m.Severity, Summary: m.Summary, About: m.About, URL: m.URL, Each: m.Each, StartsAt: m.StartsAt,
				Labels: m.Labels, Annotations: m.Annotations,
			})
			if err != nil {
				errs = append(errs, fmt.Errorf("sources.%s.map: %w", name, err))
			}
			s.Parser = p
		default:
			continue
		}
		out = append(out, s)
	}
	return out, errors.Join(errs...)
}

// providers makes the ways out, and orders them by channel.
func (s *setup) providers(c *config.Config, k sandbox.Keeper) error {
	senders := map[string]paging.Sender{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		sender, err := s.provider(name, c.Providers[name], k)
		if err != nil {
			errs = append(errs, fmt.Errorf("providers.%s: %w", name, err))
			continue
		}
		senders[name] = sender
	}
	s.channels = map[string][]paging.Provider{}
	for channel, names := range c.Channels {
		for _, name := range names {
			if senders[name] == nil {
				continue
			}
			s.channels[channel] = append(s.channels[channel], paging.Provider{Name: name, Sender: senders[name]})
		}
	}
	s.canReply[paging.Email] = true // by its link
	return errors.Join(errs...)
}

func (s *setup) provider(name string, p config.Provider, k sandbox.Keeper) (paging.Sender, error) {
	switch p.Kind {
	case config.KindTwilio:
		t, err := twilio.New(twilio.Account{SID: p.AccountSID, Token: p.AuthToken, From: p.From, Service: p.MessagingServiceSID},
			twilio.Options{Name: name, PublicURL: s.public, BaseURL: p.BaseURL})
		s.callbacks[name] = t
		s.canReply[paging.SMS], s.canReply[paging.Voice] = true, true
		return t, err
	case config.KindSendGrid:
		g, err := sendgrid.New(p.APIKey, p.From, sendgrid.Options{FromName: "tocsin", BaseURL: p.BaseURL, PublicKey: p.PublicKey})
		s.callbacks[name] = g
		return g, err
	case config.KindSMTP:
		return smtp.New(p.Address, p.From, smtp.Options{FromName: "tocsin", TLS: p.TLS, Username: p.Username, Password: p.Password})
	case config.KindSandbox:
		s.sandbox = true
		s.canReply[paging.SMS], s.canReply[paging.Voice] = true, true
		return sandbox.New(k)
	}
	return nil, fmt.Errorf("kind %s is not known", p.Kind)
}

// keeper keeps what the sandbox would have sent, for the console's outbox.
type keeper struct{ db store.DB }

// Keep keeps one message.
func (k *keeper) Keep(ctx context.Context, e sandbox.Entry) error {
	return k.db.Update(ctx, store.Paging, func(tx *store.Tx) error {
		_, err := tx.AddSandbox(store.SandboxMessage{
			Page: e.Page, Channel: e.Channel, To: e.To, Person: e.Person, Subject: e.Subject, Text: e.Text, Link: e.Link, At: e.At,
		})
		return err
	})
}

func plan(c *config.Config, s *setup) *paging.Plan {
	p := &paging.Plan{
		Escalations: map[string]paging.Escalation{}, Default: c.Defaults.Escalation, OnCall: s.rotas, NewID: newID,
		People: map[string]tocsin.Person{}, Teams: map[string]paging.Team{}, Owners: map[string]string{},
		Notify:   map[tocsin.Urgency][]paging.NotifyStep{tocsin.UrgencyHigh: notify(c.Notify.High), tocsin.UrgencyLow: notify(c.Notify.Low)},
		Channels: slices.Sorted(maps.Keys(s.channels)),
	}
	for name, e := range c.Escalations {
		x := paging.Escalation{Name: name, Repeat: e.Repeat, Then: e.Then}
		for _, step := range e.Steps {
			y := paging.Step{EscalateAfter: time.Duration(step.EscalateAfter)}
			for _, t := range step.Page {
				y.Page = append(y.Page, paging.Target(t.String()))
			}
			x.Steps = append(x.Steps, y)
		}
		p.Escalations[name] = x
	}
	for name, x := range c.People {
		p.People[name] = x.Person
	}
	for name, t := range c.Teams {
		p.Teams[name] = paging.Team{Members: t.Members, Escalation: t.Escalation}
	}
	for name, x := range c.Services {
		p.Owners[name] = x.Owner
	}
	return p
}

func notify(steps []config.NotifyStep) []paging.NotifyStep {
	out := make([]paging.NotifyStep, len(steps))
	for i, s := range steps {
		out[i] = paging.NotifyStep{After: time.Duration(s.After), By: s.By}
	}
	return out
}
