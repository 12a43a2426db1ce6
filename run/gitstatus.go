package run

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// checkoutPatience bounds how long git may look for files that were changed.
const checkoutPatience = 30 * time.Second

// checkout says what is known of a work tree: which commit is checked out, and whether its files are
// those of the commit.
type checkout struct {
	commit string // "": not known
	tree   string // treeClean, treeChanged, or "": not known
}

// What a work tree is.
const (
	treeClean   = "clean"   // every file is as the commit has it, and all others are ignored by git
	treeChanged = "changed" // a file was changed, removed or added since
	treeOther   = "other"   // another commit is checked out than the one that is said to be built
)

// checkout looks at the work tree. Files in submodules are not looked at, only which commits they
// have checked out: git would start itself there, with their own configuration.
func (g gitCheckout) checkout(ctx context.Context) checkout {
	ctx, cancel := context.WithTimeout(ctx, checkoutPatience)
	defer cancel()
	c := checkout{commit: g.line(ctx, "rev-parse", "--verify", "--quiet", "HEAD")}
	if c.commit == "" {
		return c
	}
	filters, err := g.ownFilters(ctx)
	if err != nil {
		return c
	}
	temp, err := os.MkdirTemp(g.tempDir(), "stepexec-index-")
	if err != nil {
		return c
	}
	defer os.RemoveAll(temp)
	env := append(filters, "GIT_INDEX_FILE="+filepath.Join(temp, "index"))
	read := g.whole(ctx, env, "read-tree", "HEAD")
	if err := read.Run(); err != nil {
		return c
	}
	status := g.whole(ctx, env, "status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames")
	if changed, err := printsAnything(status); err == nil {
		c.tree = treeClean
		if changed {
			c.tree = treeChanged
		}
	}
	return c
}

// tempDir is a folder for an index that is not in the work tree, where it would count as an added file.
func (g gitCheckout) tempDir() string {
	dir, err := filepath.EvalSymlinks(os.TempDir())
	within, rootErr := filepath.EvalSymlinks(g.dir)
	if err == nil && rootErr == nil && strings.HasPrefix(dir+"/", within+"/") {
		return "/tmp"
	}
	return ""
}

// whole is a command that looks at every file and all of it. The checkout's own index and configuration can say
// that a file is as it was (assume-unchanged, skip-worktree, times that were put back), or that modes, links or ends
// of lines do not matter, and an earlier run can have written both.
func (g gitCheckout) whole(ctx context.Context, env []string, args ...string) *exec.Cmd {
	var settings []string
	for _, setting := range []string{"core.fileMode=true", "core.symlinks=true", "core.autocrlf=false", "core.sparseCheckout=false"} {
		settings = append(settings, "-c", setting)
	}
	cmd := g.command(ctx, append(settings, args...)...)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// ownFilters are variables that turn off the filters which the configuration of the checkout itself
// names: git would start them to compare files. Those of the machine and the user, such as git-lfs,
// stay. git-lfs itself starts what the checkout names as its extensions; then there is an error.
func (g gitCheckout) ownFilters(ctx context.Context) ([]string, error) {
	out, err := g.git(ctx, "config", "--show-scope", "--name-only", "-z", "--list")
	if err != nil {
		return nil, err
	}
	var env []string
	fields := strings.Split(out, "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		scope, name := fields[i], fields[i+1]
		isOwn := scope != "system" && scope != "global"
		if isOwn && strings.HasPrefix(strings.ToLower(name), "lfs.extension.") { // git-lfs takes any case
			return nil, fmt.Errorf("the checkout names a program for git-lfs: %s", name)
		}
		if !isOwn || !strings.HasPrefix(name, "filter.") {
			continue
		}
		value := ""
		if strings.HasSuffix(name, ".required") {
			value = "false"
		}
		n := len(env) / 2
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", n, name), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, value))
	}
	return append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(env)/2)), nil
}

// printsAnything runs a command until it prints something, or ends. The error says that it failed
// without a word.
func printsAnything(cmd *exec.Cmd) (bool, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	n, err := out.Read(make([]byte, 1))
	if n > 0 {
		_ = cmd.Process.Kill() // there may be any number of such files
		_ = cmd.Wait()         // killed, so it never succeeds
		return true, nil
	}
	if waitErr := cmd.Wait(); waitErr != nil {
		return false, waitErr
	}
	if err != io.EOF {
		return false, err
	}
	return false, nil
}
