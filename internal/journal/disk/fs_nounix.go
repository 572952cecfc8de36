//go:build !unix

package disk

import (
	"errors"
	"os"
)

func lock(*os.File) error {
	return errors.New("the embedded journal has no lock on this operating system, and two servers on one folder would destroy it")
}
