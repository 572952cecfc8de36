package correlate

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"tocsin"
)

// kubeAlert is the n-th of very many alerts, with eleven labels as kube-prometheus sends: four alerts a pod, forty pods a node.
func kubeAlert(n int) tocsin.Event {
	names := [...]string{"KubePodCrashLooping", "KubePodNotReady", "KubeContainerWaiting", "CPUThrottlingHigh"}
	pod, node := n/4, n/160
	e := tocsin.Event{
		Source: "prometheus", Status: tocsin.Firing, Severity: tocsin.Warning, Word: "warning", Summary: "Pod is crash looping.",
		StartsAt: start, EndsAt: start.Add(4 * time.Minute),
		Labels: tocsin.NewLabels(map[string]string{
			"alertname": names[n%4], "cluster": "prod-eu-1", "container": "app", "endpoint": "http-metrics",
			"instance": fmt.Sprintf("10.4.%d.%d:8443", node/250, node%250), "job": "kube-state-metrics", "namespace": fmt.Sprintf("team-%d", node%50),
			"pod": fmt.Sprintf("checkout-%d-5d8f7c9b6d-%05x", node%200, pod), "prometheus": "monitoring/k8s", "service": fmt.Sprintf("checkout-%d", node%200),
			"severity": "warning",
		}),
	}
	e.Key = fmt.Sprint(n)
	e.Fingerprint = tocsin.FingerprintOf(e.Source, e.Key)
	return e
}

func benchRules() RuleSet {
	return RuleSet{
		Urgency: Urgencies{"critical": tocsin.UrgencyHigh, "warning": tocsin.UrgencyLow},
		Rules: []Rule{
			{Name: "databases", Matchers: []string{`service=~"db-.+"`}, GroupBy: []string{"service"}},
			{Name: "noise", Matchers: []string{`severity="info"`}, GroupBy: []string{"namespace"}},
			{Name: "everything", GroupBy: []string{"namespace", "service", "alertname"}},
		},
		Majors: []MajorRule{{Name: "wide", Scope: []string{"cluster"}, Window: 15 * time.Minute, Any: tocsin.Measures{Hosts: 1 << 30}, Action: "propose"}},
	}
}

func benchDomain(b *testing.B, alerts int) *Domain {
	b.Helper()
	d := NewDomain(0, 1)
	Apply(d, Record{At: start, Rules: compiled(b, benchRules())})
	for n := 0; n < alerts; n += 64 {
		r := Record{Offset: int64(n/64 + 1), At: start}
		for k := n; k < min(n+64, alerts); k++ {
			r.Events = append(r.Events, kubeAlert(k))
		}
		Apply(d, r)
		d.Commit()
	}
	return d
}

// cpu returns the processor time of this process so far: on a shared machine the clock on the wall measures the others.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for a wrong argument only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRepeat is one event that says again what is known, of 10,000 alerts in turn, 64 a record, 512 a commit.
func BenchmarkRepeat(b *testing.B) {
	d := benchDomain(b, 10_000)
	events := make([]tocsin.Event, 10_048)
	for n := range events {
		events[n] = kubeAlert(n % 10_000)
	}
	b.ReportAllocs()
	offset, n, began := d.offset, 0, cpu()
	for b.Loop() {
		if n%64 == 0 {
			at := n % 9_984
			Apply(d, Record{Offset: offset, At: start.Add(time.Minute), Events: events[at : at+64]})
			offset++
		}
		if n++; n%512 == 0 {
			d.Commit()
		}
	}
	b.ReportMetric(float64(cpu()-began)/float64(n), "cpu-ns/op")
}

// BenchmarkNewAlert is one event of a new alert, 64 a record and commit, with the rows that come of it.
func BenchmarkNewAlert(b *testing.B) {
	d := benchDomain(b, 0)
	const most = 64_000
	events := make([]tocsin.Event, most)
	for n := range events {
		events[n] = kubeAlert(n)
	}
	b.ReportAllocs()
	offset, n, spent, began := int64(1), 0, time.Duration(0), cpu()
	for b.Loop() {
		if n%most == 0 && n > 0 {
			b.StopTimer()
			spent += cpu() - began
			d = benchDomain(b, 0)
			runtime.GC()
			began = cpu()
			b.StartTimer()
		}
		if n%64 == 0 {
			Apply(d, Record{Offset: offset, At: start, Events: events[n%most : n%most+64]})
			d.Writes()
			d.Commit()
			offset++
		}
		n++
	}
	b.ReportMetric(float64(spent+cpu()-began)/float64(n), "cpu-ns/op")
}

// BenchmarkBytesOfAnAlert reports what one of 200,000 firing alerts takes.
func BenchmarkBytesOfAnAlert(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const alerts = 200_000
	for b.Loop() {
		before := heap()
		d := benchDomain(b, alerts)
		d.Touches()
		b.ReportMetric(float64(heap()-before)/alerts, "B/alert")
		b.ReportMetric(float64(d.open), "incidents")
		runtime.KeepAlive(d)
	}
}
