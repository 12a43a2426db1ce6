package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	gatherTime = 300 * time.Millisecond // changes in this time are one message
	pulse      = 15 * time.Second       // between messages that say nothing: they find browsers that have gone
)

// stream is a stream of server-sent events (HTML, section 9.2). A reader that is slow gets fewer messages:
// each tells the state at its time, and none waits in a queue.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	r       *http.Request
	server  *Server
}

// stream begins a stream. Call done at its end; it is nil if there are too many.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) (_ *stream, done func()) {
	select {
	case s.streams <- struct{}{}:
	default:
		http.Error(w, "Too many pages are open.", http.StatusServiceUnavailable)
		return nil, nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	return &stream{w, http.NewResponseController(w), r, s}, func() { <-s.streams }
}

// send sends a message.
func (s *stream) send(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.write(fmt.Sprintf("data: %s\n\n", data))
}

func (s *stream) write(text string) error {
	prolong(s.w)
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

// wait waits until changed is closed, and then for what else comes. It reports whether the stream goes on.
func (s *stream) wait(changed <-chan struct{}) bool {
	beat := time.NewTicker(pulse)
	defer beat.Stop()
	for waiting := true; waiting; {
		select {
		case <-changed:
			waiting = false
		case <-beat.C:
			if s.write(": \n\n") != nil {
				return false
			}
		case <-s.server.ending.Done():
			return false
		case <-s.r.Context().Done():
			return false
		}
	}
	gathered := time.NewTimer(gatherTime)
	defer gathered.Stop()
	select {
	case <-gathered.C:
		return true
	case <-s.server.ending.Done():
	case <-s.r.Context().Done():
	}
	return false
}

// serveRunsEvents tells a page when the runs have changed.
func (s *Server) serveRunsEvents(w http.ResponseWriter, r *http.Request) {
	stream, done := s.stream(w, r)
	if stream == nil {
		return
	}
	defer done()
	defer s.runs.watch()()
	for {
		version, changed := s.runs.now()
		if stream.send(state{Version: version}) != nil || !stream.wait(changed) {
			return
		}
	}
}

// serveRunEvents tells a page how far a run is.
func (s *Server) serveRunEvents(w http.ResponseWriter, r *http.Request) {
	one, closeView, ok := s.view(w, r)
	if !ok {
		return
	}
	defer closeView()
	stream, done := s.stream(w, r)
	if stream == nil {
		return
	}
	defer done()
	sent := map[int][]int{}
	for {
		now, changed := one.state(sent)
		if stream.send(now) != nil || now.Over || !stream.wait(changed) {
			return
		}
	}
}
