package woodpecker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/woodpecker/unary"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

const (
	callTime  = 30 * time.Second // default of Options.AnswerTime
	longCall  = 10               // longest wait for an answer, in times of Options.AnswerTime
	longPause = 10 * time.Second // longest pause before a call is made again
	// DefaultOutage is the default of Options.Outage.
	DefaultOutage = time.Hour
	recently      = 30 * time.Second       // age of an answer of the server that shows that it works
	maxMessage    = 64 << 20               // of a workflow; gRPC's own limit of 4 MiB is less than the server's
	hastyAnswer   = 100 * time.Millisecond // a call that waits and fails sooner was not cut off for its length
	deadTime      = time.Minute            // without an acknowledgement of what was sent, after which a connection is dead
)

var (
	// errGaveUp ends an agent that has tried for as long as it was told to.
	errGaveUp = errors.New("gave up on the server")
	// errForgotten says that the server does not know the agent any more.
	errForgotten = errors.New("the agent was deleted on the server")
)

// client makes the calls of the protocol. It makes a call again until the server answers.
type client struct {
	o       *Options
	conn    *unary.Conn
	token   *token
	stats   *runner.Stats
	answers time.Duration // time for an answer, at first
	lost    atomic.Bool   // the server is away, and the operator knows
	known   atomic.Bool   // the server has answered a call, so a refusal at its door may pass
}

func newClient(o *Options, agentID int64, s *runner.Stats) *client {
	options := unary.Options{
		Authority: o.Server, TLS: o.TLS, Limit: maxMessage, PingAfter: o.KeepaliveTime, PingPatience: o.KeepaliveTimeout,
		Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", o.Server) },
	}
	if path, ok := strings.CutPrefix(o.Server, "unix://"); ok {
		options.Authority = "localhost:80" // as in its certificate
		options.Dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, "unix", path) }
	}
	c := &client{o: o, conn: unary.New(options), stats: s, answers: cmp.Or(o.AnswerTime, callTime)}
	c.token = &token{conn: c.conn, secret: o.Secret, limit: longCall * c.answers, agentID: agentID}
	return c
}

// dial makes connections that die when the server does not acknowledge data for a minute
// (TCP_USER_TIMEOUT, tcp(7)). The agent sends a sign of life every ten seconds, so it notices
// a server that vanished silently. Pings of HTTP/2 would not do: servers refuse them more
// often than every five minutes.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Control: func(network, _ string, raw syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var err error
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadTime.Milliseconds()))
		})
		return errors.Join(controlErr, err)
	}}
	return dialer.DialContext(ctx, network, address)
}

// manner says how long a call is made again.
type manner struct {
	waits    bool          // the server answers only when something happens
	minor    bool          // the content may be lost, for the sake of what comes after it
	patience time.Duration // of a minor call: time for which it may fail while the server answers other calls
}

// Manners of calls.
var (
	prompt = manner{}
	waits  = manner{waits: true}
)

// call makes a call until the server answers or refuses it, ctx ends, or the agent gives up.
func call[Request, Answer any](ctx context.Context, c *client, how manner, method wire.Method[Request, Answer], request *Request) (*Answer, error) {
	var failing time.Time // time of the first failure: a call that waits may have had no answer for hours before
	pauses, limit := runner.Backoff{Longest: longPause}, c.answers
	for {
		began := time.Now()
		answer, err := attempt(ctx, c, how.waits, limit, method, request)
		if err == nil {
			c.reached()
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, unary.ErrGoAway) || errors.Is(err, errJoining) {
			if !runner.Pause(ctx, pauses.Next()) {
				return nil, context.Cause(ctx)
			}
			continue
		}
		v := verdict(err)
		if how.waits && v != refused && time.Since(began) > hastyAnswer && c.stats.AnsweredSince(began) {
			// A proxy cuts calls off that last for longer than it likes: the server is there.
			if failing = (time.Time{}); !runner.Pause(ctx, pauses.Next()) {
				return nil, context.Cause(ctx)
			}
			continue
		}
		c.stats.CallFailed()
		if failing.IsZero() {
			failing = time.Now()
		}
		if status.Code(err) == codes.DeadlineExceeded {
			limit = min(2*limit, longCall*c.answers) // it may be a server that is slow, and never faster than that
		}
		switch {
		case how.minor && (isTooLarge(err) || time.Since(failing) >= how.patience && c.stats.AnsweredSince(time.Now().Add(-recently))):
			return nil, err
		case v == refused, errors.Is(err, errForgotten), v == shut && !c.known.Load():
			return nil, err
		case v != away && time.Since(failing) > cmp.Or(c.o.Outage, DefaultOutage):
			return nil, fmt.Errorf("%w: %w", errGaveUp, err)
		default:
			c.away(err)
			if c.o.RetryTimeout > 0 && time.Since(failing) > c.o.RetryTimeout {
				return nil, fmt.Errorf("%w: not reached for %v: %w", errGaveUp, c.o.RetryTimeout, err)
			}
		}
		if !runner.Pause(ctx, pauses.Next()) {
			return nil, context.Cause(ctx)
		}
	}
}

// attempt makes a call once. One that does not wait for something has the limit for its answer.
func attempt[Request, Answer any](ctx context.Context, c *client, waits bool, limit time.Duration, method wire.Method[Request, Answer], request *Request) (*Answer, error) {
	if !waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for again := false; ; again = true {
		value, err := c.token.get(ctx)
		if err != nil {
			return nil, err
		}
		metadata := http.Header{"Token": {value}, "Hostname": {c.o.Hostname}}
		answer, err := method.Call(ctx, c.conn, waits, metadata, request)
		if status.Code(err) != codes.Unauthenticated || again || isHTTP(err) {
			return answer, err
		}
		c.token.drop(value) // the server has restarted with another key
	}
}

// away and reached tell the operator once when the server goes and comes.
func (c *client) away(err error) {
	if !c.lost.Swap(true) {
		text := status.Convert(err).Message()
		c.o.Say(fmt.Sprintf("the server %s cannot be reached: %s%s; trying until it is back", c.o.Server, text, hint(text, c.o.TLS != nil)))
	}
}

func (c *client) reached() {
	c.stats.Answered()
	c.known.Store(true)
	if c.lost.Swap(false) {
		c.o.Say(fmt.Sprintf("the server %s is back", c.o.Server))
	}
}
