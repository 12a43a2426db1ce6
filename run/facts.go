package run

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
)

// FactSource says what conditions are about. What it leaves open is taken from the variables
// of the CI, and then from the git checkout.
type FactSource struct {
	Given       pipeline.Facts
	Changed     []string // files that have changed; nil: those since Base
	PullRequest PullRequest
	Metadata    string // file of a CI server about one of its builds, which says all; "": the other fields do
	Author      string // of the commit, as NAME <EMAIL> or a login; "": as git says
	Base        string // git commit since which files have changed; "": those of the last commit
}

// facts are those that the conditions of a native pipeline are about, and the scopes of its keyed
// caches. Nothing is asked when no step has one and no flag says anything.
func (f *FactSource) facts(ctx context.Context, p *pipeline.Pipeline, dir, platform string) (pipeline.Facts, error) {
	if err := f.checkEvent(func(event string) bool { return namesEvent(p, event) }); err != nil {
		return pipeline.Facts{}, err
	}
	if !p.HasConditions() && !p.HasKeyedCaches() && f.Metadata == "" && !f.saysSomething() {
		return pipeline.Facts{Platform: cmp.Or(platform, fetch.HostPlatform())}, nil
	}
	return f.ask(ctx, dir, platform, "manual")
}

func (f *FactSource) check() error {
	if f.Base != "" && len(f.Changed) > 0 {
		return fmt.Errorf("--changed-since %s: cannot be combined with --changed", f.Base)
	}
	return nil
}

// ask returns the facts of the flags; what they leave open is taken from the variables of
// the CI, and then from the git checkout in dir. The event is for when none is known.
func (f *FactSource) ask(ctx context.Context, dir, platform, event string) (pipeline.Facts, error) {
	facts := f.Given
	facts.Platform = cmp.Or(platform, fetch.HostPlatform())
	if err := f.check(); err != nil {
		return facts, err
	}
	if b, err := f.replayed(facts.Platform); b != nil || err != nil {
		if err != nil {
			return facts, err
		}
		return b.Facts, nil
	}
	f.known(&facts, event)
	if err := f.possible(facts.Event); err != nil {
		return facts, err
	}
	git := gitCheckout{dir}
	git.fill(ctx, &facts)
	if kindOf(facts.Event) == aboutTag && facts.Tag == "" && kindOfRef(facts.Ref) != aboutTag {
		facts.Tag = git.line(ctx, "describe", "--tags", "--exact-match", "HEAD")
	}
	if err := f.agree(&facts); err != nil {
		return facts, err
	}
	return facts, f.files(ctx, git, &facts)
}

// known fills in what the flags and the variables of the CI say.
func (f *FactSource) known(facts *pipeline.Facts, event string) {
	facts.Event = cmp.Or(facts.Event, f.eventOfFlags())
	given := facts.Event
	facts.Event = cmp.Or(facts.Event, eventOfCI(), event)
	refOfCI(facts, given == "" || kindOf(given) == kindOf(eventOfCI()))
	switch kindOfRef(facts.Ref) {
	case aboutBranch:
		facts.Branch = cmp.Or(facts.Branch, strings.TrimPrefix(facts.Ref, "refs/heads/"))
	case aboutTag:
		facts.Tag = cmp.Or(facts.Tag, strings.TrimPrefix(facts.Ref, "refs/tags/"))
	}
}

// eventOfFlags is the event that has what other flags say; "": any may have it.
func (f *FactSource) eventOfFlags() string {
	switch {
	case f.Given.Cron != "":
		return "cron"
	case f.Given.Tag != "" || kindOfRef(f.Given.Ref) == aboutTag:
		return "tag"
	case f.PullRequest != (PullRequest{}) || kindOfRef(f.Given.Ref) == aboutPullRequest:
		return "pull_request"
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
// tag of theirs is not put beside the other of a flag, and none of another event is taken.
func refOfCI(f *pipeline.Facts, sameEvent bool) {
	if sameEvent && f.Branch == "" && f.Tag == "" && f.Ref == "" {
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
	repo := firstVariable("CI_REPO", "DRONE_REPO", "GITHUB_REPOSITORY")
	if f.Repo = cmp.Or(f.Repo, repo); f.Repo == repo {
		f.DefaultBranch = cmp.Or(firstVariable("CI_REPO_DEFAULT_BRANCH", "DRONE_REPO_BRANCH"), githubDefaultBranch())
	}
	f.Instance = cmp.Or(f.Instance, firstVariable("CI_SYSTEM_HOST", "DRONE_SYSTEM_HOST"), hostOf(os.Getenv("GITHUB_SERVER_URL")))
	f.Cron = cmp.Or(f.Cron, firstVariable("CI_PIPELINE_CRON", "DRONE_CRON"))
	f.Deploy = cmp.Or(f.Deploy, firstVariable("CI_PIPELINE_DEPLOY_TARGET", "DRONE_DEPLOY_TO"))
	f.Action = cmp.Or(f.Action, os.Getenv("DRONE_BUILD_ACTION"))
}

// maxPayload bounds what is read of GitHub's description of an event, in bytes. GitHub drops larger ones.
const maxPayload = 25 << 20

// githubDefaultBranch is the default branch of the repository in GitHub's description of the event,
// a file that the runner writes; "": there is none. Git's own idea of it is not asked, because
// whoever wrote the files of the checkout could have set it.
func githubDefaultBranch() string {
	file, err := os.Open(os.Getenv("GITHUB_EVENT_PATH"))
	if err != nil {
		return ""
	}
	defer file.Close()
	var payload struct {
		Repository struct {
			DefaultBranch string `json:"default_branch"`
		}
	}
	if json.NewDecoder(io.LimitReader(file, maxPayload)).Decode(&payload) != nil {
		return ""
	}
	return payload.Repository.DefaultBranch
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// files finds out which files have changed.
func (f *FactSource) files(ctx context.Context, git gitCheckout, facts *pipeline.Facts) error {
	if len(f.Changed) > 0 {
		facts.Files, facts.FilesKnown = f.Changed, true
		return nil
	}
	if f.Base != "" {
		files, err := git.changedSince(ctx, f.Base)
		if err != nil {
			return fmt.Errorf("--changed-since %s: %w", f.Base, err)
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
