package api

import (
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"tocsin/parts/partstest"
)

func TestAmtoolTalksToItAsToAlertmanager(t *testing.T) {
	amtool := partstest.Program(t, "amtool")
	b := newBench(t, nil)
	b.fill()
	srv := httptest.NewServer(b.Handler())
	t.Cleanup(srv.Close)
	address := strings.Replace(srv.URL, "http://", "http://x:prom-secret@", 1)
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"all alerts":     {[]string{"alert", "query"}, []string{"ReplicationLag", "2026-03-02 08:00:00 UTC", "active"}},
		"some alerts":    {[]string{"alert", "query", "service=db-main", "-o", "json"}, []string{`"fingerprint":"` + hexOf(odd7()) + `"`, `"name":"platform"`}},
		"no such alerts": {[]string{"alert", "query", "service=other", "-o", "json"}, []string{"[]"}},
		"silences":       {[]string{"silence", "query", "-o", "json"}, []string{"[]"}},
		"the routes":     {[]string{"config", "routes", "show"}, []string{"catch-all"}},
		"where one goes": {[]string{"config", "routes", "test", "service=x"}, []string{"catch-all"}},
		"the config":     {[]string{"config", "show"}, []string{"receivers:", "platform"}},
		"the cluster":    {[]string{"cluster", "show"}, []string{"disabled"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), amtool, append(tc.args, "--alertmanager.url="+address)...).CombinedOutput()
			if err != nil {
				t.Fatalf("amtool %v: %v\n%s", tc.args, err, out)
			}
			for _, want := range tc.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("amtool %v says\n%s\nwant %s in it", tc.args, out, want)
				}
			}
		})
	}
}
