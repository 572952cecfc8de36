package paging

import (
	"cmp"
	"fmt"
	"time"
)

// Pace changes how many messages one number or address gets in a window, and the gap between two, as Options.PersonMost, PersonWindow
// and PersonGap say it.
func (w *Worker) Pace(most int, window, gap time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ps := w.persons
	ps.most, ps.window, ps.gap = cmp.Or(most, ps.most), cmp.Or(window, ps.window), cmp.Or(gap, ps.gap)
}

// Replace puts other providers in force, after a reload of the configuration. Requests under way end with the provider they
// began with; what is not started goes by the new ones. On an error everything stays as it was.
func (w *Worker) Replace(channels map[string][]Provider) error {
	lines := make(map[string]*line, len(channels))
	for channel, providers := range channels {
		l, err := newLine(channel, providers)
		if err != nil {
			return fmt.Errorf("paging: channel %s: %w", channel, err)
		}
		lines[channel] = l
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for channel, l := range w.lines {
		next := lines[channel]
		if next != nil {
			l.routes = next.routes
		}
		lines[channel] = l // a channel that is gone sends what it still has the way it was made for
	}
	w.lines = lines
	signal(w.kick)
	signal(w.room)
	return nil
}
