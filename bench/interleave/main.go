// Command interleave times commands against each other: every round runs each
// of them once, in an order that turns round, so that a machine whose speed
// drifts is unjust to none. It prints medians and ratios.
//
// It reads one command a line, NAME TAB SHELL-COMMAND, from standard input.
// The first one is what the others are compared with.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type command struct {
	name, shell string
	wall, cpu   []time.Duration // cpu: of the command's own processes, not of a daemon behind it
	rss         []int64         // of its largest process, in KiB
}

func main() {
	rounds := flag.Int("n", 9, "counted rounds, after one that is not")
	flag.Parse()
	commands, err := read(os.Stdin)
	if err == nil {
		err = measure(commands, *rounds)
	}
	if err == nil {
		err = print(os.Stdout, commands)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interleave:", err)
		os.Exit(1)
	}
}

func read(r io.Reader) ([]*command, error) {
	var commands []*command
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, shell, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			return nil, fmt.Errorf("line without a tab: %q", lines.Text())
		}
		commands = append(commands, &command{name: name, shell: shell})
	}
	if len(commands) == 0 {
		return nil, errors.New("nothing to measure")
	}
	return commands, lines.Err()
}

func measure(commands []*command, rounds int) error {
	order := slices.Clone(commands)
	for round := range rounds + 1 {
		for _, c := range order {
			if err := c.run(round > 0); err != nil {
				return err
			}
		}
		slices.Reverse(order)
	}
	return nil
}

// run runs a command once. A command that fails ends the measurement: its time
// would be worth nothing.
func (c *command) run(counted bool) error {
	cmd := exec.Command("sh", "-c", c.shell)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(began)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", c.name, err, out)
	}
	if counted {
		state := cmd.ProcessState
		c.wall = append(c.wall, wall)
		c.cpu = append(c.cpu, state.UserTime()+state.SystemTime())
		c.rss = append(c.rss, state.SysUsage().(*syscall.Rusage).Maxrss)
	}
	return nil
}

func print(w io.Writer, commands []*command) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "command\tmedian ms\tmin\tmax\tof the first\tclient CPU ms\tclient MiB\t")
	base := ms(median(commands[0].wall))
	for _, c := range commands {
		m := ms(median(c.wall))
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.1f\t%.1f\t\n", c.name, m, ms(slices.Min(c.wall)), ms(slices.Max(c.wall)),
			m/base, ms(median(c.cpu)), float64(median(c.rss))/1024)
	}
	return table.Flush()
}

func median[T int64 | time.Duration](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
