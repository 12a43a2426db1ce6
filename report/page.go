package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// htmlBad bounds the failed steps at the top of a page, htmlEgress what steps have reached. The table of steps is unfolded if it
// has no more than htmlFew.
const (
	htmlTails     = 5  // failed steps whose last lines are at the top of a page
	htmlTailLines = 20 // number of those lines

	htmlBad = 20
	htmlFew = 100

	htmlEgress = 1000
)

// Page is what a page shows of a report. Its texts are plain: nothing in them is for a terminal.
type Page struct {
	Title, Made, Error string
	Overview           []PageRun // of several runs, in the order of the file
	OverviewCounts     string
	Worst              []pageWorst // the failed steps of several runs
	MoreWorst          int         // failed steps that are not in it
	Runs               []PageRun
	Data               []pageData // for the script, as JSON in an element with the id data
}

// pageWorst is a failed step of one of several runs.
type pageWorst struct {
	Run  *PageRun
	Step pageStep
}

// PageRun is what a page shows of a run.
type PageRun struct {
	Index                                            int
	ID, Name, Class, Status, Duration, Counts, Error string
	Started                                          string
	ExitCode                                         string
	Build                                            *pageBuild
	Past                                             *pagePast
	Few                                              bool
	Idle                                             bool // it has ended, and no step of it ran
	Bad                                              []pageStep
	MoreBad                                          int
	Warnings                                         []string
	Steps                                            []pageStep
	Egress                                           []*egressRow
	Tests                                            []pageTests
	Artifacts                                        []pageArtifact
	Caches                                           []pageCache
	Signed                                           []pageSigned
}

// pageTests are the tests of a step.
type pageTests struct {
	Index                 int // of the step
	Step, Counts, Slowest string
	Failed                bool
	Failures              []pageTest
	More                  int // failed tests that are not listed
	Flaky, Problems       []string
}

type pageTest struct{ Title, Place, Text string }

type pageStep struct {
	Index                                                       int // among the steps of all runs; also the index of its log
	Name, Class, Status, Exit, WaitedFor, Words, Lines          string
	Queue, Pull, Create, Start, Ran, CPU, Memory, Image, Digest string
	Service, Critical                                           bool
	Where, Tail                                                 string // of a failed step: its place in the file, its last lines
	Open                                                        bool   // its log is open from the beginning
}

// pageData is the data of the page's script. Times are milliseconds since the run began.
type pageData struct {
	Steps []dataStep `json:"steps"`
	End   int64      `json:"end"`
}

type dataStep struct {
	Index     int         `json:"index"`
	Name      string      `json:"name"`
	Class     string      `json:"class"`
	Words     string      `json:"words"`
	Service   bool        `json:"service"`
	Critical  bool        `json:"critical"`
	WaitedFor string      `json:"waitedFor"`
	DependsOn []string    `json:"dependsOn"`
	Bars      []dataBar   `json:"bars"`
	Usage     *dataAmount `json:"usage"`
}

// dataBar is a phase of a step in the timeline.
type dataBar struct {
	Phase string `json:"phase"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
}

type dataAmount struct {
	CPU    int64 `json:"cpu"`
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
}

// PageOf returns what a page shows of a report.
func PageOf(r *Report) Page {
	p := Page{Made: moment(r.Made), Error: plainLines(r.Error), Title: "stepexec report"}
	if len(r.Runs) > 0 {
		p.Title = plain(r.Runs[0].Name) + ": " + string(r.Status())
	}
	index, tails := 0, 0
	for i, run := range r.Runs {
		pr := pageRunOf(i, run, r.Made)
		data := pageData{Steps: []dataStep{}}
		for _, s := range run.Steps {
			ps := pageStepOf(index, s)
			if s.isBad() && tails < htmlTails {
				ps.Where, ps.Tail, ps.Open = Where(&s.StepResult), tailOf(s), tails == 0
				if ps.Tail != "" {
					ps.Words, _, _ = strings.Cut(ps.Words, event.LastLines) // they are in the tail
				}
				tails++
			}
			pr.Steps = append(pr.Steps, ps)
			pr.addFiles(s)
			if s.isBad() {
				if len(pr.Bad) < htmlBad {
					pr.Bad = append(pr.Bad, ps)
				} else {
					pr.MoreBad++
				}
			}
			if s.Tests != nil {
				pr.Tests = append(pr.Tests, pageTestsOf(index, s, run.Flaky))
			}
			data.add(run, s, ps, r.Made)
			index++
		}
		pr.Egress, pr.Signed = egressOf(run), signed(run.Images)
		data.End = max(data.End, time.Duration(run.Duration).Milliseconds())
		p.Runs, p.Data = append(p.Runs, pr), append(p.Data, data)
	}
	if len(p.Runs) > 1 {
		p.Overview, p.OverviewCounts = p.Runs, runCounts(r.Runs)
		p.addWorst()
	}
	return p
}

// addWorst lists the failed steps of all runs: the run that failed can be far below others.
func (p *Page) addWorst() {
	for i := range p.Runs {
		run := &p.Runs[i]
		for _, step := range run.Bad {
			if len(p.Worst) < htmlTails {
				p.Worst = append(p.Worst, pageWorst{run, step})
			} else {
				p.MoreWorst++
			}
		}
		p.MoreWorst += run.MoreBad
	}
}

// tailOf is the last lines of a failed step. What cannot be read is not shown: the log says so.
func tailOf(s *StepReport) string {
	lines, err := s.Log.Tail(htmlTailLines)
	if err != nil {
		return ""
	}
	return strings.TrimRight(textOf(lines, markdownLineBytes), "\n")
}

// pageTestsOf is what the test reports of a step say.
func pageTestsOf(index int, s *StepReport, flaky []FlakyTest) pageTests {
	t := pageTests{Index: index, Step: plain(s.Step), Counts: testsLine(s.Tests), Slowest: plain(slowestTests(s.Tests)), Failed: s.Tests.Failed > 0}
	TestFailures(&s.StepResult, func(f *event.TestFailure, text string) {
		t.Failures = append(t.Failures, pageTest{Title: plain(f.Title()), Place: plain(testPlace(f)), Text: plainLines(text)})
	})
	t.More = s.Tests.Failed - len(t.Failures)
	for _, line := range flakyLines(flaky, s.Step) {
		t.Flaky = append(t.Flaky, plain(line))
	}
	for _, problem := range s.Tests.Problems {
		t.Problems = append(t.Problems, plain(problem))
	}
	return t
}

// egressOf lists what the steps of a run have reached, of which a page holds a bounded number.
func egressOf(run *Run) []*egressRow {
	var steps []*event.StepResult
	for _, s := range run.Steps {
		steps = append(steps, &s.StepResult)
	}
	rows := egressRows(steps)
	return rows[:min(len(rows), htmlEgress)]
}

func pageRunOf(index int, run *Run, made time.Time) PageRun {
	pr := PageRun{
		Index: index, ID: plain(run.ID), Name: plain(run.Name), Class: class(run.Status, false), Status: string(run.Status), Error: plainLines(run.Error),
		Duration: "not known", ExitCode: "-", Few: len(run.Steps) <= htmlFew, Counts: counts(run.Steps),
	}
	switch {
	case run.Finished:
		pr.Duration = Duration(run.Duration)
	case run.Status == event.Running && !run.Started.IsZero():
		pr.Duration = Duration(event.Millis(made.Sub(run.Started))) + " so far"
	}
	if run.Status != event.Running {
		pr.ExitCode = fmt.Sprint(run.ExitCode)
	}
	pr.Idle = run.Status == event.Succeeded && noneRan(run.results())
	if !run.Started.IsZero() {
		pr.Started = moment(run.Started)
	}
	for _, text := range run.Warnings {
		pr.Warnings = append(pr.Warnings, plainLines(text))
	}
	pr.Build, pr.Past = pageBuildOf(run.Build), pagePastOf(run)
	return pr
}

func pageStepOf(index int, s *StepReport) pageStep {
	ps := pageStep{
		Index: index, Name: plain(s.Step), Class: class(s.Status, s.Ignored), Status: status(&s.StepResult), Exit: exitCode(&s.StepResult), WaitedFor: plain(s.WaitedFor),
		Words: plainLines(words(s)), Lines: plain(s.WithoutLines()),
		Queue: took(s, s.Queue), Pull: took(s, s.Pull), Create: took(s, s.Create), Start: took(s, s.Start), Ran: took(s, s.Duration-s.Start), CPU: "-", Memory: "-",
		Image: plain(s.Image), Digest: shortDigest(s.Digest), Service: s.Service, Critical: s.Critical,
	}
	if s.Digest == "" {
		ps.Digest = ""
	}
	if s.Usage != nil {
		ps.CPU, ps.Memory = Duration(s.Usage.User+s.Usage.System), memory(s.Usage.PeakMemory)
	}
	if s.Log.Lines > 0 {
		ps.Lines = plural(s.Log.Lines, "line")
	}
	return ps
}

// add adds a step with its phases. One that still runs has run until now.
func (d *pageData) add(run *Run, s *StepReport, ps pageStep, now time.Time) {
	ds := dataStep{
		Index: ps.Index, Name: ps.Name, Class: ps.Class, Words: ps.Words, Service: s.Service, Critical: s.Critical,
		WaitedFor: ps.WaitedFor, DependsOn: []string{}, Bars: []dataBar{},
	}
	for _, name := range s.DependsOn {
		ds.DependsOn = append(ds.DependsOn, plain(name))
	}
	since := func(t time.Time) int64 { return max(0, t.Sub(run.Started).Milliseconds()) }
	bar := func(phase string, from time.Time, took event.Millis) {
		if from.IsZero() || took <= 0 {
			return
		}
		b := dataBar{phase, since(from), since(from.Add(time.Duration(took)))}
		ds.Bars = append(ds.Bars, b)
		d.End = max(d.End, b.To)
	}
	if s.WaitedFor != "" {
		bar("wait", run.Started, event.Millis(s.Eligible.Sub(run.Started)))
	}
	bar("queue", s.Eligible, s.Queue)
	bar("pull", s.Prepared, s.Pull)
	bar("create", s.Prepared.Add(time.Duration(s.Pull)), s.Create)
	for _, a := range s.Attempts[:max(0, len(s.Attempts)-1)] {
		bar("tried", a.Started, a.Duration)
	}
	took := s.Duration
	if s.Status == event.Running {
		took = event.Millis(now.Sub(s.Started))
	}
	bar("run", s.Started, took)
	bar("ready", s.Started, s.Ready)
	if u := s.Usage; u != nil {
		ds.Usage = &dataAmount{CPU: time.Duration(u.User + u.System).Milliseconds(), Memory: u.PeakMemory, Disk: u.BytesRead + u.BytesWritten}
	}
	d.Steps = append(d.Steps, ds)
}

// words describes how a step ended, and how to look into it if it was kept.
func words(s *StepReport) string {
	text := Ended(&s.StepResult)
	if s.Kept != "" {
		text += "; kept: " + s.Kept
	}
	return text
}

// StatusClass is the CSS class of a run's status.
func StatusClass(s event.Status) string { return class(s, false) }

// class is the CSS class of a status.
func class(s event.Status, ignored bool) string {
	switch s {
	case event.Succeeded:
		return "good"
	case event.Failed, Died:
		if ignored {
			return "late"
		}
		return "bad"
	case event.TimedOut:
		return "late"
	case event.Running:
		return "busy"
	}
	return "off"
}

// Moment is a time as pages have it, for their scripts to show in the reader's own zone.
func Moment(t time.Time) string { return moment(t) }

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// plainLines applies plain to each line of a text.
func plainLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}
