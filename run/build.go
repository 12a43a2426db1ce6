package run

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
)

// build is what a build of the checkout in dir would be told by a CI server: the facts
// of flags, the CI's own variables and git, and what git knows of the commit. The event
// is that of a build on the command line when nothing says another.
func (f *FactSource) build(ctx context.Context, dir, platform, event string) (pipeline.Build, error) {
	replayed, err := f.replayed(cmp.Or(platform, fetch.HostPlatform()))
	if err != nil {
		return pipeline.Build{}, err
	}
	git := gitCheckout{dir}
	if replayed != nil {
		git.complete(ctx, replayed)
		return *replayed, nil
	}
	facts, err := f.ask(ctx, dir, platform, event)
	b := pipeline.Build{Facts: facts, Number: 1, Created: time.Now(), Started: time.Now(), System: pipeline.System{Host: facts.Instance, Proto: "https"}}
	if err != nil {
		return b, err
	}
	git.fillCommit(ctx, &b)
	if f.Author != "" {
		if b.Author, err = person(f.Author); err != nil {
			return b, err
		}
	}
	git.fillRepository(ctx, &b.Repository)
	owner, name, found := cutLast(facts.Repo, "/")
	if !found {
		owner, name = "", facts.Repo
	}
	b.Repository.Owner, b.Repository.Name, b.Repository.Trusted = owner, name, true // it is the user's own
	b.Branch = cmp.Or(b.Branch, b.Repository.DefaultBranch)                         // of a tag
	b.SourceBranch, b.TargetBranch = b.Branch, b.Branch
	if kindOf(b.Event) == aboutPullRequest {
		b.SourceBranch = cmp.Or(f.PullRequest.SourceBranch, git.line(ctx, "symbolic-ref", "--quiet", "--short", "HEAD"), b.Branch)
		b.PullRequest, b.PullRequestTitle = numberOfRef(b.Ref), f.PullRequest.Title
	}
	b.Sender = b.Author.Login
	return b, nil
}

// complete adds the repository to a build of Drone's, which does not say it.
func (g gitCheckout) complete(ctx context.Context, b *pipeline.Build) {
	b.Repository.Trusted = true // it is the user's own
	if b.Repository.Name != "" {
		return
	}
	g.fillRepository(ctx, &b.Repository)
	b.Repo = repositoryOf(g.line(ctx, "remote", "get-url", "origin"))
	owner, name, found := cutLast(b.Repo, "/")
	if !found {
		owner, name = "", b.Repo
	}
	b.Repository.Owner, b.Repository.Name = owner, name
	if b.Instance != "" && b.Repo != "" {
		b.Link = fmt.Sprintf("https://%s/%s/%d", b.Instance, b.Repo, b.Number)
	}
}

// cutLast is strings.Cut at the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

// fillCommit adds what git knows of the commit that is checked out.
func (g gitCheckout) fillCommit(ctx context.Context, b *pipeline.Build) {
	out, err := g.git(ctx, "log", "-1", "--no-show-signature", "--format=%H%x00%P%x00%an%x00%ae%x00%ct%x00%B", "HEAD")
	parts := strings.SplitN(out, "\x00", 6)
	if err != nil || len(parts) < 6 {
		return
	}
	b.Commit = parts[0]
	b.Before, _, _ = strings.Cut(parts[1], " ")
	b.Author.Name, b.Author.Email, b.Message = parts[2], parts[3], strings.TrimRight(parts[5], "\n")
	b.Author.Login, _, _ = strings.Cut(parts[3], "@")
	if seconds, err := strconv.ParseInt(parts[4], 10, 64); err == nil {
		b.CommitTime = time.Unix(seconds, 0)
	}
}

// fillRepository adds what git knows of where the checkout comes from.
func (g gitCheckout) fillRepository(ctx context.Context, r *pipeline.Repository) {
	remote := g.line(ctx, "remote", "get-url", "origin")
	host, path := hostOfRemote(remote), repositoryOf(remote)
	if host != "" && path != "" {
		r.CloneURL, r.SSHURL = fmt.Sprintf("https://%s/%s.git", host, path), fmt.Sprintf("git@%s:%s.git", host, path)
		r.Link = fmt.Sprintf("https://%s/%s", host, path)
	}
	head := g.line(ctx, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
	r.DefaultBranch = cmp.Or(strings.TrimPrefix(head, "origin/"), g.line(ctx, "symbolic-ref", "--quiet", "--short", "HEAD"))
}

// hostOfRemote is the host of https://user@host/path or git@host:path; "" of a path.
func hostOfRemote(remote string) string {
	_, rest, isURL := strings.Cut(remote, "://")
	end := "/"
	if !isURL {
		rest, end = remote, ":"
	}
	host, _, found := strings.Cut(rest, end)
	if !found || strings.HasPrefix(remote, "/") || strings.HasPrefix(remote, ".") {
		return ""
	}
	if _, after, hasUser := cutLast(host, "@"); hasUser {
		host = after
	}
	return host
}
