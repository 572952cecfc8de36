package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// errLater means that a command has its name already, and comes with a later version.
var errLater = errors.New("not in this version yet")

// later returns the commands that have a name already. They are not shown, and say that they are not there.
func later() []*cobra.Command {
	names := []string{
		"test", "backtest", "explain", "simulate", "silence", "import", "backup", "restore", "doctor",
	}
	out := make([]*cobra.Command, len(names))
	for i, name := range names {
		out[i] = notYet(name)
	}
	return out
}

// notYet returns a command that only says that it is not there, whatever it is given.
func notYet(name string) *cobra.Command {
	c := &cobra.Command{Use: name, Hidden: true, DisableFlagParsing: true, Short: "Not in this version yet"}
	c.RunE = does(func(context.Context, []string) error { return fmt.Errorf("%s is %w", c.CommandPath(), errLater) })
	return c
}
