package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"tocsin"
)

var receivedAt = time.Date(2026, 3, 23, 9, 0, 0, 123456000, time.UTC)

// kubeEvents returns n events as kube-prometheus sends them: 11 labels and 3 annotations each, most of them the same.
func kubeEvents(n int) []tocsin.Event {
	events := make([]tocsin.Event, n)
	for i := range events {
		pod := fmt.Sprintf("checkout-7f9c5d8b4-%05d", i)
		key := fmt.Sprintf("KubePodCrashLooping/%s", pod)
		events[i] = tocsin.Event{
			Source: "prom", Key: key, Fingerprint: tocsin.FingerprintOf("prom", key), Status: tocsin.Firing, Severity: tocsin.Warning,
			Word: "warning", Summary: "Pod " + pod + " is crash looping.", About: pod, URL: "http://prom.example/graph?g0.expr=rate",
			Labels: tocsin.Labels{
				{Name: "alertname", Value: "KubePodCrashLooping"},
				{Name: "cluster", Value: "eu-1"},
				{Name: "container", Value: "app"},
				{Name: "endpoint", Value: "http"},
				{Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250)},
				{Name: "job", Value: "kube-state-metrics"},
				{Name: "namespace", Value: "shop"},
				{Name: "pod", Value: pod},
				{Name: "prometheus", Value: "monitoring/k8s"},
				{Name: "reason", Value: "CrashLoopBackOff"},
				{Name: "severity", Value: "warning"},
			},
			Annotations: tocsin.Labels{
				{Name: "description", Value: "Pod shop/" + pod + " (app) is in waiting state (reason: CrashLoopBackOff)."},
				{Name: "runbook_url", Value: "https://runbooks.example/kubepodcrashlooping"},
				{Name: "summary", Value: "Pod is crash looping."},
			},
			StartsAt: receivedAt.Add(-time.Minute), EndsAt: receivedAt.Add(4 * time.Minute),
		}
	}
	return events
}

func kubeRecord(n int) *Record {
	return &Record{Kind: Events, Writer: 7, Seq: 3, Source: "prom", At: receivedAt, Events: kubeEvents(n)}
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "said") {
			return time.UnixMicro(rapid.Int64Range(-62135596800e6+1, 253402300799e6).Draw(t, "micros")).UTC()
		}
		return time.Time{}
	})
}

func anyLabels() *rapid.Generator[tocsin.Labels] {
	return rapid.Custom(func(t *rapid.T) tocsin.Labels {
		n := rapid.IntRange(0, 80).Draw(t, "labels")
		if n == 0 {
			return nil
		}
		ls := make(tocsin.Labels, n)
		for i := range ls {
			ls[i] = tocsin.Label{Name: anyText().Draw(t, "name"), Value: anyText().Draw(t, "value")}
		}
		return ls
	})
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"", "a", "host", "\xff\x00"}), rapid.String(),
		rapid.Map(rapid.IntRange(100, 400), func(n int) string { return strings.Repeat("x", n) }))
}

func anyEvent(source string) *rapid.Generator[tocsin.Event] {
	return rapid.Custom(func(t *rapid.T) tocsin.Event {
		ev := tocsin.Event{
			Source: rapid.SampledFrom([]string{source, "", "other"}).Draw(t, "source"), Key: anyText().Draw(t, "key"),
			Status: tocsin.Status(rapid.Byte().Draw(t, "status")), Severity: tocsin.Severity(rapid.Byte().Draw(t, "severity")),
			Word: anyText().Draw(t, "word"), Summary: anyText().Draw(t, "summary"), About: anyText().Draw(t, "about"), URL: anyText().Draw(t, "url"),
			Labels: anyLabels().Draw(t, "labels"), Annotations: anyLabels().Draw(t, "annotations"),
			StartsAt: anyTime().Draw(t, "starts"), EndsAt: anyTime().Draw(t, "ends"),
		}
		copy(ev.Fingerprint[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "fingerprint"))
		return ev
	})
}

func anyRecord() *rapid.Generator[*Record] {
	return rapid.Custom(func(t *rapid.T) *Record {
		r := &Record{
			Kind: Kind(rapid.IntRange(1, 3).Draw(t, "kind")), Writer: rapid.Uint64().Draw(t, "writer"), Seq: rapid.Uint64().Draw(t, "seq"),
			Domain: anyText().Draw(t, "domain"), Source: anyText().Draw(t, "source"), At: anyTime().Draw(t, "at"), Rules: anyText().Draw(t, "rules"),
		}
		if evs := rapid.SliceOfN(anyEvent(r.Source), 0, 9).Draw(t, "events"); len(evs) > 0 {
			r.Events = evs
		}
		if raw := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "raw"); len(raw) > 0 {
			r.Raw = raw
		}
		return r
	})
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	d, reuse := Decoder{}, Decoder{Reuse: true}
	var kept Record
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord().Draw(t, "record")
		payload := want.Append([]byte("before"))
		payload, ok := bytes.CutPrefix(payload, []byte("before"))
		if !ok {
			t.Fatal("Append changed what was there")
		}
		var got Record
		if err := d.Decode(payload, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if err := reuse.Decode(payload, &kept); err != nil {
			t.Fatal(err)
		}
		if len(kept.Events) == 0 {
			kept.Events = nil
		}
		if diff := cmp.Diff(want, &kept); diff != "" {
			t.Fatalf("with Reuse: -want +got\n%s", diff)
		}
		if again := got.Append(nil); !bytes.Equal(again, payload) {
			t.Fatalf("the same record is not written the same:\n%x\n%x", payload, again)
		}
	})
}

func TestDecodedStringsOutliveThePayload(t *testing.T) {
	want := kubeRecord(3)
	payload := want.Append(nil)
	var d Decoder
	var got Record
	if err := d.Decode(payload, &got); err != nil {
		t.Fatal(err)
	}
	clear(payload)
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAppendKeepsNothingOfARecordBefore(t *testing.T) {
	want := kubeRecord(2).Append(nil)
	kubeRecord(200).Append(nil)
	if got := kubeRecord(2).Append(nil); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

func TestFieldsOfANewerWriterAreSkipped(t *testing.T) {
	want := kubeRecord(1)
	payload := want.Append(nil)
	payload = protowire.AppendTag(payload, 99, protowire.BytesType)
	payload = protowire.AppendString(payload, "later")
	payload = protowire.AppendTag(payload, 98, protowire.Fixed32Type)
	payload = protowire.AppendFixed32(payload, 1)
	var d Decoder
	var got Record
	if err := d.Decode(payload, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestARecordOfANewerVersionIsRefusedByItsNumber(t *testing.T) {
	payload := kubeRecord(1).Append(nil)
	payload[1] = 2
	var d Decoder
	err := d.Decode(payload, new(Record))
	if v, ok := errors.AsType[*VersionError](err); !ok || v.Version != 2 {
		t.Errorf("err = %v, want a VersionError of version 2", err)
	}
}

func TestMalformedPayloadsAreRefused(t *testing.T) {
	head := []byte{recVersion << 3, 1, recKind << 3, 1}
	event := func(body ...byte) []byte {
		b := append(bytes.Clone(head), recEvent<<3|2)
		return protowire.AppendBytes(b, body)
	}
	fingerprint := append([]byte{evFingerprint<<3 | 2, 16}, make([]byte, 16)...)
	for name, payload := range map[string][]byte{
		"nothing":                            nil,
		"a version that is not first":        {recKind << 3, 1, recVersion << 3, 1},
		"no kind":                            {recVersion << 3, 1},
		"a kind that is none":                {recVersion << 3, 1, recKind << 3, 4},
		"a cut field":                        append(bytes.Clone(head), recSeq<<3),
		"an event without fingerprint":       event(evStatus<<3, 1),
		"a short fingerprint":                event(evFingerprint<<3|2, 2, 1, 1),
		"a ref to a string that is not":      event(append(bytes.Clone(fingerprint), evKey<<3, 1)...),
		"a label without its value":          event(append(bytes.Clone(fingerprint), evLabels<<3|2, 1, 0)...),
		"a label ref that is cut":            event(append(bytes.Clone(fingerprint), evLabels<<3|2, 1, 0x80)...),
		"a status over a byte":               event(append(bytes.Clone(fingerprint), evStatus<<3, 0x80, 2)...),
		"a time of the wrong wire type":      append(bytes.Clone(head), recAt<<3, 1),
		"a string table that is cut":         append(bytes.Clone(head), recStrings<<3|2, 2, strValue<<3|2, 9),
		"a string longer than its table":     append(bytes.Clone(head), recStrings<<3|2, 11, strValue<<3|2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"two string tables":                  append(bytes.Clone(head), recStrings<<3|2, 3, strValue<<3|2, 1, 'a', recStrings<<3|2, 3, strValue<<3|2, 1, 'a'),
		"an end group without its beginning": append(bytes.Clone(head), 14<<3|4),
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			if err := d.Decode(payload, new(Record)); !errors.Is(err, ErrMalformed) {
				t.Errorf("err = %v, want ErrMalformed", err)
			}
		})
	}
}

func TestACutRecordIsNeverTakenForAWholeOne(t *testing.T) {
	whole := kubeRecord(4)
	payload := whole.Append(nil)
	var d Decoder
	for n := range payload {
		var got Record
		err := d.Decode(payload[:n], &got)
		if err == nil && reflect.DeepEqual(&got, whole) {
			t.Fatalf("the first %d of %d bytes read as all of it", n, len(payload))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(kubeRecord(3).Append(nil))
	f.Add((&Record{Kind: Tick, At: receivedAt}).Append(nil))
	f.Add((&Record{Kind: Rules, Rules: "sha256:00", Raw: []byte("raw")}).Append(nil))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var d Decoder
		var first, second Record
		if d.Decode(payload, &first) != nil {
			return
		}
		again := first.Append(nil)
		if err := d.Decode(again, &second); err != nil {
			t.Fatalf("what Decode made is not read back: %v", err)
		}
		if !bytes.Equal(second.Append(nil), again) {
			t.Fatal("what Decode made changes when it is read back")
		}
	})
}

func TestSplitKeepsEveryEventInOrderAndEveryPartSmall(t *testing.T) {
	events := kubeEvents(3000)
	for i := range events {
		events[i].Summary = strings.Repeat("s", i%700) + events[i].Key
	}
	r := &Record{Kind: Events, Writer: 1, Seq: 10, Source: "prom", Domain: "d", At: receivedAt, Events: events, Raw: make([]byte, 100_000)}
	var got []tocsin.Event
	seq := r.Seq
	var sizes []int
	for part, err := range Split(r) {
		if err != nil {
			t.Fatal(err)
		}
		payload := part.Append(nil)
		if len(payload) > MaxPayload {
			t.Errorf("part %d has %d bytes", part.Seq, len(payload))
		}
		if part.Seq != seq {
			t.Errorf("seq %d, want %d", part.Seq, seq)
		}
		seq++
		sizes = append(sizes, len(payload))
		if (len(part.Raw) > 0) != (len(sizes) == 1) {
			t.Errorf("part %d has %d bytes of the raw body", part.Seq, len(part.Raw))
		}
		var back Record
		var d Decoder
		if err := d.Decode(payload, &back); err != nil {
			t.Fatal(err)
		}
		got = append(got, back.Events...)
	}
	if diff := cmp.Diff(events, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(sizes) < 3 || sizes[1] < MaxPayload*9/10 {
		t.Errorf("parts of %v bytes, want them nearly full", sizes)
	}
}

func TestSplitNamesTheEventThatFitsNowhere(t *testing.T) {
	r := kubeRecord(5)
	r.Events[3].Summary = strings.Repeat("x", MaxPayload)
	var err error
	for _, err = range Split(r) {
	}
	big, ok := errors.AsType[*EventTooBigError](err)
	if !ok || big.Index != 3 || !errors.Is(err, ErrTooBig) {
		t.Errorf("err = %v, want event 3 too big", err)
	}
}

func TestSplitYieldsARecordWithoutEventsOnce(t *testing.T) {
	tick := &Record{Kind: Tick, Writer: 1, Seq: 1, At: receivedAt}
	var got []Record
	for r, err := range Split(tick) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff([]Record{*tick}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTheUpperBoundIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord().Draw(t, "record")
		if bound, size := upperBound(r), len(r.Append(nil)); bound < size {
			t.Fatalf("bound %d, but the record takes %d", bound, size)
		}
	})
}

func TestLengthsOfAnySizeAreWrittenShortest(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 300_000} {
		body := bytes.Repeat([]byte{7}, n)
		got := setLength(append([]byte{9, 0}, body...), 2)
		want := append(binary.AppendUvarint([]byte{9}, uint64(n)), body...)
		if !bytes.Equal(got, want) {
			t.Errorf("length %d is written as %x...", n, got[:min(len(got), 6)])
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	r := kubeRecord(64)
	buf := r.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.Append(buf[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/event")
	b.ReportMetric(float64(len(buf))/64, "B/event")
}

func BenchmarkDecode(b *testing.B) {
	payload := kubeRecord(64).Append(nil)
	for _, reuse := range []bool{false, true} {
		b.Run(fmt.Sprintf("reuse=%t", reuse), func(b *testing.B) {
			d := Decoder{Reuse: reuse}
			var r Record
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(payload, &r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/event")
		})
	}
}
