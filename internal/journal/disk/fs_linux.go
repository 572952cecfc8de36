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
