package store

import (
	"fmt"
	"math/rand/v2"
	"time"
)

var timerColumns = cols("id partition kind incident major due_at round step data")

var insertTimer = timerColumns.insert("timer")

// AddTimers adds timers and gives each an ID where it has none: a random one, so that nodes need no common counter.
func (t *Tx) AddTimers(timers []Timer) error {
	for i := range timers {
		for timers[i].ID == 0 {
			timers[i].ID = rand.Int64() //nolint:gosec // an id, not a secret
		}
	}
	err := t.conn.Each(insertTimer, len(timerColumns), len(timers), func(n int, c []any) {
		m := &timers[n]
		c[0], c[1], c[2], c[3], c[4] = m.ID, int64(m.Partition), m.Kind, m.Incident, m.Major
		c[5], c[6], c[7], c[8] = micros(m.DueAt), int64(m.Round), int64(m.Step), m.Data
	}, nil)
	if err != nil {
		return fmt.Errorf("add %d timers: %w", len(timers), err)
	}
	return nil
}

func scanTimer(r Row) (Timer, error) {
	return Timer{
		ID: r.Int(0), Partition: int(r.Int(1)), Kind: r.Text(2), Incident: r.Int(3), Major: r.Int(4), DueAt: r.Time(5),
		Round: int(r.Int(6)), Step: int(r.Int(7)), Data: r.Text(8),
	}, nil
}

// DueTimers returns up to limit timers that are due at now, the longest due first. Whoever fires one first deletes it, in the same
// transaction, and goes on only when DeleteTimer says that it was there. Those of some partitions may be left out.
func (t *Tx) DueTimers(now time.Time, limit int, except ...int) ([]Timer, error) {
	w := &where{}
	w.add("due_at <= ?", micros(now))
	besides(w, "partition", except)
	w.args = append(w.args, limit)
	return all(t, "due timers", scanTimer, fmt.Sprintf("SELECT %s FROM timer%s ORDER BY due_at, id LIMIT $%d", timerColumns.list(""), w, len(w.args)), w.args...)
}

// Timers returns the timers of the incident or the major (the other is 0), the next due first.
func (t *Tx) Timers(incident, major int64) ([]Timer, error) {
	column, id := timerOf(incident, major)
	return all(t, "timers", scanTimer, fmt.Sprintf("SELECT %s FROM timer WHERE %[2]s = $1 AND %[2]s > 0 ORDER BY due_at, id", timerColumns.list(""), column), id)
}

// DeleteTimer deletes a timer and reports whether it was there: exactly one caller is told so.
func (t *Tx) DeleteTimer(id int64) (bool, error) {
	n, err := t.exec("delete timer", "DELETE FROM timer WHERE id = $1", id)
	return n == 1, err
}

// CancelTimers deletes the timers of these kinds of the incident or the major (the other is 0); no kinds means all of them.
func (t *Tx) CancelTimers(incident, major int64, kinds ...string) error {
	column, id := timerOf(incident, major)
	query := fmt.Sprintf("DELETE FROM timer WHERE %[1]s = $1 AND %[1]s > 0", column)
	if len(kinds) == 0 {
		_, err := t.exec("cancel timers", query, id)
		return err
	}
	for _, kind := range kinds {
		_, err := t.exec("cancel timers", query+" AND kind = $2", id, kind)
		if err != nil {
			return err
		}
	}
	return nil
}

// NextTimerDue returns when the next timer is due; the zero time where there is none. Those of some partitions may be left out.
func (t *Tx) NextTimerDue(except ...int) (time.Time, error) {
	w := &where{}
	besides(w, "partition", except)
	n, err := t.number("next timer", "SELECT MIN(due_at) FROM timer"+w.String(), w.args...)
	return timeOf(n), err
}

func timerOf(incident, major int64) (column string, id int64) {
	if major != 0 {
		return "major", major
	}
	return "incident", incident
}
