package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

const (
	maxStreams  = 256
	streamRoom  = 1024 // events that may wait for one reader; a slower one is cut off, and comes back with the id it has
	hubPause    = 25 * time.Millisecond
	hubLooks    = time.Second // at least this often, should a hint be lost
	hubAtOnce   = 500         // changes of one partition
	resumeMost  = 10_000      // changes that a reader who comes back is told; who missed more must read everything again
	heartbeat   = 15 * time.Second
	streamWrite = 10 * time.Second // in which a reader must take what is written
)

// A hub reads each change once and hands it to every live feed. It works only while somebody listens.
type hub struct {
	db      store.DB
	dropped func() // is told of readers that were cut off

	mu      sync.Mutex
	streams map[*stream]struct{}
	running bool
	closed  bool
	quit    chan struct{}
	work    sync.WaitGroup
}

// A stream is one live feed. Its channel is closed when it must end.
type stream struct{ events chan event }

// An event is one change, written once for all feeds.
type event struct {
	partition int
	seq       int64
	data      []byte
}

func newHub(db store.DB) *hub {
	return &hub{db: db, dropped: func() {}, streams: map[*stream]struct{}{}, quit: make(chan struct{})}
}

func (h *hub) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// close ends all feeds for good, and waits until nothing is read for them any more.
func (h *hub) close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.quit)
		for s := range h.streams {
			h.end(s)
		}
	}
	h.mu.Unlock()
	h.work.Wait()
}

// end closes a feed; h.mu is held.
func (h *hub) end(s *stream) {
	if _, ok := h.streams[s]; ok {
		delete(h.streams, s)
		close(s.events)
	}
}

// errStreams is what is answered where there are too many feeds, or none any more.
var errStreams = &problem{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("there are %d live feeds already, or the server is stopping", maxStreams), wait: busySeconds}

// join begins a feed of every change that is committed from now on.
func (h *hub) join(ctx context.Context) (*stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.streams) >= maxStreams {
		return nil, errStreams
	}
	if !h.running {
		at, err := positions(ctx, h.db.View)
		if err != nil {
			return nil, err
		}
		h.running = true
		h.work.Go(func() { h.run(at) })
	}
	s := &stream{make(chan event, streamRoom)}
	h.streams[s] = struct{}{}
	return s, nil
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(s)
}

// positions returns the seq of the newest change of each partition; view is how to look at the store.
func positions(ctx context.Context, view func(context.Context, func(*store.Tx) error) error) (at cursor, err error) {
	at = cursor{}
	err = view(ctx, func(tx *store.Tx) error {
		parts, err := tx.Parts()
		for _, p := range parts {
			at[p.Partition] = p.Seq
		}
		return err
	})
	return at, err
}

// run hands out changes behind at until nobody listens any more.
func (h *hub) run(at cursor) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.work.Go(func() {
		select {
		case <-h.quit:
			cancel()
		case <-ctx.Done():
		}
	})
	look := time.NewTicker(hubLooks)
	defer look.Stop()
	for {
		hint := h.db.Committed()
		more, err := h.pass(ctx, at)
		if h.idle() {
			return
		}
		if err == nil && more {
			continue
		}
		select { // an error is found again by whoever else reads; it is tried again here
		case <-hint:
			time.Sleep(hubPause) // so that many small commits are read in one go
		case <-look.C:
		case <-h.quit:
		}
	}
}

// idle reports whether nobody listens; then the work ends, and the next who joins begins it anew.
func (h *hub) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) == 0 {
		h.running = false
	}
	return !h.running
}

// pass hands out what is new behind at, and moves it; more says that there may be more already.
func (h *hub) pass(ctx context.Context, at cursor) (more bool, err error) {
	var found []event
	moved := maps.Clone(at)
	err = h.db.View(ctx, func(tx *store.Tx) error {
		parts, err := tx.Parts()
		if err != nil {
			return err
		}
		for _, p := range parts {
			if moved[p.Partition] >= p.Seq {
				moved[p.Partition] = p.Seq // less: the state has fallen back, and goes on from there
				continue
			}
			changes, err := tx.Changes(p.Partition, moved[p.Partition], hubAtOnce)
			if err != nil {
				return err
			}
			more = more || len(changes) == hubAtOnce
			for _, c := range changes {
				e, err := eventOf(c)
				if err != nil {
					return err
				}
				found = append(found, e)
				moved[p.Partition] = c.Seq
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	maps.Copy(at, moved)
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		h.hand(s, found)
	}
	return more, nil
}

// hand gives events to a feed, or cuts it off if it has no room for them; h.mu is held.
func (h *hub) hand(s *stream, events []event) {
	for _, e := range events {
		select {
		case s.events <- e:
		default:
			h.end(s)
			h.dropped()
			return
		}
	}
}

func eventOf(c tocsin.Change) (event, error) {
	data, err := json.Marshal(changeRecordOf(c))
	if err != nil {
		return event{}, fmt.Errorf("change %d of partition %d: %w", c.Seq, c.Partition, err)
	}
	return event{c.Partition, c.Seq, data}, nil
}

// A cursor is how far a reader is: the seq of the newest change it knows, by partition.
type cursor map[int]int64

// String returns the cursor as an event's id: the seq where there is only partition 0, else P.SEQ for each.
func (c cursor) String() string {
	if seq, ok := c[0]; ok && len(c) == 1 {
		return strconv.FormatInt(seq, 10)
	}
	parts := make([]string, 0, len(c))
	for _, p := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, strconv.Itoa(p)+"."+strconv.FormatInt(c[p], 10))
	}
	return strings.Join(parts, ",")
}

// maxPartitions bounds what a cursor may name.
const maxPartitions = 4096

// parseCursor reads what String wrote; ok is false for anything else.
func parseCursor(text string) (c cursor, ok bool) {
	c = cursor{}
	if text == "" {
		return c, true
	}
	for _, part := range strings.SplitN(text, ",", maxPartitions+1) {
		p, s, found := strings.Cut(part, ".")
		if !found {
			p, s = "0", part
		}
		partition, err := strconv.Atoi(p)
		seq, err2 := strconv.ParseInt(s, 10, 64)
		_, twice := c[partition]
		if err != nil || err2 != nil || partition < 0 || partition >= maxPartitions || seq < 0 || twice {
			return nil, false
		}
		c[partition] = seq
	}
	return c, true
}

// events answers a live feed: one event for each change, which resumes behind Last-Event-ID.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	if err := parseQuery(r).err(); err != nil {
		return err
	}
	known, ok := parseCursor(r.Header.Get("Last-Event-ID"))
	if !ok {
		return bad("header", "Last-Event-ID", "is no id that an event here had")
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return nil
	}
	feed, err := s.hub.join(r.Context())
	if err != nil {
		return err
	}
	defer s.hub.leave(feed)
	now, err := positions(r.Context(), s.view)
	if err != nil {
		return err
	}
	out := &feedWriter{w: w, control: http.NewResponseController(w), at: now}
	w.Header().Set("X-Accel-Buffering", "no")
	err = out.write([]byte("retry: 2000\n\n"))
	if err == nil {
		err = s.catchUp(r.Context(), out, known)
	}
	if err != nil {
		return nil //nolint:nilerr // the reader is gone, or comes back with the id it has
	}
	s.follow(r, out, feed)
	return nil
}

// A feedWriter writes events to one reader.
type feedWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	at      cursor
	buf     []byte
}

// write sends b at once; a reader that does not take it in time is given up.
func (f *feedWriter) write(b []byte) error {
	_ = f.control.SetWriteDeadline(time.Now().Add(streamWrite)) // a test's recorder has no deadlines, and nobody slow
	_, err := f.w.Write(b)
	if err != nil {
		return err
	}
	return f.control.Flush()
}

// add puts one event behind those that are to be written.
func (f *feedWriter) add(kind string, data []byte) {
	f.buf = fmt.Appendf(f.buf, "id: %s\nevent: %s\ndata: %s\n\n", f.at, kind, data)
}

// flush writes what was added.
func (f *feedWriter) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	err := f.write(f.buf)
	f.buf = f.buf[:0]
	return err
}

// catchUp tells a reader who comes back what it missed. Who missed too much is told to begin anew, by the event reset.
func (s *Server) catchUp(ctx context.Context, f *feedWriter, known cursor) error {
	now := maps.Clone(f.at)
	missed := int64(0)
	for p, seq := range known {
		if seq > now[p] {
			missed = resumeMost + 1 // of another state than this one, such as a backup's
			break
		}
		missed += now[p] - seq
	}
	if missed > resumeMost {
		f.add("reset", []byte("{}"))
		return f.flush()
	}
	maps.Copy(f.at, known)
	for _, p := range slices.Sorted(maps.Keys(known)) {
		for f.at[p] < now[p] {
			var changes []tocsin.Change
			err := s.view(ctx, func(tx *store.Tx) (err error) {
				changes, err = tx.Changes(p, f.at[p], hubAtOnce)
				return err
			})
			if err != nil {
				return err
			}
			if len(changes) == 0 {
				break // retention took them
			}
			for _, c := range changes {
				e, err := eventOf(c)
				if err != nil {
					return err
				}
				f.at[p] = c.Seq
				f.add("change", e.data)
			}
			err = f.flush()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// follow writes what is committed until the reader goes, is too slow, or may no longer read.
func (s *Server) follow(r *http.Request, f *feedWriter, feed *stream) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case e, ok := <-feed.events:
			for waiting := len(feed.events); ok; waiting-- {
				if e.seq > f.at[e.partition] {
					f.at[e.partition] = e.seq
					f.add("change", e.data)
				}
				if waiting == 0 {
					break
				}
				e, ok = <-feed.events
			}
			if f.flush() != nil || !ok {
				return
			}
		case <-beat.C:
			_, err := s.identify(nil, r, false)
			if err != nil || f.write([]byte(": still here\n\n")) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
