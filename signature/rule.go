package signature

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Rules say which images must be signed. The first rule whose pattern matches an image decides.
// Images that no rule matches need no signature.
type Rules []Rule

// Rule is what images of a pattern need.
type Rule struct {
	// Images is a pattern of full repository names, such as docker.io/library/golang. In it *
	// stands for any characters but a slash, and ** for any characters.
	Images   string
	Keys     []Key  // a signature of any one of them will do
	Unsigned bool   // images of the pattern need no signature
	Place    string // where the rule is written, FILE:LINE, for messages
}

// ErrUnsigned is wrapped when an image lacks the signature that a rule asks for.
var ErrUnsigned = errors.New("not signed as required")

// For returns the rule of a repository such as docker.io/library/golang, or nil when it needs no
// signature.
func (r Rules) For(repository string) *Rule {
	i := slices.IndexFunc(r, func(rule Rule) bool { return match(rule.Images, repository) })
	if i < 0 || r[i].Unsigned {
		return nil
	}
	return &r[i]
}

// Verify returns the key that has signed one of the digests, which are those of one image: its
// index and its manifest. The error wraps ErrUnsigned and names the rule.
func (r *Rule) Verify(image string, evidence []Evidence, digests ...digest.Digest) (Key, error) {
	reason := "it has no signature"
	for _, e := range evidence {
		if e.Kind != "" {
			reason = unverifiable(e.Kind)
		}
	}
	for _, e := range evidence {
		for _, key := range r.Keys {
			if !key.Verifies(e) {
				if e.Kind == "" {
					reason = "none of its signatures is of a key of the rule"
				}
				continue
			}
			err := e.isFor(digests)
			if err == nil {
				return key, nil
			}
			reason = err.Error()
		}
	}
	return Key{}, fmt.Errorf("image %s: %w: %s (rule %q, %s; keys %s)", image, ErrUnsigned, reason, r.Images, r.Place, names(r.Keys))
}

// unverifiable is the reason of an image whose signatures are of a kind that needs more than a key.
func unverifiable(kind string) string {
	what := "it is signed with a certificate of sigstore (keyless)"
	if kind == KindNotation {
		what = "it is signed with notation"
	}
	return what + ", which is not supported; it needs a signature made with a key (cosign sign --key cosign.key IMAGE)"
}

func names(keys []Key) string {
	var all []string
	for _, key := range keys {
		all = append(all, key.Name)
	}
	return strings.Join(all, ", ")
}

// CheckPattern says why a text is not a pattern of Rule.Images, or returns nil.
func CheckPattern(pattern string) error {
	switch {
	case len(pattern) > 300:
		return errors.New("it is longer than 300 characters")
	case strings.Count(pattern, "*") > 16:
		return errors.New("it has more than 16 stars")
	case strings.ContainsAny(pattern, "@?[]{}\\ ") || pattern == "":
		return errors.New("it is not a repository such as docker.io/library/golang, in which * and ** may stand for parts")
	}
	return nil
}

// match reports whether a pattern matches all of a name.
func match(pattern, name string) bool {
	for pattern != "" {
		rest, isDeep := strings.CutPrefix(pattern, "**")
		rest, isStar := strings.CutPrefix(rest, "*")
		if !isDeep && !isStar {
			if name == "" || name[0] != pattern[0] {
				return false
			}
			pattern, name = pattern[1:], name[1:]
			continue
		}
		for i := 0; ; i++ {
			if match(rest, name[i:]) {
				return true
			}
			if i == len(name) || !isDeep && name[i] == '/' {
				return false
			}
		}
	}
	return name == ""
}
