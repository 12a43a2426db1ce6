package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stepexec/stepexec/runner/woodpecker/unary"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// newAgent is the number of an agent that the server does not know yet.
const newAgent = -1

// A token is valid for an hour; it is renewed in half of that time.
const tokenTime = 30 * time.Minute

// token is what the server wants with every call. It is got when it is needed.
type token struct {
	conn   *unary.Conn
	secret string
	limit  time.Duration // for an answer; the context of a call that waits has none

	mu      sync.Mutex
	agentID int64
	value   string
	got     time.Time
	valid   bool // the secret was accepted once
	joining bool // the agent registers anew; see join
}

// errJoining ends a call that may only be made once the agent has registered anew.
var errJoining = errors.New("the agent registers anew")

// joiner marks the context of the calls that register the agent.
type joiner struct{}

// get returns the token. The error is a status of gRPC: PermissionDenied when the server refuses
// a secret that it has never accepted.
func (t *token) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.joining && ctx.Value(joiner{}) == nil {
		return "", errJoining
	}
	if t.value != "" && time.Since(t.got) < tokenTime {
		return t.value, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.limit) // all other calls wait for the token, too
	defer cancel()
	answer, err := wire.Auth.Call(ctx, t.conn, false, nil, &wire.AuthRequest{AgentToken: t.secret, AgentId: t.agentID})
	if err != nil && t.agentID != newAgent && isForgotten(err) {
		if t.valid { // the agent has registered under the number, and has to do so again
			return "", fmt.Errorf("%w: %w", errForgotten, err)
		}
		t.agentID = newAgent // somebody has deleted the agent from the server's list
		answer, err = wire.Auth.Call(ctx, t.conn, false, nil, &wire.AuthRequest{AgentToken: t.secret, AgentId: newAgent})
	}
	switch {
	case err == nil:
		t.value, t.got, t.agentID, t.valid = answer.GetAccessToken(), time.Now(), answer.GetAgentId(), true
		return t.value, nil
	case isHTTP(err) || verdict(err) == away:
		return "", err
	case t.valid: // it says nothing about the call that wants the token
		return "", status.Error(codes.Unavailable, status.Convert(err).Message())
	case isRefusedSecret(err):
		return "", status.Error(codes.PermissionDenied, fmt.Sprintf("%s (is WOODPECKER_AGENT_SECRET that of the server?)", status.Convert(err).Message()))
	}
	return "", err
}

// isRefusedSecret knows a server's last words about a secret: no agent has it as its token, or the
// agent with the number has another one.
func isRefusedSecret(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "agent not found by token") || strings.Contains(text, "agent with this ID is not a system agent")
}

// isForgotten knows the answer to a number that the server has no agent of: an error of its
// database in servers of 2026, and one with words of its own in older ones.
func isForgotten(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "no rows in result set") || strings.Contains(text, "AgentID not found")
}

// join lets only the calls with the returned context through until joined is called, so that
// no work is asked for by an agent that has not registered. While the agent's number is the
// forgotten one, the first of these calls is that of a new agent.
func (t *token) join(ctx context.Context, forgotten int64) (joining context.Context, joined func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.agentID == forgotten {
		t.agentID, t.value = newAgent, ""
	}
	t.joining = true
	return context.WithValue(ctx, joiner{}, true), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.joining = false
	}
}

// id is the number of the agent.
func (t *token) id() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.agentID
}

// drop forgets a token that the server did not take.
func (t *token) drop(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == value {
		t.value = ""
	}
}
