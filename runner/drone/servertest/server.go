package servertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Secret is that of the server.
const Secret = "s3cret-of-the-server"

// pollTime is how long a poll waits; the real server's 30 s would be long.
const pollTime = 300 * time.Millisecond

// MaxLog is what may be uploaded of a log, in bytes of text, with a line to spare.
const MaxLog = 5<<20 + 256

// Server is a server with its builds.
type Server struct {
	t       testing.TB
	http    *httptest.Server
	address string

	mu          sync.Mutex
	changed     *sync.Cond
	stages      map[int64]*Stage
	steps       map[int64]*Step
	queue       []*Stage // that no runner was offered
	builds      map[int64][]*Stage
	poll        time.Duration // for which a poll waits
	offersAgain time.Duration // time after which a stage that nobody has accepted is offered again; 0: never
	faults      map[string][]fault
	calls       map[string]int
	lastID      int64
	polls       int // requests for a stage that wait
}

// Stage is what the server knows of one.
type Stage struct {
	Data                   // as the protocol has it
	Build                  map[string]any
	Repo                   map[string]any
	Config                 string
	Secrets                map[string]string
	Netrc                  map[string]string
	Wanted                 map[string]string // labels
	offered, created, Over bool
	cancelled              bool
	Steps                  []*Step
}

// Data are the fields of a stage.
type Data struct {
	ID, BuildID             int64
	Name, Status, Error     string
	Machine, OS, Arch       string
	Version                 int64
	Number, ExitCode        int
	Kind, Type              string
	DependsOn               []string
	Started, Stopped        int64
	OnSuccess, OnFailure    bool
	Labels                  map[string]string
	Kernel, Variant         string
	ErrIgnore               bool
	RepoID, Created, Update int64
}

// Step is what the server knows of one.
type Step struct {
	ID, StageID, Version  int64
	Number, ExitCode      int
	Name, Status, Error   string
	ErrIgnore, Detached   bool
	Started, Stopped      int64
	Live, Log             []Line
	Card                  map[string]any // nil: none
	uploaded, open, final bool
}

// Line is one of a log.
type Line struct {
	Pos  int    `json:"pos"`
	Out  string `json:"out"`
	Time int64  `json:"time"`
}

// New starts a server.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, stages: map[int64]*Stage{}, steps: map[int64]*Step{}, builds: map[int64][]*Stage{}, poll: pollTime, faults: map[string][]fault{}, calls: map[string]int{}}
	s.changed = sync.NewCond(&s.mu)
	s.start("127.0.0.1:0")
	t.Cleanup(func() { s.http.Close() })
	return s
}

func (s *Server) start(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = listener.Addr().String()
	s.http = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s.handler()}}
	s.http.Start()
}

// URL is the address of the server.
func (s *Server) URL() string { return "http://" + s.address }

// Stop breaks all connections and takes no more; Restart takes them again.
func (s *Server) Stop() {
	s.http.CloseClientConnections()
	s.http.Listener.Close()
	go s.http.Close()
}

// Restart is after Stop. The server knows what it knew.
func (s *Server) Restart() { s.start(s.address) }

// Fleet makes the server one for many runners, before they start: polls wait as long as those of
// the real server, and a stage that a runner was offered and has not accepted is offered again, as
// the real server does after some time.
func (s *Server) Fleet() { s.poll, s.offersAgain = 30*time.Second, 2*time.Second }

// offerAgain offers a stage again that nobody has accepted.
func (s *Server) offerAgain(st *Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.offered && st.Machine == "" {
		st.offered = false
		s.queue = append(s.queue, st)
		s.changed.Broadcast()
	}
}

// AllCalls is how often each call was made.
func (s *Server) AllCalls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Push adds a stage with the config. change may be nil.
func (s *Server) Push(config string, change func(*Stage)) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	id := s.lastID
	st := &Stage{
		Data:   Data{ID: id, BuildID: 100 + id, RepoID: 7, Name: "default", Status: "pending", OS: "linux", Arch: "amd64", Version: 1, Number: 1, Kind: "pipeline", Type: "docker", OnSuccess: true},
		Config: config,
		Build: map[string]any{
			"id": 100 + id, "number": 42, "event": "push", "after": "0123456789abcdef0123456789abcdef01234567", "before": "fedcba", "ref": "refs/heads/main",
			"source": "main", "target": "main", "author_login": "octocat", "author_name": "Octo Cat", "author_email": "octo@example.com", "message": "Say \"hello\"",
			"status": "running", "created": 1700000000, "started": 1700000001, "params": map[string]string{"PARAM": "given"},
		},
		Repo: map[string]any{
			"id": 7, "slug": "example/app", "namespace": "example", "name": "app", "git_http_url": "https://git.example.com/example/app.git", "default_branch": "main",
			"private": false, "visibility": "public", "trusted": true, "timeout": 60, "secret": "0123456789abcdef0123456789abcdef",
		},
	}
	if change != nil {
		change(st)
	}
	s.stages[id] = st
	s.queue, s.builds[st.BuildID] = append(s.queue, st), append(s.builds[st.BuildID], st)
	s.changed.Broadcast()
	return id
}

// Cancel is what a user does: the server ends stage and steps at once.
func (s *Server) Cancel(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stages[id]
	st.Status, st.cancelled = "killed", true
	st.Version++
	for _, step := range st.Steps {
		if !step.final {
			step.Status, step.ExitCode = "killed", 130
			step.Version++
		}
	}
	s.changed.Broadcast()
}

// NoPolls waits until no runner asks for a stage: a server may give one to a runner that has just been
// killed.
func (s *Server) NoPolls() {
	s.t.Helper()
	s.Until("the end of all polls", func() bool { return s.polls == 0 })
}

// Until waits until it holds, under the server's lock.
func (s *Server) Until(what string, holds func() bool) {
	s.t.Helper()
	late := false
	timer := time.AfterFunc(time.Minute, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !holds() {
		if late {
			s.t.Fatalf("waited in vain for %s", what)
		}
		s.changed.Wait()
	}
}

// Ended waits for the end of a stage and returns what is known of it.
func (s *Server) Ended(id int64) *Stage {
	s.t.Helper()
	s.Until(fmt.Sprintf("the end of stage %d", id), func() bool { return s.stages[id].Over })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copied(id)
}

// Get is what is known of a stage.
func (s *Server) Get(id int64) *Stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copied(id)
}

func (s *Server) copied(id int64) *Stage {
	st := *s.stages[id]
	st.Steps = nil
	for _, step := range s.stages[id].Steps {
		copied := *step
		copied.Live, copied.Log = slices.Clone(step.Live), slices.Clone(step.Log)
		st.Steps = append(st.Steps, &copied)
	}
	return &st
}

// Peek is Get for the condition of Until.
func (s *Server) Peek(id int64) *Stage { return s.copied(id) }

// Over reports whether a stage has ended, for the condition of Until.
func (s *Server) Over(id int64) bool { return s.stages[id].Over }

// Step is that of a name; one without a name when there is none.
func (st *Stage) Step(name string) *Step {
	for _, step := range st.Steps {
		if step.Name == name {
			return step
		}
	}
	return &Step{}
}

// Text is the log that was uploaded.
func (s *Step) Text() string { return text(s.Log) }

// LiveText is what came in batches.
func (s *Step) LiveText() string { return text(s.Live) }

func text(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Out)
	}
	return b.String()
}

// Calls is how often a call was made, like "PUT stage".
func (s *Server) Calls(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[what]
}

func (s *Server) wrong(format string, args ...any) { s.t.Errorf("runner: "+format, args...) }

func (s *Server) wait(r *http.Request, holds func() bool) bool {
	end := time.Now().Add(s.poll)
	timer := time.AfterFunc(s.poll, s.wake)
	defer timer.Stop()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-r.Context().Done():
			s.wake()
		case <-stop:
		}
	}()
	for !holds() {
		if time.Now().After(end) || r.Context().Err() != nil {
			return false
		}
		s.changed.Wait()
	}
	return true
}

func (s *Server) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

func id(r *http.Request) int64 {
	n, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	return n
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func fails(w http.ResponseWriter, code int, text string) { http.Error(w, text, code) }

// wire is a stage as the protocol has it.
func (st *Stage) wire() map[string]any {
	m := map[string]any{
		"id": st.ID, "repo_id": st.RepoID, "build_id": st.BuildID, "number": st.Number, "name": st.Name, "kind": st.Kind, "type": st.Type,
		"status": st.Status, "errignore": false, "exit_code": st.ExitCode, "machine": st.Machine, "os": st.OS, "arch": st.Arch,
		"started": st.Started, "stopped": st.Stopped, "created": 1, "updated": 1, "version": st.Version, "on_success": st.OnSuccess,
		"on_failure": st.OnFailure, "depends_on": st.DependsOn, "labels": st.Wanted,
	}
	if st.created {
		var steps []any
		for _, step := range st.Steps {
			steps = append(steps, step.wire())
		}
		m["steps"] = steps
	}
	return m
}

func (p *Step) wire() map[string]any {
	return map[string]any{
		"id": p.ID, "step_id": p.StageID, "number": p.Number, "name": p.Name, "status": p.Status, "error": p.Error, "errignore": p.ErrIgnore,
		"exit_code": p.ExitCode, "started": p.Started, "stopped": p.Stopped, "version": p.Version, "detached": p.Detached,
	}
}

func sameLabels(a, b map[string]string) bool { return maps.Equal(a, b) }

// CallsLocked is Calls for the condition of Until.
func (s *Server) CallsLocked(what string) int { return s.calls[what] }
