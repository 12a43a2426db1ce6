package drone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// answerTime is how long an answer may take. The server ends long polls after 30 s.
	answerTime = 90 * time.Second
	maxAnswer  = 64 << 20 // bytes
	retryPause = 10 * time.Second
)

var (
	errConflict  = errors.New("somebody else has changed it (409)")
	errNothing   = errors.New("nothing yet (204)")
	errRefused   = errors.New("the server does not take the secret (check DRONE_RPC_SECRET)")
	errUncertain = errors.New("whether the server has got it is not known")
)

// client calls a server. Its calls are made again until they are answered.
type client struct {
	address string // of the API
	secret  string
	http    *http.Client
	pause   time.Duration // before a call is made again
	contact atomic.Int64  // when the server answered last, in Unix nanoseconds
	say     func(string)
}

func newClient(o *Options) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.TLS
	transport.MaxIdleConnsPerHost = 8
	pause := o.RetryPause
	if pause == 0 {
		pause = retryPause
	}
	return &client{
		address: strings.TrimSuffix(o.Server, "/") + "/rpc/v2", secret: o.Secret, pause: pause, say: o.Say,
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// temporary is a failure after which a call may be made again: the network, or a server
// that is being restarted.
type temporary struct{ error }

func (e temporary) Unwrap() error { return e.error }

// call makes a call until it is answered or ctx ends. The error is errConflict where the
// first answer is that, and errUncertain where it came only after a call whose answer was
// lost: that may have been obeyed.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	lost := false
	for {
		err := c.try(ctx, method, path, in, out)
		var again temporary
		switch {
		case errors.Is(err, errConflict) && lost:
			return errUncertain
		case !errors.As(err, &again):
			return err
		}
		lost = true
		c.say(fmt.Sprintf("warning: %s %s: %v; again in %v", method, path, err, c.pause))
		if !sleep(ctx, c.pause) {
			return context.Cause(ctx)
		}
	}
}

// try makes a call once.
func (c *client) try(ctx context.Context, method, path string, in, out any) error {
	body, err := encode(in)
	if err != nil {
		return fmt.Errorf("encode a call of the server: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, c.address+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call the server: %w", err)
	}
	request.Header.Set("X-Drone-Token", c.secret)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return temporary{withoutURL(err)}
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return temporary{fmt.Errorf("read the server's answer: %w", err)}
	}
	c.contact.Store(time.Now().UnixNano())
	if err := answerError(answer, data); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the server's answer to %s: %w", path, err)
	}
	return nil
}

// withoutURL leaves out what url.Error puts in front, which the caller says shorter.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func answerError(answer *http.Response, data []byte) error {
	text := strings.TrimSpace(string(data[:min(len(data), 400)]))
	switch code := answer.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusNoContent:
		return errNothing
	case code == http.StatusConflict, code == http.StatusInternalServerError && strings.Contains(text, "Optimistic Lock Error"):
		return errConflict // ends of steps and stages are refused with the latter
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: %s", errRefused, answer.Status)
	case code >= 300 && code < 400:
		return fmt.Errorf("the server sends calls to %s, which are not followed (check DRONE_RPC_PROTO and DRONE_RPC_HOST)", answer.Header.Get("Location"))
	case code >= http.StatusBadGateway, code == http.StatusTooManyRequests:
		return temporary{fmt.Errorf("the server answers %s", answer.Status)}
	default:
		return fmt.Errorf("the server answers %s: %s", answer.Status, text)
	}
}

func stagePath(id int64) string { return "/stage/" + strconv.FormatInt(id, 10) }
func stepPath(id int64) string  { return "/step/" + strconv.FormatInt(id, 10) }

// ping returns once the server answers.
func (c *client) ping(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/ping", nil, nil)
}

// next returns a stage that wants to be run, when there is one. It is one long poll.
func (c *client) next(ctx context.Context, r *request) (*stage, error) {
	s := &stage{}
	if err := c.try(ctx, http.MethodPost, "/stage", r, s); err != nil {
		return nil, err
	}
	return s, nil
}

// accept makes a stage this runner's. The error is errConflict when it is another's.
// Where an answer was lost the server may have said yes: then the stage has this runner's
// name.
func (c *client) accept(ctx context.Context, s *stage, machine string) (*stage, error) {
	accepted := &stage{}
	err := c.call(ctx, http.MethodPost, stagePath(s.ID)+"?machine="+url.QueryEscape(machine), nil, accepted)
	if !errors.Is(err, errUncertain) {
		return accepted, err
	}
	d, err := c.details(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	if d.Stage.Machine != machine || d.Stage.Status != statusPending {
		return nil, errConflict
	}
	return d.Stage, nil
}

func (c *client) details(ctx context.Context, id int64) (*details, error) {
	d := &details{}
	err := c.call(ctx, http.MethodGet, stagePath(id), nil, d)
	if err == nil {
		err = d.check()
	}
	if err == nil {
		d.complete()
	}
	return d, err
}

// begin reports that a stage runs, by which the server makes its steps and numbers them.
// Where the answer was lost they are made, and nothing tells their numbers: to ask twice
// would make them twice.
func (c *client) begin(ctx context.Context, s *stage) error {
	err := c.call(ctx, http.MethodPut, stagePath(s.ID), s, s)
	if errors.Is(err, errUncertain) {
		return errors.New("the server's answer with the numbers of the steps was lost (run the build again)")
	}
	return err
}

// updateStage reports a stage. What the server has made of it is in s afterwards.
func (c *client) updateStage(ctx context.Context, s *stage) error {
	return c.update(ctx, stagePath(s.ID), s, &s.Version)
}

// updateStep reports a step.
func (c *client) updateStep(ctx context.Context, s *step) error {
	return c.update(ctx, stepPath(s.ID), s, &s.Version)
}

// update puts v and takes over the answer. Where the answer to an earlier try was lost, that
// has counted if the server is one version ahead: then the same is put once more.
func (c *client) update(ctx context.Context, path string, v any, version *int64) error {
	err := c.call(ctx, http.MethodPut, path, v, v)
	if errors.Is(err, errUncertain) {
		*version++
		err = c.call(ctx, http.MethodPut, path, v, v)
	}
	return err
}

// sendLines sends lines for who is looking. It is tried once: all of them come with upload.
func (c *client) sendLines(ctx context.Context, id int64, lines []line) error {
	return c.try(ctx, http.MethodPost, stepPath(id)+"/logs/batch", lines, nil)
}

func (c *client) upload(ctx context.Context, id int64, lines []line) error {
	return c.call(ctx, http.MethodPost, stepPath(id)+"/logs/upload", lines, nil)
}

// watch waits until a build is over or cancelled and reports that, or that the poll ended.
func (c *client) watch(ctx context.Context, build int64) (over bool, err error) {
	err = c.try(ctx, http.MethodPost, "/build/"+strconv.FormatInt(build, 10)+"/watch", nil, nil)
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return err == nil, err
}

// sleep reports whether it slept for all of the time.
func sleep(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
