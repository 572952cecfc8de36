package partstest_test

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"tocsin/parts/partstest"
)

func TestAnAbsentPartFailsTheTestOnlyWherePartsAreRequired(t *testing.T) {
	for name, tc := range map[string]struct {
		required, part string
		want           string
	}{
		"a part that is there is used":                      {"1", "127.0.0.1:18025", "used"},
		"an absent part skips":                              {"", "", "skipped"},
		"an absent part fails where all parts are wanted":   {"1", "", "failed"},
		"any other value than 1 does not ask for the parts": {"0", "", "skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TOCSIN_REQUIRE_PARTS", tc.required)
			t.Setenv("SINK_SMTP", tc.part)
			if got := fate(t, func(t testing.TB) { partstest.Address(t, "SINK_SMTP") }); got != tc.want {
				t.Errorf("the test was %s, want %s", got, tc.want)
			}
			t.Setenv("PATH", "")
			if got, want := fate(t, func(t testing.TB) { partstest.Program(t, "prometheus") }), absentFate(tc.required); got != want {
				t.Errorf("without the program the test was %s, want %s", got, want)
			}
		})
	}
}

func TestPrometheusRunsForOneTestAndStopsWithIt(t *testing.T) {
	port := partstest.FreePort(t)
	ready := fmt.Sprintf("http://127.0.0.1:%d/-/ready", port)
	t.Run("while the test runs it is ready", func(t *testing.T) {
		got := partstest.Start(t, "prometheus", "prometheus", fmt.Sprintf("PROM_PORT=%d", port))
		if want := fmt.Sprintf("http://127.0.0.1:%d", port); got["PROMETHEUS_URL"] != want {
			t.Errorf("the script printed %v, want PROMETHEUS_URL=%s", got, want)
		}
		if code := status(t, ready); code != http.StatusOK {
			t.Errorf("GET %s = %d, want 200", ready, code)
		}
	})
	if code := status(t, ready); code != 0 {
		t.Errorf("GET %s after the test = %d, want nobody to listen", ready, code)
	}
}

// status returns the code of an answer, or 0 where nobody answers.
func status(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func absentFate(required string) string {
	if required == "1" {
		return "failed"
	}
	return "skipped"
}

// fate runs check as a test of its own and says what became of it.
func fate(t *testing.T, check func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t, fate: "used"}
	done := make(chan struct{})
	go func() { // Fatal and Skip end their goroutine
		defer close(done)
		check(r)
	}()
	<-done
	return r.fate
}

// A recorder is a test that writes down how it ends.
type recorder struct {
	testing.TB
	fate string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(string, ...any) { r.end("failed") }

func (r *recorder) Skipf(string, ...any) { r.end("skipped") }

func (r *recorder) end(fate string) {
	r.fate = fate
	runtime.Goexit()
}
