package app

import (
	"fmt"
	"slices"
	"testing"

	"tocsin"
)

// given is what one call was handed.
type given struct {
	partition int
	domain    string
	keys      []string
}

func eventOf(key string, status tocsin.Status, labels ...string) tocsin.Event {
	m := map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return tocsin.Event{Key: key, Status: status, Labels: tocsin.NewLabels(m)}
}

func share(t *testing.T, s shards, events ...tocsin.Event) (out []given) {
	t.Helper()
	err := s.each(events, func(partition int, domain string, events []tocsin.Event) error {
		g := given{partition: partition, domain: domain}
		for _, e := range events {
			g.keys = append(g.keys, e.Key)
		}
		out = append(out, g)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWithoutLabelsThatIsolateAllEventsShareOnePartition(t *testing.T) {
	s := newShards(4, nil)
	got := share(t, s, eventOf("a", tocsin.Firing, "customer", "one"), eventOf("b", tocsin.Resolved))
	if len(got) != 1 || got[0].domain != "" || !slices.Equal(got[0].keys, []string{"a", "b"}) {
		t.Errorf("shared out as %+v, want all in one", got)
	}
}

func TestEventsOfOneDomainStayTogetherInTheirOrder(t *testing.T) {
	s := newShards(4, []string{"region", "customer"})
	got := share(t, s,
		eventOf("a", tocsin.Firing, "customer", "one", "region", "eu"), eventOf("b", tocsin.Firing, "customer", "two"),
		eventOf("c", tocsin.Resolved, "region", "eu", "customer", "one"), eventOf("d", tocsin.Firing))
	want := []given{
		{s.of("3:one2:eu"), "3:one2:eu", []string{"a", "c"}},
		{s.of("3:two0:"), "3:two0:", []string{"b"}},
		{s.of("0:0:"), "0:0:", []string{"d"}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("shared out as %+v, want %+v", got, want)
	}
}

func TestAnEndThatSaysNothingOfWhereItBelongsGoesToEveryPartition(t *testing.T) {
	s := newShards(3, []string{"customer"})
	got := share(t, s, eventOf("a", tocsin.Resolved), eventOf("b", tocsin.Firing, "customer", "one"))
	want := []given{{s.of("3:one"), "3:one", []string{"b"}}, {0, "", []string{"a"}}, {1, "", []string{"a"}}, {2, "", []string{"a"}}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("shared out as %+v, want %+v", got, want)
	}
}

func TestDomainsAreNamedSoThatNoTwoAreTheSame(t *testing.T) {
	s := newShards(4, []string{"a", "b"})
	one, _ := s.domain(nil, tocsin.NewLabels(map[string]string{"a": "x1:y"}))
	two, _ := s.domain(nil, tocsin.NewLabels(map[string]string{"a": "x", "b": "y"}))
	if string(one) == string(two) {
		t.Errorf("two domains are both named %q", one)
	}
}

func TestDomainsSpreadOverAllPartitions(t *testing.T) {
	s := newShards(12, []string{"customer"})
	count := make([]int, 12)
	for n := range 12_000 {
		name, _ := s.domain(nil, tocsin.NewLabels(map[string]string{"customer": fmt.Sprint("customer-", n)}))
		count[s.of(string(name))]++
	}
	for p, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("partition %d has %d of 12,000 domains, want about 1,000: %v", p, n, count)
		}
	}
}
