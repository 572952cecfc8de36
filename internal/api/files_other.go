//go:build !unix

package api

// openFiles is how many files this process may have open: there is no limit that we would know.
func openFiles() int { return 2 * mostConns }
