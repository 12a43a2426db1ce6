package servertest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// Secret is what agents must know.
const Secret = "agents-and-server-share-this"

// Server is a server with its queue of workflows.
type Server struct {
	tb      testing.TB
	tls     *tls.Config
	address string

	mu         sync.Mutex
	changed    *sync.Cond
	grpc       *grpc.Server
	proxy      *http.Server     // stands in the server's place; nil: the server is there itself
	answers    int              // of the proxy
	tokens     map[string]int64 // to agents
	agents     map[int64]*Agent
	lastAgent  int64
	workflows  []*Workflow
	queue      []*Workflow          // that no agent has
	steps      map[string]*Workflow // by the uuids of their steps
	poison     string               // in a line that the server refuses; "": none
	poisoned   string               // error of such a call
	faults     map[string][]fault
	calls      map[string]int
	polls      int           // that wait for work
	polling    map[int64]int // how many of them are of each agent
	violations []string
}

// Agent is what the server knows of an agent.
type Agent struct {
	ID           int64
	Info         *wire.AgentInfo
	Alive        int // signs of life
	Unregistered bool
}

// Workflow is one of the server's queue, and what was reported of it.
type Workflow struct {
	ID       string
	Labels   map[string]string
	Config   *woodpecker.Config
	Minutes  int64
	agent    int64
	begun    bool
	canceled bool
	gone     chan struct{} // closed when it was cancelled or has ended

	Done  *wire.WorkflowState // nil: it has not ended
	Steps map[string]*Step    // by uuid
}

// Step is what was reported of a step.
type Step struct {
	Name    string
	Running bool
	End     *wire.StepState // nil: it has not ended
	Lines   []string
	ended   time.Time
}

// New starts a server, with TLS if config is not nil. It ends with the test, which fails if
// an agent has violated the protocol.
func New(tb testing.TB, config *tls.Config) *Server {
	tb.Helper()
	s := &Server{tb: tb, tls: config, tokens: map[string]int64{}, agents: map[int64]*Agent{}, steps: map[string]*Workflow{}, polling: map[int64]int{}, faults: map[string][]fault{}, calls: map[string]int{}}
	s.changed = sync.NewCond(&s.mu)
	s.listen("127.0.0.1:0")
	tb.Cleanup(func() {
		s.Stop()
		for _, violation := range s.Violations() {
			tb.Error("the agent violates the protocol: " + violation)
		}
	})
	return s
}

func (s *Server) listen(address string) {
	s.tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		s.tb.Fatal(err)
	}
	options := []grpc.ServerOption{grpc.UnaryInterceptor(s.intercept)}
	if s.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls)))
	}
	server := grpc.NewServer(options...)
	for _, service := range services() {
		server.RegisterService(service, s)
	}
	s.mu.Lock()
	s.address, s.grpc = listener.Addr().String(), server
	s.mu.Unlock()
	go func() { _ = server.Serve(listener) }() // it returns when the server is stopped
}

// Address is HOST:PORT.
func (s *Server) Address() string { return s.address }

// Stop ends the server as a crash does: connections are cut, and tokens are worth nothing
// any more. What it knows of workflows stays, as in its database.
func (s *Server) Stop() {
	s.mu.Lock()
	server := s.grpc
	s.tokens = map[string]int64{}
	s.mu.Unlock()
	server.Stop()
}

// Start starts a stopped server at its address.
func (s *Server) Start() {
	s.mu.Lock()
	proxy := s.proxy
	s.proxy, s.answers = nil, 0
	s.mu.Unlock()
	if proxy != nil {
		_ = proxy.Close() // the test goes on whatever it says
	}
	s.listen(s.address)
}

// StopBehindProxy ends the server like Stop, and has every call answered with an HTTP status by
// the proxy before it.
func (s *Server) StopBehindProxy(code int) {
	s.tb.Helper()
	s.Stop()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.address)
	if err != nil {
		s.tb.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	proxy := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.answers++
		s.changed.Broadcast()
		s.mu.Unlock()
		http.Error(w, "the back end is not there", code)
	})}
	s.mu.Lock()
	s.proxy = proxy
	s.mu.Unlock()
	go func() { _ = proxy.Serve(listener) }() // it returns when the proxy is closed
}

// ProxyAnswers counts the calls that the proxy has answered, for the condition of Until.
func (s *Server) ProxyAnswers() int { return s.answers }

// Shutdown ends the server in an orderly way: it waits for the calls that it still answers.
func (s *Server) Shutdown() {
	s.mu.Lock()
	server := s.grpc
	s.mu.Unlock()
	server.GracefulStop()
}

// GiveOutAgain has the next poll get a workflow that an agent has already, as from the queue
// of a server that was restarted.
func (s *Server) GiveOutAgain(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workflow(id)
	w.agent = 0
	s.queue = append(s.queue, w)
	s.changed.Broadcast()
}

// ForgetAgents deletes all agents, as an administrator may. Their tokens stay valid, as each
// is only signed; what looks for the agent in the database finds none.
func (s *Server) ForgetAgents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = map[int64]*Agent{}
}

// Push adds a workflow to the queue and returns its id. Labels say which agents get it.
func (s *Server) Push(config *woodpecker.Config, minutes int64, labels map[string]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Workflow{ID: strconv.Itoa(len(s.workflows) + 1), Config: config, Minutes: minutes, Labels: labels, gone: make(chan struct{}), Steps: map[string]*Step{}}
	for _, step := range config.Steps() {
		if step.UUID == "" {
			step.UUID = rand.Text()
		}
		w.Steps[step.UUID], s.steps[step.UUID] = &Step{Name: step.Name}, w
	}
	s.workflows, s.queue = append(s.workflows, w), append(s.queue, w)
	s.changed.Broadcast()
	return w.ID
}

// Cancel cancels a workflow.
func (s *Server) Cancel(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workflow(id)
	w.canceled = true
	close(w.gone)
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// Until waits until the condition holds, which is looked at whenever something is reported.
func (s *Server) Until(what string, holds func() bool) {
	s.tb.Helper()
	timer := time.AfterFunc(patience, func() { s.mu.Lock(); s.changed.Broadcast(); s.mu.Unlock() })
	defer timer.Stop()
	began := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !holds() {
		if time.Since(began) > patience {
			s.tb.Fatalf("waited in vain for: %s", what)
		}
		s.changed.Wait()
	}
}

// Ended waits for a workflow's end and returns what was reported of it.
func (s *Server) Ended(id string) *Workflow {
	s.tb.Helper()
	var w *Workflow
	s.Until("the end of workflow "+id, func() bool {
		w = s.workflow(id)
		return w.Done != nil
	})
	return w
}

// Step is what was reported of a step of that name. Until and Ended say when.
func (w *Workflow) Step(name string) *Step {
	for _, step := range w.Steps {
		if step.Name == name {
			return step
		}
	}
	return nil
}

// Get returns a workflow, for the condition of Until.
func (s *Server) Get(id string) *Workflow { return s.workflow(id) }

func (s *Server) workflow(id string) *Workflow {
	number, err := strconv.Atoi(id)
	if err != nil || number < 1 || number > len(s.workflows) {
		return nil
	}
	return s.workflows[number-1]
}

// Agents are those that the server knows, by their numbers.
func (s *Server) Agents() map[int64]Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	agents := map[int64]Agent{}
	for id, a := range s.agents {
		agents[id] = *a
	}
	return agents
}

// Calls is how often a method was called, refused calls too. For the condition of Until.
func (s *Server) Calls(method string) int { return s.calls[method] }

// AllCalls is how often each method was called.
func (s *Server) AllCalls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// NoPollsOf waits until an agent does not wait for work.
func (s *Server) NoPollsOf(agent int64) {
	s.tb.Helper()
	s.Until(fmt.Sprintf("the end of all polls of agent %d", agent), func() bool { return s.polling[agent] == 0 })
}

// NotBegun are the workflows that an agent has got and not begun.
func (s *Server) NotBegun(agent int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, w := range s.workflows {
		if w.agent == agent && !w.begun && w.Done == nil {
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// NoPolls waits until nobody waits for work: what is pushed while an agent goes could be given
// to it still, and would wait for its lease to end.
func (s *Server) NoPolls() {
	s.tb.Helper()
	s.Until("the end of all polls", func() bool { return s.polls == 0 })
}

// Violations are what agents have done that the protocol forbids.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.violations...)
}

func (s *Server) violate(format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// payload is a workflow as it is on the wire.
func (w *Workflow) payload() []byte {
	data, err := json.Marshal(w.Config)
	if err != nil {
		panic(err) // a test gave it
	}
	return data
}
