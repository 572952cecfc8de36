package correlate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tocsin"
)

// ending is a book that takes one batch; the next fails while the worker is told to end. What it is asked after that would be done.
type ending struct {
	*memory
	end   context.CancelFunc
	asked int
	after []Batch
}

func (b *ending) Commit(ctx context.Context, batch Batch) (int64, []tocsin.Change, error) {
	b.asked++
	switch b.asked {
	case 1:
	case 2:
		time.Sleep(time.Second)
		b.end()
		return 0, nil, errors.New("the connection is lost")
	default:
		b.after = append(b.after, batch)
	}
	return b.memory.Commit(ctx, batch)
}

// numbers are copies that remember every number.
type numbers map[uint64]bool

func (n numbers) Seen(_, seq uint64) bool { was := n[seq]; n[seq] = true; return was }
func (n numbers) Append(b []byte) []byte  { return append(b, byte(len(n))) }

// Whoever comes next must not find that records were seen which were not applied, nor an offset that is past them.
func TestAWorkerThatIsToldToEndWhileACommitFailsWritesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ctx, cancel := context.WithCancel(t.Context())
		book := &ending{memory: m, end: cancel}
		w := NewWorker(NewDomain(0, 1), 0, m, book, WorkerOptions{Copies: numbers{}, FlushEvery: time.Second})
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		for seq, alert := range []int{1, 1, 2} { // a new one, a repeat of it, of which no row is written, and another one
			m.add(Record{Writer: 7, Seq: uint64(seq) + 1, Events: []tocsin.Event{kubeAlert(alert)}})
			synctest.Wait()
		}
		err := <-ended
		if err != nil || book.asked < 2 {
			t.Errorf("it ended with %v after %d batches, want nil after the second: it was told to", err, book.asked)
		}
		for _, b := range book.after {
			t.Errorf("after the failure it wrote a batch up to offset %d that says of %d records that they were seen, touches only: %v", b.Next, b.Fold[0], b.Flush)
		}
	})
}
