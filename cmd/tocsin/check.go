package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tocsin/internal/app"
)

// check tells all that is wrong with a configuration.
func (w *world) check() *cobra.Command {
	var asJSON bool
	var diff string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Tell every mistake in a configuration, with its line and its cure",
		Long: `Read a configuration as the server does, and tell every mistake at once, as
file:line:column, what is wrong, and the cure. Warnings are told too: they are
legal, but surely not meant. Without FILE it checks the starter set-up in ./data.

Exit code: 0 it can be used, 1 it has mistakes, 2 wrong use.`,
		Example: `  tocsin check tocsin.yaml
  tocsin check --json tocsin.yaml`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().StringVar(&diff, "diff", "", "what a change would mean (not in this version yet)")
	cmd.RunE = does(func(_ context.Context, args []string) error {
		if diff != "" {
			return fmt.Errorf("check --diff is %w", errLater)
		}
		file := starterPath
		if len(args) > 0 {
			file = args[0]
		} else if _, err := os.Stat(file); err != nil {
			return wrongUse("name the file to check: there is no starter set-up here (%s)", err)
		}
		return w.tell(file, asJSON)
	})
	return cmd
}

// A verdict is what check prints with --json.
type verdict struct {
	File       string   `json:"file"`
	OK         bool     `json:"ok"` // the server would take it
	Problems   []remark `json:"problems"`
	NotInForce []string `json:"not_in_force"`
	Error      string   `json:"error,omitempty"` // a mistake that has no place
}

// A remark is one mistake or warning.
type remark struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning"`
}

// tell prints what is wrong with file.
func (w *world) tell(file string, asJSON bool) error {
	problems, notInForce, err := app.Check(file)
	v := verdict{File: file, OK: err == nil, Problems: []remark{}, NotInForce: append([]string{}, notInForce...)}
	mistakes := 0
	for _, p := range problems {
		v.Problems = append(v.Problems, remark{p.File, p.Line, p.Column, p.Path, p.Message, p.Hint, p.Warning})
		if !p.Warning {
			mistakes++
		}
	}
	v.OK = err == nil && mistakes == 0
	if err != nil {
		v.Error = err.Error()
	}
	if asJSON {
		if err := printJSON(w.stdout, v); err != nil {
			return err
		}
	} else {
		w.tellInLines(v, problems, mistakes)
	}
	if !v.OK {
		return errSaid
	}
	return nil
}

// tellInLines prints problems to stderr, and that a file can be used to stdout.
func (w *world) tellInLines(v verdict, problems []app.Problem, mistakes int) {
	for _, p := range problems {
		fmt.Fprintln(w.stderr, clean(p.String()))
	}
	for _, line := range v.NotInForce {
		fmt.Fprintln(w.stderr, clean(line))
	}
	for line := range strings.Lines(v.Error) {
		fmt.Fprintf(w.stderr, "%s: %s\n", v.File, clean(strings.TrimSpace(line)))
	}
	if v.OK {
		fmt.Fprintf(w.stdout, "%s can be used (%s)\n", v.File, count(len(problems)-mistakes, "warning"))
	}
}

// count says how many of a thing there are.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
