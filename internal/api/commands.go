package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tocsin"
	"tocsin/correlate"
	"tocsin/ingest"
	"tocsin/internal/store"
)

// maxNote is how many bytes a note may have.
const maxNote = 10_000

// An order is the body of a command.
type order struct {
	By   string // "" is whoever sends it
	Note string
}

// order reads the body of a command, and says in whose name it is carried out.
func (s *Server) order(w http.ResponseWriter, r *http.Request) (order, error) {
	if err := parseQuery(r).err(); err != nil {
		return order{}, err
	}
	body, err := takeBody(w, r, maxBody)
	switch {
	case errors.Is(err, errTooBig):
		return order{}, err
	case err != nil:
		return order{}, bad("body", "", "it did not come to its end: "+err.Error())
	}
	o, err := parseOrder(body)
	if err != nil {
		return o, err
	}
	o.By, err = s.inNameOf(whoIs(r), o.By)
	return o, err
}

// parseOrder reads a body as strictly as the doors do: a name that stands twice or in other letters says nothing. An empty one, and null, say
// nothing, too.
func parseOrder(body []byte) (o order, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return o, nil
	}
	var scan ingest.Scanner
	scan.Reset(body)
	var names ingest.Names
	switch {
	case scan.Null():
	case !scan.Object():
		scan.Fail("an object is due")
	default:
		for {
			name, ok := scan.Field()
			if !ok {
				break
			}
			into, known := map[string]*string{"by": &o.By, "note": &o.Note}[name]
			switch {
			case !known:
				return o, bad("body", ingest.Cut(name, 64), "no such field: by, note")
			case !names.Add(name):
				return o, bad("body", name, "it stands twice")
			}
			*into, err = orderText(&scan, name)
			if err != nil {
				return o, err
			}
		}
	}
	scan.End()
	if err := scan.Err(); err != nil {
		return o, bad("body", "", `it is no JSON such as {"by":"one","note":"..."}: `+err.Error())
	}
	switch {
	case len(o.Note) > maxNote:
		return o, bad("body", "note", fmt.Sprintf("%d bytes: at most %d", len(o.Note), maxNote))
	case strings.ContainsRune(o.Note, 0):
		return o, bad("body", "note", "a NUL character")
	}
	return o, nil
}

// orderText reads the text of a field; null is none. What is no JSON at all the scanner knows.
func orderText(scan *ingest.Scanner, field string) (string, error) {
	if scan.Null() {
		return "", nil
	}
	kind := scan.Peek()
	if text, _, ok := scan.Text(); ok || kind == '"' {
		return text, nil
	}
	scan.Skip()
	if scan.Err() != nil {
		return "", nil
	}
	what := "number"
	switch kind {
	case '{':
		what = "object"
	case '[':
		what = "array"
	case 't', 'f':
		what = "bool"
	}
	return "", bad("body", field, "must be string, not "+what)
}

// inNameOf says who does what id commands: a person is always itself, a robot may say whom it speaks for.
func (s *Server) inNameOf(id identity, by string) (string, error) {
	if by == "" || by == id.name {
		return id.name, nil
	}
	if !id.robot {
		return "", &problem{Status: http.StatusForbidden, Detail: "you are " + id.name, Errors: []fault{{"body", "by", "only a robot may act in another's name"}}}
	}
	p, ok := s.Desk.Person(by)
	if !ok {
		return "", bad("body", "by", fmt.Sprintf("nobody is called %q in the configuration", by))
	}
	return p.Name, nil
}

// commandIncident carries out do, and answers the incident as it is then.
func (s *Server) commandIncident(do string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, 'i')
		if err != nil {
			return err
		}
		o, err := s.order(w, r)
		if err != nil {
			return err
		}
		if do == tocsin.DoNote && o.Note == "" {
			return bad("body", "note", "is empty")
		}
		i, err := s.Desk.Incident(r.Context(), id, do, o.By, o.Note)
		if refused, ok := errors.AsType[*correlate.StateError](err); ok {
			i, err = s.alreadyIncident(r, id, do, o.By, refused)
		}
		if err != nil {
			return err
		}
		return answer(w, incidentRecordOf(i))
	}
}

// lookBack is how many lines of the history may stand after a command that is said again.
const lookBack = 50

// alreadyIncident returns the incident where the newest command about it is this one, by the same person: then it has been done.
func (s *Server) alreadyIncident(r *http.Request, id int64, do, by string, refused error) (i tocsin.Incident, err error) {
	err = s.view(r.Context(), func(tx *store.Tx) error {
		changes, err := tx.ChangesOfIncident(id, lookBack)
		if err != nil {
			return err
		}
		if !said(changes, do, by) {
			return refused
		}
		i, err = tx.Incident(id)
		return err
	})
	return i, err
}

// said reports whether the newest command among changes, which are in order, is do by this person. Notes do not count.
func said(changes []tocsin.Change, do, by string) bool {
	for n := len(changes) - 1; n >= 0; n-- {
		c := changes[n]
		switch {
		case c.Kind == tocsin.DoNote:
		case tocsin.IsCommand(c.Kind):
			return c.Kind == do && c.Actor == by
		case c.Kind == tocsin.ChangeReopened, c.Kind == tocsin.ChangeResolved:
			return false
		}
	}
	return false
}

// commandMajor carries out do, and answers the major as it is then.
func (s *Server) commandMajor(do string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, 'm')
		if err != nil {
			return err
		}
		o, err := s.order(w, r)
		if err != nil {
			return err
		}
		if do == tocsin.DoNote && o.Note == "" {
			return bad("body", "note", "is empty")
		}
		m, err := s.Desk.Major(r.Context(), id, do, o.By, o.Note)
		if refused, ok := errors.AsType[*correlate.StateError](err); ok {
			m, err = s.alreadyMajor(r, id, do, o.By, refused)
		}
		if err != nil {
			return err
		}
		return answer(w, majorRecordOf(m))
	}
}

func (s *Server) alreadyMajor(r *http.Request, id int64, do, by string, refused error) (m tocsin.Major, err error) {
	err = s.view(r.Context(), func(tx *store.Tx) error {
		changes, err := tx.ChangesOfMajor(id, lookBack)
		if err != nil {
			return err
		}
		if !said(changes, do, by) {
			return refused
		}
		m, err = tx.Major(id)
		return err
	})
	return m, err
}
