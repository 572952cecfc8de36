package store

import (
	"fmt"
	"time"
)

// Prune deletes up to about limit rows of what ended before the given time: incidents with their alerts, pages and changes,
// majors with theirs, and what belongs to none. done is true when there was nothing more to delete. Call it again and again, in a
// transaction each, so that nothing else waits long.
func (t *Tx) Prune(before time.Time, limit int) (deleted int, done bool, err error) {
	p := pruning{t: t, before: micros(before), left: limit}
	for _, step := range []func() error{p.incidents, p.majors, p.strays} {
		err := step()
		if err != nil {
			return limit - p.left, false, fmt.Errorf("prune: %w", err)
		}
	}
	return limit - p.left, p.left > 0, nil
}

// pruning is one call of Prune under way.
type pruning struct {
	t      *Tx
	before int64
	left   int // rows that may still be deleted
}

// delete deletes rows by a statement whose last argument is how many at most.
func (p *pruning) delete(what, query string, args ...any) error {
	if p.left <= 0 {
		return nil
	}
	n, err := p.t.exec("delete "+what, query, append(args, p.left)...)
	p.left -= int(n)
	return err
}

// incidents deletes what belongs to closed incidents, and each incident once nothing does.
func (p *pruning) incidents() error {
	return p.owners(`SELECT id FROM incident WHERE resolved_at < $1 AND resolved_at > 0 AND state > 2 ORDER BY resolved_at LIMIT $2`,
		"incident", "alert", "page", "timer", "change")
}

// majors deletes what belongs to majors that ended, and each major once nothing does.
func (p *pruning) majors() error {
	return p.owners(`SELECT id FROM major WHERE state > 2 AND decided_at < $1 AND resolved_at < $1 ORDER BY id LIMIT $2`,
		"major", "page", "timer", "change")
}

// owners deletes, for each id that query finds, the rows of tables that name it, then its own.
func (p *pruning) owners(query, table string, tables ...string) error {
	if p.left <= 0 {
		return nil
	}
	ids, err := all(p.t, table, func(r Row) (int64, error) { return r.Int(0), nil }, query, p.before, p.left)
	if err != nil {
		return err
	}
	for _, id := range ids {
		for _, of := range tables {
			key := "id"
			if of == "change" {
				key = "(partition, seq)"
			}
			err := p.delete(of+" rows", fmt.Sprintf("DELETE FROM %[1]s WHERE %[2]s IN (SELECT %[3]s FROM %[1]s WHERE %[4]s = $1 AND %[4]s > 0 LIMIT $2)",
				of, key, unbracket(key), table), id)
			if err != nil {
				return err
			}
		}
		if p.left <= 0 {
			return nil
		}
		_, err := p.t.exec("delete "+table, "DELETE FROM "+table+" WHERE id = $1", id)
		if err != nil {
			return err
		}
		p.left--
	}
	return nil
}

// strays deletes what belongs to no incident and no major.
func (p *pruning) strays() error {
	err := p.delete("alerts without an incident", `DELETE FROM alert WHERE id IN (
		SELECT id FROM alert WHERE incident = 0 AND status = 2 AND last_at < $1 LIMIT $2)`, p.before)
	if err != nil {
		return err
	}
	return p.delete("changes", `DELETE FROM change WHERE (partition, seq) IN (
		SELECT partition, seq FROM change WHERE at < $1 AND incident = 0 AND major = 0 LIMIT $2)`, p.before)
}

func unbracket(key string) string {
	if key[0] == '(' {
		return key[1 : len(key)-1]
	}
	return key
}
