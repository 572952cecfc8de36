package store

import (
	"errors"
	"fmt"
	"time"

	"tocsin"
)

var partColumns = cols(`partition epoch owner next_offset touch_offset seq seen_at next_alert next_incident next_major rules fold
	gen claimed_at last_writer last_seq`)

func scanPart(r Row) (Part, error) {
	return Part{
		Partition: int(r.Int(0)), Epoch: r.Int(1), Owner: r.Text(2), NextOffset: r.Int(3), TouchOffset: r.Int(4), Seq: r.Int(5),
		SeenAt: r.Time(6), NextAlert: r.Int(7), NextIncident: r.Int(8), NextMajor: r.Int(9), Rules: r.Text(10), Fold: r.Bytes(11),
		Gen: r.Int(12), ClaimedAt: r.Time(13), LastWriter: r.Int(14), LastSeq: r.Int(15),
	}, nil
}

// Claim makes owner the owner of the partition, creating its row where there is none, and returns where its work stands.
// The epoch has risen: whoever owned it before can commit no more. The row stays locked for the rest of the transaction.
func (t *Tx) Claim(partition int, owner string) (Part, error) {
	return one(t, fmt.Sprintf("partition %d", partition), scanPart, claimPart, partition, owner)
}

// Take claims the partition at the time now for owner, to whom a group's generation gave it. ErrFenced where a later generation
// has given it to somebody else: the caller is a zombie. A group that nobody was in for a while begins again with generation 1, so
// one that is older than idle does not count any more.
func (t *Tx) Take(partition int, owner string, gen int64, now time.Time, idle time.Duration) (Part, error) {
	p, err := one(t, fmt.Sprintf("partition %d", partition), scanPart, takePart, partition, owner, gen, micros(now), micros(now.Add(-idle)))
	if errors.Is(err, ErrNotFound) {
		return p, fmt.Errorf("claim partition %d in generation %d: %w", partition, gen, ErrFenced)
	}
	return p, err
}

// Found makes the rows of partitions 0 to n-1 where there are none, claimed by nobody.
func (t *Tx) Found(n int) error {
	for partition := range n {
		_, err := t.exec(fmt.Sprintf("found partition %d", partition), foundPart, partition)
		if err != nil {
			return err
		}
	}
	return nil
}

const noPart = `, 0, 0, 0, 0, 0, 0, 0, '', NULL, `

var (
	insertPart = `INSERT INTO part (` + partColumns.list("") + `) VALUES `
	foundPart  = insertPart + `($1, 0, ''` + noPart + `0, 0, 0, 0) ON CONFLICT (partition) DO NOTHING`
	claimPart  = insertPart + `($1, 1, $2` + noPart + `0, 0, 0, 0)
	ON CONFLICT (partition) DO UPDATE SET epoch = part.epoch + 1, owner = excluded.owner
	RETURNING ` + partColumns.list("")
	takePart = insertPart + `($1, 1, $2` + noPart + `$3, $4, 0, 0)
	ON CONFLICT (partition) DO UPDATE SET epoch = part.epoch + 1, owner = excluded.owner, gen = excluded.gen, claimed_at = excluded.claimed_at
	WHERE part.gen <= excluded.gen OR part.claimed_at < $5
	RETURNING ` + partColumns.list("")
)

// Lock returns where the work on the partition stands and keeps its row locked for the rest of the transaction. ErrNotFound
// where nobody ever claimed it. A transaction over several partitions locks the lowest first.
func (t *Tx) Lock(partition int) (Part, error) {
	return one(t, fmt.Sprintf("partition %d", partition), scanPart, lockPart, partition)
}

// lockPart writes without changing anything, because that locks a row on every engine in the same words.
var lockPart = `UPDATE part SET epoch = epoch WHERE partition = $1 RETURNING ` + partColumns.list("")

// Part returns where the work on the partition stands, without locking it.
func (t *Tx) Part(partition int) (Part, error) {
	return one(t, fmt.Sprintf("partition %d", partition), scanPart,
		"SELECT "+partColumns.list("")+" FROM part WHERE partition = $1", partition)
}

// Parts returns all partitions that were ever claimed, lowest first.
func (t *Tx) Parts() ([]Part, error) {
	return all(t, "partitions", scanPart, "SELECT "+partColumns.list("")+" FROM part ORDER BY partition")
}

// SavePart writes p back; its owner stays. ErrFenced where its epoch is not the partition's any more: the transaction must then
// be given up, by returning the error.
func (t *Tx) SavePart(p Part) error {
	n, err := t.exec(fmt.Sprintf("save partition %d", p.Partition), savePart, p.NextOffset, p.TouchOffset, p.Seq, micros(p.SeenAt),
		p.NextAlert, p.NextIncident, p.NextMajor, p.Rules, p.Fold, p.LastWriter, p.LastSeq, p.Partition, p.Epoch)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("save partition %d with epoch %d: %w", p.Partition, p.Epoch, ErrFenced)
	}
	return nil
}

const savePart = `UPDATE part SET next_offset = $1, touch_offset = $2, seq = $3, seen_at = $4, next_alert = $5, next_incident = $6,
	next_major = $7, rules = $8, fold = $9, last_writer = $10, last_seq = $11 WHERE partition = $12 AND epoch = $13`

var changeColumns = cols("partition seq after_offset at actor kind command incident major data")

func scanChange(r Row) (tocsin.Change, error) {
	c := tocsin.Change{
		Partition: int(r.Int(0)), Seq: r.Int(1), AfterOffset: r.Int(2), At: r.Time(3), Actor: r.Text(4), Kind: r.Text(5),
		Incident: r.Int(7), Major: r.Int(8),
	}
	if data := r.Text(9); data != "" {
		c.Data = []byte(data)
	}
	return c, nil
}

var insertChange = changeColumns.insert("change")

// AddChanges appends to the history of p, which the caller has locked or claimed and will save. It sets Partition and Seq of
// each change and moves p.Seq.
func (t *Tx) AddChanges(p *Part, changes []tocsin.Change) error {
	for i := range changes {
		p.Seq++
		changes[i].Partition, changes[i].Seq = p.Partition, p.Seq
	}
	err := t.conn.Each(insertChange, len(changeColumns), len(changes), func(i int, a []any) {
		c := &changes[i]
		a[0], a[1], a[2], a[3], a[4] = int64(c.Partition), c.Seq, c.AfterOffset, micros(c.At), c.Actor
		a[5], a[6], a[7], a[8], a[9] = c.Kind, flag(tocsin.IsCommand(c.Kind)), c.Incident, c.Major, string(c.Data)
	}, nil)
	if err != nil {
		return fmt.Errorf("add %d changes to partition %d: %w", len(changes), p.Partition, err)
	}
	return nil
}

// Changes returns up to limit changes of the partition with a Seq above after, in order.
func (t *Tx) Changes(partition int, after int64, limit int) ([]tocsin.Change, error) {
	return all(t, "changes", scanChange, "SELECT "+changeColumns.list("")+
		" FROM change WHERE partition = $1 AND seq > $2 ORDER BY seq LIMIT $3", partition, after, limit)
}

// Commands returns up to limit commands of the partition that stand before the journal record at offset from or a later one,
// with a Seq above after, in order: what a replay merges.
func (t *Tx) Commands(partition int, from, after int64, limit int) ([]tocsin.Change, error) {
	return all(t, "commands", scanChange, "SELECT "+changeColumns.list("")+
		" FROM change WHERE command = 1 AND partition = $1 AND seq > $2 AND after_offset >= $3 ORDER BY seq LIMIT $4",
		partition, after, from, limit)
}

// ChangesOfIncident returns the newest limit changes of an incident, in order.
func (t *Tx) ChangesOfIncident(id int64, limit int) ([]tocsin.Change, error) {
	return all(t, "changes of an incident", scanChange, "SELECT * FROM (SELECT "+changeColumns.list("")+
		" FROM change WHERE incident = $1 AND incident > 0 ORDER BY seq DESC LIMIT $2) AS newest ORDER BY seq", id, limit)
}

// ChangesOfMajor returns the newest limit changes of a major, in order.
func (t *Tx) ChangesOfMajor(id int64, limit int) ([]tocsin.Change, error) {
	return all(t, "changes of a major", scanChange, "SELECT * FROM (SELECT "+changeColumns.list("")+
		" FROM change WHERE major = $1 AND major > 0 ORDER BY seq DESC LIMIT $2) AS newest ORDER BY seq", id, limit)
}
