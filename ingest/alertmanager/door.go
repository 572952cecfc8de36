package alertmanager

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"tocsin/ingest"
)

// Options tune the door; the zero value is ready to use.
type Options struct {
	ResolveTimeout time.Duration // 0 means DefaultResolveTimeout
}

// Door returns the door POST /api/v2/alerts. Sources of kind alertmanager come by it, with a token as Bearer, as the password
// of basic authentication, or as ?token=.
func Door(o Options) ingest.Door {
	return ingest.Door{Sender: sender, Parse: Parse(o.ResolveTimeout), Taken: taken, Refuse: refuse}
}

func sender(sources *ingest.Sources, r *http.Request) (*ingest.Source, error) {
	src, ok := sources.ByCredential(r, ingest.Alertmanager)
	if !ok {
		return nil, ingest.ErrUnknown
	}
	return src, nil
}

// taken answers nothing but the status, or which alerts are not stored.
func taken(w http.ResponseWriter, m *ingest.Message, _ ingest.Receipt) {
	if m.Refused.Count == 0 {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		return
	}
	p := &ingest.Problem{Status: http.StatusBadRequest, Refused: &m.Refused}
	p.Detail = fmt.Sprintf("%d of %d alerts are refused, the others are stored", m.Refused.Count, m.Refused.Count+len(m.Events))
	refuse(w, p)
}

// refuse answers a JSON string, as Alertmanager does.
func refuse(w http.ResponseWriter, p *ingest.Problem) {
	parts := []string{p.Detail}
	if p.Refused != nil {
		for _, e := range p.Refused.Named {
			parts = append(parts, e.Error())
		}
		if also := p.Refused.Also(); also != "" {
			parts = append(parts, "items "+also+" too")
		}
	}
	p.WriteHeader(w, "application/json")
	ingest.WriteJSON(w, strings.Join(parts, "; "))
}
