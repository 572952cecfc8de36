package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tocsin/internal/store"
)

// meters are the server's own metrics.
type meters struct {
	requests  *prometheus.CounterVec
	callbacks *prometheus.CounterVec
	logins    *prometheus.CounterVec
	dropped   prometheus.Counter
}

func (s *Server) register(r prometheus.Registerer) error {
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_api_requests_total", Help: "Requests by route and status, without those of senders.",
	}, []string{"route", "code"})
	s.callbacks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_api_callbacks_total", Help: "Callbacks of providers by outcome: done, forged, bad, failed, busy.",
	}, []string{"provider", "outcome"})
	s.logins = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tocsin_api_logins_total", Help: "Logins by outcome: done, refused, limited."}, []string{"outcome"})
	s.dropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "tocsin_api_streams_dropped_total", Help: "Live feeds that were ended because their reader was too slow."})
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tocsin_api_streams", Help: "Live feeds that are open."}, func() float64 { return float64(s.hub.open()) })
	var errs []error
	for _, c := range []prometheus.Collector{s.requests, s.callbacks, s.logins, s.dropped, open} {
		errs = append(errs, r.Register(c))
	}
	s.hub.dropped = s.dropped.Inc
	return errors.Join(errs...)
}

// metrics answers what Prometheus scrapes.
func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second})
}

// do makes a handler of a function that may fail. What it answers is kept by nobody on the way, and errors are logged here, once.
func (s *Server) do(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, nested := w.(*observed); nested {
			s.answer(w, r, f)
			return
		}
		began := s.Now()
		o := &observed{ResponseWriter: w}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		s.answer(o, r, f)
		if o.status == 0 {
			o.status = http.StatusOK
		}
		s.requests.WithLabelValues(r.Pattern, strconv.Itoa(o.status)).Inc()
		switch {
		case o.status < http.StatusInternalServerError, r.Context().Err() != nil: // nobody waits for it any more
		case o.status == http.StatusServiceUnavailable && o.cause == nil:
			s.Log.Warn("request put off", "route", r.Pattern, "took", s.Now().Sub(began))
		default:
			s.Log.Error("request failed", "route", r.Pattern, "status", o.status, "took", s.Now().Sub(began), "error", o.cause)
		}
	})
}

// answer runs f and answers its error.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, f func(w http.ResponseWriter, r *http.Request) error) {
	err := f(w, r)
	if err == nil {
		return
	}
	p := problemOf(err)
	if o, ok := w.(*observed); ok {
		if p.cause != nil {
			o.cause = p.cause
		}
		if o.status != 0 {
			return // too late for another answer
		}
	}
	p.write(w)
}

// An observed writer remembers the status, for the log and the metrics.
type observed struct {
	http.ResponseWriter
	status int
	cause  error
}

// WriteHeader notes the status.
func (o *observed) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write notes that an answer has begun.
func (o *observed) Write(b []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	return o.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// readWait is how long a request waits for its turn to look at the store.
const readWait = 5 * time.Second

// view looks at the store. Few may at a time, so that no crowd of readers is in the way of paging; fn must not wait for a client.
func (s *Server) view(ctx context.Context, fn func(*store.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*readWait)
	defer cancel()
	select {
	case s.reads <- struct{}{}:
	default:
		t := time.NewTimer(readWait)
		defer t.Stop()
		select {
		case s.reads <- struct{}{}:
		case <-t.C:
			return &problem{Status: http.StatusServiceUnavailable, Detail: "too many are reading at once", wait: busySeconds}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-s.reads }()
	return s.DB.View(ctx, fn)
}
