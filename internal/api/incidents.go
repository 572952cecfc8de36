package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

// Bounds on what the answer about one incident or major holds; the rest of its alerts is at /api/v1/alerts?incident=.
const (
	detailAlerts   = 500
	detailTimeline = 500
	detailPages    = 500
)

// incidents answers a list, newest first.
func (s *Server) incidents(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "state", "service", "major", "limit", "next")
	f := store.IncidentFilter{
		States: words[tocsin.IncidentState](q, "state"), Service: q.text("service"), Major: q.id("major", 'm'), Before: q.id("next", 'i'), Limit: q.limit(),
	}
	if q.err() != nil {
		return q.err()
	}
	limit := f.Limit
	f.Limit++
	var found []tocsin.Incident
	err := s.view(r.Context(), func(tx *store.Tx) (err error) {
		found, err = tx.Incidents(f)
		return err
	})
	if err != nil {
		return err
	}
	var next orNull
	if len(found) > limit {
		found = found[:limit]
		next = orNull(tocsin.IncidentID(found[limit-1].ID))
	}
	return answer(w, struct {
		Incidents []incidentRecord `json:"incidents"`
		Next      orNull           `json:"next"`
	}{each(found, incidentRecordOf), next})
}

// incident answers one incident with all that belongs to it.
func (s *Server) incident(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, 'i')
	if err != nil {
		return err
	}
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	out, err := s.incidentDetail(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, out)
}

// An incidentDetail is an incident with its alerts, history and pages.
type incidentDetail struct {
	incidentRecord
	Timeline []changeRecord `json:"timeline"`
	Pages    []pageRecord   `json:"pages"`
}

func (s *Server) incidentDetail(ctx context.Context, id int64) (out incidentDetail, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		i, err := tx.Incident(id)
		if err != nil {
			return err
		}
		alerts := []alertRecord{}
		for a, err := range tx.Alerts(store.AlertFilter{Incident: id, Limit: detailAlerts}) {
			if err != nil {
				return err
			}
			alerts = append(alerts, alertRecordOf(a))
		}
		changes, err := tx.ChangesOfIncident(id, detailTimeline)
		if err != nil {
			return err
		}
		pages, err := tx.Pages(store.PageFilter{Incident: id, Limit: detailPages})
		if err != nil {
			return err
		}
		out = incidentDetail{incidentRecordOf(i), each(changes, changeRecordOf), each(pages, pageRecordOf)}
		out.Alerts = alerts
		return nil
	})
	return out, err
}

// majors answers a list, newest first.
func (s *Server) majors(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "state", "limit", "next")
	f := store.MajorFilter{States: words[tocsin.MajorState](q, "state"), Before: q.id("next", 'm'), Limit: q.limit()}
	if q.err() != nil {
		return q.err()
	}
	limit := f.Limit
	f.Limit++
	var found []tocsin.Major
	err := s.view(r.Context(), func(tx *store.Tx) (err error) {
		found, err = tx.Majors(f)
		return err
	})
	if err != nil {
		return err
	}
	var next orNull
	if len(found) > limit {
		found = found[:limit]
		next = orNull(tocsin.MajorID(found[limit-1].ID))
	}
	return answer(w, struct {
		Majors []majorRecord `json:"majors"`
		Next   orNull        `json:"next"`
	}{each(found, majorRecordOf), next})
}

// major answers one major with its history and pages.
func (s *Server) major(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, 'm')
	if err != nil {
		return err
	}
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	out, err := s.majorDetail(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, out)
}

// A majorDetail is a major with its history and pages.
type majorDetail struct {
	majorRecord
	Timeline []changeRecord `json:"timeline"`
	Pages    []pageRecord   `json:"pages"`
}

func (s *Server) majorDetail(ctx context.Context, id int64) (out majorDetail, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		m, err := tx.Major(id)
		if err != nil {
			return err
		}
		changes, err := tx.ChangesOfMajor(id, detailTimeline)
		if err != nil {
			return err
		}
		pages, err := tx.Pages(store.PageFilter{Major: id, Limit: detailPages})
		if err != nil {
			return err
		}
		out = majorDetail{majorRecordOf(m), each(changes, changeRecordOf), each(pages, pageRecordOf)}
		return nil
	})
	return out, err
}

// pages answers a list, the newest due first.
func (s *Server) pages(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "incident", "major", "person", "state", "limit", "next")
	f := store.PageFilter{Incident: q.id("incident", 'i'), Major: q.id("major", 'm'), Person: q.text("person"), Limit: q.limit()}
	for _, v := range words[pageState](q, "state") {
		f.States = append(f.States, tocsin.PageState(v))
	}
	f.BeforeDue, f.BeforeID = q.page("next")
	if q.err() != nil {
		return q.err()
	}
	limit := f.Limit
	f.Limit++
	var found []tocsin.Page
	err := s.view(r.Context(), func(tx *store.Tx) (err error) {
		found, err = tx.Pages(f)
		return err
	})
	if err != nil {
		return err
	}
	var next orNull
	if len(found) > limit {
		found = found[:limit]
		next = behind(found[limit-1])
	}
	return answer(w, struct {
		Pages []pageRecord `json:"pages"`
		Next  orNull       `json:"next"`
	}{each(found, pageRecordOf), next})
}

// behind is where a list of pages goes on after p: when p was due, in microseconds, and its id, for pages that were due at the same time.
func behind(p tocsin.Page) orNull {
	return orNull(strconv.FormatInt(p.DueAt.UnixMicro(), 36) + "." + p.ID)
}

// page reads what behind wrote; the zero time where there is none.
func (q *query) page(name string) (due time.Time, id string) {
	if !q.values.Has(name) {
		return due, ""
	}
	first, id, ok := strings.Cut(q.text(name), ".")
	micros, err := strconv.ParseInt(first, 36, 64)
	if !ok || err != nil || micros <= 0 || id == "" || len(id) > 100 {
		q.wrong(name, fmt.Sprintf("%q is no next of a list of pages", q.text(name)))
		return due, ""
	}
	return time.UnixMicro(micros).UTC(), id
}

// pageState is a tocsin.PageState that can be read.
type pageState tocsin.PageState

// UnmarshalText reads the word.
func (s *pageState) UnmarshalText(b []byte) error {
	for v := tocsin.PageDue; v <= tocsin.PageCancelled; v++ {
		if v.String() == string(b) {
			*s = pageState(v)
			return nil
		}
	}
	return fmt.Errorf("%q is none of due, claimed, unknown, sent, delivered, failed, answered, cancelled", b)
}

// off is a way to page a person that is turned off.
type off struct {
	Person  string `json:"person"`
	Channel string `json:"channel"`
	Since   stamp  `json:"since"`
	Why     string `json:"why"`
}

// offOf is what is turned off of people.
func (s *Server) offOf(rows []store.ContactOff, people []string) (out []off) {
	for _, name := range people {
		p, known := s.Desk.Person(name)
		for _, c := range rows {
			if known && p.Phone == c.Address {
				out = append(out, off{name, c.Channel, stamp(c.Since), c.Why})
			}
		}
	}
	return out
}

// oncall answers who is on call at one instant.
func (s *Server) oncall(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "at")
	at := q.time("at", s.Now().UTC())
	if q.err() != nil {
		return q.err()
	}
	type duty struct {
		Schedule string   `json:"schedule"`
		Team     orNull   `json:"team"`
		People   []string `json:"people"`
		Why      string   `json:"why"`
		Until    stamp    `json:"until"`
		Off      []off    `json:"off,omitempty"`
	}
	var rows []store.ContactOff
	err := s.view(r.Context(), func(tx *store.Tx) (err error) {
		rows, err = tx.ContactsOff()
		return err
	})
	if err != nil {
		return err
	}
	return answer(w, struct {
		At     stamp  `json:"at"`
		OnCall []duty `json:"oncall"`
	}{stamp(at), each(s.Desk.OnCall(at), func(d Duty) duty {
		return duty{d.Schedule, orNull(d.Team), some(d.People), d.Why, stamp(d.Until), s.offOf(rows, d.People)}
	})})
}

const (
	usualShow   = 14 * 24 * time.Hour
	longestShow = 366 * 24 * time.Hour
)

// schedule answers who has a schedule's pager from one time to another.
func (s *Server) schedule(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r, "from", "to")
	from := q.time("from", s.Now().UTC().Truncate(time.Second))
	to := q.time("to", from.Add(usualShow))
	if span := to.Sub(from); span <= 0 || span > longestShow {
		q.wrong("to", "must be after from, by at most 366 days")
	}
	if q.err() != nil {
		return q.err()
	}
	shifts, ok := s.Desk.Shifts(r.PathValue("name"), from, to)
	if !ok {
		return refuse(http.StatusNotFound, "there is no schedule of this name")
	}
	type shift struct {
		From   stamp    `json:"from"`
		To     stamp    `json:"to"`
		People []string `json:"people"`
		Layer  orNull   `json:"layer"`
	}
	return answer(w, struct {
		Schedule string  `json:"schedule"`
		From     stamp   `json:"from"`
		To       stamp   `json:"to"`
		Shifts   []shift `json:"shifts"`
	}{r.PathValue("name"), stamp(from), stamp(to), each(shifts, func(x Shift) shift {
		return shift{stamp(x.From), stamp(x.To), some(x.People), orNull(x.Layer)}
	})})
}
