package ui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/sandbox"
)

// mostForm bounds a form, in bytes.
const mostForm = 4 << 10

// serveStop stops a run, as stepexec stop does, and does not wait for its end.
func (s *Server) serveStop(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if !s.options.AllowStop {
		s.problem(w, http.StatusForbidden, "Not allowed", "This server was started without --allow-stop: it stops no runs.")
		return
	}
	if !same(r.PostFormValue("token"), s.form) {
		s.problem(w, http.StatusForbidden, "Not allowed", "The form is not one of this server. Open the page of the run again.")
		return
	}
	found, ok := s.find(w, r)
	if !ok {
		return
	}
	if err := stop(s.options.Root, found.Run); err != nil {
		s.problem(w, http.StatusConflict, "Not stopped", "Run "+logs.Quote(found.Run)+" could not be stopped: "+logs.QuoteLines(err.Error(), ""))
		return
	}
	http.Redirect(w, r, s.base+"runs/"+url.PathEscape(found.Run), http.StatusSeeOther)
}

// stop sends the signal to stop to a run.
func stop(root, id string) error {
	live, err := sandbox.ListLive(root)
	if err != nil {
		return err
	}
	for _, l := range live {
		if l.ID != id {
			continue
		}
		if pid, err := l.PID(); err == nil && isRunner(pid) {
			return errors.New("it belongs to a runner, which would end with all of its builds (cancel it on the server)")
		}
		return l.Signal(unix.SIGTERM)
	}
	return errors.New("it does not go on any more")
}

// isRunner reports whether a process is a runner of a CI server, by its command line.
func isRunner(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false // it has ended
	}
	words := strings.Split(string(text), "\x00")
	return len(words) > 1 && words[1] == "runner"
}
