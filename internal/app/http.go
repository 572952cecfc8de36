package app

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"tocsin"
	"tocsin/config"
	"tocsin/correlate"
	"tocsin/ingest"
	"tocsin/internal/api"
)

// serveHTTP joins everything that is answered by HTTP; it listens nowhere yet.
func (a *App) serveHTTP(*config.Config) error {
	receiver, err := ingest.NewReceiver(a.sources, a.intake, ingest.Options{Observe: a.counted, Log: a.log})
	if err != nil {
		return err
	}
	pages, login, err := a.console()
	if err != nil {
		return err
	}
	a.api, err = api.New(api.Options{
		DB: a.changes, Desk: a.office, Receiver: receiver, Sources: a.sources,
		Tokens:    func() []api.Token { return a.setup.Load().tokens },
		PublicURL: func() string { return a.setup.Load().public },
		Callbacks: func() map[string]any { return a.setup.Load().callbacks },
		Receivers: a.receivers,
		Receiving: a.receiving,
		Live:      a,
		Ready:     a.ready,
		Console:   pages, LoginPage: login,
		Reload:   func() error { return a.Reload(context.Background()) },
		Operator: operator{a},
		Registry: a.registry, Version: Version(), Log: a.log,
	})
	return err
}

// receivers are the names of the escalations, the default one first.
func (a *App) receivers() []string {
	p := a.setup.Load().plan
	names := []string{p.Default}
	for _, name := range slices.Sorted(keys(p.Escalations)) {
		if name != p.Default {
			names = append(names, name)
		}
	}
	return names
}

// receiving is the escalation that i is paged by.
func (a *App) receiving(i tocsin.Incident) string {
	name, _ := a.setup.Load().plan.Choose(i.Escalation, i.Team, i.Service)
	return name
}

// Touched says what repeats said since their rows were written.
func (a *App) Touched(ids []int64, seen func(place int, lastAt, endsAt time.Time)) {
	ctx, cancel := context.WithTimeout(context.Background(), peekWait)
	defer cancel()
	for _, h := range a.holds.all() {
		if w := h.worker.Load(); w != nil {
			_ = w.Peek(ctx, func(d *correlate.Domain) { d.Seen(ids, seen) }) // without it the rows are some seconds old
		}
	}
}

// peekWait bounds how long a listing waits for the correlator to look something up.
const peekWait = 200 * time.Millisecond

// ready says how the parts are.
func (a *App) ready() api.Readiness {
	r := api.Readiness{Doors: "ok", Correlate: "ok", Paging: "ok"}
	err := a.journal.Health()
	if err != nil {
		a.log.Warn("journal cannot write", "error", err)
		r.Doors = "sick"
	}
	if !a.holds.whole() {
		r.Correlate = "loading"
	}
	return r
}

// Version is what this program was built as.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
