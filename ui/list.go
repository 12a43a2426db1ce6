package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
)

const (
	pageRuns     = 100 // runs of a page
	mostRunning  = 8   // running steps that are named
	mostPatterns = 200 // bytes of a search
	shortCommit  = 10
	mostCharts   = 200 // pipelines of a page
)

// runRow is a run in a list.
type runRow struct {
	ID, Name, Class, Status string
	Commit, Message, Where  string // what was built, as far as it is known
	User, Started, Duration string
	Since                   int64 // milliseconds since the beginning of the epoch, when a live run began
	Steps                   string
	Running                 []string
	Unrecorded              bool // there is no page of it
	MoreRunning             int
}

// runsPage is the data of the page of runs.
type runsPage struct {
	Live, Rows   []runRow
	Query        string
	Status       string
	Statuses     []string
	Total        int // runs that match
	First, Last  int // of them, those that are shown
	Newer, Older string
}

// serveRuns lists the runs: live ones first, on all pages.
func (s *Server) serveRuns(w http.ResponseWriter, r *http.Request) {
	all, _, err := s.runs.list()
	query := r.URL.Query()
	p := runsPage{Query: logs.Quote(firstBytes(query.Get("q"), mostPatterns)), Status: query.Get("status")}
	number, _ := strconv.Atoi(query.Get("page")) // 0 for what is no number
	var matching []listedRun
	for _, one := range all {
		if !slices.Contains(p.Statuses, string(one.Status)) {
			p.Statuses = append(p.Statuses, string(one.Status))
		}
		if !one.matches(p.Query, p.Status) {
			continue
		}
		if one.Status == event.Running {
			p.Live = append(p.Live, rowOf(&one))
			continue
		}
		matching = append(matching, one)
	}
	slices.Sort(p.Statuses)
	p.Total = len(matching)
	number = max(0, min(number, (p.Total-1)/pageRuns))
	from := number * pageRuns
	to := min(from+pageRuns, p.Total)
	for i := range matching[from:to] {
		p.Rows = append(p.Rows, rowOf(&matching[from+i]))
	}
	p.First, p.Last = min(from+1, to), to
	if number > 0 {
		p.Newer = p.link(s.base, number-1)
	}
	if to < p.Total {
		p.Older = p.link(s.base, number+1)
	}
	f := frame{Title: "Runs", Page: "runs", Script: "list.js", Events: s.base + "events"}
	if err != nil {
		f.Error = "Not all records can be read: " + logs.QuoteLines(err.Error(), "")
	}
	s.write(w, http.StatusOK, f, p)
}

// link leads to another page of the same search.
func (p *runsPage) link(base string, number int) string {
	v := url.Values{}
	for name, value := range map[string]string{"q": p.Query, "status": p.Status} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if number > 0 {
		v.Set("page", fmt.Sprint(number))
	}
	return base + "?" + v.Encode()
}

// matches reports whether a run has a status, if one is asked for, and every word of a query.
func (r *listedRun) matches(query, status string) bool {
	if status != "" && status != string(r.Status) {
		return false
	}
	if query == "" {
		return true
	}
	texts := []string{r.Run, r.Name, r.Cell, r.User, r.File}
	if b := r.Build; b != nil {
		texts = append(texts, b.Repo, b.Branch, b.Tag, b.Commit, b.Message, b.Author, b.Event)
	}
	text := strings.ToLower(strings.Join(texts, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func firstBytes(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

func rowOf(r *listedRun) runRow {
	row := runRow{
		ID: r.Run, Name: logs.Quote(r.title()), Class: report.StatusClass(r.Status), Status: logs.Quote(string(r.Status)), User: logs.Quote(r.User),
		Started: report.Moment(r.Started), Duration: "-",
	}
	if b := r.Build; b != nil {
		row.Commit, row.Message = logs.Quote(firstBytes(b.Commit, shortCommit)), logs.Quote(b.Message)
		switch {
		case b.PullRequest != 0:
			row.Where = fmt.Sprint("#", b.PullRequest)
		case b.Tag != "":
			row.Where = logs.Quote(b.Tag)
		default:
			row.Where = logs.Quote(b.Branch)
		}
	}
	if r.Status != event.Running {
		if r.Status != report.Died {
			row.Duration = report.Duration(r.Duration)
		}
		return row
	}
	if r.Unrecorded {
		row.Unrecorded = true
		return row
	}
	row.Since = r.Started.UnixMilli()
	row.Steps = fmt.Sprintf("%d of %d ended", min(r.Ended, r.Planned), r.Planned)
	for _, name := range r.Running[:min(len(r.Running), mostRunning)] {
		row.Running = append(row.Running, logs.Quote(name))
	}
	row.MoreRunning = len(r.Running) - len(row.Running)
	return row
}

// title is the name of the pipeline, with the cell of its matrix.
func (r *listedRun) title() string {
	switch {
	case r.Name == "":
		return r.Run
	case r.Cell == "":
		return r.Name
	}
	return r.Name + " (" + r.Cell + ")"
}

// pipelineCard is a pipeline with its last runs.
type pipelineCard struct {
	Name, File string
	Last       runRow
	Chart      report.Chart
	Search     string // link to the list of its runs
}

// pipelinesPage is the data of the page of pipelines.
type pipelinesPage struct {
	Cards []pipelineCard
	More  int // pipelines that are not shown
}

// servePipelines shows the last runs of each pipeline, the one that ran last first.
func (s *Server) servePipelines(w http.ResponseWriter, _ *http.Request) {
	all, _, err := s.runs.list()
	type key struct{ file, name, cell string }
	byPipeline := map[key][]listedRun{}
	var order []key
	for _, one := range all {
		if one.Unrecorded {
			continue
		}
		k := key{one.File, one.Name, one.Cell}
		if one.File == "" {
			k = key{name: one.Name} // such as a server's builds, and single steps
		}
		if byPipeline[k] == nil {
			order = append(order, k)
		}
		byPipeline[k] = append(byPipeline[k], one)
	}
	p := pipelinesPage{More: max(0, len(order)-mostCharts)}
	for _, k := range order[:min(len(order), mostCharts)] {
		p.Cards = append(p.Cards, s.cardOf(k.file, byPipeline[k]))
	}
	f := frame{Title: "Pipelines", Page: "pipelines", Script: "list.js", Events: s.base + "events"}
	if err != nil {
		f.Error = "Not all records can be read: " + logs.QuoteLines(err.Error(), "")
	}
	s.write(w, http.StatusOK, f, p)
}

// cardOf is the card of a pipeline, of which all runs are given, the newest first.
func (s *Server) cardOf(file string, runs []listedRun) pipelineCard {
	var past []report.PastRun
	for i := range runs {
		if r := &runs[i]; r.Status != event.Running && len(past) < report.MostPast {
			past = append(past, report.PastRun{ID: r.Run, Status: r.Status, Started: r.Started, Duration: r.Duration})
		}
	}
	slices.Reverse(past)
	card := pipelineCard{Name: logs.Quote(runs[0].title()), File: logs.Quote(file), Last: rowOf(&runs[0])}
	card.Chart = report.ChartOf(past, "")
	card.Chart.Link = s.base + "runs/"
	card.Search = s.base + "?" + url.Values{"q": {firstBytes(strings.TrimSpace(runs[0].Name+" "+runs[0].Cell), mostPatterns)}}.Encode()
	return card
}
