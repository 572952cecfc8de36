package main

import (
	"context"
	"io"
	"os"
	"time"
)

func main() { os.Exit(run(context.Background(), ours())) }

// A world is all that a command sees of the machine that it runs on.
type world struct {
	args   []string // without the command's own name
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	env    func(name string) string
	now    func() time.Time
	zone   *time.Location // that times are read and printed in
}

func ours() world {
	return world{
		args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, now: time.Now, zone: time.Local,
	}
}
