package correlate

import (
	"context"
	"errors"
	"fmt"

	"tocsin"
)

// A flight is a batch on its way into the database: sealed in the domain, while the next is applied on top of it.
type flight struct {
	records []Record
	aside   bool
	batch   Batch
	stands  standing // with the batch

	done     chan struct{} // closed once what follows is known
	seq      int64
	commands []tocsin.Change
	err      error
}

// ended is closed when the commit of f has ended.
func (f *flight) ended() <-chan struct{} {
	if f == nil {
		return nil
	}
	return f.done
}

// standing is how far a domain is.
type standing struct {
	offset       int64
	firing, open int
}

func (d *Domain) standing() standing { return standing{d.offset, d.firing, d.open} }

// load makes the batch of what was applied last, which are the records of f.
func (w *Worker) load(f *flight, effects []Effect) {
	last := &f.records[len(f.records)-1]
	f.stands = w.d.standing()
	f.batch = Batch{Next: w.d.offset, Rules: w.d.RulesHash(), Effects: effects, LastWriter: last.Writer, LastSeq: last.Seq}
	if w.d.Dirty() {
		f.batch.Writes = w.d.Writes()
	}
}

// launch begins to commit f; nothing else is under way.
func (w *Worker) launch(ctx context.Context, f *flight) {
	f.batch.Seq = w.seq
	f.done = make(chan struct{})
	w.d.Seal()
	w.flight = f
	go func() {
		defer close(f.done)
		f.seq, f.commands, f.err = w.try(ctx, f.batch, f.aside)
	}()
}

// arrive waits for the commit under way. Unless it is intact, what was applied is undone, down to before the batch: because of commands, which
// have been absorbed, or for the error.
func (w *Worker) arrive() (intact bool, err error) {
	f := w.flight
	<-f.done // it ends when the database answers, or a while after its context
	w.flight = nil
	w.unsure = f.err != nil
	switch {
	case f.err != nil:
		w.d.Rollback()
		return false, fmt.Errorf("correlate: partition %d before offset %d: %w", w.d.partition, f.batch.Next, f.err)
	case len(f.commands) > 0:
		w.d.Rollback()
		w.take(f.commands)
		return false, nil
	}
	w.seq, w.written = f.seq, f.batch.Next
	w.d.CommitSealed()
	w.count(f)
	w.tell(f.stands)
	return true, nil
}

// settle sees to it that nothing is under way any more. Where it was not taken as it was, it is applied and committed anew, and what was applied
// on top of it is undone: it is not intact then.
func (w *Worker) settle(ctx context.Context) (intact bool, err error) {
	f := w.flight
	if f == nil {
		return true, nil
	}
	intact, err = w.arrive()
	if intact {
		return true, nil
	}
	if errors.Is(err, ErrRefused) {
		_, _, err = w.refused(ctx, f.records, err)
	}
	for left := f.records; err == nil && len(left) > 0; {
		var done int
		done, err = w.some(ctx, left, false)
		left = left[min(done, len(left)):]
	}
	return false, err
}

// settled is settle where nothing was applied on top.
func (w *Worker) settled(ctx context.Context) error {
	_, err := w.settle(ctx)
	return err
}

// land waits for a commit that nobody waits for any more.
func (w *Worker) land() {
	if w.flight != nil {
		<-w.flight.done
		w.flight = nil
	}
}
