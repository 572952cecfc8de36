package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Table is one kind of rows, for those who move a whole state to another database or to other partitions. Everybody else knows
// rows by their words.
type Table struct {
	Name    string
	Columns []string // the first Keys of them are the key
	Keys    int
	Numbers bool // keys are numbers, else texts
}

// Tables returns those that a state consists of, in the order in which they are moved. Left out are: part, which tells where the work
// stands; node, which tells who works; touch, which Export folds into the alerts.
func Tables() []Table {
	return []Table{
		{"meta", cols("name value"), 1, false},
		{"ruleset", cols("hash body"), 1, false},
		{"alert", alertColumns, 1, true},
		{"incident", incidentColumns, 1, true},
		{"major", majorColumns, 1, true},
		{"page", pageColumns, 1, false},
		{"timer", timerColumns, 1, true},
		{"contact_off", cols("channel address since why"), 2, false},
		{"dead_letter", deadColumns, 2, true},
		{"sandbox", sandboxColumns, 1, true},
		{"inbound", cols("provider message at"), 2, false},
		{"login_link", cols("hash person expires"), 1, false},
		{"login_session", cols("hash person since expires"), 1, false},
		{"change", changeColumns, 2, true},
	}
}

// Column returns where a column stands in a row; it is -1 where there is none of that name.
func (b Table) Column(name string) int { return slices.Index(b.Columns, name) }

// A Cursor is the key of a row as text: Export goes on behind it. "" stands before the first row.
type Cursor string

// Cursor returns the key of a row.
func (b Table) Cursor(r Row) (Cursor, error) {
	parts := make([]string, b.Keys)
	for i := range parts {
		if b.Numbers {
			parts[i] = strconv.FormatInt(r.Int(i), 10)
		} else {
			parts[i] = r.Text(i)
		}
	}
	text, err := json.Marshal(parts)
	return Cursor(text), err
}

// behind returns the condition that a row stands behind c, and its arguments; "" where all do.
func (b Table) behind(c Cursor) (condition string, args []any, err error) {
	if c == "" {
		return "", nil, nil
	}
	var parts []string
	err = json.Unmarshal([]byte(c), &parts)
	if err != nil || len(parts) != b.Keys {
		return "", nil, fmt.Errorf("%q is no key of table %s", c, b.Name)
	}
	marks := make([]string, b.Keys)
	for i, p := range parts {
		marks[i] = "$" + strconv.Itoa(i+1)
		if !b.Numbers {
			args = append(args, p)
			continue
		}
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil {
			return "", nil, fmt.Errorf("%q is no key of table %s: %w", c, b.Name, err)
		}
		args = append(args, n)
	}
	return fmt.Sprintf(" WHERE (%s) > (%s)", b.key(), strings.Join(marks, ", ")), args, nil
}

func (b Table) key() string { return strings.Join(b.Columns[:b.Keys], ", ") }

// Export returns up to limit rows of a table that stand behind a key, by their keys. Alerts come with what repeats said of them.
func (t *Tx) Export(b Table, after Cursor, limit int) ([]Row, error) {
	condition, args, err := b.behind(after)
	if err != nil {
		return nil, err
	}
	args = append(args, limit)
	rows, err := all(t, b.Name, keepRow, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT $%d",
		columns(b.Columns).list(""), b.Name, condition, b.key(), len(args)), args...)
	if err == nil && b.Name == "alert" {
		err = t.touchRows(b, rows)
	}
	return rows, err
}

func keepRow(r Row) (Row, error) { return slices.Clone(r), nil }

// touchRows is mergeTouches for rows.
func (t *Tx) touchRows(b Table, rows []Row) error {
	partition, last, ends := b.Column("partition"), b.Column("last_at"), b.Column("ends_at")
	count, asOf := b.Column("count"), b.Column("as_of")
	c := touchCache{t: t}
	err := c.load(batchChunks(rows, func(r *Row) (int, int64) { return int(r.Int(partition)), r.Int(0) }))
	if err != nil {
		return err
	}
	for _, r := range rows {
		if to := c.of(int(r.Int(partition)), r.Int(0)); to != nil && to.AsOf > r.Int(asOf) {
			r[last], r[ends], r[count], r[asOf] = micros(to.LastAt), micros(to.EndsAt), to.Count, to.AsOf
		}
	}
	return nil
}

// Import inserts rows, or replaces those with their keys.
func (t *Tx) Import(b Table, rows []Row) error {
	err := t.conn.Each(columns(b.Columns).upsert(b.Name, b.Keys), len(b.Columns), len(rows), func(i int, c []any) { copy(c, rows[i]) }, nil)
	if err != nil {
		return fmt.Errorf("import %d rows of table %s: %w", len(rows), b.Name, err)
	}
	return nil
}

// CountRows returns how many rows a table has.
func (t *Tx) CountRows(b Table) (int64, error) {
	return t.number(b.Name, "SELECT COUNT(*) FROM "+b.Name)
}

// Clear deletes up to limit rows of a table, and returns how many there were. Call it until there are none.
func (t *Tx) Clear(b Table, limit int) (int64, error) {
	return t.exec("clear table "+b.Name, fmt.Sprintf("DELETE FROM %[1]s WHERE (%[2]s) IN (SELECT %[2]s FROM %[1]s LIMIT $1)", b.Name, b.key()), limit)
}

// ExportChanges returns up to limit rows of the history of a partition behind seq after, as Export does.
func (t *Tx) ExportChanges(partition, after int64, limit int) ([]Row, error) {
	return all(t, "changes", keepRow, "SELECT "+changeColumns.list("")+
		" FROM change WHERE partition = $1 AND seq > $2 ORDER BY seq LIMIT $3", partition, after, limit)
}

// ImportChanges inserts rows of the history.
func (t *Tx) ImportChanges(rows []Row) error {
	err := t.conn.Each(insertChange, len(changeColumns), len(rows), func(i int, c []any) { copy(c, rows[i]) }, nil)
	if err != nil {
		return fmt.Errorf("import %d changes: %w", len(rows), err)
	}
	return nil
}

// DropChanges deletes the history of a partition up to seq.
func (t *Tx) DropChanges(partition, seq int64) error {
	_, err := t.exec("drop changes", "DELETE FROM change WHERE partition = $1 AND seq <= $2", partition, seq)
	return err
}

// LastSeq returns the seq of the newest change of a partition that is kept; 0: none is.
func (t *Tx) LastSeq(partition int64) (int64, error) {
	return t.number("changes", "SELECT MAX(seq) FROM change WHERE partition = $1", partition)
}

// MostID returns the greatest id of an alert, an incident or a major, as the table says; 0: there is none.
func (t *Tx) MostID(b Table) (int64, error) { return t.number(b.Name, "SELECT MAX(id) FROM "+b.Name) }

// DropTouches deletes the touches of a partition, or of all of them: -1. What they said must stand in the alerts' rows.
func (t *Tx) DropTouches(partition int) error {
	_, err := t.exec("drop touches", "DELETE FROM touch WHERE partition = $1 OR $1 < 0", partition)
	return err
}

// PutParts makes parts all the partitions that there are, each as given, its epoch too.
func (t *Tx) PutParts(parts []Part) error {
	_, err := t.exec("drop partitions", "DELETE FROM part")
	if err != nil {
		return err
	}
	for _, p := range parts {
		_, err = t.exec(fmt.Sprintf("put partition %d", p.Partition), putPart, p.Partition, p.Epoch, p.Owner, p.NextOffset, p.TouchOffset, p.Seq,
			micros(p.SeenAt), p.NextAlert, p.NextIncident, p.NextMajor, p.Rules, p.Fold, p.Gen, micros(p.ClaimedAt), p.LastWriter, p.LastSeq)
		if err != nil {
			return err
		}
	}
	return nil
}

var putPart = partColumns.insert("part")

// DropMeta forgets what is kept under name.
func (t *Tx) DropMeta(name string) error {
	_, err := t.exec("drop meta "+name, "DELETE FROM meta WHERE name = $1", name)
	return err
}

// Alive returns the first node that was seen since and has not said that it stops; ErrNotFound where there is none.
func (t *Tx) Alive(since time.Time) (Node, error) {
	return one(t, "living node", scanNode, "SELECT "+nodeColumns.list("")+" FROM node WHERE seen_at > $1 AND ended_at = 0 ORDER BY started_at, id LIMIT 1", micros(since))
}

// PutBefore makes the commands of a partition's history stand before the first record of its journal: the journal that they stood
// in is no more.
func (t *Tx) PutBefore(partition int) error {
	_, err := t.exec("put commands before the journal", "UPDATE change SET after_offset = -1 WHERE command = 1 AND partition = $1 AND after_offset >= 0", partition)
	return err
}
