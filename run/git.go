package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
)

// gitCheckout asks git about the checkout that a directory is in. That there is
// none, or no git, is no error: what is not known stays open.
type gitCheckout struct{ dir string }

// command is a git command that only reads. The configuration of a checkout can name
// programs that git would start, so those that these commands could come to are off. One of them is
// that of a server from which git would fetch what is missing. Replacements of objects are off too:
// a commit must be what its hash says.
func (g gitCheckout) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"-C", g.dir, "--no-optional-locks", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, args...)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1")
	return cmd
}

// git runs such a command, and returns what it prints.
func (g gitCheckout) git(ctx context.Context, args ...string) (string, error) {
	out, err := g.command(ctx, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		first, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return "", fmt.Errorf("git: %s", cmp.Or(first, err.Error()))
	}
	return string(out), err
}

// line is the first line of what a command prints, "" when it fails.
func (g gitCheckout) line(ctx context.Context, args ...string) string {
	out, err := g.git(ctx, args...)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(out, "\n")
	return first
}

// fill adds branch, or tag, and repository where they are not known yet. The tag is
// asked for only where no branch is checked out: a build of a branch is not a
// release because its last commit happens to have a tag.
func (g gitCheckout) fill(ctx context.Context, f *pipeline.Facts) {
	if f.Branch == "" && f.Tag == "" && f.Ref == "" {
		f.Branch = g.line(ctx, "symbolic-ref", "--quiet", "--short", "HEAD")
		if f.Branch == "" {
			f.Tag = g.line(ctx, "describe", "--tags", "--exact-match", "HEAD")
		}
	}
	if f.Repo == "" {
		f.Repo = repositoryOf(g.line(ctx, "remote", "get-url", "origin"))
	}
}

var remoteForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:[a-z+]+://[^/]+/|[^/:]+:)/?(.+?)(?:\.git)?/?$`) })

// repositoryOf turns https://host/owner/name.git or git@host:owner/name into owner/name.
func repositoryOf(remote string) string {
	parts := remoteForm().FindStringSubmatch(remote)
	if parts == nil {
		return ""
	}
	return parts[1]
}

// changedLast are the files that differ between the last commit and its first parent.
func (g gitCheckout) changedLast(ctx context.Context) ([]string, error) {
	out, err := g.git(ctx, "log", "-1", "--no-show-signature", "--first-parent", "-m", "--format=", "--name-only", "--no-renames", "--no-ext-diff", "-z", "HEAD")
	return sortedNames(out), err
}

// changedSince are the files that differ between the last commit and where it branched
// off from another one.
func (g gitCheckout) changedSince(ctx context.Context, base string) ([]string, error) {
	if strings.HasPrefix(base, "-") {
		return nil, errors.New("not the name of a commit")
	}
	out, err := g.git(ctx, "diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", base+"...HEAD", "--")
	return sortedNames(out), err
}
