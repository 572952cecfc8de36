package correlate

import (
	"testing"

	"tocsin"
)

func TestAlertsOfDifferentDomainsNeverShareAGroup(t *testing.T) {
	rs := RuleSet{IsolateBy: []string{"customer"}, Rules: []Rule{
		{Name: "plain", Matchers: []string{`kind="plain"`}, GroupBy: []string{"service"}},
		{Name: "none", Matchers: []string{`kind="none"`}, GroupBy: []string{}},
		{Name: "itself", GroupBy: []string{"customer"}},
	}}
	r, err := rs.Compile()
	if err != nil {
		t.Fatal(err)
	}
	group := func(labels map[string]string) string {
		ls := tocsin.NewLabels(labels)
		key, _ := r.claim(ls).group(ls, tocsin.FingerprintOf("source", labels["fp"]))
		return key
	}
	for _, test := range []struct {
		labels map[string]string
		want   string
	}{
		{map[string]string{"kind": "plain", "customer": "one", "service": "db"}, `customer="one",service="db"`},
		{map[string]string{"kind": "plain", "customer": "two", "service": "db"}, `customer="two",service="db"`},
		{map[string]string{"kind": "plain", "service": "db"}, `service="db"`},
		{map[string]string{"customer": "one"}, `customer="one"`},
	} {
		if got := group(test.labels); got != test.want {
			t.Errorf("%v is grouped by %q, want %q", test.labels, got, test.want)
		}
	}
	alone := func(fp string) string { return group(map[string]string{"kind": "plain", "customer": "one", "fp": fp}) }
	if alone("a") == alone("b") {
		t.Errorf("alerts without any of the rule's labels share the group %q: each stands alone, though they have a customer", alone("a"))
	}
}
