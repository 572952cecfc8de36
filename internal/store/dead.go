package store

import (
	"fmt"
	"time"
)

// A DeadLetter is a record of the journal that could not be applied and was set aside. It is kept here where the journal has no place
// of its own for it.
type DeadLetter struct {
	Partition int
	Offset    int64     // of the record in its partition; both are the letter's identity
	At        time.Time // when it was set aside
	Reason    string    // why, as one sentence
	Payload   []byte    // the record's, as it was read
	Tries     int       // how often it was tried
}

// deadKept is how many dead letters are kept: the newest. With 256 KiB each at most, that is 250 MiB where everything is broken.
const deadKept = 1000

var deadColumns = cols("partition position at reason payload tries")

var buryDead = deadColumns.upsert("dead_letter", 2)

const dropOldDead = `DELETE FROM dead_letter WHERE (partition, position) IN (
	SELECT partition, position FROM dead_letter ORDER BY at DESC, partition DESC, position DESC LIMIT 1000 OFFSET $1)`

// BuryDead keeps d; one that is kept already is replaced. The oldest go when there are more than 1,000.
func (t *Tx) BuryDead(d DeadLetter) error {
	_, err := t.exec(fmt.Sprintf("bury partition %d offset %d", d.Partition, d.Offset), buryDead, d.Partition, d.Offset, micros(d.At), d.Reason, append([]byte{}, d.Payload...), d.Tries)
	if err != nil {
		return err
	}
	_, err = t.exec("drop old dead letters", dropOldDead, deadKept)
	return err
}

func scanDead(r Row) (DeadLetter, error) {
	return DeadLetter{Partition: int(r.Int(0)), Offset: r.Int(1), At: r.Time(2), Reason: r.Text(3), Payload: r.Bytes(4), Tries: int(r.Int(5))}, nil
}

// DeadLetters returns the newest letters, newest last, at most limit.
func (t *Tx) DeadLetters(limit int) ([]DeadLetter, error) {
	return all(t, "dead letters", scanDead, "SELECT * FROM (SELECT "+deadColumns.list("")+
		" FROM dead_letter ORDER BY at DESC, partition DESC, position DESC LIMIT $1) AS newest ORDER BY at, partition, position", limit)
}

// SettleDead removes a letter that needs no more, and reports whether there was one.
func (t *Tx) SettleDead(partition int, offset int64) (bool, error) {
	n, err := t.exec("settle a dead letter", "DELETE FROM dead_letter WHERE partition = $1 AND position = $2", partition, offset)
	return n > 0, err
}
