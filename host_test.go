package tocsin

import "testing"

func TestHostOf(t *testing.T) {
	for name, tc := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"no label says a host":                          {map[string]string{"service": "checkout"}, ""},
		"host comes before all others":                  {map[string]string{"host": "a", "node": "b", "hostname": "c", "instance": "d:1"}, "a"},
		"node comes before hostname":                    {map[string]string{"node": "b", "hostname": "c", "instance": "d:1"}, "b"},
		"hostname comes before instance":                {map[string]string{"hostname": "c", "instance": "d:1"}, "c"},
		"an instance loses its port":                    {map[string]string{"instance": "db-1:9100"}, "db-1"},
		"an instance without a port stays":              {map[string]string{"instance": "db-1"}, "db-1"},
		"an instance that is an address stays whole":    {map[string]string{"instance": "http://db-1/metrics"}, "http://db-1/metrics"},
		"an IPv4 instance loses its port":               {map[string]string{"instance": "10.0.0.1:9100"}, "10.0.0.1"},
		"an IPv6 instance loses its brackets and port":  {map[string]string{"instance": "[fe80::1]:9100"}, "fe80::1"},
		"an IPv6 instance in brackets without a port":   {map[string]string{"instance": "[fe80::1]"}, "fe80::1"},
		"a bare IPv6 instance stays":                    {map[string]string{"instance": "fe80::1"}, "fe80::1"},
		"a bracket that is never closed stays":          {map[string]string{"instance": "[fe80"}, "[fe80"},
		"a colon without a port stays":                  {map[string]string{"instance": "db-1:"}, "db-1:"},
		"a port without a host stays":                   {map[string]string{"instance": ":9100"}, ":9100"},
		"a host label that carries a port keeps it all": {map[string]string{"host": "db-1:22"}, "db-1:22"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := HostOf(NewLabels(tc.labels)); got != tc.want {
				t.Errorf("HostOf = %q, want %q", got, tc.want)
			}
		})
	}
}
