package github

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// mostSummary bounds the summary page in bytes. GitHub rejects a page of more than 1 MiB.
const mostSummary = 900 << 10

// result is the data of the outputs.
type result struct {
	own                    bool // stepexec itself failed
	status                 event.Status
	failed                 string // name of the step that failed first
	run                    string // ID of the run that began last
	total, bad, leftUndone int    // numbers of steps
}

func (r *result) event(e event.Event) {
	switch e.Kind {
	case event.Failure:
		r.own = true
	case event.RunStarted:
		r.run = e.Run
	case event.StepFinished:
		if r.failed == "" && report.IsFailure(e.Result) {
			r.failed = report.Label(e)
		}
	case event.RunFinished:
		if r.status == "" || r.status == event.Succeeded {
			r.status = e.Summary.Status
		}
		for i := range e.Summary.Steps {
			s := &e.Summary.Steps[i]
			if s.Service {
				continue
			}
			r.total++
			if report.IsFailure(s) {
				r.bad++
			}
			if s.Status == event.Skipped {
				r.leftUndone++
			}
		}
	}
}

// inAWord is the value of the output status.
func (r *result) inAWord(exitCode int) string {
	switch {
	case exitCode == 0:
		return "success"
	case exitCode == event.CodeInterrupted:
		return "cancelled"
	case r.own:
		return "error"
	case r.status == event.TimedOut:
		return "timeout"
	case exitCode == event.CodeError:
		return "error"
	}
	return "failure"
}

// writeOutputs adds the outputs of the job's step.
func (l *Log) writeOutputs(exitCode int) error {
	var b strings.Builder
	for _, output := range [][2]string{
		{"exit-code", strconv.Itoa(exitCode)},
		{"status", l.result.inAWord(exitCode)},
		{"failed-step", l.result.failed},
		{"steps-total", strconv.Itoa(l.result.total)},
		{"steps-failed", strconv.Itoa(l.result.bad)},
		{"steps-skipped", strconv.Itoa(l.result.leftUndone)},
		{"duration-ms", strconv.FormatInt(time.Since(l.began).Milliseconds(), 10)},
		{"report", l.o.Report},
		{"log-dir", l.logDir()},
	} {
		if strings.ContainsAny(output[1], "\r\n") {
			end := token()
			fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", output[0], end, output[1], end)
			continue
		}
		fmt.Fprintf(&b, "%s=%s\n", output[0], output[1])
	}
	return l.addTo("GITHUB_OUTPUT", []byte(b.String()))
}

func (l *Log) logDir() string {
	if l.o.LogDir == nil || l.result.run == "" {
		return ""
	}
	return l.o.LogDir(l.result.run)
}

// writeSummary adds the report to the job's summary page.
func (l *Log) writeSummary(made *report.Report) error {
	if l.o.Env("GITHUB_STEP_SUMMARY") == "" {
		return nil
	}
	var page bytes.Buffer
	if err := report.WriteMarkdown(&page, made); err != nil {
		return err
	}
	return l.addTo("GITHUB_STEP_SUMMARY", bounded(page.Bytes()))
}

// bounded returns a page without the lines that exceed its bound. GitHub also shows a page that
// was cut in the middle of a fold: it closes the fold.
func bounded(page []byte) []byte {
	if len(page) <= mostSummary {
		return page
	}
	const rest = "\n\nThere is more in the log: GitHub takes no longer summary.\n"
	page = page[:mostSummary-len(rest)]
	return append(page[:bytes.LastIndexByte(page, '\n')+1], rest...)
}

// addTo appends data to the file that a variable names, if the variable is set.
func (l *Log) addTo(variable string, data []byte) error {
	name := l.o.Env(variable)
	if name == "" {
		return nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("write to the file of %s: %w", variable, err)
	}
	_, err = file.Write(data)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write to the file of %s: %w", variable, err)
	}
	return nil
}
