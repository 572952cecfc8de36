package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tocsin/internal/app"
)

// repair mends a journal that the server refuses to open.
func (w *world) repair() *cobra.Command {
	var file, dir string
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Mend a damaged journal, so that the server starts again",
		Long: `Mend the embedded journal after the server has refused it because of damage. The
server must not be running. Nothing is deleted: what cannot be read is renamed, no
place in the journal is used twice, and everything that was done is printed.

Without --config and --dir it mends the starter set-up in ./data.`,
		Example: `  tocsin repair --config /etc/tocsin/tocsin.yaml
  tocsin repair --dir /var/lib/tocsin`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration, whose storage.dir is mended")
	cmd.Flags().StringVar(&dir, "dir", "", "the folder that storage.dir names")
	cmd.MarkFlagsMutuallyExclusive("config", "dir")
	cmd.RunE = does(func(context.Context, []string) error {
		folder, err := storage(file, dir)
		if err != nil {
			return err
		}
		did, err := app.Repair(folder)
		for _, line := range did {
			fmt.Fprintln(w.stdout, clean(line))
		}
		if err != nil {
			return fmt.Errorf("repair %s: %w", folder, err)
		}
		if len(did) == 0 {
			fmt.Fprintf(w.stdout, "%s: nothing to mend\n", folder)
		}
		return nil
	})
	return cmd
}

// storage returns the folder to mend. A folder that holds no journal is not made into one.
func storage(file, dir string) (string, error) {
	switch {
	case file != "":
		var err error
		dir, err = app.StorageDir(file)
		if err != nil {
			return "", err
		}
	case dir == "":
		dir = filepath.Dir(starterPath)
	}
	_, err := os.Stat(filepath.Join(dir, "journal"))
	if err != nil {
		return "", fmt.Errorf("repair: there is no journal in %s: %w", dir, err)
	}
	return dir, nil
}
