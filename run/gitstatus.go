package run

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
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
	temp, err := os.MkdirTemp(g.tempDir(), "stepexec-git-")
	if err != nil {
		return c
	}
	defer os.RemoveAll(temp)
	plain, err := g.plain(ctx, c.commit, temp)
	if err != nil || readCommit(ctx, plain) != nil {
		return c
	}
	if changed, err := isChanged(ctx, plain); err == nil {
		c.tree = treeClean
		if changed {
			c.tree = treeChanged
		}
	}
	return c
}

// tempDir is where a folder is made that is not in the work tree: there it would count as an added file.
func (g gitCheckout) tempDir() string {
	dir, err := filepath.EvalSymlinks(os.TempDir())
	within, rootErr := filepath.EvalSymlinks(g.dir)
	if err == nil && rootErr == nil && strings.HasPrefix(dir+"/", within+"/") {
		return "/tmp"
	}
	return ""
}

// A gitCommand makes a command of git.
type gitCommand func(ctx context.Context, args ...string) *exec.Cmd

// plain returns commands that look at every file of the work tree and all of it, and start no program
// that the checkout names. They get a git directory of their own in the folder temp, with the commit
// and the objects of the checkout and nothing else of it: its index can say that a file is as it was
// (assume-unchanged, skip-worktree, times that were put back), its configuration and its folder "info"
// that ends of lines, modes or added files do not matter, and its filters are programs. An earlier run
// can have written all of them. What the user's own configuration names stays, such as git-lfs.
func (g gitCheckout) plain(ctx context.Context, commit, temp string) (gitCommand, error) {
	tree := g.line(ctx, "rev-parse", "--show-toplevel")
	objects := g.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "objects")
	if tree == "" || objects == "" {
		return nil, errors.New("no work tree, or no objects")
	}
	if dir, err := filepath.EvalSymlinks(g.dir); err != nil || !strings.HasPrefix(dir+"/", strings.TrimSuffix(tree, "/")+"/") {
		return nil, errors.New("the checkout names another work tree (core.worktree)")
	}
	others := strconv.Quote(objects) // git takes a path with a colon in quotes
	if more := os.Getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES"); more != "" {
		others += ":" + more
	}
	config := "[core]\n\trepositoryformatversion = 0\n"
	if len(commit) == 64 {
		config = "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n"
	}
	own := filepath.Join(temp, "objects")
	err := errors.Join(
		os.Mkdir(filepath.Join(temp, "refs"), 0o700),
		os.Mkdir(own, 0o700),
		os.WriteFile(filepath.Join(temp, "HEAD"), []byte(commit+"\n"), 0o600),
		os.WriteFile(filepath.Join(temp, "config"), []byte(config), 0o600),
	)
	settings := []string{
		"-c", "core.fileMode=true", "-c", "core.symlinks=true", "-c", "core.autocrlf=false",
		"-c", "lfs.storage=" + filepath.Join(temp, "lfs"), // git-lfs copies files there: what the checkout has there may be links
	}
	return func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := g.command(ctx, slices.Concat(settings, args)...)
		cmd.Env = append(cmd.Env, "GIT_DIR="+temp, "GIT_WORK_TREE="+tree, "GIT_INDEX_FILE="+filepath.Join(temp, "index"),
			"GIT_OBJECT_DIRECTORY="+own, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+others)
		return cmd
	}, err
}

// readCommit fills the index with the files of the commit. git does not check that folders in a commit
// are what their hashes say, and read-tree notes the hashes that it was told. So the index is filled
// file by file, and the hash of all of it is compared.
func readCommit(ctx context.Context, git gitCommand) error {
	files, err := git(ctx, "ls-tree", "-r", "-z", "--full-tree", "HEAD").Output()
	if err != nil {
		return err
	}
	update := git(ctx, "update-index", "-z", "--index-info")
	update.Stdin = bytes.NewReader(files)
	if err := update.Run(); err != nil {
		return err
	}
	got, gotErr := git(ctx, "write-tree", "--missing-ok").Output()
	want, wantErr := git(ctx, "rev-parse", "--verify", "HEAD^{tree}").Output()
	if err := errors.Join(gotErr, wantErr); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the objects of the commit are false")
	}
	return nil
}

// isChanged reports whether a file of the work tree was changed, removed or added. Two kinds of file
// count also where git ignores them, if they are in a folder of the commit: attributes can hide what its
// files have, such as ends of lines and what ident replaces, and a .gitignore that ignores itself can
// hide files that were added to it.
func isChanged(ctx context.Context, git gitCommand) (bool, error) {
	changed, err := printsAnything(git(ctx, "status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames"))
	if changed || err != nil {
		return changed, err
	}
	others, err := git(ctx, "ls-files", "--others", "-z", "--full-name", ":(top,glob)**/.gitattributes", ":(top,glob)**/.gitignore").Output()
	if err != nil || len(others) == 0 {
		return false, err
	}
	ours, err := git(ctx, "ls-files", "-z", "--full-name", ":/").Output()
	if err != nil {
		return false, err
	}
	folders := map[string]bool{} // that have files of the commit, at any depth
	for name := range strings.SplitSeq(string(ours), "\x00") {
		for dir := path.Dir(name); !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(others), "\x00"), "\x00") {
		if folders[path.Dir(name)] {
			return true, nil
		}
	}
	return false, nil
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
