package fetch

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// Supply is the place from which a run would take an image.
type Supply string

// The supplies of images.
const (
	FromStore    Supply = "store"   // the store, without asking a registry
	FromRegistry Supply = "pull"    // the registry: the image or some of its layers are not in the store
	FromEither   Supply = "ask"     // the store, unless the registry has moved the tag
	FromMachine  Supply = "local"   // a folder or an archive, which the run reads
	FromNowhere  Supply = "missing" // no place: the image is not in the store and must not be pulled, so the step would fail
)

// Foreseen is an image as it is known before a run.
type Foreseen struct {
	Name     string // in full, such as docker.io/library/golang:1.26
	Platform string
	Digest   digest.Digest // of the manifest; "" when it is not known
	Locked   bool          // whether Digest comes from the lock file
	Supply   Supply
	// Signature says which rules ask for a signature and, for a stored image, which keys satisfy
	// them; "" when no rule does.
	Signature string
}

// Foresee says what Fetch would do with the store at root. It uses no network,
// creates nothing and does not need f.Store. It returns an error for a bad
// reference and for a store that cannot be read.
func (f *Fetcher) Foresee(root, reference string, policy container.PullPolicy) (Foreseen, error) {
	ref, err := f.Parse(reference)
	if err != nil {
		return Foreseen{}, err
	}
	policy = cmp.Or(policy, f.Unsaid)
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
	seen.Signature = f.rulesOf(ref).foresee(seen.Name, record)
	switch {
	case whole && (policy != container.PullAlways || ref.Digest != "" || seen.Locked):
		seen.Supply = FromStore
	case policy == container.PullNever:
		seen.Supply = FromNowhere
	case whole:
		seen.Supply = FromEither
	default:
		seen.Supply = FromRegistry
	}
	return seen, nil
}

// peek finds the image in the store. It finds a locked image by its tag or by its digest.
func (f *Fetcher) peek(root string, ref pull.Reference, locked digest.Digest, policy container.PullPolicy) (unpack.ImageRecord, bool, error) {
	record, whole, err := unpack.Peek(root, ref.String(), platform(f.Platform))
	if locked == "" || policy != container.PullAlways && err == nil && record.Manifest == locked {
		return record, whole, err
	}
	ref.Digest = locked
	return unpack.Peek(root, ref.String(), platform(f.Platform))
}
