package store

import "sync"

// A Signal tells everybody who waits that something has happened. The zero value is ready to use, by any number of goroutines.
type Signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// Next is closed when Tell is called next.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Tell wakes all who wait. It costs next to nothing where nobody does.
func (s *Signal) Tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
