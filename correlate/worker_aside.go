package correlate

import (
	"context"
	"fmt"
	"runtime/debug"
)

// maxTries is how often a record is applied that makes Apply panic, before it is set aside.
const maxTries = 3

// attempt applies records in order. Where one of them panics, bad is its place and cause says why; nothing is undone yet.
func (w *Worker) attempt(records []Record) (effects []Effect, bad int, cause error) {
	defer func() {
		if v := recover(); v != nil {
			effects, cause = nil, fmt.Errorf("applying it panicked: %v\n%s", v, debug.Stack())
		}
	}()
	for ; bad < len(records); bad++ {
		effects = append(effects, w.applyOne(w.d, records[bad])...)
	}
	return effects, bad, nil
}

// some applies and commits records, and returns how many: all of them, unless there is one that cannot be applied. Then it is
// those before that one, or that one alone, emptied once it has been tried often enough. So one bad record holds up its partition for as
// long as it takes to panic three times, and those around it count as if it had not been there.
func (w *Worker) some(ctx context.Context, records []Record) (done int, err error) {
	aside := false
	for {
		effects, bad, cause := w.attempt(records)
		if cause != nil {
			w.d.Rollback()
			if w.bad.offset != records[bad].Offset {
				w.bad.offset, w.bad.tries = records[bad].Offset, 0
			}
			w.bad.tries++
		}
		switch {
		case cause != nil && bad > 0:
			records = records[:bad]
			continue
		case cause != nil && aside:
			return 0, fmt.Errorf("correlate: partition %d: record %d cannot even be passed over: %w", w.d.partition, records[0].Offset, cause)
		case cause != nil && w.bad.tries >= maxTries:
			aside = true
			records = []Record{w.setAside(records[0], cause)}
			continue
		case cause != nil:
			continue
		}
		last := records[len(records)-1]
		w.last.writer, w.last.seq = last.Writer, last.Seq
		behind, err := w.commit(ctx, effects)
		if err != nil {
			return 0, err
		}
		if !behind {
			break
		}
	}
	events := 0
	for _, r := range records {
		events += len(r.Events)
	}
	w.pending += events
	w.applied.Add(int64(events))
	if aside {
		w.pending = max(w.pending, w.o.FlushEvents) // its offset is written at once: no start tries it again
	}
	return len(records), nil
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
