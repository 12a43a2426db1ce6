package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// How often in a row a source may fail before it is given up.
const (
	// documentAttempts are few: nothing has been read yet, and a registry that is out
	// of order is to be reported within seconds.
	documentAttempts = 3
	// layerAttempts and their waits (15 s in all) outlast the restart of a registry.
	layerAttempts = 6
	// mirrorAttempts are for both: there is another source to go to.
	mirrorAttempts = 2
)

const (
	defaultRetryWait = 500 * time.Millisecond
	maxRetryWait     = 30 * time.Second
	// maxRetryAfter is the longest wait that a registry is granted. One that asks for
	// more is given up at once: asking again before would only anger it.
	maxRetryAfter = time.Minute
)

// attempts counts failures in a row and waits after each.
type attempts struct {
	most   int           // failures that end it
	first  time.Duration // the wait after the first; it doubles with each
	hasty  bool          // a stall ends it: there is another source, and a stall takes long enough
	failed int
}

// next waits after a failure. It returns nil when it is time to try again, the
// failure when that is of no use, and ctx's cause when ctx ends first.
func (a *attempts) next(ctx context.Context, failure error) error {
	a.failed++
	wait := a.wait()
	if busy := new(outOfOrder); errors.As(failure, &busy) {
		if busy.after > maxRetryAfter {
			return failure
		}
		wait = max(wait, busy.after)
	}
	if a.failed >= a.most || !transient(failure) || a.hasty && errors.As(failure, new(*stalled)) {
		return failure
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait returns between half of the time and all of it, so that clients which a
// registry dropped together do not come back together.
func (a *attempts) wait() time.Duration {
	full := cmp.Or(a.first, defaultRetryWait)
	for range a.failed - 1 {
		full = min(2*full, maxRetryWait)
	}
	return full - rand.N(full/2+1)
}

// transient reports whether the same request may do better later. Only what is
// known to be an answer is not: networks fail in more ways than can be listed.
func transient(err error) bool {
	var (
		refused refusal
		status  *transport.Error
		size    *sizeError
		network *net.OpError
		nobody  *uncertified
	)
	switch {
	case errors.As(err, &nobody):
		return transient(nobody.error) // the guess at its reason is for people
	case errors.As(err, &refused), errors.As(err, &status), errors.As(err, &size):
		return false
	case explainTLS(err) != "", errors.Is(err, errDigest):
		return false
	case errors.As(err, &network) && network.Op == "dial":
		return errors.Is(err, errLost)
	}
	return true
}

var (
	// errLost marks the failure of a source that has answered before: that nobody
	// listens there is then no typing error but a restart.
	errLost = errors.New("it answered before")
	// errDigest marks content that is not what its digest says. The same request would
	// get the same again.
	errDigest = errors.New("wrong digest")
)

// outOfOrder is an HTTP status that says "not now": 408, 429 or 5xx.
type outOfOrder struct {
	status int
	after  time.Duration // how long the server asks to wait, 0 if it does not
}

func (o *outOfOrder) Error() string {
	return fmt.Sprintf("HTTP status %d %s", o.status, http.StatusText(o.status))
}

// notNow returns what a response says if it is out of order, else nil.
func notNow(resp *http.Response, now time.Time) *outOfOrder {
	switch status := resp.StatusCode; {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return &outOfOrder{status, retryAfter(resp.Header.Get("Retry-After"), now)}
	}
	return nil
}

// retryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		// The registry of docker.io sends a point in Unix time: far above any limit.
		return time.Duration(min(seconds, 1<<32)) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
