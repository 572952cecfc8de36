//go:build unix

package api

import "syscall"

// openFiles is how many files this process may have open.
func openFiles() int {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err != nil {
		return keptFiles
	}
	return int(min(limit.Cur, 1<<30)) //nolint:gosec // it is small enough
}
