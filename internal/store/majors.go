package store

import (
	"cmp"
	"fmt"
	"time"

	"tocsin"
)

var majorColumns = cols(`id partition state phase title rule scope priority escalation action on_timeout decide_after_us code measures
	peak limits incidents proposed_at decide_by escalated decided_at decided_by resolved_at led_by`)

var putMajor = majorColumns.upsert("major", 1)

// PutMajors inserts majors, or replaces their whole rows.
func (t *Tx) PutMajors(majors []tocsin.Major) error {
	var bad error
	asJSON := func(v any) string {
		text, err := toJSON(v)
		if err != nil {
			bad = err
		}
		return text
	}
	err := t.conn.Each(putMajor, len(majorColumns), len(majors), func(n int, c []any) {
		m := &majors[n]
		c[0], c[1], c[2], c[3], c[4], c[5] = m.ID, int64(m.Partition), int64(m.State), m.Phase, m.Title, m.Rule
		c[6], c[7], c[8], c[9], c[10] = string(appendLabels(nil, m.Scope)), int64(m.Priority), m.Escalation, m.Action, m.OnTimeout
		c[11], c[12], c[13], c[14], c[15] = m.DecideAfter.Microseconds(), int64(m.Code), asJSON(m.Measures), asJSON(m.Peak), asJSON(m.Limits)
		c[16], c[17], c[18], c[19] = asJSON(m.Incidents), micros(m.ProposedAt), micros(m.DecideBy), int64(m.Escalated)
		c[20], c[21], c[22], c[23] = micros(m.DecidedAt), m.DecidedBy, micros(m.ResolvedAt), m.LedBy
	}, nil)
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("put %d majors: %w", len(majors), err)
	}
	return nil
}

func scanMajor(r Row) (tocsin.Major, error) {
	m := tocsin.Major{
		ID: r.Int(0), Partition: int(r.Int(1)), State: tocsin.MajorState(r.Int(2)), Phase: r.Text(3), Title: r.Text(4), Rule: r.Text(5),
		Priority: int(r.Int(7)), Escalation: r.Text(8), Action: r.Text(9), OnTimeout: r.Text(10),
		DecideAfter: time.Duration(r.Int(11)) * time.Microsecond, Code: int(r.Int(12)),
		ProposedAt: r.Time(17), DecideBy: r.Time(18), Escalated: int(r.Int(19)), DecidedAt: r.Time(20), DecidedBy: r.Text(21), ResolvedAt: r.Time(22),
		LedBy: r.Text(23),
	}
	scope, err := parseLabels(r.Text(6), nil)
	if err != nil {
		return m, err
	}
	m.Scope = scope
	for i, v := range map[int]any{13: &m.Measures, 14: &m.Peak, 15: &m.Limits, 16: &m.Incidents} {
		err := fromJSON(r.Text(i), v)
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

// Major returns one major; ErrNotFound where there is none.
func (t *Tx) Major(id int64) (tocsin.Major, error) {
	return one(t, "major "+tocsin.MajorID(id), scanMajor, "SELECT "+majorColumns.list("")+" FROM major WHERE id = $1", id)
}

// A MajorFilter chooses majors; the zero value is all of them, newest first.
type MajorFilter struct {
	States []tocsin.MajorState
	Before int64 // ids below this; 0: from the newest
	Limit  int   // 0: 100
}

// Majors returns the majors that f chooses, newest first.
func (t *Tx) Majors(f MajorFilter) ([]tocsin.Major, error) {
	w := &where{}
	among(w, "state", numbers(f.States))
	if f.Before != 0 {
		w.add("id < ?", f.Before)
	}
	w.args = append(w.args, cmp.Or(f.Limit, 100))
	return all(t, "majors", scanMajor, fmt.Sprintf("SELECT %s FROM major%s ORDER BY id DESC LIMIT $%d", majorColumns.list(""), w, len(w.args)), w.args...)
}

// MajorsSince returns the majors of the partition that are open, or were decided or resolved after since, ids rising: what
// a correlator must know when it starts.
func (t *Tx) MajorsSince(partition int, since time.Time) ([]tocsin.Major, error) {
	return all(t, "majors", scanMajor, "SELECT "+majorColumns.list("")+` FROM major
		WHERE partition = $1 AND (state IN (1, 2) OR decided_at > $2 OR resolved_at > $2) ORDER BY id`, partition, micros(since))
}

// MajorByCode returns the major that a person means by a code at the time now: the open one, else the one that ended last, in the
// seven days before. ErrNotFound where there is none.
func (t *Tx) MajorByCode(code int, now time.Time) (tocsin.Major, error) {
	return one(t, fmt.Sprintf("code %d", code), scanMajor, "SELECT "+majorColumns.list("")+` FROM major
		WHERE code = $1 AND code > 0 AND (state IN (1, 2) OR resolved_at > $2 OR decided_at > $2)
		ORDER BY CASE WHEN state IN (1, 2) THEN 0 ELSE 1 END, id DESC LIMIT 1`, code, micros(now.Add(-codeRest)))
}
