// Command interleave times commands against each other: every round runs each
// of them once, in an order that turns round, so that a machine whose speed
// drifts is unjust to none. It prints medians and ratios.
//
// It reads one command a line, NAME TAB SHELL-COMMAND, from standard input, and
// optionally TAB PREPARATION, which runs before each time and is not timed. The
// first one is what the others are compared with.
//
// The system's CPU time is that of the whole machine while the command ran: it has
// what daemons did for it, and whatever else went on.
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
	name, shell, prepare string
	wall, cpu            []time.Duration // cpu: of the command's own processes, not of a daemon behind it
	system               []time.Duration
	rss                  []int64 // of its largest process, in KiB
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
		shell, prepare, _ := strings.Cut(shell, "\t")
		commands = append(commands, &command{name: name, shell: shell, prepare: prepare})
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
	if out, err := exec.Command("sh", "-c", c.prepare).CombinedOutput(); err != nil {
		return fmt.Errorf("prepare %s: %w: %s", c.name, err, out)
	}
	busy, err := systemTime()
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", c.shell)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(began)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", c.name, err, out)
	}
	busyAfter, err := systemTime()
	if err != nil {
		return err
	}
	if counted {
		c.system = append(c.system, busyAfter-busy)
		state := cmd.ProcessState
		c.wall = append(c.wall, wall)
		c.cpu = append(c.cpu, state.UserTime()+state.SystemTime())
		c.rss = append(c.rss, int64(state.SysUsage().(*syscall.Rusage).Maxrss))
	}
	return nil
}

// systemTime is the time that all processors together have not been idle: user, nice, system, irq and softirq
// of proc(5), in ticks of 10 ms.
func systemTime() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var user, nice, system, idle, wait, irq, soft int64
	if _, err := fmt.Sscanf(string(stat), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &soft); err != nil {
		return 0, fmt.Errorf("read /proc/stat: %w", err)
	}
	return time.Duration(user+nice+system+irq+soft) * 10 * time.Millisecond, nil
}

func print(w io.Writer, commands []*command) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "command\tmedian ms\tmin\tmax\tof the first\tclient CPU ms\tsystem CPU ms\tclient MiB\t")
	base := ms(median(commands[0].wall))
	for _, c := range commands {
		m := ms(median(c.wall))
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.1f\t%.0f\t%.1f\t\n", c.name, m, ms(slices.Min(c.wall)), ms(slices.Max(c.wall)),
			m/base, ms(median(c.cpu)), ms(median(c.system)), float64(median(c.rss))/1024)
	}
	return table.Flush()
}

func median[T int64 | time.Duration](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
