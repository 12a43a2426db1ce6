package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/engine"
	"github.com/stepexec/stepexec/pipeline"
)

// factFlags are the flags that say what conditions are about.
type factFlags struct {
	given   pipeline.Facts
	changed []string
	base    string
}

func (f *factFlags) add(flags *pflag.FlagSet) {
	g := &f.given
	flags.StringVar(&g.Branch, "branch", "", "`branch` that when: sees; of a pull request, its target (default: from the CI's variables, or git)")
	flags.StringVar(&g.Tag, "tag", "", "`tag` that when: sees")
	flags.StringVar(&g.Event, "event", "", "`event` that when: sees, such as push, pull_request, tag, cron (default: from the CI's variables, or manual)")
	flags.StringVar(&g.Ref, "ref", "", "git `ref` that when: sees, such as refs/heads/main")
	flags.StringVar(&g.Repo, "repo", "", "`repository` that when: sees, such as owner/name")
	flags.StringVar(&g.Instance, "instance", "", "`host` of the CI server that when: sees")
	flags.StringVar(&g.Cron, "cron", "", "`name` of the cron job that when: sees")
	flags.StringVar(&g.Action, "action", "", "`action` of the event that when: sees, such as opened")
	flags.StringVar(&g.Deploy, "deploy", "", "`name` of the environment deployed to, that when: sees")
	flags.StringArrayVar(&f.changed, "changed", nil, "`FILE` that has changed, for when: path (may be repeated; default: those of the last commit)")
	flags.StringVar(&f.base, "changed-since", "", "git `commit` since which files have changed, for when: path")
}

// facts are those that the conditions of a native pipeline are about. Nothing is asked
// when no step has one.
func (f *factFlags) facts(ctx context.Context, p *pipeline.Pipeline, dir, platform string) (pipeline.Facts, error) {
	if !p.HasConditions() {
		facts := f.given
		facts.Platform = cmp.Or(platform, engine.HostPlatform())
		return facts, f.check()
	}
	return f.ask(ctx, dir, platform, "manual")
}

func (f *factFlags) check() error {
	if f.base != "" && len(f.changed) > 0 {
		return fmt.Errorf("--changed-since %s: cannot be combined with --changed", f.base)
	}
	return nil
}

// ask returns the facts of the flags; what they leave open is taken from the variables of
// the CI, and then from the git checkout in dir. The event is for when none is known.
func (f *factFlags) ask(ctx context.Context, dir, platform, event string) (pipeline.Facts, error) {
	facts := f.given
	facts.Platform = cmp.Or(platform, engine.HostPlatform())
	if err := f.check(); err != nil {
		return facts, err
	}
	if facts.Event == "" {
		facts.Event = eventOfFlags(facts)
	}
	git := gitCheckout{dir}
	facts.Event = cmp.Or(facts.Event, eventOfCI(), event)
	refOfCI(&facts)
	git.fill(ctx, &facts)
	facts.Ref = cmp.Or(facts.Ref, refOf(facts))
	return facts, f.files(ctx, git, &facts)
}

func eventOfFlags(f pipeline.Facts) string {
	switch {
	case f.Cron != "":
		return "cron"
	case f.Tag != "":
		return "tag"
	}
	return ""
}

func refOf(f pipeline.Facts) string {
	switch {
	case f.Tag != "":
		return "refs/tags/" + f.Tag
	case f.Branch != "":
		return "refs/heads/" + f.Branch
	}
	return ""
}

// firstVariable returns the first of the variables that is set.
func firstVariable(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// githubEvents are GitHub's words for what others call differently.
var githubEvents = map[string]string{
	"schedule": "cron", "workflow_dispatch": "manual", "pull_request_target": "pull_request",
}

func eventOfCI() string {
	if event := firstVariable("CI_PIPELINE_EVENT", "CI_BUILD_EVENT", "DRONE_BUILD_EVENT"); event != "" {
		return event
	}
	event := os.Getenv("GITHUB_EVENT_NAME")
	if event == "push" && os.Getenv("GITHUB_REF_TYPE") == "tag" {
		return "tag"
	}
	return cmp.Or(githubEvents[event], event)
}

// refOfCI fills in what the variables of Woodpecker, Drone and GitHub say. A branch or a
// tag of theirs is not put beside the other of a flag.
func refOfCI(f *pipeline.Facts) {
	if f.Branch == "" && f.Tag == "" && f.Ref == "" {
		f.Ref = firstVariable("CI_COMMIT_REF", "DRONE_COMMIT_REF", "GITHUB_REF")
		f.Tag = firstVariable("CI_COMMIT_TAG", "DRONE_TAG")
		f.Branch = firstVariable("CI_COMMIT_TARGET_BRANCH", "CI_COMMIT_BRANCH", "DRONE_BRANCH", "GITHUB_BASE_REF")
		switch name := os.Getenv("GITHUB_REF_NAME"); os.Getenv("GITHUB_REF_TYPE") {
		case "tag":
			f.Tag = cmp.Or(f.Tag, name)
		case "branch":
			f.Branch = cmp.Or(f.Branch, name)
		}
	}
	f.Repo = cmp.Or(f.Repo, firstVariable("CI_REPO", "DRONE_REPO", "GITHUB_REPOSITORY"))
	f.Instance = cmp.Or(f.Instance, firstVariable("CI_SYSTEM_HOST", "DRONE_SYSTEM_HOST"), hostOf(os.Getenv("GITHUB_SERVER_URL")))
	f.Cron = cmp.Or(f.Cron, firstVariable("CI_PIPELINE_CRON", "DRONE_CRON"))
	f.Deploy = cmp.Or(f.Deploy, firstVariable("CI_PIPELINE_DEPLOY_TARGET", "DRONE_DEPLOY_TO"))
	f.Action = cmp.Or(f.Action, os.Getenv("DRONE_BUILD_ACTION"))
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// files finds out which files have changed.
func (f *factFlags) files(ctx context.Context, git gitCheckout, facts *pipeline.Facts) error {
	if len(f.changed) > 0 {
		facts.Files, facts.FilesKnown = f.changed, true
		return nil
	}
	if f.base != "" {
		files, err := git.changedSince(ctx, f.base)
		if err != nil {
			return fmt.Errorf("--changed-since %s: %w", f.base, err)
		}
		facts.Files, facts.FilesKnown = files, true
		return nil
	}
	if list := os.Getenv("CI_PIPELINE_FILES"); list != "" { // Woodpecker's, a JSON list
		facts.FilesKnown = json.Unmarshal([]byte(list), &facts.Files) == nil
		return nil
	}
	if files, err := git.changedLast(ctx); err == nil {
		facts.Files, facts.FilesKnown = files, true
	}
	return nil
}

// sortedNames splits what git has ended with NULs.
func sortedNames(out string) []string {
	names := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return names
}
