//go:build !unix

package sqlite

import (
	"errors"
	"os"
)

// lockFile refuses: without a lock that ends with its process, two of them would ruin each other's work.
func lockFile(string) (*os.File, error) {
	return nil, errors.New("embedded storage needs a system with flock: use PostgreSQL for the state here")
}
