package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"tocsin/config"
	"tocsin/internal/migrate"
	"tocsin/internal/store"
)

// RejoinOptions say where a state goes on with a journal that was cut or made anew.
type RejoinOptions struct {
	Config    string
	Partition int         // below 0: all
	At        string      // earliest, latest, or an offset
	Confirm   func() bool // is asked once it has been printed what is skipped; nil: go on
	Stdout    io.Writer
	Stderr    io.Writer
}

// Rejoin lets a state go on with the journal that its configuration names, at the offsets that o says. No server may run.
func Rejoin(ctx context.Context, o RejoinOptions) error {
	c, err := readConfig(o.Config, o.Stderr)
	if err != nil {
		return err
	}
	a := unserved(warnings(o.Stderr))
	err = a.openKept(ctx, c)
	if err == nil {
		err = a.rejoin(ctx, c, o)
	}
	return errors.Join(err, a.close())
}

func (a *App) rejoin(ctx context.Context, c *config.Config, o RejoinOptions) error {
	err := migrate.Settled(ctx, a.db)
	if err != nil {
		return err
	}
	a.partitions, err = a.layout(ctx, c)
	if err != nil {
		return err
	}
	name, err := a.reachJournal(ctx, c)
	if err != nil {
		return err
	}
	var parts []store.Part
	var was string
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.Parts()
		if err != nil {
			return err
		}
		was, err = tx.Meta(store.MetaJournal)
		return err
	})
	if err != nil {
		return err
	}
	if was != name && o.Partition >= 0 {
		return fmt.Errorf("the state's offsets are of %s, and the configuration names %s: all partitions must go on there, leave --partition out", was, name)
	}
	at := map[int]int64{}
	for _, p := range parts {
		if o.Partition >= 0 && p.Partition != o.Partition {
			continue
		}
		first, next, err := a.journal.Bounds(p.Partition)
		if err != nil {
			return err
		}
		to, err := offset(o.At, first, next)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p.Partition, err)
		}
		at[p.Partition] = to
		fmt.Fprintf(o.Stdout, "partition %d: applied up to offset %d; %s has %d to %d. It goes on at %d: records skipped %d, to be applied %d\n",
			p.Partition, p.NextOffset, name, first, next, to, to-first, next-to)
	}
	if len(at) == 0 {
		return fmt.Errorf("the state has %d partitions, counted from 0: there is no partition %d", len(parts), o.Partition)
	}
	if o.Confirm != nil && !o.Confirm() {
		return ErrUnconfirmed
	}
	return migrate.Rejoin(ctx, a.db, name, at)
}

// offset reads where to go on in a partition that holds the records from first to before next.
func offset(at string, first, next int64) (int64, error) {
	switch at {
	case "earliest":
		return first, nil
	case "latest":
		return next, nil
	}
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is neither earliest, latest nor an offset", at)
	}
	if n < first || n > next {
		return 0, fmt.Errorf("offset %d is not in the journal, which has %d to %d", n, first, next)
	}
	return n, nil
}
