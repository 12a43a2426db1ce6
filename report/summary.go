package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// Summary writes how a run and each of its steps ended: a table, and one line for the whole
// run. On a terminal the table is no wider than the terminal.
func Summary(w io.Writer, s *event.Summary) error {
	return SummaryWithin(w, s, nil, terminalWidth(w))
}

// SummaryWithin is Summary with the flaky tests of the run, for a width in characters. It leaves
// out columns to fit, but never the steps and how they ended; width 0 leaves out nothing.
func SummaryWithin(w io.Writer, s *event.Summary, flaky []FlakyTest, width int) error {
	text := table(columns, s.Steps, width) + "\n"
	if reached := egressTable(s); reached != "" {
		text += reached + "\n"
	}
	if list := testList(s.Steps, flaky); list != "" {
		text += list + "\n"
	}
	if list := cacheList(s.Steps) + artifactList(s.Steps); list != "" {
		text += list + "\n"
	}
	_, err := io.WriteString(w, text+verdict(s)+"\n")
	if err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// column is a column of the table. The column with the highest dispensable is left out first;
// a column with 0 always stays.
type column struct {
	title       string
	left        bool // aligned to the left
	dispensable int
	cell        func(*event.StepResult) string
}

var columns = []column{
	{"STEP", true, 0, func(r *event.StepResult) string { return logs.Quote(r.Step) }},
	{"STATUS", true, 0, status},
	{"EXIT", false, 0, exitCode},
	{"QUEUE", false, 4, func(r *event.StepResult) string { return spent(r, r.Queue) }},
	{"PULL", false, 2, func(r *event.StepResult) string { return spent(r, r.Pull) }},
	{"START", false, 3, func(r *event.StepResult) string { return spent(r, r.Create, r.Start) }},
	{"RUN", false, 0, func(r *event.StepResult) string { return spent(r, r.Duration, -r.Start) }},
	{"CPU", false, 5, func(r *event.StepResult) string {
		if r.Usage == nil {
			return "-"
		}
		return spent(r, r.Usage.User, r.Usage.System)
	}},
	{"MEMORY", false, 1, func(r *event.StepResult) string {
		if r.Usage == nil {
			return "-"
		}
		return memory(r.Usage.PeakMemory)
	}},
	{"IMAGE", true, 6, func(r *event.StepResult) string { return shortDigest(r.Digest) }},
}

// table formats the steps as lines of aligned columns.
func table(columns []column, steps []event.StepResult, width int) string {
	cells := make([][]string, len(columns))
	widths := make([]int, len(columns))
	total := -2
	for i, c := range columns {
		cells[i] = append(cells[i], c.title)
		for j := range steps {
			cells[i] = append(cells[i], c.cell(&steps[j]))
		}
		for _, text := range cells[i] {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
		total += 2 + widths[i]
	}
	shown := make([]bool, len(columns))
	for i := range shown {
		shown[i] = true
	}
	for width > 0 && total > width {
		least := -1
		for i, c := range columns {
			if shown[i] && c.dispensable > 0 && (least < 0 || c.dispensable > columns[least].dispensable) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		shown[least] = false
		total -= 2 + widths[least]
	}
	var b strings.Builder
	for j := range len(steps) + 1 {
		var line strings.Builder
		for i, c := range columns {
			if !shown[i] {
				continue
			}
			if line.Len() > 0 {
				line.WriteString("  ")
			}
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cells[i][j]))
			if c.left {
				line.WriteString(cells[i][j] + space)
			} else {
				line.WriteString(space + cells[i][j])
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// terminalWidth is the width of the terminal w; 0: w is not a terminal.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

func status(r *event.StepResult) string {
	text := string(r.Status)
	if r.OOM {
		text += " (out of memory)"
	}
	if r.Ignored {
		text += " (ignored)"
	}
	if r.Flaky() {
		text += " (flaky)"
	}
	return text
}

// exitCode is a step's exit code, or - if it says nothing.
func exitCode(r *event.StepResult) string {
	switch r.Status {
	case event.Succeeded, event.Failed, event.TimedOut:
		return strconv.Itoa(r.ExitCode)
	}
	return "-"
}

// spent is the sum of durations of a step that ran. Each is rounded to milliseconds, so that
// a run and its record give the same sum.
func spent(r *event.StepResult, parts ...event.Millis) string {
	if r.Started.IsZero() {
		return "-"
	}
	var sum int64
	for _, m := range parts {
		sum += time.Duration(m).Milliseconds()
	}
	return Duration(event.Millis(time.Duration(sum) * time.Millisecond))
}

func memory(bytes int64) string {
	return units.CustomSize("%.1f %s", float64(bytes), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB"})
}

// shortDigest is the beginning of a digest, enough to tell images apart.
func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	if hex == "" {
		return "-"
	}
	return hex[:min(12, len(hex))]
}

// noneRan reports whether a run has done nothing: conditions left out all of its steps. Who
// reads "succeeded" alone takes it for more.
func noneRan(steps []event.StepResult) bool {
	return !slices.ContainsFunc(steps, func(r event.StepResult) bool {
		return !r.Service && (r.Status != event.Skipped || r.DoneIn != "")
	})
}

func verdict(s *event.Summary) string {
	text := fmt.Sprintf("%s: %s", logs.Quote(s.Name), s.Status)
	if s.Status != event.Succeeded {
		text += fmt.Sprintf(" with exit code %d", s.ExitCode)
	}
	if s.Status == event.Succeeded && noneRan(s.Steps) {
		text += ", no step ran,"
	}
	text += " after " + Duration(s.Duration)
	if s.Error != "" {
		text += ": " + Clean(s.Error)
	}
	return text
}
