package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes is how much the file system of dir has left for us.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(min(st.Bavail, 1<<40)) * st.Bsize, nil
}

// allocate makes f n bytes long and sees to it that it has them on the disk.
func allocate(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINTR) {
		return writeZeros(f, n)
	}
	return err
}
