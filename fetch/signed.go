package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/signature"
	"github.com/stepexec/stepexec/unpack"
)

// signatureRules are what an image must satisfy: the rule of the settings for it, and that of the
// policy.
type signatureRules []*signature.Rule

// rulesOf returns the rules that ask for signatures of the image.
func (f *Fetcher) rulesOf(ref pull.Reference) (rules signatureRules) {
	if ref.IsLocal() {
		return nil
	}
	sets := []signature.Rules{f.Verify}
	if f.Options.Registries != nil {
		sets = append(sets, f.Options.Registries.Verify)
	}
	for _, set := range sets {
		if rule := set.For(ref.Name); rule != nil {
			rules = append(rules, rule)
		}
	}
	return rules
}

// verify returns the names of the keys that satisfy the rules.
func (s signatureRules) verify(name string, evidence []signature.Evidence, digests []digest.Digest) (string, error) {
	var keys []string
	for _, rule := range s {
		key, err := rule.Verify(name, evidence, digests...)
		if err != nil {
			return "", err
		}
		if !slices.Contains(keys, key.Name) {
			keys = append(keys, key.Name)
		}
	}
	return strings.Join(keys, ", "), nil
}

// foresee says in words what the rules ask for, and whether what is kept of the image satisfies them.
func (s signatureRules) foresee(name string, record unpack.ImageRecord) string {
	if len(s) == 0 {
		return ""
	}
	var rules []string
	for _, rule := range s {
		rules = append(rules, fmt.Sprintf("rule %q, %s", rule.Images, rule.Place))
	}
	state := "the registry is asked for one"
	if keys, err := s.verify(name, record.Signatures, digestsOf(record.Root, record.Manifest)); err == nil {
		state = "signed by " + keys
	}
	return fmt.Sprintf("%s (%s)", state, strings.Join(rules, "; "))
}

// digestsOf are those of an image that a signature may be of.
func digestsOf(root, manifest digest.Digest) []digest.Digest {
	return slices.Compact(slices.DeleteFunc([]digest.Digest{root, manifest}, func(d digest.Digest) bool { return d == "" }))
}

// signed returns the evidence that the image is signed as the rules ask for, and the names of the
// keys. What is kept of an earlier look is tried first, with the keys that count now; the registry
// is asked otherwise, unless the policy forbids that. root and manifest are the image's digests.
func (f *Fetcher) signed(ctx context.Context, ref pull.Reference, kept []signature.Evidence, policy container.PullPolicy, root, manifest digest.Digest) ([]signature.Evidence, string, error) {
	rules, name := f.rulesOf(ref), ref.String()
	if len(rules) == 0 {
		return kept, "", nil
	}
	digests := digestsOf(root, manifest)
	keys, err := rules.verify(name, kept, digests)
	if err == nil {
		return kept, keys, nil
	}
	if policy == container.PullNever {
		return nil, "", fmt.Errorf("%w; the pull policy never keeps the registry from being asked for signatures", err)
	}
	found, err := pull.Signatures(ctx, ref, digests, f.Options)
	if err != nil {
		return nil, "", err
	}
	if keys, err = rules.verify(name, found, digests); err != nil {
		return nil, "", err
	}
	return found, keys, nil
}

// VerifyImage asks the registry for the image and its signatures, and returns its digest and the
// key that signed it. The key is "" when no rule asks for a signature. Nothing is stored.
func (f *Fetcher) VerifyImage(ctx context.Context, reference string) (d digest.Digest, key string, err error) {
	ref, err := f.Parse(reference)
	if err != nil {
		return "", "", err
	}
	if ref.IsLocal() {
		return "", "", fmt.Errorf("image %s: an image of this machine has no signature", ref)
	}
	image, err := f.resolve(ctx, ref)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	_, key, err = f.signed(ctx, ref, nil, container.PullAlways, image.Root, image.Digest)
	return image.Digest, key, err
}
