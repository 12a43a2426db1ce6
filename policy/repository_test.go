package policy_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

const byRepository = `networks: [none]
repositories:
  - repos: [example/deploy]
    events: [push, tag]
    branches: [main, "release/*"]
    rules: {networks: [none, host], devices: [/dev/kvm]}
  - repos: ["example/**", "team/{web,api}"]
    events: [push, pull_request]
    rules: {networks: [none, private]}
  - repos: [infra/root]
    rules: trusted
  - repos: [Shop/Secret, shop/kiosk]
    rules: trusted
  - repos: [infra/open]
    rules: untrusted
`

// networks are the networks that a policy allows, and what else tells the rules apart.
func networks(p *policy.Policy) string {
	var allowed []string
	for _, network := range []string{"none", "private", "host"} {
		step := pipeline.PlannedStep{Name: "a", Image: "alpine", Network: network}
		if _, err := p.AdmitStep(step, policy.Origin{}); err == nil {
			allowed = append(allowed, network)
		}
	}
	return strings.Join(allowed, " ")
}

// The first rules that fit the source of a pipeline are its rules. What might fit is not passed
// over.
func TestRulesByRepository(t *testing.T) {
	p := parse(t, byRepository)
	for name, c := range map[string]struct {
		source policy.Source
		want   string // networks, or a part of the error
	}{
		"a push to main":                    {policy.Source{Repo: "example/deploy", Event: "push", Branch: "main"}, "none host"},
		"a push to a release":               {policy.Source{Repo: "example/deploy", Event: "push", Branch: "release/1"}, "none host"},
		"a push deeper":                     {policy.Source{Repo: "example/deploy", Event: "push", Branch: "release/1/x"}, "none private"},
		"a push to another branch":          {policy.Source{Repo: "example/deploy", Event: "push", Branch: "feature"}, "none private"},
		"a tag, which is of no branch":      {policy.Source{Repo: "example/deploy", Event: "tag"}, "none"},
		"a pull request":                    {policy.Source{Repo: "example/deploy", Event: "pull_request"}, "none private"},
		"an event of no rule":               {policy.Source{Repo: "example/deploy", Event: "cron", Branch: "main"}, "none"},
		"another repository of the owner":   {policy.Source{Repo: "example/app", Event: "push", Branch: "main"}, "none private"},
		"below a subgroup":                  {policy.Source{Repo: "example/group/app", Event: "push"}, "none private"},
		"one of two":                        {policy.Source{Repo: "team/api", Event: "push"}, "none private"},
		"none of two":                       {policy.Source{Repo: "team/ap", Event: "push"}, "none"},
		"an owner with a like name":         {policy.Source{Repo: "evil-example/deploy", Event: "push", Branch: "main"}, "none"},
		"a repository with a like name":     {policy.Source{Repo: "example-evil/deploy", Event: "push", Branch: "main"}, "none"},
		"all of it":                         {policy.Source{Repo: "infra/root"}, "none private host"},
		"a built-in policy":                 {policy.Source{Repo: "infra/open"}, "none private"},
		"no repository":                     {policy.Source{Event: "push", Branch: "main"}, "policy.yml:3:5: repositories: the server does not say the repository"},
		"nothing":                           {policy.Source{}, "does not say the repository"},
		"no event where one decides":        {policy.Source{Repo: "example/deploy"}, "policy.yml:3:5: repositories: the server does not say the event"},
		"no event where none can decide":    {policy.Source{Repo: "other/app"}, "none"},
		"another case":                      {policy.Source{Repo: "Example/DEPLOY", Event: "push", Branch: "main"}, "none host"},
		"another case in the policy":        {policy.Source{Repo: "shop/secret"}, "none private host"},
		"a letter that only looks like k":   {policy.Source{Repo: "shop/\u212aiosk"}, "none"},
		"a branch of another case":          {policy.Source{Repo: "example/deploy", Event: "push", Branch: "Main"}, "none private"},
		"a branch of an event nobody knows": {policy.Source{Repo: "example/deploy", Branch: "main"}, "does not say the event"},
	} {
		rules, err := p.For(c.source)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if got := networks(rules); got != c.want {
			t.Errorf("%s: allows %q, want %q", name, got, c.want)
		}
	}
	for _, p := range []*policy.Policy{policy.Trusted(), policy.Untrusted(), parse(t, "networks: [none]")} {
		if rules, err := p.For(policy.Source{}); err != nil || networks(rules) != networks(p) {
			t.Errorf("without rules by repository no source is needed: %v", err)
		}
	}
}

// Rules by repository admit nothing before a source has chosen among them.
func TestRulesByRepositoryNeedASource(t *testing.T) {
	p := parse(t, "repositories: [{repos: ['**'], rules: trusted}]")
	step := pipeline.PlannedStep{Name: "a", Image: "alpine", Network: "none"}
	_, plan := p.Plan(&pipeline.Pipeline{}, pipeline.Inputs{}, policy.Origin{})
	_, admit := p.Admit(&pipeline.Plan{}, policy.Origin{})
	_, one := p.AdmitStep(step, policy.Origin{})
	_, join := p.Join(step)
	for what, err := range map[string]error{"Plan": plan, "Admit": admit, "AdmitStep": one, "Join": join} {
		if err == nil || !strings.Contains(err.Error(), "it has rules by repository, which only the runners") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
