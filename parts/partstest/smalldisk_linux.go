package partstest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// SmallDisk puts a file system of so many bytes at dir, which must exist, until the test ends. Only root may do that; where the
// runner is not, the test is skipped, or fails where parts are required.
func SmallDisk(t testing.TB, dir string, bytes int64) {
	t.Helper()
	if os.Geteuid() != 0 {
		absent(t, "the runner is not root and cannot mount a small file system", "run the tests as root")
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d,mode=0700", bytes))
	if err != nil {
		absent(t, fmt.Sprintf("a small file system cannot be mounted at %s (%v)", dir, err), "run the tests as root, with the right to mount")
	}
	t.Cleanup(func() {
		err := syscall.Unmount(dir, syscall.MNT_DETACH) // whoever still has files open loses them with the last of these
		if err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}
