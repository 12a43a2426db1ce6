// Command formats compares the formats of layers for an image that is there for 1, 10 and 100 runs, in one
// process, as a runner has them: directories, EROFS images that are mounted for each run, and EROFS images that
// stay mounted.
//
//	formats IMAGE [ROUNDS [COMMAND...]]
//
// The first run of each has an empty store. It prints its time and CPU time, with those of the processes in the
// container, the medians of the others, and what 1, 10 and 100 runs take together. Needs root.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/sandbox"
	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/unpack"
	"github.com/stepexec/stepexec/unpack/erofs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "formats:", err)
		os.Exit(1)
	}
}

// A price is what a run takes: time, and CPU time of all processes.
type price struct{ wall, cpu time.Duration }

// A variant is a way to keep layers.
type variant struct {
	name  string
	bench run.Bench
	first price
	later []price
}

func compare(ctx context.Context, args []string) (err error) {
	if len(args) == 0 {
		return fmt.Errorf("usage: formats IMAGE [ROUNDS [COMMAND...]]")
	}
	rounds, commands := 9, []string{"true"}
	if len(args) > 1 {
		if rounds, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	if len(args) > 2 {
		commands = args[2:]
	}
	dir, err := os.MkdirTemp("", "formats-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // not before: on ext4 making files after removing others is ten times slower
	for n, command := range commands {
		if err := compareWith(ctx, filepath.Join(dir, strconv.Itoa(n)), args[0], command, rounds); err != nil {
			return err
		}
	}
	return nil
}

func compareWith(ctx context.Context, dir, image, command string, rounds int) (err error) {
	images := &erofs.Kept{}
	defer images.Close()
	variants := []*variant{
		newVariant("directories", filepath.Join(dir, "directories"), unpack.FormatDirectories, nil),
		newVariant("erofs, mounted anew", filepath.Join(dir, "anew"), unpack.FormatErofs, nil),
		newVariant("erofs, stays mounted", filepath.Join(dir, "kept"), unpack.FormatErofs, images),
	}
	file := fmt.Sprintf("steps: [{name: s, image: %q, commands: [%q]}]", image, command)
	for _, v := range variants {
		if v.first, err = v.run(ctx, file); err != nil {
			return err
		}
	}
	for range rounds {
		for _, v := range variants {
			p, err := v.run(ctx, file)
			if err != nil {
				return err
			}
			v.later = append(v.later, p)
		}
		slices.Reverse(variants)
	}
	slices.SortFunc(variants, func(a, b *variant) int { return len(a.name) - len(b.name) })
	fmt.Printf("== %s\n", command)
	return print(os.Stdout, variants)
}

func newVariant(name, root string, format unpack.Format, images *erofs.Kept) *variant {
	return &variant{name: name, bench: run.Bench{
		Machine:  run.Machine{Sandbox: sandbox.Options{Root: root, Images: images}},
		Settings: func() (settings.Settings, error) { return settings.Settings{LayerFormat: format}, nil },
		Rules:    policy.Trusted(), Way: policy.Run,
	}}
}

func (v *variant) run(ctx context.Context, file string) (price, error) {
	p, err := pipeline.Parse("formats.yml", []byte(file))
	if err != nil {
		return price{}, err
	}
	code := -1
	before, began := cpu(), time.Now()
	err = v.bench.Execute(ctx, run.Work{Pipeline: p, Inputs: pipeline.Inputs{Dir: "/"}, Events: func(e *event.Event) {
		if e.Kind == event.RunFinished {
			code = e.Summary.ExitCode
		}
	}})
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: exit code %d", v.name, code)
	}
	return price{time.Since(began), cpu() - before}, err
}

// cpu is the CPU time of this process and of all that it has waited for, with those in containers.
func cpu() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if syscall.Getrusage(who, &usage) == nil { // it fails for another who only
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return sum
}

func print(w io.Writer, variants []*variant) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "ms, and ms of CPU\tfirst run\tlater run\tmin\tmax\t1 run\t10 runs\t100 runs\t")
	for _, v := range variants {
		walls, cpus := field(v.later, func(p price) time.Duration { return p.wall }), field(v.later, func(p price) time.Duration { return p.cpu })
		for _, row := range []struct {
			name  string
			first time.Duration
			later []time.Duration
		}{{v.name, v.first.wall, walls}, {"CPU", v.first.cpu, cpus}} {
			median := row.later[len(row.later)/2]
			fmt.Fprintf(table, "%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t\n", row.name, ms(row.first), ms(median), ms(row.later[0]), ms(row.later[len(row.later)-1]),
				ms(row.first), ms(row.first+9*median), ms(row.first+99*median))
		}
	}
	return table.Flush()
}

func field(all []price, of func(price) time.Duration) (sorted []time.Duration) {
	for _, p := range all {
		sorted = append(sorted, of(p))
	}
	slices.Sort(sorted)
	return sorted
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
