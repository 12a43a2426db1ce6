package woodpecker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

const (
	callTime   = 30 * time.Second       // default of Options.AnswerTime
	longCall   = 10                     // longest wait for an answer, in times of Options.AnswerTime
	firstPause = 100 * time.Millisecond // before gRPC connects again
	longPause  = 10 * time.Second       // longest pause before a call is made again
	// DefaultOutage is the default of Options.Outage.
	DefaultOutage = time.Hour
	recently      = 30 * time.Second       // age of an answer of the server that shows that it works
	maxMessage    = 64 << 20               // of a workflow; gRPC's own limit of 4 MiB is less than the server's
	hastyAnswer   = 100 * time.Millisecond // to a call that waits; it is none of a server that has waited
	deadTime      = time.Minute            // without an acknowledgement of what was sent, after which a connection is dead
)

var (
	// errGaveUp ends an agent that has tried for as long as it was told to.
	errGaveUp = errors.New("gave up on the server")
	// errForgotten says that the server does not know the agent any more.
	errForgotten = errors.New("the agent was deleted on the server")
	// errGoAway ends a call that waits, when the server closes the connection in an orderly way:
	// the server waits for the calls that it still answers.
	errGoAway = errors.New("the server is going away")
)

// client makes the calls of the protocol. It makes a call again until the server answers.
type client struct {
	o     *Options
	conn  *grpc.ClientConn
	calls wire.WoodpeckerClient
	token *token
	stats *runner.Stats
	lost  atomic.Bool // the server is away, and the operator knows
	known atomic.Bool // the server has answered a call, so a refusal at its door may pass
}

func newClient(o *Options, agentID int64, s *runner.Stats) (*client, error) {
	transport := insecure.NewCredentials()
	if o.TLS != nil {
		transport = credentials.NewTLS(o.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longPause},
			MinConnectTimeout: longPause,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithUserAgent("stepexec"),
	}
	if o.KeepaliveTime > 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.KeepaliveTime, Timeout: o.KeepaliveTimeout}))
	}
	if !isSocket(o.Server) {
		options = append(options, grpc.WithContextDialer(dial))
	}
	conn, err := grpc.NewClient(o.Server, options...)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", o.Server, err)
	}
	c := &client{o: o, conn: conn, calls: wire.NewWoodpeckerClient(conn), stats: s}
	c.token = &token{auth: wire.NewWoodpeckerAuthClient(conn), secret: o.Secret, agentID: agentID}
	return c, nil
}

func isSocket(server string) bool { return len(server) > 7 && server[:7] == "unix://" }

// dial makes connections that die when the server does not acknowledge data for a minute
// (TCP_USER_TIMEOUT, tcp(7)). The agent sends a sign of life every ten seconds, so it notices
// a server that vanished silently. gRPC's own keepalive would not do: servers refuse it more
// often than every five minutes.
func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadTime.Milliseconds()))
		})
		return errors.Join(controlErr, err)
	}}
	return dialer.DialContext(ctx, "tcp", address)
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
func call[Request, Answer any](ctx context.Context, c *client, how manner, method func(context.Context, *Request, ...grpc.CallOption) (*Answer, error), request *Request) (*Answer, error) {
	var failing time.Time // time of the first failure: a call that waits may have had no answer for hours before
	pauses, limit := runner.Backoff{Longest: longPause}, cmp.Or(c.o.AnswerTime, callTime)
	longest := longCall * limit
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
		if errors.Is(err, errGoAway) || errors.Is(err, errJoining) {
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
			limit = min(2*limit, longest) // it may be a server that is slow, and never faster than that
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
func attempt[Request, Answer any](ctx context.Context, c *client, waits bool, limit time.Duration, method func(context.Context, *Request, ...grpc.CallOption) (*Answer, error), request *Request) (*Answer, error) {
	if waits {
		var release func()
		ctx, release = c.whileConnected(ctx)
		defer release()
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for again := false; ; again = true {
		value, err := c.token.get(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := method(metadata.AppendToOutgoingContext(ctx, "token", value, "hostname", c.o.Hostname), request)
		if errors.Is(context.Cause(ctx), errGoAway) && err != nil {
			return nil, errGoAway
		}
		if status.Code(err) != codes.Unauthenticated || again || isHTTP(err) {
			return answer, err
		}
		c.token.drop(value) // the server has restarted with another key
	}
}

// whileConnected returns a context that ends with errGoAway when the connection is given up.
// Until then a server that ends in an orderly way would wait for the call. The caller calls
// release.
func (c *client) whileConnected(ctx context.Context) (connected context.Context, release func()) {
	connected, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for ready := false; ; {
			state := c.conn.GetState()
			if ready = ready || state == connectivity.Ready; ready && state != connectivity.Ready {
				cancel(errGoAway)
				return
			}
			if !c.conn.WaitForStateChange(connected, state) {
				return
			}
		}
	})
	return connected, func() {
		cancel(nil)
		watcher.Wait()
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
