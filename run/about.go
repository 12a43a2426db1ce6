package run

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// AboutBuild is what events, records and reports tell people of a build.
func AboutBuild(b *pipeline.Build) event.Build {
	return event.Build{
		Repo: b.Repo, Event: b.Event, Branch: b.Branch, Tag: b.Tag, Ref: b.Ref, Commit: b.Commit, Message: b.Message,
		Author: cmp.Or(b.Author.Name, b.Author.Login), PullRequest: cmp.Or(b.PullRequest, numberOfRef(b.Ref)),
	}
}

// whatIsBuilt looks up what the request builds. It is for people alone, so what cannot be looked up stays
// open and is no error.
func (r *Request) whatIsBuilt(ctx context.Context, from *Source) event.Build {
	if from.build != nil {
		return AboutBuild(from.build)
	}
	return r.Facts.about(ctx, from.Dir)
}

// about is whatIsBuilt for a native file. It starts git twice at most, because every run waits for it,
// and not at all outside a checkout.
func (f *FactSource) about(ctx context.Context, dir string) event.Build {
	if b, err := f.replayed(""); b != nil && err == nil {
		return AboutBuild(b)
	}
	facts := f.Given
	f.known(&facts, "manual")
	b := event.Build{Repo: facts.Repo, Event: facts.Event, Branch: facts.Branch, Tag: facts.Tag, Ref: facts.Ref, PullRequest: f.PullRequest.Number}
	if author, err := person(f.Author); err == nil {
		b.Author = author.Name
	}
	if isCheckout(dir) {
		gitCheckout{dir}.about(ctx, &b)
	}
	b.Commit = cmp.Or(b.Commit, firstVariable("CI_COMMIT_SHA", "DRONE_COMMIT_SHA", "GITHUB_SHA"))
	b.Author = cmp.Or(b.Author, firstVariable("CI_COMMIT_AUTHOR", "DRONE_COMMIT_AUTHOR_NAME", "DRONE_COMMIT_AUTHOR", "GITHUB_ACTOR"))
	if kindOf(b.Event) == aboutPullRequest {
		number, _ := strconv.ParseInt(firstVariable("CI_COMMIT_PULL_REQUEST", "DRONE_PULL_REQUEST"), 10, 64) // 0: not known
		b.PullRequest = cmp.Or(b.PullRequest, numberOfRef(b.Ref), number)
	}
	b.Ref = cmp.Or(b.Ref, refOf(pipeline.Facts{Tag: b.Tag, Branch: b.Branch}))
	return b
}

// isCheckout reports whether a folder is in a git checkout, as far as that shows without git.
func isCheckout(dir string) bool {
	if os.Getenv("GIT_DIR") != "" {
		return true
	}
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
		dir = filepath.Dir(dir)
	}
	return false
}

// about adds the commit that is checked out, and the branch, the tag and the repository where they are
// open. As in fill, a tag counts only where no branch is checked out.
func (g gitCheckout) about(ctx context.Context, b *event.Build) {
	var remote string
	var asked sync.WaitGroup
	if b.Repo == "" { // at the same time, because the run waits for both
		asked.Go(func() { remote = g.line(ctx, "remote", "get-url", "origin") })
	}
	out, err := g.git(ctx, "log", "-1", "--no-show-signature", "--decorate=full", "--format=%H%x00%an%x00%D%x00%B", "HEAD")
	asked.Wait()
	parts := strings.SplitN(out, "\x00", 4)
	if err != nil || len(parts) < 4 {
		return
	}
	b.Commit, b.Author, b.Message = parts[0], cmp.Or(b.Author, parts[1]), parts[3]
	if b.Branch == "" && b.Tag == "" && b.Ref == "" {
		b.Branch, b.Tag = refsOf(parts[2])
	}
	if b.Repo == "" {
		b.Repo = repositoryOf(remote)
	}
}

// refsOf reads git's decoration of HEAD: the branch that is checked out, or otherwise the first tag. No
// name of a ref has a space.
func refsOf(decoration string) (branch, tag string) {
	for ref := range strings.SplitSeq(decoration, ", ") {
		if name, found := strings.CutPrefix(ref, "HEAD -> refs/heads/"); found {
			return name, ""
		}
		if name, found := strings.CutPrefix(ref, "tag: refs/tags/"); found && tag == "" {
			tag = name
		}
	}
	return "", tag
}
