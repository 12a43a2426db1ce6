package ui

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveRuns)
	mux.HandleFunc("GET /events", s.serveRunsEvents)
	mux.HandleFunc("GET /pipelines", s.servePipelines)
	mux.HandleFunc("GET /storage", s.serveStorage)
	mux.HandleFunc("GET /runs/{run}", s.serveRun)
	mux.HandleFunc("GET /runs/{run}/events", s.serveRunEvents)
	mux.HandleFunc("GET /runs/{run}/log", s.servePiece)
	mux.HandleFunc("GET /runs/{run}/artifacts/{artifact}", s.serveArtifact)
	mux.HandleFunc("GET /runs/{run}/artifacts/{artifact}/all", s.serveArtifactAll)
	mux.HandleFunc("GET /runs/{run}/artifacts/{artifact}/file", s.serveArtifactFile)
	mux.HandleFunc("POST /runs/{run}/stop", s.serveStop)
	mux.HandleFunc("GET /files/{name}", s.serveFile)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		s.problem(w, http.StatusNotFound, "Not found", "There is no such page.")
	})
	return mux
}

// find finds the record of the run that a request names, and otherwise answers it. The name is compared with
// those that there are: it is never a path.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (found record.Record, ok bool) {
	name := r.PathValue("run")
	found, err := record.Find(s.options.Root, name)
	switch {
	case errors.Is(err, record.ErrNotFound), errors.Is(err, fs.ErrNotExist), err == nil && found.Run != name:
		s.problem(w, http.StatusNotFound, "Not found", "There is no record of the run "+logs.Quote(name)+". Records are removed when they are old or many.")
	case err != nil:
		s.problem(w, http.StatusInternalServerError, "Not readable", logs.QuoteLines(err.Error(), ""))
	default:
		return found, true
	}
	return found, false
}

// view opens the run that a request names, and otherwise answers it.
func (s *Server) view(w http.ResponseWriter, r *http.Request) (one *view, done func(), ok bool) {
	found, ok := s.find(w, r)
	if !ok {
		return nil, nil, false
	}
	one, done, err := s.views.use(found)
	if errors.Is(err, errTooManyViews) {
		s.problem(w, http.StatusServiceUnavailable, "Too many runs are open", err.Error())
		return nil, nil, false
	}
	if err != nil {
		s.problem(w, http.StatusInternalServerError, "Not readable", logs.QuoteLines(err.Error(), ""))
		return nil, nil, false
	}
	return one, done, true
}

// wait waits until what there was of the record at first has been read, which takes some seconds for a log of
// 100 MB. It reports whether the request still wants an answer.
func (v *view) wait(w http.ResponseWriter, r *http.Request) bool {
	select {
	case <-v.ready:
		prolong(w)
		return true
	case <-r.Context().Done():
		return false
	}
}

// runPage is the data of the page of a run.
type runPage struct {
	report.Page
	Pieces  [][]int
	Version int
	Stop    string // that the form to stop the run carries; "": it cannot be stopped
	Live    bool
}

func (s *Server) serveRun(w http.ResponseWriter, r *http.Request) {
	one, done, ok := s.view(w, r)
	if !ok {
		return
	}
	defer done()
	if !one.wait(w, r) {
		return
	}
	page, pieces, version, err := one.page()
	data := runPage{Page: page, Pieces: pieces, Version: version}
	for i := range data.Runs {
		data.Live = data.Live || data.Runs[i].Status == string(event.Running)
		if past := data.Runs[i].Past; past != nil {
			past.Chart.Link = s.base + "runs/"
		}
	}
	s.linkArtifacts(&data.Page)
	f := frame{Title: page.Title, Page: "run", Script: "run.js", Search: "Search all logs"}
	if data.Live {
		f.Events = s.base + "runs/" + url.PathEscape(one.record.Run) + "/events"
		if s.options.AllowStop {
			data.Stop = s.form
		}
	}
	if err != nil {
		f.Error = "The record cannot be read to its end: " + logs.QuoteLines(err.Error(), "")
	}
	s.write(w, http.StatusOK, f, data)
}

// servePiece serves a piece of a log as it is kept.
func (s *Server) servePiece(w http.ResponseWriter, r *http.Request) {
	one, done, ok := s.view(w, r)
	if !ok {
		return
	}
	defer done()
	if !one.wait(w, r) {
		return
	}
	step, stepErr := strconv.Atoi(r.FormValue("step"))
	first, lineErr := strconv.Atoi(r.FormValue("line"))
	data, compressed := one.piece(step, first)
	if stepErr != nil || lineErr != nil || data == nil {
		http.Error(w, "The log has no such piece.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if compressed {
		w.Header().Set("Content-Encoding", "gzip") // which every browser takes that can show the page
	}
	_, _ = w.Write(data) // the browser may have gone
}
