package paging

import (
	"context"
	"slices"
	"time"

	"tocsin"
)

const (
	gather   = 2 * time.Millisecond // how long the first fate waits for others
	maxBatch = 256
	maxLate  = 1024
	flush    = 5 * time.Second // for the last fates, once everything else has ended
)

// A saving is one fate on its way into the Book.
type saving struct {
	fate  Fate
	saved chan<- error // nil: nobody waits for it
}

// fate hands f to the saver. It waits while the Book is slow: that is what slows down sending. It takes no context: what
// became of a page is recorded even when the request's own time is over.
func (w *Worker) fate(f Fate) {
	w.obs.fate(f)
	select {
	case w.fates <- saving{fate: f}:
	case <-w.done:
		w.obs.lost(f)
	}
}

// saved hands f to the saver and waits until it is durable.
func (w *Worker) saved(ctx context.Context, f Fate) error {
	ack := make(chan error, 1)
	select {
	case w.fates <- saving{f, ack}:
	case <-w.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-ack:
		return err
	case <-w.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// save writes fates in batches until w.finish is closed and nothing is left. A batch that cannot be written is tried again
// until it can: nothing that was sent may be forgotten while this process lives. What somebody keeps locked waits by itself.
func (w *Worker) save(ctx context.Context) {
	defer close(w.done)
	var late []saving
	var pause backoff
	var again <-chan time.Time
	for {
		fates := w.fates
		if len(late) >= maxLate {
			fates = nil // they wait there, and slow down what sends
		}
		if again == nil && len(late) > 0 {
			again = time.After(pause.next())
		}
		select {
		case s := <-fates:
			late = append(late, w.commit(ctx, w.gather(s))...)
		case <-again:
			again = nil
			before := len(late)
			late = w.retry(ctx, late)
			if len(late) < before {
				pause.reset()
			}
		case <-w.finish:
			w.saveRest(ctx, late)
			return
		}
	}
}

// retry writes what was locked, and returns what still is.
func (w *Worker) retry(ctx context.Context, late []saving) (left []saving) {
	for batch := range slices.Chunk(late, maxBatch) {
		left = append(left, w.commit(ctx, batch)...)
	}
	return left
}

// saveRest writes what there is at the end, what is locked for a while longer: then the claims lapse, and are looked up.
func (w *Worker) saveRest(ctx context.Context, late []saving) {
	for more := true; more; {
		select {
		case s := <-w.fates:
			late = append(late, w.commit(ctx, w.gather(s))...)
		default:
			more = false
		}
	}
	gaveUp := time.After(flush)
	for pause := (backoff{}); len(late) > 0; {
		late = w.retry(ctx, late)
		select {
		case <-time.After(pause.next()):
		case <-gaveUp:
			w.lose(late, ErrStopped)
			return
		}
	}
}

func (w *Worker) lose(batch []saving, err error) {
	for _, s := range batch {
		w.obs.lost(s.fate)
		s.answer(err)
	}
}

func (w *Worker) gather(first saving) []saving {
	batch := append(make([]saving, 0, 16), first)
	late := time.NewTimer(gather)
	defer late.Stop()
	for len(batch) < maxBatch {
		select {
		case s := <-w.fates:
			batch = append(batch, s)
		case <-late.C:
			return batch
		}
	}
	return batch
}

// commit writes batch, and returns what of it is locked.
func (w *Worker) commit(ctx context.Context, batch []saving) (late []saving) {
	fates := make([]Fate, len(batch))
	for i, s := range batch {
		fates[i] = s.fate
	}
	ctx = context.WithoutCancel(ctx)
	pause := backoff{}
	var gaveUp <-chan time.Time
	var left []int
	for {
		var err error
		sctx, cancel := context.WithTimeout(ctx, flush)
		left, err = w.book.Save(sctx, fates)
		cancel()
		if err == nil {
			break
		}
		w.obs.failed("save what became of pages", err)
		finish := w.finish
		if gaveUp != nil {
			finish = nil
		}
		again := time.NewTimer(pause.next())
		select {
		case <-again.C:
		case <-finish: // the last chance: a while longer, then their claims lapse and they are looked up
			gaveUp = time.After(flush)
		case <-gaveUp:
			w.lose(batch, err)
			return nil
		}
		again.Stop()
	}
	for i, s := range batch {
		if slices.Contains(left, i) {
			late = append(late, s)
			continue
		}
		s.answer(nil)
		if s.fate.Page.State == tocsin.PageDue {
			signal(w.due)
		}
	}
	return late
}

func (s saving) answer(err error) {
	if s.saved != nil {
		s.saved <- err
	}
}
