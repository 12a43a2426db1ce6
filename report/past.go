package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// MostPast is the number of earlier runs that a report has room for.
const MostPast = 30

// A step is much slower if it took this many times as long as before, and so much longer.
const (
	slowerTimes = 1.5
	slowerBy    = event.Millis(5 * time.Second)
)

// PastRun is an earlier run of the same pipeline.
type PastRun struct {
	ID       string       `json:"run"`
	Status   event.Status `json:"status"`
	Started  time.Time    `json:"started"`
	Duration event.Millis `json:"duration_ms"`
}

// Comparison is what differs from the last run of the same pipeline.
type Comparison struct {
	Run          string   `json:"run"` // ID of that run
	NewlyFailing []string `json:"newly_failing,omitempty"`
	Fixed        []string `json:"fixed,omitempty"`
	Slower       []Slower `json:"slower,omitempty"`
}

// Slower is a step that took much longer than in the last run.
type Slower struct {
	Step   string       `json:"step"`
	Before event.Millis `json:"before_ms"`
	Now    event.Millis `json:"now_ms"`
}

// AddPast adds the earlier runs of the run's pipeline, the newest first, to the report.
func (r *Run) AddPast(earlier []event.Earlier) {
	earlier = earlier[:min(len(earlier), MostPast)]
	for i := range earlier {
		s := Quoted(event.Event{Summary: &earlier[i].Summary}).Summary
		if i == 0 {
			r.Compared = r.compare(s)
		}
		r.Past = append(r.Past, PastRun{ID: s.Run, Status: s.Status, Started: earlier[i].Started, Duration: s.Duration})
	}
	slices.Reverse(r.Past)
	r.Flaky = FlakyTests(r.results(), r.Build.TestedCommit(), earlier)
}

// compare compares the steps that ended in both runs by their own. A step that was left out, or cancelled
// with its run, says nothing.
func (r *Run) compare(last *event.Summary) *Comparison {
	c := &Comparison{Run: last.Run}
	before := map[string]*event.StepResult{}
	for i := range last.Steps {
		before[last.Steps[i].Step] = &last.Steps[i]
	}
	for _, s := range r.Steps {
		b := before[s.Step]
		if b == nil || s.isBeside() || b.Service || b.Detached {
			continue
		}
		switch {
		case IsFailure(&s.StepResult) && b.Status == event.Succeeded:
			c.NewlyFailing = append(c.NewlyFailing, s.Step)
		case s.Status == event.Succeeded && IsFailure(b):
			c.Fixed = append(c.Fixed, s.Step)
		case s.Status == event.Succeeded && b.Status == event.Succeeded && isSlower(b.Duration, s.Duration):
			c.Slower = append(c.Slower, Slower{s.Step, b.Duration, s.Duration})
		}
	}
	return c
}

func isSlower(before, now event.Millis) bool {
	return now-before >= slowerBy && float64(now) >= slowerTimes*float64(before)
}

// pastLine is a line of what differs from the last run.
type pastLine struct{ Class, Title, Steps string }

// lines has a line for each kind of difference that there is.
func (c *Comparison) lines() (lines []pastLine) {
	add := func(class, title string, steps []string) {
		if len(steps) > 0 {
			text := strings.Join(steps[:min(len(steps), htmlBad)], ", ")
			if more := len(steps) - htmlBad; more > 0 {
				text += fmt.Sprintf(" and %d more", more)
			}
			lines = append(lines, pastLine{class, title, plain(text)})
		}
	}
	var slower []string
	for _, s := range c.Slower {
		slower = append(slower, fmt.Sprintf("%s (%s, was %s)", s.Step, Duration(s.Now), Duration(s.Before)))
	}
	add("bad", "newly failing", c.NewlyFailing)
	add("good", "fixed", c.Fixed)
	add("late", "much slower", slower)
	return lines
}

// Sizes of the chart of the last runs, in units of its drawing.
const (
	chartBar    = 10 // width of a bar with the gap after it
	chartHeight = 60 // height of the longest bar
	chartFoot   = 8  // room below the bars for the marks
)

// pagePast is the chart of the last runs and what differs from the last one.
type pagePast struct {
	Last, Words string // ID of the last run; the chart in words
	Lines       []pastLine
	Chart       Chart
}

// Chart is a chart of runs: a bar a run, as high as the run took long.
type Chart struct {
	Words         string // the chart in words
	Width, Height int
	Bars          []pageBar
	Link          string // that an ID follows, to lead to the run; "": bars lead nowhere
}

// pageBar is a run in a chart. Marked runs did not succeed: colours alone do not tell.
type pageBar struct {
	ID                 string
	X, Y, Height, Mark int
	Class, Title       string
	Now                bool // the run of the report
	Marked             bool
	Last               bool // the arrow keys lead from it to the others
}

// pagePastOf returns nil for a run without a past.
func pagePastOf(r *Run) *pagePast {
	if len(r.Past) == 0 || r.Compared == nil {
		return nil
	}
	all := slices.Clone(r.Past)
	if r.Finished {
		all = append(all, PastRun{r.ID, r.Status, r.Started, r.Duration})
	}
	chart := ChartOf(all, r.ID)
	return &pagePast{Last: plain(r.Compared.Run), Words: chart.Words, Lines: r.Compared.lines(), Chart: chart}
}

// ChartOf returns a chart of runs, the newest last, in which one of them stands out.
func ChartOf(runs []PastRun, now string) Chart {
	longest, good := event.Millis(1), 0
	for _, run := range runs {
		longest = max(longest, run.Duration)
		if run.Status == event.Succeeded {
			good++
		}
	}
	c := Chart{
		Words: fmt.Sprintf("%d of the last %s succeeded; the longest took %s", good, plural(len(runs), "run"), Duration(longest)),
		Width: len(runs) * chartBar, Height: chartHeight + chartFoot,
	}
	for i, run := range runs {
		height := max(2, int(chartHeight*float64(run.Duration)/float64(longest)))
		c.Bars = append(c.Bars, pageBar{
			ID: run.ID, X: i * chartBar, Y: chartHeight - height, Height: height, Mark: i*chartBar + 4,
			Class: class(run.Status, false), Now: run.ID == now, Marked: run.Status != event.Succeeded, Last: i == len(runs)-1,
			Title: plain(fmt.Sprintf("%s: %s after %s, %s", run.ID, run.Status, Duration(run.Duration), moment(run.Started))),
		})
	}
	return c
}
