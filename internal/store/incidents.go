package store

import (
	"cmp"
	"fmt"
	"time"

	"tocsin"
)

// codeRest is how long a short code is not given again after its incident or major was resolved.
const codeRest = 7 * 24 * time.Hour

var incidentColumns = cols(`id partition state major severity priority urgency code opened_at newest_at page_at paged acked_at acked_by
	resolved_at resolved_by open_alerts alerts reopened title rule key grp labels service escalation team`)

var putIncident = incidentColumns.upsert("incident", 1)

// PutIncidents inserts incidents, or replaces their whole rows.
func (t *Tx) PutIncidents(incidents []tocsin.Incident) error {
	err := t.conn.Each(putIncident, len(incidentColumns), len(incidents), func(n int, c []any) {
		i := &incidents[n]
		c[0], c[1], c[2], c[3], c[4] = i.ID, int64(i.Partition), int64(i.State), i.Major, int64(i.Severity)
		c[5], c[6], c[7], c[8] = int64(i.Priority), int64(i.Urgency), int64(i.Code), micros(i.OpenedAt)
		c[9], c[10], c[11], c[12], c[13] = micros(i.NewestAt), micros(i.PageAt), flag(i.Paged), micros(i.AckedAt), i.AckedBy
		c[14], c[15], c[16], c[17], c[18] = micros(i.ResolvedAt), i.ResolvedBy, int64(i.Open), int64(i.Alerts), int64(i.Reopened)
		c[19], c[20], c[21], c[22] = i.Title, i.Rule, i.Key, i.Group
		c[23], c[24], c[25], c[26] = string(appendLabels(nil, i.Labels)), i.Service, i.Escalation, i.Team
	}, nil)
	if err != nil {
		return fmt.Errorf("put %d incidents: %w", len(incidents), err)
	}
	return nil
}

func scanIncident(r Row) (tocsin.Incident, error) {
	labels, err := parseLabels(r.Text(23), nil)
	return tocsin.Incident{
		ID: r.Int(0), Partition: int(r.Int(1)), State: tocsin.IncidentState(r.Int(2)), Major: r.Int(3), Severity: tocsin.Severity(r.Int(4)),
		Priority: int(r.Int(5)), Urgency: tocsin.Urgency(r.Int(6)), Code: int(r.Int(7)), OpenedAt: r.Time(8),
		NewestAt: r.Time(9), PageAt: r.Time(10), Paged: r.Int(11) != 0, AckedAt: r.Time(12), AckedBy: r.Text(13),
		ResolvedAt: r.Time(14), ResolvedBy: r.Text(15), Open: int(r.Int(16)), Alerts: int(r.Int(17)), Reopened: int(r.Int(18)),
		Title: r.Text(19), Rule: r.Text(20), Key: r.Text(21), Group: r.Text(22),
		Labels: labels, Service: r.Text(24), Escalation: r.Text(25), Team: r.Text(26),
	}, err
}

// Incident returns one incident; ErrNotFound where there is none.
func (t *Tx) Incident(id int64) (tocsin.Incident, error) {
	return one(t, "incident "+tocsin.IncidentID(id), scanIncident, "SELECT "+incidentColumns.list("")+" FROM incident WHERE id = $1", id)
}

// Incidents returns the incidents that f chooses, newest first.
func (t *Tx) Incidents(f IncidentFilter) ([]tocsin.Incident, error) {
	w := &where{}
	among(w, "state", numbers(f.States))
	if f.Service != "" {
		w.add("service = ? AND service <> ''", tocsin.Handle(f.Service))
	}
	if f.Major != 0 {
		w.add("major = ? AND major > 0", f.Major)
	}
	if f.Before != 0 {
		w.add("id < ?", f.Before)
	}
	w.args = append(w.args, cmp.Or(f.Limit, 100))
	return all(t, "incidents", scanIncident, fmt.Sprintf("SELECT %s FROM incident%s ORDER BY id DESC LIMIT $%d",
		incidentColumns.list(""), w, len(w.args)), w.args...)
}

// OpenIncidents returns all incidents of the partition that are triggered or acknowledged, ids rising.
func (t *Tx) OpenIncidents(partition int) ([]tocsin.Incident, error) {
	return all(t, "open incidents", scanIncident, "SELECT "+incidentColumns.list("")+
		" FROM incident WHERE state IN (1, 2) AND partition = $1 ORDER BY id", partition)
}

// ResolvedSince returns the incidents of the partition that were resolved after since and are not open, ids rising.
func (t *Tx) ResolvedSince(partition int, since time.Time) ([]tocsin.Incident, error) {
	return all(t, "resolved incidents", scanIncident, "SELECT "+incidentColumns.list("")+
		" FROM incident WHERE resolved_at > $1 AND resolved_at > 0 AND state > 2 AND partition = $2 ORDER BY id", micros(since), partition)
}

// IncidentByCode returns the incident that a person means by a code at the time now: the open one, else the one that was resolved
// last, in the seven days before. ErrNotFound where there is none.
func (t *Tx) IncidentByCode(code int, now time.Time) (tocsin.Incident, error) {
	return one(t, fmt.Sprintf("code %d", code), scanIncident, "SELECT "+incidentColumns.list("")+` FROM incident
		WHERE code = $1 AND code > 0 AND (state IN (1, 2) OR resolved_at > $2)
		ORDER BY CASE WHEN state IN (1, 2) THEN 0 ELSE 1 END, resolved_at DESC, id DESC LIMIT 1`, code, micros(now.Add(-codeRest)))
}

// UsedCodes returns the codes that may not be given at the time now, with how many incidents and majors of the partition
// hold each: those of open ones, and of those resolved in the seven days before.
func (t *Tx) UsedCodes(partition int, now time.Time) (map[int]int, error) {
	used := make(map[int]int)
	since := micros(now.Add(-codeRest))
	for _, query := range [...]string{
		"SELECT code FROM incident WHERE state IN (1, 2) AND code > 0 AND partition = $1 AND $2 > 0",
		"SELECT code FROM incident WHERE resolved_at > $2 AND resolved_at > 0 AND state > 2 AND code > 0 AND partition = $1",
		"SELECT code FROM major WHERE code > 0 AND partition = $1 AND (state IN (1, 2) OR resolved_at > $2 OR decided_at > $2)",
	} {
		for r, err := range t.conn.Query(query, partition, since) {
			if err != nil {
				return nil, fmt.Errorf("read used codes: %w", err)
			}
			used[int(r.Int(0))]++
		}
	}
	return used, nil
}

// IncidentCounts returns how many incidents there are in each state, of those that retention keeps.
func (t *Tx) IncidentCounts() (map[tocsin.IncidentState]int, error) {
	counts := make(map[tocsin.IncidentState]int)
	for r, err := range t.conn.Query("SELECT state, COUNT(*) FROM incident GROUP BY state") {
		if err != nil {
			return nil, fmt.Errorf("count incidents: %w", err)
		}
		counts[tocsin.IncidentState(r.Int(0))] = int(r.Int(1))
	}
	return counts, nil
}

// numbers is how states go into a statement.
func numbers[S ~uint8](states []S) []int64 {
	out := make([]int64, len(states))
	for i, s := range states {
		out[i] = int64(s)
	}
	return out
}

// Codes returns the codes of a partition's class (those that leave the partition's number when they are divided by how many partitions
// there are) that may not be given at the time now, with when the incident or major that has it ended; the zero time where it is open.
// Those that ended longer ago than seven days are free again. Whoever has a code may be of another partition, since there were more
// or fewer of them once: then the time is zero, too, because that one may open again and nobody would tell this partition.
func (t *Tx) Codes(partition int, now time.Time) (map[int]time.Time, error) {
	n, err := t.Partitions()
	if err != nil {
		return nil, err
	}
	codes := make(map[int]time.Time)
	since := micros(now.Add(-codeRest))
	for _, query := range [...]string{
		"SELECT code, CASE WHEN partition = $1 THEN resolved_at ELSE 0 END FROM incident WHERE resolved_at > $2 AND resolved_at > 0 AND state > 2 AND code > 0 AND code % $3 = $1",
		`SELECT code, CASE WHEN partition <> $1 THEN 0 WHEN resolved_at > decided_at THEN resolved_at ELSE decided_at END FROM major
			WHERE code > 0 AND code % $3 = $1 AND state NOT IN (1, 2) AND (resolved_at > $2 OR decided_at > $2)`,
		"SELECT code, 0 FROM incident WHERE state IN (1, 2) AND code > 0 AND code % $3 = $1 AND $2 > 0",
		"SELECT code, 0 FROM major WHERE state IN (1, 2) AND code > 0 AND code % $3 = $1 AND $2 > 0",
	} {
		for r, err := range t.conn.Query(query, partition, since, n) {
			if err != nil {
				return nil, fmt.Errorf("read codes: %w", err)
			}
			code, ended := int(r.Int(0)), r.Time(1)
			if was, known := codes[code]; known && (was.IsZero() || !ended.IsZero() && ended.Before(was)) {
				continue // it is in use, or rests longer
			}
			codes[code] = ended
		}
	}
	return codes, nil
}
