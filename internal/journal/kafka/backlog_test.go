package kafka

import (
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"tocsin/internal/journal"
)

// K15
func TestHowMuchOfTheRetentionABacklogHasUsedIsKnown(t *testing.T) {
	c := fake(t)
	now := time.Now()
	for name, tc := range map[string]struct {
		retention time.Duration // negative: for ever
		bytes     int64
		next      int64
		least     float64
		most      float64
	}{
		"nothing waits":                          {time.Hour, -1, 8, 0, 0},
		"the oldest that waits is half as old":   {time.Hour, -1, 2, 0.5, 0.52},
		"an older one":                           {time.Hour, -1, 0, 0.75, 0.77},
		"older than is kept":                     {30 * time.Minute, -1, 0, 1, 1},
		"kept for ever":                          {-1, -1, 0, 0, 0},
		"six of a thousand bytes, ten are kept":  {-1, 10_000, 2, 0.6, 0.63},
		"size counts where it is nearer to loss": {time.Hour, 10_000, 2, 0.6, 0.63},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, c)
			o.Topic = "t" + strconv.Itoa(int(tc.retention)) + strconv.Itoa(int(tc.bytes)) + strconv.Itoa(int(tc.next))
			ms := int64(-1)
			if tc.retention > 0 {
				ms = tc.retention.Milliseconds()
			}
			createTopic(t, c, kafka.TopicConfig{Topic: o.Topic, NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{
				{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(ms, 10)}, {ConfigName: "retention.bytes", ConfigValue: strconv.FormatInt(tc.bytes, 10)},
			}})
			j := open(t, o)
			for n, age := range []time.Duration{45, 45, 30, 30, 20, 20, 10, 10} {
				_, err := j.Append(t.Context(), 1, journal.Entry{At: now.Add(-age * time.Minute), Payload: make([]byte, 1000)})
				if err != nil {
					t.Fatal(n, err)
				}
			}
			got, err := j.Spent(t.Context(), 1, tc.next)
			if err != nil || got < tc.least || got > tc.most {
				t.Errorf("spent %.3f, %v; want %.2f to %.2f", got, err, tc.least, tc.most)
			}
		})
	}
}
