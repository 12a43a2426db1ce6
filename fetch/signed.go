package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/signature"
)

// ruleOf returns the rule that asks for a signature of the image, or nil.
func (f *Fetcher) ruleOf(name string) *signature.Rule {
	ref, err := pull.ParseReference(name)
	if f.Options.Registries == nil || err != nil || ref.IsLocal() {
		return nil
	}
	return f.Options.Registries.Verify.For(ref.Name)
}

// signed returns the evidence that the image is signed as a rule asks for, and the name of the
// key. What is kept of an earlier look is tried first, with the keys that count now; the registry
// is asked otherwise, unless the policy forbids that. root and manifest are the image's digests.
func (f *Fetcher) signed(ctx context.Context, name string, kept []signature.Evidence, policy Policy, root, manifest digest.Digest) ([]signature.Evidence, string, error) {
	rule := f.ruleOf(name)
	if rule == nil {
		return kept, "", nil
	}
	digests := slices.DeleteFunc([]digest.Digest{root, manifest}, func(d digest.Digest) bool { return d == "" })
	digests = slices.Compact(digests)
	key, err := rule.Verify(name, kept, digests...)
	if err == nil {
		return kept, key.Name, nil
	}
	if policy == Never {
		return nil, "", fmt.Errorf("%w; the pull policy never keeps the registry from being asked for signatures", err)
	}
	found, err := pull.Signatures(ctx, name, digests, f.Options)
	if err != nil {
		return nil, "", err
	}
	if key, err = rule.Verify(name, found, digests...); err != nil {
		return nil, "", err
	}
	return found, key.Name, nil
}

// VerifyImage asks the registry for the image and its signatures, and returns its digest and the
// key that signed it. The key is "" when no rule asks for a signature. Nothing is stored.
func (f *Fetcher) VerifyImage(ctx context.Context, reference string) (d digest.Digest, key string, err error) {
	ref, err := f.parse(reference)
	if err != nil {
		return "", "", err
	}
	if ref.IsLocal() {
		return "", "", fmt.Errorf("image %s: an image of this machine has no signature", ref)
	}
	image, err := f.resolve(ctx, ref.String())
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	_, key, err = f.signed(ctx, ref.String(), nil, Always, image.Root, image.Digest)
	return image.Digest, key, err
}
