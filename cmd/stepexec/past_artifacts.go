package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/record"
)

// artifactsOptions are the flags of `stepexec artifacts`.
type artifactsOptions struct {
	root string
	json bool
	dir  string
}

func newArtifacts() *cobra.Command {
	o := &artifactsOptions{}
	cmd := &cobra.Command{
		Use:   "artifacts RUN [NAME...]",
		Short: "List the artifacts of a run, or copy them",
		Long: `List the artifacts of a run: name, step, number of files, size and folder. With -o, copy
them into a directory, each into a folder of its name. RUN is the run's id, or the
beginning of it, or latest.`,
		Example: `  stepexec artifacts latest
  stepexec artifacts 4qpj dist -o out`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := o.find(cmd.Context(), args[0], args[1:])
			switch {
			case err != nil:
				return err
			case o.dir != "":
				return copyArtifacts(o.dir, chosen)
			case o.json:
				return printJSON(cmd.OutOrStdout(), chosen)
			}
			return printArtifacts(cmd.OutOrStdout(), chosen)
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print a JSON array")
	cmd.Flags().StringVarP(&o.dir, "output", "o", "", "copy the artifacts into this `directory`, made when missing")
	addRoot(cmd.Flags(), &o.root)
	return cmd
}

// find returns the artifacts of a run: those of the names, or all.
func (o *artifactsOptions) find(ctx context.Context, run string, names []string) ([]record.StepArtifact, error) {
	r, err := findRecord(o.root, run)
	if err != nil {
		return nil, err
	}
	artifacts, err := r.Artifacts(ctx)
	if err != nil {
		return nil, err
	}
	chosen := []record.StepArtifact{}
	var all []string
	for _, a := range artifacts {
		all = append(all, a.Name)
		if len(names) == 0 || slices.Contains(names, a.Name) {
			chosen = append(chosen, a)
		}
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("run %s has no artifact %q (its artifacts: %s)", r.Run, name, dash(strings.Join(all, ", ")))
		}
	}
	return chosen, nil
}

func printArtifacts(w io.Writer, all []record.StepArtifact) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ARTIFACT\tSTEP\tFILES\tSIZE\tFOLDER")
	for _, a := range all {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", logs.Quote(a.Name), logs.Quote(a.Step), a.Files, units.HumanSize(float64(a.Bytes)), logs.Quote(a.Folder))
	}
	return table.Flush()
}

// copyArtifacts copies artifacts, each into a folder of its name, which must not be there.
func copyArtifacts(dir string, all []record.StepArtifact) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, a := range all {
		to := filepath.Join(dir, a.Name)
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy the artifact %s: %s is already there (remove it, or name another folder)", a.Name, to)
		}
		if err := os.CopyFS(to, os.DirFS(a.Folder)); err != nil {
			return fmt.Errorf("copy the artifact %s: %w", a.Name, err)
		}
	}
	return nil
}
