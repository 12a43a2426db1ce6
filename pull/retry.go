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

// How many failures in a row make a source be given up.
const (
	// documentAttempts is small: nothing has been read yet, and a registry that is out of order
	// should be reported within seconds.
	documentAttempts = 3
	// layerAttempts, with their waits (15 s in all), outlast the restart of a registry.
	layerAttempts = 6
	// mirrorAttempts applies to both, because there is another source.
	mirrorAttempts = 2
)

const (
	defaultRetryWait = 500 * time.Millisecond
	maxRetryWait     = 30 * time.Second
	// maxRetryAfter is the longest wait that a registry may ask for. A registry that asks for more
	// is given up at once, because an earlier retry would not be accepted.
	maxRetryAfter = time.Minute
)

// attempts counts failures in a row and waits after each.
type attempts struct {
	most   int           // number of failures after which to stop
	first  time.Duration // wait after the first failure; it doubles with each one
	hasty  bool          // a stall ends the attempts: there is another source, and a stall has taken long enough
	failed int
}

// next waits after a failure. It returns nil when it is time to try again, the failure when trying
// again is useless, and ctx's cause when ctx ends first.
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

// wait returns a random time between half of the wait and all of it, so that clients dropped
// together do not return together.
func (a *attempts) wait() time.Duration {
	full := cmp.Or(a.first, defaultRetryWait)
	for range a.failed - 1 {
		full = min(2*full, maxRetryWait)
	}
	return full - rand.N(full/2+1)
}

// transient reports whether the same request may succeed later. Only definite answers are final:
// networks fail in more ways than can be listed.
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
		return transient(nobody.error) // the explanation is for people only
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
	// errLost marks the failure of a source that has answered before: if nobody listens there now,
	// the cause is a restart and not a typing error.
	errLost = errors.New("it answered before")
	// errDigest marks content with a wrong digest. The same request would return the same content.
	errDigest = errors.New("wrong digest")
)

// outOfOrder is an HTTP status that says "not now": 408, 429 or 5xx.
type outOfOrder struct {
	status int
	after  time.Duration // wait that the server asks for; 0 if none
}

func (o *outOfOrder) Error() string {
	return fmt.Sprintf("HTTP status %d %s", o.status, http.StatusText(o.status))
}

// notNow returns the response's failure if it says "not now", otherwise nil.
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
		// docker.io sends a Unix time here, which is far above any limit.
		return time.Duration(min(seconds, 1<<32)) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
