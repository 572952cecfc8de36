package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tocsin/internal/app"
	"tocsin/internal/client"
)

// Exit codes: what scripts go by.
const (
	exitDone  = 0
	exitNo    = 1 // refused, not found, mistakes found
	exitWrong = 2 // wrong use, or no server that could answer
)

// errWrongUse means that a command was not typed as it has to be.
var errWrongUse = errors.New("wrong use")

// A usageError says what is wrong with what was typed.
type usageError struct{ said string }

func (e *usageError) Error() string        { return e.said }
func (e *usageError) Is(target error) bool { return target == errWrongUse }

// wrongUse returns a usageError.
func wrongUse(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// errSaid means that the answer is no, and that the user has been told why.
var errSaid = errors.New("already said")

// A failure is an error of a command that was typed as it has to be. Errors without it come from reading what was typed.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run carries out one command and returns the exit code.
func run(ctx context.Context, w world) int {
	root := w.root()
	root.SetArgs(w.args)
	root.SetIn(w.stdin)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return w.report(cmd, err)
}

// report tells what went wrong, and says it by a number too.
func (w *world) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	_, ran := errors.AsType[failure](err)
	switch {
	case !ran, errors.Is(err, errWrongUse):
		fmt.Fprintf(w.stderr, "tocsin: %s\nSee: %s --help\n", clean(err.Error()), cmd.CommandPath())
		return exitWrong
	case errors.Is(err, errLater):
		fmt.Fprintf(w.stderr, "tocsin: %s\n", err)
		return exitWrong
	case errors.Is(err, errSaid):
		return exitOf(err)
	}
	fmt.Fprintf(w.stderr, "tocsin: %s\n", clean(err.Error()))
	return exitOf(err)
}

// exitOf tells a no from a server that could not answer.
func exitOf(err error) int {
	p, refused := errors.AsType[*client.Problem](err)
	switch {
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrAnswer):
		return exitWrong
	case refused && (p.Status >= 500 || p.Status < 400):
		return exitWrong
	}
	return exitNo
}

// does makes what a command does into what cobra calls.
func does(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd.Context(), args)
		if err != nil {
			return failure{err}
		}
		return nil
	}
}

// root returns the command with all that are below it.
func (w *world) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tocsin",
		Short: "Alerts in, the right person woken, the major incident run",
		Long: `tocsin takes alerts from anything, works out which belong together, wakes the
right person by SMS, phone and mail, and runs the major incident.

Begin with "tocsin serve": without a configuration it starts a small set-up of
its own in ./data and says what to try.`,
		Example: `  tocsin serve
  tocsin check tocsin.yaml
  tocsin send DiskFull host=db-1 service=db-main --severity critical --summary "disk 98% full"
  tocsin incident list
  tocsin incident ack i42 --by one`,
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          needsOneOfItsOwn,
	}
	root.AddGroup(&cobra.Group{ID: "server", Title: "The server:"}, &cobra.Group{ID: "client", Title: "Speaking to a running server:"})
	for _, c := range []*cobra.Command{w.serve(), w.check(), w.repair(), w.migrate()} {
		c.GroupID = "server"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{w.send(), w.storm(), w.incident(), w.major(), w.page(), w.oncall(), w.schedule(), w.nodes(), w.deadLetters()} {
		c.GroupID = "client"
		root.AddCommand(c)
	}
	root.AddCommand(w.version())
	root.AddCommand(later()...)
	root.CompletionOptions.HiddenDefaultCmd = false
	return root
}

// needsOneOfItsOwn is what a group of commands does when none of them was named.
func needsOneOfItsOwn(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return wrongUse("%s needs one of: %s", cmd.CommandPath(), strings.Join(names, ", "))
	}
	said := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		said += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return wrongUse("%s", said)
}

// needs returns a check that there is exactly one argument, or with more at least one.
func needs(what string, more bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return wrongUse("%s needs %s", cmd.CommandPath(), what)
		case len(args) > 1 && !more:
			return wrongUse("%s takes only %s: what is %q?", cmd.CommandPath(), what, args[1])
		}
		return nil
	}
}

// group returns a command that only holds others.
func group(use, short, example string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs, RunE: needsOneOfItsOwn}
}

// printJSON prints v as one indented document.
func printJSON(w io.Writer, v any) error {
	e := newEncoder(w)
	return e.Encode(v)
}

// version of the product, for the server's log of who asks.
func userAgent() string { return "tocsin/" + app.Version() }
