package app

import (
	"runtime"
	"testing"
	"time"
)

func TestTheHeapsFloorIsHeldWhileLittleIsInUse(t *testing.T) {
	f := &floor{}
	for _, c := range []struct {
		others uint64 // bytes in use besides the floor
		held   bool
	}{
		{1 << 20, true}, {heapFloor, true}, {2*heapFloor - 1, true}, {2 * heapFloor, false}, {heapFloor, false}, {heapFloor - 1, true}, {1 << 30, false},
	} {
		f.fit(c.others + uint64(len(f.held)))
		if held := f.held != nil; held != c.held {
			t.Errorf("with %d bytes in use the floor is held: %t, want %t", c.others, held, c.held)
		}
	}
}

func TestTheHeapsFloorFollowsWhatACollectionFinds(t *testing.T) {
	f := newFloor()
	defer f.end()
	is := func(held bool) {
		t.Helper()
		for until := time.Now().Add(10 * time.Second); time.Now().Before(until); runtime.GC() {
			f.mu.Lock()
			now := f.held != nil
			f.mu.Unlock()
			if now == held {
				return
			}
		}
		t.Fatalf("the floor is held: %t, want %t", !held, held)
	}
	is(true)
	used := make([]byte, 4*heapFloor)
	is(false)
	runtime.KeepAlive(used)
}
