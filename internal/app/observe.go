package app

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tocsin/internal/journal/disk"
)

// meters are the metrics that belong to no part alone.
type meters struct {
	outcomes   *prometheus.CounterVec
	lost       prometheus.Counter
	unreadable prometheus.Counter
	reloads    *prometheus.CounterVec
	reloaded   prometheus.Gauge
}

// observe registers the metrics that the contract names, and those of the journal and the process.
func (a *App) observe() {
	r := a.registry
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.outcomes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_ingest_events_total", Help: "Alerts and refused requests by source and outcome; source is empty where nobody known sent them.",
	}, []string{"source", "outcome"})
	a.lost = prometheus.NewCounter(prometheus.CounterOpts{Name: "tocsin_journal_lost_records_total", Help: "Records that were gone before they could be applied."})
	a.unreadable = prometheus.NewCounter(prometheus.CounterOpts{Name: "tocsin_journal_unreadable_records_total", Help: "Records that could not be read and were passed over."})
	a.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tocsin_config_reloads_total", Help: "Reloads of the configuration by outcome: ok or refused."}, []string{"outcome"})
	a.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tocsin_config_last_reload_successful", Help: "1 while the newest configuration read is in force, 0 after one was refused."})
	a.reloaded.Set(1)
	r.MustRegister(a.outcomes, a.lost, a.unreadable, a.reloads, a.reloaded)
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("tocsin_correlate_open_alerts", "Alerts that fire now.", func() float64 { alerts, _ := a.firing(); return float64(alerts) })
	gauge("tocsin_correlate_open_incidents", "Incidents that are open now.", func() float64 { _, incidents := a.firing(); return float64(incidents) })
	gauge("tocsin_journal_lag_events", "Accepted events that have not been applied yet.", func() float64 { return float64(a.lag()) })
	count := func(name, help string, value func(disk.Stats) int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(a.journal.Stats())) }))
	}
	count("tocsin_journal_commits_total", "Writes to the journal, each made durable.", func(s disk.Stats) int64 { return s.Commits })
	count("tocsin_journal_bytes_total", "Bytes written to the journal.", func(s disk.Stats) int64 { return s.Bytes })
	count("tocsin_journal_failures_total", "Times that the journal could not make anything durable.", func(s disk.Stats) int64 { return s.Failures })
	count("tocsin_journal_damaged_spots_total", "Places where the medium had damaged the journal.", func(s disk.Stats) int64 { return s.DamagedSpots })
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"go": runtime.Version()},
	}, func() float64 { return 1 }))
}

func (a *App) firing() (alerts, incidents int64) {
	if w := a.worker.Load(); w != nil {
		return w.Firing()
	}
	return 0, 0
}

// lag returns how many accepted events the correlator has not applied. While it reads what an earlier start of the process
// accepted, it is at least the number of records that are left.
func (a *App) lag() int64 {
	_, next, err := a.journal.Bounds(partition)
	if err != nil {
		return 0
	}
	w := a.worker.Load()
	if w == nil {
		return a.intake.events.Load()
	}
	applied, offset := w.Applied()
	if offset >= next {
		return 0
	}
	return max(next-offset, a.intake.events.Load()-applied)
}

// counted is told by the doors what became of alerts and requests.
func (a *App) counted(source, outcome string, n int) {
	a.outcomes.WithLabelValues(source, outcome).Add(float64(n))
}
