package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/unpack"
)

// keptStep is a kept step as `stepexec kept` shows it.
type keptStep struct {
	Run      string    `json:"run"`
	Step     string    `json:"step"`
	Pipeline string    `json:"pipeline,omitempty"`
	Image    string    `json:"image"`
	Ended    string    `json:"ended"`
	Kept     time.Time `json:"kept"`
	Bytes    int64     `json:"bytes"`
}

func newKept() *cobra.Command {
	var root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "kept",
		Short: "List the steps that were kept after their run",
		Long: `List the steps that were kept after their run because of keep: true or --keep. A kept
step is the files that it wrote, on disk: nothing runs and nothing is mounted. Look into
it with stepexec shell, and remove it with stepexec kept rm: nothing else removes it.`,
		Example: `  stepexec kept
  stepexec shell 4qpj build
  stepexec kept rm 4qpj`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, damaged := sandbox.ListKept(root)
			steps := []keptStep{}
			for _, k := range all {
				bytes, err := k.Bytes()
				damaged = errors.Join(damaged, err)
				steps = append(steps, keptStep{k.Run, k.Name, k.Pipeline, k.Step.Image, k.Ended, k.At, bytes})
			}
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), steps), damaged)
			}
			return errors.Join(printKept(cmd.OutOrStdout(), steps), damaged)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	addRoot(cmd.Flags(), &root)
	cmd.AddCommand(asRoot(newKeptRm()))
	return cmd
}

func printKept(w io.Writer, steps []keptStep) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTEP\tPIPELINE\tIMAGE\tKEPT\tSIZE\tENDED")
	for _, s := range steps {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Run, s.Step, dash(s.Pipeline), s.Image, s.Kept.Local().Format(time.DateTime), units.HumanSize(float64(s.Bytes)), s.Ended)
	}
	return table.Flush()
}

func newKeptRm() *cobra.Command {
	var root string
	var all bool
	cmd := &cobra.Command{
		Use:   "rm [RUN [STEP]]",
		Short: "Remove kept steps",
		Long: `Remove the kept steps of a run, or one of them, or with --all those of all runs. RUN is
the run's id, or the beginning of it, or latest: the run whose step was kept last. A step
that is open in a shell stays.`,
		Example: `  stepexec kept rm 4qpj build
  stepexec kept rm --all`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return errors.New("kept rm: name a run, or say --all")
			}
			steps, err := sandbox.ListKept(root)
			if len(args) > 0 && err == nil {
				steps, err = chooseKept(steps, args[0], args[1:])
			}
			if err != nil {
				return err
			}
			return removeKept(cmd.OutOrStdout(), root, steps)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every kept step")
	addRoot(cmd.Flags(), &root)
	return cmd
}

// chooseKept returns the kept steps of the run whose id begins with prefix, or only those with the
// names.
func chooseKept(all []sandbox.Kept, prefix string, names []string) ([]sandbox.Kept, error) {
	if prefix == latest && len(all) > 0 {
		prefix = slices.MaxFunc(all, func(a, b sandbox.Kept) int { return a.At.Compare(b.At) }).Run
	}
	var runs []string
	for _, k := range all {
		if !slices.Contains(runs, k.Run) {
			runs = append(runs, k.Run)
		}
	}
	run, err := record.Match(runs, prefix)
	if errors.Is(err, record.ErrNotFound) {
		return nil, fmt.Errorf("run %s: none of its steps is kept (stepexec kept lists those that are; keep: true, --keep and --keep=failed keep them)", prefix)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", prefix, err)
	}
	var chosen []sandbox.Kept
	var there []string
	for _, k := range all {
		if k.Run != run {
			continue
		}
		there = append(there, k.Name)
		if len(names) == 0 || k.Name == names[0] {
			chosen = append(chosen, k)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("run %s: step %q is not kept (%s is)", run, names[0], strings.Join(there, ", "))
	}
	return chosen, nil
}

// removeKept removes steps and then unpins their layers.
func removeKept(w io.Writer, root string, steps []sandbox.Kept) error {
	store, err := unpack.OpenStore(root)
	if err != nil {
		return err
	}
	var failed []error
	for _, k := range steps {
		if err := k.Remove(); err != nil {
			failed = append(failed, fmt.Errorf("step %s of run %s stays: %w", k.Name, k.Run, err))
			continue
		}
		failed = append(failed, store.Unpin(k.Pin()))
		_, err := fmt.Fprintf(w, "removed step %s of run %s\n", k.Name, k.Run)
		failed = append(failed, err)
	}
	return errors.Join(errors.Join(failed...), store.Close())
}

// sweepKept removes the leftovers of interrupted work on kept steps: half-removed folders, and pins
// of layers that no kept step needs.
func sweepKept(root string) error {
	if err := sandbox.SweepKept(root); err != nil {
		return err
	}
	store, err := unpack.OpenStore(root)
	if err != nil {
		return err
	}
	defer store.Close()
	pins, err := store.Pins() // read before looking at kept steps and live runs
	if err != nil {
		return err
	}
	live, err := sandbox.ListLive(root)
	if err != nil {
		return err
	}
	kept, err := sandbox.ListKept(root)
	if err != nil {
		return err // the kept steps that could not be read may need them
	}
	var failed []error
	for _, pin := range pins {
		run, _, _ := strings.Cut(pin, "-")
		needed := slices.ContainsFunc(kept, func(k sandbox.Kept) bool { return k.Pin() == pin }) ||
			slices.ContainsFunc(live, func(l sandbox.Live) bool { return l.ID == run })
		if !needed {
			failed = append(failed, store.Unpin(pin))
		}
	}
	return errors.Join(failed...)
}

// findKept finds a kept step and opens it. At most one step of a name can be kept, even after
// several attempts.
func findKept(root, prefix, name string) (k sandbox.Kept, release func() error, err error) {
	all, err := sandbox.ListKept(root)
	if err != nil {
		return k, nil, err
	}
	chosen, err := chooseKept(all, prefix, []string{name})
	if err != nil {
		return k, nil, err
	}
	release, err = chosen[0].Open()
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it has just been removed")
	}
	if err != nil {
		return k, nil, fmt.Errorf("step %s of run %s: %w", name, chosen[0].Run, err)
	}
	return chosen[0], release, nil
}
