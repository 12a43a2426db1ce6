package engine

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// Supply is where a run would take an image from.
type Supply string

// Where it would be.
const (
	FromStore    Supply = "store"   // no registry is asked
	FromRegistry Supply = "pull"    // it, or layers of it, are not in the store
	FromEither   Supply = "ask"     // the registry is asked whether there is another one by now
	FromMachine  Supply = "local"   // a folder or an archive, which is looked at in the run
	FromNowhere  Supply = "missing" // it is not in the store and may not be pulled: the step would fail
)

// Foreseen is what is known of an image before a run.
type Foreseen struct {
	Name     string // in full, such as docker.io/library/golang:1.26
	Platform string
	Digest   digest.Digest // of the manifest; "": not known
	Locked   bool          // the digest is that of the lock file
	Supply   Supply
}

// Foresee says what Fetch would do, with the store at root. It uses no network, makes
// nothing and needs no f.Store. The error is about the reference, or a store that
// cannot be read.
func (f *Fetcher) Foresee(root, reference string, policy pipeline.PullPolicy) (Foreseen, error) {
	ref, err := f.parse(reference)
	if err != nil {
		return Foreseen{}, err
	}
	seen := Foreseen{Name: ref.String(), Platform: platform(f.Platform), Digest: ref.Digest, Supply: FromMachine}
	if ref.IsLocal() {
		return seen, nil
	}
	locked := f.lockedTo(ref)
	if locked != "" {
		seen.Digest, seen.Locked = locked, true
	}
	record, whole, err := f.peek(root, ref, locked, policy)
	if err != nil && !errors.Is(err, unpack.ErrNotFound) {
		return Foreseen{}, fmt.Errorf("look into the store: %w", err)
	}
	if err == nil {
		seen.Digest = record.Manifest
	}
	switch {
	case whole && (policy != pipeline.PullAlways || ref.Digest != "" || seen.Locked):
		seen.Supply = FromStore
	case policy == pipeline.PullNever:
		seen.Supply = FromNowhere
	case whole:
		seen.Supply = FromEither
	default:
		seen.Supply = FromRegistry
	}
	return seen, nil
}

// peek finds the image in the store: one that is locked under its tag, or by its digest.
func (f *Fetcher) peek(root string, ref pull.Reference, locked digest.Digest, policy pipeline.PullPolicy) (unpack.ImageRecord, bool, error) {
	record, whole, err := unpack.Peek(root, ref.String(), platform(f.Platform))
	if locked == "" || policy != pipeline.PullAlways && err == nil && record.Manifest == locked {
		return record, whole, err
	}
	ref.Digest = locked
	return unpack.Peek(root, ref.String(), platform(f.Platform))
}
