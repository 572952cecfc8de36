//go:build !race

package app

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Two nodes, two consoles: who looks at one sees what was answered at the other.
func TestFleetShowsAnAcknowledgementBySMSAtEveryNode(t *testing.T) {
	together(t)
	f := newFleet(t, 2, sharedStorage(t), killRules)
	f.begin()
	urls := f.urls()
	const service = 1
	f.knockAt(urls[0], service)
	var open struct {
		Incidents []struct {
			Number int64
			Code   int
		}
	}
	f.until("there is an incident, and its SMS", 30*time.Second, func() bool {
		err := getJSON(t.Context(), urls[0]+"/api/v1/incidents", &open)
		return err == nil && len(open.Incidents) == 1 && open.Incidents[0].Code != 0 && len(f.nodes[0].twilio.Taken()) > 0
	})
	acked := f.feed(urls[1], fmt.Sprintf(`"actor":"p%d"`, service))
	began := time.Now()
	f.crowd().answer(t.Context(), urls[0], open.Incidents[0].Number, open.Incidents[0].Code, service)
	answered := time.Since(began)
	if len(f.nodes[0].ledger.acks) != 1 {
		t.Fatal("the SMS was not answered that the incident is theirs")
	}
	select {
	case at := <-acked:
		t.Logf("answered after %s, in the other node's feed %s after the SMS", answered.Round(time.Millisecond), at.Sub(began).Round(time.Millisecond))
	case <-time.After(30 * time.Second):
		t.Error("the other node's feed does not say that the incident was acknowledged")
	}
}

// feed tells when a change that has text is in a node's live feed; it returns once the feed is open.
func (f *fleet) feed(url, text string) <-chan time.Time {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, url+"/api/v1/events", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+robot)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	if resp.StatusCode != http.StatusOK || !lines.Scan() {
		f.t.Fatalf("the feed answered %d, %v", resp.StatusCode, lines.Err())
	}
	found := make(chan time.Time, 1)
	go func() {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), text) {
				found <- time.Now()
				return
			}
		}
	}()
	return found
}
