package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes data and size durable, without the times that fsync would write too.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Free is how many bytes the file system of dir has left for us.
func (OS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(min(st.Bavail, 1<<40)) * st.Bsize, nil
}
