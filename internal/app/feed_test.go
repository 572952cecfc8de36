package app

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin"
	outward "tocsin/internal/feed"
)

// guide is the page about the feed: its example, and the fields that its table names.
func guide(t *testing.T) (example string, fields []string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/feed.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```json\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/feed.md has no example")
	}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			fields = append(fields, strings.Trim(name, " `"))
		}
	}
	return example, fields
}

func TestTheExampleInTheGuideIsWhatTheFeedPublishes(t *testing.T) {
	at := func(clock string) time.Time {
		v, err := time.Parse("15:04:05.999", clock)
		if err != nil {
			t.Fatal(err)
		}
		return v.AddDate(2026, 2, 1) // the parsed one is in the first days of the year 0
	}
	incident := tocsin.Incident{
		ID: 42, Partition: 3, State: tocsin.Acked, Title: "db-main: replication lag 340s", Rule: "databases", Key: "service=db-main", Service: "db-main",
		Labels: tocsin.NewLabels(map[string]string{"alertname": "Lag", "service": "db-main"}), Severity: tocsin.Critical, Priority: 3, Urgency: tocsin.UrgencyHigh,
		Escalation: "platform", Code: 17, OpenedAt: at("02:58:11.25"), AckedAt: at("03:01:40"), AckedBy: "one", Open: 2, Alerts: 3,
	}
	data, err := json.Marshal(lineData{Note: "looking", Stops: []stop{{}}, Before: &incident})
	if err != nil {
		t.Fatal(err)
	}
	change := tocsin.Change{
		Partition: 3, Seq: 1042, AfterOffset: 981, At: at("03:01:40"), Actor: "one", Kind: tocsin.DoAck, Incident: 42,
		Data: data,
	}
	m, err := outward.Encode(change, &incident, nil, feedRecords())
	if err != nil {
		t.Fatal(err)
	}
	example, fields := guide(t)
	var pretty bytes.Buffer
	err = json.Indent(&pretty, m.Value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(example), "\n"), strings.Split(pretty.String(), "\n")); diff != "" {
		t.Errorf("the guide shows (-) what is not published (+):\n%s\n%s", diff, &pretty)
	}
	if string(m.Key) != "i42" {
		t.Errorf("key %s, want i42", m.Key)
	}
	var all map[string]any
	err = json.Unmarshal(m.Value, &all)
	if err != nil {
		t.Fatal(err)
	}
	published := slices.Sorted(maps.Keys(all))
	published = append(published, "cut") // only where something was
	slices.Sort(published)
	slices.Sort(fields)
	if !slices.Equal(published, fields) {
		t.Errorf("published are %q, the guide names %q", published, fields)
	}
}
