package pagerduty

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"tocsin/ingest"
)

// Door returns the door POST /v2/enqueue. Sources of kind pagerduty come by it, with a routing_key in the body.
func Door() ingest.Door {
	return ingest.Door{Sender: inBody, Parse: Parse(NewKey), Taken: taken, Refuse: refuse, MaxBody: maxBody}
}

// ChangeDoor returns the door POST /v2/change/enqueue: change events are checked, and then answered 501.
func ChangeDoor() ingest.Door {
	return ingest.Door{Sender: inBody, Parse: ParseChange, Taken: notInForce, Refuse: refuse, MaxBody: maxBody}
}

func inBody(*ingest.Sources, *http.Request) (*ingest.Source, error) { return nil, ingest.ErrInBody }

// An answer is the body of every answer.
type answer struct {
	Status   string   `json:"status"`
	Message  string   `json:"message"`
	DedupKey string   `json:"dedup_key,omitempty"`
	Errors   []string `json:"errors,omitempty"`
}

func taken(w http.ResponseWriter, m *ingest.Message, _ ingest.Receipt) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	const begin = `{"status":"success","message":"Event processed","dedup_key":`
	key := m.Events[0].Key
	b, err := jsontext.AppendQuote(append(make([]byte, 0, len(begin)+len(key)+8), begin...), key)
	if err != nil { // not UTF-8: the door let no such key in
		ingest.WriteJSON(w, answer{Status: "success", Message: "Event processed"})
		return
	}
	_, _ = w.Write(append(b, '}', '\n'))
}

func notInForce(w http.ResponseWriter, _ *ingest.Message, _ ingest.Receipt) {
	p := &ingest.Problem{Status: http.StatusNotImplemented}
	p.WriteHeader(w, "application/json")
	ingest.WriteJSON(w, answer{Status: "not in force", Message: "Change events are not in force yet: nothing was kept"})
}

func refuse(w http.ResponseWriter, p *ingest.Problem) {
	switch p.Status {
	case http.StatusTooManyRequests:
		p.WriteHeader(w, "application/json")
		ingest.WriteJSON(w, answer{Status: "throttle exceeded", Message: "Requests for this service are arriving too quickly.  Please retry later."})
	case http.StatusBadRequest:
		p.WriteHeader(w, "application/json")
		ingest.WriteJSON(w, answer{Status: "invalid event", Message: "Event object is invalid", Errors: reasons(p)})
	case http.StatusUnauthorized:
		// Senders for this API know 400 for a key that is not known, and retry neither.
		unknown := &ingest.Problem{Status: http.StatusBadRequest}
		unknown.WriteHeader(w, "application/json")
		ingest.WriteJSON(w, answer{Status: "invalid event", Message: "Event object is invalid", Errors: []string{"routing_key: " + p.Detail}})
	default:
		p.WriteHeader(w, "application/json")
		ingest.WriteJSON(w, answer{Status: "error", Message: p.Detail})
	}
}
