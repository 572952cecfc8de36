package app

// heapFloor is what the collector takes for in use besides what is. Without it a server with little state, whose heap is some
// megabytes, collects twenty times a second while alerts come in, and spends a tenth of its time on it. The system gives pages
// only to what is written to, and nobody writes here: it takes no memory, but lets as much garbage gather under load.
const heapFloor = 32 << 20

// newHeapFloor returns what must be kept alive for as long as the floor is to hold.
func newHeapFloor() []byte { return make([]byte, heapFloor) }
