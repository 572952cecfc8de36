package main

import (
	"strconv"
	"time"
)

// A stream makes the bodies of one run. Alert n carries the marker "bid-n-", so that what leaves a server can be matched to
// what went in.
type stream struct {
	run      string // alerts of different runs are different alerts
	groups   int64  // values of the label that alerts are grouped by; 0: each alert its own
	teams    bool   // alert n belongs to team t<n>
	names    int64  // different alertnames; 0: one
	clusters int64  // each 64 alerts in turn are of one of so many clusters; 0: all of one
	mixed    bool   // each alert in turn is of another cluster
	resolved bool
	starts   string // RFC 3339
	key      string // PagerDuty's routing key
	one      func(b []byte, s *stream, ends []byte, n int64) []byte
	list     bool // several alerts fit in a body
}

// ttl is how long after each send an alert would end by itself, so that none does in a run.
const ttl = 3 * time.Hour

// prometheus returns a stream of alerts as kube-prometheus sends them: 11 labels, 3 annotations, about 880 bytes.
func prometheus(run string, groups int64) *stream {
	return &stream{run: run, groups: groups, starts: time.Now().UTC().Format(time.RFC3339Nano), one: appendPrometheus, list: true}
}

// events returns a stream of PagerDuty events, about 500 bytes each.
func events(run string, groups int64) *stream {
	return &stream{run: run, groups: groups, key: routingKey, one: appendEvent}
}

// over returns the same alerts, resolved.
func (s *stream) over() *stream {
	o := *s
	o.resolved = true
	return &o
}

func (s *stream) group(n int64) int64 {
	if s.groups <= 0 {
		return n
	}
	return n % s.groups
}

func (s *stream) cluster(n int64) int64 {
	if s.clusters <= 0 {
		return 1
	}
	if s.mixed {
		return n % s.clusters
	}
	return n / 64 % s.clusters
}

// body appends the body of a request with these alerts, sent at now: as Prometheus does, each send moves the end on.
func (s *stream) body(b []byte, now time.Time, ns []int64) []byte {
	var buf [len(time.RFC3339Nano)]byte
	ends := now.Add(ttl)
	if s.resolved {
		ends = now
	}
	end := ends.UTC().AppendFormat(buf[:0], "2006-01-02T15:04:05.000Z07:00")
	if !s.list {
		return s.one(b, s, end, ns[0])
	}
	b = append(b, '[')
	for i, n := range ns {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.one(b, s, end, n)
	}
	return append(b, ']')
}

func appendPrometheus(b []byte, s *stream, ends []byte, n int64) []byte {
	b = append(b, `{"labels":{"alertname":"KubePodCrashLooping`...)
	if s.names > 0 {
		b = strconv.AppendInt(b, n%s.names, 10)
	}
	b = append(b, `","cluster":"prod-eu-west-`...)
	b = strconv.AppendInt(b, s.cluster(n), 10)
	b = append(b, `","namespace":"payments-`...)
	b = strconv.AppendInt(b, s.group(n), 10)
	b = append(b, `","pod":"checkout-7d9c5b6f4-bid-`...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `-x","container":"checkout","instance":"node-`...)
	b = strconv.AppendInt(b, n%1000, 10)
	b = append(b, `.example.com:8080","job":"kube-state-metrics","severity":"critical","team":"`...)
	if s.teams {
		b = strconv.AppendInt(append(b, 't'), n, 10)
	} else {
		b = append(b, "payments"...)
	}
	b = append(b, `","prometheus":"monitoring/k8s","run":"`...)
	b = append(b, s.run...)
	b = append(b, `"},"annotations":{"summary":"Pod is crash looping.","description":"Pod payments/checkout-7d9c5b6f4 (checkout) is in waiting state (reason: \"CrashLoopBackOff\") on cluster prod-eu-west-1, restarted 7 times in the last 10 minutes.","runbook_url":"https://runbooks.example.com/kubernetes/kubepodcrashlooping"},"startsAt":"`...)
	b = append(b, s.starts...)
	b = append(b, `","endsAt":"`...)
	b = append(b, ends...)
	return append(b, `","generatorURL":"http://prometheus.example.com/graph?g0.expr=max_over_time%28kube_pod_container_status_waiting_reason%7Breason%3D%22CrashLoopBackOff%22%7D%5B5m%5D%29+%3E%3D+1&g0.tab=1"}`...)
}

func appendEvent(b []byte, s *stream, _ []byte, n int64) []byte {
	action := "trigger"
	if s.resolved {
		action = "resolve"
	}
	b = append(b, `{"routing_key":"`...)
	b = append(b, s.key...)
	b = append(b, `","event_action":"`...)
	b = append(b, action...)
	b = append(b, `","dedup_key":"`...)
	b = append(b, s.run...)
	b = append(b, `/bid-`...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `-","client":"bench","payload":{"summary":"Pod is crash looping bid-`...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `-","source":"node-`...)
	b = strconv.AppendInt(b, n%1000, 10)
	b = append(b, `.example.com","severity":"critical","component":"checkout","group":"payments-`...)
	b = strconv.AppendInt(b, s.group(n), 10)
	return append(b, `","class":"crashloop","custom_details":{"cluster":"prod-eu-west-1","container":"checkout","job":"kube-state-metrics","team":"payments","reason":"CrashLoopBackOff","restarts":7,"runbook_url":"https://runbooks.example.com/kubernetes/kubepodcrashlooping"}}}`...)
}

// markers calls f for each marker "bid-n-" in b.
func markers(b []byte, f func(n int64)) { numbers(b, "bid-", f) }

// numbers calls f for each decimal number behind prefix in b.
func numbers(b []byte, prefix string, f func(n int64)) {
	for i := 0; i+len(prefix) < len(b); i++ {
		if b[i] != prefix[0] || string(b[i:i+len(prefix)]) != prefix {
			continue
		}
		var n int64
		from := i + len(prefix)
		to := from
		for ; to < len(b) && b[to] >= '0' && b[to] <= '9' && to < from+18; to++ {
			n = n*10 + int64(b[to]-'0')
		}
		if to > from {
			f(n)
		}
		i = to - 1
	}
}
