package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pull"
)

// askTimeout bounds the question whether a locked tag has moved. The answer is
// only news: a step does not wait long for it.
const askTimeout = 10 * time.Second

// LockName returns the name under which an image is locked, and false for one
// that a lock has nothing to say about: images of this machine, which change
// when a pipeline makes them anew, and those named by digest.
func (f *Fetcher) LockName(reference string) (name string, ok bool, err error) {
	ref, err := f.parse(reference)
	if err != nil || !lockable(ref) {
		return "", false, err
	}
	return ref.String(), true, nil
}

func lockable(ref pull.Reference) bool { return !ref.IsLocal() && ref.Digest == "" }

// Digest asks the image's source which manifest it has now. It fetches no
// layers.
func (f *Fetcher) Digest(ctx context.Context, reference string) (digest.Digest, error) {
	ref, err := f.parse(reference)
	if err != nil {
		return "", err
	}
	source, err := f.resolve(ctx, ref.String())
	if err != nil {
		return "", err
	}
	return source.Digest, source.Close()
}

// lockedTo returns the digest that takes the place of a tag, or "".
func (f *Fetcher) lockedTo(ref pull.Reference) digest.Digest {
	if f.Locked == nil || !lockable(ref) {
		return ""
	}
	return f.Locked(ref.String(), platform(f.Platform))
}

// moved says in words that a tag is not what it is locked to any more, or "".
func (f *Fetcher) moved(ctx context.Context, tag string, locked digest.Digest) string {
	asking, cancel := context.WithTimeoutCause(ctx, askTimeout, errors.New("no answer in 10 s"))
	defer cancel()
	now, err := f.Digest(asking, tag)
	switch {
	case ctx.Err() != nil:
		return ""
	case err != nil:
		return fmt.Sprintf("image %s is locked to %s; whether the tag has moved could not be asked: %v", tag, locked, err)
	case now != locked:
		return fmt.Sprintf("image %s is locked to %s; the tag has moved to %s (take it: stepexec lock)", tag, locked, now)
	}
	return ""
}
