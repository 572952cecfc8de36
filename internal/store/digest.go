package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"tocsin"
)

// Dump writes the correlation state of a partition to w, one JSON value a line, always in the same order: the part, its alerts with
// touches merged, its incidents, its majors. Two databases that came to the same by different ways have the same dump.
//
// Of the part it leaves out what tells who worked and when rather than what came of it: Owner, Epoch, Gen and ClaimedAt; TouchOffset, which is
// where touches were last written; Seq, which pages count in too; Fold, LastWriter and LastSeq, which are of the writers. Of an alert AsOf, for the reason of TouchOffset. Write
// pending touches before comparing.
func Dump(ctx context.Context, db DB, partition int, w io.Writer) error {
	err := db.View(ctx, func(t *Tx) error { return t.dump(partition, json.NewEncoder(w)) })
	if err != nil {
		return fmt.Errorf("dump partition %d: %w", partition, err)
	}
	return nil
}

// Digest is a hash of what Dump writes.
func Digest(ctx context.Context, db DB, partition int) (string, error) {
	h := sha256.New()
	err := Dump(ctx, db, partition, h)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (t *Tx) dump(partition int, enc *json.Encoder) error {
	p, err := t.Part(partition)
	if err != nil {
		return err
	}
	p.Owner, p.Epoch, p.Gen, p.ClaimedAt, p.TouchOffset, p.Seq, p.Fold, p.LastWriter, p.LastSeq = "", 0, 0, time.Time{}, 0, 0, nil, 0, 0
	err = enc.Encode(p)
	if err != nil {
		return err
	}
	for a, err := range t.Alerts(AlertFilter{partition: &partition}) {
		if err != nil {
			return err
		}
		a.AsOf = 0
		err = enc.Encode(a)
		if err != nil {
			return err
		}
	}
	incidents, err := all(t, "incidents", scanIncident, "SELECT "+incidentColumns.list("")+" FROM incident WHERE partition = $1 ORDER BY id", partition)
	if err != nil {
		return err
	}
	majors, err := all(t, "majors", scanMajor, "SELECT "+majorColumns.list("")+" FROM major WHERE partition = $1 ORDER BY id", partition)
	if err != nil {
		return err
	}
	return encodeAll(enc, incidents, majors)
}

func encodeAll(enc *json.Encoder, incidents []tocsin.Incident, majors []tocsin.Major) error {
	for _, i := range incidents {
		err := enc.Encode(i)
		if err != nil {
			return err
		}
	}
	for _, m := range majors {
		err := enc.Encode(m)
		if err != nil {
			return err
		}
	}
	return nil
}
