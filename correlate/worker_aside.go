package correlate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// maxTries is how often a record is applied that makes Apply panic or that the book refuses, before it is set aside.
const maxTries = 3

// maxChanged is how many incidents one batch changes, about: each is a row and a line of history, and whoever they page waits for all of
// them. What changes few incidents comes in batches as large as they are read.
const maxChanged = 1500

// attempt applies records in order, n of them: all, or as many as are enough for one batch. Where one of them panics, n is its place and
// cause says why; nothing is undone yet.
func (w *Worker) attempt(records []Record) (effects []Effect, n int, cause error) {
	defer func() {
		if v := recover(); v != nil {
			effects, cause = nil, fmt.Errorf("applying it panicked: %v\n%s", v, debug.Stack())
		}
	}()
	for n < len(records) && len(w.d.changed.incidents) < maxChanged {
		effects = append(effects, w.applyOne(w.d, records[n])...)
		n++
	}
	return effects, n, nil
}

// some applies and commits records, and returns how many: as many as one batch takes, unless there is one that cannot be applied, or that
// the book will never take. Then it is those before that one, or that one alone, emptied once it has been tried often enough. So one bad record
// holds up its partition for as long as it takes to fail three times, and those around it count as if it had not been there. With ahead
// the commit may still be under way when it returns.
func (w *Worker) some(ctx context.Context, records []Record, ahead bool) (done int, err error) {
	records = w.halve(records)
	aside := false
	for {
		n, cause, err := w.once(ctx, records, aside, ahead)
		if err != nil {
			return 0, err
		}
		switch {
		case cause == nil:
			return n, nil
		case n > 0:
			records = records[:n]
		case aside:
			return 0, fmt.Errorf("correlate: partition %d: record %d cannot even be passed over: %w", w.d.partition, records[0].Offset, cause)
		case w.bad.tries >= maxTries:
			aside = true
			if !isTick(records[0]) {
				records = []Record{w.setAside(records[0], cause)}
			}
		}
	}
}

// once applies records and commits them, n of them. Where that cannot be, cause says why, nothing is left of it, and n is how many records
// are to be tried without the rest: none, when the first is at fault. With aside a refusal is waited out: it is time's doing then, and not the record's.
func (w *Worker) once(ctx context.Context, records []Record, aside, ahead bool) (n int, cause, err error) {
	for {
		effects, n, cause := w.attempt(records)
		f := &flight{records: records[:n], aside: aside}
		if cause == nil {
			w.load(f, effects)
		}
		intact, err := w.settle(ctx)
		switch {
		case err != nil:
			return 0, nil, err
		case !intact:
			continue
		case cause != nil:
			w.d.Rollback()
			w.failed(records[n])
			return n, cause, nil
		case !w.d.Dirty():
			w.d.Commit()
			w.count(f)
			return n, nil, nil
		}
		w.launch(ctx, f)
		if ahead && !aside && w.suspect <= records[0].Offset {
			return n, nil, nil
		}
		intact, err = w.arrive()
		switch {
		case errors.Is(err, ErrRefused):
			return w.refused(ctx, f.records, err)
		case err != nil:
			return 0, nil, err
		case intact:
			return n, nil, nil
		}
	}
}

// refused notes that the book will never take records as they are. Which of them is at fault is found by halves.
func (w *Worker) refused(ctx context.Context, records []Record, cause error) (bad int, _, err error) {
	n := len(records)
	w.suspect = records[n-1].Offset + 1
	if n > 1 {
		return n / 2, cause, nil
	}
	w.failed(records[0])
	w.o.Log.Warn("record was refused", "partition", w.d.partition, "offset", records[0].Offset, "try", w.bad.tries, "error", cause)
	if w.bad.tries < maxTries {
		err = rest(ctx, tryFirst<<w.bad.tries)
	}
	return 0, cause, err
}

// halve returns as many of the first records as are tried at once: while one of them is known to be refused, half of those it is among.
func (w *Worker) halve(records []Record) []Record {
	among := 0
	for among < len(records) && records[among].Offset < w.suspect {
		among++
	}
	if among == 0 {
		return records
	}
	return records[:max(among/2, 1)]
}

// failed counts how often r could not be applied.
func (w *Worker) failed(r Record) {
	if w.bad.offset != r.Offset {
		w.bad.offset, w.bad.tries = r.Offset, 0
	}
	w.bad.tries++
}

// count takes notice of records that were committed.
func (w *Worker) count(f *flight) {
	w.last.writer, w.last.seq = f.batch.LastWriter, f.batch.LastSeq
	events := 0
	for i := range f.records {
		events += len(f.records[i].Events)
	}
	w.pending += events
	w.applied.Add(int64(events))
	if f.aside {
		w.pending = max(w.pending, w.o.FlushEvents) // its offset is written at once: no start tries it again
	}
}

// setAside returns r emptied: time passes with it, and nothing else happens.
func (w *Worker) setAside(r Record, cause error) Record {
	w.aside.Add(1)
	w.o.Log.Error("record cannot be applied and is passed over", "partition", w.d.partition, "offset", r.Offset, "events", len(r.Events), "tries", maxTries, "error", cause)
	if w.o.Aside != nil {
		w.o.Aside(r, maxTries, cause)
	}
	r.Events, r.Rules = nil, nil
	return r
}

// Aside returns how many records this worker has set aside because they could not be applied.
func (w *Worker) Aside() int64 { return w.aside.Load() }
