package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tocsin/internal/app"
)

// serve is the main job.
func (w *world) serve() *cobra.Command {
	var file string
	var shadow bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is told to stop (SIGTERM or Ctrl-C; a second one ends it
at once). SIGHUP reads the configuration again; where it has mistakes, the one
before stays in force.

Without --config it starts a small set-up of its own in ./data: pages go to an
outbox in the console, nothing leaves the machine.`,
		Example: `  tocsin serve
  tocsin serve --config /etc/tocsin/tocsin.yaml`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration")
	cmd.Flags().BoolVar(&shadow, "shadow", false, "everything but paging (not in this version yet)")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		if shadow {
			return fmt.Errorf("serve --shadow is %w: nothing was started", errLater)
		}
		err := app.Serve(ctx, app.ServeOptions{Config: file, Stdout: w.stdout, Stderr: w.stderr})
		if errors.Is(err, app.ErrConfig) {
			return errSaid
		}
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	return cmd
}
