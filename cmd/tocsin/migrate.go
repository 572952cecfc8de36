package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tocsin/internal/app"
)

// moving is what was typed behind migrate.
type moving struct {
	config, to              string
	dryRun, yes             bool
	rejoin, takeBack, leave bool
	at                      string
	partition               int
}

// migrate moves the whole state to other storage.
func (w *world) migrate() *cobra.Command {
	var m moving
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Move the whole state to another database, journal or layout",
		Long: `Move everything that the storage of one configuration has to the storage of
another: to another database, another journal, another number of partitions or
other labels in isolate_by. Stop every server first.

It prints what it will do and asks once. It may be killed at any moment and run
again: it goes on where it stopped. Until it is done the new storage refuses to
be served, and the old one is left as it was; from then on it is the other way
round. Nobody is paged meanwhile; what falls due waits for the next server.`,
		Example: `  tocsin migrate --config old.yaml --to new.yaml --dry-run
  tocsin migrate --config old.yaml --to new.yaml
  tocsin migrate --abandon --config new.yaml      # give up a move that is not finished
  tocsin migrate --take-back --config old.yaml    # go back to the old storage, as it stood
  tocsin migrate --rejoin --config now.yaml --at latest   # after a topic was made anew`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVarP(&m.config, "config", "c", "", "the configuration that was served until now")
	f.StringVar(&m.to, "to", "", "the configuration that is to be served from then on")
	f.BoolVar(&m.dryRun, "dry-run", false, "only say what would be moved")
	f.BoolVar(&m.yes, "yes", false, "do not ask")
	f.BoolVar(&m.leave, "abandon", false, "give up a move to --config that is not finished")
	f.BoolVar(&m.takeBack, "take-back", false, "make --config, which was moved away, the one in use again")
	f.BoolVar(&m.rejoin, "rejoin", false, "go on with a journal that was cut or made anew")
	f.StringVar(&m.at, "at", "", "with --rejoin: earliest, latest, or an offset")
	f.IntVar(&m.partition, "partition", -1, "with --rejoin: only this one")
	cmd.MarkFlagsMutuallyExclusive("to", "abandon", "take-back", "rejoin")
	cmd.MarkFlagsOneRequired("to", "abandon", "take-back", "rejoin")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		err := w.move(ctx, m)
		switch {
		case err == nil || errors.Is(err, errWrongUse):
			return err
		case errors.Is(err, app.ErrConfig):
			return errSaid
		}
		return fmt.Errorf("migrate: %w", err)
	})
	return cmd
}

func (w *world) move(ctx context.Context, m moving) error {
	switch {
	case m.config == "":
		return wrongUse("tocsin migrate needs --config")
	case m.rejoin && m.at == "":
		return wrongUse("tocsin migrate --rejoin needs --at: earliest, latest, or an offset")
	case !m.rejoin && (m.at != "" || m.partition >= 0):
		return wrongUse("--at and --partition go with --rejoin")
	case m.dryRun && m.to == "":
		return wrongUse("--dry-run goes with --to")
	}
	ask := w.asks("Go on?")
	if m.yes {
		ask = nil
	}
	switch {
	case m.rejoin:
		return app.Rejoin(ctx, app.RejoinOptions{Config: m.config, Partition: m.partition, At: m.at, Confirm: ask, Stdout: w.stdout, Stderr: w.stderr})
	case m.leave:
		if !m.yes && !w.asks("All that was copied to the storage of "+m.config+" so far will be deleted. Go on?")() {
			return app.ErrUnconfirmed
		}
		from, err := app.Abandon(ctx, m.config, w.stderr)
		if err == nil {
			fmt.Fprintf(w.stdout, "given up: the state is still in %s\n", clean(from))
		}
		return err
	case m.takeBack:
		if !m.yes && !w.asks("What has happened since the storage of "+m.config+" was moved away is not in it. Is nobody serving the new one any more?")() {
			return app.ErrUnconfirmed
		}
		to, err := app.TakeBack(ctx, m.config, w.stderr)
		if err == nil {
			fmt.Fprintf(w.stdout, "taken back: serve %s; do not serve %s any more\n", m.config, clean(to))
		}
		return err
	}
	return app.Migrate(ctx, app.MigrateOptions{From: m.config, To: m.to, DryRun: m.dryRun, Confirm: ask, Stdout: w.stdout, Stderr: w.stderr})
}

// asks returns a question that only yes is an answer to.
func (w *world) asks(question string) func() bool {
	return func() bool {
		fmt.Fprintf(w.stdout, "%s Type yes: ", question)
		line, _ := bufio.NewReader(w.stdin).ReadString('\n') // what was not read is no yes
		fmt.Fprintln(w.stdout)
		return strings.TrimSpace(line) == "yes"
	}
}
