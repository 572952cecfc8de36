package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tocsin/internal/store"
	"tocsin/schedules"
)

// duties is who is on call: the schedules in force, and for those that a reload changed, the ones before it until their next
// hand-over: a change of a rota moves nobody out of turn.
type duties struct {
	now  schedules.Set
	held map[string]held
}

// held is a schedule as it was, up to a time.
type held struct {
	rota  *schedules.Rota
	until time.Time
}

// rota returns the schedule that answers for t; nil: there is none of that name.
func (d *duties) rota(name string, t time.Time) *schedules.Rota {
	if h, ok := d.held[name]; ok && t.Before(h.until) {
		return h.rota
	}
	return d.now[name]
}

// At says who is on call.
func (d *duties) At(schedule string, t time.Time) ([]string, string) {
	if h, ok := d.held[schedule]; ok && t.Before(h.until) {
		return schedules.Set{schedule: h.rota}.At(schedule, t)
	}
	return d.now.At(schedule, t)
}

// keep lets those who were on call by was stay so until their next hand-over, as far as known still has them.
func (d *duties) keep(was *duties, t time.Time, known func(person string) bool) {
	for name, rota := range d.now {
		before := was.rota(name, t)
		if before == nil || slices.Equal(before.At(t), rota.At(t)) {
			continue
		}
		c := before.OnCall(t)
		if c.Until.IsZero() || len(c.People) == 0 || slices.ContainsFunc(c.People, func(p string) bool { return !known(p) }) {
			continue // there is no hand-over to wait for, or nobody to keep
		}
		if d.held == nil {
			d.held = map[string]held{}
		}
		d.held[name] = held{before, c.Until}
	}
}

// tellMoved tells those whom a reload put on call, or took off, at once.
func (a *App) tellMoved(ctx context.Context, was, is *setup) error {
	t := a.clock.Now()
	return a.office.do(ctx, store.Commands, 0, func(turn *turn) error {
		for _, name := range slices.Sorted(keys(is.rotas.now)) {
			before, now := was.rotas.rota(name, t), is.rotas.rota(name, t)
			if before == nil {
				continue
			}
			had, have := before.At(t), now.At(t)
			for _, p := range have {
				if !slices.Contains(had, p) {
					turn.notify([]string{p}, about{}, fmt.Sprintf("You are on call for %s from now on: the configuration was changed.", name))
				}
			}
			for _, p := range had {
				if !slices.Contains(have, p) {
					turn.notify([]string{p}, about{}, fmt.Sprintf("You are not on call for %s any more: the configuration was changed.", name))
				}
			}
		}
		return nil
	})
}
