package paging

import (
	"context"
	"time"

	"tocsin"
)

const (
	gather   = 2 * time.Millisecond // how long the first fate waits for others
	maxBatch = 256
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
// until it can: nothing that was sent may be forgotten while this process lives.
func (w *Worker) save(ctx context.Context) {
	defer close(w.done)
	for {
		var batch []saving
		select {
		case s := <-w.fates:
			batch = w.gather(s)
		case <-w.finish:
			select {
			case s := <-w.fates:
				batch = w.gather(s)
			default:
				return
			}
		}
		w.commit(ctx, batch)
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

func (w *Worker) commit(ctx context.Context, batch []saving) {
	fates := make([]Fate, len(batch))
	for i, s := range batch {
		fates[i] = s.fate
	}
	ctx = context.WithoutCancel(ctx)
	pause := backoff{}
	var gaveUp <-chan time.Time
	for {
		sctx, cancel := context.WithTimeout(ctx, flush)
		err := w.book.Save(sctx, fates)
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
			for _, s := range batch {
				w.obs.lost(s.fate)
				s.answer(err)
			}
			return
		}
		again.Stop()
	}
	for _, s := range batch {
		s.answer(nil)
		if s.fate.Page.State == tocsin.PageDue {
			signal(w.due)
		}
	}
}

func (s saving) answer(err error) {
	if s.saved != nil {
		s.saved <- err
	}
}
