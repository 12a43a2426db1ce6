package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v3"
)

// Source is what a CI server itself says about where a pipeline comes from. Nothing in it may be a
// fact that the pipeline's file can set.
type Source struct {
	Repo   string // OWNER/NAME; "": the server does not say
	Event  string // in the server's word; "": the server does not say
	Branch string // that the sources are of, where Event is known; "": of none, such as those of a pull request
}

// repository says for which pipelines a set of rules stands in the place of the file's other
// rules.
type repository struct {
	at       position
	repos    []string // patterns of OWNER/NAME, in lower case
	events   []string // nil: all
	branches []string // patterns; nil: all, and sources that are of no branch
	policy   *Policy
}

// events are the words of Woodpecker and Drone.
var events = []string{
	"push", "pull_request", "pull_request_closed", "pull_request_metadata", "tag", "release", "deployment", "cron", "manual",
	"promote", "rollback", "custom",
}

// For is the policy for pipelines of a source: that of the first rules by repository that fit it,
// or p without them. The error says that the source is not known well enough to choose: rules that
// might fit cannot be passed over, because they may be the stricter ones.
func (p *Policy) For(s Source) (*Policy, error) {
	for i := range p.rules.repositories {
		r := &p.rules.repositories[i]
		fits, unknown := r.fits(s)
		if unknown != "" {
			return nil, fmt.Errorf("policy %s: repositories: the server does not say the %s of the pipeline, on which the rules depend (Woodpecker says the repository since 3.5, event and branch since 3.17)", at(p.name, r.at), unknown)
		}
		if fits {
			return r.policy, nil
		}
	}
	if len(p.rules.repositories) == 0 {
		return p, nil
	}
	rest := *p
	rest.rules.repositories = nil
	return &rest, nil
}

// fits reports whether the rules are for a source. unknown is the fact that would have to be known
// to decide; "" if the answer is certain.
func (r *repository) fits(s Source) (fits bool, unknown string) {
	switch {
	case s.Repo == "":
		return false, "repository"
	case !matchesAny(r.repos, lowerASCII(s.Repo)):
		return false, ""
	case r.events == nil && r.branches == nil:
		return true, ""
	case s.Event == "":
		return false, "event"
	case r.events != nil && !slices.Contains(r.events, s.Event):
		return false, ""
	}
	return r.branches == nil || s.Branch != "" && matchesAny(r.branches, s.Branch), ""
}

func matchesAny(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, text) })
}

// lowerASCII makes names of repositories comparable. GitHub, GitLab, Gitea, Forgejo, Gogs and Bitbucket
// have no two repositories whose names differ in case alone, and let an owner change the case: that
// must not take a repository away from its rules. Other letters stay as they are, because forges do
// not treat their cases as equal.
func lowerASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// unchosen is the error of a policy with rules by repository where no source has chosen among
// them.
func (p *Policy) unchosen() error {
	if len(p.rules.repositories) == 0 {
		return nil
	}
	return fmt.Errorf("policy %s: it has rules by repository, which only the runners of Woodpecker and Drone know reliably (use a policy without repositories)", p.name)
}

// repositories reads the list of rules by repository.
func (r *reader) repositories(key string, n *yaml.Node) {
	start := r.policy.at[key]
	for _, item := range r.items(key, n) {
		entry := repository{at: position{item.Line, item.Column}}
		given := false
		r.mapping(item, map[string]func(string, *yaml.Node){
			"repos":    list(r, &entry.repos, repositoryPattern),
			"events":   list(r, &entry.events, eventName),
			"branches": list(r, &entry.branches, pattern),
			"rules": func(_ string, n *yaml.Node) {
				given, entry.policy = true, r.policyOf(key, n)
			},
		})
		if len(entry.repos) == 0 || !given {
			r.fail(item, key, "needs both repos and rules", `write - {repos: ["example/*"], rules: {networks: [host]}}`)
		}
		r.policy.rules.repositories = append(r.policy.rules.repositories, entry)
	}
	r.policy.at[key] = start
}

// policyOf reads a set of rules: trusted, untrusted, or a map of the keys of a policy.
func (r *reader) policyOf(key string, n *yaml.Node) *Policy {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		switch n.Value {
		case "trusted":
			return Trusted()
		case "untrusted":
			return Untrusted()
		}
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, key, "rules must be trusted, untrusted, or a map of keys and values", "")
		return nil
	}
	inner := &reader{policy: &Policy{name: r.policy.name, at: map[string]position{}}}
	keys := inner.keys()
	delete(keys, "repositories")
	inner.mapping(n, keys)
	r.errs = append(r.errs, inner.errs...)
	return inner.policy
}

func pattern(text string) (string, error) {
	if text == "" || strings.ContainsAny(text, " \t\n") || !doublestar.ValidatePattern(text) {
		return "", errors.New("is not a pattern: write it like example/* or release/**")
	}
	return text, nil
}

func repositoryPattern(text string) (string, error) {
	text, err := pattern(text)
	return lowerASCII(text), err
}

func eventName(text string) (string, error) {
	if !slices.Contains(events, text) {
		return "", errors.New("is not an event of Woodpecker or Drone: there are " + strings.Join(events, ", "))
	}
	return text, nil
}
