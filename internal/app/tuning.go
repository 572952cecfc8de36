package app

import (
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
)

// heapFloor is how many bytes the collector takes for in use besides what is. Without it a server with little state, whose heap
// is some megabytes, collects twenty times a second while alerts come in, and spends a fifth of its time on it. The system gives
// pages only to what is written to, and nobody writes here: it takes no memory, but lets as much garbage gather under load.
const heapFloor = 16 << 20

// A floor holds the heap's floor for as long as less than twice of it is in use: a larger heap is collected rarely enough.
type floor struct {
	mu    sync.Mutex
	held  []byte // nil: not needed, or over
	ended bool
}

func newFloor() *floor {
	f := &floor{held: make([]byte, heapFloor)}
	f.watch()
	return f
}

// watch has the floor fitted after the next collection, and each one after it.
func (f *floor) watch() { runtime.AddCleanup(&gone{}, (*floor).collected, f) }

// gone is for the collector to find unused. It has a pointer, so that it shares its memory with nothing.
type gone struct{ _ *byte }

func (f *floor) collected() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.fit(live[0].Value.Uint64())
	f.watch()
}

// fit holds or drops the floor, when live bytes of the heap, with the floor, are in use. f.mu is held.
func (f *floor) fit(live uint64) {
	others := live - min(live, uint64(len(f.held)))
	switch {
	case others >= 2*heapFloor:
		f.held = nil
	case others < heapFloor && f.held == nil: // well below, so that it does not come and go
		f.held = make([]byte, heapFloor)
	}
}

// end lets the floor go for good.
func (f *floor) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held, f.ended = nil, true
}

// waiting is how many goroutines wait for the disk most of the time: the journal's writer, and the database's. To the scheduler
// each of them occupies a processor until it notices that it is in a system call, so on few cores one stood idle while
// alerts waited for it.
const waiting = 2

// useAllCores lets so many goroutines run at once that all cores are busy while some wait for the disk; undo takes it back.
// What the environment says in GOMAXPROCS stands.
func useAllCores() (undo func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	was := runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + waiting)
	return func() { runtime.GOMAXPROCS(was) }
}
