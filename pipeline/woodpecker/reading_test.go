package woodpecker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/portable"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

// said is everything that is told of a file: errors or warnings.
func said(t *testing.T, text string, o woodpecker.Options) string {
	t.Helper()
	set, err := woodpecker.Parse("file.yml", []byte(text), o)
	if err != nil {
		return err.Error()
	}
	return set.Warnings.Error()
}

func TestHintsForKeysThatWereMeantOtherwise(t *testing.T) {
	for text, want := range map[string]string{
		"pipeline: {a: {image: x}}":                                                       "pipeline: Woodpecker has no such key since version 2 (rename pipeline: to steps:",
		"branches: main\nsteps: {a: {image: x}}":                                          "branches: Woodpecker has no such key since version 2, and ignores it (write when: {branch: …})",
		"steps: {a: {image: x, environment: [A=b]}}":                                      "must be a map, not a list (write NAME: value, not - NAME=value)",
		"steps: {a: {image: x, commands: [true]}}":                                        "Woodpecker refuses the boolean true in a list (put it in quotes)",
		"when: {branch: [main, 1.20]}\nsteps: {a: {image: x}}":                            "Woodpecker refuses the number 1.20 in a list (put it in quotes)",
		"steps: {a: {image: x, detached: true}}":                                          `detached: unknown key (did you mean "detach"?)`,
		"steps: {a: {image: x, secrets: [token]}}":                                        "ignores it (write environment: {NAME: {from_secret: name}})",
		"steps: {a: {image: plugins/docker, settings: {repo: x}}}":                        "The formerly privileged plugin `plugins/docker` is no longer privileged by default",
		"steps: {a: {image: 'woodpeckerci/plugin-docker-buildx:5', settings: {repo: x}}}": "The formerly privileged plugin",
	} {
		if got := said(t, text, push()); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := said(t, "steps: {a: {image: x, group: y, runs: z, pull_policy: always}}", push()); strings.Contains(got, "did you mean") {
		t.Errorf("a guess that makes no sense: %s", got)
	}
}

func TestConvertReadsThePipelineKeyOfOldFiles(t *testing.T) {
	o := push()
	o.Raw = true
	set, err := woodpecker.Parse("file.yml", []byte("pipeline: {a: {image: x, commands: make}}"), o)
	if err != nil || len(set.Workflows[0].Steps) != 1 {
		t.Fatal(set, err)
	}
	if _, err := portable.Convert(&set.Workflows[0]); err != nil {
		t.Error(err)
	}
}

// planned are the variables, and the security, of the first step.
func planned(t *testing.T, text string, o woodpecker.Options) pipeline.PlannedStep {
	t.Helper()
	set, err := woodpecker.Parse("file.yml", []byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	w := set.Workflows[0]
	plan, err := w.Plan(pipeline.Inputs{Secrets: map[string]string{"token": "secret"}, Base: w.Variables, Facts: o.Build.Facts})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Steps[0]
}

func TestValuesAsAServerHasThem(t *testing.T) {
	o := push()
	o.Build.Repository.Link = "https://codeberg.org/octocat/hello"
	o.PrivilegedPlugins = []string{"example/plugin"}
	for text, want := range map[string]string{
		"steps: {a: {image: x, settings: {list: [a, {from_secret: token}]}}}":                                    `PLUGIN_LIST=["a","secret"]`,
		"steps: {a: {image: x, settings: {list: [a, b]}}}":                                                       "PLUGIN_LIST=a,b",
		"matrix: {include: [{A: , B: x}]}\nsteps: {a: {image: x, commands: 'true', environment: {V: 'v${A}w'}}}": "V=vw",
		"steps: {a: {image: x, commands: 'true'}}":                                                               "CI_FORGE_URL=https://codeberg.org\nCI_FORGE",
	} {
		got := strings.Join(planned(t, text, o).Env, "\n")
		if want, isLonger := strings.CutSuffix(want, "\nCI_FORGE"); !strings.Contains(got+"\n", want+"\n") || isLonger && !strings.Contains(got, "CI_FORGE_TYPE=forgejo") {
			t.Errorf("%s: lacks %s:\n%s", text, want, got)
		}
	}
	if !planned(t, "steps: {a: {image: 'example/plugin:1', settings: {a: b}}}", o).Security.Privileged {
		t.Error("a plugin that is named is not privileged")
	}
	if planned(t, "steps: {a: {image: 'example/plugin:1', commands: 'true'}}", o).Security.Privileged {
		t.Error("a step with commands is privileged for its image")
	}
	if mounts := planned(t, "steps: {a: {image: x, volumes: ['/sys/fs/cgroup:/sys/fs/cgroup:ro', '/srv:/srv']}}", o).Mounts; len(mounts) != 1 {
		t.Errorf("mounts %v", mounts)
	}
}

func TestForgeBelowAPath(t *testing.T) {
	for link, want := range map[string]string{
		"https://git.example.com/octocat/hello":       "https://git.example.com",
		"https://example.com/git/octocat/hello":       "https://example.com/git",
		"https://example.com:8443/a/b/octocat/hello/": "https://example.com:8443/a/b",
		"https://example.com/elsewhere":               "https://example.com",
	} {
		o := push()
		o.Build.Repository.Link, o.Build.Repository.Owner, o.Build.Repository.Name = link, "octocat", "hello"
		if got := planned(t, "steps: {a: {image: x, commands: 'true'}}", o).Env; !slices.Contains(got, "CI_FORGE_URL="+want) {
			t.Errorf("%s: lacks %s: %v", link, want, got)
		}
	}
}
