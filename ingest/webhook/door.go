package webhook

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"tocsin/ingest"
)

// Door returns the door POST /in/{source}, for every kind whose source has a Parser. The route's pattern must name the
// source {source}.
func Door() ingest.Door {
	return ingest.Door{Sender: sender, Parse: parse, Taken: taken}
}

func sender(sources *ingest.Sources, r *http.Request) (*ingest.Source, error) {
	src, ok := sources.ByName(r, r.PathValue("source"))
	switch {
	case !ok:
		return nil, ingest.ErrUnknown
	case src.Parser == nil && src.Kind == ingest.Alertmanager:
		return nil, fmt.Errorf("%w: source %s is of kind alertmanager, which posts to /api/v2/alerts", ingest.ErrNotHere, src.Name)
	case src.Parser == nil:
		return nil, fmt.Errorf("%w: source %s is of kind %s, which does not come by /in/", ingest.ErrNotHere, src.Name, src.Kind)
	}
	return src, nil
}

func parse(ctx context.Context, m *ingest.Message) error { return m.Source.Parser.Parse(ctx, m) }

func taken(w http.ResponseWriter, m *ingest.Message, receipt ingest.Receipt) {
	answer := struct {
		Accepted int      `json:"accepted"`
		Events   []string `json:"events"`
		ingest.Failures
	}{Accepted: len(m.Events), Events: make([]string, len(m.Events)), Failures: m.Refused.Failures()}
	for i := range answer.Events {
		answer.Events[i] = receipt.Prefix + "-" + strconv.Itoa(i)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	ingest.WriteJSON(w, answer)
}
