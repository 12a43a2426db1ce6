package engine

import (
	"context"
	"errors"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/fetch"
)

// Load puts an image into the store under a name, from an archive that the caller trusts (see
// fetch.Fetcher.Load). Without a file it reports whether the store has an image of the name.
func (s *Serving) Load(ctx context.Context, name, file string) (stored bool, err error) {
	fetcher := *s.run.o.Fetcher
	fetcher.Events, fetcher.Locked = nil, nil
	if file != "" {
		_, err := fetcher.Load(ctx, file, name)
		return err == nil, err
	}
	_, err = fetcher.Fetch(ctx, name, container.PullNever)
	if errors.Is(err, fetch.ErrNotPulled) {
		return false, nil
	}
	return err == nil, err
}
