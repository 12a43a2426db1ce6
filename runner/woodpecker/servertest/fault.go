package servertest

import (
	"cmp"
	"context"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// fault is what goes wrong with one call.
type fault struct {
	code  codes.Code
	text  string // of the error; "": injected fault
	after bool   // the call is done, and its answer is lost
	delay time.Duration
	late  bool   // the delay is between the effect and the answer
	do    func() // before the call has any effect, or with after before its answer; nil: nothing
}

// Refuse has the next calls of a method fail, without any effect.
func (s *Server) Refuse(method string, code codes.Code, times int) {
	s.add(method, fault{code: code}, times)
}

// RefuseSaying has the next call of a method fail with an error without a code, as most of a
// server's errors are.
func (s *Server) RefuseSaying(method, text string) {
	s.add(method, fault{code: codes.Unknown, text: text}, 1)
}

// RefuseLines has every call with a line that contains the text fail with an error without a
// code.
func (s *Server) RefuseLines(text, refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poison, s.poisoned = text, refusal
}

// Lose has the next calls of a method take effect while their answers are lost.
func (s *Server) Lose(method string, times int) {
	s.add(method, fault{code: codes.Unavailable, after: true}, times)
}

// Slow has the next calls of a method take that long.
func (s *Server) Slow(method string, delay time.Duration, times int) {
	s.add(method, fault{delay: delay}, times)
}

// Late has the next calls of a method take effect at once, and their answers take that long.
func (s *Server) Late(method string, delay time.Duration, times int) {
	s.add(method, fault{delay: delay, late: true}, times)
}

// Before calls do at a call of a method, after some calls of it that go well. The call fails
// without any effect.
func (s *Server) Before(method string, wellBefore int, do func()) {
	s.add(method, fault{}, wellBefore)
	s.add(method, fault{code: codes.Unavailable, do: do}, 1)
}

// After calls do at a call of a method, after some calls of it that go well. The call has taken
// effect by then, and its answer is lost.
func (s *Server) After(method string, wellBefore int, do func()) {
	s.add(method, fault{}, wellBefore)
	s.add(method, fault{code: codes.Unavailable, after: true, do: do}, 1)
}

// Sound forgets all faults that have not happened.
func (s *Server) Sound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = map[string][]fault{}
}

func (s *Server) add(method string, f fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range times {
		s.faults[method] = append(s.faults[method], f)
	}
}

// next is the fault of the next call of a method.
func (s *Server) next(method string) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	s.changed.Broadcast()
	queue := s.faults[method]
	if len(queue) == 0 {
		return fault{}
	}
	s.faults[method] = queue[1:]
	return queue[0]
}

// passes waits for the delay, and reports whether the caller still waits then.
func (f fault) passes(ctx context.Context) bool {
	if f.delay == 0 {
		return true
	}
	timer := time.NewTimer(f.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f fault) happens() {
	if f.do != nil {
		f.do()
	}
}

type agentKey struct{}

// intercept makes faults, and holds every call but Auth to its token.
func (s *Server) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	f := s.next(method)
	if f.code != codes.OK && !f.after {
		f.happens()
		return nil, status.Error(f.code, cmp.Or(f.text, "injected fault"))
	}
	if !f.late && !f.passes(ctx) {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if method != "Auth" {
		id, err := s.authorize(ctx)
		if err != nil {
			return nil, err
		}
		ctx = context.WithValue(ctx, agentKey{}, id)
	}
	answer, err := handler(ctx, request)
	if f.late && !f.passes(ctx) {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if f.after {
		f.happens()
		return nil, status.Error(f.code, "the answer is lost")
	}
	return answer, err
}

func (s *Server) authorize(ctx context.Context) (int64, error) {
	values, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(values["token"]) != 1 {
		s.violate("a call has %d tokens", len(values["token"]))
		return 0, status.Error(codes.Unauthenticated, "token is not provided")
	}
	id, known := s.tokens[values["token"][0]]
	if !known {
		return 0, status.Error(codes.Unauthenticated, "access token is invalid")
	}
	if len(values["hostname"]) != 1 || values["hostname"][0] == "" {
		s.violate("a call does not tell the agent's host")
	}
	return id, nil
}
