package paging

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin"
)

// An observer counts and logs what the worker does. No label holds what a sender or a person chose.
type observer struct {
	pages *prometheus.CounterVec
	late  prometheus.Histogram
	log   *slog.Logger
}

func newObserver(reg prometheus.Registerer, log *slog.Logger) (*observer, error) {
	o := &observer{
		pages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_paging_pages_total", Help: "Pages by what became of them.",
		}, []string{"channel", "outcome"}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tocsin_paging_page_delay_seconds", Help: "From when a page was due to the start of its first request.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		log: log,
	}
	if reg == nil {
		return o, nil
	}
	if err := errors.Join(reg.Register(o.pages), reg.Register(o.late)); err != nil {
		return nil, fmt.Errorf("paging: metrics: %w", err)
	}
	return o, nil
}

func (o *observer) delay(p tocsin.Page, now time.Time) {
	o.late.Observe(max(now.Sub(p.DueAt), 0).Seconds())
}

func (o *observer) attempt(p tocsin.Page, took time.Duration, err error) {
	if err == nil {
		o.log.Debug("page taken by provider", "page", p.ID, "channel", p.Channel, "provider", p.Provider, "took", took)
		return
	}
	o.log.Warn("page not taken by provider", "page", p.ID, "incident", p.Incident, "channel", p.Channel, "provider", p.Provider, "took", took, "error", err)
}

func (o *observer) lookedUp(p tocsin.Page, provider string, found bool, took time.Duration, err error) {
	o.log.Info("page of unknown outcome looked up", "page", p.ID, "channel", p.Channel, "provider", provider, "found", found, "took", took, "error", err)
}

// fate counts a page's new state; what is given back counts as again.
func (o *observer) fate(f Fate) {
	outcome := f.Page.State.String()
	if f.Page.State == tocsin.PageDue {
		outcome = "again"
	}
	o.pages.WithLabelValues(f.Page.Channel, outcome).Add(float64(1 + len(f.With)))
	if f.Page.State == tocsin.PageFailed {
		o.log.Warn("page failed", "page", f.Page.ID, "incident", f.Page.Incident, "channel", f.Page.Channel, "contact", f.Contact, "error", f.Page.Error)
	}
}

func (o *observer) failed(what string, err error) {
	o.log.Error("pager could not "+what, "error", err)
}

func (o *observer) lost(f Fate) {
	o.log.Error("page's fate not recorded; it will be looked up when its claim lapses", "page", f.Page.ID, "state", f.Page.State)
}
