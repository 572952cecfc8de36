//go:build !linux

package partstest

import "testing"

// SmallDisk would put a file system of so many bytes at dir; here it cannot, and skips the test.
func SmallDisk(t testing.TB, _ string, _ int64) {
	t.Helper()
	absent(t, "a small file system cannot be mounted on this system", "run the tests on Linux as root")
}
