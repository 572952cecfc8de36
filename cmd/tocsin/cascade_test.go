package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tocsin/internal/client"
)

func TestTheSameSeedGivesTheSameStorm(t *testing.T) {
	p := cascadePlan{Region: "eu-west", Hosts: 25, Services: 5, Seed: 1, Over: 20 * time.Second}
	if a, b := cascade(p), cascade(p); !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
	other := p
	other.Seed = 2
	if reflect.DeepEqual(cascade(p), cascade(other)) {
		t.Error("another seed gave the same storm")
	}
}

func TestACascadeLosesEveryHostOnceAndFailsEveryService(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := cascadePlan{
			Region: "r", Hosts: rapid.IntRange(1, 300).Draw(t, "hosts"), Seed: rapid.Uint64().Draw(t, "seed"),
			Over: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "over")),
		}
		p.Services = rapid.IntRange(1, min(p.Hosts, 40)).Draw(t, "services")
		down, failed, seen := map[string]int{}, map[string]int{}, map[string]bool{}
		last := time.Duration(0)
		for _, b := range cascade(p) {
			key := fmt.Sprint(b.Alert.Labels)
			if b.After < last || b.After > p.Over || seen[key] || b.Alert.Labels["region"] != "r" || b.Alert.Annotations["summary"] == "" {
				t.Fatalf("%v after %s, the one before after %s", b, b.After, last)
			}
			last, seen[key] = b.After, true
			switch b.Alert.Labels["alertname"] {
			case "HostDown":
				down[b.Alert.Labels["host"]]++
			case "HighErrorRate":
				failed[b.Alert.Labels["service"]]++
			}
		}
		if p.Over-last > time.Millisecond {
			t.Fatalf("the last alert begins after %s, want it at the end of %s", last, p.Over)
		}
		if len(down) != p.Hosts || len(failed) != p.Services {
			t.Fatalf("%d hosts down and %d services failed, want %d and %d", len(down), len(failed), p.Hosts, p.Services)
		}
	})
}

// A barometer is a server that takes alerts, and counts them.
type barometer struct {
	posts  []time.Duration // since the beginning
	alerts map[string]int  // by labels
	ended  map[string]int
	began  time.Time
}

func (b *barometer) RoundTrip(r *http.Request) (*http.Response, error) {
	var alerts []client.AlertmanagerAlert
	err := json.NewDecoder(r.Body).Decode(&alerts)
	if err != nil {
		return nil, err
	}
	b.posts = append(b.posts, time.Since(b.began))
	for _, a := range alerts {
		key := fmt.Sprint(a.Labels)
		b.alerts[key]++
		if !a.EndsAt.IsZero() {
			b.ended[key]++
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

func newBarometer(t *testing.T) (*barometer, *client.Client) {
	t.Helper()
	b := &barometer{alerts: map[string]int{}, ended: map[string]int{}, began: time.Now()}
	c, err := client.New("http://tocsin.test", client.Options{Transport: b})
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

func quiet(string, ...any) {}

func TestEveryAlertOfAStormIsSentOnceInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, door := newBarometer(t)
		plan := cascade(cascadePlan{Region: "r", Hosts: 25, Services: 5, Seed: 1, Over: 20 * time.Second})
		st := newTempest(plan, door, 0, quiet)
		if err := st.blow(t.Context(), 20*time.Second); err != nil {
			t.Fatal(err)
		}
		for key, n := range b.alerts {
			if n != 1 {
				t.Errorf("%s was sent %d times", key, n)
			}
		}
		last := plan[len(plan)-1].After
		if len(b.alerts) != len(plan) || st.took < last || st.took > last+2*beat {
			t.Errorf("%d of %d alerts in %s, want all in %s", len(b.alerts), len(plan), st.took, last)
		}
	})
}

func TestARateIsFilledUpWithRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, door := newBarometer(t)
		plan := cascade(cascadePlan{Region: "r", Hosts: 25, Services: 5, Seed: 1, Over: 10 * time.Second})
		st := newTempest(plan, door, 1000, quiet)
		if err := st.blow(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if st.sent < 9_900 || st.sent > 10_100 || len(b.alerts) != len(plan) {
			t.Errorf("%d sent, %d distinct; want 10000 and %d", st.sent, len(b.alerts), len(plan))
		}
	})
}

func TestAStormThatEndsEndsEveryAlertOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, door := newBarometer(t)
		plan := cascade(cascadePlan{Region: "r", Hosts: 100, Services: 10, Seed: 1, Over: time.Second})
		st := newTempest(plan, door, 0, quiet)
		if err := st.blow(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if err := st.calm(t.Context()); err != nil {
			t.Fatal(err)
		}
		for key, n := range b.ended {
			if n != 1 {
				t.Errorf("%s was ended %d times", key, n)
			}
		}
		if len(b.ended) != len(plan) {
			t.Errorf("%d of %d alerts ended", len(b.ended), len(plan))
		}
	})
}

func TestWhatTheServerHasNoRoomForIsSentAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &client.Problem{Status: http.StatusTooManyRequests, Wait: 7 * time.Second}
		began, calls := time.Now(), 0
		r, err := patiently(t.Context(), func() (client.Receipt, error) {
			calls++
			if calls < 3 {
				return client.Receipt{}, busy
			}
			return client.Receipt{Accepted: 1}, nil
		})
		if took := time.Since(began); err != nil || r.Accepted != 1 || took != 14*time.Second {
			t.Errorf("%+v, %v after %s and %d calls; want it taken after 14s and 3 calls", r, err, took, calls)
		}
		calls = 0
		_, err = patiently(t.Context(), func() (client.Receipt, error) { calls++; return client.Receipt{}, busy })
		if !errors.Is(err, busy) || calls != tries {
			t.Errorf("%v after %d calls, want it given up after %d", err, calls, tries)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		_, err = patiently(ctx, func() (client.Receipt, error) { return client.Receipt{}, busy })
		if took := time.Since(began); err == nil || took != time.Second {
			t.Errorf("%v after %s, want an end with the context after 1s", err, took)
		}
	})
}

func TestTheThresholdIsWhatTheRuleAskedFor(t *testing.T) {
	began := time.Date(2026, 3, 2, 3, 0, 0, 0, time.UTC)
	after := func(seconds ...int) (at []time.Time) {
		for _, s := range seconds {
			at = append(at, began.Add(time.Duration(s)*time.Second))
		}
		return at
	}
	st := &tempest{hostAt: after(1, 2, 3, 4), serviceAt: after(1, 5)}
	for name, tc := range map[string]struct {
		limits, was client.Measures
		want        string
	}{
		"hosts":                         {client.Measures{Hosts: 3}, client.Measures{Hosts: 3}, "3 hosts after 3s"},
		"the first of two":              {client.Measures{Hosts: 3, Services: 2}, client.Measures{Hosts: 4, Services: 2}, "3 hosts after 3s"},
		"only what was reached":         {client.Measures{Hosts: 4, Services: 2}, client.Measures{Hosts: 3, Services: 2}, "2 services after 5s"},
		"users are not ours":            {client.Measures{Users: 10}, client.Measures{Users: 12, Hosts: 4}, ""},
		"hosts of other storms as well": {client.Measures{Hosts: 6}, client.Measures{Hosts: 6}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if at, reason, known := st.threshold(client.Major{Limits: tc.limits, Measures: tc.was}); known {
				got = reason + " after " + at.Sub(began).String()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
