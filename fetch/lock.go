package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pull"
)

// askTimeout bounds the request that asks whether a locked tag has moved. The
// answer only leads to a warning, so a step does not wait long for it.
const askTimeout = 10 * time.Second

// LockName returns the name under which an image is locked. It returns false for
// images that cannot be locked: images of this machine, which change when a
// pipeline builds them again, and images named by digest.
func (f *Fetcher) LockName(reference string) (name string, ok bool, err error) {
	ref, err := f.Parse(reference)
	if err != nil || !lockable(ref) {
		return "", false, err
	}
	return ref.String(), true, nil
}

func lockable(ref pull.Reference) bool { return !ref.IsLocal() && ref.Digest == "" }

// Digest asks the image's source for the digest of its current manifest. It
// fetches no layers.
func (f *Fetcher) Digest(ctx context.Context, reference string) (digest.Digest, error) {
	ref, err := f.Parse(reference)
	if err != nil {
		return "", err
	}
	return f.digest(ctx, ref)
}

func (f *Fetcher) digest(ctx context.Context, ref pull.Reference) (digest.Digest, error) {
	source, err := f.resolve(ctx, ref)
	if err != nil {
		return "", err
	}
	return source.Digest, source.Close()
}

// lockedTo returns the digest that the lock file has for a tag, or "".
func (f *Fetcher) lockedTo(ref pull.Reference) digest.Digest {
	if f.Locked == nil || !lockable(ref) {
		return ""
	}
	return f.Locked(ref.String(), platform(f.Platform))
}

// moved returns a warning if a tag no longer has the digest that it is locked to,
// and "" otherwise.
func (f *Fetcher) moved(ctx context.Context, tag pull.Reference, locked digest.Digest) string {
	asking, cancel := context.WithTimeoutCause(ctx, askTimeout, errors.New("no answer in 10 s"))
	defer cancel()
	now, err := f.digest(asking, tag)
	switch {
	case ctx.Err() != nil:
		return ""
	case err != nil:
		return fmt.Sprintf("image %s is locked to %s; cannot ask whether the tag has moved: %v", tag, locked, err)
	case now != locked:
		return fmt.Sprintf("image %s is locked to %s; the tag has moved to %s (take it: stepexec lock)", tag, locked, now)
	}
	return ""
}
