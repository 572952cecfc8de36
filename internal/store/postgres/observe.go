package postgres

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// newTries returns the counter of transactions that were begun again.
func newTries() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_store_retries_total", Help: "Transactions that were run again, by why: conflict (deadlock, serialization failure) or connection.",
	}, []string{"cause"})
}

// connections are the gauges of the pools, read when they are asked for.
type connections struct {
	pools      []*pool
	held, most *prometheus.Desc
	waited     *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *connections) Describe(to chan<- *prometheus.Desc) {
	to <- c.held
	to <- c.most
	to <- c.waited
}

// Collect implements prometheus.Collector.
func (c *connections) Collect(to chan<- prometheus.Metric) {
	for _, p := range c.pools {
		s := p.Stat()
		to <- prometheus.MustNewConstMetric(c.held, prometheus.GaugeValue, float64(s.AcquiredConns()), p.name, "busy")
		to <- prometheus.MustNewConstMetric(c.held, prometheus.GaugeValue, float64(s.IdleConns()), p.name, "idle")
		to <- prometheus.MustNewConstMetric(c.most, prometheus.GaugeValue, float64(s.MaxConns()), p.name)
		to <- prometheus.MustNewConstMetric(c.waited, prometheus.CounterValue, s.EmptyAcquireWaitTime().Seconds(), p.name)
	}
}

// register makes the metrics known.
func (db *DB) register(to prometheus.Registerer) error {
	if to == nil {
		return nil
	}
	err := to.Register(db.tries)
	if err == nil {
		err = to.Register(&connections{
			pools:  db.pools(),
			held:   prometheus.NewDesc("tocsin_store_connections", "Connections to PostgreSQL.", []string{"pool", "state"}, nil),
			most:   prometheus.NewDesc("tocsin_store_connections_limit", "Connections that a pool may have.", []string{"pool"}, nil),
			waited: prometheus.NewDesc("tocsin_store_connection_wait_seconds_total", "Time that was waited for a free connection.", []string{"pool"}, nil),
		})
	}
	if err != nil {
		return fmt.Errorf("store: metrics: %w", err)
	}
	return nil
}
