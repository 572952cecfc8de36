package app

import (
	"os"
	"runtime"
)

// heapFloor is what the collector takes for in use besides what is. Without it a server with little state, whose heap is some
// megabytes, collects twenty times a second while alerts come in, and spends a fifth of its time on it. The system gives pages
// only to what is written to, and nobody writes here: it takes no memory, but lets as much garbage gather under load.
const heapFloor = 16 << 20

// newHeapFloor returns what must be kept alive for as long as the floor is to hold.
func newHeapFloor() []byte { return make([]byte, heapFloor) }

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
