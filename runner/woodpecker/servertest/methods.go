package servertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// Auth is a method of the protocol.
func (s *Server) Auth(_ context.Context, r *wire.AuthRequest) (*wire.AuthResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.GetAgentToken() != Secret {
		return nil, fmt.Errorf("agent could not auth: individual agent not found by token: %w", errNoRows)
	}
	id := r.GetAgentId()
	if id == -1 {
		s.lastAgent++ // numbers of deleted agents are not given again
		id = s.lastAgent
		s.agents[id] = &Agent{ID: id}
	}
	if s.agents[id] == nil {
		return nil, errNoRows
	}
	token := rand.Text()
	s.tokens[token] = id
	return &wire.AuthResponse{Status: "ok", AgentId: id, AccessToken: token}, nil
}

// Version is a method of the protocol.
func (s *Server) Version(context.Context, *wire.Empty) (*wire.VersionResponse, error) {
	return &wire.VersionResponse{GrpcVersion: 16, ServerVersion: "3.0.0-test"}, nil
}

// errNoRows is the answer of the server's database, which goes to the agent as it is.
var errNoRows = errors.New("sql: no rows in result set")

// agent returns the agent that calls.
func (s *Server) agent(ctx context.Context) (*Agent, error) {
	if a := s.agents[ctx.Value(agentKey{}).(int64)]; a != nil {
		return a, nil
	}
	return nil, errNoRows
}

// RegisterAgent is a method of the protocol.
func (s *Server) RegisterAgent(ctx context.Context, r *wire.RegisterAgentRequest) (*wire.RegisterAgentResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.agent(ctx)
	if err != nil {
		return nil, err
	}
	a.Info = r.GetInfo()
	if a.Info.GetBackend() == "" || a.Info.GetPlatform() == "" || a.Info.GetCapacity() < 1 || a.Info.GetVersion() == "" {
		s.violate("an agent registers as %v", a.Info)
	}
	return &wire.RegisterAgentResponse{AgentId: a.ID}, nil
}

// UnregisterAgent is a method of the protocol.
func (s *Server) UnregisterAgent(ctx context.Context, _ *wire.Empty) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.agent(ctx)
	if err != nil {
		return nil, err
	}
	a.Unregistered = true
	return &wire.Empty{}, nil
}

// ReportHealth is a method of the protocol.
func (s *Server) ReportHealth(ctx context.Context, r *wire.ReportHealthRequest) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.GetStatus() != "I am alive!" {
		//lint:ignore ST1005 the real server's words
		return nil, errors.New("Are you alive?")
	}
	a, err := s.agent(ctx)
	if err != nil {
		return nil, err
	}
	a.Alive++
	s.changed.Broadcast()
	return &wire.Empty{}, nil
}

// Next is a method of the protocol.
func (s *Server) Next(ctx context.Context, r *wire.NextRequest) (*wire.NextResponse, error) {
	labels := r.GetFilter().GetLabels()
	stop := context.AfterFunc(ctx, func() { s.mu.Lock(); s.changed.Broadcast(); s.mu.Unlock() })
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.agent(ctx)
	if err != nil {
		return nil, err
	}
	s.polls++
	s.polling[a.ID]++
	defer func() { s.polls--; s.polling[a.ID]--; s.changed.Broadcast() }()
	if a.Info == nil {
		s.violate("agent %d polls and has not registered", a.ID)
	}
	for _, name := range []string{"platform", "hostname", "backend", "repo"} {
		if labels[name] == "" {
			s.violate("agent %d polls without the label %s", a.ID, name)
		}
	}
	for ctx.Err() == nil {
		for i, w := range s.queue {
			if s.agents[a.ID] != nil && w.agent == 0 && w.Done == nil && matches(w.Labels, labels) {
				w.agent, s.queue = a.ID, slices.Delete(s.queue, i, i+1)
				return &wire.NextResponse{Workflow: &wire.Workflow{Id: w.ID, Timeout: w.Minutes, Payload: w.payload()}}, nil
			}
		}
		s.changed.Wait()
	}
	return nil, ctx.Err()
}

func matches(wanted, labels map[string]string) bool {
	for name, value := range wanted {
		if ok, _ := path.Match(labels[name], value); !ok && labels[name] != "*" {
			return false
		}
	}
	return true
}

// own returns a workflow that the caller runs.
func (s *Server) own(ctx context.Context, method, id string) (*Workflow, error) {
	w := s.workflow(id)
	if w == nil {
		s.violate("%s of the workflow %q, which is none", method, id)
		return nil, errNoRows
	}
	if a := ctx.Value(agentKey{}).(int64); w.agent != a && w.agent != 0 {
		s.violate("%s of workflow %s by agent %d, and agent %d has it", method, id, a, w.agent)
		return nil, fmt.Errorf("agent is not allowed to interact with workflow where it's id is not already locked: agentId=%d workflowAgentId=%d", a, w.agent)
	}
	if method != "Init" && !w.begun {
		s.violate("%s of workflow %s before Init", method, id)
	}
	return w, nil
}

// Init is a method of the protocol.
func (s *Server) Init(ctx context.Context, r *wire.InitRequest) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.own(ctx, "Init", r.GetId())
	if err != nil {
		return nil, err
	}
	if r.GetState().GetStarted() == 0 || r.GetState().GetCanceled() || w.Done != nil {
		s.violate("Init of workflow %s with %v", w.ID, r.GetState())
		return nil, errors.New("agent reported an impossible workflow state, the agent is probably outdated and speaks an incompatible protocol")
	}
	w.begun = true
	return &wire.Empty{}, nil
}

// Wait is a method of the protocol.
func (s *Server) Wait(ctx context.Context, r *wire.WaitRequest) (*wire.WaitResponse, error) {
	s.mu.Lock()
	w, err := s.own(ctx, "Wait", r.GetId())
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-w.gone:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &wire.WaitResponse{Canceled: w.canceled}, nil
}

// Extend is a method of the protocol.
func (s *Server) Extend(ctx context.Context, r *wire.ExtendRequest) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.own(ctx, "Extend", r.GetId())
	if err == nil && w.Done != nil {
		s.violate("Extend of workflow %s after its end", w.ID)
	}
	return &wire.Empty{}, err
}

// Update is a method of the protocol.
func (s *Server) Update(ctx context.Context, r *wire.UpdateRequest) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	w, err := s.own(ctx, "Update", r.GetId())
	if err != nil {
		return nil, err
	}
	state := r.GetState()
	step := w.Steps[state.GetStepUuid()]
	switch ends := state.GetExited() || state.GetSkipped() || state.GetError() != ""; {
	case step == nil:
		s.violate("Update of a step %q that workflow %s does not have", state.GetStepUuid(), w.ID)
		return nil, errNoRows
	case step.End != nil:
		if !proto.Equal(step.End, state) { // else it is sent again, as its answer was lost
			s.violate("Update of step %s after its end: %v", step.Name, state)
		}
	case w.Done != nil:
		s.violate("Update of step %s after the end of its workflow", step.Name)
	case state.GetSkipped() && (step.Running || state.GetExited()):
		s.violate("step %s is skipped and has run: %v", step.Name, state)
	case !ends && state.GetStarted() == 0:
		s.violate("step %s has started at no time", step.Name)
	case state.GetExited() && !step.Running && state.GetError() == "":
		s.violate("step %s has ended and never began", step.Name)
	case state.GetExited() && (state.GetFinished() == 0 || state.GetFinished() < state.GetStarted()):
		s.violate("step %s has ended at %d", step.Name, state.GetFinished())
	case ends:
		step.End, step.Running, step.ended = state, false, time.Now()
	default:
		step.Running = true
	}
	return &wire.Empty{}, nil
}

// Log is a method of the protocol.
func (s *Server) Log(ctx context.Context, r *wire.LogRequest) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	if proto.Size(r) > 4<<20 {
		s.violate("a call with %d bytes", proto.Size(r))
	}
	for _, entry := range r.GetLogEntries() {
		if s.poison != "" && strings.Contains(string(entry.GetData()), s.poison) {
			return nil, errors.New(s.poisoned)
		}
	}
	for _, entry := range r.GetLogEntries() {
		step, w := s.stepOf(entry.GetStepUuid())
		switch line := int(entry.GetLine()); {
		case step == nil:
			s.violate("Log of a step %q that is none", entry.GetStepUuid())
			return nil, fmt.Errorf("could not find step with uuid %s in store: %w", entry.GetStepUuid(), errNoRows)
		case w.agent != ctx.Value(agentKey{}).(int64) && w.agent != 0:
			s.violate("Log of step %s by another agent", step.Name)
		case line < len(step.Lines):
			if step.Lines[line] != string(entry.GetData()) { // else it is sent again, as its answer was lost
				s.violate("line %d of step %s is sent again as another one", line, step.Name)
			}
		case line > len(step.Lines) && s.poison != "":
			step.Lines = append(step.Lines, make([]string, line-len(step.Lines))...)
			step.Lines = append(step.Lines, string(entry.GetData()))
		case line > len(step.Lines):
			s.violate("line %d of step %s comes after line %d", line, step.Name, len(step.Lines)-1)
		case step.End != nil:
			s.violate("line %d of step %s comes after its end", line, step.Name)
		default:
			step.Lines = append(step.Lines, string(entry.GetData()))
		}
	}
	return &wire.Empty{}, nil
}

func (s *Server) stepOf(uuid string) (*Step, *Workflow) {
	if w := s.steps[uuid]; w != nil {
		return w.Steps[uuid], w
	}
	return nil, nil
}

// Done is a method of the protocol.
func (s *Server) Done(ctx context.Context, r *wire.DoneRequest) (*wire.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	w, err := s.own(ctx, "Done", r.GetId())
	if err != nil {
		return nil, err
	}
	state := r.GetState()
	if state.GetStarted() == 0 || state.GetFinished() < state.GetStarted() {
		s.violate("workflow %s has ended with %v", w.ID, state)
	}
	for _, step := range w.Steps {
		if step.End == nil {
			s.violate("workflow %s has ended and its step %s has not", w.ID, step.Name)
		}
	}
	if w.Done != nil {
		if !proto.Equal(w.Done, state) {
			s.violate("workflow %s ends twice", w.ID)
		}
		return nil, errors.New("workflow was already marked as finished")
	}
	w.Done = state
	if !w.canceled {
		close(w.gone)
	}
	return &wire.Empty{}, nil
}
