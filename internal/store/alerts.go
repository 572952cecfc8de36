package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"

	"tocsin"
)

var alertColumns = cols(`id partition status incident severity fingerprint source service host alertname starts_at first_at last_at
	ends_at count as_of rule grp labels key word summary about url annotations why joined content`)

var (
	addAlert = alertColumns.insert("alert")
	putAlert = alertColumns.upsert("alert", 1)
)

// AddAlerts inserts alerts that are not there yet.
func (t *Tx) AddAlerts(alerts []tocsin.Alert) error { return t.writeAlerts(addAlert, alerts) }

// PutAlerts inserts alerts, or replaces their whole rows.
func (t *Tx) PutAlerts(alerts []tocsin.Alert) error { return t.writeAlerts(putAlert, alerts) }

func (t *Tx) writeAlerts(query string, alerts []tocsin.Alert) error {
	var buf []byte
	var bad error
	err := t.conn.Each(query, len(alertColumns), len(alerts), func(i int, c []any) {
		a := &alerts[i]
		why := a.Why
		why.Joined = "" // has a column of its own, which MoveAlerts changes
		reason, err := toJSON(why)
		if err != nil {
			bad = err
		}
		c[0], c[1], c[2], c[3], c[4] = a.ID, int64(a.Partition), int64(a.Status), a.Incident, int64(a.Severity)
		c[5], c[6], c[7], c[8], c[9] = a.Fingerprint[:], a.Source, tocsin.Handle(a.Labels.Get("service")), tocsin.Handle(tocsin.HostOf(a.Labels)), tocsin.Handle(a.Labels.Get("alertname"))
		c[10], c[11], c[12], c[13] = micros(a.StartsAt), micros(a.FirstAt), micros(a.LastAt), micros(a.EndsAt)
		c[14], c[15], c[16], c[17] = a.Count, a.AsOf, a.Rule, a.Group
		buf = appendLabels(buf[:0], a.Labels)
		c[18] = string(buf)
		c[19], c[20], c[21], c[22], c[23] = a.Key, a.Word, a.Summary, a.About, a.URL
		buf = appendLabels(buf[:0], a.Annotations)
		c[24] = string(buf)
		c[25], c[26], c[27] = reason, a.Why.Joined, int64(a.Content) //nolint:gosec // the same 64 bits
	}, nil)
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("write %d alerts: %w", len(alerts), err)
	}
	return nil
}

// An AlertMove is what changes of an alert that resolves, fires again or moves between incidents, without anything that its
// sender says of it.
type AlertMove struct {
	ID       int64
	Status   tocsin.Status
	Incident int64
	Severity tocsin.Severity
	LastAt   time.Time
	EndsAt   time.Time
	Count    int64
	AsOf     int64
	Joined   string // Why.Joined; "" leaves it as it is
}

const moveAlert = `UPDATE alert SET status = $1, incident = $2, severity = $3, last_at = $4, ends_at = $5,
	count = $6, as_of = $7, joined = COALESCE(NULLIF($8, ''), joined) WHERE id = $9`

// MoveAlerts changes the rows of alerts that are there; ErrNotFound names the first that is not.
func (t *Tx) MoveAlerts(moves []AlertMove) error {
	lost := int64(0)
	err := t.conn.Each(moveAlert, 9, len(moves), func(i int, c []any) {
		m := &moves[i]
		c[0], c[1], c[2] = int64(m.Status), m.Incident, int64(m.Severity)
		c[3], c[4], c[5], c[6], c[7], c[8] = micros(m.LastAt), micros(m.EndsAt), m.Count, m.AsOf, m.Joined, m.ID
	}, func(i int, changed int64) {
		if changed == 0 && lost == 0 {
			lost = moves[i].ID
		}
	})
	if err != nil {
		return fmt.Errorf("move %d alerts: %w", len(moves), err)
	}
	if lost != 0 {
		return fmt.Errorf("move alert %s: %w", tocsin.AlertID(lost), ErrNotFound)
	}
	return nil
}

func scanAlert(r Row) (tocsin.Alert, error) {
	a := tocsin.Alert{
		ID: r.Int(0), Partition: int(r.Int(1)), Status: tocsin.Status(r.Int(2)), Incident: r.Int(3), Severity: tocsin.Severity(r.Int(4)),
		Source: r.Text(6), StartsAt: r.Time(10), FirstAt: r.Time(11), LastAt: r.Time(12), EndsAt: r.Time(13),
		Count: r.Int(14), AsOf: r.Int(15), Rule: r.Text(16), Group: r.Text(17),
		Key: r.Text(19), Word: r.Text(20), Summary: r.Text(21), About: r.Text(22), URL: r.Text(23),
	}
	copy(a.Fingerprint[:], r.Bytes(5))
	var err error
	a.Labels, err = parseLabels(r.Text(18), nil)
	if err != nil {
		return a, err
	}
	a.Annotations, err = parseLabels(r.Text(24), nil)
	if err != nil {
		return a, err
	}
	err = fromJSON(r.Text(25), &a.Why)
	a.Why.Joined = r.Text(26)
	a.Content = uint64(r.Int(27)) //nolint:gosec // the same 64 bits
	return a, err
}

// Alert returns one alert, with what repeats said of it; ErrNotFound where there is none.
func (t *Tx) Alert(id int64) (tocsin.Alert, error) {
	a, err := one(t, "alert "+tocsin.AlertID(id), scanAlert, "SELECT "+alertColumns.list("")+" FROM alert WHERE id = $1", id)
	if err != nil {
		return a, err
	}
	batch := []tocsin.Alert{a}
	err = t.mergeTouches(batch)
	return batch[0], err
}

// Alerts yields the alerts that f chooses, with what repeats said of them, ids rising. It reads some hundred at a time, so other methods of
// t may be called meanwhile; in an Update, what they change may or may not be yielded.
func (t *Tx) Alerts(f AlertFilter) iter.Seq2[tocsin.Alert, error] {
	return pages(f, func(f AlertFilter) ([]tocsin.Alert, error) {
		w := f.where()
		w.args = append(w.args, f.Limit)
		batch, err := all(t, "alerts", scanAlert, fmt.Sprintf("SELECT %s FROM alert a%s ORDER BY a.id LIMIT $%d",
			alertColumns.list("a"), w, len(w.args)), w.args...)
		if err != nil {
			return nil, err
		}
		return batch, t.mergeTouches(batch)
	}, func(a tocsin.Alert) int64 { return a.ID })
}

// A RawAlert is an alert as a listing for other programs wants it: nothing is decoded.
type RawAlert struct {
	ID            int64
	Partition     int
	Status        tocsin.Status
	Incident      int64
	IncidentState tocsin.IncidentState // 0: in none
	Escalation    string               // the incident's, as is Team and Service
	Team          string
	Service       string
	Fingerprint   tocsin.Fingerprint
	Source        string
	Labels        string // a JSON object, names in order
	Annotations   string // a JSON object, names in order
	URL           string
	StartsAt      time.Time
	LastAt        time.Time
	EndsAt        time.Time
	asOf          int64
}

// RawAlerts yields the alerts that f chooses as Alerts does, several times as fast.
func (t *Tx) RawAlerts(f AlertFilter) iter.Seq2[RawAlert, error] {
	touches := touchCache{t: t}
	return pages(f, func(f AlertFilter) ([]RawAlert, error) {
		w := f.where()
		w.args = append(w.args, f.Limit)
		batch := make([]RawAlert, 0, min(f.Limit, pageRows))
		for r, err := range t.conn.Query(fmt.Sprintf(rawAlerts, w, len(w.args)), w.args...) {
			if err != nil {
				return nil, fmt.Errorf("read alerts: %w", err)
			}
			a := RawAlert{
				ID: r.Int(0), Partition: int(r.Int(1)), Status: tocsin.Status(r.Int(2)), Incident: r.Int(3), Source: r.Text(5),
				StartsAt: r.Time(6), LastAt: r.Time(7), EndsAt: r.Time(8), asOf: r.Int(9), Labels: r.Text(10), URL: r.Text(11),
				Annotations: r.Text(12), IncidentState: tocsin.IncidentState(r.Int(13)),
				Escalation: r.Text(14), Team: r.Text(15), Service: r.Text(16),
			}
			copy(a.Fingerprint[:], r.Bytes(4))
			batch = append(batch, a)
		}
		err := touches.load(batchChunks(batch, func(a *RawAlert) (int, int64) { return a.Partition, a.ID }))
		if err != nil {
			return nil, err
		}
		for i := range batch {
			a := &batch[i]
			if to := touches.of(a.Partition, a.ID); to != nil && to.AsOf > a.asOf {
				a.LastAt, a.EndsAt = to.LastAt, to.EndsAt
			}
		}
		return batch, nil
	}, func(a RawAlert) int64 { return a.ID })
}

const rawAlerts = `SELECT a.id, a.partition, a.status, a.incident, a.fingerprint, a.source, a.starts_at, a.last_at, a.ends_at, a.as_of,
	a.labels, a.url, a.annotations, i.state, i.escalation, i.team, i.service
	FROM alert a LEFT JOIN incident i ON i.id = a.incident%s ORDER BY a.id LIMIT $%d`

// where returns the conditions of f on table a. Their wording follows the partial indexes; a + before a column keeps its index out of it, where
// another one finds fewer rows.
func (f AlertFilter) where() *where {
	w := &where{}
	status := "a.status"
	label := func(column, value string) {
		if value != "" {
			w.add("a."+column+" = ? AND a."+column+" <> ''", tocsin.Handle(value))
			status = "+a.status"
		}
	}
	label("service", f.Service)
	label("host", f.Host)
	label("alertname", f.Alertname)
	if f.Incident != 0 {
		w.add("a.incident = ?", f.Incident)
		status = "+a.status"
	}
	if f.Source != "" && status == "a.status" {
		w.add("a.source = ?", f.Source)
	} else if f.Source != "" {
		w.add("+a.source = ?", f.Source)
	}
	if f.Status == tocsin.Firing {
		w.add(status + " = 1")
	} else if f.Status != 0 {
		w.add(status+" = ?", int(f.Status))
	}
	if f.partition != nil {
		w.add("a.partition = ?", *f.partition)
	}
	w.add("a.id > ?", f.After)
	return w
}

// pageRows is how many rows of a listing are held at once.
const pageRows = 1024

// pages yields what read returns for f, some rows at a time, until f.Limit or the end.
func pages[T any](f AlertFilter, read func(AlertFilter) ([]T, error), id func(T) int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		left := f.Limit
		for {
			f.Limit = pageRows
			if left > 0 {
				f.Limit = min(left, pageRows)
			}
			batch, err := read(f)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, v := range batch {
				if !yield(v, nil) {
					return
				}
			}
			if len(batch) < f.Limit || left > 0 && left == len(batch) {
				return
			}
			f.After = id(batch[len(batch)-1])
			if left > 0 {
				left -= len(batch)
			}
		}
	}
}

var coreColumns = cols(`id incident severity fingerprint source starts_at first_at last_at ends_at count as_of rule grp content labels`)

// core reads alerts of one partition and status without what only people read. Names and values of labels come from keep.
func (t *Tx) core(partition int, status tocsin.Status, keep func(string) string, query string, args ...any) iter.Seq2[tocsin.Alert, error] {
	return func(yield func(tocsin.Alert, error) bool) {
		for r, err := range t.conn.Query(query, args...) {
			if err != nil {
				yield(tocsin.Alert{}, fmt.Errorf("load alerts of partition %d: %w", partition, err))
				return
			}
			a := tocsin.Alert{
				ID: r.Int(0), Partition: partition, Status: status, Incident: r.Int(1), Severity: tocsin.Severity(r.Int(2)),
				Source: keep(r.Text(4)), StartsAt: r.Time(5), FirstAt: r.Time(6), LastAt: r.Time(7), EndsAt: r.Time(8),
				Count: r.Int(9), AsOf: r.Int(10), Rule: keep(r.Text(11)), Group: keep(r.Text(12)),
				Content: uint64(r.Int(13)), //nolint:gosec // the same 64 bits
			}
			copy(a.Fingerprint[:], r.Bytes(3))
			a.Labels, err = parseLabels(r.Text(14), keep)
			if err != nil {
				err = fmt.Errorf("load alert %s: %w", tocsin.AlertID(a.ID), err)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// asRead leaves the strings of a row as they are, parts of one piece of memory: the correlator keeps its own of what it keeps.
func asRead(s string) string { return s }

// LoadAlerts yields what a correlator must know when it starts: the firing alerts of the partition, then the resolved ones whose
// incident is open or was resolved after the given time, or that ended after it before they were in any; within each kind ids rise. Key, Word, Summary, About, Annotations, URL and Why are left out, and
// touches are not merged: LoadTouches has them. No other method of t may be called meanwhile.
func (t *Tx) LoadAlerts(partition int, resolvedAfter time.Time) iter.Seq2[tocsin.Alert, error] {
	keep := asRead
	return func(yield func(tocsin.Alert, error) bool) {
		for a, err := range t.core(partition, tocsin.Firing, keep, loadFiring, partition, int64(0), int64(1)<<62) {
			if !yield(a, err) {
				return
			}
		}
		for a, err := range t.core(partition, tocsin.Resolved, keep, loadResolved, partition, micros(resolvedAfter)) {
			if !yield(a, err) {
				return
			}
		}
	}
}

var (
	loadFiring = "SELECT " + coreColumns.list("") + ` FROM alert WHERE status = 1 AND partition = $1 AND id > $2 AND id <= $3 ORDER BY id`

	loadResolved = "SELECT " + coreColumns.list("a") + ` FROM alert a WHERE a.status = 2 AND (a.incident IN (
		SELECT id FROM incident WHERE state IN (1, 2) AND partition = $1
		UNION SELECT id FROM incident WHERE resolved_at > $2 AND resolved_at > 0 AND partition = $1)
		OR a.incident = 0 AND a.last_at > $2 AND a.partition = $1) ORDER BY a.id`
)

// LoadAlerts is Tx.LoadAlerts on several connections at once: each takes one range of the firing alerts, and gives its alerts
// in slices to take, which is called by one goroutine at a time; order is kept within a slice only. All ranges are of the same state: where the partition
// changed meanwhile, they are read again by one connection, after reset.
func LoadAlerts(ctx context.Context, db DB, partition int, resolvedAfter time.Time, reset func(), take func([]tocsin.Alert) error) error {
	const ways = 2
	l := loader{partition: partition, resolvedAfter: resolvedAfter, full: make(chan []tocsin.Alert, ways)}
	var first Part
	err := db.View(ctx, func(t *Tx) (err error) {
		first, err = t.Part(partition)
		if err != nil {
			return err
		}
		l.bounds, err = t.bounds(partition, ways)
		return err
	})
	if err != nil {
		return err
	}
	same, err := l.run(ctx, db, first, take)
	if err != nil || same {
		return err
	}
	reset()
	l.bounds, l.full = []int64{0, 1 << 62}, make(chan []tocsin.Alert, 1)
	_, err = l.run(ctx, db, first, take)
	return err
}

// bounds cuts the ids of the partition's firing alerts into ranges of about the same width.
func (t *Tx) bounds(partition, ways int) ([]int64, error) {
	low, err := t.number("alerts", "SELECT MIN(id) FROM alert WHERE status = 1 AND partition = $1", partition)
	if err != nil {
		return nil, err
	}
	high, err := t.number("alerts", "SELECT MAX(id) FROM alert WHERE status = 1 AND partition = $1", partition)
	if err != nil {
		return nil, err
	}
	bounds := []int64{0}
	for i := 1; i < ways; i++ {
		bounds = append(bounds, low+(high-low)/int64(ways)*int64(i))
	}
	return append(bounds, 1<<62), nil
}

// loader reads the alerts of a partition by ranges.
type loader struct {
	partition     int
	resolvedAfter time.Time
	bounds        []int64
	full          chan []tocsin.Alert
}

// run reads every range; same is false when one of them saw another state than first.
func (l *loader) run(ctx context.Context, db DB, first Part, take func([]tocsin.Alert) error) (same bool, err error) {
	seen := make([]Part, len(l.bounds)-1)
	g, ctx := errgroup.WithContext(ctx)
	readers, readCtx := errgroup.WithContext(ctx)
	for i := range seen {
		readers.Go(func() error {
			return db.View(readCtx, func(t *Tx) (err error) {
				seen[i], err = t.Part(l.partition)
				if err != nil {
					return err
				}
				return l.read(readCtx, t, i)
			})
		})
	}
	g.Go(func() error {
		defer close(l.full)
		return readers.Wait()
	})
	g.Go(func() error {
		for batch := range l.full {
			if err := take(batch); err != nil {
				return err
			}
		}
		return nil
	})
	err = g.Wait()
	same = true
	for _, p := range seen {
		same = same && p.NextOffset == first.NextOffset && p.TouchOffset == first.TouchOffset // commands change no alert
	}
	return same, err
}

// read gives range i in slices; the last range has the resolved alerts too.
func (l *loader) read(ctx context.Context, t *Tx, i int) error {
	keep := asRead
	batch := make([]tocsin.Alert, 0, pageRows)
	give := func() error {
		select {
		case l.full <- batch:
			batch = make([]tocsin.Alert, 0, pageRows)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	gather := func(seq iter.Seq2[tocsin.Alert, error]) error {
		for a, err := range seq {
			if err != nil {
				return err
			}
			batch = append(batch, a)
			if len(batch) == cap(batch) {
				if err := give(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := gather(t.core(l.partition, tocsin.Firing, keep, loadFiring, l.partition, l.bounds[i], l.bounds[i+1]))
	if err == nil && i == len(l.bounds)-2 {
		err = gather(t.core(l.partition, tocsin.Resolved, keep, loadResolved, l.partition, micros(l.resolvedAfter)))
	}
	if err != nil {
		return err
	}
	return give()
}
