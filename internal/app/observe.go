package app

import (
	"math"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tocsin/internal/journal/disk"
	"tocsin/internal/journal/kafka"
)

// meters are the metrics that belong to no part alone.
type meters struct {
	outcomes   *prometheus.CounterVec
	lost       prometheus.Counter
	unreadable prometheus.Counter
	fenced     prometheus.Counter
	letters    *prometheus.CounterVec
	broken     *prometheus.CounterVec
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
	a.fenced = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tocsin_correlate_fenced_total", Help: "Writes that were refused because another node has the partition now.",
	})
	a.letters = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_journal_dead_letters_total", Help: "Records that could not be applied, by what was done with them: buried, redriven, dropped.",
	}, []string{"outcome"})
	a.broken = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_correlate_stops_total", Help: "Times that a partition could not be applied for a reason other than a change of its owner.",
	}, []string{"partition"})
	a.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tocsin_config_reloads_total", Help: "Reloads of the configuration by outcome: ok or refused."}, []string{"outcome"})
	a.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tocsin_config_last_reload_successful", Help: "1 while the newest configuration read is in force, 0 after one was refused."})
	a.reloaded.Set(1)
	r.MustRegister(a.outcomes, a.lost, a.unreadable, a.fenced, a.letters, a.broken, a.reloads, a.reloaded)
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"go": runtime.Version()},
	}, func() float64 { return 1 }))
}

// watchStorage registers what is known of the journal and of the correlators, once there are any.
func (a *App) watchStorage() {
	r := a.registry
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("tocsin_correlate_open_alerts", "Alerts that fire now, in the partitions of this node.", func() float64 { alerts, _ := a.firing(); return float64(alerts) })
	gauge("tocsin_correlate_open_incidents", "Incidents that are open now, in the partitions of this node.", func() float64 { _, incidents := a.firing(); return float64(incidents) })
	gauge("tocsin_correlate_partitions", "Partitions that this node works on.", func() float64 { return float64(len(a.holds.all())) })
	gauge("tocsin_journal_lag_events", "Accepted events that have not been applied yet, in the partitions of this node.", func() float64 { return float64(a.lag()) })
	if a.kafka != nil {
		a.watchKafka()
		return
	}
	count := func(name, help string, value func(disk.Stats) int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(a.disk.Stats())) }))
	}
	count("tocsin_journal_commits_total", "Writes to the journal, each made durable.", func(s disk.Stats) int64 { return s.Commits })
	count("tocsin_journal_bytes_total", "Bytes written to the journal.", func(s disk.Stats) int64 { return s.Bytes })
	count("tocsin_journal_failures_total", "Times that the journal could not make anything durable.", func(s disk.Stats) int64 { return s.Failures })
	count("tocsin_journal_damaged_spots_total", "Places where the medium had damaged the journal.", func(s disk.Stats) int64 { return s.DamagedSpots })
}

// watchKafka registers what the journal on Kafka counts.
func (a *App) watchKafka() {
	count := func(name, help string, value func(kafka.Stats) int64) {
		a.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(a.kafka.Stats())) }))
	}
	count("tocsin_journal_commits_total", "Writes to the journal, each made durable.", func(s kafka.Stats) int64 { return s.Flushes })
	count("tocsin_journal_bytes_total", "Bytes written to the journal.", func(s kafka.Stats) int64 { return s.Bytes })
	count("tocsin_journal_failures_total", "Times that the journal could not make anything durable.", func(s kafka.Stats) int64 { return s.Failures })
	count("tocsin_kafka_request_errors_total", "Batches that a produce request did not write; each is tried again while there is time.", func(s kafka.Stats) int64 { return s.RequestErrors })
	count("tocsin_kafka_fetch_errors_total", "Fetch requests that failed.", func(s kafka.Stats) int64 { return s.FetchErrors })
	count("tocsin_kafka_rebalances_total", "Times that the partitions were shared out anew.", func(s kafka.Stats) int64 { return s.Rebalances })
	a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_kafka_foreign_partitions", Help: "Partitions of the topic that the state does not know: they stay unused.",
	}, func() float64 { return float64(a.kafka.Foreign()) }))
	a.backlog = a.newBacklog()
	a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_journal_retention_spent_ratio", Help: "How much of the topic's retention the oldest record that is not applied has used up, in the partition where it is most: from 0.5 on it is an alarm, at 1 records may be lost.",
	}, func() float64 { return math.Float64frombits(a.backlog.worst.Load()) }))
}

func (a *App) firing() (alerts, incidents int64) {
	for _, h := range a.holds.all() {
		if w := h.worker.Load(); w != nil {
			x, y := w.Firing()
			alerts, incidents = alerts+x, incidents+y
		}
	}
	return alerts, incidents
}

// lag returns how many accepted events the correlators of this node have not applied. While they read what others accepted, or an
// earlier start of the process, it is at least the number of records that are left.
func (a *App) lag() int64 {
	left, applied, loading := int64(0), int64(0), false
	for _, h := range a.holds.all() {
		offset := h.part.NextOffset
		w := h.worker.Load()
		if w != nil {
			var n int64
			n, offset = w.Applied()
			applied += n
		}
		loading = loading || w == nil
		left += a.behind(h.part.Partition, offset)
	}
	if a.disk == nil || left == 0 && !loading {
		return left
	}
	return max(left, a.intake.events.Load()-applied)
}

// counted is told by the doors what became of alerts and requests.
func (a *App) counted(source, outcome string, n int) {
	a.outcomes.WithLabelValues(source, outcome).Add(float64(n))
}
