package servertest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]http.HandlerFunc{
		"POST /rpc/v2/step/{id}/card": s.card, "POST /rpc/v2/ping": func(http.ResponseWriter, *http.Request) {}, "POST /rpc/v2/stage": s.request, "POST /rpc/v2/stage/{id}": s.accept, "GET /rpc/v2/stage/{id}": s.details,
		"PUT /rpc/v2/stage/{id}": s.putStage, "PUT /rpc/v2/step/{id}": s.putStep, "POST /rpc/v2/step/{id}/logs/batch": s.batch,
		"POST /rpc/v2/step/{id}/logs/upload": s.upload, "POST /rpc/v2/build/{id}/watch": s.watch,
	} {
		mux.HandleFunc(pattern, s.intercepted(pattern, handle))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.wrong("%s %s is not in the protocol", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	return mux
}

func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Kind, Type, OS, Arch, Variant, Kernel string
		Labels                                map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil || wanted.Kind != "pipeline" || wanted.Type != "docker" {
		s.wrong("asks for %+v, %v", wanted, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls++
	defer func() {
		s.polls--
		s.changed.Broadcast()
	}()
	var found *Stage
	s.wait(r, func() bool {
		for i, st := range s.queue {
			fits := st.OS == wanted.OS && st.Arch == wanted.Arch && sameLabels(st.Wanted, wanted.Labels)
			if st.Status == "pending" && st.Machine == "" && !st.offered && fits {
				found, s.queue = st, slices.Delete(s.queue, i, i+1)
				return true
			}
		}
		return false
	})
	if found == nil || r.Context().Err() != nil {
		if found != nil {
			s.queue = append(s.queue, found)
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	found.offered = true
	if s.offersAgain > 0 {
		time.AfterFunc(s.offersAgain, func() { s.offerAgain(found) })
	}
	answer(w, found.wire())
}

func (s *Server) accept(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stages[id(r)]
	machine := r.URL.Query().Get("machine")
	if machine == "" {
		s.wrong("accepts without the name of its machine")
	}
	if st.Machine != "" {
		fails(w, http.StatusConflict, "Optimistic Lock Error")
		return
	}
	if st.Status != "pending" {
		s.wrong("revives stage %d, which was %s", st.ID, st.Status)
	}
	st.Machine, st.Status = machine, "pending"
	st.Version++
	s.changed.Broadcast()
	answer(w, st.wire())
}

func (s *Server) details(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stages[id(r)]
	if st == nil {
		fails(w, http.StatusInternalServerError, "sql: no rows in result set")
		return
	}
	wire := st.wire()
	delete(wire, "steps")
	var secrets []any
	for name, data := range st.Secrets {
		secrets = append(secrets, map[string]any{"name": name, "data": data})
	}
	answer(w, map[string]any{
		"build": st.Build, "stage": wire, "repository": st.Repo, "netrc": st.Netrc, "secrets": secrets,
		"config": map[string]any{"Data": []byte(st.Config), "Hash": nil},
		"system": map[string]any{"proto": "https", "host": "drone.example.com", "link": "https://drone.example.com", "version": "2.0.4"},
	})
}

// wireStage is what of a stage a runner may change.
type wireStage struct {
	ID, Version            int64
	Status, Error, Machine string
	ExitCode               int `json:"exit_code"`
	Started, Stopped       int64
	Steps                  []*wireStep
}

type wireStep struct {
	ID, Version         int64
	StageID             int64 `json:"step_id"`
	Number              int
	Name, Status, Error string
	ExitCode            int `json:"exit_code"`
	Started, Stopped    int64
	ErrIgnore           bool `json:"errignore"`
	Detached            bool
}

func (s *Server) putStage(w http.ResponseWriter, r *http.Request) {
	var in wireStage
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.wrong("puts a stage: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stages[id(r)]
	if st.Machine == "" || in.Machine != st.Machine {
		s.wrong("puts a stage of machine %q as that of %q", st.Machine, in.Machine)
	}
	if in.Version != st.Version {
		fails(w, http.StatusConflict, "Optimistic Lock Error")
		return
	}
	if len(in.Error) > 500 {
		s.wrong("the error of the stage has %d bytes", len(in.Error))
	}
	st.Version++
	st.Status, st.Error, st.Started, st.Stopped, st.ExitCode = in.Status, in.Error, in.Started, in.Stopped, in.ExitCode
	if in.Status == "pending" || in.Status == "running" {
		s.create(st, in.Steps)
	} else {
		s.end(st, in.Steps)
	}
	s.changed.Broadcast()
	answer(w, st.wire())
}

// create is "before all".
func (s *Server) create(st *Stage, steps []*wireStep) {
	if st.created {
		s.wrong("creates the steps of stage %d twice", st.ID)
	}
	st.created = true
	for i, in := range steps {
		if in.StageID != st.ID || in.Status != "pending" || in.ID != 0 || in.Number != i+1 || in.Name == "" {
			s.wrong("creates the step %+v", in)
		}
		s.lastID++
		step := &Step{ID: 1000 + s.lastID, StageID: st.ID, Version: 1, Number: in.Number, Name: in.Name, Status: in.Status, ErrIgnore: in.ErrIgnore, Detached: in.Detached}
		s.steps[step.ID] = step
		st.Steps = append(st.Steps, step)
	}
}

// end is "after all".
func (s *Server) end(st *Stage, steps []*wireStep) {
	if st.Over {
		s.wrong("ends stage %d twice", st.ID)
	}
	st.Over = true
	if st.created && len(steps) != len(st.Steps) && len(steps) > 0 {
		s.wrong("ends stage %d with %d of %d steps", st.ID, len(steps), len(st.Steps))
	}
	for i, in := range steps {
		step := st.Steps[i]
		if in.ID != step.ID || in.Status != step.Status || in.ExitCode != step.ExitCode {
			s.wrong("ends stage %d with step %+v, which was %+v", st.ID, in, step)
		}
		if !step.final {
			s.wrong("ends stage %d before step %s", st.ID, step.Name)
		}
	}
}

func (s *Server) putStep(w http.ResponseWriter, r *http.Request) {
	var in wireStep
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.wrong("puts a step: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	step := s.steps[id(r)]
	if step == nil || in.ID != step.ID || in.StageID != step.StageID || len(in.Error) > 500 {
		s.wrong("puts the step %+v", in)
		fails(w, http.StatusInternalServerError, "sql: no rows in result set")
		return
	}
	switch conflict := in.Version != step.Version; {
	case conflict && in.Status == "running":
		fails(w, http.StatusConflict, "Optimistic Lock Error")
		return
	case conflict:
		fails(w, http.StatusInternalServerError, "1 error occurred:\n\t* Optimistic Lock Error\n\n") // as Drone's does
		return
	}
	step.Version++
	step.Status, step.Error, step.ExitCode, step.Started, step.Stopped = in.Status, in.Error, in.ExitCode, in.Started, in.Stopped
	switch {
	case step.final && !(step.uploaded || len(step.Live) == 0):
		s.wrong("step %s goes on after its end", step.Name)
	case in.Status == "pending" || in.Status == "running":
		step.open = true
	default:
		if len(step.Live) > 0 && !step.uploaded {
			s.wrong("step %s ends before its log is uploaded", step.Name)
		}
		if in.Stopped == 0 {
			s.wrong("step %s ends at no time", step.Name)
		}
		step.open, step.final = false, true
	}
	s.changed.Broadcast()
	answer(w, step.wire())
}

func (s *Server) lines(r *http.Request, what string) (*Step, []Line) {
	var lines []Line
	if err := json.NewDecoder(r.Body).Decode(&lines); err != nil {
		s.wrong("%s: %v", what, err)
	}
	for i := range lines {
		if i > 0 && lines[i].Pos <= lines[i-1].Pos {
			s.wrong("%s: line %d comes after %d", what, lines[i].Pos, lines[i-1].Pos)
		}
	}
	return s.steps[id(r)], lines
}

func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, lines := s.lines(r, "batch")
	if !step.open {
		fails(w, http.StatusInternalServerError, "stream: not found")
		s.wrong("sends lines of step %s, which is not open", step.Name)
		return
	}
	step.Live = append(step.Live, lines...)
	s.changed.Broadcast()
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, lines := s.lines(r, "upload")
	if size := len(text(lines)); size > MaxLog {
		s.wrong("uploads %d bytes", size)
	}
	if step.final && !slices.Equal(step.Log, lines) { // the same again comes from a runner that was killed before it had the answer
		s.wrong("uploads another log of step %s after its end", step.Name)
	}
	step.Log, step.uploaded = lines, true
	s.changed.Broadcast()
}

func (s *Server) card(_ http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step := s.steps[id(r)]
	if step.final {
		s.wrong("sends the card of step %s after its end", step.Name)
	}
	if err := json.NewDecoder(r.Body).Decode(&step.Card); err != nil {
		s.wrong("sends a card that is no JSON: %v", err)
	}
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	build := id(r)
	over := s.wait(r, func() bool {
		for _, st := range s.builds[build] {
			if st.cancelled || st.Over {
				return true
			}
		}
		return false
	})
	if !over {
		w.WriteHeader(http.StatusNoContent)
	}
}

// fault is what goes wrong with one call.
type fault struct {
	code  int
	after bool // the call is done, and its answer is lost
	delay time.Duration
	late  bool   // the delay is between the effect and the answer
	do    func() // before the call has any effect, or with after before its answer; nil: nothing
}

// Refuse has the next calls, like "PUT /rpc/v2/stage/{id}", answered with a status, without any effect.
func (s *Server) Refuse(call string, code, times int) { s.add(call, fault{code: code}, times) }

// Lose has the next calls take effect while their answers are lost.
func (s *Server) Lose(call string, times int) { s.add(call, fault{after: true}, times) }

// Slow has the next calls take that long.
func (s *Server) Slow(call string, delay time.Duration, times int) {
	s.add(call, fault{delay: delay}, times)
}

// Late has the next calls take effect at once, and their answers take that long.
func (s *Server) Late(call string, delay time.Duration, times int) {
	s.add(call, fault{delay: delay, late: true}, times)
}

// Before calls do at a call, after some calls of its kind that go well. The connection breaks
// without any effect of the call.
func (s *Server) Before(call string, wellBefore int, do func()) {
	s.add(call, fault{}, wellBefore)
	s.add(call, fault{do: do}, 1)
}

// After calls do at a call, after some calls of its kind that go well. The call has taken effect
// by then, and its answer is lost.
func (s *Server) After(call string, wellBefore int, do func()) {
	s.add(call, fault{}, wellBefore)
	s.add(call, fault{after: true, do: do}, 1)
}

// Sound forgets all faults that have not happened.
func (s *Server) Sound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = map[string][]fault{}
}

func (s *Server) add(call string, f fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range times {
		s.faults[call] = append(s.faults[call], f)
	}
}

func (s *Server) intercepted(call string, handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[call]++
		s.changed.Broadcast()
		f := fault{}
		if queue := s.faults[call]; len(queue) > 0 {
			f, s.faults[call] = queue[0], queue[1:]
		}
		s.mu.Unlock()
		if r.Header.Get("X-Drone-Token") != Secret {
			fails(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		switch {
		case f.code != 0:
			fails(w, f.code, "injected fault")
			return
		case f.after:
			handle(discard{http.Header{}}, r)
			if f.do != nil {
				f.do()
			}
			panic(http.ErrAbortHandler) // the connection breaks
		case f.late:
			handle(w, r)
			time.Sleep(f.delay) // the answer is in a buffer until the end
			return
		case f.do != nil:
			f.do()
			panic(http.ErrAbortHandler)
		case f.delay > 0:
			time.Sleep(f.delay) // as a slow server does
		}
		handle(w, r)
	}
}

// discard takes an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
