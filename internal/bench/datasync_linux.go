package main

import (
	"os"
	"syscall"
)

// datasync makes the contents of f durable, as the journal does.
func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
