package drone

import (
	"bytes"
	"cmp"
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

	"github.com/stepexec/stepexec/runner"
)

const (
	// answerTime is the default of Options.AnswerTime. The server ends long polls after 30 s.
	answerTime = 90 * time.Second
	maxAnswer  = 64 << 20               // bytes
	retryPause = 10 * time.Second       // longest pause before a call is made again
	hastyPoll  = 100 * time.Millisecond // shorter than a server waits
	// DefaultOutage is the default of Options.Outage.
	DefaultOutage = time.Hour
	// DefaultLogPatience is the default of Options.LogPatience.
	DefaultLogPatience = 2 * time.Minute
	// recently is the age of an answer that shows that the server works. A poll takes 30 s.
	recently = time.Minute
)

var (
	errConflict  = errors.New("somebody else has changed it (409)")
	errNothing   = errors.New("nothing yet (204)")
	errRefused   = errors.New("the server rejected the secret (check DRONE_RPC_SECRET)")
	errTooLarge  = errors.New("the server, or a proxy before it, takes no call of that size (413)")
	errNotDrone  = errors.New("the answer is not one of a Drone server")
	errRedirect  = errors.New("a runner follows no redirects (check DRONE_RPC_PROTO and DRONE_RPC_HOST)")
	errUncertain = errors.New("it is unknown whether the server got the call: its answer was lost")
)

// client calls a server. It makes a call again until the server answers.
type client struct {
	address  string // of the API
	secret   string
	http     *http.Client
	pause    time.Duration // longest pause before a call is made again
	answers  time.Duration // time for an answer
	outage   time.Duration // for which answers that are not in the protocol count as the server's absence
	patience time.Duration // for which the log of a step is sent again while the server answers other calls
	known    atomic.Bool   // the server has answered as it should
	stats    *runner.Stats
	say      func(string)
}

func newClient(o *Options, stats *runner.Stats) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.TLS
	transport.MaxIdleConnsPerHost = 8
	return &client{
		address: strings.TrimSuffix(o.Server, "/") + "/rpc/v2", secret: o.Secret, pause: cmp.Or(o.RetryPause, retryPause), answers: cmp.Or(o.AnswerTime, answerTime), outage: cmp.Or(o.Outage, DefaultOutage),
		patience: cmp.Or(o.LogPatience, DefaultLogPatience), stats: stats, say: o.Say,
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// temporary is a failure after which a call may be made again: the network, or a server
// that is being restarted.
type temporary struct{ error }

func (e temporary) Unwrap() error { return e.error }

// shut is an answer that a proxy gives while the server behind it starts, or that is the
// server's last word: 401, 403, 404, 500 and others that are not in the protocol.
type shut struct{ error }

func (e shut) Unwrap() error { return e.error }

// errGaveUp says that refusals went on for the whole time of an outage.
var errGaveUp = errors.New("gave up on the server")

// call makes a call until the server answers or ctx ends. The error is errConflict when the
// first answer is a conflict. It is errUncertain when the conflict follows an attempt whose
// answer was lost: the server may have obeyed that attempt.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	return c.callWhile(ctx, func(time.Time) bool { return true }, method, path, in, out)
}

// callWhile is call, but gives up with the last error when goOn is false of the time of the
// first failure.
func (c *client) callWhile(ctx context.Context, goOn func(failing time.Time) bool, method, path string, in, out any) error {
	lost, pauses := false, runner.Backoff{Longest: c.pause}
	var failing time.Time // time of the first failure
	for {
		err := c.try(ctx, method, path, in, out)
		var again temporary
		var refused shut
		isShut := errors.As(err, &refused)
		switch {
		case errors.Is(err, errConflict) && lost:
			return errUncertain
		case errors.Is(err, errNothing): // the server's own time for the call was over, of which it may have done a part
		case !isShut && !errors.As(err, &again), isClear(err) && !c.known.Load():
			return err
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		if !goOn(failing) {
			return err
		}
		if isShut && time.Since(failing) > c.outage {
			return fmt.Errorf("%w: %w", errGaveUp, err)
		}
		lost = true
		pause := pauses.Next()
		c.say(fmt.Sprintf("warning: %s %s: %v; again in %v", method, path, err, pause.Round(time.Millisecond)))
		if !runner.Pause(ctx, pause) {
			return context.Cause(ctx)
		}
	}
}

// isClear reports whether an answer says what is wrong at the first contact. Others, such as the 404
// of a proxy, may be those of a server that is not up yet.
func isClear(err error) bool { return errors.Is(err, errRefused) || errors.Is(err, errRedirect) }

// try makes a call once.
func (c *client) try(ctx context.Context, method, path string, in, out any) error {
	body, err := encode(in)
	if err != nil {
		return fmt.Errorf("encode a call of the server: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, c.answers)
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
		c.stats.CallFailed()
		err = withoutURL(err)
		return temporary{fmt.Errorf("%w%s", err, hint(err.Error()))}
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		c.stats.CallFailed()
		return temporary{fmt.Errorf("read the server's answer: %w", err)}
	}
	if err = answerError(answer, data); err == nil {
		err = decode(data, out)
	}
	if err == nil || errors.Is(err, errNothing) || errors.Is(err, errConflict) {
		c.stats.Answered()
		c.known.Store(true)
	} else {
		c.stats.CallFailed()
	}
	return err
}

// decode reads an answer. out is nil for calls that the server answers without a word. Anything else is a
// page of a proxy with the status 200, or of another kind of server.
func decode(data []byte, out any) error {
	data = bytes.TrimSpace(data)
	if out == nil && len(data) == 0 {
		return nil
	}
	err := errNotDrone
	if out != nil {
		err = json.Unmarshal(data, out)
	}
	if err == nil {
		return nil
	}
	return shut{fmt.Errorf("%w (check DRONE_RPC_HOST): %.80q", errNotDrone, data)}
}

// withoutURL drops the method and the URL that url.Error begins with: the caller names both
// in fewer words.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// hint says what mends a failure whose text leads to a wrong setting, in parentheses; "" where nothing is
// known.
func hint(text string) string {
	switch {
	case strings.Contains(text, "server gave HTTP response to HTTPS client"), strings.Contains(text, "first record does not look like a TLS handshake"):
		return " (the server speaks no TLS there: set DRONE_RPC_PROTO=http)"
	case strings.Contains(text, "HTTP request to an HTTPS server"), strings.Contains(text, "malformed HTTP response \"\\x15\\x03"):
		return " (the server wants TLS: set DRONE_RPC_PROTO=https)"
	case strings.Contains(text, "certificate signed by unknown authority"):
		return " (let SSL_CERT_FILE name the certificate of the authority)"
	}
	return ""
}

func answerError(answer *http.Response, data []byte) error {
	text := strings.TrimSpace(string(data[:min(len(data), 400)]))
	switch code := answer.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusNoContent:
		return errNothing
	case code == http.StatusConflict, code == http.StatusInternalServerError && strings.Contains(text, "Optimistic Lock Error"):
		return errConflict // the server refuses the end of a step or stage with the latter
	case code == http.StatusRequestEntityTooLarge:
		return errTooLarge
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return shut{fmt.Errorf("%w: %s", errRefused, answer.Status)}
	case code == http.StatusInternalServerError && strings.Contains(text, "no rows in result set"):
		return fmt.Errorf("the server does not know it any more: %s", text)
	case code >= 300 && code < 400:
		return shut{fmt.Errorf("the server redirects calls to %s, and %w", answer.Header.Get("Location"), errRedirect)}
	case code >= http.StatusBadGateway, code == http.StatusTooManyRequests:
		return temporary{fmt.Errorf("the server answers %s", answer.Status)}
	default:
		first, _, _ := strings.Cut(text, "\n")
		return shut{fmt.Errorf("the server answers %s: %s%s", answer.Status, first, hint(first))}
	}
}

func stagePath(id int64) string { return "/stage/" + strconv.FormatInt(id, 10) }
func stepPath(id int64) string  { return "/step/" + strconv.FormatInt(id, 10) }

// ping returns once the server answers.
func (c *client) ping(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/ping", nil, nil)
}

// poll makes a call that waits, once. An answer that brings nothing and came at once is not of a server
// that has waited: a pause follows, so that the next poll does not come at once as well.
func (c *client) poll(ctx context.Context, path string, in, out any) error {
	began := time.Now()
	err := c.try(ctx, http.MethodPost, path, in, out)
	if errors.Is(err, errNothing) && time.Since(began) < hastyPoll {
		runner.Pause(ctx, min(c.pause, time.Second))
	}
	return err
}

// next asks for a stage to run with one long poll. The error is errNothing when the poll
// ended without one.
func (c *client) next(ctx context.Context, r *request) (*stage, error) {
	s := &stage{}
	err := c.poll(ctx, "/stage", r, s)
	if err == nil && s.ID == 0 {
		err = errNotDrone
	}
	return s, err
}

// accept claims a stage for this runner. The error is errConflict when another runner has it.
// After a lost answer the stage is this runner's if it carries this runner's name.
func (c *client) accept(ctx context.Context, s *stage, machine string) (*stage, error) {
	accepted := &stage{}
	err := c.call(ctx, http.MethodPost, stagePath(s.ID)+"?machine="+url.QueryEscape(machine), nil, accepted)
	if err == nil && accepted.ID == s.ID {
		return accepted, nil
	}
	if err != nil && !errors.Is(err, errUncertain) {
		return nil, err
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

// claim accepts a stage that an earlier process of this runner was offered. It may have accepted the
// stage, too. The error is errConflict when the stage has begun or ended, or is another runner's.
func (c *client) claim(ctx context.Context, s *stage, machine string) (*stage, error) {
	for again := false; ; again = true {
		d, err := c.details(ctx, s.ID) // not accept at once: that would revive a stage that was cancelled
		switch {
		case err != nil:
			return nil, err
		case d.Stage.Status != statusPending || d.Stage.Machine != "" && d.Stage.Machine != machine:
			return nil, errConflict
		case d.Stage.Machine == machine:
			return d.Stage, nil
		}
		accepted, err := c.accept(ctx, d.Stage, machine)
		if again || !errors.Is(err, errConflict) { // a conflict can be with the earlier process, whose call came late
			return accepted, err
		}
	}
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

// begin reports that a stage runs. The server then creates the stage's steps and answers with
// their numbers. After a lost answer the steps exist, nothing tells their numbers, and a second
// call would create them again.
func (c *client) begin(ctx context.Context, s *stage) error {
	err := c.call(ctx, http.MethodPut, stagePath(s.ID), s, s)
	if errors.Is(err, errUncertain) {
		return errors.New("the server's answer with the numbers of the steps was lost (run the build again)")
	}
	return err
}

// updateStage reports a stage and puts the server's answer into s.
func (c *client) updateStage(ctx context.Context, s *stage) error {
	return c.update(ctx, stagePath(s.ID), s, &s.Version)
}

// updateStep reports a step.
func (c *client) updateStep(ctx context.Context, s *step) error {
	return c.update(ctx, stepPath(s.ID), s, &s.Version)
}

// update puts v and takes over the answer. After a lost answer the server is one version ahead
// if it obeyed: update then puts the same content once more, for that version.
func (c *client) update(ctx context.Context, path string, v any, version *int64) error {
	err := c.call(ctx, http.MethodPut, path, v, v)
	if errors.Is(err, errUncertain) {
		*version++
		err = c.call(ctx, http.MethodPut, path, v, v)
	}
	return err
}

// sendLines sends lines to those who watch the step, once: upload sends all lines later.
func (c *client) sendLines(ctx context.Context, id int64, lines []line) error {
	return c.try(ctx, http.MethodPost, stepPath(id)+"/logs/batch", lines, nil)
}

// upload sends the whole log of a step, or the end of it if it is too large for a proxy. A
// server that works and does not take it must not keep the result that comes after it.
func (c *client) upload(ctx context.Context, id int64, lines []line) (lost int, err error) {
	goOn := func(failing time.Time) bool {
		return time.Since(failing) < c.patience || !c.stats.AnsweredSince(time.Now().Add(-recently))
	}
	for {
		err := c.callWhile(ctx, goOn, http.MethodPost, stepPath(id)+"/logs/upload", lines, nil)
		if !errors.Is(err, errTooLarge) || len(lines) < 3 {
			return lost, err
		}
		half := len(lines) / 2
		lost += half
		lines = append([]line{{Out: fmt.Sprintf("stepexec: the server takes no log of this size; %d lines are missing here\n", lost)}}, lines[half:]...)
		for i := range lines {
			lines[i].Pos = i
		}
	}
}

// watch waits with one long poll, and reports whether the build is over or cancelled.
func (c *client) watch(ctx context.Context, build int64) (over bool, err error) {
	err = c.poll(ctx, "/build/"+strconv.FormatInt(build, 10)+"/watch", nil, nil)
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return err == nil, err
}
