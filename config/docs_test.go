package config

import (
	"strings"
	"testing"
)

func TestTheConfigurationForManyMachinesThatTheDocsShowLoads(t *testing.T) {
	_, rest, found := strings.Cut(contents(t, "../docs/many-machines.md"), "```yaml\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the page shows no configuration")
	}
	read := func(string) ([]byte, error) { return []byte("postgres://db.example.org/tocsin"), nil }
	c, ps := Parse("tocsin.yaml", []byte(text), World{Read: read})
	for _, p := range ps {
		if !p.Warning {
			t.Errorf("%s", p)
		}
	}
	if c == nil {
		t.Fatal("it does not load")
	}
	if c.Storage.Kafka == nil || c.Storage.Kafka.Partitions != 12 || c.Storage.Postgres == nil || len(c.IsolateBy) != 1 {
		t.Errorf("storage %+v and isolate_by %v, want both outside and one label", c.Storage, c.IsolateBy)
	}
}
