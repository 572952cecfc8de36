package api

import (
	"net/http"

	"tocsin"
	"tocsin/internal/store"
)

// maxScan is how many alerts one request looks at; a filter that lets few through answers what it found so far, with next.
const maxScan = 50_000

// alerts answers a list, in the order of their ids.
func (s *Server) alerts(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "state", "filter*", "incident", "limit", "next")
	var want tocsin.Status
	switch state := q.text("state"); {
	case state == "firing":
		want = tocsin.Firing
	case state == "resolved":
		want = tocsin.Resolved
	case q.values.Has("state"):
		q.wrong("state", state+" is none of firing, resolved")
	}
	f, err := parseFilter(q.values["filter"])
	if err != nil {
		q.wrong("filter", err.Error())
	}
	limit := q.limit()
	f.index.Status, f.index.Incident, f.index.After, f.index.Limit = want, q.id("incident", 'i'), q.id("next", 'a'), maxScan
	if q.err() != nil {
		return q.err()
	}
	if want != tocsin.Firing { // of what has ended there is no end, and no index for these: some are looked at at a time
		f.index.Host, f.index.Alertname, f.index.Source = "", "", ""
	}
	if len(f.matchers) == 0 {
		f.index.Limit = limit + 1
	}
	out := []alertRecord{}
	var next orNull
	err = s.view(r.Context(), func(tx *store.Tx) error {
		looked, last := 0, int64(0)
		for a, err := range tx.Alerts(f.index) {
			if err != nil {
				return err
			}
			if len(out) == limit {
				next = orNull(out[limit-1].ID)
				return nil
			}
			looked, last = looked+1, a.ID
			if f.matches(a.Source, a.Labels.Get) {
				out = append(out, alertRecordOf(a))
			}
		}
		if looked == maxScan {
			next = orNull(tocsin.AlertID(last))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, struct {
		Alerts []alertRecord `json:"alerts"`
		Next   orNull        `json:"next"`
	}{out, next})
}
