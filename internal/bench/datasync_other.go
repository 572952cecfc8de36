//go:build !linux

package main

import "os"

// datasync makes f durable, contents and times: what other systems have.
func datasync(f *os.File) error { return f.Sync() }
