package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// roundTrips answers without a socket.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering returns a client of a server that answers all with one status and body.
func answering(t *testing.T, status int, header http.Header, body string) *Client {
	t.Helper()
	c, err := New("http://tocsin.test/behind", Options{Token: "secret", Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
		if header == nil {
			header = http.Header{}
		}
		if r.URL.Host != "tocsin.test" {
			return nil, errors.New("another server was asked")
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAServersNoIsToldInItsOwnWords(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		"problem+json with the fields that are wrong": {
			400, nil, `{"title":"Bad Request","status":400,"detail":"the body has a mistake","errors":[{"item":"body","field":"by","detail":"nobody is called x"}]}`,
			"GET /api/v1/incidents/i1: 400 Bad Request: the body has a mistake; body: by: nobody is called x",
		},
		"items of a batch by their place": {
			400, nil, `{"detail":"nothing of it can be taken","errors":[{"item":3,"field":"labels","detail":"none"}],"also_refused":"5-7"}`,
			"GET /api/v1/incidents/i1: 400 Bad Request: nothing of it can be taken; item 3: labels: none; items 5-7 too",
		},
		"the state that refuses a command": {
			409, nil, `{"detail":"one has it","state":"acknowledged"}`, "GET /api/v1/incidents/i1: 409 Conflict: one has it (it is acknowledged)",
		},
		"Alertmanager's plain JSON string": {400, nil, `"bad matcher"`, "GET /api/v1/incidents/i1: 400 Bad Request: bad matcher"},
		"PagerDuty's list of errors": {
			400, nil, `{"status":"invalid event","message":"Event object is invalid","errors":["routing_key: is needed"]}`,
			"GET /api/v1/incidents/i1: 400 Bad Request: Event object is invalid: routing_key: is needed",
		},
		"when to come back": {503, http.Header{"Retry-After": {"5"}}, `{"detail":"busy"}`, "GET /api/v1/incidents/i1: 503 Service Unavailable: busy; try again in 5s"},
		"a proxy's page":    {502, nil, "<html>\nbroken\n</html>", "GET /api/v1/incidents/i1: 502 Bad Gateway: <html>"},
		"nothing at all":    {500, nil, "", "GET /api/v1/incidents/i1: 500 Internal Server Error"},
		"a redirect": {
			302, http.Header{"Location": {"http://elsewhere"}}, "", `GET /api/v1/incidents/i1: 302 Found: it points to "http://elsewhere": use that server's address instead`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := answering(t, tc.status, tc.header, tc.body).Incident(t.Context(), "i1")
			p, ok := errors.AsType[*Problem](err)
			if !ok || p.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestATokenGoesToNoOtherServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer first.Close()
	c, err := New(first.URL, Options{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CommandIncident(t.Context(), "i1", "ack", Order{By: "one"})
	if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusTemporaryRedirect {
		t.Errorf("got %v, want a *Problem of the redirect", err)
	}
}

func TestAnIDCannotLeaveItsPlaceInTheAddress(t *testing.T) {
	for id, want := range map[string]string{
		"i42":        "/behind/api/v1/incidents/i42/ack",
		"../majors":  "/behind/api/v1/incidents/..%2Fmajors/ack",
		"i42?by=one": "/behind/api/v1/incidents/i42%3Fby=one/ack",
	} {
		t.Run(id, func(t *testing.T) {
			got := ""
			c, err := New("http://tocsin.test/behind", Options{Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
				got = r.URL.RequestURI()
				return nil, io.ErrUnexpectedEOF
			})})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.CommandIncident(t.Context(), id, "ack", Order{})
			if got != want || !errors.Is(err, ErrUnreachable) {
				t.Errorf("asked for %s (%v), want %s", got, err, want)
			}
		})
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New("http://tocsin.test", Options{Timeout: 3 * time.Second, Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = c.OnCall(t.Context(), time.Time{})
		const want = "the server cannot be reached at http://tocsin.test: no answer within 3s"
		if took := time.Since(began); took != 3*time.Second || err == nil || err.Error() != want {
			t.Errorf("after %s: %v, want after 3s: %s", took, err, want)
		}
	})
}

func TestAnAnswerThatIsNotOursIsSaidSo(t *testing.T) {
	for name, body := range map[string]string{"a page": "<html>", "nothing": "", "another type": `{"incidents":"many"}`} {
		t.Run(name, func(t *testing.T) {
			_, err := answering(t, 200, nil, body).Incidents(t.Context(), Filter{})
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("got %v, want ErrAnswer", err)
			}
		})
	}
}

func TestAnIncidentKeepsWhatANewerServerSays(t *testing.T) {
	const text = `{"id":"i1","alerts":3,"alert_count":3,"acked_at":null,"of_tomorrow":[1,2]}`
	i, err := answering(t, 200, nil, text).Incident(t.Context(), "i1")
	want := Incident{ID: "i1", AlertCount: 3, Raw: json.RawMessage(text)}
	if err != nil || !reflect.DeepEqual(i, want) {
		t.Errorf("got  %+v, %v\nwant %+v", i, err, want)
	}
}

func TestDoorsSayWhatTheyTook(t *testing.T) {
	one := []json.RawMessage{json.RawMessage(`{}`)}
	for name, tc := range map[string]struct {
		status int
		body   string
		send   func(*Client) (Receipt, error)
		want   Receipt
	}{
		"a whole batch": {200, "", func(c *Client) (Receipt, error) { return c.SendAlerts(t.Context(), one, false) }, Receipt{Accepted: 1}},
		"the good part of a batch": {
			400, `"2 of 64 alerts are refused, the others are stored; item 3: labels: none"`,
			func(c *Client) (Receipt, error) { return c.SendAlerts(t.Context(), one, false) },
			Receipt{Accepted: 62, Refused: 2, Detail: "2 of 64 alerts are refused, the others are stored; item 3: labels: none"},
		},
		"an event's key": {
			202, `{"status":"success","dedup_key":"k"}`, func(c *Client) (Receipt, error) { return c.SendEvent(t.Context(), one[0], false) },
			Receipt{Accepted: 1, Key: "k"},
		},
		"a source's own door": {
			202, `{"accepted":2,"events":["a-0","a-1"],"refused":1,"errors":[{"item":1,"detail":"empty"}]}`,
			func(c *Client) (Receipt, error) { return c.SendTo(t.Context(), "scripts", one[0], false) },
			Receipt{Accepted: 2, Events: []string{"a-0", "a-1"}, Refused: 1, Problems: []ItemProblem{{Item: "item 1", Detail: "empty"}}},
		},
		"a dry run": {
			200, `{"alerts":[{"status":"firing","key":"k"}],"control":null}`,
			func(c *Client) (Receipt, error) { return c.SendAlerts(t.Context(), one, true) },
			Receipt{Meant: []Meant{{Status: "firing", Key: "k"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.send(answering(t, tc.status, nil, tc.body))
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

func FuzzProblem(f *testing.F) {
	for _, s := range []string{`{"detail":"a","errors":[{"item":3,"field":"b","detail":"c"}]}`, `"text"`, `{"message":"m","errors":["e"]}`, `{"errors":7}`, "<html>", "\xff", "null"} {
		f.Add(400, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		p := readProblem("GET", "/", status, http.Header{}, []byte(body))
		if p.Status != status || !strings.HasPrefix(p.Error(), "GET /: ") {
			t.Errorf("status %d, said %q", p.Status, p.Error())
		}
	})
}

func FuzzIncident(f *testing.F) {
	for _, s := range []string{`{"id":"i1","alerts":3}`, `{"alerts":[{"id":"a1","why":{"joined":"x"}}],"timeline":[{"data":{}}]}`, `{"alerts":null}`, `{"alerts":"x"}`, `[]`, `{"acked_at":"2026-03-02T08:00:00Z"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var i Incident
		if json.Unmarshal([]byte(text), &i) == nil && string(i.Raw) == "" && text != "null" {
			t.Error("an incident without its text")
		}
	})
}
