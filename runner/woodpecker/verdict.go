package woodpecker

import (
	"regexp"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// verdicts of a failed call.
const (
	away     = iota // the server cannot be reached, or not now
	unsurely        // a proxy has answered, or the server has failed for a reason that may pass: away for Options.Outage
	shut            // the door refuses: the last word of a server that has not answered before, otherwise as unsurely
	refused
)

// lastWords are the errors without a code by which a server says that the same call will never
// succeed: what it is about is not there, is another agent's, or has ended. They are whole
// sentences of Woodpecker's server (server/rpc/errors.go and rpc.go of versions 3.0 to 3.17 and main,
// queue.ErrNotFound, and the errors of its database and of strconv for IDs). Single words would
// not do: databases in trouble say "invalid connection", or that one "is already closed".
var lastWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(strings.Join([]string{
		`sql: no rows in result set$`,
		`AgentID not found`,
		`^agent (?:'-?\d+' )?is not allowed to interact with repo`,
		`^agent is not allowed to interact with workflow where it's id is not already locked`,
		`^agent reported an impossible workflow state, `,
		`^workflow has parent pipeline (?:marked as finished|in blocked state)$`,
		`^workflow (?:was already marked as finished|is currently in blocked state)$`,
		`^(?:can not alter logs: )?agent can not append logs to a step that is marked not running$`,
		`^agent returned status with step uuid '[^']*' which does not belong to current pipeline$`,
		`^expected step UUID \S*, got \S*$`,
		`^queue: task not found$`,
		`^strconv\.ParseInt: parsing .*: (?:invalid syntax|value out of range)$`,
	}, "|"))
})

// isFinal reports whether an error without a code of its own is the server's last word.
func isFinal(err error) bool { return lastWords().MatchString(status.Convert(err).Message()) }

// verdict says what a failed call means. Servers answer most errors without a code, even
// those of their database: asking again is better than losing a result to one of them.
func verdict(err error) int {
	if isHTTP(err) {
		return unsurely
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.DataLoss, codes.ResourceExhausted, codes.Canceled, codes.Unauthenticated:
		return away
	case codes.PermissionDenied:
		return shut
	case codes.Unimplemented: // by a proxy that has no server behind it yet, too
		return unsurely
	case codes.Unknown, codes.Internal:
		if isFinal(err) {
			return refused
		}
		return unsurely
	}
	if status.Code(err) > codes.Unauthenticated { // no code of gRPC: something else than the server has answered
		return unsurely
	}
	return refused
}

// isHTTP knows an answer that is not gRPC, which comes from a proxy while the server behind it
// starts. gRPC makes a code of the HTTP status and tells them apart only in its text.
func isHTTP(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "unexpected HTTP status code received from server") ||
		strings.Contains(text, "received unexpected content-type") || strings.Contains(text, "missing HTTP content-type")
}

// isTooLarge knows the answers to a call with more bytes than the server, or a proxy before it,
// takes: the status 413 of HTTP, or gRPC's own limit.
func isTooLarge(err error) bool {
	text := status.Convert(err).Message()
	return isHTTP(err) && strings.Contains(text, "413") || status.Code(err) == codes.ResourceExhausted && strings.Contains(text, "larger than max")
}
