package paging

import "fmt"

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
